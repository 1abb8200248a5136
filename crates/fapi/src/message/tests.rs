//! Whole messages as a lenient parser returns them: for each rule, messages that break it and one that does not.

use http::{HeaderName, HeaderValue, Request, Uri, Version, header, uri};
use proptest::prelude::*;

use super::*;
use crate::code::Code;
use crate::route::Authority;

const LIMITS: Limits = Limits { header_bytes: 1024, header_count: 16, token_bytes: 512, body_bytes: 100 };
const GOOD: &str = "GET /accounts HTTP/1.1\r\nHost: api.example\r\n\r\n";

fn origins() -> Origins {
    let origins = ["https://api.example", "https://api.example:8443", "https://[::1]:8443"];
    Origins::new(origins.iter().map(|text| Arc::new(Origin::parse(text).unwrap())).collect())
}

/// What a lenient parser returns: the path of an absolute target, `/` for a target that it does not understand, no
/// fragment, no Content-Length with Transfer-Encoding.
fn lenient(raw: &[u8]) -> Parts {
    let text = String::from_utf8_lossy(raw);
    let mut lines = text.trim_start().lines();
    let mut line = lines.next().unwrap_or_default().split(' ').filter(|part| !part.is_empty());
    let method = line.next().unwrap_or("GET");
    let target = line.next().unwrap_or("/");
    let path = match target.split_once("://") {
        Some((_, rest)) => rest
            .find(['/', '?'])
            .map_or("/".into(), |at| rest[at..].replacen('?', "/?", usize::from(rest[at..].starts_with('?')))),
        None if target.starts_with(['/', '?', '*']) => target.to_owned(),
        None => "/".to_owned(),
    };
    let uri = uri::PathAndQuery::try_from(path).map(Uri::from).unwrap_or_default();
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    *request.uri_mut() = uri;
    for field in lines {
        let (name, value) = field.split_once(':').unwrap_or((field, ""));
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.trim()), HeaderValue::try_from(value.trim_matches([' ', '\t'])))
        {
            request.headers_mut().append(name, value);
        }
    }
    if request.headers().contains_key(header::TRANSFER_ENCODING) {
        request.headers_mut().remove(header::CONTENT_LENGTH);
    }
    request.into_parts().0
}

fn judge(raw: &[u8], version: Version, server_name: Option<&str>) -> Result<Arc<Origin>, MessageError> {
    check(&lenient(raw), &Facts { version, raw_h1: Some(raw), server_name }, &LIMITS, &origins())
}

fn code_of(raw: impl AsRef<[u8]>) -> Option<Code> {
    judge(raw.as_ref(), Version::HTTP_11, None).err().map(|error| error.code())
}

/// The code for a good request with `fields` added.
fn with(fields: &str) -> Option<Code> {
    code_of(format!("POST /accounts HTTP/1.1\r\nHost: api.example\r\n{fields}\r\n\r\n"))
}

/// The code for a good request with this target, and with these lines instead of `Host`.
fn host(target: &str, line: &str) -> Option<Code> {
    code_of(format!("GET {target} HTTP/1.1\r\n{line}X-Other: 1\r\n\r\n"))
}

fn http2(method: &str, uri: &str, fields: &[(&str, &str)]) -> Option<Code> {
    let mut request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap().into_parts().0;
    let facts = Facts { version: Version::HTTP_2, raw_h1: None, server_name: Some("api.example") };
    check(&request, &facts, &LIMITS, &origins()).err().map(|error| error.code())
}

#[test]
fn accepts_plain_requests_and_names_their_origin() {
    assert_eq!(judge(GOOD.as_bytes(), Version::HTTP_11, None).unwrap().as_str(), "https://api.example");
    let other = GOOD.replace("api.example", "API.example.:8443");
    assert_eq!(judge(other.as_bytes(), Version::HTTP_11, None).unwrap().as_str(), "https://api.example:8443");
    let old = GOOD.replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(judge(old.as_bytes(), Version::HTTP_10, None).unwrap().as_str(), "https://api.example");
    assert_eq!(http2("GET", "https://api.example/accounts", &[]), None);
}

