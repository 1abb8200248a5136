//! Whether the check can be walked around: other methods, other spellings of the path, messages that can be read in two ways.

use super::refused_alive;
use crate::call::Call;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Session, Stop, observed};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "method-head",
        purpose: "HEAD goes through the same checks as GET",
        clause: "RFC 9110 §9.3.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| other_method(session, "HEAD"),
    },
    Module {
        name: "method-options",
        purpose: "OPTIONS that is no preflight goes through the same checks",
        clause: "RFC 9110 §9.3.7",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: |session| other_method(session, "OPTIONS"),
    },
    Module {
        name: "method-trace",
        purpose: "TRACE does not show the request, which has a token",
        clause: "RFC 9110 §9.3.8",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            let good = session.good()?;
            let refusal = Refusal { statuses: &[400, 401, 403, 404, 405, 501], errors: &[], closing: true };
            session.control(&good)?;
            refused_alive(session, &good, "TRACE", &good.clone().method("TRACE"), &refusal)
        },
    },
    Module {
        name: "method-override",
        purpose: "A field that names another method does not change the checks",
        clause: "RFC 9449 §4.3 (8)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: method_override,
    },
    Module {
        name: "path-spellings",
        purpose: "No other spelling of the path reaches the resource without a token",
        clause: "RFC 3986 §6.2.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: path_spellings,
    },
    Module {
        name: "fields-of-the-hop",
        purpose: "A client cannot have the token removed on the way, nor say who it is in a field",
        clause: "RFC 9110 §7.6.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: fields_of_the_hop,
    },
    Module {
        name: "framing-ambiguous",
        purpose: "A message whose end can be read in two ways is refused",
        clause: "RFC 9112 §6.1, §6.3",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: framing_ambiguous,
    },
    Module {
        name: "framing-malformed",
        purpose: "A head that RFC 9112 does not allow is refused",
        clause: "RFC 9112 §2.2, §5.1, §5.2",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: framing_malformed,
    },
    Module {
        name: "host-ambiguous",
        purpose: "A request with no `Host`, or with two, is refused",
        clause: "RFC 9112 §3.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: host_ambiguous,
    },
];

fn other_method(session: &mut Session<'_>, method: &str) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let bare = good.clone().without_credentials().method(method);
    let refusal = Refusal { statuses: &[400, 401, 403, 405], errors: &[], closing: false };
    session.refused(&format!("{method} without credentials"), &bare, &refusal)?;
    let spoiled = Call { credentials: Vec::new(), ..good.method(method) };
    session.refused(
        &format!("{method} with a broken token"),
        &spoiled.field("Authorization", "Bearer cHJvYmU"),
        &refusal,
    )
}

fn method_override(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let mut bare = good.without_credentials();
    for field in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        bare = bare.field(field, "OPTIONS");
    }
    session.refused("no credentials, and fields that name OPTIONS", &bare, &Refusal::NO_CREDENTIALS)?;
    let dpop = session.settings().claims.dpop;
    if dpop {
        let good = session.good_with(crate::session::Binding::Dpop)?;
        session.control(&good)?;
        // Whoever takes it for the method does no harm with it: both are safe.
        let other = if good.method == "HEAD" { "GET" } else { "HEAD" };
        let call =
            good.field("X-HTTP-Method-Override", other).spoiled(move |proof, key| proof.claim("htm", other).sign(key));
        session.refused("a proof for the method of such a field", &call, &Refusal::PROOF)?;
    }
    Ok(())
}

fn path_spellings(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let path = session.settings().target.url.path().to_owned();
    let bare = good.clone().without_credentials();
    let tail = path.trim_start_matches('/').to_owned();
    let encoded: String = match tail.chars().next() {
        Some(first) => format!("/%{:02x}{}", u32::from(first), tail.get(first.len_utf8()..).unwrap_or_default()),
        None => "/".to_owned(),
    };
    let spellings = [
        ("the path itself", path.clone()),
        ("two slashes before it", format!("/{path}")),
        ("a dot segment", format!("/.{path}")),
        ("a step up", format!("/probe/..{path}")),
        ("a step up that is percent-encoded", format!("/probe/%2e%2e{path}")),
        ("a step up with a parameter", format!("/probe/..;{path}")),
        ("a step up below a public place", format!("/.well-known/..{path}")),
        ("a slash behind it", format!("{path}/")),
        ("a parameter behind it", format!("{path};probe")),
        ("a letter that is percent-encoded", encoded),
        ("upper case", path.to_uppercase()),
        ("a suffix", format!("{path}.json")),
        ("a zero byte", format!("{path}%00")),
        ("a backslash", format!("/probe\\..{path}")),
        ("the URL as a whole", format!("{}{path}", session.settings().target.origin())),
    ];
    let refusal = Refusal { statuses: &[400, 401, 403, 404, 405, 421], errors: &[], closing: true };
    for (title, target) in spellings {
        let call = Call { target, ..bare.clone() };
        let exchange = session.answered(&call)?;
        // A page that says where the resource is shows nothing of it.
        let verdict = match &exchange.answer {
            Ok(response) if response.status.is_redirection() => Verdict::Pass,
            answer => refusal.judge(answer),
        };
        let expected = format!("{refusal}, or a redirection");
        session.note(title, Role::Check, &expected, observed(&exchange.answer), verdict, &call, &exchange);
    }
    session.control(&good).map(drop)
}

