//! Names of what a signature covers: fields, and components derived from a message (RFC 9421 §2.1, §2.2).

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use sfv::{BareItem, Item, Parser};

use super::error::SignatureError;
use crate::text::printable;

/// A component that is derived from a message's control data (RFC 9421 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derived {
    /// `@method`, §2.2.1.
    Method,
    /// `@target-uri`, §2.2.2.
    TargetUri,
    /// `@authority`, §2.2.3.
    Authority,
    /// `@scheme`, §2.2.4.
    Scheme,
    /// `@request-target`, §2.2.5.
    RequestTarget,
    /// `@path`, §2.2.6.
    Path,
    /// `@query`, §2.2.7.
    Query,
    /// `@query-param`, §2.2.8, which needs the parameter `name`.
    QueryParam,
    /// `@status`, §2.2.9, of a response.
    Status,
}

impl Derived {
    const ALL: [Self; 9] = [
        Self::Method,
        Self::TargetUri,
        Self::Authority,
        Self::Scheme,
        Self::RequestTarget,
        Self::Path,
        Self::Query,
        Self::QueryParam,
        Self::Status,
    ];

    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "@method",
            Self::TargetUri => "@target-uri",
            Self::Authority => "@authority",
            Self::Scheme => "@scheme",
            Self::RequestTarget => "@request-target",
            Self::Path => "@path",
            Self::Query => "@query",
            Self::QueryParam => "@query-param",
            Self::Status => "@status",
        }
    }
}

/// What a component is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A field of the head.
    Field(HeaderName),
    /// Something that is not a field.
    Derived(Derived),
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Self::Field(name) => name.as_str(),
            Self::Derived(derived) => derived.as_str(),
        }
    }
}

/// A parameter of a component (RFC 9421 §2.1). `tr`, for fields of trailers, cannot be represented: those may arrive
/// after the message was acted on, and are dropped on the way (§2.1.4, HSIG-21).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// `sf`: the field is a structured one, and serialized strictly.
    StructuredField,
    /// `key`: one member of a dictionary.
    Key(Box<str>),
    /// `bs`: each line as a byte sequence.
    ByteSequences,
    /// `req`: of the request that a response answers.
    OfRequest,
    /// `name` of a query parameter, encoded.
    QueryName(Box<str>),
}

/// The identifier of a component: a name and its parameters.
///
/// RFC 9421 §2: the order of parameters is kept where an identifier is written, but means nothing where two are compared.
/// `Display` is the serialization that stands in a signature base.
#[derive(Clone, Debug)]
pub struct Component {
    name: Name,
    parameters: Vec<Parameter>,
}

impl Component {
    /// A whole field of the message.
    pub const fn field(name: HeaderName) -> Self {
        Self { name: Name::Field(name), parameters: Vec::new() }
    }

    /// A derived component of the message. `@query-param` needs a name, and is read from text instead.
    pub const fn derived(derived: Derived) -> Self {
        Self { name: Name::Derived(derived), parameters: Vec::new() }
    }

    /// Whether it is of the field with this name, in any case.
    pub(crate) fn is_of_field(&self, name: &str) -> bool {
        matches!(&self.name, Name::Field(own) if own.as_str().eq_ignore_ascii_case(name))
    }

    /// The same of the request that a response answers.
    #[must_use]
    pub fn of_request(mut self) -> Self {
        if !self.is_of_request() {
            self.parameters.push(Parameter::OfRequest);
        }
        self
    }

    /// Reads a member of a list of covered components.
    ///
    /// # Errors
    /// [`SignatureError::ComponentRefused`] for a name that is unknown, and for parameters that are unknown, incompatible,
    /// or refused.
    pub(super) fn from_item(item: &Item) -> Result<Self, SignatureError> {
        let BareItem::String(text) = &item.bare_item else {
            return Err(SignatureError::ComponentRefused { component: "?".into(), why: "its name is not a string" });
        };
        let refused = |why| SignatureError::ComponentRefused { component: printable(text), why };
        let name = if text.starts_with('@') {
            let derived = Derived::ALL.into_iter().find(|derived| derived.as_str() == text);
            Name::Derived(derived.ok_or_else(|| refused("no such component is derived from a message"))?)
        } else {
            let field = HeaderName::from_lowercase(text.as_bytes());
            Name::Field(field.map_err(|_| refused("it is not the name of a field in lower case"))?)
        };
        let mut parameters = Vec::with_capacity(item.params.len());
        for (key, value) in &item.params {
            parameters.push(match (key.as_str(), value) {
                ("sf", BareItem::Boolean(true)) => Parameter::StructuredField,
                ("key", BareItem::String(key)) => Parameter::Key(key.as_str().into()),
                ("bs", BareItem::Boolean(true)) => Parameter::ByteSequences,
                ("req", BareItem::Boolean(true)) => Parameter::OfRequest,
                ("name", BareItem::String(name)) => Parameter::QueryName(name.as_str().into()),
                ("tr", _) => return Err(refused("fields of trailers are not accepted")),
                _ => return Err(refused("it has a parameter that is unknown or of another type")),
            });
        }
        let component = Self { name, parameters };
        component.check_parameters().map_err(refused)?;
        Ok(component)
    }

