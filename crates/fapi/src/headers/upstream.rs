//! Request headers for the upstream (RFC 9440, RFC 7239, RFC 9110 §7.6, W3C Trace Context).
//!
//! On every route, each field that an upstream would trust as set by the gateway is removed from the request; then the
//! gateway sets its own.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::certificate::VouchedCertificate;
use super::forwarded::Forwarded;
use super::interaction::{INTERACTION_ID, InteractionId};
use super::strip::{StripList, may_speak_of_client};
use super::trace::TraceContext;
use super::tracestate::{self, TRACESTATE};
use crate::UnixTime;
use crate::identity_jwt::Facts;
use crate::jose::signing::NotSigned;
use crate::permit::Permit;

/// What is known of the connection and the exchange when a request is forwarded.
#[derive(Clone, Copy)]
pub struct Onward<'a> {
    /// The client's certificate, if it may be forwarded.
    pub certificate: Option<VouchedCertificate<'a>>,
    /// The value of `Client-Cert-Chain`: the authorities between that certificate and the trust anchor.
    pub chain: Option<&'a HeaderValue>,
    /// The HTTP version of the client.
    pub version: http::Version,
    /// The HTTP version of the upstream.
    pub upstream_version: http::Version,
    /// How many more proxies the request may pass ([`max_forwards`](super::max_forwards)); the gateway is one of them.
    pub max_forwards: Option<u64>,
    /// Where the request came from, and which host it was sent to.
    pub forwarded: &'a Forwarded,
    /// The id of the exchange.
    pub interaction: &'a InteractionId,
    /// The trace.
    pub trace: &'a TraceContext,
    /// The clock, which is read only to sign.
    pub now: &'a (dyn Fn() -> UnixTime + Sync),
}

/// Makes a client's header section that of the request to the upstream.
///
/// `headers` is what is about to be sent, without hop-by-hop fields and those that `Connection` names, so that the
/// client cannot remove a field of the gateway (RFC 9110 §7.6.1).
///
/// # Errors
/// [`NotSigned`] if the route has an identity JWT that could not be signed; the request must not be sent without it.
pub fn to_upstream(
    headers: &mut HeaderMap,
    permit: &Permit,
    strip: &StripList,
    onward: &Onward<'_>,
) -> Result<(), NotSigned> {
    let forward = &permit.route().forward;
    // A field that is no proof of this request was not judged.
    let of_token = permit.token().is_some_and(|token| token.proof().is_some());
    let of_request = permit.asked().is_some_and(|asked| asked.proof().is_some());
    let at_endpoint = permit.route().endpoint().is_some();
    // What breaks a rule and passes all the same is judged by the server alone, by all that it has.
    let is_noted = at_endpoint && permit.would_deny().is_some();
    let keeps_proof = forward.dpop_proof && (of_token || of_request || is_noted);
    let trailers = takes_trailers(headers, onward);
    if !forward.access_token && !is_noted {
        headers.remove(header::AUTHORIZATION);
    }
    if headers.contains_key(TRACESTATE) && !(onward.trace.is_continued() && tracestate::is_well_formed(headers)) {
        headers.remove(TRACESTATE);
    }
    let removed = |name: &&HeaderName| {
        let name = name.as_str();
        (at_endpoint && may_speak_of_client(name))
            || (strip.holds(name) && !(keeps_proof && name == DPOP))
            || forward.strip.contain(name)
    };
    let stripped: Vec<_> = headers.keys().filter(removed).cloned().collect();
    for name in stripped {
        headers.remove(name);
    }
    headers.insert(INTERACTION_ID, onward.interaction.header_value());
    headers.insert(TRACEPARENT, onward.trace.header_value().clone());
    onward.forwarded.set(headers);
    set_via(headers, onward);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    set_cookie(headers, onward);
    if let Some(hops) = onward.max_forwards {
        headers.insert(header::MAX_FORWARDS, HeaderValue::from(hops.saturating_sub(1)));
    }
    if forward.client_certificate
        && let Some(certificate) = onward.certificate
    {
        headers.insert(CLIENT_CERT, certificate.header_value().clone());
        // RFC 9440 §2.3: it "MUST NOT appear unless Client-Cert is also present".
        if forward.client_certificate_chain
            && let Some(chain) = onward.chain
        {
            headers.insert(CLIENT_CERT_CHAIN, chain.clone());
        }
    }
    if let Some(token) = permit.token() {
        for (claim, name) in &forward.claims {
            // Nothing that is forwarded says that a token is bound if that is not proven.
            let is_unproven = **claim == *"cnf" && token.confirmation().is_none();
            if let Some(value) = token.claims().get(claim).filter(|_| !is_unproven).and_then(claim_value) {
                headers.insert(name.clone(), value);
            }
        }
        if let Some(identity) = &forward.identity_jwt {
            let facts = Facts {
                route: &permit.route().name,
                token: token.token(),
                claims: token.claims(),
                confirmation: token.confirmation(),
                forwarded: &forward.claims,
                interaction: onward.interaction.as_str(),
                now: (onward.now)(),
            };
            headers.insert(identity.field().clone(), identity.sign(&facts)?);
        }
    }
    for (name, segment) in permit.forwarded_segments() {
        if let Some(value) = text_value(segment) {
            headers.insert(name.clone(), value);
        }
    }
    Ok(())
}