fn fields_of_the_hop(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let bare = good.clone().without_credentials();
    let identity = [
        ("X-User", "probe"),
        ("X-Authenticated-User", "probe"),
        ("X-Forwarded-User", "probe"),
        ("X-Auth-Request-User", "probe"),
        ("X-Consumer-ID", "probe"),
        ("X-Userinfo", "probe"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Original-Method", "OPTIONS"),
        ("X-Original-URL", "/.well-known/oauth-protected-resource"),
    ];
    let call = identity.iter().fold(bare.clone(), |call, (name, value)| call.field(name, *value));
    session.refused("no credentials, and fields that say who calls", &call, &Refusal::NO_CREDENTIALS)?;
    let path = session.settings().target.path_and_query().to_owned();
    let mut call = bare.field("X-Original-URL", path.as_str()).field("X-Rewrite-URL", path.as_str());
    call.target = "/probe".to_owned();
    let refusal = Refusal { statuses: &[400, 401, 403, 404, 405], errors: &[], closing: false };
    session.refused("no credentials, and a field that names the resource", &call, &refusal)?;
    let removed = session.call_with(0, session.binding(), crate::session::made_token("cHJvYmU".to_owned()))?;
    let removed = removed.field("Connection", "close, authorization, dpop");
    session.refused("a broken token, and `Connection` that names its field", &removed, &Refusal::REQUEST)
}

/// A head for a good call with lines of a module's, byte by byte.
///
/// Behind the target, connections can be shared with others, so whatever a lenient reader takes for the rest of the connection must
/// not be the beginning of a request. A body is therefore a line break, which is nothing before a request (RFC 9112 §2.2), or the last
/// chunk, which is a malformed request that ends by itself; and the connection is to be closed.
fn raw(session: &mut Session<'_>, call: &Call, lines: &str, body: &str) -> Vec<u8> {
    let sent = session.wire().prepare(call);
    let text = String::from_utf8_lossy(&sent.http1()).into_owned();
    let head = text.split_once("\r\n\r\n").map_or(text.as_str(), |(head, _)| head);
    format!("{head}\r\nConnection: close\r\n{lines}\r\n{body}").into_bytes()
}

/// Sends such bytes, and says whether they were refused, or an ended connection stands for that if a good call succeeds after it.
fn refused_raw(session: &mut Session<'_>, call: &Call, title: &str, bytes: &[u8]) -> Result<(), Stop> {
    let (answer, line) = session.wire().send_raw(call, bytes)?;
    let verdict = Refusal::FRAMING.judge(&answer);
    session.step(title, Role::Check, None, &Refusal::FRAMING.to_string(), observed(&answer), verdict, vec![line]);
    if answer.is_err() { session.control(call).map(drop) } else { Ok(()) }
}

fn framing_ambiguous(session: &mut Session<'_>) -> Result<(), Stop> {
    // With the length of the last chunk both readings end at the same place.
    let cases = [
        ("Content-Length and Transfer-Encoding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding and Content-Length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ("two different Content-Length", "Content-Length: 0\r\nContent-Length: 2\r\n", "\r\n"),
        ("a list of Content-Length", "Content-Length: 0, 2\r\n", "\r\n"),
        ("Content-Length with a sign", "Content-Length: +2\r\n", "\r\n"),
        ("Content-Length in hexadecimal", "Content-Length: 0x2\r\n", "\r\n"),
        ("Transfer-Encoding that nobody knows", "Transfer-Encoding: probe\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding where chunked is not last", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding with a vertical tab", "Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding after a space", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("a chunk size that is none", "Transfer-Encoding: chunked\r\n", "g\r\n\r\n0\r\n\r\n"),
    ];
    let good = session.good()?;
    for (title, lines, body) in cases {
        // A proof that is used up is refused for another reason, so each has its own.
        session.control(&good)?;
        let bytes = raw(session, &good, lines, body);
        refused_raw(session, &good, title, &bytes)?;
    }
    Ok(())
}

fn framing_malformed(session: &mut Session<'_>) -> Result<(), Stop> {
    let cases = [
        ("a field that goes on in the next line", "X-Probe: a\r\n b\r\n"),
        ("a space before the colon", "X-Probe : a\r\n"),
        ("a field without a colon", "X-Probe\r\n"),
        ("a field without a name", ": a\r\n"),
        ("a zero byte in a value", "X-Probe: a\0b\r\n"),
        ("a carriage return in a value", "X-Probe: a\rb\r\n"),
    ];
    let good = session.good()?;
    for (title, lines) in cases {
        session.control(&good)?;
        let bytes = raw(session, &good, lines, "");
        refused_raw(session, &good, title, &bytes)?;
    }
    session.control(&good)?;
    let text = raw(session, &good, "Transfer-Encoding: chunked\r\n", "0\r\n\r\n");
    let old = String::from_utf8_lossy(&text).replacen(" HTTP/1.1\r\n", " HTTP/1.0\r\n", 1);
    refused_raw(session, &good, "chunks in HTTP/1.0", old.as_bytes())?;
    session.control(&good)?;
    let line = format!("GET {}\r\n\r\n", session.settings().target.path_and_query());
    refused_raw(session, &good, "a request of HTTP/0.9", line.as_bytes())
}

fn host_ambiguous(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let twice = raw(session, &good, "Host: probe.invalid\r\n", "");
    refused_raw(session, &good, "two `Host` fields", &twice)?;
    session.control(&good)?;
    let text = String::from_utf8_lossy(&raw(session, &good, "", "")).into_owned();
    let none: String =
        text.split_inclusive("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("host:")).collect();
    refused_raw(session, &good, "no `Host`", none.as_bytes())
}