#[test]
fn atk_sm_01_refuses_content_length_with_transfer_encoding_in_either_order() {
    assert_eq!(with("Content-Length: 5"), None); // control
    assert_eq!(with("Transfer-Encoding: chunked"), None); // control
    let both = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "transfer-encoding: chunked\r\nCONTENT-LENGTH: 0",
        "Content-Length: 5\r\nTransfer-Encoding: identity",
    ];
    for fields in both {
        assert_eq!(with(fields), Some(Code::FramingAmbiguous), "{fields:?}");
    }
}

#[test]
fn atk_sm_02_refuses_content_length_that_is_not_one_number() {
    assert_eq!(with("Content-Length: 5"), None); // control
    assert_eq!(with("Content-Length:5"), None); // control
    let values =
        ["+5", "-5", "5 ", "5,5", "5, 5", "0x5", "", "5.0", "5 5", "five", "18446744073709551616", "\t5", "5\t", "٥"];
    for value in values {
        assert_eq!(with(&format!("Content-Length: {value}")), Some(Code::FramingAmbiguous), "{value:?}");
    }
    assert_eq!(with("Content-Length: 5\r\nContent-Length: 5"), Some(Code::FramingAmbiguous));
    assert_eq!(with("Content-Length: 5\r\ncontent-length: 6"), Some(Code::FramingAmbiguous));
}

#[test]
fn atk_sm_03_refuses_transfer_encoding_that_is_not_chunked_alone() {
    assert_eq!(with("Transfer-Encoding: chunked"), None); // control
    assert_eq!(with("Transfer-Encoding: Chunked"), None); // control
    let values = [
        "chunked, identity",
        "identity, chunked",
        "xchunked",
        "chunked;q=1",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "\tchunked",
        "chunked\t",
        "\u{b}chunked",
        "\"chunked\"",
        "",
        "identity",
        "chun ked",
    ];
    for value in values {
        assert_eq!(with(&format!("Transfer-Encoding: {value}")), Some(Code::FramingAmbiguous), "{value:?}");
    }
    assert_eq!(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Some(Code::FramingAmbiguous));
}

#[test]
fn atk_sm_03_counts_lines_that_a_lenient_parser_takes_for_framing() {
    let clean = "POST /accounts HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\n\r\n";
    let code = |end: &str| {
        let raw = clean.replace("5\r\n\r\n", end);
        let facts = Facts { version: Version::HTTP_11, raw_h1: Some(raw.as_bytes()), server_name: None };
        check(&lenient(clean.as_bytes()), &facts, &LIMITS, &origins()).err().map(|error| error.code())
    };
    assert_eq!(code("5\r\nX: chunked\r\n\r\n"), None); // control
    for line in ["Transfer-Encoding : chunked", " Transfer-Encoding: chunked", "\tTransfer-Encoding\t: chunked"] {
        assert_eq!(code(&format!("5\r\n{line}\r\n\r\n")), Some(Code::FramingAmbiguous), "{line:?}");
    }
    assert_eq!(code("5\nTransfer-Encoding: chunked\r\n\r\n"), Some(Code::FramingAmbiguous));
}

#[test]
fn atk_sm_04_refuses_transfer_encoding_in_http_1_0() {
    let head = "POST /accounts HTTP/1.0\r\nHost: api.example\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(judge(head.as_bytes(), Version::HTTP_10, None).err(), None); // control
    let head = head.replace("Content-Length: 5", "Transfer-Encoding: chunked");
    let error = judge(head.as_bytes(), Version::HTTP_10, None).unwrap_err();
    assert_eq!(error, MessageError::FramingAmbiguous { why: "Transfer-Encoding in HTTP/1.0" });
}

