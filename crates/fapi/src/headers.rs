//! What leaves, to the upstream and to the client, as lists of edits (RFC 9440, RFC 7239, RFC 9110 §7.6, W3C Trace Context).
//!
//! Every name that the gateway or anyone behind it could take for the gateway's word is removed from what the client sent,
//! on every route, and only then is ours set. Names are compared by class: after lower-casing, and with every character that
//! is no letter or digit read as `-`, since servers behind us may do so.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use uuid::Uuid;

use super::peer::ClientCertificate;
use super::permit::Permit;
use super::route::Origin;

/// The header that joins what a client saw with what audit wrote (FAPI Implementation Advice).
pub const INTERACTION_ID: HeaderName = HeaderName::from_static("x-fapi-interaction-id");

/// The header that gives a client the nonce of its next proof (RFC 9449 §8.2).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The identity of one exchange: the client's UUID as it wrote it, or a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InteractionId(HeaderValue);

impl InteractionId {
    /// An id of our own.
    pub fn from_uuid(uuid: Uuid) -> Self {
        let mut buffer = Uuid::encode_buffer();
        let text = uuid.hyphenated().encode_lower(&mut buffer);
        Self(HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(NIL)))
    }

    /// The client's, if it sent exactly one and that is a UUID in its canonical form (RFC 9562 §4).
    pub fn from_request(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(INTERACTION_ID).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let text = value.to_str().ok().filter(|text| text.len() == 36)?;
        Uuid::try_parse(text).ok().map(|_| Self(value.clone()))
    }

    /// The value of the header.
    pub fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl std::fmt::Display for InteractionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.to_str().unwrap_or(NIL))
    }
}

const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// The trace a request belongs to (W3C Trace Context §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    traceparent: HeaderValue,
    trace_id: Box<str>,
    continued: bool,
}

impl TraceContext {
    /// Goes on with the client's trace, if it sent a well-formed one.
    pub fn from_request(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all("traceparent").iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let text = value.to_str().ok()?;
        let mut parts = text.split('-');
        let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
        };
        let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
        let well_formed = version == "00"
            && parts.next().is_none()
            && hex(trace_id, 32)
            && nonzero(trace_id)
            && hex(parent_id, 16)
            && nonzero(parent_id)
            && hex(flags, 2);
        well_formed.then(|| Self { traceparent: value.clone(), trace_id: trace_id.into(), continued: true })
    }

    /// Starts a trace from random bytes, 16 for its id and 8 for the first parent's; not sampled.
    pub fn start(random: [u8; 24]) -> Self {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        for (index, byte) in random.iter().enumerate() {
            if index == 16 {
                text.push('-');
            }
            let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
            text.extend([digit(byte >> 4), digit(byte & 15)]);
        }
        text.push_str("-00");
        let trace_id = text.get(3..35).unwrap_or_default().into();
        let traceparent = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { traceparent, trace_id, continued: false }
    }

    /// Its 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }
}

/// The classes of names that a client may not send on: those of the contract, and what the routes add.
#[derive(Clone, Debug, Default)]
pub struct StripList {
    own: Vec<Box<str>>,
}

impl StripList {
    /// The list with the names that routes give to forwarded claims.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n HeaderName>) -> Self {
        let mut own: Vec<Box<str>> = names.into_iter().map(|name| class_of(name.as_str()).into()).collect();
        own.sort_unstable();
        own.dedup();
        Self { own }
    }

    /// Whether a field of this name must not reach the upstream.
    fn holds(&self, name: &str) -> bool {
        if is_odd(name) {
            let class = class_of(name);
            // A look-alike of a field that frames or routes the message is as dangerous as one that names a person.
            self.holds_class(&class) || FRAMING.contains(&class.as_str()) || class == "authorization"
        } else {
            self.holds_class(name)
        }
    }

    fn holds_class(&self, class: &str) -> bool {
        PREFIXES.iter().any(|prefix| class.starts_with(prefix))
            || NAMES.contains(&class)
            || self.own.binary_search_by(|own| (**own).cmp(class)).is_ok()
    }
}

