//! A JSON object in whose strings variables stand for what is told of a refusal.

use std::collections::BTreeMap;

use http::HeaderValue;
use serde_json::{Map, Value};

use super::told::Told;
use crate::code::Code;

/// What a variable stands for. There are no others, so nothing that the client sent comes back to it (RFC 6750 §3), and
/// nothing that is for the operator alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `{status}`, such as 403.
    Status,
    /// `{reason}`: the name of the status, such as Forbidden.
    Reason,
    /// `{error}`, such as `insufficient_scope`.
    Error,
    /// `{error_name}`: what the template calls the code of the refusal, or else the error, or else the error itself.
    ErrorName,
    /// `{error_description}`: the error in a sentence.
    ErrorDescription,
    /// `{interaction_id}`: the value of `x-fapi-interaction-id`.
    InteractionId,
    /// `{time}` of the refusal (RFC 3339).
    Time,
}

impl Variable {
    /// Every variable.
    pub const ALL: &[Self] = &[
        Self::Status,
        Self::Reason,
        Self::Error,
        Self::ErrorName,
        Self::ErrorDescription,
        Self::InteractionId,
        Self::Time,
    ];

    /// Its name, which stands in braces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Reason => "reason",
            Self::Error => "error",
            Self::ErrorName => "error_name",
            Self::ErrorDescription => "error_description",
            Self::InteractionId => "interaction_id",
            Self::Time => "time",
        }
    }
}

/// A string of a template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TemplateError {
    /// The keys and indices that lead to the string in the body.
    pub pointer: Vec<String>,
    /// What is wrong with it.
    pub problem: String,
}

/// A JSON object in whose strings variables stand for what is told of a refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorTemplate {
    name: Box<str>,
    media_type: HeaderValue,
    pieces: Vec<Piece>,
    names: ErrorNames,
}

/// What a template calls refusals, each as it is written inside a string of JSON.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ErrorNames {
    errors: BTreeMap<Box<str>, Box<str>>,
    codes: BTreeMap<Code, Box<str>>,
}

impl ErrorNames {
    /// The names of errors, and those of single codes, which tell clients which check failed.
    pub fn new<'n>(
        errors: impl IntoIterator<Item = (&'n str, &'n str)>,
        codes: impl IntoIterator<Item = (Code, &'n str)>,
    ) -> Self {
        Self {
            errors: errors.into_iter().map(|(error, name)| (error.into(), escaped(name).into())).collect(),
            codes: codes.into_iter().map(|(code, name)| (code, escaped(name).into())).collect(),
        }
    }

    fn of<'a>(&'a self, told: &Told<'a>) -> &'a str {
        let name = self.codes.get(&told.code).or_else(|| self.errors.get(told.error));
        name.map_or(told.error, |name| name)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Variable(Variable),
}

impl ErrorTemplate {
    /// A template of this name, with this body; `names` has what `{error_name}` stands for.
    ///
    /// # Errors
    /// Every string with a brace that begins or ends no variable.
    pub fn new(
        name: &str,
        media_type: HeaderValue,
        body: &Map<String, Value>,
        names: ErrorNames,
    ) -> Result<Self, Vec<TemplateError>> {
        let mut writer = Writer::default();
        writer.object(body);
        if !writer.errors.is_empty() {
            return Err(writer.errors);
        }
        writer.end_text();
        Ok(Self { name: name.into(), media_type, pieces: writer.pieces, names })
    }

    /// The name by which routes choose it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn media_type(&self) -> &HeaderValue {
        &self.media_type
    }

    /// The body with the variables replaced.
    pub(super) fn fill(&self, told: &Told<'_>) -> String {
        let mut body = String::new();
        for piece in &self.pieces {
            body.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Variable(Variable::Status) => told.status.as_str(),
                Piece::Variable(Variable::Reason) => told.reason(),
                Piece::Variable(Variable::Error) => told.error,
                Piece::Variable(Variable::ErrorName) => self.names.of(told),
                Piece::Variable(Variable::ErrorDescription) => told.description,
                Piece::Variable(Variable::InteractionId) => told.interaction,
                Piece::Variable(Variable::Time) => {
                    body.push_str(&told.time.map(|time| time()).unwrap_or_default());
                    continue;
                }
            });
        }
        body
    }
}

/// Writes JSON, with the variables of its strings as pieces of their own.
#[derive(Default)]
struct Writer {
    pieces: Vec<Piece>,
    text: String,
    pointer: Vec<String>,
    errors: Vec<TemplateError>,
}

