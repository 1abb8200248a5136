//! JSON with one reading, so that every parser of a JWT sees the same members.
//!
//! RFC 7519 §4 allows a parser to use the last of duplicate names or to refuse them; two parsers that choose
//! differently see two tokens. This one refuses duplicates at any depth, nesting deeper than 16, more than 4096 members
//! or elements, trailing bytes, and anything that is not UTF-8 (RFC 8725 §3.7, RFC 8259 §4).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Not JSON, or JSON that another parser might read as something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object with one reading")]
pub struct AmbiguousJson;

/// Parses one JSON object.
///
/// # Errors
/// [`AmbiguousJson`], without details, since these would quote the input.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, AmbiguousJson> {
    let text = std::str::from_utf8(bytes).map_err(|_| AmbiguousJson)?;
    let mut budget = MAX_ITEMS;
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: MAX_DEPTH, budget: &mut budget }.deserialize(&mut parser).map_err(|_| AmbiguousJson)?;
    parser.end().map_err(|_| AmbiguousJson)?;
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(AmbiguousJson),
    }
}

struct Strict<'b> {
    depth: u8,
    budget: &'b mut u16,
}

impl Strict<'_> {
    fn inner<E: Error>(&mut self) -> Result<Strict<'_>, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        *self.budget = self.budget.checked_sub(1).ok_or_else(|| E::custom("too many items"))?;
        Ok(Strict { depth, budget: self.budget })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        loop {
            let inner = self.inner()?;
            match access.next_element_seed(inner)? {
                Some(element) => elements.push(element),
                None => return Ok(Value::Array(elements)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(self.inner()?)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate member"));
            }
        }
        Ok(Value::Object(members))
    }
}

const MAX_DEPTH: u8 = 16;
const MAX_ITEMS: u16 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jwt_10_refuses_duplicate_members_at_any_depth_and_however_escaped() {
        assert!(parse_object(br#"{"a":1,"b":{"a":[{"a":2}]}}"#).is_ok()); // control
        for text in
            [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":1}"#, r#"{"cnf":{"x":1,"x":2}}"#, r#"{"l":[{"x":1,"x":2}]}"#]
        {
            assert_eq!(parse_object(text.as_bytes()), Err(AmbiguousJson), "{text}");
        }
    }

    #[test]
    fn jwt_11_refuses_depth_size_and_loose_grammar() {
        let nested = |depth: usize| format!("{}{}{}", r#"{"a":"#, "[".repeat(depth) + &"]".repeat(depth), "}");
        assert!(parse_object(nested(14).as_bytes()).is_ok()); // control
        assert!(parse_object(nested(16).as_bytes()).is_err());
        assert!(parse_object(nested(100_000).as_bytes()).is_err());
        let wide = |count: usize| format!("{{\"a\":[{}]}}", vec!["1"; count].join(","));
        assert!(parse_object(wide(4000).as_bytes()).is_ok()); // control
        assert!(parse_object(wide(4200).as_bytes()).is_err());
        for text in [
            "{} x",
            "{}{}",
            "[]",
            "1",
            "",
            "{\"a\":NaN}",
            "{\"a\":1e999}",
            "{/**/}",
            "\u{feff}{}",
            "{\"a\":\"\\ud800\"}",
        ] {
            assert!(parse_object(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn jwt_07_refuses_what_is_not_utf8() {
        assert!(parse_object(b"{\"a\":\"\xc3\xa9\"}").is_ok()); // control
        assert!(parse_object(b"{\"a\":\"\xe9\"}").is_err());
        assert!(parse_object(b"{\0}\0").is_err());
    }
}
