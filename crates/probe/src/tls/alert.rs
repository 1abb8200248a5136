//! Alerts, by which a peer says why it does not go on.

use std::fmt;

/// An alert (RFC 5246 §7.2, RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// 1 for a warning, 2 for a fatal alert.
    pub level: u8,
    /// What it is about, such as [`Alert::HANDSHAKE_FAILURE`].
    pub description: u8,
}

impl Alert {
    /// The peer sends nothing more.
    pub const CLOSE_NOTIFY: u8 = 0;
    /// Nothing that was offered is acceptable.
    pub const HANDSHAKE_FAILURE: u8 = 40;
    /// No version that was offered is acceptable.
    pub const PROTOCOL_VERSION: u8 = 70;
    /// The peer does not renegotiate (RFC 5246 §7.2.2).
    pub const NO_RENEGOTIATION: u8 = 100;

    /// The alert in the body of a record, where it stands alone.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let [level, description] = *body else { return None };
        Some(Self { level, description })
    }

    /// Whether the connection ends with it. A level that TLS does not know is as bad as the fatal one.
    pub fn ends(self) -> bool {
        self.level != 1 || self.description == Self::CLOSE_NOTIFY
    }

    /// The name of the description in IANA's registry, if it is in there.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(description, _)| *description == self.description).map(|(_, name)| *name)
    }
}

/// `handshake_failure (40)`, or `alert 99` where it has no name.
impl fmt::Display for Alert {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(formatter, "{name} ({})", self.description),
            None => write!(formatter, "alert {}", self.description),
        }
    }
}

const NAMES: &[(u8, &str)] = &[
    (0, "close_notify"),
    (10, "unexpected_message"),
    (20, "bad_record_mac"),
    (21, "decryption_failed"),
    (22, "record_overflow"),
    (30, "decompression_failure"),
    (40, "handshake_failure"),
    (41, "no_certificate"),
    (42, "bad_certificate"),
    (43, "unsupported_certificate"),
    (44, "certificate_revoked"),
    (45, "certificate_expired"),
    (46, "certificate_unknown"),
    (47, "illegal_parameter"),
    (48, "unknown_ca"),
    (49, "access_denied"),
    (50, "decode_error"),
    (51, "decrypt_error"),
    (60, "export_restriction"),
    (70, "protocol_version"),
    (71, "insufficient_security"),
    (80, "internal_error"),
    (86, "inappropriate_fallback"),
    (90, "user_canceled"),
    (100, "no_renegotiation"),
    (109, "missing_extension"),
    (110, "unsupported_extension"),
    (111, "certificate_unobtainable"),
    (112, "unrecognized_name"),
    (113, "bad_certificate_status_response"),
    (115, "unknown_psk_identity"),
    (116, "certificate_required"),
    (120, "no_application_protocol"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_two_bytes_and_says_its_name() {
        let alert = Alert::read(&[2, Alert::HANDSHAKE_FAILURE]).unwrap();
        assert_eq!(alert.to_string(), "handshake_failure (40)");
        assert_eq!(Alert::read(&[2, 99]).unwrap().to_string(), "alert 99");
        assert_eq!([&[][..], &[2], &[2, 40, 0]].map(Alert::read), [None; 3]);
    }

    #[test]
    fn warnings_do_not_end_a_connection() {
        assert!(!Alert { level: 1, description: 112 }.ends());
        assert!(Alert { level: 2, description: 112 }.ends());
        assert!(Alert { level: 1, description: Alert::CLOSE_NOTIFY }.ends());
    }
}