#[test]
fn refuses_http_1_whose_bytes_are_not_given_and_versions_it_does_not_know() {
    let parts = lenient(GOOD.as_bytes());
    let code = |version, raw_h1| {
        let facts = Facts { version, raw_h1, server_name: None };
        check(&parts, &facts, &LIMITS, &origins()).err().map(|error| error.code())
    };
    assert_eq!(code(Version::HTTP_11, Some(GOOD.as_bytes())), None); // control
    assert_eq!(code(Version::HTTP_11, None), Some(Code::FramingAmbiguous));
    assert_eq!(code(Version::HTTP_09, Some(GOOD.as_bytes())), Some(Code::FramingAmbiguous));
    assert_eq!(code(Version::HTTP_3, None), Some(Code::FramingAmbiguous));
}

#[test]
fn refuses_fields_that_were_parsed_otherwise_than_sent() {
    let raw = "POST /accounts HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\n\r\n";
    let mut parts = lenient(raw.as_bytes());
    let code = |parts: &Parts| {
        let facts = Facts { version: Version::HTTP_11, raw_h1: Some(raw.as_bytes()), server_name: None };
        check(parts, &facts, &LIMITS, &origins()).err().map(|error| error.code())
    };
    assert_eq!(code(&parts), None); // control
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("6"));
    assert_eq!(code(&parts), Some(Code::FramingAmbiguous));
}

#[test]
fn atk_sm_08_refuses_heads_that_parsers_read_differently() {
    assert_eq!(code_of(GOOD), None); // control
    let heads = [
        "GET /accounts HTTP/1.1\nHost: api.example\r\n\r\n",
        "GET /accounts HTTP/1.1\r\nHost: api.example\n\r\n",
        "GET /accounts HTTP/1.1\r\nHost: api.example\r\n\n",
        "GET /accounts HTTP/1.1\r\nHost: api.example\rX: y\r\n\r\n",
        "GET /accounts HTTP/1.1\r\nHost: api.example\r\r\n\r\n",
        "GET /accounts HTTP/1.1\r\nHost: api.example\r\n\r",
        "GET /accounts HTTP/1.1\r\nHost: api.example\r\n",
        "\r\nGET /accounts HTTP/1.1\r\nHost: api.example\r\n\r\n",
        " GET /accounts HTTP/1.1\r\nHost: api.example\r\n\r\n",
        "GET  /accounts HTTP/1.1\r\nHost: api.example\r\n\r\n",
        "GET /accounts  HTTP/1.1\r\nHost: api.example\r\n\r\n",
        "GET\t/accounts HTTP/1.1\r\nHost: api.example\r\n\r\n",
        "GET /accounts HTTP/1.1 \r\nHost: api.example\r\n\r\n",
        "GET /accounts HTTP/1.0\r\nHost: api.example\r\n\r\n",
        "GET /accounts\r\nHost: api.example\r\n\r\n",
        "GET /accounts HTTP/1.1\r\nHost: api.example\r\n\r\nX: y\r\n\r\n",
    ];
    for head in heads {
        assert_eq!(code_of(head), Some(Code::HeaderMalformed), "{head:?}");
    }
}

#[test]
fn atk_sm_08_refuses_field_lines_that_parsers_read_differently() {
    for line in ["X: y", "X:y", "X:", "X:\ty z", "x!#$%&'*+-.^_`|~1: y", "X: \u{e9}"] {
        assert_eq!(with(line), None, "{line:?}"); // control
    }
    let lines = [
        "X : y",
        "X\t: y",
        "X",
        "X y",
        ": y",
        "X: y\r\n z",
        "X: y\r\n\tz",
        "X: y\0z",
        "X\0: y",
        "X: \u{1}",
        "X: \u{7f}",
        "X(: y",
        "X\u{e9}: y",
        "X\u{b}: y",
        "\"X\": y",
        "X/Y: y",
        "X@Y: y",
    ];
    for line in lines {
        assert_eq!(with(line), Some(Code::HeaderMalformed), "{line:?}");
    }
}

