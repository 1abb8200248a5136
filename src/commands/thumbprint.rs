//! `fapi-gateway thumbprint`: prints what a token's `cnf` names: `x5t#S256` of certificates (RFC 8705 §3.1) and `jkt` of
//! keys (RFC 9449 §6.1); or the public keys themselves, to register them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use fapi::jose::json::parse_object;
use fapi::jose::public_key::jwk_of_spki;
use fapi::jose::signing::PrivateKey;
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::peer::ClientCertificate;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use serde_json::{Map, Value};

use super::{Failure, NOT_GOOD};

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Certificates or keys: PEM, a certificate in DER, a JWK or a JWK Set; `-` for standard input.
    #[arg(allow_hyphen_values = true)]
    file: PathBuf,
    /// Print the public keys instead, each as a JWK, as an authorization server registers them. Certificates are left out.
    #[arg(long)]
    jwk: bool,
}

/// Prints one line for each certificate and key in the file, in order. Never prints a private key.
pub fn run(arguments: &Arguments) -> ExitCode {
    let lines = super::input(&arguments.file)
        .and_then(|bytes| lines(&bytes, arguments.jwk).map_err(|why| Failure::of(NOT_GOOD, &arguments.file, &why)));
    super::ended(lines.and_then(|lines| super::print(&lines)), "thumbprint")
}

/// A line for each certificate and key; with `as_jwk`, for each key.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is neither a certificate nor a key has no thumbprint")]
fn lines(bytes: &[u8], as_jwk: bool) -> Result<String, String> {
    let of_jwk: fn(&Map<String, Value>) -> Result<String, String> = if as_jwk { public_members } else { of_jwk };
    let of_certificate: fn(&ClientCertificate) -> String = if as_jwk { |_| String::new() } else { of_certificate };
    let of_private_key = |der: PrivateKeyDer<'_>| of_jwk(&private_jwk(&der)?);
    let mut lines = String::new();
    if bytes.trim_ascii_start().starts_with(b"{") {
        let document = parse_object(bytes).map_err(|error| format!("it is not a JWK or a JWK Set: {error}"))?;
        match document.get("keys") {
            None => lines.push_str(&of_jwk(&document)?),
            Some(Value::Array(keys)) if !keys.is_empty() => {
                for (index, key) in keys.iter().enumerate() {
                    let key = key.as_object().ok_or_else(|| format!("keys[{index}] is not an object"))?;
                    lines.push_str(&of_jwk(key).map_err(|why| format!("keys[{index}]: {why}"))?);
                }
            }
            Some(_) => return Err("`keys` is not a list with a key in it".to_owned()),
        }
        return Ok(lines);
    }
    if let Ok(certificate) = ClientCertificate::from_der(bytes) {
        lines.push_str(&of_certificate(&certificate));
    }
    if !lines.is_empty() {
        return Ok(lines);
    }
    if String::from_utf8_lossy(bytes).contains("ENCRYPTED") {
        return Err("the private key is encrypted; give its certificate or its public key".to_owned());
    }
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        let (kind, der) = section.map_err(|_| "the PEM text is malformed".to_owned())?;
        match kind {
            SectionKind::Certificate => {
                let certificate = ClientCertificate::from_der(&der).map_err(|error| error.to_string())?;
                lines.push_str(&of_certificate(&certificate));
            }
            SectionKind::PublicKey => {
                let jwk = jwk_of_spki(&der).map_err(|error| error.to_string())?;
                lines.push_str(&of_jwk(&jwk)?);
            }
            SectionKind::PrivateKey => lines.push_str(&of_private_key(PrivatePkcs8KeyDer::from(der).into())?),
            SectionKind::EcPrivateKey => lines.push_str(&of_private_key(PrivateSec1KeyDer::from(der).into())?),
            SectionKind::RsaPrivateKey => lines.push_str(&of_private_key(PrivatePkcs1KeyDer::from(der).into())?),
            _ => {}
        }
    }
    if lines.is_empty() {
        let nothing = if as_jwk { "no key" } else { "no certificate and no key" };
        return Err(format!("there is {nothing} in it; expected PEM, a JWK or a JWK Set"));
    }
    Ok(lines)
}

fn of_certificate(certificate: &ClientCertificate) -> String {
    format!("x5t#S256 {} certificate {:?}\n", certificate.thumbprint(), certificate.subject())
}

fn private_jwk(der: &PrivateKeyDer<'_>) -> Result<Map<String, Value>, String> {
    let key = PrivateKey::from_der(der).map_err(|error| error.to_string())?;
    key.public_jwk().map_err(|error| error.to_string())
}

/// The JWK on one line, without a private member.
fn public_members(jwk: &Map<String, Value>) -> Result<String, String> {
    const PUBLIC: [&str; 8] = ["kty", "crv", "x", "y", "n", "e", "kid", "alg"];
    KeyThumbprint::of_jwk(jwk).ok_or(NOT_PUBLIC)?;
    let mut public = jwk.clone();
    public.retain(|name, _| PUBLIC.contains(&name.as_str()));
    Ok(format!("{}\n", Value::Object(public)))
}

fn of_jwk(jwk: &Map<String, Value>) -> Result<String, String> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let thumbprint = KeyThumbprint::of_jwk(jwk).ok_or(NOT_PUBLIC)?;
    let mut line = format!("jkt {thumbprint} {}", text("kty").unwrap_or_default());
    if let Some(curve) = text("crv") {
        let _ = write!(line, " {curve:?}");
    }
    if let Some(key_id) = text("kid") {
        let _ = write!(line, " kid {key_id:?}");
    }
    line.push('\n');
    Ok(line)
}

const NOT_PUBLIC: &str = "it is not a public key of type EC, OKP or RSA";
