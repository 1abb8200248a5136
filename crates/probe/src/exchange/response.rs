//! What a server answered.

use http::StatusCode;
use serde_json::Value;

use super::Field;

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

    /// The content as JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The challenges, a line each (RFC 9110 §11.6.1).
    pub fn challenges(&self) -> impl Iterator<Item = &str> {
        self.all("www-authenticate")
    }

    /// The `error` of the challenge of a scheme (RFC 6750 §3).
    pub fn error(&self, scheme: &str) -> Option<String> {
        let of_scheme = |line: &str| {
            let (name, rest) = line.split_once(' ')?;
            name.eq_ignore_ascii_case(scheme).then(|| parameter(rest, "error"))?
        };
        self.challenges().find_map(of_scheme)
    }

    /// What of it decides, in one line: the status, and the `error` of every challenge.
    pub fn summary(&self) -> String {
        let errors = ["Bearer", "DPoP"].iter().filter_map(|scheme| Some(format!("{scheme} {}", self.error(scheme)?)));
        let errors: Vec<String> = errors.collect();
        match errors.is_empty() {
            true => self.status.as_u16().to_string(),
            false => format!("{} ({})", self.status.as_u16(), errors.join(", ")),
        }
    }
}

/// The value of a parameter of a challenge, quoted or not; only what stands outside of quotes is a name.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                let (value, after) = after.split_at(end);
                (value.trim_end().to_owned(), after)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after.trim_start_matches([',', ' ', '\t']);
    }
    None
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at.saturating_add(1)..)?)),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_outside_of_quotes_alone() {
        let read = |text: &str| parameter(text, "error");
        assert_eq!(read(r#"realm="a, error=\"no\"", error="invalid_token""#).as_deref(), Some("invalid_token"));
        assert_eq!(read("error=invalid_token, scope=x").as_deref(), Some("invalid_token"));
        assert_eq!(read(r#"realm="error=\"x\"""#), None);
        assert_eq!(read(r#"realm="open"#), None);
        assert_eq!(read(""), None);
    }

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
