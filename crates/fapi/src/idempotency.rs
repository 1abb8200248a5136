//! Idempotency keys: the name that a client gives to a request, so that it can send that one again, and no other under it.
//!
//! `x-idempotency-key` of UK Open Banking (Read/Write API profile, § Idempotency) and of Open Finance Brazil, as
//! draft-ietf-httpapi-idempotency-key-header §2 has it: a fingerprint says whether it is the same request. Whoever repeats it gets the
//! answer of the resource server, which alone knows what became of the first one.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method};

use crate::code::Code;
use crate::field_names::{class_of, sole_of_class};
use crate::{sha256, sha256_of_parts};

/// The field with the key.
pub const X_IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("x-idempotency-key");

/// What a route says of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether a request has to have one.
    pub presence: Presence,
    /// For how long one is remembered.
    pub keep: Duration,
}

/// Whether a request has to have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has to.
    Required,
    /// It need not; one that is there counts.
    WhenPresent,
}

impl Rule {
    /// The key of a request with this method and these fields, if it has to have one or has one, as one of the client of a token.
    ///
    /// A key is of the methods whose requests change something by what they contain: POST, PUT and PATCH.
    ///
    /// # Errors
    /// [`IdempotencyError`].
    pub fn key(
        &self,
        method: &Method,
        headers: &HeaderMap,
        issuer: &str,
        client_id: Option<&str>,
    ) -> Result<Option<IdempotencyKey>, IdempotencyError> {
        if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            return Ok(None);
        }
        // A server that reads `_` as `-` would take another key for this one.
        let name = X_IDEMPOTENCY_KEY;
        if !headers.keys().any(|field| class_of(field.as_str()) == name.as_str()) {
            return match self.presence {
                Presence::Required => Err(IdempotencyError::Missing),
                Presence::WhenPresent => Ok(None),
            };
        }
        let value = sole_of_class(headers, &name).map(|value| value.as_bytes());
        let is_key = |value: &&[u8]| (1..=LONGEST).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        let value = value.filter(is_key).ok_or(IdempotencyError::Malformed)?;
        let client_id = client_id.ok_or(IdempotencyError::ClientUnknown)?;
        let client = sha256_of_parts(&[b"client", issuer.as_bytes(), client_id.as_bytes()]);
        let id = sha256_of_parts(&[b"key", &client, value]);
        Ok(Some(IdempotencyKey { client, id, keep: self.keep, request: None }))
    }
}

/// The key of a request, as one of its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    client: [u8; 32],
    id: [u8; 32],
    keep: Duration,
    request: Option<[u8; 32]>,
}

impl IdempotencyKey {
    /// The same key, of this request: its method, its target as received, and its whole content.
    #[must_use]
    pub(crate) fn of_request(self, method: &Method, target: &str, content: &[u8]) -> Self {
        let request = sha256_of_parts(&[b"request", method.as_str().as_bytes(), target.as_bytes(), &sha256(content)]);
        Self { request: Some(request), ..self }
    }

    /// Its use for the request; `None` while that is not known.
    pub fn key_use(&self) -> Option<KeyUse> {
        let Self { client, id, keep, request } = *self;
        Some(KeyUse { client, id, keep, request: request? })
    }

    /// Whether its use for the request was accepted.
    pub(crate) fn is_accepted(&self, accepted: &AcceptedUse) -> bool {
        self.request == Some(accepted.request) && self.id == accepted.id
    }
}

/// A use of a key for one request. It has hashes alone, of which nobody can use anything who reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Whose key it is.
    pub client: [u8; 32],
    /// What the key is known by, which is of one client alone.
    pub id: [u8; 32],
    /// For how long it is remembered.
    pub keep: Duration,
    /// The request.
    pub request: [u8; 32],
}

/// That a key was used for no other request.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct AcceptedUse {
    id: [u8; 32],
    request: [u8; 32],
}

impl AcceptedUse {
    /// Asserts it of this use: whoever remembers keys has looked.
    pub const fn assertion(used: &KeyUse) -> Self {
        Self { id: used.id, request: used.request }
    }
}

/// Why a request is refused for its key. `Display` is for operators, and does not show the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdempotencyError {
    /// It has to have one.
    #[error("the request has no x-idempotency-key, which the route requires")]
    Missing,
    /// What it has is not one, or could be read as another.
    #[error("x-idempotency-key is not one text of 1 to {LONGEST} characters without white space")]
    Malformed,
    /// Nobody knows whose it is.
    #[error("the token has no client_id, so that nobody knows whose x-idempotency-key it is")]
    ClientUnknown,
    /// The client used it for another request.
    #[error("the client used this x-idempotency-key for another method, target or content")]
    Reused,
}

