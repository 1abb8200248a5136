//! `fapi-gateway token`: prints one access token of the sandbox's authorization server, in the form that the configuration
//! says its issuer has, good or faulty on purpose.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use fapi::jose::thumbprint::CertificateThumbprint;
use fapi::token::{AccessTokenForm, ScopeForm, TokenType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sandbox::tokens::{AccessToken, SigningKey, hs256, unsigned};
use serde_json::{Value, json};

use super::{ConfigFile, Failure, NOT_GOOD};
use crate::clock::Clock;
use crate::config::Config;

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    signer: Signer,
    /// The name of the issuer in the configuration; by default the first one.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Bind the token to this certificate, PEM: `cnf` with `x5t#S256` (RFC 8705).
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Bind the token to this private key, PEM, which makes the DPoP proofs: `cnf` with `jkt` (RFC 9449).
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    key: Option<PathBuf>,
    /// The scopes, words separated by spaces; by default every scope that a route of the configuration names.
    #[arg(long)]
    scope: Option<String>,
    /// `aud`; by default the first of the issuer's audiences.
    #[arg(long)]
    audience: Option<String>,
    /// `client_id`, or the claim that the issuer has instead.
    #[arg(long, default_value = "client")]
    client_id: String,
    /// `sub`.
    #[arg(long, default_value = "customer-1")]
    subject: String,
    /// How long the token is valid: `5m`, `8h`.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    expires_in: Duration,
    /// Another claim, or another value of one: `NAME=JSON`, or `NAME=TEXT` for what is not JSON.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    claim: Vec<(String, Value)>,
    /// Leave out a claim.
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// A member of the header, in the form of `--claim`.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    header: Vec<(String, Value)>,
    /// A fault on purpose.
    #[arg(long, value_enum)]
    fault: Option<Fault>,
}

/// The authorization server whose tokens are made.
#[derive(Debug, clap::Args)]
pub(super) struct Signer {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// The private key of the authorization server, PEM; by default sandbox/issuer-key.pem beside the configuration.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(super) signing_key: Option<PathBuf>,
}

/// What is wrong with a token on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// It expired a minute ago: `token_expired`.
    Expired,
    /// It is valid from in an hour: `token_not_yet_valid`.
    NotYetValid,
    /// It is of another issuer: `token_issuer_unknown`.
    WrongIssuer,
    /// It is for another API: `token_audience_mismatch`.
    WrongAudience,
    /// Its scope covers nothing: `scope_insufficient`.
    WrongScope,
    /// It is another kind of JWT, such as an ID token: `token_type_wrong`.
    WrongType,
    /// It is signed with another key under the name of the issuer's: `token_signature_invalid`.
    WrongKey,
    /// It is not signed at all, `alg: none`: `token_algorithm_refused`.
    Unsigned,
    /// Its signature is an HMAC with the public key as secret: `token_algorithm_refused`.
    Hmac,
    /// It is bound to nothing, so that a thief could send it: `token_unbound`.
    Unbound,
}

/// Prints the token on one line.
pub fn run(arguments: &Arguments) -> ExitCode {
    super::ended(token(arguments).and_then(|token| super::print(&format!("{token}\n"))), "token")
}

fn token(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { signer, certificate, key: proof_key, .. } = arguments;
    let files = [Some(&signer.file.config), signer.signing_key.as_ref(), certificate.as_ref(), proof_key.as_ref()];
    super::one_from_standard_input(files)?;
    let config = super::load(&signer.file.config)?;
    let named = |name: &str| arguments.issuer.as_ref().is_none_or(|wanted| wanted == name);
    let issuer = config.issuers.iter().map(|issuer| &issuer.expected).find(|expected| named(&expected.name));
    let issuer = issuer.ok_or_else(|| match &arguments.issuer {
        Some(name) => Failure::new(NOT_GOOD, format!("the configuration has no issuer named {name:?}")),
        None => Failure::new(NOT_GOOD, "the configuration has no issuer"),
    })?;
    let key = signer.key()?;
    let audience = arguments.audience.clone().or_else(|| issuer.audiences.first().map(ToString::to_string));
    let now = Clock::system().unix_time().0;
    let mut token = AccessToken::new(&*issuer.issuer, audience.unwrap_or_default(), now)
        .expires_at(now.saturating_add(arguments.expires_in.as_secs()))
        .claim("sub", arguments.subject.as_str());
    let scopes = arguments.scope.clone().unwrap_or_else(|| scopes(&config));
    token = in_form(&issuer.form, token, &arguments.client_id, &scopes);
    if let Some(file) = &arguments.certificate {
        let certificate = CertificateDer::from_pem_slice(&super::input(file)?)
            .map_err(|_| Failure::io(file, &"there is no certificate in it; expected PEM"))?;
        token = token.bound_to_thumbprint(&CertificateThumbprint::of_der(&certificate).to_string());
    }
    if let Some(file) = &arguments.key {
        let key = SigningKey::from_pem(&super::input(file)?).map_err(|error| Failure::io(file, &error))?;
        token = token.bound_to_key(key.thumbprint());
    }
    let bound = arguments.certificate.is_some() || arguments.key.is_some();
    if !bound && arguments.fault != Some(Fault::Unbound) && !arguments.claim.iter().any(|(name, _)| name == "cnf") {
        return Err(Failure::new(
            NOT_GOOD,
            "the gateway refuses a token that is bound to nothing; bind it with --certificate or --key, or say --fault unbound",
        ));
    }
    for (name, value) in &arguments.claim {
        token = token.claim(name, value.clone());
    }
    for name in &arguments.without {
        token = token.without(name);
    }
    for (name, value) in &arguments.header {
        token = token.header(name, value.clone());
    }
    Ok(match arguments.fault {
        None => token.sign(&key),
        Some(fault) => fault.sign(token, &issuer.form, &key, now),
    })
}

