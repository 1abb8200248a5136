//! Names of header fields that are removed from requests, since an upstream would trust them as set by the gateway.

use http::HeaderName;

use crate::field_names::{FieldNames, class_of, is_odd};

/// The names that are removed from requests: built-in ones, and those that routes use for claims, path variables and identity JWTs.
#[derive(Clone, Debug, Default)]
pub struct StripList {
    own: FieldNames,
}

impl StripList {
    /// The built-in names, and the fields that routes use for claims, path variables and identity JWTs.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n HeaderName>) -> Self {
        Self { own: FieldNames::new(names) }
    }

    /// Whether a field of this name, which is in lower case, must not reach the upstream.
    pub fn holds(&self, name: &str) -> bool {
        if is_odd(name) {
            let class = class_of(name);
            // A name that resembles a field for framing or routing is as dangerous as one for an identity.
            self.holds_class(&class) || FRAMING.contains(&class.as_str()) || class == "authorization"
        } else {
            self.holds_class(name)
        }
    }

    fn holds_class(&self, class: &str) -> bool {
        PREFIXES.iter().any(|prefix| class.starts_with(prefix))
            || NAMES.contains(&class)
            || self.own.contain_class(class)
    }
}

/// Prefixes of names that only the gateway sets.
pub(super) const PREFIXES: &[&str] = &[
    "client-cert",
    "x-token-",
    "x-forwarded-",
    "x-ssl-",
    "ssl-client-",
    "x-client-cert",
    "x-original-",
    "x-rewrite-",
    "x-http-method",
    "x-method-override",
    "x-envoy-",
    "x-amzn-mtls-",
    "sec-websocket-",
];

/// Whether a proxy may forward a certificate in a field with this name, in lower case. Such a field never reaches an
/// upstream.
pub fn may_carry_certificate(name: &str) -> bool {
    CERTIFICATE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether some authorization server may take a field with this name, in lower case, for what a proxy says of the client's
/// certificate or of the user: products have names of their own for it, and their authentication depends on them.
pub(super) fn may_speak_of_client(name: &str) -> bool {
    let parts = ["cert", "subject-dn", "issuer-dn", "remote-user", "x-user", "x509"];
    parts.iter().any(|part| name.contains(part)) || name.ends_with("-verify")
}

/// Of [`PREFIXES`], those of fields that may have a certificate.
const CERTIFICATE_PREFIXES: &[&str] = &["client-cert", "x-client-cert", "x-ssl-", "ssl-client-"];

/// Names of fields that are for the gateway, that an upstream would trust as set by it, or that concern one connection.
pub(super) const NAMES: &[&str] = &[
    "dpop",
    "proxy",
    "forwarded",
    "x-arr-clientcert",
    "x-real-ip",
    "x-client-id",
    "x-client-dn",
    "x-consent-id",
    "x-userinfo",
    "x-forwarded",
    "proxy-authorization",
    "proxy-connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "connection",
    "proxy-authenticate",
    "http2-settings",
    "x-fapi-interaction-id",
    "traceparent",
];

/// Names of fields that frame or route a message: only names that resemble them are removed.
pub(super) const FRAMING: &[&str] = &["content-length", "transfer-encoding", "host"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_product_hears_of_a_certificate_from_the_client_itself() {
        for name in [
            "x-clientcert",
            "client-x509-cert",
            "x-wso2-mtls-cert",
            "x-tls-client-cert",
            "cf-client-cert",
            "x-client-verify",
            "x-client-subject-dn",
            "x-remote-user",
        ] {
            assert!(may_speak_of_client(name), "{name}");
        }
        for name in ["content-type", "accept", "user-agent", "dpop", "cookie", "x-fapi-auth-date"] {
            assert!(!may_speak_of_client(name), "control: {name}");
        }
    }

    #[test]
    fn cc_09_names_that_read_as_ours_are_ours() {
        let strip = StripList::new(&[HeaderName::from_static("x-user")]);
        for name in [
            "client_cert",
            "client.cert",
            "x_token_client_id",
            "x-user",
            "x_user",
            "content_length",
            "transfer_encoding",
            "x_forwarded_for",
            "http2_settings",
            "sec-websocket-key",
            "x-http-method-override",
            "ssl_client_cert",
            "dpop",
            "forwarded",
        ] {
            assert!(strip.holds(name), "{name}");
        }
        for name in
            ["accept", "content-length", "content-type", "user-agent", "x-users", "x-tokens", "idempotency_key", "host"]
        {
            assert!(!strip.holds(name), "{name}");
        }
    }

    #[test]
    fn what_may_have_a_certificate_never_reaches_an_upstream() {
        for name in ["client-cert", "x-client-cert", "x-ssl-client-cert", "ssl-client-escaped-cert"] {
            assert!(may_carry_certificate(name), "{name}");
        }
        for prefix in CERTIFICATE_PREFIXES {
            assert!(StripList::default().holds(&format!("{prefix}-x")), "{prefix}");
        }
        for name in ["x-certificate", "cert", "x-forwarded-client-cert"] {
            assert!(!may_carry_certificate(name), "{name}"); // control
        }
    }
}
