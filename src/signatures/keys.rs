//! The keys that clients sign messages with: always those of the token's client, and never anything that a message brings along
//! (HSIG-08).

use std::collections::HashMap;
use std::sync::Arc;

use fapi::authorization_server::client::RegisteredClient;
use fapi::authorization_server::clients::Clients;
use fapi::jose::keys::KeySet;
use fapi::rejection::Unavailable;
use fapi::signature::error::SignatureError;
use fapi::signed_body::directory::DirectoryName;
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
    File(HashMap<Box<str>, Arc<Listed>>),
    /// In the registrations of an authorization server behind the gateway, by its index.
    AuthorizationServer(usize),
    /// The same for every client, where nobody is served: for policy tests.
    Everybody(Arc<Listed>),
}

/// A client in a file.
pub struct Listed {
    /// Its keys.
    pub keys: Arc<KeySet>,
    /// How the directory of an ecosystem names it.
    pub name: DirectoryName,
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
    File(HashMap<Box<str>, Arc<Listed>>),
    AuthorizationServer(Arc<AuthorizationServer>),
    Everybody(Arc<Listed>),
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
        match self.sets.get(set).and_then(|set| set.known.client(id)).ok_or_else(unknown)? {
            Found::Listed(listed) => {
                Ok(KnownSet { keys: KnownKeys::Given(listed.keys.clone()), found: Found::Listed(listed) })
            }
            Found::Published(client, sources) => {
                let keys = KnownKeys::of(client, sources).await?;
                Ok(KnownSet { keys, found: Found::Published(client, sources) })
            }
        }
    }

    /// How the directory of an ecosystem names a client, as far as a set knows it.
    pub fn name_of(&self, set: usize, client_id: &str) -> Option<&DirectoryName> {
        self.sets.get(set)?.known.client(client_id).map(Found::name)
    }
}

impl Known {
    fn client(&self, id: &str) -> Option<Found<'_>> {
        let (clients, sources) = match self {
            Self::File(listed) => return listed.get(id).map(|listed| Found::Listed(listed)),
            Self::Everybody(listed) => return Some(Found::Listed(listed)),
            Self::Clients(clients, sources) => (clients, sources),
            Self::AuthorizationServer(server) => server.clients(),
        };
        clients.get(id).map(|client| Found::Published(client, sources))
    }
}

/// A client in a set.
#[derive(Clone, Copy)]
enum Found<'s> {
    Listed(&'s Listed),
    Published(&'s RegisteredClient, &'s ClientKeySources),
}

impl<'s> Found<'s> {
    fn name(self) -> &'s DirectoryName {
        match self {
            Self::Listed(listed) => &listed.name,
            Self::Published(client, _) => client.directory_name(),
        }
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
    found: Found<'s>,
}

impl<'s> KnownSet<'s> {
    /// Those that verify signatures, if it has any.
    pub fn keys(&self) -> Option<&KeySet> {
        self.keys.keys()
    }

    /// How the directory of an ecosystem names the client.
    pub fn name(&self) -> &'s DirectoryName {
        self.found.name()
    }

    /// The same after they were read again, since these do not verify what the client has signed; `None` if there are no others.
    ///
    /// # Errors
    /// [`Unavailable::ClientKeys`].
    pub async fn again(&self) -> Result<Option<Self>, Unavailable> {
        let Found::Published(client, sources) = self.found else { return Ok(None) };
        let keys = self.keys.again(client, sources).await?;
        Ok(keys.map(|keys| Self { keys, found: self.found }))
    }
}