impl Fault {
    fn sign(self, token: AccessToken, form: &AccessTokenForm, key: &SigningKey, now: u64) -> String {
        let header = |algorithm: &str| {
            let mut header = json!({ "alg": algorithm, "kid": key.kid() });
            if let Some(typ) = typ(form) {
                header["typ"] = json!(typ);
            }
            header
        };
        let token = match self {
            Self::Expired => token.expires_at(now.saturating_sub(60)),
            Self::NotYetValid => token.claim("nbf", now.saturating_add(3600)),
            Self::WrongIssuer => token.claim("iss", "https://another-issuer.example"),
            Self::WrongAudience => token.audience("https://another-api.example"),
            Self::WrongScope => with_scopes(form, token, "another-scope"),
            // Where access tokens may have this `typ`, a claim says what they are.
            Self::WrongType => match form.kind() {
                Some((claim, _)) => token.without(claim),
                None => token,
            }
            .header("typ", "JWT"),
            Self::WrongKey => return token.sign(&SigningKey::generate(key.kind(), key.kid())),
            Self::Unsigned => return unsigned(&header("none"), &token.claims()),
            Self::Hmac => return hs256(key.public_key_pem().as_bytes(), &header("HS256"), &token.claims()),
            Self::Unbound => token.without("cnf"),
        };
        token.sign(key)
    }
}

impl Signer {
    /// Its key: the file, or the one that `init` makes beside the configuration.
    pub(super) fn key(&self) -> Result<SigningKey, Failure> {
        let config = &self.file.config;
        let by_default = config.parent().unwrap_or(config).join("sandbox/issuer-key.pem");
        if self.signing_key.is_none() && !by_default.exists() {
            let why =
                "there is no such file; `init` makes it where no --issuer is named, and --signing-key names another";
            return Err(Failure::io(&by_default, &why));
        }
        let file = self.signing_key.as_ref().unwrap_or(&by_default);
        SigningKey::from_pem(&super::input(file)?).map_err(|error| Failure::io(file, &error))
    }
}

/// The token as the issuer writes it.
fn in_form(form: &AccessTokenForm, token: AccessToken, client: &str, scopes: &str) -> AccessToken {
    let token = token.without("client_id").claim(form.client_claim(), client);
    let token = match form.kind() {
        Some((claim, value)) => token.claim(claim, value),
        None => token,
    };
    let token = match typ(form) {
        Some(typ) => token.header("typ", typ),
        None => token.without_header("typ"),
    };
    with_scopes(form, token, scopes)
}

/// The `typ` that the issuer writes, if it writes one.
fn typ(form: &AccessTokenForm) -> Option<&'static str> {
    match form.first_type() {
        Some(TokenType::AtJwt) | None => Some("at+jwt"),
        Some(TokenType::Jwt) => Some("JWT"),
        Some(TokenType::Absent) => None,
    }
}

fn with_scopes(form: &AccessTokenForm, token: AccessToken, scopes: &str) -> AccessToken {
    let token = token.without("scope");
    match form.scope_form() {
        ScopeForm::String => token.claim(form.scope_claim(), scopes),
        ScopeForm::List => token.claim(form.scope_claim(), json!(scopes.split(' ').collect::<Vec<_>>())),
    }
}

/// Every scope that a route names.
fn scopes(config: &Config) -> String {
    let mut scopes: Vec<&str> = Vec::new();
    for scope in
        config.routes.iter().filter_map(|route| route.policy()).flat_map(|policy| policy.scope_text().split(' '))
    {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes.join(" ")
}

fn pair(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_json_or_else_text() {
        assert_eq!(pair("auth_time=7"), Ok(("auth_time".to_owned(), json!(7))));
        assert_eq!(pair("aud=[\"a\"]"), Ok(("aud".to_owned(), json!(["a"]))));
        assert_eq!(pair("acr=urn:a=b"), Ok(("acr".to_owned(), json!("urn:a=b"))));
        assert!(pair("acr").is_err());
    }
}