/// Names whose whole class is the gateway's to write.
const PREFIXES: &[&str] = &[
    "client-cert",
    "x-token-",
    "x-forwarded-",
    "x-ssl-",
    "ssl-client-",
    "x-client-cert",
    "x-original-",
    "x-rewrite-",
    "x-http-method",
    "x-method-override",
    "x-envoy-",
    "x-amzn-mtls-",
];

/// Whether a proxy may hand on a certificate under this name, in lower case: the names of its kind never go up, whoever sends
/// them.
pub fn may_carry_certificate(name: &str) -> bool {
    let own = ["client-cert", "x-client-cert", "x-ssl-", "ssl-client-"];
    own.iter().any(|prefix| name.starts_with(prefix) && PREFIXES.contains(prefix))
}

const NAMES: &[&str] = &[
    "dpop",
    "proxy",
    "forwarded",
    "x-arr-clientcert",
    "x-real-ip",
    "x-client-id",
    "x-client-dn",
    "x-consent-id",
    "x-userinfo",
    "x-forwarded",
    "proxy-authorization",
    "proxy-connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "connection",
    "proxy-authenticate",
    "http2-settings",
    "x-fapi-interaction-id",
    "traceparent",
];

const FRAMING: &[&str] = &["content-length", "transfer-encoding", "host"];

/// Whether a name has characters that its class has not.
fn is_odd(name: &str) -> bool {
    name.bytes().any(|b| !(b.is_ascii_alphanumeric() || b == b'-'))
}

/// Lower case, with `-` for everything that is no letter or digit.
fn class_of(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// Changes to a header section: first everything in `remove`, then everything in `set`, each replacing its name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Names to remove, all their lines.
    pub remove: Vec<HeaderName>,
    /// Names to set to one value.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

/// What is known of the connection and the exchange when a request is sent on.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// The client's certificate, if it is valid and somebody vouches for it: a trust anchor or the bound token.
    pub certificate: Option<&'a ClientCertificate>,
    /// The value of `Client-Cert-Chain`: the authorities between that certificate and the anchor.
    pub chain: Option<&'a HeaderValue>,
    /// The version that the client spoke.
    pub version: http::Version,
    /// The version that the upstream is spoken to in.
    pub upstream_version: http::Version,
    /// The other end's address.
    pub client_address: IpAddr,
    /// The origin the request was sent to.
    pub origin: &'a Origin,
    /// The exchange.
    pub interaction: &'a InteractionId,
    /// The trace.
    pub trace: &'a TraceContext,
}

/// The edits that make a client's header section the gateway's.
///
/// `received` is what is about to be sent: hop-by-hop fields and those that `Connection` names are expected to be gone, so
/// that the client can name nothing of ours (RFC 9110 §7.6.1).
pub fn to_upstream(received: &HeaderMap, permit: &Permit, strip: &StripList, hop: &Hop<'_>) -> HeaderEdits {
    let forward = &permit.route().forward;
    let mut edits = HeaderEdits::default();
    for name in received.keys() {
        let authorization = *name == header::AUTHORIZATION && !forward.access_token;
        let orphaned = name.as_str() == "tracestate" && !hop.trace.continued;
        if authorization || orphaned || strip.holds(name.as_str()) {
            edits.remove.push(name.clone());
        }
    }
    let set = &mut edits.set;
    set.push((INTERACTION_ID, hop.interaction.header_value()));
    set.push((HeaderName::from_static("traceparent"), hop.trace.traceparent.clone()));
    push_forwarded(set, hop);
    push_via(set, received, hop);
    push_te(set, received, hop);
    if forward.client_certificate
        && let Some(certificate) = hop.certificate
    {
        set.push((HeaderName::from_static("client-cert"), certificate.header_value().clone()));
        // RFC 9440 §2.3: it "MUST NOT appear unless Client-Cert is also present".
        if forward.client_certificate_chain
            && let Some(chain) = hop.chain
        {
            set.push((HeaderName::from_static("client-cert-chain"), chain.clone()));
        }
    }
    if let Some(token) = permit.token() {
        for (claim, name) in &forward.claims {
            if let Some(value) = token.claims().get(claim).and_then(claim_value) {
                set.push((name.clone(), value));
            }
        }
    }
    edits
}

