//! The examples of RFC 9421: signature bases of its sections 2.1 to 2.4, and the test cases of its appendix B.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::base::{MAX_BASE_BYTES, signature_base};
use super::component::Component;
use super::digest::ClaimedDigest;
use super::error::SignatureError;
use super::input::{SIGNATURE, SIGNATURE_INPUT, SignatureInput};
use super::message::{ExternalUri, Message, RequestView, ResponseView};
use super::profile::Profile;
use super::verify::verify;
use crate::UnixTime;
use crate::jose::keys::KeySet;

fn rfc9421() -> Value {
    serde_json::from_str(include_str!("../../../../tests/vectors/rfc9421.json")).unwrap()
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    fields.iter().map(line).fold(HeaderMap::new(), |mut all, (name, value)| {
        all.append(name, value);
        all
    })
}

fn of_vector(message: &Value) -> HeaderMap {
    let fields = message["fields"].as_array().unwrap();
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|field| (field[0].as_str().unwrap(), field[1].as_str().unwrap())).collect();
    headers(&fields)
}

const URI: ExternalUri<'_> =
    ExternalUri { scheme: "https", authority: "www.example.com", path: "/path", query: Some("param=value") };

const fn request<'m>(method: &'m Method, uri: ExternalUri<'m>, headers: &'m HeaderMap) -> RequestView<'m> {
    RequestView { method, uri, target: "/path?param=value", headers }
}

/// The value of one component in a base.
fn value(message: &Message<'_>, component: &str) -> Result<String, SignatureError> {
    let component: Component = component.parse()?;
    let base = signature_base(message, std::slice::from_ref(&component), "()")?;
    let line = base.strip_suffix("\n\"@signature-params\": ()").unwrap();
    Ok(line.strip_prefix(&format!("{component}: ")).unwrap().to_owned())
}