#[test]
fn atk_sm_10_refuses_fields_of_http_1_in_http_2() {
    let uri = "https://api.example/accounts";
    assert_eq!(http2("POST", uri, &[("te", "trailers"), ("content-length", "5")]), None); // control
    assert_eq!(http2("POST", uri, &[("transfer-encoding", "chunked")]), Some(Code::FramingAmbiguous));
    assert_eq!(http2("POST", uri, &[("content-length", "5"), ("content-length", "5")]), Some(Code::FramingAmbiguous));
    assert_eq!(http2("POST", uri, &[("content-length", "+5")]), Some(Code::FramingAmbiguous));
    let fields = [
        ("connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
    ];
    for field in fields {
        assert_eq!(http2("POST", uri, &[field]), Some(Code::HeaderMalformed), "{field:?}");
    }
}

#[test]
fn atk_sm_10_refuses_white_space_around_a_value_in_http_2() {
    let judge = |value| http2("GET", "https://api.example/accounts", &[("x-other", value)]);
    for value in ["a", "a b", "a\tb", ""] {
        assert_eq!(judge(value), None, "{value:?}"); // control
    }
    for value in [" a", "a ", "\ta", "a\t", " "] {
        assert_eq!(judge(value), Some(Code::HeaderMalformed), "{value:?}");
    }
    assert_eq!(with("X-Other: \t a \t"), None, "in HTTP/1.1 it is not part of the value");
}

#[test]
fn atk_sm_13_takes_the_absolute_form_of_its_own_origin_only() {
    let own = "Host: api.example\r\n";
    for target in [
        "/accounts",
        "https://api.example/accounts",
        "HTTPS://API.example/a?b=c",
        "https://api.example",
        "https://api.example?x",
    ] {
        assert_eq!(host(target, own), None, "{target}"); // control
    }
    let targets = [
        "http://api.example/accounts",
        "https://other.example/accounts",
        "https://api.example:443/accounts",
        "https://u@api.example/accounts",
        "https:///accounts",
        "https:/accounts",
        "api.example:443",
        "api.example",
        "accounts",
        "https:",
        "unix:/accounts",
        "https:\\\\api.example/accounts",
    ];
    for target in targets {
        assert_eq!(host(target, own), Some(Code::HostMalformed), "{target}");
    }
}

#[test]
fn atk_pt_05_refuses_a_fragment_in_the_target() {
    assert_eq!(host("/public", "Host: api.example\r\n"), None); // control
    for target in ["/public#/../protected", "/public#", "/public?x#y", "https://api.example/public#x"] {
        assert_eq!(host(target, "Host: api.example\r\n"), Some(Code::HeaderMalformed), "{target}");
    }
}

#[test]
fn fwd_05_refuses_a_target_that_was_parsed_otherwise_than_sent() {
    for target in ["/accounts", "https://api.example/accounts"] {
        let raw = GOOD.replace("/accounts", target);
        let mut parts = lenient(raw.as_bytes());
        let code = |parts: &Parts| {
            let facts = Facts { version: Version::HTTP_11, raw_h1: Some(raw.as_bytes()), server_name: None };
            check(parts, &facts, &LIMITS, &origins()).err().map(|error| error.code())
        };
        assert_eq!(code(&parts), None); // control
        parts.uri = Uri::from_static("/health");
        assert_eq!(code(&parts), Some(Code::HeaderMalformed));
    }
}

#[test]
fn measures_method_target_fields_and_declared_body_up_to_the_limit() {
    let head = |target: usize, field: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: api.example\r\nX: {}\r\n\r\n", "a".repeat(target), "b".repeat(field))
    };
    // "GET" + "/" + "host" + "api.example" + 4 + "x" + 4 is 28.
    let rest = LIMITS.header_bytes - 28;
    assert_eq!(code_of(head(rest, 0)), None); // control
    assert_eq!(code_of(head(0, rest)), None); // control
    let limit = LIMITS.header_bytes;
    let error = |head: String| judge(head.as_bytes(), Version::HTTP_11, None).unwrap_err();
    assert_eq!(error(head(0, rest + 1)), MessageError::HeaderTooLarge { bytes: limit + 1, limit });
    assert_eq!(error(head(rest + 1, 0)), MessageError::HeaderTooLarge { bytes: limit + 1, limit });
    assert_eq!(error(head(limit, 0)), MessageError::TargetTooLong { bytes: limit + 1, limit });
    let method = |length: usize| head(0, 0).replacen("GET", &"A".repeat(length), 1);
    assert_eq!(code_of(method(rest + 3)), None); // control
    assert_eq!(error(method(rest + 4)), MessageError::HeaderTooLarge { bytes: limit + 1, limit });
    let many = |count: usize| {
        let fields: String = (1..count).map(|number| format!("X-{number}: 1\r\n")).collect();
        judge(format!("GET / HTTP/1.1\r\nHost: api.example\r\n{fields}\r\n").as_bytes(), Version::HTTP_11, None)
    };
    let most = LIMITS.header_count;
    assert!(many(most).is_ok()); // control
    assert_eq!(many(most + 1), Err(MessageError::TooManyFields { fields: most + 1, limit: most }));
    // HTTP/2 may split a cookie; it is one field, in HTTP/1 each line is one.
    let http2_of = |cookies: usize, others: usize| {
        let cookie = std::iter::repeat_n(("cookie", "a=b"), cookies);
        http2(
            "GET",
            "https://api.example/a",
            &cookie.chain(std::iter::repeat_n(("x", "1"), others)).collect::<Vec<_>>(),
        )
    };
    assert_eq!(http2_of(0, most), None); // control
    assert_eq!(http2_of(0, most + 1), Some(Code::HeaderTooLarge));
    assert_eq!(http2_of(2 * most, most - 1), None);
    assert_eq!(http2_of(2 * most, most), Some(Code::HeaderTooLarge));
    assert_eq!(with(&vec!["Cookie: a=b"; most].join("\r\n")), Some(Code::HeaderTooLarge));
    assert_eq!(with("Content-Length: 100"), None); // control
    assert_eq!(with("Content-Length: 101"), Some(Code::BodyTooLarge));
    assert_eq!(with("Content-Length: 18446744073709551615"), Some(Code::BodyTooLarge));
    assert_eq!(http2("POST", "https://api.example/a", &[("content-length", "101")]), Some(Code::BodyTooLarge));
    let long = format!("https://api.example/{}", "a".repeat(limit));
    assert_eq!(http2("GET", &long, &[]), Some(Code::TargetTooLong));
}