    /// RFC 9421 §2.1: `bs` is incompatible with `sf` and `key`. §2.2: those of fields mean nothing for derived components.
    fn check_parameters(&self) -> Result<(), &'static str> {
        let has = |wanted: fn(&Parameter) -> bool| self.parameters.iter().any(wanted);
        let (structured, bytes) = (
            has(|one| matches!(one, Parameter::StructuredField | Parameter::Key(_))),
            has(|one| *one == Parameter::ByteSequences),
        );
        let named = has(|one| matches!(one, Parameter::QueryName(_)));
        match self.name {
            Name::Derived(_) if structured || bytes => Err("sf, key and bs are for fields"),
            Name::Derived(Derived::QueryParam) if !named => Err("it needs the parameter name"),
            Name::Derived(Derived::Status) if self.is_of_request() => Err("a request has no status"),
            Name::Field(_) if structured && bytes => Err("bs cannot be with sf or key"),
            Name::Derived(Derived::QueryParam) => Ok(()),
            Name::Field(_) | Name::Derived(_) if named => Err("name is for query parameters"),
            Name::Field(_) | Name::Derived(_) => Ok(()),
        }
    }

    /// What it is of.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Its parameters, in the order in which they are written.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Whether it is of the request that a response answers (RFC 9421 §2.4).
    pub fn is_of_request(&self) -> bool {
        self.parameters.contains(&Parameter::OfRequest)
    }

    /// Its text for a log, truncated.
    pub(crate) fn shown(&self) -> Box<str> {
        printable(&self.to_string())
    }
}

impl PartialEq for Component {
    fn eq(&self, other: &Self) -> bool {
        // No parameter is there twice: they are members of a map.
        self.name == other.name
            && self.parameters.len() == other.parameters.len()
            && self.parameters.iter().all(|one| other.parameters.contains(one))
    }
}

impl Eq for Component {}

/// Reads the text of an identifier, such as `"@query-param";name="id"`.
impl FromStr for Component {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let why = "it is not a structured-field item";
        let item = Parser::parse_item(text.as_bytes());
        let item = item.map_err(|_| SignatureError::ComponentRefused { component: printable(text), why })?;
        Self::from_item(&item)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.name.as_str())?;
        for parameter in &self.parameters {
            match parameter {
                Parameter::StructuredField => f.write_str(";sf")?,
                Parameter::Key(key) => write!(f, ";key={}", quoted(key))?,
                Parameter::ByteSequences => f.write_str(";bs")?,
                Parameter::OfRequest => f.write_str(";req")?,
                Parameter::QueryName(name) => write!(f, ";name={}", quoted(name))?,
            }
        }
        Ok(())
    }
}

/// A text as a string of structured fields (RFC 8941 §4.1.6). Does not check that it is printable ASCII.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> bool {
        matches!(text.parse::<Component>(), Err(SignatureError::ComponentRefused { .. }))
    }

    #[test]
    fn hsig_10_an_identifier_reads_back_as_it_was_written() {
        for text in [
            "\"date\"",
            "\"x-a\";bs",
            "\"priority\";sf",
            "\"signature\";key=\"sig1\";req",
            "\"signature\";req;key=\"sig1\"",
            "\"x\";sf;key=\"a\"",
            "\"@method\"",
            "\"@method\";req",
            "\"@query-param\";name=\"a%20b\"",
            "\"x\";key=\"a\\\"b\\\\\"",
        ] {
            assert_eq!(text.parse::<Component>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn hsig_10_an_unknown_name_or_parameter_is_refused() {
        assert!(!refused("\"@method\"") && !refused("\"x\""), "control");
        for text in [
            "\"@nope\"",
            "\"@signature-params\"",
            "\"@METHOD\"",
            "\"Date\"",
            "\"a b\"",
            "\"\"",
            "date",
            "\"x\";nope",
            "\"x\";sf=?0",
            "\"x\";sf=1",
            "\"x\";key",
            "\"x\";key=a",
            "\"x\";name=\"a\"",
            "\"x\";bs;sf",
            "\"x\";bs;key=\"a\"",
            "\"@method\";sf",
            "\"@method\";bs",
            "\"@method\";key=\"a\"",
            "\"@path\";name=\"a\"",
            "\"@query-param\"",
            "\"@status\";req",
            "\"x",
        ] {
            assert!(refused(text), "{text}");
        }
    }

    #[test]
    fn hsig_21_fields_of_trailers_are_refused() {
        assert!(!refused("\"x\"")); // control
        for text in ["\"x\";tr", "\"x\";tr;sf", "\"x\";tr=?0", "\"@method\";tr"] {
            assert!(refused(text), "{text}");
        }
    }

    #[test]
    fn hsig_10_the_order_of_parameters_does_not_tell_identifiers_apart() {
        let read = |text: &str| text.parse::<Component>().unwrap();
        assert_eq!(read("\"a\";req;key=\"x\""), read("\"a\";key=\"x\";req"));
        assert_ne!(read("\"a\";key=\"x\""), read("\"a\";key=\"y\""));
        assert_ne!(read("\"a\";req"), read("\"a\""));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            let _ = text.parse::<Component>().is_ok();
        }

        #[test]
        fn what_is_read_is_written_as_the_library_writes_it(name in "[a-z@-]{1,9}", key in "[ -~]{0,9}") {
            let text = format!("\"{name}\";key={}", quoted(&key));
            if let Ok(component) = text.parse::<Component>() {
                prop_assert_eq!(component.to_string(), text);
            }
        }
    }
}