fn components(names: &[&str]) -> Vec<Component> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn hsig_13_values_of_fields_are_combined_and_trimmed() {
    // RFC 9421 §2.1, with an obsolete line folding as a parser of HTTP leaves it.
    let fields = headers(&[
        ("Host", "www.example.com"),
        ("Date", "Tue, 20 Apr 2021 02:07:56 GMT"),
        ("X-OWS-Header", "   Leading and trailing whitespace.   \t"),
        ("X-Obs-Fold-Header", "Obsolete line folding."),
        ("Cache-Control", "max-age=60"),
        ("Cache-Control", "   must-revalidate"),
        ("Example-Dict", " a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
        ("X-Empty-Header", ""),
    ]);
    let one = headers(&[("Cache-Control", "max-age=60, must-revalidate")]);
    let message = Message::Request(request(&Method::GET, URI, &fields));
    let get = |name: &str| value(&message, &format!("\"{name}\"")).unwrap();
    assert_eq!(get("host"), "www.example.com");
    assert_eq!(get("x-ows-header"), "Leading and trailing whitespace.");
    assert_eq!(get("cache-control"), "max-age=60, must-revalidate");
    let joined = Message::Request(request(&Method::GET, URI, &one));
    assert_eq!(value(&joined, "\"cache-control\"").unwrap(), get("cache-control"), "one line or two");
    assert_eq!(get("example-dict"), "a=1,    b=2;x=1;y=2,   c=(a   b   c)");
    assert_eq!(get("x-empty-header"), "");
    assert!(HeaderValue::from_bytes(b"Obsolete\r\n  line folding.").is_err(), "nothing folded arrives");
}

#[test]
fn hsig_13_a_field_can_be_covered_in_other_forms() {
    // RFC 9421 §2.1.1 to §2.1.3.
    let fields = headers(&[
        ("Example-Dict", " a=1, b=2;x=1;y=2, c=(a   b    c), d"),
        ("Priority", " u=1,    i;x=1"),
        ("Example-Header", "value, with, lots"),
        ("Example-Header", "of, commas"),
        ("X-Bytes", "caf\u{e9}"),
        ("Twice", "a=1, a=2"),
    ]);
    let message = Message::Request(request(&Method::GET, URI, &fields));
    let get = |component: &str| value(&message, component);
    assert_eq!(get("\"example-dict\";key=\"a\"").unwrap(), "1");
    assert_eq!(get("\"example-dict\";key=\"d\"").unwrap(), "?1");
    assert_eq!(get("\"example-dict\";key=\"b\"").unwrap(), "2;x=1;y=2");
    assert_eq!(get("\"example-dict\";key=\"c\"").unwrap(), "(a b c)");
    assert_eq!(get("\"priority\";sf").unwrap(), "u=1, i;x=1");
    assert_eq!(get("\"example-header\";bs").unwrap(), ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:");
    assert_eq!(get("\"x-bytes\";bs").unwrap(), ":Y2Fmw6k=:");
    assert!(matches!(get("\"x-bytes\""), Err(SignatureError::ComponentMalformed { .. })));
    assert!(matches!(get("\"example-dict\";key=\"e\""), Err(SignatureError::ComponentAbsent { .. })));
    assert!(matches!(get("\"example-dict\";sf"), Err(SignatureError::ComponentMalformed { .. })), "of no known type");
    assert!(matches!(get("\"twice\";key=\"a\""), Err(SignatureError::ComponentMalformed { .. })));
}

#[test]
fn hsig_12_derived_components_are_of_the_uri_that_clients_use() {
    // RFC 9421 §2.2.
    let none = HeaderMap::new();
    let message = Message::Request(request(&Method::POST, URI, &none));
    for (name, expected) in [
        ("@method", "POST"),
        ("@target-uri", "https://www.example.com/path?param=value"),
        ("@authority", "www.example.com"),
        ("@scheme", "https"),
        ("@request-target", "/path?param=value"),
        ("@path", "/path"),
        ("@query", "?param=value"),
    ] {
        assert_eq!(value(&message, &format!("\"{name}\"")).unwrap(), expected);
    }
    assert!(matches!(value(&message, "\"@status\""), Err(SignatureError::ComponentRefused { .. })));
    let at = |authority, path, query, component: &str| {
        let uri = ExternalUri { scheme: "HTTPS", authority, path, query };
        value(&Message::Request(request(&Method::POST, uri, &none)), component).unwrap()
    };
    assert_eq!(at("WWW.example.com:443", "", None, "\"@target-uri\""), "https://www.example.com/");
    assert_eq!(at("WWW.example.com:8443", "", Some(""), "\"@target-uri\""), "https://www.example.com:8443/?");
    assert_eq!(at("[::443]", "/%7e", None, "\"@target-uri\""), "https://[::443]/%7e");
    assert_eq!(at("a:443", "", None, "\"@authority\""), "a");
    assert_eq!(at("a:80", "", None, "\"@authority\""), "a:80");
    let plain = ExternalUri { scheme: "http", authority: "a:80", ..URI };
    assert_eq!(value(&Message::Request(request(&Method::GET, plain, &none)), "\"@authority\"").unwrap(), "a");
    assert_eq!(at("a", "", None, "\"@path\""), "/");
    assert_eq!(at("a", "/", None, "\"@query\""), "?");
    assert_eq!(at("a", "/", Some(""), "\"@query\""), "?");
    assert_eq!(at("a", "/", Some("a=%2f+b"), "\"@query\""), "?a=%2f+b");
}

#[test]
fn hsig_10_a_query_parameter_is_encoded_again_and_there_once() {
    // RFC 9421 §2.2.8.
    let none = HeaderMap::new();
    let at = |query, component: &str| {
        let uri = ExternalUri { query: Some(query), ..URI };
        value(&Message::Request(request(&Method::GET, uri, &none)), component)
    };
    let get = |query, name: &str| at(query, &format!("\"@query-param\";name=\"{name}\""));
    let plain = "param=value&foo=bar&baz=batman&qux=";
    assert_eq!(get(plain, "baz").unwrap(), "batman");
    assert_eq!(get(plain, "qux").unwrap(), "");
    let encoded = "var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something";
    assert_eq!(get(encoded, "var").unwrap(), "this%20is%20a%20big%0Amultiline%20value");
    assert_eq!(get(encoded, "bar").unwrap(), "with%20plus%20whitespace");
    assert_eq!(get(encoded, "fa%C3%A7ade%22%3A%20").unwrap(), "something");
    assert_eq!(get("a=1", "a").unwrap(), "1", "control");
    assert!(matches!(get("a=1&a=1", "a"), Err(SignatureError::ComponentMalformed { .. })));
    assert!(matches!(get("a=1&%61=2", "a"), Err(SignatureError::ComponentMalformed { .. })));
    assert!(matches!(get("a=%ff", "a"), Err(SignatureError::ComponentMalformed { .. })));
    assert!(matches!(get("a=1", "b"), Err(SignatureError::ComponentAbsent { .. })));
}

#[test]
fn hsig_16_a_response_covers_parts_of_its_request() {
    // RFC 9421 §2.4.
    let (of_request, of_response) =
        (headers(&[("Content-Length", "18"), ("X-Only", "a")]), headers(&[("Content-Length", "62")]));
    let response = Message::Response(ResponseView {
        status: StatusCode::SERVICE_UNAVAILABLE,
        headers: &of_response,
        request: request(&Method::POST, URI, &of_request),
    });
    assert_eq!(value(&response, "\"@status\"").unwrap(), "503");
    assert_eq!(value(&response, "\"content-length\"").unwrap(), "62");
    assert_eq!(value(&response, "\"content-length\";req").unwrap(), "18");
    assert_eq!(value(&response, "\"@authority\";req").unwrap(), "www.example.com");
    assert!(matches!(value(&response, "\"@authority\""), Err(SignatureError::ComponentRefused { .. })));
    assert!(matches!(value(&response, "\"x-only\""), Err(SignatureError::ComponentAbsent { .. })));
    let request = Message::Request(request(&Method::POST, URI, &of_request));
    assert_eq!(value(&request, "\"content-length\"").unwrap(), "18", "control");
    assert!(matches!(value(&request, "\"content-length\";req"), Err(SignatureError::ComponentRefused { .. })));
}

#[test]
fn hsig_10_what_is_repeated_or_absent_has_no_base() {
    let fields = headers(&[("A", "1"), ("B", "x=1, y=2")]);
    let message = Message::Request(request(&Method::GET, URI, &fields));
    let base = |names: &[&str]| signature_base(&message, &components(names), "()");
    assert!(base(&["\"a\"", "\"b\"", "\"b\";key=\"x\"", "\"b\";key=\"y\""]).is_ok(), "control");
    let repeated = |component: &str| Err(SignatureError::ComponentRepeated { component: component.into() });
    assert_eq!(base(&["\"a\"", "\"b\"", "\"a\""]), repeated("\"a\""));
    assert_eq!(base(&["\"b\";sf;key=\"x\"", "\"b\";key=\"x\";sf"]), repeated("\"b\";key=\"x\";sf"));
    assert_eq!(base(&["\"x-nope\""]), Err(SignatureError::ComponentAbsent { component: "\"x-nope\"".into() }));
}

#[test]
fn hsig_10_a_base_is_bounded_whatever_it_covers_again() {
    let fields = headers(&[("A", &"x".repeat(MAX_BASE_BYTES / 2 - 10))]);
    let message = Message::Request(request(&Method::GET, URI, &fields));
    let base = |names: &[&str]| signature_base(&message, &components(names), "()").map(|base| base.len());
    assert!(base(&["\"a\""]).is_ok(), "control");
    assert_eq!(base(&["\"a\"", "\"a\";bs"]), Err(SignatureError::BaseTooLarge { limit: MAX_BASE_BYTES }));
}

#[test]
fn rfc9421_b_2_every_base_is_as_printed() {
    let vectors = rfc9421();
    for number in 1..=6 {
        let case = &vectors[format!("B.2.{number}")];
        let printed = case["base"].as_str().unwrap();
        let (lines, parameters) = printed.rsplit_once("\"@signature-params\": ").unwrap();
        let covered: Vec<Component> =
            lines.lines().map(|line| line.split_once(": ").unwrap().0.parse().unwrap()).collect();
        let base = with_message(&vectors, case["message"].as_str().unwrap(), |message| {
            signature_base(message, &covered, parameters)
        });
        assert_eq!(base.as_deref(), Ok(printed), "{number}");
    }
}

/// The request or the response of appendix B.2.
fn with_message<T>(vectors: &Value, which: &str, judge: impl FnOnce(&Message<'_>) -> T) -> T {
    let section = &vectors["B.2"];
    let (of_request, of_response) = (of_vector(&section["request"]), of_vector(&section["response"]));
    let target = "/foo?param=Value&Pet=dog";
    assert_eq!(section["request"]["line"], format!("POST {target} HTTP/1.1"));
    let uri =
        ExternalUri { scheme: "https", authority: "example.com", path: "/foo", query: Some("param=Value&Pet=dog") };
    let request = RequestView { method: &Method::POST, uri, target, headers: &of_request };
    match which {
        "request" => judge(&Message::Request(request)),
        _ => judge(&Message::Response(ResponseView { status: StatusCode::OK, headers: &of_response, request })),
    }
}

#[test]
fn rfc9421_b_2_every_signature_of_an_allowed_algorithm_verifies() {
    let vectors = rfc9421();
    let jwks: Vec<&Value> = (1..=4).map(|number| &vectors[format!("B.1.{number}")]["jwk"]).collect();
    let keys = KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes()).unwrap();
    let created = UnixTime(1_618_884_473);
    for number in 1..=6 {
        let case = &vectors[format!("B.2.{number}")];
        let text = |member: &str| case[member].as_str().unwrap();
        let mut fields = HeaderMap::new();
        fields.insert(SIGNATURE_INPUT, text("signature_input").parse().unwrap());
        fields.insert(SIGNATURE, text("signature").parse().unwrap());
        let input = SignatureInput::read(&fields).unwrap().remove(0);
        let (label, parameters) = (input.label(), input.parameters().unwrap());
        assert_eq!(text("signature_input"), format!("{label}={}", input.serialized().unwrap()));
        let verifies = |base: &str| {
            let name = parameters.key_id.as_deref().unwrap();
            keys.of_messages(name).any(|(key, _)| key.verifies_http_message(base.as_bytes(), input.signature(), true))
        };
        // HSIG-09: B.2.5 is of HMAC, with a secret that no key set has.
        assert_eq!(verifies(text("base")), number != 5, "{number}");
        assert!(!verifies(&text("base").replace("created=16", "created=17")), "{number}");
        assert_eq!(parameters.created, Some(created), "{number}");
    }
}

#[test]
fn rfc9421_b_2_2_is_verified_as_a_whole() {
    let vectors = rfc9421();
    let key = &vectors["B.1.2"]["jwk"];
    let keys = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
    let judge = |tag: &str, target: &str, query| {
        let mut fields = of_vector(&vectors["B.2"]["request"]);
        for name in ["signature_input", "signature"] {
            let value = vectors["B.2.2"][name].as_str().unwrap().parse().unwrap();
            fields.insert(HeaderName::from_bytes(name.replace('_', "-").as_bytes()).unwrap(), value);
        }
        let uri = ExternalUri { scheme: "https", authority: "example.com", path: "/foo", query: Some(query) };
        let request = RequestView { method: &Method::POST, uri, target, headers: &fields };
        let profile =
            Profile { tag: Some(tag.into()), required: components(&["\"@authority\""]), max_age: 60, clock_skew: 10 };
        let signed = verify(&Message::Request(request), &profile, &keys, UnixTime(1_618_884_500))?;
        let mut hasher = ClaimedDigest::read(&fields)?.hasher();
        hasher.update(vectors["B.2"]["request"]["content"].as_str().unwrap().as_bytes());
        signed.with_content(&hasher.finish()?)
    };
    let verified = judge("header-example", "/foo", "param=Value&Pet=dog").unwrap();
    assert_eq!((verified.label(), verified.key_id()), ("sig-b22", "test-key-rsa-pss"));
    assert!(judge("header-example", "/foo", "param=other&Pet=dog").is_ok(), "only Pet is covered");
    assert_eq!(judge("header-example", "/foo", "Pet=cat").err(), Some(SignatureError::SignatureInvalid));
    let missing = SignatureError::TagMissing { expected: "fapi-2-request".into() };
    assert_eq!(judge("fapi-2-request", "/foo", "param=Value&Pet=dog").err(), Some(missing));
}
