//! What a request says, as far as a token is compared with it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::error::InvalidPolicy;
use super::value::{Pointer, Scalar, is_same};
use crate::text::{folded, has_whole_escapes, percent_decoded};

/// The values of one request that a token may be compared with.
pub trait RequestValues {
    /// The method.
    fn method(&self) -> &str;

    /// The segment of the path with this index, decoded; `None` if there is none, or if it has more than one reading.
    fn segment(&self, index: usize) -> Option<Cow<'_, str>>;

    /// The query as received, without its question mark.
    fn query(&self) -> Option<&str>;
}

/// What a member of a token is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A value of the configuration.
    Value(Scalar),
    /// A segment of the path.
    Path {
        /// Its name in the pattern of the route.
        name: Box<str>,
        /// Its index.
        segment: usize,
    },
    /// The parameter of the query with this name.
    Query(Box<str>),
    /// The method.
    Method,
    /// A member of the body.
    Body(BodyMember),
}

/// Where in the body a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyMember(Pointer);

impl BodyMember {
    /// The member that a JSON pointer names, such as `/instructedAmount`.
    ///
    /// # Errors
    /// [`InvalidPolicy::BodyPointer`].
    pub fn new(pointer: &str) -> Result<Self, InvalidPolicy> {
        Pointer::parse(pointer).map(Self).ok_or(InvalidPolicy::BodyPointer)
    }

    /// Its value; `None` if there is none with one reading.
    pub(super) fn find<'b>(&self, body: &'b Map<String, Value>) -> Option<&'b Value> {
        self.0.find_alone(body)
    }

    /// What it is, for operators.
    pub(super) fn shown(&self) -> String {
        format!("{} of the body", self.0.as_str())
    }
}

/// A part of a request, judged when it is there.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    /// Method, path and query.
    Head(&'a dyn RequestValues),
    /// The members of the body.
    Body(&'a Map<String, Value>),
}

impl Operand {
    /// Its value; `None` if this part of the request has none with one reading.
    pub(super) fn of<'a>(&'a self, part: Part<'a>) -> Option<OperandValue<'a>> {
        Some(match (self, part) {
            (Self::Value(value), Part::Head(_) | Part::Body(_)) => OperandValue::Scalar(value),
            (Self::Path { segment, .. }, Part::Head(request)) => OperandValue::Text(request.segment(*segment)?),
            (Self::Query(name), Part::Head(request)) => OperandValue::Text(parameter(request.query()?, name)?),
            (Self::Method, Part::Head(request)) => OperandValue::Text(request.method().into()),
            (Self::Body(member), Part::Body(body)) => OperandValue::Member(member.find(body)?),
            (Self::Path { .. } | Self::Query(_) | Self::Method, Part::Body(_)) | (Self::Body(_), Part::Head(_)) => {
                return None;
            }
        })
    }

    /// What it is, for operators.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Value(value) => value.to_string(),
            Self::Path { name, .. } => format!("{{{name}}} of the path"),
            Self::Query(name) => format!("{name:?} of the query"),
            Self::Method => "the method".to_owned(),
            Self::Body(member) => member.shown(),
        }
    }
}

/// The value of an [`Operand`].
pub(super) enum OperandValue<'a> {
    Scalar(&'a Scalar),
    Text(Cow<'a, str>),
    Member(&'a Value),
}

impl OperandValue<'_> {
    /// Whether this is its value; text of a request is never equal to a number.
    pub(super) fn is(&self, value: &Value) -> bool {
        match self {
            Self::Scalar(scalar) => scalar.is(value),
            Self::Text(text) => value.as_str() == Some(text),
            Self::Member(member) => is_same(member, value),
        }
    }
}

/// The value of a parameter, decoded as of a form; `None` unless it is there once, whoever reads the query.
///
/// Servers differ in what separates parameters, in whether their names have a case, and in which of several counts; PHP also
/// reads `a.b`, `a[b]` and ` a` as other names. A malformed escape, wherever it is, makes some
/// reject the query, and who does not check its digits takes an `&` for one.
fn parameter<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    if query.contains(';') || !has_whole_escapes(query) {
        return None;
    }
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = percent_decoded(key)?;
        if !resemble(&key, name) {
            continue;
        }
        if key != name || found.replace(value).is_some() {
            return None;
        }
    }
    // A plus is a space to some, and a percent sign that is left is decoded again by others.
    found.filter(|value| !value.contains('+')).and_then(percent_decoded).filter(|value| !value.contains('%'))
}

/// Whether a server may read both as the name of one parameter.
fn resemble(one: &str, other: &str) -> bool {
    let [one, other] =
        [one, other].map(|name| folded(name.trim_start_matches([' ', '+']).split('[').next().unwrap_or_default()));
    let plain = |character| if matches!(character, '.' | ' ' | '+') { '_' } else { character };
    one.chars().map(plain).eq(other.chars().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_has_a_value_if_every_server_reads_the_same() {
        for (query, value) in [
            ("id=1001", "1001"),
            ("a=b&id=1001", "1001"),
            ("id=1001&", "1001"),
            ("id=", ""),
            ("id", ""),
            ("%69d=1001", "1001"),
            ("id=%31001", "1001"),
            ("id=caf%C3%A9", "caf\u{e9}"),
            ("id=a=b", "a=b"),
            ("id=a%2Bb", "a+b"),
            ("id=1001&other=%20+x", "1001"),
            ("other=%25&id=1001", "1001"),
            ("other=%25zz&id=1001", "1001"),
            ("other=%E9&id=1001", "1001"),
        ] {
            assert_eq!(parameter(query, "id").as_deref(), Some(value), "{query}"); // control
        }
        for query in [
            "",
            "other=1001",
            "id=1001&id=1001",
            "id=1001&id=1002",
            "id=1001&%69d=1002",
            "id=1001&ID=1002",
            "ID=1001",
            "id=1001&id[]=1002",
            "id=1001&id[x]=1002",
            "id=1001&+id=1002",
            "id=1001&%20id=1002",
            "id=1001;id=1002",
            "a=b;id=1002&id=1001",
            "id=a+b",
            "id=100%2531",
            "id=1001%00",
            "id=1001%0a",
            "id=%C3",
            "id=%zz",
            "other=%&id=1001",
            "other=%zz&id=1001",
            "id=1001&other=%2",
            "id=1001&x%=1",
            "id=1001&id%00x=2",
        ] {
            assert_eq!(parameter(query, "id"), None, "{query}");
        }
        assert_eq!(parameter("account_id=1", "account_id").as_deref(), Some("1")); // control
        for other in ["account.id", "account+id", "account%20id", "ACCOUNT_ID", "accoun%74_Id"] {
            assert_eq!(parameter(&format!("account_id=1&{other}=2"), "account_id"), None, "{other}");
        }
        assert_eq!(parameter("id=1&%C3%ADd=2", "id").as_deref(), Some("1")); // control
        for other in ["%C4%B1d", "%C4%B0d", "%C4%B0D", "i%CC%87d"] {
            assert_eq!(parameter(&format!("id=1&{other}=2"), "id"), None, "{other}");
        }
    }

    #[test]
    fn text_of_a_request_is_equal_to_text_alone() {
        use serde_json::json;
        let text = OperandValue::Text("1001".into());
        assert!(text.is(&json!("1001"))); // control
        for value in [json!(1001), json!("1001 "), json!(["1001"]), json!(null), json!({ "1001": "1001" })] {
            assert!(!text.is(&value), "{value}");
        }
    }
}
