//! JSON with one reading, so that every parser of a JWT sees the same members.
//!
//! RFC 7519 §4 allows a parser to use the last of duplicate names or to refuse them; two parsers that choose
//! differently see two tokens. This one refuses duplicates at any depth, nesting deeper than 16, more than 4096 members
//! or elements, trailing bytes, and anything that is not UTF-8 (RFC 8725 §3.7, RFC 8259 §4).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
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
    match parse(bytes)? {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(AmbiguousJson),
    }
}

/// Parses one JSON array, of the same kind.
///
/// # Errors
/// [`AmbiguousJson`].
pub(crate) fn parse_array(bytes: &[u8]) -> Result<Vec<Value>, AmbiguousJson> {
    match parse(bytes)? {
        Value::Array(elements) => Ok(elements),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Err(AmbiguousJson),
    }
}

fn parse(bytes: &[u8]) -> Result<Value, AmbiguousJson> {
    let text = std::str::from_utf8(bytes).map_err(|_| AmbiguousJson)?;
    let mut budget = MAX_ITEMS;
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: MAX_DEPTH, budget: &mut budget }.deserialize(&mut parser).map_err(|_| AmbiguousJson)?;
    parser.end().map_err(|_| AmbiguousJson)?;
    Ok(value)
}

/// The elements of the array that is the member `name` of a JSON object, each as its text.
///
/// Checks only the grammar of the elements and of the other members, so that [`parse_object`] can refuse one element and
/// accept the others.
///
/// # Errors
/// [`AmbiguousJson`] if the text is not a JSON object, or does not have the member exactly once, as an array.
pub(crate) fn elements_of<'t>(bytes: &'t [u8], name: &str) -> Result<Vec<&'t str>, AmbiguousJson> {
    let mut elements = Vec::new();
    let mut array = Text(member_of(bytes, name)?);
    array.list('[', ']', |text| {
        elements.push(text.value().ok_or(AmbiguousJson)?);
        Ok(())
    })?;
    Ok(elements)
}

/// The text of the member `name` of a JSON object, as it is written there.
///
/// Checks only the grammar of that member and of the others.
///
/// # Errors
/// [`AmbiguousJson`] if the text is not a JSON object, or does not have the member exactly once.
pub(crate) fn member_of<'t>(bytes: &'t [u8], name: &str) -> Result<&'t str, AmbiguousJson> {
    let mut text = Text(std::str::from_utf8(bytes).map_err(|_| AmbiguousJson)?);
    let mut found = None;
    text.list('{', '}', |text| {
        let member: String = text.value().and_then(|name| serde_json::from_str(name).ok()).ok_or(AmbiguousJson)?;
        if !text.take(':') {
            return Err(AmbiguousJson);
        }
        let value = text.value().ok_or(AmbiguousJson)?;
        if member == name && found.replace(value).is_some() {
            return Err(AmbiguousJson);
        }
        Ok(())
    })?;
    text.end()?;
    found.ok_or(AmbiguousJson)
}

/// What remains of a JSON text.
struct Text<'t>(&'t str);

impl<'t> Text<'t> {
    /// Takes `open`, items that `item` takes, separated by commas, and `close`.
    fn list(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<(), AmbiguousJson>,
    ) -> Result<(), AmbiguousJson> {
        if !self.take(open) {
            return Err(AmbiguousJson);
        }
        if self.take(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(close) {
                return Ok(());
            }
            if !self.take(',') {
                return Err(AmbiguousJson);
            }
        }
    }

    /// Takes a character, if it comes next.
    fn take(&mut self, character: char) -> bool {
        match self.trimmed().strip_prefix(character) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Takes one value of any kind.
    fn value(&mut self) -> Option<&'t str> {
        let text = self.trimmed();
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let (value, rest) = text.split_at_checked(values.byte_offset())?;
        self.0 = rest;
        Some(value)
    }

    fn end(&self) -> Result<(), AmbiguousJson> {
        if self.trimmed().is_empty() { Ok(()) } else { Err(AmbiguousJson) }
    }

