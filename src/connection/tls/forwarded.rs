//! Client certificates of handshakes that another made: judged by the rule of our own.

use fapi::UnixTime;
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;

use super::client_certificates::Verifier;
use super::revocation_list::tls_time;
use super::{Demand, Trust, provider};

/// What makes a certificate acceptable that a proxy hands on.
#[derive(Debug)]
pub struct ForwardedRule(Verifier);

impl ForwardedRule {
    /// The rule of `trust`; [`Trust::Possession`] leaves everything to the proxy but whose key signed its handshake.
    pub fn new(trust: &Trust) -> Self {
        // As where one is required: a certificate that has ended, or one above it, is none.
        Self(Verifier::new(Demand::Required, trust, provider().signature_verification_algorithms))
    }

    /// Whether what it takes leads to a trust anchor.
    pub const fn verifies_chains(&self) -> bool {
        self.0.verifies_chains()
    }

    /// Takes a chain, leaf first; with the authorities between it and the anchor, and the first second in which it has to be
    /// asked again.
    ///
    /// # Errors
    /// What is wrong, in a few words.
    pub fn judge(
        &self,
        chain: &[CertificateDer<'static>],
        now: UnixTime,
    ) -> Result<(Vec<CertificateDer<'static>>, UnixTime), &'static str> {
        let (leaf, intermediates) = chain.split_first().ok_or("there is none")?;
        let path = self.0.verify(leaf, intermediates, tls_time(now)).map_err(|error| in_words(&error))?;
        Ok((path, self.0.holds_until(chain, now)))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls may learn to tell more faults apart")]
const fn in_words(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it, or one above it, has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::Revoked => "it was revoked",
        CertificateError::UnknownRevocationStatus => "no revocation list tells of it",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "its revocation list is past its nextUpdate"
        }
        CertificateError::UnknownIssuer => "no chain leads to a trust anchor",
        CertificateError::BadSignature => "its issuer did not sign it",
        CertificateError::InvalidPurpose => "it is not meant for clients",
        _ => "it breaks a rule of RFC 5280",
    }
}
