//! probe.yaml as it is written: nothing opened, nothing looked up.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::document;
use crate::config::error::KeyPath;
use crate::config::report::Report;
use crate::config::scalar::Duration;
use crate::config::source::{deserialize, refuse_nulls, take_out_odd_keys};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) contact: Option<String>,
    pub(super) targets: Option<Vec<String>>,
    pub(super) target: Option<String>,
    pub(super) addresses: Option<Vec<String>>,
    pub(super) ca: Option<String>,
    pub(super) response_keys: Option<String>,
    pub(super) plans: Option<Vec<String>>,
    pub(super) resource: Option<Resource>,
    pub(super) claims: Option<Claims>,
    pub(super) clients: Option<Vec<Client>>,
    pub(super) expired: Option<Expired>,
    pub(super) authorization_server: Option<AuthorizationServer>,
    pub(super) issuer: Option<Issuer>,
    pub(super) revocation: Option<Revocation>,
    pub(super) limits: Option<Limits>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    pub(super) method: Option<String>,
    pub(super) headers: Option<BTreeMap<String, String>>,
    pub(super) scope: Option<String>,
    pub(super) forbidden: Option<String>,
    pub(super) write: Option<Write>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Write {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) bindings: Option<Vec<Binding>>,
    pub(super) nonce: Option<Nonce>,
    pub(super) nonce_lifetime: Option<Duration>,
    pub(super) revocation: Option<Duration>,
    pub(super) metadata: Option<bool>,
    pub(super) cors: Option<String>,
    pub(super) interaction_id: Option<bool>,
    pub(super) signed_requests: Option<bool>,
    pub(super) signed_responses: Option<bool>,
    pub(super) certificate_required: Option<bool>,
    pub(super) private_authorities: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Binding {
    Certificate,
    Dpop,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Nonce {
    Never,
    #[default]
    Sometimes,
    Always,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) client_id: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) proof_key: Option<String>,
    pub(super) signing_key: Option<String>,
    pub(super) signing_key_id: Option<String>,
    pub(super) tokens: Option<Tokens>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expired {
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    pub(super) certificate: Option<String>,
    pub(super) dpop: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthorizationServer {
    pub(super) issuer: Option<String>,
    pub(super) token_endpoint: Option<String>,
    pub(super) pushed_authorization_request_endpoint: Option<String>,
    pub(super) authorization_endpoint: Option<String>,
    pub(super) revocation_endpoint: Option<String>,
    pub(super) client_authentication: Option<ClientAuthentication>,
    pub(super) grant: Option<Grant>,
    pub(super) redirect_uri: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) ca: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClientAuthentication {
    #[default]
    PrivateKeyJwt,
    TlsClientAuth,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Grant {
    #[default]
    ClientCredentials,
    AuthorizationCode,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) key: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) rsa_key: Option<String>,
    pub(super) rsa_key_id: Option<String>,
    pub(super) claims: Option<Map<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    pub(super) url: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) rate: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) timeout: Option<Duration>,
}

/// The file; `None` if it cannot be read, which is a problem.
pub(super) fn file(bytes: &[u8], report: &mut Report) -> Option<File> {
    let root = KeyPath::default();
    let mut value = document::parse(bytes, report)?;
    take_out_odd_keys(&mut value, &root, report);
    let file = deserialize(&mut value, report)?;
    refuse_nulls(&value, &root, report);
    Some(file)
}
