//! How the target terminates TLS (FAPI 2.0 §5.2, RFC 9325).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{refused_alive, refuses_protocols};
use crate::call::Call;
use crate::exchange::NoAnswer;
use crate::exchange::door::Door;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::plan::Plan;
use crate::report::{Role, Severity, Verdict};
use crate::session::{Session, Stop, skip};
use crate::tls::flight::Answer;
use crate::tls::hello::{Hello, TLS10, TLS11, TLS12, TLS13};
use crate::tls::renegotiation::{self, Renegotiation};
use crate::tls::scan;
use crate::tls::suites::{self, Class};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "tls-old-versions",
        purpose: "TLS 1.0 and 1.1 are refused",
        clause: "FAPI 2.0 §5.2.1, FAPI 1.0 Advanced §8.5, RFC 9325 §3.1.1",
        suite: &["DisallowTLS10", "DisallowTLS11"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: old_versions,
    },
    Module {
        name: "tls13-offered",
        purpose: "TLS 1.3 is spoken",
        clause: "RFC 9325 §3.1.1",
        suite: &["EnsureTLS13OrLater"],
        severity: Severity::Warning,
        plans: Plans::All,
        run: |session| {
            answers_hellos(session)?;
            let answer = ask(session, "TLS 1.3", &Hello::tls13())?;
            look(session, "a hello of TLS 1.3", "TLS 1.3", &answer, version(&answer) == Some(TLS13));
            Ok(())
        },
    },
    Module {
        name: "tls13-preferred",
        purpose: "TLS 1.3 is chosen where the client speaks it too",
        clause: "RFC 9325 §3.1.1",
        suite: &["EnsureTLS13PreferredOverTLS12"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            answers_hellos(session)?;
            let answer = ask(session, "TLS 1.3", &Hello::tls13())?;
            if version(&answer) != Some(TLS13) {
                return Err(does_not_speak("TLS 1.3", &answer));
            }
            let answer = ask(session, "TLS 1.3 and 1.2", &Hello::both())?;
            look(session, "a hello of both versions", "TLS 1.3", &answer, version(&answer) == Some(TLS13));
            Ok(())
        },
    },
    Module {
        name: "tls12-suites",
        purpose: "In TLS 1.2 no suites are spoken but those that BCP 195 recommends, and for FAPI 1.0 alone those that it names",
        clause: "FAPI 2.0 §5.2.2, FAPI 1.0 Advanced §8.5, RFC 9325 §4.2",
        suite: &["RequireOnlyBCP195RecommendedCiphersForTLS12", "CheckForBCP195InsecureFAPICiphers"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: suites_of_tls12,
    },
    Module {
        name: "tls12-extensions",
        purpose: "TLS 1.2 has secure renegotiation and extended master secrets, and no compression",
        clause: "RFC 9325 §3.3, §3.5",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: extensions,
    },
    Module {
        name: "tls12-renegotiation",
        purpose: "A renegotiation that the client starts is refused",
        clause: "RFC 9325 §3.5, RFC 9113 §9.2.1",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: renegotiation_by_client,
    },
    Module {
        name: "tls-curves",
        purpose: "X25519 and P-256 are spoken",
        clause: "RFC 9325 §4.2.1",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: curves,
    },
    Module {
        name: "tls-hello-in-pieces",
        purpose: "A hello in pieces gets the same answer as a whole one",
        clause: "RFC 8446 §5.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: in_pieces,
    },
    Module {
        name: "tls-alpn-unknown",
        purpose: "A client that speaks no protocol of the target's is refused",
        clause: "RFC 9325 §3.8, RFC 7301 §3.2",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: alpn_unknown,
    },
    Module {
        name: "tls-name-unknown",
        purpose: "A name that is not the target's gets no other TLS than the target's",
        clause: "RFC 9325 §3.7",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: name_unknown,
    },
    Module {
        name: "tls-certificate-authorities",
        purpose: "The list of authorities in the request for a client certificate is short",
        clause: "RFC 8705 §2, RFC 5246 §7.4.4",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Certificate,
        run: certificate_authorities,
    },
    Module {
        name: "tls-replicas",
        purpose: "All replicas speak the same TLS",
        clause: "RFC 9325 §3.9",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: replicas,
    },
    Module {
        name: "tls-alone",
        purpose: "The port answers nothing that is not TLS",
        clause: "FAPI 2.0 §5.2.1, FAPI 1.0 Advanced §8.5",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: alone,
    },
    Module {
        name: "certificate-expired",
        purpose: "A client certificate that has expired is refused",
        clause: "RFC 8705 §3, RFC 5280 §6.1.3",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Certificate,
        run: certificate_expired,
    },
];

