//! What the metadata of an issuer proposes for its entry in gateway.yaml.

use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use fapi::jose::json::parse_object;
use fapi::jose::keys::{Algorithm, KeySet, VerifyingKey};
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value};

use super::Failure;
use crate::commands::INPUT_OUTPUT;
use crate::issuer::http::Client;
use crate::issuer::metadata::Discovery;
use crate::tls_client::TrustAnchors;

/// The entry of an issuer, and what the README says about it.
pub(super) struct Proposal {
    /// Its name in the configuration.
    pub(super) name: &'static str,
    /// The exact `iss` of its tokens.
    pub(super) issuer: String,
    /// The authorities of its certificate, if they are not those of the system.
    pub(super) trust_anchors: Option<&'static str>,
    /// The settings that its metadata and keys ask for: one line of YAML each, with a comment.
    pub(super) settings: Vec<String>,
    /// The scope of the route.
    pub(super) scope: String,
    /// Where clients get tokens.
    pub(super) token_endpoint: Option<String>,
    /// Whether the sandbox serves it.
    pub(super) sandbox: bool,
    /// Whether the sandbox serves the API as well.
    pub(super) api: bool,
    /// What the operator should know.
    pub(super) notes: Vec<String>,
}

impl Proposal {
    /// The entry of the sandbox's authorization server at this port.
    pub(super) fn sandbox(api: bool, port: NonZeroU16) -> Self {
        Self {
            name: "sandbox",
            issuer: format!("https://localhost:{port}"),
            trust_anchors: Some("tls/ca.pem"),
            settings: vec![line("algorithms: [ES256]", "what it signs with")],
            scope: DEFAULT_SCOPE.to_owned(),
            token_endpoint: None,
            sandbox: true,
            api,
            notes: Vec::new(),
        }
    }

    /// The entry of an issuer: defaults, and what its metadata says if it can be read.
    pub(super) fn of(issuer: &str, anchors: Option<&[u8]>, file: Option<&Path>) -> Result<Self, Failure> {
        let trust = match anchors {
            None => TrustAnchors::System,
            Some(pem) => match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
                Ok(anchors) if !anchors.is_empty() => TrustAnchors::Given(anchors),
                Ok(_) | Err(_) => {
                    let file = file.unwrap_or(Path::new("--trust-anchors"));
                    return Err(Failure::io(file, &"there are no certificates in it; expected PEM"));
                }
            },
        };
        let mut proposal = Self {
            name: "issuer",
            issuer: issuer.to_owned(),
            trust_anchors: anchors.map(|_| "tls/issuer-ca.pem"),
            // No metadata says what the access tokens look like; a token does.
            settings: vec![line(ACCESS_TOKEN, "if its tokens differ from RFC 9068, as docs/concepts/tokens.md says")],
            scope: DEFAULT_SCOPE.to_owned(),
            token_endpoint: None,
            sandbox: false,
            api: false,
            notes: Vec::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(INPUT_OUTPUT, error.to_string()))?;
        match runtime.block_on(read(issuer, &trust)) {
            Ok((metadata, keys)) => proposal.take(&metadata, keys),
            Err(why) => {
                proposal
                    .settings
                    .push(line(ALL_ALGORITHMS, "what it may sign with; those that it does not use can go"));
                proposal
                    .notes
                    .push(format!("the metadata of {issuer} could not be read, so the settings are defaults: {why}"));
            }
        }
        Ok(proposal)
    }

    /// Takes what the issuer publishes.
    fn take(&mut self, metadata: &Map<String, Value>, keys: Result<Vec<Algorithm>, String>) {
        let text = |name: &str| metadata.get(name).and_then(Value::as_str).filter(|text| super::is_plain(text));
        let has = |name: &str| metadata.get(name).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        match keys {
            Ok(algorithms) if !algorithms.is_empty() => {
                let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
                let setting = format!("algorithms: [{}]", names.join(", "));
                self.settings.push(line(&setting, "what its keys are for"));
            }
            Ok(_) => {
                self.settings.push(line(ALL_ALGORITHMS, "none of its keys is for one of these"));
                self.notes.push("the issuer has no key for PS256, ES256 or EdDSA, and FAPI 2.0 §5.4.1 allows no other algorithm: give it one".to_owned());
            }
            Err(why) => {
                self.settings.push(line(ALL_ALGORITHMS, "what it may sign with; those that it does not use can go"));
                self.notes.push(format!("the keys of the issuer could not be read: {why}"));
            }
        }
        if let Some(url) = text("jwks_uri") {
            self.settings
                .push(line(&format!("# jwks_uri: \"{url}\""), "needed only if its metadata is not to be asked"));
        }
        let certificates = metadata.get("tls_client_certificate_bound_access_tokens") == Some(&Value::Bool(true));
        if !certificates && !has("dpop_signing_alg_values_supported") {
            self.notes.push(
                "the metadata promises neither certificate-bound tokens (RFC 8705) nor DPoP (RFC 9449); tokens that are bound to nothing are refused"
                    .to_owned(),
            );
        }
        let scopes = metadata.get("scopes_supported").and_then(Value::as_array).into_iter().flatten();
        let of_api = |scope: &&str| !OPENID_SCOPES.contains(scope) && is_scope(scope);
        if let Some(scope) = scopes.filter_map(Value::as_str).find(of_api) {
            self.scope = scope.to_owned();
        }
        let aliases = metadata.get("mtls_endpoint_aliases").and_then(|aliases| aliases.get("token_endpoint"));
        let alias = aliases.and_then(Value::as_str).filter(|url| super::is_plain(url));
        // It becomes an argument in the README, where anything else could be another option.
        let endpoint = alias.or_else(|| text("token_endpoint")).filter(|url| is_https(url));
        self.token_endpoint = endpoint.map(str::to_owned);
    }
}