#[test]
fn atk_hd_13_wants_exactly_one_host() {
    assert_eq!(host("/", "Host: api.example\r\n"), None); // control
    assert_eq!(host("/", ""), Some(Code::HostMissing));
    assert_eq!(host("https://api.example/", ""), Some(Code::HostMissing));
    assert_eq!(host("/", "Host: api.example\r\nHost: api.example\r\n"), Some(Code::HostMissing));
    assert_eq!(host("/", "Host: api.example\r\nhost: other.example\r\n"), Some(Code::HostMissing));
    let old = "GET / HTTP/1.0\r\nX: y\r\n\r\n";
    assert_eq!(judge(old.as_bytes(), Version::HTTP_10, None).unwrap_err().code(), Code::HostMissing);
}

#[test]
fn atk_hd_13_takes_equal_forms_of_the_host_and_refuses_what_is_none() {
    let equal = [
        "api.example",
        "API.Example",
        "api.example.",
        "api.example:443",
        "api.example.:443",
        "api.example:",
        "api.example.:",
        "api.example:8443",
        "[::1]:8443",
    ];
    for value in equal {
        assert_eq!(host("/", &format!("Host: {value}\r\n")), None, "{value}"); // control
    }
    let malformed = [
        "",
        "u@api.example",
        "api.example, api.example",
        "api.example,other",
        "api .example",
        "api.example::",
        "api.example:x",
        "api.example:0",
        "api.example:0443",
        "api.example:+443",
        "api.example:65536",
        "api.example:443:443",
        "api.example..",
        ".api.example",
        "api..example",
        "äpi.example",
        "api%2eexample",
        "[fe80::1%25eth0]:8443",
        "[::1%lo]:8443",
        "[::1",
        "[::1]x",
        "::1",
        "[api.example]",
        "[]",
        ":443",
        ":",
        ".",
        "https://api.example",
        "api.example/",
        "api.example?x",
        "api.example\\x",
    ];
    for value in malformed {
        assert_eq!(host("/", &format!("Host: {value}\r\n")), Some(Code::HostMalformed), "{value}");
    }
}