/// RFC 9110 §7.6.3: a proxy "MUST send an appropriate Via header field"; the received-protocol is "the protocol and
/// version used by the upstream sender", here the client. Appended to those of earlier proxies.
fn set_via(headers: &mut HeaderMap, onward: &Onward<'_>) {
    let own = match onward.version {
        http::Version::HTTP_2 => "2 fapi-gateway",
        http::Version::HTTP_10 => "1.0 fapi-gateway",
        _ => "1.1 fapi-gateway",
    };
    let before: Vec<_> = headers.get_all(header::VIA).iter().map(HeaderValue::as_bytes).collect();
    let value = match before.as_slice() {
        [] => Ok(HeaderValue::from_static(own)),
        before => HeaderValue::from_bytes(&[&before.join(&b", "[..]), own.as_bytes()].join(&b", "[..])),
    };
    if let Ok(value) = value {
        headers.insert(header::VIA, value);
    }
}

/// RFC 9110 §10.1.4: "trailers" means that the sender does not discard them, which is true only where they are
/// forwarded, from HTTP/2 to HTTP/2. RFC 9113 §8.2.2 permits no other value.
fn takes_trailers(received: &HeaderMap, onward: &Onward<'_>) -> bool {
    let both = onward.version == http::Version::HTTP_2 && onward.upstream_version == http::Version::HTTP_2;
    both && received.get(header::TE).is_some_and(|value| value == "trailers")
}

/// RFC 9113 §8.2.3: cookie fields of HTTP/2 "MUST be concatenated into a single octet string using the two-octet
/// delimiter of 0x3b, 0x20 (the ASCII string "; ") before being passed into a non-HTTP/2 context".
fn set_cookie(headers: &mut HeaderMap, onward: &Onward<'_>) {
    if onward.version != http::Version::HTTP_2 || onward.upstream_version == http::Version::HTTP_2 {
        return;
    }
    let crumbs: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let [_, _, ..] = crumbs.as_slice()
        && let Ok(value) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, value);
    }
}

/// A claim as a field value: text as it is, other JSON in compact form.
fn claim_value(claim: &Value) -> Option<HeaderValue> {
    match claim {
        Value::String(text) => text_value(text),
        Value::Null => None,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => text_value(&claim.to_string()),
    }
}

/// Text as a field value. Bytes other than printable ASCII, `%`, and spaces at either end are percent-encoded, so that no
/// text can end a field, and no two texts have the same value (CC-12).
fn text_value(text: &str) -> Option<HeaderValue> {
    // RFC 9110 §5.5: "A field value does not include leading or trailing whitespace"; recipients remove it.
    let inner = text.trim_matches(' ');
    let (before, after) = text.split_once(inner).unwrap_or_default();
    let ends = |spaces| utf8_percent_encode(spaces, ENCODED_AT_ENDS);
    HeaderValue::try_from(format!("{}{}{}", ends(before), utf8_percent_encode(inner, ENCODED), ends(after))).ok()
}

