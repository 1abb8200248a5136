//! The keys that clients sign messages with: always those of the token's client, and never anything that a message brings along
//! (HSIG-08).

use std::collections::HashMap;
use std::sync::Arc;

use fapi::authorization_server::client::RegisteredClient;
use fapi::authorization_server::clients::Clients;
use fapi::jose::keys::KeySet;
use fapi::rejection::Unavailable;
use fapi::signature::error::SignatureError;
use fapi::text::shown_text;

use crate::authorization_server::known_keys::KnownKeys;
use crate::authorization_server::{AuthorizationServer, AuthorizationServers, ClientKeySources, ClientKeysError};
use crate::clock::Clock;
use crate::tls_client::TrustAnchors;

/// One entry of `client_keys`.
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// Where the keys are.
    pub source: Source,
}

/// Where the keys of clients are.
pub enum Source {
    /// In documents of client metadata, or at the `jwks_uri` that they name.
    Clients {
        /// The clients.
        clients: Clients,
        /// The authorities of the hosts at which they publish their keys.
        trust_anchors: TrustAnchors,
    },
    /// In a file, by the client's id.
    File(HashMap<Box<str>, Arc<KeySet>>),
    /// In the registrations of an authorization server behind the gateway, by its index.
    AuthorizationServer(usize),
    /// The same for every client, where nobody is served: for policy tests.
    Everybody(Arc<KeySet>),
}

/// The keys of clients, as far as they are known now.
#[derive(Default)]
pub struct ClientKeySets {
    sets: Vec<Set>,
}

struct Set {
    name: Arc<str>,
    known: Known,
}

enum Known {
    Clients(Clients, ClientKeySources),
    File(HashMap<Box<str>, Arc<KeySet>>),
    AuthorizationServer(Arc<AuthorizationServer>),
    Everybody(Arc<KeySet>),
}

impl ClientKeySets {
    /// The sets of a configuration. What was read of a client by the set of the same name `before` stays in use.
    ///
    /// # Errors
    /// [`ClientKeysError`].
    pub fn new(
        settings: Vec<Settings>,
        servers: &AuthorizationServers,
        clock: &Clock,
        before: Option<&Self>,
    ) -> Result<Self, ClientKeysError> {
        let mut sets = Vec::new();
        for Settings { name, source } in settings {
            let known = match source {
                Source::Clients { clients, trust_anchors } => {
                    let before = before.and_then(|before| before.published_by(&name));
                    let sources = ClientKeySources::new(&name, &clients, &trust_anchors, clock, before)?;
                    Known::Clients(clients, sources)
                }
                Source::File(keys) => Known::File(keys),
                Source::Everybody(keys) => Known::Everybody(keys),
                Source::AuthorizationServer(index) => match servers.at(index) {
                    Some(server) => Known::AuthorizationServer(server.clone()),
                    None => Known::File(HashMap::new()),
                },
            };
            sets.push(Set { name, known });
        }
        Ok(Self { sets })
    }

    fn published_by(&self, name: &str) -> Option<&ClientKeySources> {
        self.sets.iter().find(|set| *set.name == *name).and_then(|set| match &set.known {
            Known::Clients(_, sources) => Some(sources),
            Known::File(_) | Known::AuthorizationServer(_) | Known::Everybody(_) => None,
        })
    }

    /// The keys of the client with this id in a set. Waits only while they are read for the first time.
    ///
    /// # Errors
    /// [`NoKeys`].
    pub async fn of(&self, set: usize, client_id: Option<&str>) -> Result<KnownSet<'_>, NoKeys> {
        let unknown = || {
            let client = client_id.map_or_else(|| "nobody".into(), |id| format!("{:?}", shown_text(id)).into());
            NoKeys::Unknown(SignatureError::ClientUnknown { client })
        };
        let id = client_id.ok_or_else(unknown)?;
        let set = self.sets.get(set).ok_or_else(unknown)?;
        let (clients, sources) = match &set.known {
            Known::File(keys) => {
                let keys = KnownKeys::Given(keys.get(id).ok_or_else(unknown)?.clone());
                return Ok(KnownSet { keys, published: None });
            }
            Known::Everybody(keys) => return Ok(KnownSet { keys: KnownKeys::Given(keys.clone()), published: None }),
            Known::Clients(clients, sources) => (clients, sources),
            Known::AuthorizationServer(server) => server.clients(),
        };
        let client = clients.get(id).ok_or_else(unknown)?;
        let keys = KnownKeys::of(client, sources).await?;
        Ok(KnownSet { keys, published: Some((client, sources)) })
    }
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// The client is not one whose keys are known.
    #[error(transparent)]
    Unknown(SignatureError),
    /// They cannot be read.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The keys of a client.
pub struct KnownSet<'s> {
    keys: KnownKeys,
    published: Option<(&'s RegisteredClient, &'s ClientKeySources)>,
}

impl KnownSet<'_> {
    /// Those that verify signatures, if it has any.
    pub fn keys(&self) -> Option<&KeySet> {
        self.keys.keys()
    }

    /// The same after they were read again, since these do not verify what the client has signed; `None` if there are no others.
    ///
    /// # Errors
    /// [`Unavailable::ClientKeys`].
    pub async fn again(&self) -> Result<Option<Self>, Unavailable> {
        let Some((client, sources)) = self.published else { return Ok(None) };
        let keys = self.keys.again(client, sources).await?;
        Ok(keys.map(|keys| Self { keys, published: self.published }))
    }
}