/// Sends a hello to the first address.
fn ask(session: &mut Session<'_>, offered: &str, hello: &Hello) -> Result<Answer, Stop> {
    ask_at(session, 0, offered, hello)
}

fn ask_at(session: &mut Session<'_>, replica: usize, offered: &str, hello: &Hello) -> Result<Answer, Stop> {
    let host = session.settings().target.host().to_owned();
    let hello = if hello.server_name.is_some() || !is_name(&host) { hello.clone() } else { hello.clone().to(&host) };
    let shaken =
        session.wire().handshake(replica, offered, |address, timeout| scan::ask(address, &hello, timeout), told)?;
    Ok(shaken.0)
}

/// Whether a host can stand in the handshake: addresses cannot (RFC 6066 §3).
fn is_name(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err()
}

fn version(answer: &Answer) -> Option<u16> {
    answer.hello().map(|hello| hello.version)
}

/// A handshake that must go on, so that what follows is no silence.
fn control(session: &mut Session<'_>, title: &str, answer: &Answer) -> Result<(), Stop> {
    let good = answer.hello().is_some();
    let verdict = if good { Verdict::Pass } else { Verdict::Inconclusive };
    session.step(title, Role::Control, None, "a ServerHello", told(answer), verdict, Vec::new());
    if good { Ok(()) } else { Err(Stop::Inconclusive(format!("a good hello was answered: {}", told(answer)))) }
}

/// The first step of every module about versions and suites: whoever answers no good hello has chosen nothing.
fn answers_hellos(session: &mut Session<'_>) -> Result<(), Stop> {
    let answer = ask(session, "TLS 1.3 and 1.2", &Hello::both())?;
    control(session, "TLS 1.3 and 1.2", &answer)
}

/// Writes down whether a hello was answered as it should be. Silence is neither.
fn look(session: &mut Session<'_>, title: &str, expected: &str, answer: &Answer, kept: bool) {
    let verdict = match (is_silence(answer), kept) {
        (true, _) => Verdict::Inconclusive,
        (false, true) => Verdict::Pass,
        (false, false) => Verdict::Fail,
    };
    session.step(title, Role::Check, None, expected, told(answer), verdict, Vec::new());
}

/// Whether an answer neither goes on nor says no.
fn is_silence(answer: &Answer) -> bool {
    answer.hello().is_none() && !answer.refuses()
}

/// Ends a module about a version that a hello was not answered with.
fn does_not_speak(version: &str, answer: &Answer) -> Stop {
    match is_silence(answer) {
        true => Stop::Inconclusive(format!("a hello of {version} was answered: {}", told(answer))),
        false => skip(format!("the target does not speak {version}")),
    }
}

/// An answer in one line.
fn told(answer: &Answer) -> String {
    match answer {
        Answer::Flight(flight) => of_hello(&flight.hello),
        Answer::HelloRetryRequest(hello) => format!("{}, asked for another share", of_hello(hello)),
        Answer::Alert(alert) => format!("alert {alert}"),
        Answer::Closed => "the connection was closed".to_owned(),
        Answer::Reset => "the connection was reset".to_owned(),
        Answer::Timeout => "no answer in time".to_owned(),
        Answer::Garbage(what) => format!("not TLS: {what}"),
        Answer::NotAsked(why) => format!("not asked: {why}"),
    }
}