impl IdempotencyError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Missing => Code::HeaderMissing,
            Self::Malformed => Code::HeaderInvalid,
            Self::ClientUnknown => Code::ClaimRefused,
            Self::Reused => Code::IdempotencyKeyReused,
        }
    }
}

/// The most characters of a key.
const LONGEST: usize = 40;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const REQUIRED: Rule = Rule { presence: Presence::Required, keep: Duration::from_secs(86_400) };
    const OPTIONAL: Rule = Rule { presence: Presence::WhenPresent, ..REQUIRED };

    fn with(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn key(rule: Rule, method: &str, fields: &[(&'static str, &'static str)]) -> Result<bool, IdempotencyError> {
        let method = method.parse().unwrap();
        rule.key(&method, &with(fields), "https://as.example", Some("tpp")).map(|key| key.is_some())
    }

    #[test]
    fn uk_05_a_key_is_there_once_with_at_most_40_characters_where_a_request_changes_something() {
        let good = "0123456789012345678901234567890123456789";
        for method in ["POST", "PUT", "PATCH"] {
            assert_eq!(key(REQUIRED, method, &[("x-idempotency-key", good)]), Ok(true), "control");
            assert_eq!(key(REQUIRED, method, &[]), Err(IdempotencyError::Missing));
            assert_eq!(key(OPTIONAL, method, &[]), Ok(false));
        }
        for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
            assert_eq!(key(REQUIRED, method, &[]), Ok(false), "{method}");
        }
        for fields in [
            &[("x-idempotency-key", "01234567890123456789012345678901234567890")][..],
            &[("x-idempotency-key", "")],
            &[("x-idempotency-key", "a b")],
            &[("x-idempotency-key", "a"), ("x-idempotency-key", "a")],
            &[("x-idempotency-key", "a"), ("x_idempotency_key", "b")],
            &[("x_idempotency_key", "a")],
        ] {
            for rule in [REQUIRED, OPTIONAL] {
                assert_eq!(key(rule, "POST", fields), Err(IdempotencyError::Malformed), "{fields:?}");
            }
        }
    }

    #[test]
    fn uk_06_a_key_is_one_of_its_client_and_names_one_request() {
        let used = |issuer: &str, client: &str, value: &'static str, (method, target, content): (&str, &str, &[u8])| {
            let key = REQUIRED.key(&Method::POST, &with(&[("x-idempotency-key", value)]), issuer, Some(client));
            key.unwrap().unwrap().of_request(&method.parse().unwrap(), target, content).key_use().unwrap()
        };
        let request = ("POST", "/payments?a=b", &b"{}"[..]);
        let first = used("as", "tpp", "k", request);
        assert_eq!(used("as", "tpp", "k", request), first, "control");
        for (issuer, client, value) in
            [("as", "tp", "pk"), ("a", "stpp", "k"), ("as", "other", "k"), ("as", "tpp", "l")]
        {
            let other = used(issuer, client, value, request);
            assert_ne!(other.id, first.id, "{issuer} {client} {value}");
            assert_eq!(other.client == first.client, (issuer, client) == ("as", "tpp"));
        }
        for request in [
            ("PUT", "/payments?a=b", &b"{}"[..]),
            ("POST", "/payments?a=c", b"{}"),
            ("POST", "/payments?a=b", b"{} "),
            ("POST", "/payments?a=b", b""),
        ] {
            let other = used("as", "tpp", "k", request);
            assert_eq!((other.id, other.request == first.request), (first.id, false), "{request:?}");
        }
        let nobody = REQUIRED.key(&Method::POST, &with(&[("x-idempotency-key", "k")]), "as", None);
        assert_eq!(nobody, Err(IdempotencyError::ClientUnknown));
    }

    #[test]
    fn what_was_accepted_is_one_key_for_one_request() {
        let of = |value: &'static str, content: &[u8]| {
            let key = REQUIRED.key(&Method::POST, &with(&[("x-idempotency-key", value)]), "as", Some("tpp"));
            key.unwrap().unwrap().of_request(&Method::POST, "/", content)
        };
        let accepted = AcceptedUse::assertion(&of("k", b"1").key_use().unwrap());
        assert!(of("k", b"1").is_accepted(&accepted), "control");
        assert!(!of("k", b"2").is_accepted(&accepted) && !of("l", b"1").is_accepted(&accepted));
        let unread = REQUIRED.key(&Method::POST, &with(&[("x-idempotency-key", "k")]), "as", Some("tpp"));
        assert!(!unread.unwrap().unwrap().is_accepted(&accepted), "nobody knows its request yet");
    }
}