impl Writer {
    fn object(&mut self, members: &Map<String, Value>) {
        self.text.push('{');
        for (index, (name, value)) in members.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            if name.contains(['{', '}']) {
                let problem = "a variable stands in a value, not in a name".to_owned();
                self.errors
                    .push(TemplateError { pointer: [&*self.pointer, std::slice::from_ref(name)].concat(), problem });
            }
            self.text.push_str(&Value::from(name.as_str()).to_string());
            self.text.push(':');
            self.below(name.clone(), value);
        }
        self.text.push('}');
    }

    fn below(&mut self, step: String, value: &Value) {
        self.pointer.push(step);
        self.value(value);
        self.pointer.pop();
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(members) => self.object(members),
            Value::Array(items) => {
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                    }
                    self.below(index.to_string(), item);
                }
                self.text.push(']');
            }
            Value::String(text) => self.string(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => self.text.push_str(&value.to_string()),
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(['{', '}']) {
            let named = after.split_once('}').filter(|_| rest.as_bytes().get(before.len()) == Some(&b'{'));
            let known = named.and_then(|(name, after)| {
                Variable::ALL.iter().find(|variable| variable.as_str() == name).map(|variable| (*variable, after))
            });
            let Some((variable, after)) = known else {
                let problem = match named {
                    Some((name, _)) => format!("there is no variable `{name}`"),
                    None => "a brace begins or ends the name of a variable, and nothing else".to_owned(),
                };
                self.errors.push(TemplateError { pointer: self.pointer.clone(), problem });
                return;
            };
            self.text.push_str(&escaped(before));
            self.end_text();
            self.pieces.push(Piece::Variable(variable));
            rest = after;
        }
        self.text.push_str(&escaped(rest));
        self.text.push('"');
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.text).into()));
        }
    }
}

/// The text as it stands inside a string of JSON.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::*;

    fn template(body: &Value) -> Result<ErrorTemplate, Vec<TemplateError>> {
        let names = ErrorNames::new([("invalid_token", "a \"name\"")], [(Code::TokenRevoked, "\"gone\"")]);
        let media_type = HeaderValue::from_static("application/json");
        ErrorTemplate::new("bank", media_type, body.as_object().expect("an object"), names)
    }

    fn told(error: &str) -> Told<'_> {
        Told {
            status: StatusCode::UNAUTHORIZED,
            code: Code::TokenExpired,
            error,
            description: "It is not valid",
            interaction: "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
            time: Some(&|| "2027-01-01T00:00:00.000Z".to_owned()),
        }
    }

    #[test]
    fn variables_stand_in_strings_wherever_these_are() {
        let template = template(&json!({
            "Code": "{status} {reason}",
            "Id": "{interaction_id}",
            "a \"name\"": [{ "name": "{error_name}", "of": "\"{error}\"" }, 1.50, true, null, []],
            "meta": { "at": "{time}", "text": "{error_description}.", "nothing": "" },
        }))
        .unwrap();
        for (error, name) in [("invalid_token", "a \"name\""), ("invalid_request", "invalid_request")] {
            let body: Value = serde_json::from_str(&template.fill(&told(error))).expect("JSON");
            let expected = json!({
                "Code": "401 Unauthorized",
                "Id": "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
                "a \"name\"": [{ "name": name, "of": format!("\"{error}\"") }, 1.5, true, null, []],
                "meta": { "at": "2027-01-01T00:00:00.000Z", "text": "It is not valid.", "nothing": "" },
            });
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn the_name_of_a_code_comes_before_that_of_its_error() {
        let template = template(&json!({ "name": "{error_name}" })).unwrap();
        let named = |code: Code| template.fill(&Told { code, ..told("invalid_token") });
        assert_eq!(named(Code::TokenRevoked), r#"{"name":"\"gone\""}"#);
        assert_eq!(named(Code::TokenExpired), r#"{"name":"a \"name\""}"#, "control: another code of the same error");
    }

    #[test]
    fn every_variable_has_a_name_and_a_value() {
        for variable in Variable::ALL {
            let template = template(&json!({ "value": format!("<{{{}}}>", variable.as_str()) })).unwrap();
            let body: Value = serde_json::from_str(&template.fill(&told("invalid_request"))).expect("JSON");
            let value = body["value"].as_str().unwrap();
            assert!(
                value.starts_with('<') && value.ends_with('>') && value.len() > 2 && !value.contains('{'),
                "{value}"
            );
        }
    }

    #[test]
    fn a_brace_without_a_variable_is_refused_where_it_stands() {
        for text in
            ["{", "}", "{}", "{Status}", "{ status }", "{status", "status}", "{{status}}", "{status}}", "{code}"]
        {
            let errors = template(&json!({ "good": "{status}", "list": [0, { "text": text }] })).unwrap_err();
            assert_eq!(errors.len(), 1, "{text}");
            assert_eq!(errors[0].pointer, ["list", "1", "text"], "{text}");
        }
        assert!(template(&json!({ "list": [0, { "text": "{status}{status}" }] })).is_ok(), "control");
        let errors = template(&json!({ "list": [{ "{status}": 1 }] })).unwrap_err();
        assert_eq!((errors.len(), &*errors[0].pointer), (1, &["list", "0", "{status}"].map(String::from)[..]));
    }
}