fn of_hello(hello: &crate::tls::flight::ServerHello) -> String {
    let suite =
        suites::find(hello.suite).map_or_else(|| format!("{:#06x}", hello.suite), |suite| suite.name.to_owned());
    format!("{} with {suite}", name_of(hello.version))
}

fn name_of(version: u16) -> String {
    match version {
        TLS10 => "TLS 1.0".to_owned(),
        TLS11 => "TLS 1.1".to_owned(),
        TLS12 => "TLS 1.2".to_owned(),
        TLS13 => "TLS 1.3".to_owned(),
        other => format!("version {other:#06x}"),
    }
}

fn old_versions(session: &mut Session<'_>) -> Result<(), Stop> {
    answers_hellos(session)?;
    for (name, highest) in [("TLS 1.1", TLS11), ("TLS 1.0", TLS10)] {
        let answer = ask(session, name, &Hello::up_to(highest))?;
        let title = format!("a hello of {name} at most");
        look(session, &title, "an alert, or the end", &answer, answer.refuses());
    }
    Ok(())
}

/// The suites of TLS 1.2 that BCP 195 recommends.
fn recommended() -> Vec<u16> {
    suites::numbers(&[Class::Recommended])
}

/// Whether TLS 1.2 is spoken at all, with what everyone speaks.
fn speaks_tls12(session: &mut Session<'_>) -> Result<bool, Stop> {
    answers_hellos(session)?;
    let answer = ask(session, "TLS 1.2 with the recommended suites", &Hello::tls12(&recommended()))?;
    if is_silence(&answer) {
        return Err(does_not_speak("TLS 1.2", &answer));
    }
    Ok(version(&answer) == Some(TLS12))
}

/// The suites of TLS 1.2 that may be spoken.
fn allowed(session: &Session<'_>) -> Vec<u16> {
    let only_fapi1 = session.plans().iter().all(|plan| *plan == Plan::Fapi1Advanced);
    let of_fapi1 = if only_fapi1 { DHE_OF_FAPI1 } else { &[] };
    [recommended().as_slice(), of_fapi1].concat()
}

/// `TLS_DHE_RSA_WITH_AES_128_GCM_SHA256` and `TLS_DHE_RSA_WITH_AES_256_GCM_SHA384` (FAPI 1.0 Advanced §8.5).
const DHE_OF_FAPI1: &[u16] = &[0x009e, 0x009f];

fn suites_of_tls12(session: &mut Session<'_>) -> Result<(), Stop> {
    answers_hellos(session)?;
    let allowed = allowed(session);
    let mut left: Vec<u16> = suites::before_tls13().into_iter().filter(|suite| !allowed.contains(suite)).collect();
    // The target chooses one of what is left, until it chooses none.
    let mut found = Vec::new();
    while !left.is_empty() {
        let answer = ask(session, "TLS 1.2 with other suites", &Hello::tls12(&left))?;
        let Some(hello) = answer.hello() else {
            let verdict = if answer.refuses() { Verdict::Pass } else { Verdict::Inconclusive };
            let title = format!("{} other suites of TLS 1.2", left.len());
            session.step(&title, Role::Check, None, "an alert, or the end", told(&answer), verdict, Vec::new());
            break;
        };
        let name =
            suites::find(hello.suite).map_or_else(|| format!("{:#06x}", hello.suite), |suite| suite.name.to_owned());
        left.retain(|suite| *suite != hello.suite);
        found.push(name);
        if found.len() > MAX_SUITES {
            break;
        }
    }
    session.look("suites of TLS 1.2 beside those that are allowed", "none", found.join(", "), found.is_empty());
    Ok(())
}