    /// Without leading white space (RFC 8259 §2).
    fn trimmed(&self) -> &'t str {
        self.0.trim_start_matches([' ', '\t', '\n', '\r'])
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
    use proptest::prelude::*;

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
    fn a_value_of_each_kind_is_what_it_says() {
        let text = r#"{"a":[null,true,false,0,1,-1,9007199254740993,-9007199254740993,1.5,"text",{},[]]}"#;
        let parsed = Value::Object(parse_object(text.as_bytes()).unwrap());
        assert_eq!(parsed.to_string(), text);
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

    #[test]
    fn elements_are_read_one_by_one_whatever_the_others_are() {
        let text = br#" { "other" : [{"a":1,"a":2}], "\u006beys" : [ {"a":1,"a":2} ,1e999,"\ud800,]", [{}] , 7] } "#;
        let expected = [r#"{"a":1,"a":2}"#, "1e999", r#""\ud800,]""#, "[{}]", "7"];
        assert_eq!(elements_of(text, "keys").unwrap(), expected);
        assert_eq!(elements_of(br#"{"keys":[]}"#, "keys"), Ok(Vec::new())); // control
        for text in [
            "",
            "{}",
            "[]",
            r#"{"keys":{}}"#,
            r#"{"keys":null}"#,
            r#"{"keys":[],"keys":[]}"#,
            r#"{"keys":[],"\u006beys":[]}"#,
            r#"{"keys":[1,]}"#,
            r#"{"keys":[1 2]}"#,
            r#"{"keys":[1}"#,
            r#"{"keys":[]"#,
            r#"{"keys":[]}}"#,
            r#"{"keys":[]} {}"#,
            r#"{"keys" []}"#,
            r#"{keys:[]}"#,
            r#"{1:[],"keys":[]}"#,
            r#"{"keys":[],}"#,
            r#"{"a":[],"keys":[nul]}"#,
            "\u{feff}{\"keys\":[]}",
            "\u{a0}{\"keys\":[]}",
        ] {
            assert_eq!(elements_of(text.as_bytes(), "keys"), Err(AmbiguousJson), "{text}");
        }
        assert_eq!(elements_of(b"{\"keys\":[\"\xe9\"]}", "keys"), Err(AmbiguousJson));
        let deep = format!("{{\"keys\":[{}{}]}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(elements_of(deep.as_bytes(), "keys").map(|elements| elements.len()), Ok(1));
    }

    #[test]
    fn a_member_is_read_as_it_is_written() {
        let text = br#"{ "a" : 1 , "d\u0061ta" : { "x" : 1.10, "y":[ ] } , "b":2}"#;
        assert_eq!(member_of(text, "data"), Ok(r#"{ "x" : 1.10, "y":[ ] }"#));
        assert_eq!(member_of(text, "a"), Ok("1"));
        for (text, name) in [("{\"a\":1}", "b"), ("{\"a\":1,\"a\":1}", "a"), ("[1]", "a"), ("{\"a\":}", "a")] {
            assert_eq!(member_of(text.as_bytes(), name), Err(AmbiguousJson), "{text}");
        }
    }

    proptest! {
        #[test]
        fn elements_never_panic_and_are_those_of_the_library(text in "\\{\"keys\":[\\[\\]{}\",:0-9a\\\\ ]{0,24}\\}") {
            let ours = elements_of(text.as_bytes(), "keys");
            if let Ok(Value::Object(members)) = serde_json::from_str::<Value>(&text)
                && let Some(Value::Array(theirs)) = members.get("keys")
                && let Ok(ours) = ours
            {
                let ours: Vec<Value> = ours.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
                prop_assert_eq!(&ours, theirs);
            }
        }

        #[test]
        fn elements_survive_a_round_trip(elements in proptest::collection::vec("[ -~]{0,12}", 0..8)) {
            let text = serde_json::to_string(&serde_json::json!({"a": elements, "keys": elements})).unwrap();
            let expected: Vec<String> = elements.iter().map(|text| serde_json::to_string(text).unwrap()).collect();
            prop_assert_eq!(elements_of(text.as_bytes(), "keys").unwrap(), expected);
        }
    }
}