/// Reads the metadata, and the algorithms that the keys are for.
async fn read(
    issuer: &str,
    anchors: &TrustAnchors,
) -> Result<(Map<String, Value>, Result<Vec<Algorithm>, String>), String> {
    let discovery = Discovery::new(issuer).map_err(|error| error.to_string())?;
    let client = Client::new(anchors, WITHIN, WITHIN).map_err(|error| error.to_string())?;
    let metadata = discovery.document(&client).await.map_err(|error| error.to_string())?;
    let keys = match metadata.get("jwks_uri").and_then(Value::as_str).and_then(|url| Url::parse(url).ok()) {
        None => Err("the metadata has no jwks_uri".to_owned()),
        Some(url) => match client.get_json_bytes(&url).await {
            Ok(document) => Ok(algorithms(&document)),
            Err(error) => Err(error.to_string()),
        },
    };
    Ok((metadata, keys))
}

/// The algorithms of the usable keys, in the order of [`Algorithm::ALL`].
fn algorithms(document: &[u8]) -> Vec<Algorithm> {
    // The set decides which of its keys are usable at all; a set without one has no algorithm.
    if KeySet::parse(document).is_err() {
        return Vec::new();
    }
    let document = parse_object(document).unwrap_or_default();
    let keys = document.get("keys").and_then(Value::as_array).into_iter().flatten();
    let usable: Vec<Algorithm> =
        keys.filter_map(|key| Some(VerifyingKey::from_jwk(key.as_object()?).ok()?.algorithm())).collect();
    Algorithm::ALL.iter().copied().filter(|algorithm| usable.contains(algorithm)).collect()
}

fn is_https(text: &str) -> bool {
    text.starts_with("https://") && Url::parse(text).is_ok()
}

fn is_scope(text: &str) -> bool {
    // RFC 6749 §3.3, without what would need quoting in YAML or in a shell.
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A setting with its comment, in the column of all others.
pub(super) fn line(setting: &str, comment: &str) -> String {
    format!("{setting:<42} # {comment}")
}

const ACCESS_TOKEN: &str = "# access_token: { typ: [at+jwt, jwt], kind: { claim: typ, is: [Bearer, DPoP] } }";
const DEFAULT_SCOPE: &str = "accounts";
const ALL_ALGORITHMS: &str = "algorithms: [PS256, ES256, EdDSA]";
/// What a client asks for to learn about its user, not to call an API (OpenID Connect Core 1.0 §5.4, §11).
const OPENID_SCOPES: &[&str] = &["openid", "profile", "email", "address", "phone", "offline_access"];
const WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use sandbox::tokens::{KeyKind, SigningKey, jwks};
    use serde_json::json;

    use super::*;

    #[test]
    fn algorithms_are_those_of_usable_keys() {
        let (ec, rsa) = (SigningKey::generate(KeyKind::Es256, "a"), SigningKey::generate(KeyKind::Ps256, "b"));
        let set = |keys: &[&SigningKey]| algorithms(jwks(keys).to_string().as_bytes());
        assert_eq!(set(&[&ec, &rsa]), [Algorithm::Ps256, Algorithm::Es256]);
        assert_eq!(set(&[&ec]), [Algorithm::Es256]);
        let mut weak = rsa.jwk();
        weak["alg"] = json!("RS256");
        assert_eq!(algorithms(json!({ "keys": [weak] }).to_string().as_bytes()), []);
        assert_eq!(algorithms(b"{}"), []);
    }
}
