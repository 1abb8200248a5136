//! The authorization servers behind the gateway: their clients, and what was pushed to them.
//!
//! [`fapi::authorization_server`] judges; here is what it needs to know and cannot: the registrations, the keys of clients and the
//! requests that were pushed.

mod answers;
mod assertion;
mod client_keys;
pub(crate) mod known_keys;
mod pushed;
mod shared;

use std::sync::Arc;

use fapi::UnixTime;
use fapi::authorization_server::authentication::{Authenticated, Claim, ClientKeySet};
use fapi::authorization_server::certificate::PeerCertificate;
use fapi::authorization_server::client::RegisteredClient;
use fapi::authorization_server::clients::Clients;
use fapi::authorization_server::front_channel::Pushed;
use fapi::authorization_server::registration::RegistrationRules;
use fapi::authorization_server::{Endpoint, EndpointError, Rules, UnknownClients};
use fapi::jose::keys::KeySet;
use fapi::rejection::{Cause, Unavailable};
use fapi::sha256;
use fapi::text::shown_text;

pub use self::assertion::UsedAssertion;
pub(crate) use self::client_keys::ClientKeySources;
pub use self::client_keys::ClientKeysError;
use self::known_keys::KnownKeys;
use self::pushed::PushedRequests;
use self::shared::SharedPushed;
use crate::clock::Clock;
use crate::store::Store;
use crate::tls_client::TrustAnchors;

