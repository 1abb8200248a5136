//! The signature base: the text that is signed (RFC 9421 §2.5), and the values that stand in it (§2.1, §2.2, §2.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sfv::{Parser, SerializeValue};

use super::component::{Component, Derived, Name, Parameter};
use super::dictionary;
use super::error::SignatureError;
use super::message::{ExternalUri, Message, RequestView, ResponseView};

/// The most bytes of a signature base: twice what a head has elsewhere, since a component may cover a field again in another
/// way, and each time for free.
pub const MAX_BASE_BYTES: usize = 131_072;

/// The signature base of a message for these components. `parameters` is the value of `@signature-params`: the list of the
/// same components with the parameters of the signature.
///
/// # Errors
/// [`SignatureError`], if a component appears twice, is not in the message, or has no value that can stand in a base.
pub fn signature_base(
    message: &Message<'_>,
    components: &[Component],
    parameters: &str,
) -> Result<String, SignatureError> {
    let mut base = String::new();
    for (index, component) in components.iter().enumerate() {
        // RFC 9421 §2.5: "If the component identifier … has already been added to the signature base, produce an error."
        if components.iter().take(index).any(|before| before == component) {
            return Err(SignatureError::ComponentRepeated { component: component.shown() });
        }
        base.push_str(&line(message, component)?);
        base.push('\n');
        if base.len() > MAX_BASE_BYTES {
            return Err(SignatureError::BaseTooLarge { limit: MAX_BASE_BYTES });
        }
    }
    base.push_str(&format!("\"@signature-params\": {parameters}"));
    Ok(base)
}

/// The line of one component in a base, without its end (RFC 9421 §2.5).
///
/// # Errors
/// [`SignatureError`], if the component is not in the message, or has no value that can stand in a base.
pub fn line(message: &Message<'_>, component: &Component) -> Result<String, SignatureError> {
    let value = value(message, component)?;
    // A value that is not ASCII, or has a line break, is an error. No other control character can be part of a field either
    // (RFC 9110 §5.5).
    if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        let why = "its value is not printable ASCII";
        return Err(SignatureError::ComponentMalformed { component: component.shown(), why });
    }
    Ok(format!("{component}: {value}"))
}

/// The value of one component (RFC 9421 §2.1, §2.2).
fn value(message: &Message<'_>, component: &Component) -> Result<String, SignatureError> {
    let refused = |why| SignatureError::ComponentRefused { component: component.shown(), why };
    match (message, component.is_of_request()) {
        // §2.4: only a response has a request to refer to.
        (Message::Request(_), true) => Err(refused("req is for responses")),
        (Message::Request(request), false) | (Message::Response(ResponseView { request, .. }), true) => {
            match component.name() {
                Name::Field(name) => field(request.headers, name, component),
                Name::Derived(derived) => of_request(request, *derived, component),
            }
        }
        (Message::Response(response), false) => match component.name() {
            Name::Field(name) => field(response.headers, name, component),
            Name::Derived(Derived::Status) => Ok(response.status.as_str().to_owned()),
            Name::Derived(_) => Err(refused("a response has it only of its request, with req")),
        },
    }
}

fn of_request(request: &RequestView<'_>, derived: Derived, component: &Component) -> Result<String, SignatureError> {
    let uri = &request.uri;
    Ok(match derived {
        // §2.2.1: in the case in which it was sent (RFC 9110 §9.1).
        Derived::Method => request.method.as_str().to_owned(),
        Derived::TargetUri => {
            let query = uri.query.map(|query| format!("?{query}")).unwrap_or_default();
            format!("{}://{}{}{query}", uri.normal_scheme(), uri.normal_authority(), uri.normal_path())
        }
        Derived::Authority => uri.normal_authority(),
        Derived::Scheme => uri.normal_scheme(),
        Derived::RequestTarget => request.target.to_owned(),
        Derived::Path => uri.normal_path().to_owned(),
        // §2.2.7: "If the query string is absent from the request message, the component value is the leading ? character
        // alone".
        Derived::Query => format!("?{}", uri.query.unwrap_or_default()),
        Derived::QueryParam => return query_parameter(uri, component),
        Derived::Status => {
            let why = "a request has no status";
            return Err(SignatureError::ComponentRefused { component: component.shown(), why });
        }
    })
}

