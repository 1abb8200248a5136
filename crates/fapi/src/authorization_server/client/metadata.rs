//! What a client says of itself, read.

use std::sync::Arc;

use super::super::certificate::{CertificateSubject, SelfSigned};
use super::super::redirect_uri::RedirectUri;
use crate::jose::keys::{Algorithm, KeySet};
use crate::signed_body::directory::DirectoryName;

/// How many redirect URIs and grant types a client may have, of each.
pub const MAX_ENTRIES: usize = 100;

/// What a client says of itself, without the identifier, which the server gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ClientMetadata {
    pub(super) authentication: Authentication,
    pub(super) redirect_uris: Vec<RedirectUri>,
    pub(super) keys: Keys,
    pub(super) assertion_algorithm: Option<Algorithm>,
    pub(super) request_object_algorithm: Option<Algorithm>,
    pub(super) response_algorithm: Option<Algorithm>,
    pub(super) grants: Vec<Box<str>>,
    pub(super) dpop_bound: bool,
    pub(super) certificate_bound: bool,
    pub(super) signed_requests: bool,
    pub(super) name: DirectoryName,
}

/// How a client authenticates (FAPI 2.0 §5.3.2.1 (6)); other methods cannot be represented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// With a JWT that it signs (RFC 7523, OpenID Connect Core 1.0 §9).
    PrivateKeyJwt,
    /// With a certificate that an authority has issued to this subject (RFC 8705 §2.1).
    TlsClientAuth(CertificateSubject),
    /// With a certificate of its key set (RFC 8705 §2.2).
    SelfSignedTlsClientAuth,
}

impl Authentication {
    /// The names of all methods (RFC 7591 §2, RFC 8705 §2).
    pub const NAMES: [&str; 3] = ["private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"];

    /// Its name, one of [`NAMES`](Self::NAMES).
    pub const fn as_str(&self) -> &'static str {
        let [private_key_jwt, tls_client_auth, self_signed_tls_client_auth] = Self::NAMES;
        match self {
            Self::PrivateKeyJwt => private_key_jwt,
            Self::TlsClientAuth(_) => tls_client_auth,
            Self::SelfSignedTlsClientAuth => self_signed_tls_client_auth,
        }
    }
}

/// The keys of a client.
#[derive(Clone, Debug)]
pub enum ClientKeys {
    /// It has registered none.
    None,
    /// Those in its metadata. None of them may verify signatures, if the client does not have to sign.
    Given(Arc<KeySet>),
    /// Those at this https URL.
    At(Box<str>),
}

/// The keys, and what they are compared by, since keys that are parsed cannot be.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) parsed: ClientKeys,
    pub(super) self_signed: Option<SelfSigned>,
    /// The SHA-256 of the members that they are from.
    pub(super) written: [u8; 32],
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Keys {}

impl ClientMetadata {
    /// Its redirect URIs.
    pub(in super::super) fn redirect_uris(&self) -> &[RedirectUri] {
        &self.redirect_uris
    }

    /// Its grant types.
    pub(in super::super) fn grants(&self) -> &[Box<str>] {
        &self.grants
    }

    /// Its keys.
    pub(in super::super) const fn keys(&self) -> &ClientKeys {
        &self.keys.parsed
    }

    /// Those of its switches that are on, by their members.
    pub(in super::super) fn switches(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (DPOP_BOUND, self.dpop_bound),
            (CERTIFICATE_BOUND, self.certificate_bound),
            (SIGNED_REQUESTS, self.signed_requests),
        ];
        all.into_iter().filter(|(_, is_on)| *is_on).map(|(member, _)| member)
    }
}

/// RFC 9449 §5.2.
pub(in super::super) const DPOP_BOUND: &str = "dpop_bound_access_tokens";
/// RFC 8705 §3.4.
pub(in super::super) const CERTIFICATE_BOUND: &str = "tls_client_certificate_bound_access_tokens";
/// RFC 9101 §10.5.
pub(in super::super) const SIGNED_REQUESTS: &str = "require_signed_request_object";