/// `Client-Cert-Chain` (RFC 9440 §2.3): the authorities above a certificate, in DER, as a list of byte sequences; `None` if
/// there is none.
pub fn client_cert_chain(authorities: &[impl AsRef<[u8]>]) -> Option<HeaderValue> {
    let items: Vec<String> = authorities.iter().map(|der| format!(":{}:", STANDARD.encode(der))).collect();
    (!items.is_empty()).then(|| HeaderValue::try_from(items.join(", ")).ok()).flatten()
}

/// RFC 7239 §4 and its older kin, from what the connection shows.
fn push_forwarded(set: &mut Vec<(HeaderName, HeaderValue)>, hop: &Hop<'_>) {
    let host = hop.origin.authority();
    let address = hop.client_address.to_canonical();
    // RFC 7239 §6: "an IPv6 address is always enclosed in square brackets", and then quoted.
    let node = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    let mut push = |name: &'static str, text: String| {
        if let Ok(value) = HeaderValue::try_from(text) {
            set.push((HeaderName::from_static(name), value));
        }
    };
    push("forwarded", format!("for={node};host=\"{host}\";proto=https"));
    push("x-forwarded-for", address.to_string());
    push("x-forwarded-host", host.to_owned());
    push("host", host.to_owned());
    set.push((HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("https")));
}

/// RFC 9110 §7.6.3: a proxy "MUST send an appropriate Via header field", after those of the proxies before it.
fn push_via(set: &mut Vec<(HeaderName, HeaderValue)>, received: &HeaderMap, hop: &Hop<'_>) {
    let own: &[u8] = if hop.version == http::Version::HTTP_2 { b"2 fapi-gateway" } else { b"1.1 fapi-gateway" };
    let before = received.get_all(header::VIA).iter().map(|value| value.as_bytes());
    let value = before.chain([own]).collect::<Vec<_>>().join(&b", "[..]);
    if let Ok(value) = HeaderValue::from_bytes(&value) {
        set.push((header::VIA, value));
    }
}

/// RFC 9110 §10.1.4: "trailers" says that the sender will not drop them; true only where they can be handed on, from HTTP/2 to
/// HTTP/2. What RFC 9113 §8.2.2 lets a client say beside it is nothing.
fn push_te(set: &mut Vec<(HeaderName, HeaderValue)>, received: &HeaderMap, hop: &Hop<'_>) {
    let both = hop.version == http::Version::HTTP_2 && hop.upstream_version == http::Version::HTTP_2;
    if both && received.get(header::TE).is_some_and(|value| value == "trailers") {
        set.push((header::TE, HeaderValue::from_static("trailers")));
    }
}

/// A claim as a field value: text as it is, other JSON in its compact form; every byte that is not printable ASCII, `%` itself,
/// and spaces at either end, percent-encoded, so that no claim can end a field, and none is read as another (CC-12).
fn claim_value(claim: &Value) -> Option<HeaderValue> {
    let text = match claim {
        Value::String(text) => text.clone(),
        Value::Null => return None,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => claim.to_string(),
    };
    // RFC 9110 §5.5: "A field value does not include leading or trailing whitespace"; what stands there is lost on the way.
    let inner = text.trim_matches(' ');
    let (before, after) = text.split_once(inner).unwrap_or_default();
    let ends = |spaces| utf8_percent_encode(spaces, ENCODED_AT_ENDS);
    HeaderValue::try_from(format!("{}{}{}", ends(before), utf8_percent_encode(inner, ENCODED), ends(after))).ok()
}

/// What is encoded of a claim, besides everything beyond ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');
const ENCODED_AT_ENDS: &AsciiSet = &ENCODED.add(b' ');

/// Fields of a response that concern one connection (RFC 9110 §7.6.1, §11.7.1); Transfer-Encoding is the parser's to remove.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "trailer",
    "upgrade",
];

