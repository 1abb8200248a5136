//! One entry of `consents` in gateway.yaml.

use std::sync::Arc;
use std::time::Duration;

use fapi::policy::ConsentMembers;
use fapi::sha256;
use reqwest::Url;

use crate::issuer::introspection::Room;
use crate::tls_client::{Identity, TrustAnchors};

/// A service that says in which state consents are.
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// Where a consent is asked for.
    pub url: Template,
    /// Where its answer has what counts.
    pub members: ConsentMembers,
    /// The authorities of its certificate.
    pub trust_anchors: TrustAnchors,
    /// What the gateway shows it, if anything.
    pub identity: Option<Identity>,
    /// How long one call may take, and how long it may wait for its turn.
    pub timeout: Duration,
    /// How many calls may be in progress at a time.
    pub max_calls: usize,
    /// How many requests may wait for an answer at a time.
    pub max_waiting: Room,
    /// What is remembered, and for how long.
    pub cache: CacheSettings,
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        // Digests, so that the time does not depend on where the secrets differ.
        let shown = |identity: &Option<Identity>| {
            let identity = identity.as_ref();
            identity.map(|Identity { chain, key }| (chain.clone(), sha256(key.secret_der())))
        };
        let Self { name, url, members, trust_anchors, identity, timeout, max_calls, max_waiting, cache } = self;
        *name == other.name
            && *url == other.url
            && *members == other.members
            && *trust_anchors == other.trust_anchors
            && shown(identity) == shown(&other.identity)
            && *timeout == other.timeout
            && *max_calls == other.max_calls
            && *max_waiting == other.max_waiting
            && *cache == other.cache
    }
}

/// The section `cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How many answers are remembered; the least recently used are forgotten first.
    pub max_entries: u64,
    /// How long an answer counts, from the moment it was asked for.
    pub max_age: Duration,
    /// How much longer it counts while there is no other.
    pub stale_for: Duration,
}

/// A URL with a place for the id of a consent, and perhaps one for that of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    names_client: bool,
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No place for the id, or several.
    #[error(
        "it has to have `{{consent_id}}` once, and may have `{{client_id}}` once, each as a whole segment of the path or value of the query"
    )]
    Places,
    /// Not an https URL.
    #[error("it is not an https URL without user information and fragment")]
    Url,
}

impl Template {
    /// Reads such as `https://consents.bank.example/consents/{consent_id}`.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let names_client = match text.matches(CLIENT_ID).count() {
            0 => false,
            1 => true,
            _ => return Err(TemplateError::Places),
        };
        let rest = text.replacen(CLIENT_ID, "x", 1).replacen(CONSENT_ID, "x", 1);
        if text.matches(CONSENT_ID).count() != 1 || rest.contains(['{', '}']) {
            return Err(TemplateError::Places);
        }
        let stands_alone = |place: &str| {
            let Some((before, after)) = text.split_once(place) else { return true };
            before.ends_with(['/', '=']) && (after.is_empty() || after.starts_with(['/', '?', '&']))
        };
        if !stands_alone(CONSENT_ID) || !stands_alone(CLIENT_ID) {
            return Err(TemplateError::Places);
        }
        let url = Url::parse(&rest).map_err(|_| TemplateError::Url)?;
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let host_is_fixed =
            text.find('{').is_none_or(|first| text.get(..first).is_some_and(|start| start.matches('/').count() >= 3));
        if url.scheme() != "https" || !plain || !host_is_fixed {
            return Err(TemplateError::Url);
        }
        Ok(Self { text: text.into(), names_client })
    }

    /// Whether it has a place for the client.
    pub const fn names_client(&self) -> bool {
        self.names_client
    }

    /// The URL for a consent, and a client that the template may name. What is put in is escaped, so that it stays where it is put.
    pub fn expand(&self, consent_id: &str, client_id: &str) -> Option<Url> {
        // A segment of dots is a step in a path, escaped or not.
        if [consent_id, client_id].iter().any(|id| matches!(*id, "." | "..")) {
            return None;
        }
        let text = self.text.replacen(CONSENT_ID, &escaped(consent_id), 1);
        Url::parse(&text.replacen(CLIENT_ID, &escaped(client_id), 1)).ok()
    }
}

/// RFC 3986 §2.3: all but unreserved characters are escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

const CONSENT_ID: &str = "{consent_id}";
const CLIENT_ID: &str = "{client_id}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_one_place_for_a_consent_and_at_most_one_for_a_client() {
        for good in [
            "https://c.example/consents/{consent_id}",
            "https://c.example/consents/{consent_id}/status?of={client_id}",
            "https://c.example/{client_id}/consents?id={consent_id}",
        ] {
            assert!(Template::parse(good).is_ok(), "{good}"); // control
        }
        for bad in [
            "https://c.example/consents",
            "https://c.example/{consent_id}/{consent_id}",
            "https://c.example/{consent_id}/{other}",
            "https://c.example/x{consent_id}",
            "https://c.example/{consent_id}x",
            "https://c.example/{consent_id}/{client_id}/{client_id}",
        ] {
            assert_eq!(Template::parse(bad), Err(TemplateError::Places), "{bad}");
        }
        for bad in [
            "http://c.example/{consent_id}",
            "https://u:p@c.example/{consent_id}",
            "https://{consent_id}/a",
            "/consents/{consent_id}",
        ] {
            assert_eq!(Template::parse(bad), Err(TemplateError::Url), "{bad}");
        }
    }

    #[test]
    fn what_is_put_in_stays_in_its_place() {
        let template = Template::parse("https://c.example/v1/{consent_id}/status?of={client_id}").unwrap();
        let expand = |consent: &str, client: &str| template.expand(consent, client).map(String::from);
        assert_eq!(expand("c1", "tpp"), Some("https://c.example/v1/c1/status?of=tpp".into()), "control");
        let odd = expand("../a?b#c%2f", "x&y=z").unwrap();
        assert_eq!(odd, "https://c.example/v1/..%2Fa%3Fb%23c%252f/status?of=x%26y%3Dz");
        assert_eq!((expand("..", "tpp"), expand(".", "tpp"), expand("c1", "..")), (None, None, None));
        let brace = expand("{client_id}", "tpp").unwrap();
        assert_eq!(brace, "https://c.example/v1/%7Bclient_id%7D/status?of=tpp");
    }
}
