//! The keys of a client, wherever they are.

use std::sync::Arc;

use fapi::authorization_server::certificate::SelfSigned;
use fapi::authorization_server::client::{ClientKeys, RegisteredClient};
use fapi::jose::keys::KeySet;
use fapi::rejection::Unavailable;

use super::client_keys::{ClientKeySources, PublishedKeys, ReadAgain};

/// The keys of a client.
pub(crate) enum KnownKeys {
    /// It has none, or they are not needed.
    None,
    /// They are in its registration.
    Given(Arc<KeySet>),
    /// They are at its `jwks_uri`.
    Published(Arc<PublishedKeys>),
}

impl KnownKeys {
    /// The keys of a client, which are in its registration or at its `jwks_uri`.
    ///
    /// # Errors
    /// [`Unavailable::ClientKeys`], if they are there and cannot be read.
    pub(crate) async fn of(client: &RegisteredClient, sources: &ClientKeySources) -> Result<Self, Unavailable> {
        if let ClientKeys::Given(keys) = client.keys() {
            return Ok(Self::Given(keys.clone()));
        }
        let published = sources.of(client).await?;
        Ok(published.map_or(Self::None, Self::Published))
    }

    /// The keys as they are read again, since these do not verify what the client has signed; `None` if there are no others.
    ///
    /// # Errors
    /// [`Unavailable::ClientKeys`], if they cannot be read.
    pub(crate) async fn again(
        &self,
        client: &RegisteredClient,
        sources: &ClientKeySources,
    ) -> Result<Option<Self>, Unavailable> {
        let Self::Published(seen) = self else { return Ok(None) };
        match sources.again(client, seen).await {
            ReadAgain::Newer(newer) => Ok(Some(Self::Published(newer))),
            ReadAgain::Same => Ok(None),
            ReadAgain::NotRead(unavailable) => Err(unavailable),
        }
    }

    /// Those that verify signatures, if it has any.
    pub(crate) fn keys(&self) -> Option<&KeySet> {
        match self {
            Self::None => None,
            Self::Given(keys) => Some(keys),
            Self::Published(published) => Some(&published.keys),
        }
    }

    /// The certificates that it made itself.
    pub(super) fn self_signed(&self) -> Option<&SelfSigned> {
        match self {
            Self::None | Self::Given(_) => None,
            Self::Published(published) => published.self_signed.as_ref(),
        }
    }
}