/// One entry of `authorization_servers`.
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// What it has to follow.
    pub rules: Arc<Rules>,
    /// Which of the stores has what was pushed too, if it is shared.
    pub store: Option<usize>,
    /// The origin at which browsers and clients find it.
    pub origin: Box<str>,
    /// Its clients.
    pub clients: Clients,
    /// Those that may introspect tokens.
    pub resource_servers: Clients,
    /// The authorities of the hosts at which both publish their keys.
    pub client_trust_anchors: TrustAnchors,
    /// What it asks of clients that register themselves.
    pub registration: RegistrationRules,
    /// The URL of each endpoint, under the member of the metadata that names it.
    pub endpoint_urls: Vec<(&'static str, Box<str>)>,
    /// Their URLs for clients with a certificate, if they are others.
    pub aliases: Vec<(&'static str, Box<str>)>,
}

/// The authorization servers; the `server` of [`Rules`] is an index into them.
pub struct AuthorizationServers {
    servers: Vec<Arc<AuthorizationServer>>,
}

/// One of them, as it is known now.
pub struct AuthorizationServer {
    settings: Settings,
    pushed: Arc<PushedRequests>,
    shared: Option<SharedPushed>,
    client_keys: ClientKeySources,
    resource_server_keys: ClientKeySources,
}

impl AuthorizationServers {
    /// The servers of a configuration. What was pushed to one of those `before`, and what was read of its clients, is known to the
    /// one of the same issuer.
    ///
    /// # Errors
    /// [`ClientKeysError`].
    pub fn new(
        settings: Vec<Settings>,
        stores: &[Arc<Store>],
        clock: &Clock,
        before: Option<&Self>,
    ) -> Result<Self, ClientKeysError> {
        let of = |settings: Settings| {
            let known = before.and_then(|before| {
                before.servers.iter().find(|server| server.settings.rules.issuer == settings.rules.issuer)
            });
            let pushed = known.map(|server| server.pushed.clone()).unwrap_or_default();
            let keys_of = |clients, before| {
                ClientKeySources::new(&settings.name, clients, &settings.client_trust_anchors, clock, before)
            };
            let client_keys = keys_of(&settings.clients, known.map(|server| &server.client_keys))?;
            let before = known.map(|server| &server.resource_server_keys);
            let resource_server_keys = keys_of(&settings.resource_servers, before)?;
            let store = settings.store.and_then(|index| stores.get(index));
            let shared = store.map(|store| SharedPushed::new(store.clone(), &settings.rules.issuer));
            Ok(Arc::new(AuthorizationServer { settings, pushed, shared, client_keys, resource_server_keys }))
        };
        Ok(Self { servers: settings.into_iter().map(of).collect::<Result<_, _>>()? })
    }

    /// The server with this index.
    pub(crate) fn at(&self, index: usize) -> Option<&Arc<AuthorizationServer>> {
        self.servers.get(index)
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
    keys: KnownKeys,
}

impl KnownClient {
    /// Its keys, if it has any and is registered.
    pub fn keys(&self) -> Option<&KeySet> {
        self.keys.keys()
    }
}

impl AuthorizationServer {
    /// What it is configured with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Finds and authenticates the client of a request to this endpoint. Its keys are read if it authenticates with them, or if
    /// the request `is_signed`, and nothing else is at fault.
    ///
    /// # Errors
    /// [`EndpointError`], and [`Unavailable::ClientKeys`].
    pub async fn authenticate(
        &self,
        endpoint: Endpoint,
        claim: &Claim<'_>,
        is_signed: bool,
        certificate: &PeerCertificate<'_>,
        now: UnixTime,
    ) -> Result<KnownClient, Cause> {
        let rules = &*self.settings.rules;
        let id = claim.id()?;
        let Some(client) = self.registry(endpoint).0.get(&id) else {
            // A server that reads ids without regard to case would take it for the registered one.
            let resembles = self.settings.clients.iter().any(|client| client.id().eq_ignore_ascii_case(id.trim()));
            // It is remembered with what the client pushes.
            let is_long = id.len() > LONGEST_ID;
            let is_refused = rules.unknown_clients == UnknownClients::Refused || resembles || is_long;
            if endpoint == Endpoint::Introspection || is_refused {
                let role = if endpoint == Endpoint::Introspection { "resource server" } else { "client" };
                return Err(EndpointError::ClientUnknown { role, id: shown_text(&id) }.into());
            }
            let client = claim.pass_without_keys(certificate, rules, now)?;
            return Ok(KnownClient { client, keys: KnownKeys::None });
        };
        let prove = |keys: &KnownKeys| {
            let none = KeySet::default();
            let known = ClientKeySet { keys: keys.keys().unwrap_or(&none), self_signed: keys.self_signed() };
            claim.prove(client, &known, certificate, rules, now)
        };
        let needs_keys = claim.needs_keys(client, certificate);
        let keys = if needs_keys { self.keys_of(endpoint, client).await? } else { KnownKeys::None };
        let (authenticated, keys) = match prove(&keys) {
            Ok(authenticated) => (authenticated, keys),
            Err(error) => {
                let keys = self.keys_again(endpoint, client, &keys, error).await?;
                (prove(&keys)?, keys)
            }
        };
        let keys = if is_signed && !needs_keys { self.keys_of(endpoint, client).await? } else { keys };
        Ok(KnownClient { client: authenticated, keys })
    }

    /// The same client with keys that were read again, if others than before could change this outcome of its request, and are
    /// there.
    ///
    /// # Errors
    /// The `error` itself, if not; [`Unavailable::ClientKeys`], if they cannot be read and
    /// may have the key that is missing.
    pub async fn read_again(
        &self,
        endpoint: Endpoint,
        known: KnownClient,
        error: EndpointError,
    ) -> Result<KnownClient, Cause> {
        let KnownClient { client, keys } = known;
        let Some(registered) = client.client() else { return Err(error.into()) };
        let keys = self.keys_again(endpoint, registered, &keys, error).await?;
        Ok(KnownClient { client, keys })
    }

    /// Who may call an endpoint, and what is read of them. Only resource servers introspect, and no client passes for one (RFC 7662
    /// §4).
    const fn registry(&self, endpoint: Endpoint) -> (&Clients, &ClientKeySources) {
        if matches!(endpoint, Endpoint::Introspection) {
            (&self.settings.resource_servers, &self.resource_server_keys)
        } else {
            (&self.settings.clients, &self.client_keys)
        }
    }

    async fn keys_of(&self, endpoint: Endpoint, client: &RegisteredClient) -> Result<KnownKeys, Cause> {
        Ok(KnownKeys::of(client, self.registry(endpoint).1).await?)
    }

    /// Its clients, and what they publish.
    pub(crate) const fn clients(&self) -> (&Clients, &ClientKeySources) {
        (&self.settings.clients, &self.client_keys)
    }

    async fn keys_again(
        &self,
        endpoint: Endpoint,
        client: &RegisteredClient,
        seen: &KnownKeys,
        error: EndpointError,
    ) -> Result<KnownKeys, Cause> {
        if !error.depends_on_keys() {
            return Err(error.into());
        }
        match seen.again(client, self.registry(endpoint).1).await {
            Ok(Some(newer)) => Ok(newer),
            // What the client shows may be good: it can try again.
            Err(unavailable) if error.lacks_key() => Err(unavailable.into()),
            Ok(None) | Err(_) => Err(error.into()),
        }
    }

    /// Remembers what was pushed, here and for the other replicas. If the store does not answer, only this replica knows.
    pub async fn remember(&self, request_uri: &str, pushed: Pushed, now: UnixTime) {
        let name = sha256(request_uri.as_bytes());
        if let Some(shared) = &self.shared {
            shared.tell(&name, &pushed, now).await;
        }
        self.pushed.insert(name, pushed, now);
    }

    /// What was pushed under this name, here or at another replica.
    ///
    /// # Errors
    /// [`Unavailable::PushedRequests`] if it was not pushed here, and the store does not say whether it was elsewhere.
    pub async fn pushed(&self, request_uri: &str) -> Result<Option<Pushed>, Unavailable> {
        let name = sha256(request_uri.as_bytes());
        match (self.pushed.get(&name), &self.shared) {
            (Some(pushed), _) => Ok(Some(pushed)),
            (None, None) => Ok(None),
            (None, Some(shared)) => shared.ask(&name).await,
        }
    }
}

/// The longest id of a client that is not registered here, in bytes: that of one which is.
const LONGEST_ID: usize = 256;
