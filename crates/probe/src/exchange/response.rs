//! What a server answered.

use http::StatusCode;
use serde_json::Value;

use super::Field;
use super::challenge::{self, Challenge};

/// A response with its fields in the order they came. Their values are read as UTF-8, with other bytes replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The fields, names in lower case.
    pub fields: Vec<Field>,
    /// The content, without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The values of a field, a line each.
    pub fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The value of a field that is there once.
    pub fn sole<'r>(&'r self, name: &'r str) -> Option<&'r str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether the status is of the class 2xx.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Whether it says nothing about the call: the target asks for fewer, or something behind it is away.
    pub fn says_nothing(&self) -> bool {
        matches!(self.status.as_u16(), 429 | 502..=504)
    }

    /// The content as JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The challenges that can be read (RFC 9110 §11.6.1).
    pub fn challenges(&self) -> Vec<Challenge> {
        self.all("www-authenticate").filter_map(|line| challenge::read(line).ok()).flatten().collect()
    }

    /// The challenge of a scheme.
    pub fn challenge(&self, scheme: &str) -> Option<Challenge> {
        self.challenges().into_iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
    }

    /// The `error` of the challenge of a scheme (RFC 6750 §3).
    pub fn error(&self, scheme: &str) -> Option<String> {
        self.challenge(scheme)?.parameter("error").map(str::to_owned)
    }

    /// What of it decides, in one line: the status, and the `error` of every challenge.
    pub fn summary(&self) -> String {
        let errors =
            ["Bearer", "DPoP"].iter().filter_map(|scheme| Some(format!("{scheme} {}", named(self.error(scheme)?))));
        let errors: Vec<String> = errors.collect();
        match errors.is_empty() {
            true => self.status.as_u16().to_string(),
            false => format!("{} ({})", self.status.as_u16(), errors.join(", ")),
        }
    }
}

/// An error as it is told: what is no name of one could be anything.
fn named(error: String) -> String {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    match error.len() <= 64 && error.bytes().all(is_name) {
        true => error,
        false => "an error that is no name".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_that_of_its_scheme() {
        let response = Response {
            status: StatusCode::UNAUTHORIZED,
            fields: vec![
                ("www-authenticate".into(), "DPoP error=\"invalid_dpop_proof\", algs=\"ES256\"".into()),
                ("www-authenticate".into(), "Bearer realm=\"a\"".into()),
            ],
            body: Vec::new(),
        };
        assert_eq!(response.error("dpop").as_deref(), Some("invalid_dpop_proof"));
        assert_eq!(response.error("Bearer"), None);
        assert_eq!(response.summary(), "401 (DPoP invalid_dpop_proof)");
        assert_eq!(response.sole("www-authenticate"), None);
    }
}
