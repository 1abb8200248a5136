//! Who is registered at the authorization server behind the gateway: two clients and a resource server.

use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::{Value, json};

use super::folder::Folder;

/// A client that authenticates with `private_key_jwt`.
pub(in super::super) const CLIENT: &str = "tpp-1";
/// A client that authenticates with the certificate of the honest client.
pub(in super::super) const CERTIFICATE_CLIENT: &str = "tpp-2";
/// A resource server, which may ask about tokens.
pub(in super::super) const RESOURCE_SERVER: &str = "accounts-api";
/// The redirect URI of both clients.
pub(in super::super) const REDIRECT_URI: &str = "https://tpp.example/callback";

/// The folders of their documents, as gateway.yaml names them.
pub(super) const CLIENTS: &str = "clients";
pub(super) const RESOURCE_SERVERS: &str = "resource-servers";

/// The keys that they sign assertions with.
pub(in super::super) struct Registered {
    /// That of [`CLIENT`].
    pub(in super::super) client: SigningKey,
    /// That of [`RESOURCE_SERVER`].
    pub(in super::super) resource_server: SigningKey,
}

impl Registered {
    pub(super) fn new() -> Self {
        let [client, resource_server] =
            [CLIENT, RESOURCE_SERVER].map(|name| SigningKey::generate(KeyKind::Es256, name));
        Self { client, resource_server }
    }

    /// Writes the documents (RFC 7591 §2).
    pub(super) fn write(&self, folder: &Folder) -> std::io::Result<()> {
        let by_key = |id: &str, key: &SigningKey| {
            json!({
                "client_id": id,
                "token_endpoint_auth_method": "private_key_jwt",
                "jwks": { "keys": [key.jwk()] },
                "redirect_uris": [REDIRECT_URI],
                "grant_types": ["authorization_code"],
            })
        };
        let by_certificate = json!({
            "client_id": CERTIFICATE_CLIENT,
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_subject_dn": "CN=demo-client",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code"],
        });
        folder.make_within(CLIENTS)?;
        folder.make_within(RESOURCE_SERVERS)?;
        let document = |within: &str, id: &str, document: &Value| {
            folder.write(&format!("{within}/{id}.json"), &format!("{document:#}\n")).map(drop)
        };
        document(CLIENTS, CLIENT, &by_key(CLIENT, &self.client))?;
        document(CLIENTS, CERTIFICATE_CLIENT, &by_certificate)?;
        document(RESOURCE_SERVERS, RESOURCE_SERVER, &by_key(RESOURCE_SERVER, &self.resource_server))
    }
}