/// Whether `Connection` names the field (RFC 9110 §7.6.1); those that frame the message stay what they are.
fn nominated(headers: &HeaderMap, name: &str) -> bool {
    !FRAMING.contains(&name)
        && headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&b| b == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

/// What tells of the inside, or would speak in the gateway's name.
fn is_internal(name: &str) -> bool {
    name.starts_with("client-cert")
        || matches!(name, "server" | "x-powered-by" | "dpop-nonce" | "alt-svc")
        || (is_odd(name) && class_of(name).starts_with("client-cert"))
}

/// The edits that make an upstream's header section fit to leave (FWD-10, CC-05, RFC 9111 §3.5).
pub fn to_client(received: &HeaderMap, permit: Option<&Permit>, interaction: &InteractionId) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    for name in received.keys() {
        let class = name.as_str();
        if is_internal(class) || HOP_BY_HOP.contains(&class) || nominated(received, class) {
            edits.remove.push(name.clone());
        }
    }
    edits.set.push((INTERACTION_ID, interaction.header_value()));
    let proof = permit.and_then(|permit| permit.token()).and_then(|token| token.proof());
    if let Some(nonce) = proof.and_then(|proof| proof.fresh_nonce()) {
        edits.set.push((DPOP_NONCE, nonce.clone()));
        // RFC 9449 §8.2: a nonce is for one client; the answer that brings it is not to be stored.
        edits.set.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    }
    let protected = permit.is_some_and(|permit| permit.token().is_some());
    if protected && (!received.contains_key(header::CACHE_CONTROL) || nominated(received, "cache-control")) {
        edits.set.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    }
    // RFC 9440 §2.4: a response chosen by Client-Cert must not be reused for another client.
    let varies = received
        .get_all(header::VARY)
        .iter()
        .any(|value| value.as_bytes().windows(11).any(|part| part.eq_ignore_ascii_case(b"client-cert")));
    if varies {
        edits.set.push((header::VARY, HeaderValue::from_static("*")));
    }
    edits
}

/// The trailers of an upstream that do not leave: what would not leave in a header section, and what may not stand in a
/// trailer section because it frames, routes, controls, authenticates or describes the message (RFC 9110 §6.5.1).
pub fn withheld_trailers(received: &HeaderMap) -> Vec<HeaderName> {
    let withheld = |name: &&HeaderName| {
        let class = name.as_str();
        is_internal(class)
            || HOP_BY_HOP.contains(&class)
            || FRAMING.contains(&class)
            || NOT_IN_TRAILERS.contains(&class)
            || nominated(received, class)
    };
    received.keys().filter(withheld).cloned().collect()
}

