//! Why a handshake failed, as one of a closed set of reasons, and what the client had shown by then.

use std::sync::{Arc, LazyLock, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A certificate is required, and the client presented none.
    NoCertificate,
    /// The client's certificate does not lead to a trust anchor.
    UnknownCa,
    /// It, or an authority above it, has expired.
    Expired,
    /// It, or an authority above it, is not valid yet.
    NotYetValid,
    /// It, or an authority above it, is on a revocation list.
    Revoked,
    /// It was not issued for TLS clients.
    WrongUsage,
    /// It breaks any other rule, such as a constraint of its authority, or no revocation list in force covers it.
    Policy,
    /// The client asked for a name that is not served, or for none where one is required.
    NameUnknown,
    /// The client offers neither TLS 1.2 nor TLS 1.3.
    ProtocolVersion,
    /// It offers no cipher suite, group or signature algorithm that is accepted.
    NoSharedSuite,
    /// What it sent is not TLS.
    NotTls,
    /// It took too long.
    Timeout,
    /// The client gave up and said so, most often because it does not trust the gateway's certificate.
    ClientAlert,
    /// Anything else, such as a connection that was closed.
    Other,
}

impl Reason {
    /// Every reason.
    pub const ALL: &[Self] = &[
        Self::NoCertificate,
        Self::UnknownCa,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::WrongUsage,
        Self::Policy,
        Self::NameUnknown,
        Self::ProtocolVersion,
        Self::NoSharedSuite,
        Self::NotTls,
        Self::Timeout,
        Self::ClientAlert,
        Self::Other,
    ];

    /// The name in audit and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::UnknownCa => "unknown_ca",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::WrongUsage => "wrong_usage",
            Self::Policy => "policy",
            Self::NameUnknown => "name_unknown",
            Self::ProtocolVersion => "protocol_version",
            Self::NoSharedSuite => "no_shared_suite",
            Self::NotTls => "not_tls",
            Self::Timeout => "timeout",
            Self::ClientAlert => "client_alert",
            Self::Other => "other",
        }
    }

    /// The reason behind an error of rustls.
    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls may distinguish more errors in the future")]
    pub(in crate::connection) fn of(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::PeerIncompatible(lack) if OLD.contains(lack) => Self::ProtocolVersion,
            Error::PeerIncompatible(_) => Self::NoSharedSuite,
            Error::AlertReceived(_) => Self::ClientAlert,
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerSentOversizedRecord => Self::NotTls,
            _ => Self::Other,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every other error is one of the certificate, too")]
    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError::{
            BadSignature, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidYet,
            NotValidYetContext, Revoked, UnknownIssuer,
        };
        match error {
            // The signature is that of another authority with the same name.
            UnknownIssuer | BadSignature => Self::UnknownCa,
            Expired | ExpiredContext { .. } => Self::Expired,
            NotValidYet | NotValidYetContext { .. } => Self::NotYetValid,
            Revoked => Self::Revoked,
            InvalidPurpose | InvalidPurposeContext { .. } => Self::WrongUsage,
            _ => Self::Policy,
        }
    }

    /// The reason behind an error of which only rustls's text is left.
    pub(in crate::connection) fn of_text(text: &str) -> Self {
        let texts = &*TEXTS;
        if text.ends_with(&texts.no_certificate) {
            Self::NoCertificate
        } else if texts.old.iter().any(|old| text.ends_with(old)) {
            Self::ProtocolVersion
        } else if text.contains(&texts.incompatible) {
            Self::NoSharedSuite
        } else if text.contains(&texts.alert) {
            Self::ClientAlert
        } else {
            Self::Other
        }
    }
}

/// How rustls writes the errors that do not pass through a verifier: Pingora keeps only their text.
struct Texts {
    no_certificate: String,
    old: Vec<String>,
    /// What precedes the kind of incompatibility.
    incompatible: String,
    /// What precedes the name of the alert.
    alert: String,
}

static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    let before = |error: Error, name: String| error.to_string().trim_end_matches(&name).to_owned();
    let lack = PeerIncompatible::NoCipherSuitesInCommon;
    let alert = AlertDescription::CloseNotify;
    Texts {
        no_certificate: Error::NoCertificatesPresented.to_string(),
        old: OLD.iter().map(|lack| Error::from(lack.clone()).to_string()).collect(),
        incompatible: before(lack.clone().into(), format!("{lack:?}")),
        alert: before(Error::AlertReceived(alert), format!("{alert:?}")),
    }
});

/// What clients lack that know nothing newer than TLS 1.1, in which there are no signature algorithms to offer.
const OLD: &[PeerIncompatible] = &[
    PeerIncompatible::ServerDoesNotSupportTls12Or13,
    PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
    PeerIncompatible::SignatureAlgorithmsExtensionRequired,
    PeerIncompatible::SupportedVersionsExtensionRequired,
    PeerIncompatible::Tls12NotOffered,
    PeerIncompatible::Tls12NotOfferedOrEnabled,
];

/// What a client shows in the course of its handshake.
#[derive(Debug, Default)]
pub struct Attempt {
    pub(in crate::connection) server_name: OnceLock<Box<str>>,
    leaf: OnceLock<CertificateDer<'static>>,
    pub(in crate::connection) refusal: OnceLock<Error>,
}

impl Attempt {
    /// The server name that it requested.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.get().map(|name| &**name)
    }

    /// The certificate that it presented, trusted or not; nothing proves that it has the key.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.leaf.get().map(|leaf| &**leaf)
    }
}

tokio::task_local! {
    /// The attempt that the current task makes. rustls tells a verifier nothing about the connection.
    static ATTEMPT: Arc<Attempt>;
}

/// Performs a handshake, and notes in `attempt` what the verifier is shown.
pub(in crate::connection) async fn noting<F: Future>(attempt: Arc<Attempt>, handshake: F) -> F::Output {
    ATTEMPT.scope(attempt, handshake).await
}

/// Notes the certificate that a client shows, and why it is refused. Outside of a handshake of the gateway, nobody asks.
pub(super) fn note<T>(end_entity: &CertificateDer<'_>, judged: &Result<T, Error>) {
    let _ = ATTEMPT.try_with(|attempt| {
        let _ = attempt.leaf.set(end_entity.clone().into_owned());
        if let Err(error) = judged {
            let _ = attempt.refusal.set(error.clone());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_error_leads_to_the_reason_of_the_error() {
        let mut errors = vec![Error::NoCertificatesPresented, Error::General("anything".into())];
        errors.extend(OLD.iter().cloned().map(Error::from));
        errors.push(PeerIncompatible::NoKxGroupsInCommon.into());
        errors.extend((0..=255).map(|alert: u8| Error::AlertReceived(alert.into())));
        for error in errors {
            assert_eq!(Reason::of_text(&format!("accept: {error}")), Reason::of(&error), "{error}");
        }
    }

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