const DPOP: &str = "dpop";
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// The characters of a claim that are encoded, besides all beyond ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');
const ENCODED_AT_ENDS: &AsciiSet = &ENCODED.add(b' ');

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::field_names::{FieldNames, class_of};
    use crate::headers::strip::{NAMES, PREFIXES};
    use crate::headers::trace::SpanId;
    use crate::permit::Admission;
    use crate::route::{Forward, Origin, PathCharacters, Requirement, Route, Routes, Target};
    use crate::testing::route;

    fn permit(forward: Forward) -> Permit {
        permit_for("/", "/**", forward)
    }

    fn permit_for(path: &str, pattern: &str, forward: Forward) -> Permit {
        let path_characters = PathCharacters::Uri;
        let route = Route { forward, path_characters, ..route("r", pattern, Requirement::Public) };
        let request = http::Request::get(path).body(()).unwrap().into_parts().0;
        let origin = Arc::new(Origin::parse("https://api.bank.example").unwrap());
        let target = Target::parse_with(&request, &origin, path_characters).unwrap();
        let found = Routes::new(vec![route]).unwrap().find(&target).unwrap();
        match Admission::to(found) {
            Admission::Public(authorized) => authorized.redeem(None).unwrap(),
            Admission::Protected(guard) => panic!("{guard:?}"),
            Admission::Endpoint(guard) => panic!("{guard:?}"),
        }
    }

    fn edited(received: &HeaderMap, permit: &Permit, strip: &StripList) -> HeaderMap {
        between(http::Version::HTTP_11, http::Version::HTTP_11, received, permit, strip)
    }

    fn between(
        version: http::Version,
        upstream_version: http::Version,
        received: &HeaderMap,
        permit: &Permit,
        strip: &StripList,
    ) -> HeaderMap {
        in_trace(&TraceContext::start([7; 24]), (version, upstream_version), received, permit, strip)
    }

    fn in_trace(
        trace: &TraceContext,
        (version, upstream_version): (http::Version, http::Version),
        received: &HeaderMap,
        permit: &Permit,
        strip: &StripList,
    ) -> HeaderMap {
        let origin = Origin::parse("https://api.bank.example:8443/prefix").unwrap();
        let onward = Onward {
            certificate: None,
            chain: None,
            version,
            upstream_version,
            max_forwards: None,
            forwarded: &Forwarded::of("2001:db8::1".parse().unwrap(), Arc::new(origin)),
            interaction: &InteractionId::from_uuid(Uuid::nil()),
            trace,
            now: &|| UnixTime(1_800_000_000),
        };
        let mut sent = received.clone();
        to_upstream(&mut sent, permit, strip, &onward).unwrap();
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
    fn via_names_the_version_that_was_received() {
        use http::Version;
        let received = HeaderMap::from_iter([(header::VIA, HeaderValue::from_static("1.1 outer"))]);
        for (version, name) in [(Version::HTTP_10, "1.0"), (Version::HTTP_11, "1.1"), (Version::HTTP_2, "2")] {
            for upstream in [Version::HTTP_11, Version::HTTP_2] {
                let permit = permit(Forward::default());
                let sent = between(version, upstream, &received, &permit, &StripList::default());
                assert_eq!(sent[header::VIA], format!("1.1 outer, {name} fapi-gateway"));
            }
        }
    }

    #[test]
    fn cookie_crumbs_of_http2_are_one_field_for_http1() {
        use http::Version;
        let mut received = HeaderMap::new();
        for crumb in ["a=1", "b=2", "c=\"3\""] {
            received.append(header::COOKIE, crumb.parse().unwrap());
        }
        let cookies = |version, upstream_version, received: &HeaderMap| {
            let sent = between(version, upstream_version, received, &permit(Forward::default()), &StripList::default());
            let lines = sent.get_all(header::COOKIE).iter();
            lines.map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(cookies(Version::HTTP_2, Version::HTTP_11, &received), [r#"a=1; b=2; c="3""#]);
        assert_eq!(cookies(Version::HTTP_2, Version::HTTP_2, &received).len(), 3); // control
        // In HTTP/1.1, more than one field is the client's fault, and the upstream's to judge.
        assert_eq!(cookies(Version::HTTP_11, Version::HTTP_11, &received).len(), 3);
        let one = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static("a=1; b=2"))]);
        assert_eq!(cookies(Version::HTTP_2, Version::HTTP_11, &one), ["a=1; b=2"]);
        assert!(cookies(Version::HTTP_2, Version::HTTP_11, &HeaderMap::new()).is_empty());
    }

    #[test]
    fn tracestate_stays_only_with_the_trace_it_belongs_to() {
        let mut received = HeaderMap::new();
        received.insert("tracestate", "a=b".parse().unwrap());
        let sent = edited(&received, &permit(Forward::default()), &StripList::default());
        assert_eq!(sent.get("tracestate"), None);
        assert_eq!(sent["traceparent"], "00-07070707070707070707070707070707-0707070707070707-00");
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        received.insert("traceparent", parent.parse().unwrap());
        let versions = (http::Version::HTTP_11, http::Version::HTTP_11);
        for (state, kept) in [("a=b", true), ("a=b,a=c", false), ("{}", false)] {
            received.insert("tracestate", state.parse().unwrap());
            let trace = TraceContext::from_request(&received).unwrap();
            let trace = trace.through(SpanId::from_random([9; 8]), true);
            let sent = in_trace(&trace, versions, &received, &permit(Forward::default()), &StripList::default());
            assert_eq!(sent.get("tracestate").is_some(), kept, "{state}");
            assert_eq!(sent["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-0909090909090909-01");
        }
    }

    #[test]
    fn a_segment_of_the_path_is_forwarded_decoded_and_never_the_clients_own_field() {
        let x_account = HeaderName::from_static("x-account-id");
        let strip = StripList::new([&x_account]);
        let received = HeaderMap::from_iter([(x_account.clone(), HeaderValue::from_static("of the client"))]);
        let forward = || Forward { segments: vec![(1, x_account.clone())], ..Forward::default() };
        let value = |path: &str| {
            let permit = permit_for(path, "/accounts/{account_id}/**", forward());
            let sent = edited(&received, &permit, &strip);
            let values: Vec<_> =
                sent.get_all(&x_account).iter().map(|value| value.to_str().unwrap().to_owned()).collect();
            assert!(values.len() < 2, "{values:?}");
            values.into_iter().next()
        };
        for (path, expected) in [
            ("/accounts/1001", Some("1001")),
            ("/accounts/1001/balances", Some("1001")),
            ("/accounts/a%20b", Some("a b")),
            ("/accounts/caf%C3%A9", Some("caf%C3%A9")),
            ("/accounts/a,b:c", Some("a,b:c")),
            // Data that upstreams may read in several ways.
            ("/accounts/100%25", None),
            ("/accounts/1001;v=1", None),
            ("/accounts/%31001", None),
        ] {
            assert_eq!(value(path).as_deref(), expected, "{path}");
        }
        let without = permit_for("/accounts/1001", "/accounts/*", Forward::default());
        assert_eq!(edited(&received, &without, &strip).get(&x_account), None, "on a route that does not forward it");
    }

    #[test]
    fn a_route_removes_the_fields_that_it_names_and_what_reads_like_them() {
        let mut received = HeaderMap::new();
        for name in ["cookie", "cookie", "x-api-key", "x_api_key", "x-api-key-2", "accept"] {
            received.append(name, "a=1".parse().unwrap());
        }
        let names = [header::COOKIE, HeaderName::from_static("x-api-key")];
        let forward = Forward { strip: FieldNames::new(&names), ..Forward::default() };
        let sent = edited(&received, &permit(forward), &StripList::default());
        let all = edited(&received, &permit(Forward::default()), &StripList::default()); // control
        for (name, kept) in
            [("cookie", false), ("x-api-key", false), ("x_api_key", false), ("x-api-key-2", true), ("accept", true)]
        {
            assert_eq!((sent.contains_key(name), all.contains_key(name)), (kept, true), "{name}");
        }
    }

    #[test]
    fn a_field_that_is_no_verified_proof_is_removed_wherever_proofs_are_kept() {
        let received = HeaderMap::from_iter([(HeaderName::from_static("dpop"), HeaderValue::from_static("forged"))]);
        // There is no token here, and so no proof.
        for dpop_proof in [false, true] {
            let forward = Forward { access_token: true, dpop_proof, ..Forward::default() };
            assert_eq!(edited(&received, &permit(forward), &StripList::default()).get("dpop"), None);
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
            // An upstream can decode the value into the claim, and into no other.
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

    /// Claims as JSON, and their field values.
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
}