#[test]
fn net_21_refuses_hosts_that_are_not_ours() {
    let unknown = [
        "other.example",
        "api.example:444",
        "api.example.evil",
        "xapi.example",
        "[::1]",
        "[::1]:",
        "other.example:",
        "127.0.0.1",
        "xn--pi-via.example",
    ];
    for value in unknown {
        assert_eq!(host("/", &format!("Host: {value}\r\n")), Some(Code::HostUnknown), "{value}");
    }
    let error = judge(GOOD.replace("api", "other").as_bytes(), Version::HTTP_11, None).unwrap_err();
    assert_eq!(error, MessageError::HostUnknown { host: "other.example".into() });
    let long = format!("{}.example", "a".repeat(245));
    let error = judge(GOOD.replace("api.example", &format!("{long}:8443")).as_bytes(), Version::HTTP_11, None);
    assert_eq!(error.unwrap_err(), MessageError::HostUnknown { host: format!("{long}:8443")[..255].into() });
}

#[test]
fn net_21_refuses_another_host_than_tls_was_opened_for() {
    let code = |head: &str, name| judge(head.as_bytes(), Version::HTTP_11, Some(name)).err().map(|error| error.code());
    for name in ["api.example", "API.EXAMPLE", "api.example."] {
        assert_eq!(code(GOOD, name), None, "{name}"); // control
    }
    assert_eq!(code(&GOOD.replace("api.example", "api.example.:8443"), "api.example"), None); // control
    for name in ["other.example", "", "api.example:443", "pi.example"] {
        assert_eq!(code(GOOD, name), Some(Code::HostUnknown), "{name}");
    }
}

#[test]
fn atk_hd_14_refuses_host_that_differs_from_authority() {
    let uri = "https://api.example/accounts";
    assert_eq!(http2("GET", uri, &[("host", "api.example")]), None); // control
    assert_eq!(http2("GET", uri, &[("host", "API.example")]), None); // control
    assert_eq!(http2("GET", "/accounts", &[("host", "api.example")]), None); // control
    assert_eq!(http2("GET", uri, &[("host", "other.example")]), Some(Code::HostMalformed));
    assert_eq!(http2("GET", uri, &[("host", "")]), Some(Code::HostMalformed));
    assert_eq!(http2("GET", uri, &[("host", "api.example"), ("host", "api.example")]), Some(Code::HostMissing));
    assert_eq!(http2("GET", "/accounts", &[]), Some(Code::HostMissing));
    assert_eq!(http2("GET", "https://u@api.example/accounts", &[]), Some(Code::HostMalformed));
    assert_eq!(http2("GET", "http://api.example/accounts", &[]), Some(Code::HostMalformed));
    assert_eq!(http2("GET", "https://other.example/accounts", &[]), Some(Code::HostUnknown));
}