/// A target that speaks so many is found out already.
const MAX_SUITES: usize = 20;

fn extensions(session: &mut Session<'_>) -> Result<(), Stop> {
    answers_hellos(session)?;
    let hello = Hello { compression_methods: vec![1, 0], ..Hello::tls12(&recommended()) };
    let answer = ask(session, "TLS 1.2 with compression", &hello)?;
    let Some(hello) = answer.hello().filter(|hello| hello.version == TLS12).cloned() else {
        return Err(does_not_speak("TLS 1.2", &answer));
    };
    session.look(
        "extended master secret",
        "echoed",
        echoed(hello.extended_master_secret),
        hello.extended_master_secret,
    );
    session.look("secure renegotiation", "echoed", echoed(hello.renegotiation_info), hello.renegotiation_info);
    session.look("compression", "none", format!("method {}", hello.compression), hello.compression == 0);
    Ok(())
}

fn echoed(echoed: bool) -> &'static str {
    if echoed { "echoed" } else { "not echoed" }
}

fn renegotiation_by_client(session: &mut Session<'_>) -> Result<(), Stop> {
    if !speaks_tls12(session)? {
        return Err(skip("the target does not speak TLS 1.2"));
    }
    let settings = session.settings();
    let call = session.good()?;
    let door = session.wire().door(&call);
    let name = door.server_name().map_err(|error| skip(error.to_string()))?;
    let client = door.certificate.map(|certificate| (certificate.chain, certificate.key));
    let roots = (*settings.target.roots).clone();
    // Whoever ignores it says nothing, and that takes the whole time.
    let shake =
        move |address, timeout: Duration| renegotiation::ask(address, name, roots, client, timeout.min(PATIENCE));
    let told = |answer: &Renegotiation| match answer {
        Renegotiation::Refused(how) => format!("refused: {how:?}"),
        Renegotiation::Accepted => "accepted".to_owned(),
        Renegotiation::NoTls12 => "no TLS 1.2".to_owned(),
        Renegotiation::Unclear(why) => why.clone(),
    };
    let (answer, line) = session.wire().handshake(0, "TLS 1.2, and a second hello in it", shake, told)?;
    let verdict = match &answer {
        Renegotiation::Refused(_) => Verdict::Pass,
        Renegotiation::Accepted => Verdict::Fail,
        Renegotiation::NoTls12 => return Err(skip("the target does not speak TLS 1.2")),
        Renegotiation::Unclear(_) => Verdict::Inconclusive,
    };
    session.step("a second hello on the connection", Role::Check, None, "refused", told(&answer), verdict, vec![line]);
    Ok(())
}

/// How long a second hello may remain unanswered.
const PATIENCE: Duration = Duration::from_secs(2);

fn curves(session: &mut Session<'_>) -> Result<(), Stop> {
    answers_hellos(session)?;
    for (name, group) in [("X25519", 0x001d), ("P-256", 0x0017)] {
        let answer = ask(session, &format!("TLS 1.2 with {name}"), &Hello { groups: vec![group], ..Hello::both() })?;
        look(session, &format!("{name} alone"), "a ServerHello", &answer, answer.hello().is_some());
    }
    Ok(())
}

fn in_pieces(session: &mut Session<'_>) -> Result<(), Stop> {
    // In TLS 1.2 the request for a certificate is visible.
    let whole = match speaks_tls12(session)? {
        true => Hello::tls12(&recommended()),
        false => Hello::both(),
    };
    let expected = ask(session, "a whole hello", &whole)?;
    control(session, "a whole hello", &expected)?;
    let pieces = [
        ("one byte a segment", Hello { split: Some(1), ..whole.clone() }),
        ("two records", Hello { bytes_per_record: Some(40), ..whole }),
    ];
    for (title, hello) in pieces {
        let answer = ask(session, title, &hello)?;
        let same =
            version(&answer) == version(&expected) && asks_for_certificate(&answer) == asks_for_certificate(&expected);
        // To refuse is safe, and to answer otherwise is not.
        let verdict = match (same, answer.refuses()) {
            (true, _) => Verdict::Pass,
            (false, true) => Verdict::Warning,
            (false, false) if is_silence(&answer) => Verdict::Inconclusive,
            (false, false) => Verdict::Fail,
        };
        session.step(title, Role::Check, None, &told(&expected), told(&answer), verdict, Vec::new());
    }
    Ok(())
}