/// Fields that are read before the content, or that the gateway writes.
const NOT_IN_TRAILERS: &[&str] = &[
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "date",
    "expires",
    "location",
    "retry-after",
    "set-cookie",
    "vary",
    "www-authenticate",
    "x-fapi-interaction-id",
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::permit::Admission;
    use crate::route::{Forward, Pattern, Requirement, Route, Routes, Target, UpstreamRef};

    fn permit(forward: Forward) -> Permit {
        let route = Route {
            name: "r".into(),
            pattern: Pattern::parse("/**").unwrap(),
            hosts: vec![],
            methods: vec![http::Method::GET],
            requirement: Requirement::Public,
            upstream: UpstreamRef { name: "u".into(), index: 0 },
            forward,
        };
        let request = http::Request::get("/").body(()).unwrap().into_parts().0;
        let origin = Arc::new(Origin::parse("https://api.bank.example").unwrap());
        let found = Routes::new(vec![route]).unwrap().find(&Target::parse(&request, &origin).unwrap()).unwrap();
        match Admission::to(found) {
            Admission::Public(permit) => permit,
            Admission::Protected(guard) => panic!("{guard:?}"),
        }
    }

    fn edited(received: &HeaderMap, permit: &Permit, strip: &StripList) -> HeaderMap {
        let hop = Hop {
            certificate: None,
            chain: None,
            version: http::Version::HTTP_11,
            upstream_version: http::Version::HTTP_11,
            client_address: "2001:db8::1".parse().unwrap(),
            origin: &Origin::parse("https://api.bank.example:8443/prefix").unwrap(),
            interaction: &InteractionId::from_uuid(Uuid::nil()),
            trace: &TraceContext::start([7; 24]),
        };
        let edits = to_upstream(received, permit, strip, &hop);
        let mut sent = received.clone();
        for name in edits.remove {
            sent.remove(name);
        }
        for (name, value) in edits.set {
            sent.insert(name, value);
        }
        sent
    }

    #[test]
    fn cc_13_forwarded_fields_are_written_afresh_and_ipv6_is_quoted() {
        let mut received = HeaderMap::new();
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-port", "x-real-ip"] {
            received.insert(name, "evil".parse().unwrap());
        }
        let sent = edited(&received, &permit(Forward::default()), &StripList::default());
        assert_eq!(sent["forwarded"], "for=\"[2001:db8::1]\";host=\"api.bank.example:8443\";proto=https");
        assert_eq!(sent["x-forwarded-for"], "2001:db8::1");
        assert_eq!(sent["x-forwarded-host"], "api.bank.example:8443");
        assert_eq!((sent.get("x-forwarded-port"), sent.get("x-real-ip")), (None, None));
    }

    #[test]
    fn tracestate_stays_only_with_the_trace_it_belongs_to() {
        let mut received = HeaderMap::new();
        received.insert("tracestate", "a=b".parse().unwrap());
        let sent = edited(&received, &permit(Forward::default()), &StripList::default());
        assert_eq!(sent.get("tracestate"), None);
        assert_eq!(sent["traceparent"], "00-07070707070707070707070707070707-0707070707070707-00");
    }

    #[test]
    fn a_traceparent_is_continued_only_when_well_formed() {
        let continued = |text: &str| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static("traceparent"), text.parse().unwrap())]);
            TraceContext::from_request(&headers).map(|trace| trace.trace_id().to_owned())
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(continued(good).as_deref(), Some("0af7651916cd43dd8448eb211c80319c")); // control
        for bad in [
            good.replace("00-0a", "01-0a"),
            good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            good.replace("b7ad6b7169203331", &"0".repeat(16)),
            good.to_uppercase(),
            format!("{good}-x"),
            String::new(),
        ] {
            assert_eq!(continued(&bad), None, "{bad}");
        }
    }

    #[test]
    fn cc_09_names_that_read_as_ours_are_ours() {
        let strip = StripList::new(&[HeaderName::from_static("x-user")]);
        for name in [
            "client_cert",
            "client.cert",
            "x_token_client_id",
            "x-user",
            "x_user",
            "content_length",
            "transfer_encoding",
            "x_forwarded_for",
            "http2_settings",
            "x-http-method-override",
            "ssl_client_cert",
            "dpop",
            "forwarded",
        ] {
            assert!(strip.holds(name), "{name}");
        }
        for name in
            ["accept", "content-length", "content-type", "user-agent", "x-users", "x-tokens", "idempotency_key", "host"]
        {
            assert!(!strip.holds(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn cc_10_nothing_of_the_clients_speaks_for_the_gateway(
            fields in prop::collection::vec(
                ("(x|client|ssl|forwarded|dpop|te)?[-_.]?(token|cert|forwarded|ssl|client|original|rewrite|http|method|user)?[-_.][a-z]{0,6}", "[a-z]{1,5}"),
                0..12,
            ),
        ) {
            let strip = StripList::new(&[HeaderName::from_static("x-user")]);
            let mut received = HeaderMap::new();
            for (name, value) in &fields {
                if let Ok(name) = HeaderName::try_from(name) {
                    received.append(name, format!("client-{value}").parse().unwrap());
                }
            }
            let sent = edited(&received, &permit(Forward { client_certificate: true, ..Forward::default() }), &strip);
            for (name, value) in &sent {
                let class = class_of(name.as_str());
                let ours = PREFIXES.iter().any(|prefix| class.starts_with(prefix)) || NAMES.contains(&class.as_str()) || class == "x-user";
                prop_assert!(!(ours && value.to_str().unwrap().starts_with("client-")), "{name}: {value:?}");
            }
        }

        #[test]
        fn cc_12_every_claim_becomes_one_printable_value(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}| {0,3}a? {0,3}") {
            let value = claim_value(&Value::String(text.clone())).unwrap();
            prop_assert!(value.as_bytes().iter().all(|b| (0x20..0x7f).contains(b)));
            // What an upstream reads, it can turn back into the claim, and into no other.
            let mut decoded = Vec::new();
            let mut rest = value.to_str().unwrap().trim().bytes();
            while let Some(byte) = rest.next() {
                let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap() as u8;
                decoded.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
            }
            prop_assert_eq!(String::from_utf8(decoded).unwrap(), text);
        }
    }

    #[test]
    fn atk_hd_12_no_claim_ends_a_field_or_is_read_as_another() {
        for (claim, expected) in CLAIMS {
            let claim: Value = serde_json::from_str(claim).unwrap();
            let value = claim_value(&claim);
            assert_eq!(value.as_ref().map(|value| value.to_str().unwrap()), *expected, "{claim}");
        }
    }

    /// Claims as JSON, and the field values that carry them.
    const CLAIMS: &[(&str, Option<&str>)] = &[
        (r#""client-1""#, Some("client-1")),
        (r#""plain, ascii; \"quoted\" \\ ~""#, Some(r#"plain, ascii; "quoted" \ ~"#)),
        (r#""a\rb""#, Some("a%0Db")),
        (r#""a\nb""#, Some("a%0Ab")),
        (r#""a\r\nX-Token-Subject: admin""#, Some("a%0D%0AX-Token-Subject: admin")),
        (r#""a\r\n admin""#, Some("a%0D%0A admin")),
        (r#""a\u0000b""#, Some("a%00b")),
        (r#""a\tb\u001b\u007f""#, Some("a%09b%1B%7F")),
        (r#""%0d%0a%00""#, Some("%250d%250a%2500")),
        (r#""caf\u00e9 \u010d\u0123""#, Some("caf%C3%A9 %C4%8D%C4%A3")),
        (r#""\u2028\ufeff\ud83d\ude00""#, Some("%E2%80%A8%EF%BB%BF%F0%9F%98%80")),
        (r#""admin ""#, Some("admin%20")),
        (r#""  admin b""#, Some("%20%20admin b")),
        (r#""  ""#, Some("%20%20")),
        (r#""""#, Some("")),
        (r#"["a\r\n", "\u00e9"]"#, Some(r#"["a\r\n","%C3%A9"]"#)),
        (r#"{"a\u0000": "%"}"#, Some(r#"{"a\u0000":"%25"}"#)),
        ("true", Some("true")),
        ("-1.5", Some("-1.5")),
        ("null", None),
    ];

    #[test]
    fn cc_05_responses_lose_what_tells_of_the_inside() {
        let mut received = HeaderMap::new();
        let certificates = ["client-cert", "client-cert-chain", "client_cert", "client.cert-chain"];
        for name in certificates.into_iter().chain(["server", "x-powered-by", "dpop-nonce"]) {
            received.insert(name, "x".parse().unwrap());
        }
        received.insert("vary", "Accept, Client-Cert".parse().unwrap());
        let edits = to_client(&received, None, &InteractionId::from_uuid(Uuid::nil()));
        assert_eq!(edits.remove.len(), 7);
        assert!(edits.set.contains(&(header::VARY, HeaderValue::from_static("*"))));
        for vary in [&b"client-cert"[..], b"Accept,CLIENT-CERT-CHAIN", b"\xe9, Client-Cert"] {
            let odd = HeaderMap::from_iter([(header::VARY, HeaderValue::from_bytes(vary).unwrap())]);
            let edits = to_client(&odd, None, &InteractionId::from_uuid(Uuid::nil()));
            assert!(edits.set.contains(&(header::VARY, HeaderValue::from_static("*"))), "{vary:?}");
        }
        let plain = HeaderMap::from_iter([(header::VARY, HeaderValue::from_static("Accept"))]);
        let edits = to_client(&plain, None, &InteractionId::from_uuid(Uuid::nil()));
        assert_eq!((edits.remove.len(), edits.set.len()), (0, 1)); // control
    }
}
