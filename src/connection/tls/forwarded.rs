//! Client certificates from handshakes that a proxy performed, judged by the gateway's own rule.

use fapi::UnixTime;
use fapi::path_validation::Fault;
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;

use super::client_certificates::Verifier;
use super::revocation_list::tls_time;
use super::{Demand, Trust, provider};

/// What makes a certificate acceptable that a proxy forwards.
#[derive(Debug)]
pub struct ForwardedRule(Verifier);

impl ForwardedRule {
    /// Creates the rule for `trust`. With [`Trust::Possession`], any readable certificate is acceptable: the proxy
    /// attests that its key signed the handshake.
    pub fn new(trust: &Trust) -> Self {
        // As where a certificate is required: if it, or one above it, has expired, it counts as none.
        Self(Verifier::new(Demand::Required, trust, provider().signature_verification_algorithms))
    }

    /// Whether an accepted certificate leads to a trust anchor.
    pub const fn verifies_chains(&self) -> bool {
        self.0.verifies_chains()
    }

    /// Verifies a chain, leaf first.
    ///
    /// Returns the authorities between the leaf and the trust anchor, and the first second in which the chain must be
    /// verified again.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn judge(
        &self,
        chain: &[CertificateDer<'static>],
        now: UnixTime,
    ) -> Result<(Vec<CertificateDer<'static>>, UnixTime), &'static str> {
        let (leaf, intermediates) = chain.split_first().ok_or("there is no certificate")?;
        let path = self.0.verify(leaf, intermediates, tls_time(now)).map_err(|error| in_words(&error))?;
        Ok((path, self.0.holds_until(chain, now)))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls may distinguish more errors in the future")]
fn in_words(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it or one of its issuers has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::Revoked => "it was revoked",
        CertificateError::UnknownRevocationStatus => "no revocation list covers it",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "its revocation list is past its nextUpdate"
        }
        CertificateError::UnknownIssuer => "no chain leads to a trust anchor",
        CertificateError::BadSignature => "its issuer did not sign it",
        CertificateError::InvalidPurpose => "it is not valid for client authentication",
        CertificateError::Other(other) => match other.0.downcast_ref::<Fault>() {
            Some(fault) => of_second_validator(*fault),
            None => "it violates RFC 5280",
        },
        _ => "it violates RFC 5280",
    }
}

const fn of_second_validator(fault: Fault) -> &'static str {
    match fault {
        Fault::PathTooLong => "its chain is longer than an authority allows",
        Fault::NameNotPermitted => "it has a name that its issuer may not certify",
        Fault::NoValidPolicy => "no certificate policy is valid for its whole chain",
        Fault::Unsupported(extension) => extension.refusal(),
        Fault::NoPath
        | Fault::BadSignature
        | Fault::TooMuchWork
        | Fault::Malformed
        | Fault::OldVersion
        | Fault::NotAnAuthority
        | Fault::WrongPurpose
        | Fault::NotValidYet
        | Fault::Expired
        | Fault::UnknownStatus
        | Fault::ExpiredList
        | Fault::Revoked => "it violates RFC 5280",
    }
}
