//! What a server says with a TLS alert.

/// The TLS alert that the text of an error is about, and what it says about the gateway's certificate.
///
/// HTTP/2 keeps only the text of what broke its connection. With TLS 1.3, an alert about a client's certificate arrives when the
/// handshake is over for the client.
pub fn alert(error: &str) -> Option<String> {
    const RECEIVED: &str = "received fatal alert: ";
    let (_, alert) = error.split_once(RECEIVED)?;
    let name: String = alert.chars().take_while(char::is_ascii_alphanumeric).take(40).collect();
    let meaning = ABOUT_CERTIFICATES.iter().find(|(known, _)| *known == name).map_or("", |(_, meaning)| meaning);
    Some(format!("{RECEIVED}{name}{meaning}"))
}

const REFUSED: &str = " (the server refuses the gateway's client certificate)";

const ABOUT_CERTIFICATES: [(&str, &str); 9] = [
    ("CertificateRequired", " (the server wants a client certificate of the gateway)"),
    ("AccessDenied", REFUSED),
    ("BadCertificate", REFUSED),
    ("CertificateExpired", REFUSED),
    ("CertificateRevoked", REFUSED),
    ("CertificateUnknown", REFUSED),
    // A server that knows the name of the certificate's authority, but another key, calls its signature wrong.
    ("DecryptError", REFUSED),
    ("UnknownCA", REFUSED),
    ("UnsupportedCertificate", REFUSED),
];

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, Error};

    use super::*;

    #[test]
    fn the_names_are_those_of_the_library() {
        let said = |alert| super::alert(&format!("broken: {}", Error::AlertReceived(alert))).unwrap();
        for alert in [
            AlertDescription::AccessDenied,
            AlertDescription::BadCertificate,
            AlertDescription::CertificateExpired,
            AlertDescription::CertificateRevoked,
            AlertDescription::CertificateUnknown,
            AlertDescription::DecryptError,
            AlertDescription::UnknownCA,
            AlertDescription::UnsupportedCertificate,
        ] {
            assert!(said(alert).ends_with(REFUSED), "{}", said(alert));
        }
        assert!(said(AlertDescription::CertificateRequired).contains("wants a client certificate"));
        assert_eq!(said(AlertDescription::InternalError), "received fatal alert: InternalError");
        assert_eq!(alert("invalid peer certificate: UnknownIssuer"), None);
    }
}