fn asks_for_certificate(answer: &Answer) -> bool {
    matches!(answer, Answer::Flight(flight) if flight.certificate_request.is_some())
}

const KNOWN: &[&[u8]] = &[b"http/1.1"];
const UNKNOWN: &[&[u8]] = &[b"probe"];

fn alpn_unknown(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let opened = open_with(session, &good, "ALPN http/1.1", Role::Control, KNOWN)?;
    if let Err(error) = opened {
        return Err(Stop::Inconclusive(error.to_string()));
    }
    open_with(session, &good, "ALPN that nobody knows", Role::Check, UNKNOWN).map(drop)?;
    session.control(&good).map(drop)
}

/// Does a whole handshake that offers these protocols: in TLS 1.3 the answer is encrypted.
fn open_with(
    session: &mut Session<'_>,
    call: &Call,
    offered: &str,
    role: Role,
    protocols: &'static [&'static [u8]],
) -> Result<Result<(), NoAnswer>, Stop> {
    let door = Door { protocols, ..session.wire().door(call) };
    let told = |opened: &Result<(), NoAnswer>| match opened {
        Ok(()) => "the handshake succeeds".to_owned(),
        Err(error) => error.to_string(),
    };
    let (opened, line) = session.wire().handshake(0, offered, |_, _| door.open().map(drop), told)?;
    let (expected, verdict) = match (role, &opened) {
        (Role::Control, Ok(())) => ("success", Verdict::Pass),
        (Role::Control, Err(_)) => ("success", Verdict::Inconclusive),
        (Role::Check, Err(error)) if refuses_protocols(error) => ("no_application_protocol", Verdict::Pass),
        // It is refused, and the client does not know why.
        (Role::Check, Err(error)) if error.is_refusal() => ("no_application_protocol", Verdict::Warning),
        (Role::Check, Err(_)) => ("no_application_protocol", Verdict::Inconclusive),
        (Role::Check, Ok(())) => ("no_application_protocol", Verdict::Fail),
    };
    session.step(offered, role, None, expected, told(&opened), verdict, vec![line]);
    Ok(opened)
}

fn name_unknown(session: &mut Session<'_>) -> Result<(), Stop> {
    let hello = match speaks_tls12(session)? {
        true => Hello::tls12(&recommended()),
        false => Hello::both(),
    };
    let right = ask(session, "the name of the target", &hello)?;
    control(session, "the name of the target", &right)?;
    let other = ask(session, "another name", &hello.clone().to("probe.invalid"))?;
    let same = version(&other) == version(&right) && asks_for_certificate(&other) == asks_for_certificate(&right);
    look(session, "another name", "unrecognized_name, or the same", &other, other.refuses() || same);
    let mut old = Hello::up_to(TLS11);
    old = old.to("probe.invalid");
    let other = ask(session, "another name with TLS 1.1", &old)?;
    look(session, "another name with TLS 1.1", "an alert, or the end", &other, other.refuses());
    answers_hellos(session)
}

