//! Values that requirements name, and where in a token they are.

use std::fmt;

use serde_json::{Map, Value};

use crate::text::as_read;

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

    /// What it leads to in the object of which `member` returns the member with a name, if that is there.
    pub(super) fn find<'v>(&self, member: impl FnOnce(&str) -> Option<&'v Value>) -> Option<&'v Value> {
        self.steps.iter().try_fold(member(&self.first)?, |value, step| match value {
            Value::Object(members) => members.get(&**step),
            Value::Array(values) => values.get(index(step)?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }

    /// What it leads to in an object that somebody else reads too: `None` also if a member on the way has another beside it
    /// that differs only in case or after a NUL, which some take for the same, or if a list is on the way, of which others
    /// may read the other values.
    pub(super) fn find_alone<'v>(&self, members: &'v Map<String, Value>) -> Option<&'v Value> {
        let first = alone(members, &self.first)?;
        self.steps.iter().try_fold(first, |value, step| alone(value.as_object()?, step))
    }
}

fn alone<'v>(members: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let alike = members.keys().filter(|other| as_read(other) == as_read(name)).count();
    members.get(name).filter(|_| alike == 1)
}

/// Whether both are the same text, whole number or boolean. Other values are equal to nothing.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one == other,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Number(one), Value::Number(other)) => {
            let whole = one.is_i64() || one.is_u64();
            whole && one == other
        }
        (
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
            _,
        ) => false,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_of_the_body_has_one_reading() {
        let find = |pointer: &str, body: Value| {
            Pointer::parse(pointer).unwrap().find_alone(body.as_object().unwrap()).cloned()
        };
        assert_eq!(find("/a/b", json!({ "a": { "b": 1, "c": 2 }, "b": 3 })), Some(json!(1))); // control
        assert_eq!(find("/A/b", json!({ "A": { "b": 1 } })), Some(json!(1))); // control
        for body in [
            json!({}),
            json!({ "a": {} }),
            json!({ "a": 1 }),
            json!({ "a": null }),
            json!({ "A": { "b": 1 } }),
            json!({ "a": { "B": 1 } }),
            // Readers that ignore case take the last.
            json!({ "a": { "b": 1 }, "A": { "b": 2 } }),
            json!({ "a": { "b": 1, "B": 2 } }),
            json!({ "a": [{ "b": 1 }] }),
            json!({ "a": "b" }),
        ] {
            assert_eq!(find("/a/b", body.clone()), None, "{body}");
        }
        assert_eq!(find("/a/0", json!({ "a": [1] })), None);
        assert_eq!(find("/a/0", json!({ "a": { "0": 1 } })), Some(json!(1))); // control
        // The long s and the Kelvin sign are an s and a k to some.
        assert_eq!(find("/sk", json!({ "sk": 1, "other": 2 })), Some(json!(1))); // control
        for alike in ["\u{17f}k", "s\u{212a}", "SK", "sk\0", "Sk\0x"] {
            assert_eq!(find("/sk", json!({ "sk": 1, alike: 2 })), None, "{alike}");
        }
        // So are an i without a dot and an I with one.
        assert_eq!(find("/id", json!({ "id": 1, "\u{ed}d": 2 })), Some(json!(1))); // control
        for alike in ["\u{131}d", "\u{130}d", "\u{130}D", "i\u{307}d"] {
            assert_eq!(find("/id", json!({ "id": 1, alike: 2 })), None, "{alike}");
        }
    }

    #[test]
    fn values_are_the_same_if_they_are_of_one_type() {
        for value in [json!("a"), json!(""), json!(1), json!(-1), json!(u64::MAX), json!(true), json!(false)] {
            assert!(is_same(&value, &value.clone()), "{value}"); // control
        }
        for (one, other) in [
            (json!("1"), json!(1)),
            (json!(1), json!("1")),
            (json!(1), json!(1.0)),
            (json!(1.0), json!(1)),
            (json!(0.1), json!(0.1)),
            (json!(1), json!(2)),
            (json!(-1), json!(u64::MAX)),
            (json!("true"), json!(true)),
            (json!("a"), json!("A")),
            (json!("a"), json!("a ")),
            (json!(null), json!(null)),
            (json!([]), json!([])),
            (json!(["a"]), json!("a")),
            (json!({}), json!({})),
        ] {
            assert!(!is_same(&one, &other), "{one} {other}");
        }
    }
}
