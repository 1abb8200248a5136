//! In place of the TLS to servers, which nobody has in a scene.

use crate::pki_types::{CertificateDer, PrivateKeyDer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustAnchors {
    System,
    Given(Vec<CertificateDer<'static>>),
}

pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}
