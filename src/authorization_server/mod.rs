//! The authorization servers behind the gateway: their clients, and what was pushed to them.
//!
//! [`fapi::authorization_server`] judges; here is what it needs to know and cannot: the registrations, the keys of clients and the
//! requests that were pushed.

mod answers;
mod assertion;
mod pushed;

use std::sync::Arc;

use fapi::UnixTime;
use fapi::authorization_server::authentication::{Authenticated, Claim, ClientKeySet, PeerCertificate};
use fapi::authorization_server::client::{ClientKeys, RegisteredClient};
use fapi::authorization_server::clients::Clients;
use fapi::authorization_server::front_channel::Pushed;
use fapi::authorization_server::{Endpoint, EndpointError, Rules, UnknownClients};
use fapi::jose::keys::KeySet;
use fapi::rejection::Cause;
use fapi::sha256;
use fapi::text::shown_text;

pub use self::assertion::UsedAssertion;
use self::pushed::PushedRequests;

/// One entry of `authorization_servers`.
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// What it has to follow.
    pub rules: Arc<Rules>,
    /// The origin at which browsers and clients find it.
    pub origin: Box<str>,
    /// Its clients.
    pub clients: Clients,
    /// Those that may introspect tokens.
    pub resource_servers: Clients,
    /// The URL of each endpoint.
    pub endpoint_urls: Vec<(Endpoint, Box<str>)>,
    /// Their URLs for clients with a certificate, if they are others.
    pub aliases: Vec<(Endpoint, Box<str>)>,
}

/// The authorization servers; the `server` of [`Rules`] is an index into them.
pub struct AuthorizationServers {
    servers: Vec<Arc<AuthorizationServer>>,
}

/// One of them, as it is known now.
pub struct AuthorizationServer {
    settings: Settings,
    pushed: Arc<PushedRequests>,
}

impl AuthorizationServers {
    /// The servers of a configuration. What was pushed to one of those `before` is known to the one of the same issuer.
    pub fn new(settings: Vec<Settings>, before: Option<&Self>) -> Self {
        let of = |settings: Settings| {
            let known = before.and_then(|before| {
                before.servers.iter().find(|server| server.settings.rules.issuer == settings.rules.issuer)
            });
            let pushed = known.map(|server| server.pushed.clone()).unwrap_or_default();
            Arc::new(AuthorizationServer { settings, pushed })
        };
        Self { servers: settings.into_iter().map(of).collect() }
    }

    /// The server with these rules.
    pub fn of(&self, rules: &Rules) -> Option<&Arc<AuthorizationServer>> {
        self.servers.get(rules.server)
    }
}

/// A client, and its keys as far as they are needed.
pub struct KnownClient {
    /// Who it is.
    pub client: Authenticated,
    /// Its keys, if it has any and is registered.
    pub keys: Option<Arc<KeySet>>,
}

impl AuthorizationServer {
    /// What it is configured with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Finds and authenticates the client of a request to this endpoint.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub async fn authenticate(
        &self,
        endpoint: Endpoint,
        claim: &Claim<'_>,
        certificate: &PeerCertificate<'_>,
        now: UnixTime,
    ) -> Result<KnownClient, Cause> {
        let rules = &*self.settings.rules;
        let id = claim.id()?;
        // Only resource servers introspect, and no client passes for one (RFC 7662 §4).
        let registry =
            if endpoint == Endpoint::Introspection { &self.settings.resource_servers } else { &self.settings.clients };
        let Some(client) = registry.get(&id) else {
            if endpoint == Endpoint::Introspection || rules.unknown_clients == UnknownClients::Refused {
                return Err(EndpointError::ClientUnknown { id: shown_text(&id) }.into());
            }
            let client = claim.pass_without_keys(certificate, rules, now)?;
            return Ok(KnownClient { client, keys: None });
        };
        let keys = self.keys_of(client);
        let none = KeySet::default();
        let known = ClientKeySet { keys: keys.as_deref().unwrap_or(&none), self_signed: None };
        let client = claim.prove(client, &known, certificate, rules, now)?;
        Ok(KnownClient { client, keys })
    }

    fn keys_of(&self, client: &RegisteredClient) -> Option<Arc<KeySet>> {
        match client.keys() {
            ClientKeys::Given(keys) => Some(keys.clone()),
            ClientKeys::None | ClientKeys::At(_) => None,
        }
    }

    /// Remembers what this client pushed.
    pub fn remember(&self, client_id: &str, request_uri: &str, until: UnixTime, now: UnixTime) {
        let pushed = Pushed { client_id: client_id.into(), until };
        self.pushed.insert(sha256(request_uri.as_bytes()), pushed, now);
    }

    /// What was pushed under this name.
    pub fn pushed(&self, request_uri: &str) -> Option<Pushed> {
        self.pushed.get(&sha256(request_uri.as_bytes()))
    }
}