#[test]
fn fwd_03_fwd_04_atk_pt_11_refuses_methods_that_are_never_forwarded() {
    for method in ["GET", "M-SEARCH", "PROPFIND", "GETX"] {
        assert_eq!(code_of(GOOD.replace("GET", method)), None, "{method}"); // control: the route decides
    }
    for method in ["TRACE", "CONNECT", "get", "Get", "trace", "G3T", "GET_", "G!"] {
        assert_eq!(code_of(GOOD.replace("GET", method)), Some(Code::MethodRefused), "{method}");
    }
    let connect = "CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n";
    assert_eq!(code_of(connect), Some(Code::MethodRefused));
    assert_eq!(http2("CONNECT", "https://api.example/chat", &[]), Some(Code::MethodRefused));
}

#[test]
fn fwd_03_an_upgrade_is_an_offer_in_http1_and_malformed_in_http2() {
    let offers = [
        "Upgrade: websocket",
        "Upgrade: h2c",
        "Upgrade:",
        "Connection: upgrade",
        "Connection: keep-alive ,\tUPGRADE",
        "Connection: close\r\nConnection: Upgrade",
        "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        "Sec-WebSocket-Key: x",
    ];
    for field in offers {
        assert_eq!(with(field), None, "{field:?}");
        // An offer excuses nothing.
        assert_eq!(with(&format!("{field}\r\nX : y")), Some(Code::HeaderMalformed), "{field:?}");
        let framed_twice = format!("{field}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked");
        assert_eq!(with(&framed_twice), Some(Code::FramingAmbiguous), "{field:?}");
    }
    for field in ["upgrade", "connection"] {
        assert_eq!(http2("GET", "https://api.example/", &[(field, "upgrade")]), Some(Code::HeaderMalformed));
    }
}

#[test]
fn the_first_fault_of_the_table_decides() {
    let head = |version: &str, fields: &str| format!("get {} {version}\r\n{fields}\r\n\r\n", "/a".repeat(600));
    let steps = [
        ("Content-Length: 5\r\nContent-Length: 5\r\nX : y", Code::FramingAmbiguous),
        ("X : y", Code::HeaderMalformed),
        ("Content-Length: 101", Code::TargetTooLong),
    ];
    for (fields, code) in steps {
        assert_eq!(code_of(head("HTTP/1.1", fields)), Some(code), "{fields}");
    }
    assert_eq!(code_of("get / HTTP/1.1\r\nHost: other\r\n\r\n"), Some(Code::HostUnknown));
    assert_eq!(code_of("get / HTTP/1.1\r\nHost: api.example\r\n\r\n"), Some(Code::MethodRefused));
}

/// Heads of fragments that parsers may misread.
fn heads() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "GET",
        " ",
        "/",
        "a",
        "HTTP/1.1",
        "\r\n",
        "\n",
        "\r",
        "\t",
        ":",
        "Host: api.example",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Upgrade",
        "\0",
        "é",
        "https://",
        "*",
        "?",
        "#",
        "\r\n\r\n",
        "[",
        "]",
        "%",
    ]);
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_head_panics_and_what_is_accepted_names_our_host(head in heads()) {
        let outcome = judge(head.as_bytes(), Version::HTTP_11, None);
        let plain = head.starts_with("GET ") && head.ends_with("\r\n\r\n") && head.contains("\r\nHost: api.example\r\n");
        prop_assert!(outcome.is_err() || plain, "{head:?}");
    }

    #[test]
    fn a_byte_that_ends_lines_or_words_is_never_accepted_anew(at in 0..GOOD.len(), byte in prop::sample::select(vec![b'\r', b'\n', 0, 0xb, 0xc, 0x7f])) {
        let mut head = GOOD.as_bytes().to_vec();
        head.insert(at, byte);
        prop_assert!(code_of(&head).is_some(), "{}", head.escape_ascii());
    }

    #[test]
    fn no_bytes_panic(raw in prop::collection::vec(any::<u8>(), 0..64), host in ".{0,24}") {
        let _ = judge(&raw, Version::HTTP_11, Some(&host));
        let _ = Authority::parse(&host);
    }
}