fn certificate_authorities(session: &mut Session<'_>) -> Result<(), Stop> {
    if !speaks_tls12(session)? {
        return Err(skip("the target does not speak TLS 1.2, where the list is visible"));
    }
    let answer = ask(session, "TLS 1.2", &Hello::tls12(&recommended()))?;
    let Answer::Flight(flight) = &answer else {
        return Err(Stop::Inconclusive(format!("a good hello was answered: {}", told(&answer))));
    };
    let asked = flight.certificate_request.as_ref();
    session.look(
        "the request for a certificate",
        "there",
        if asked.is_some() { "there" } else { "not there" },
        asked.is_some(),
    );
    let bytes = asked.map_or(0, |request| request.authorities_bytes);
    session.look("its list of authorities", "less than 16 KiB", format!("{bytes} bytes"), bytes < 16 * 1024);
    Ok(())
}

fn replicas(session: &mut Session<'_>) -> Result<(), Stop> {
    let replicas = session.settings().target.addresses.len();
    if replicas < 2 {
        return Err(skip("`addresses` names fewer than two"));
    }
    let hellos = [
        ("TLS 1.3 and 1.2", Hello::both()),
        ("TLS 1.2 with the recommended suites", Hello::tls12(&recommended())),
        ("TLS 1.1 at most", Hello::up_to(TLS11)),
    ];
    for replica in 0..replicas {
        let answer = ask_at(session, replica, "TLS 1.3 and 1.2", &Hello::both())?;
        let title = format!("TLS 1.3 and 1.2 at {}", session.wire().address(replica));
        control(session, &title, &answer)?;
    }
    for (name, hello) in hellos {
        let first = ask_at(session, 0, name, &hello)?;
        for replica in 1..replicas {
            let answer = ask_at(session, replica, name, &hello)?;
            let same =
                version(&answer) == version(&first) && asks_for_certificate(&answer) == asks_for_certificate(&first);
            let title = format!("{name} at {}", session.wire().address(replica));
            look(session, &title, &told(&first), &answer, same);
        }
    }
    Ok(())
}

fn alone(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let host = session.settings().target.authority();
    // No token goes out: everyone could read it.
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let shake = move |address, timeout| {
        let mut answer = [0; 512];
        let count = TcpStream::connect_timeout(&address, timeout).and_then(|mut socket| {
            socket.set_read_timeout(Some(timeout))?;
            socket.write_all(request.as_bytes())?;
            socket.read(&mut answer)
        });
        let count = count.unwrap_or_default();
        String::from_utf8_lossy(answer.get(..count).unwrap_or_default()).lines().next().unwrap_or_default().to_owned()
    };
    let told =
        |line: &String| if line.is_empty() { "nothing".to_owned() } else { format!("`{}`", line.escape_debug()) };
    let (line, number) = session.wire().handshake(0, "plain HTTP", shake, told)?;
    let status =
        line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.parse::<u16>().ok());
    let kept = status.is_none_or(|status| (300..500).contains(&status));
    let verdict = if kept { Verdict::Pass } else { Verdict::Fail };
    session.step("a request without TLS", Role::Check, None, "no success", told(&line), verdict, vec![number]);
    // Nothing is also what a target says that is down.
    session.control(&good).map(drop)
}

fn certificate_expired(session: &mut Session<'_>) -> Result<(), Stop> {
    let settings = session.settings();
    let expired = settings.expired.clone().ok_or_else(|| skip("`expired` names no certificate that has expired"))?;
    let good = session.good_with(crate::session::Binding::Certificate)?;
    session.control(&good)?;
    let leaf = expired.chain.first().cloned().ok_or_else(|| skip("the certificate is empty"))?;
    let thumbprint = crate::authorization::thumbprint(&leaf);
    let call = match session.issued(0, crate::session::Binding::Certificate) {
        Ok(token) => {
            let token = token.bound_to_thumbprint(&thumbprint).sign(&session.issuer()?.key);
            session.call_with(0, crate::session::Binding::Certificate, crate::session::made_token(token))?
        }
        Err(_) => good.clone(),
    };
    let call = call.presenting(crate::call::Presents::Other("EXPIRED", Box::new(expired)));
    refused_alive(session, &good, "a certificate that has expired", &call, &Refusal::CERTIFICATE)
}
