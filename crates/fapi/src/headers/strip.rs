//! The names that a client may not send on, since the gateway or anyone behind it could take them for the gateway's word.
//!
//! Names are compared by class: after lower-casing, and with every character that is no letter or digit read as `-`, since
//! servers behind us may do so.

use http::HeaderName;

/// The classes of names that a client may not send on: those of the contract, and what the routes add.
#[derive(Clone, Debug, Default)]
pub struct StripList {
    own: Vec<Box<str>>,
}

impl StripList {
    /// The list with the names that routes give to forwarded claims.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n HeaderName>) -> Self {
        let mut own: Vec<Box<str>> = names.into_iter().map(|name| class_of(name.as_str()).into()).collect();
        own.sort_unstable();
        own.dedup();
        Self { own }
    }

    /// Whether a field of this name must not reach the upstream.
    pub(super) fn holds(&self, name: &str) -> bool {
        if is_odd(name) {
            let class = class_of(name);
            // A look-alike of a field that frames or routes the message is as dangerous as one that names a person.
            self.holds_class(&class) || FRAMING.contains(&class.as_str()) || class == "authorization"
        } else {
            self.holds_class(name)
        }
    }

    fn holds_class(&self, class: &str) -> bool {
        PREFIXES.iter().any(|prefix| class.starts_with(prefix))
            || NAMES.contains(&class)
            || self.own.binary_search_by(|own| (**own).cmp(class)).is_ok()
    }
}

/// Names whose whole class is the gateway's to write.
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
];

/// Whether a proxy may hand on a certificate under this name, in lower case: the names of its kind never go up, whoever sends
/// them.
pub fn may_carry_certificate(name: &str) -> bool {
    let own = ["client-cert", "x-client-cert", "x-ssl-", "ssl-client-"];
    own.iter().any(|prefix| name.starts_with(prefix) && PREFIXES.contains(prefix))
}

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

pub(super) const FRAMING: &[&str] = &["content-length", "transfer-encoding", "host"];

/// Whether a name has characters that its class has not.
pub(super) fn is_odd(name: &str) -> bool {
    name.bytes().any(|b| !(b.is_ascii_alphanumeric() || b == b'-'))
}

/// Lower case, with `-` for everything that is no letter or digit.
pub(super) fn class_of(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