/// What `application/x-www-form-urlencoded` leaves as it is, of which §2.2.8 has names and values encoded again. A space is
/// `%20`.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// The value of the one query parameter with this name (RFC 9421 §2.2.8).
fn query_parameter(uri: &ExternalUri<'_>, component: &Component) -> Result<String, SignatureError> {
    let malformed = |why| SignatureError::ComponentMalformed { component: component.shown(), why };
    let wanted = component.parameters().iter().find_map(|parameter| match parameter {
        Parameter::QueryName(name) => Some(&**name),
        Parameter::StructuredField | Parameter::Key(_) | Parameter::ByteSequences | Parameter::OfRequest => None,
    });
    let wanted = wanted.ok_or_else(|| malformed("it needs the parameter name"))?;
    let mut found = form_urlencoded::parse(uri.query.unwrap_or_default().as_bytes())
        .filter(|(name, _)| utf8_percent_encode(name, FORM).to_string() == wanted);
    let absent = || SignatureError::ComponentAbsent { component: component.shown() };
    let (name, value) = found.next().ok_or_else(absent)?;
    // "If a parameter name occurs multiple times in a request, the named query parameter MUST NOT be included."
    if found.next().is_some() {
        return Err(malformed("the query has it more than once"));
    }
    // In place of bytes that are no UTF-8: many texts would have this one value.
    if [name, value.clone()].iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER)) {
        return Err(malformed("it is not UTF-8"));
    }
    Ok(utf8_percent_encode(&value, FORM).to_string())
}

/// The value of a field (RFC 9421 §2.1). Line folding does not arrive here: no value of the map has line breaks.
fn field(headers: &HeaderMap, name: &HeaderName, component: &Component) -> Result<String, SignatureError> {
    let malformed = |why| SignatureError::ComponentMalformed { component: component.shown(), why };
    // "Strip leading and trailing whitespace from each item in the list."
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(|line| line.as_bytes().trim_ascii()).collect();
    if lines.is_empty() {
        return Err(SignatureError::ComponentAbsent { component: component.shown() });
    }
    // "Concatenate the list of values with a single comma (",") and a single space (" ") between each item."
    let joined = || lines.join(&b", "[..]);
    let has = |parameter| component.parameters().contains(&parameter);
    // §2.1.3: each line is encoded by itself, so that a comma within one is not that between two.
    if has(Parameter::ByteSequences) {
        let encoded = lines.iter().map(|line| format!(":{}:", STANDARD.encode(line)));
        return Ok(encoded.collect::<Vec<_>>().join(", "));
    }
    let key = component.parameters().iter().find_map(|parameter| match parameter {
        Parameter::Key(key) => Some(&**key),
        Parameter::StructuredField | Parameter::ByteSequences | Parameter::OfRequest | Parameter::QueryName(_) => None,
    });
    if let Some(key) = key {
        // §2.1.2: the member's value alone, serialized strictly.
        let mut dictionary = dictionary::parse(&joined()).map_err(malformed)?;
        let member = dictionary.swap_remove(key);
        let member = member.ok_or_else(|| SignatureError::ComponentAbsent { component: component.shown() })?;
        return vec![member].serialize_value().map_err(|_| malformed("its member cannot be serialized"));
    }
    if has(Parameter::StructuredField) {
        return serialized_strictly(name.as_str(), &joined()).map_err(malformed);
    }
    String::from_utf8(joined()).map_err(|_| malformed("its value is not printable ASCII"))
}

/// A structured field as its type is serialized (RFC 8941 §4.1). One whose type is not known cannot be (RFC 9421 §2.1.1): the same
/// text may be a list and a dictionary.
fn serialized_strictly(name: &str, text: &[u8]) -> Result<String, &'static str> {
    let parsed = match name {
        "content-digest"
        | "repr-digest"
        | "want-content-digest"
        | "want-repr-digest"
        | "signature"
        | "signature-input"
        | "accept-signature"
        | "priority" => dictionary::parse(text)?.serialize_value(),
        "accept-ch" | "cache-status" | "client-cert-chain" | "proxy-status" => {
            Parser::parse_list(text).and_then(|list| list.serialize_value())
        }
        "client-cert" => Parser::parse_item(text).and_then(|item| item.serialize_value()),
        _ => return Err("it is not known to be a structured field"),
    };
    parsed.map_err(|_| "it is not a structured field of its type")
}
