//! Values that requirements name, and where in a token they are.

use std::fmt;

use serde_json::Value;

/// A value that a claim or a member of one is compared with; exactly, and only with one of its own type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A text.
    Text(Box<str>),
    /// A whole number. A value such as `1.0` is another value.
    Number(i64),
    /// `true` or `false`.
    Bool(bool),
}

impl Scalar {
    pub(super) fn is(&self, value: &Value) -> bool {
        match self {
            Self::Text(text) => value.as_str() == Some(text),
            Self::Number(number) => value.as_i64() == Some(*number),
            Self::Bool(bool) => value.as_bool() == Some(*bool),
        }
    }
}

/// As in JSON.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}

/// Values with commas between them, for operators.
pub(super) fn list(values: &[Scalar]) -> String {
    values.iter().map(Scalar::to_string).collect::<Vec<_>>().join(", ")
}

/// A JSON pointer to a member of an object or into one (RFC 6901), never to all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    text: Box<str>,
    /// The name of the member.
    first: Box<str>,
    /// The steps from there on.
    steps: Vec<Box<str>>,
}

impl Pointer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut steps = text.strip_prefix('/')?.split('/').map(unescaped);
        let first = steps.next()??;
        Some(Self { text: text.into(), first, steps: steps.collect::<Option<_>>()? })
    }

    /// The pointer as written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of the member that it begins with.
    pub(super) fn first(&self) -> &str {
        &self.first
    }

    /// What it leads to from that member, if that is there.
    pub(super) fn find<'v>(&self, first: Option<&'v Value>) -> Option<&'v Value> {
        self.steps.iter().try_fold(first?, |value, step| match value {
            Value::Object(members) => members.get(&**step),
            Value::Array(values) => values.get(index(step)?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }
}

/// RFC 6901 §4: `~1` is a slash, and then `~0` a tilde; other uses of the tilde are errors.
fn unescaped(step: &str) -> Option<Box<str>> {
    let whole = step.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    whole.then(|| step.replace("~1", "/").replace("~0", "~").into())
}

/// RFC 6901 §4: digits without leading zeros.
fn index(step: &str) -> Option<usize> {
    let digits = step.bytes().all(|byte| byte.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    if digits { step.parse().ok() } else { None }
}
