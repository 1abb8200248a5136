//! The keys with which a message is verified.

use std::path::PathBuf;

use fapi::UnixTime;
use fapi::jose::json::parse_object;
use fapi::jose::keys::{Algorithm, KeySet, VerifyingKey};
use fapi::jose::public_key::jwk_of_spki;
use fapi::signature::error::SignatureError;
use fapi::signature::profile::Profile;
use fapi::signature::verify::verify;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use crate::commands::captured::Subject;
use crate::commands::{Failure, input};

/// Where the keys are.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct KeyFile {
    /// The keys of whoever signs, a JWK Set: a signature names one of them by its `kid`.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    keys: Option<PathBuf>,
    /// The one public key, PEM, by whatever name a signature calls it.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    key: Option<PathBuf>,
}

/// Public keys.
pub(super) enum Keys {
    /// By their names.
    Set(KeySet, Vec<(String, Option<&'static str>)>),
    /// Under any name.
    One(Map<String, Value>, &'static str),
}

impl KeyFile {
    /// The file that is named.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        self.keys.as_ref().or(self.key.as_ref())
    }

    /// Reads the keys.
    pub(super) fn read(&self) -> Result<Keys, Failure> {
        if let Some(file) = &self.key {
            let der = SubjectPublicKeyInfoDer::from_pem_slice(&input(file)?);
            let der = der
                .map_err(|_| Failure::io(file, &"there is no public key in it; expected PEM with BEGIN PUBLIC KEY"))?;
            let jwk = jwk_of_spki(&der).map_err(|error| Failure::io(file, &error))?;
            let key = VerifyingKey::from_jwk(&jwk).map_err(|error| Failure::io(file, &error))?;
            return Ok(Keys::One(jwk, type_of(&key)));
        }
        let Some(file) = &self.keys else { return Ok(Keys::Set(KeySet::default(), Vec::new())) };
        let document = input(file)?;
        let keys = KeySet::parse_with_ps512(&document).map_err(|error| Failure::io(file, &error))?;
        Ok(Keys::Set(keys, names(&document)))
    }
}

/// The names in a JWK Set, and the types of the keys that can be used.
fn names(document: &[u8]) -> Vec<(String, Option<&'static str>)> {
    let document = parse_object(document).unwrap_or_default();
    let keys = document.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named = keys.iter().filter_map(Value::as_object).filter_map(|jwk| {
        let name = jwk.get("kid")?.as_str()?.to_owned();
        let for_ps512 = jwk.get("alg").is_some_and(|alg| alg == "PS512").then_some("RSA");
        Some((name, for_ps512.or_else(|| VerifyingKey::from_jwk(jwk).ok().as_ref().map(type_of))))
    });
    named.collect()
}

const fn type_of(key: &VerifyingKey) -> &'static str {
    match key.algorithm() {
        Algorithm::Es256 => "EC P-256",
        Algorithm::EdDsa => "Ed25519",
        Algorithm::Ps256 => "RSA",
    }
}

impl Keys {
    /// The set in which the key of this name is looked for.
    pub(super) fn for_name(&self, name: &str) -> KeySet {
        match self {
            Self::Set(keys, _) => keys.clone(),
            Self::One(jwk, _) => {
                let mut jwk = jwk.clone();
                jwk.insert("kid".to_owned(), json!(name));
                KeySet::parse_with_ps512(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap_or_default()
            }
        }
    }

    /// The type of the key with this name.
    pub(super) fn type_of(&self, name: &str) -> Option<&'static str> {
        match self {
            Self::Set(_, names) => names.iter().find(|(known, _)| known == name).and_then(|(_, of)| *of),
            Self::One(_, of) => Some(of),
        }
    }

    /// All names.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Set(_, names) => names.iter().map(|(name, _)| &**name).collect(),
            Self::One(..) => Vec::new(),
        }
    }

    /// What a gateway that has these keys makes of all signatures together.
    pub(super) fn verify_all(&self, subject: &Subject, rules: &Profile, now: UnixTime) -> Result<(), SignatureError> {
        verify(&subject.view(), rules, &self.for_name(""), now).map(|_| ())
    }
}
