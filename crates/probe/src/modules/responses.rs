//! What answers look like: fields of successes, challenges of refusals (RFC 6750 §3, FAPI 1.0 Baseline §6.2.1).

use std::time::{Duration, UNIX_EPOCH};

use uuid::Uuid;

use super::answer_of;
use crate::call::{Call, TOKEN};
use crate::clock::now;
use crate::exchange::Response;
use crate::exchange::challenge::{self, Challenge};
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::plan::Plan;
use crate::report::Severity;
use crate::session::{Binding, Session, Stop, made_token};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "response-date",
        purpose: "Answers have one `Date`, which is right",
        clause: "RFC 9110 §6.6.1, FAPI 1.0 Baseline §6.2.1 (10)",
        suite: &["CheckForDateHeaderInResourceResponse"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: date,
    },
    Module {
        name: "response-content-type",
        purpose: "Answers with content say of which type it is",
        clause: "RFC 9110 §8.3",
        suite: &["EnsureResourceResponseReturnedJsonContentType"],
        severity: Severity::Warning,
        plans: Plans::All,
        run: content_type,
    },
    Module {
        name: "response-cache-control",
        purpose: "Answers to requests with a token are not kept by shared caches",
        clause: "RFC 9111 §3.5, RFC 6750 §5.3",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: |session| {
            let good = session.good()?;
            let response = session.control(&good)?;
            let value = response.all("cache-control").collect::<Vec<_>>().join(", ").to_ascii_lowercase();
            let kept = value.contains("no-store") || value.contains("private");
            session.look("`Cache-Control` of a success", "no-store or private", format!("`{value}`"), kept);
            Ok(())
        },
    },
    Module {
        name: "interaction-id",
        purpose: "`x-fapi-interaction-id` is echoed, and made where the request has none",
        clause: "FAPI 1.0 Baseline §6.2.1 (11), FAPI 2.0 Implementation Advice",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: interaction_id,
    },
    Module {
        name: "interaction-id-malformed",
        purpose: "An interaction id that is no UUID does not stand in the answer",
        clause: "FAPI 1.0 Baseline §6.2.1 (11)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: interaction_id_malformed,
    },
    Module {
        name: "customer-address",
        purpose: "`x-fapi-customer-ip-address` with an address of either kind disturbs nothing",
        clause: "FAPI 1.0 Baseline §6.2.1 (13)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            let good = session.good()?;
            session.control(&good)?;
            for address in ["198.51.100.7", "2001:db8::1893:25c8:1946"] {
                let call = good.clone().with_field("x-fapi-customer-ip-address", address);
                session.accepted(&format!("the address {address}"), &call)?;
            }
            Ok(())
        },
    },
    Module {
        name: "accept",
        purpose: "`Accept` with parameters and weights disturbs nothing",
        clause: "RFC 9110 §12.5.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Fapi2,
        run: |session| {
            let good = session.good()?;
            session.control(&good)?;
            let list = "text/html, application/json;q=0.9, application/*+json;q=0.8, */*;q=0.7";
            for accept in ["application/json;charset=utf-8", list] {
                session.accepted(&format!("`{accept}`"), &good.clone().with_field("Accept", accept))?;
            }
            Ok(())
        },
    },
    Module {
        name: "challenge-without-credentials",
        purpose: "The answer to a request without credentials is a 401 with a challenge and no error",
        clause: "RFC 6750 §3, §3.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: without_credentials,
    },
    Module {
        name: "challenge-invalid-token",
        purpose: "The answer to an invalid token is a 401 with `invalid_token` in the challenge of its scheme",
        clause: "RFC 6750 §3.1, RFC 9449 §7.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: invalid_token,
    },
    Module {
        name: "challenge-invalid-proof",
        purpose: "The answer to an invalid proof is a 401 with `invalid_dpop_proof`",
        clause: "RFC 9449 §7.1",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Dpop,
        run: invalid_proof,
    },
    Module {
        name: "refusal-tells-nothing",
        purpose: "A refusal does not show how the target is built",
        clause: "RFC 9110 §17",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: tells_nothing,
    },
    Module {
        name: "challenge-form",
        purpose: "Challenges are well-formed: a line each, each parameter once, only allowed characters",
        clause: "RFC 6750 §3, RFC 9449 §7.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: form,
    },
    Module {
        name: "challenge-algs",
        purpose: "The challenge of DPoP names the algorithms that are accepted",
        clause: "RFC 9449 §7.1",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Dpop,
        run: algs,
    },
    Module {
        name: "challenge-reflects-nothing",
        purpose: "Nothing that a client sends stands in a refusal",
        clause: "RFC 6750 §3",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: reflects_nothing,
    },
    Module {
        name: "challenge-scope",
        purpose: "A 403 for a missing scope names the scope",
        clause: "RFC 6750 §3.1",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: scope,
    },
];

/// A success and two refusals.
fn answers(session: &mut Session<'_>) -> Result<Vec<(&'static str, Response)>, Stop> {
    Ok(answers_with_times(session)?.into_iter().map(|(title, response, _)| (title, response)).collect())
}

/// The same, each with the time at which it came.
fn answers_with_times(session: &mut Session<'_>) -> Result<Vec<(&'static str, Response, u64)>, Stop> {
    let good = session.good()?;
    let success = session.control(&good)?;
    let mut answers = vec![("a success", success, now())];
    let bad = session.call_with(0, session.binding(), made_token("cHJvYmU".to_owned()))?;
    for (title, call) in
        [("a refusal of an invalid token", bad), ("a refusal without credentials", good.without_credentials())]
    {
        let response = answer_of(session, &call)?;
        answers.push((title, response, now()));
    }
    Ok(answers)
}

fn date(session: &mut Session<'_>) -> Result<(), Stop> {
    for (title, response, came) in answers_with_times(session)? {
        let dates: Vec<&str> = response.all("date").collect();
        let time = dates.first().and_then(|date| httpdate::parse_http_date(date).ok());
        let away = time.map(|time| {
            let here = UNIX_EPOCH.checked_add(Duration::from_secs(came)).unwrap_or(UNIX_EPOCH);
            time.duration_since(here).or_else(|_| here.duration_since(time)).unwrap_or_default()
        });
        let right = dates.len() == 1 && away.is_some_and(|away| away <= Duration::from_secs(5));
        session.look(&format!("`Date` of {title}"), "one, within five seconds", format!("{dates:?}"), right);
    }
    Ok(())
}

fn content_type(session: &mut Session<'_>) -> Result<(), Stop> {
    for (title, response) in answers(session)? {
        let value = response.sole("content-type").unwrap_or_default().to_owned();
        let right = response.body.is_empty() || !value.is_empty();
        let told = format!("`{value}` for {} bytes", response.body.len());
        session.look(&format!("`Content-Type` of {title}"), "one, if there is content", told, right);
    }
    Ok(())
}

fn interaction_id(session: &mut Session<'_>) -> Result<(), Stop> {
    let demanded = session.plans().iter().any(|plan| matches!(plan, Plan::Fapi1Advanced | Plan::Ecosystem(_)));
    session.needs(demanded || session.settings().claims.interaction_id, "to answer with `x-fapi-interaction-id`")?;
    let id = Uuid::new_v4().to_string();
    let good = session.good()?.with_field(FIELD, id.as_str());
    let response = session.control(&good)?;
    let refused =
        session.call_with(0, session.binding(), made_token("cHJvYmU".to_owned()))?.with_field(FIELD, id.as_str());
    let refused = answer_of(session, &refused)?;
    for (title, response) in [("a success", response), ("a refusal", refused)] {
        let values: Vec<&str> = response.all(FIELD).collect();
        let same = values.len() == 1 && values.iter().all(|value| value.eq_ignore_ascii_case(&id));
        session.look(&format!("the id of {title}"), "that of the request", format!("{values:?}"), same);
    }
    let mut seen = Vec::new();
    for _ in 0..2 {
        let without = session.good()?.without_field(FIELD);
        let response = answer_of(session, &without)?;
        // Some ecosystems ask for one.
        if response.is_success() {
            let values: Vec<String> = response.all(FIELD).map(str::to_owned).collect();
            let made = values.len() == 1 && values.iter().all(|value| Uuid::parse_str(value).is_ok());
            let fresh = !values.iter().any(|value| seen.contains(value));
            session.look("the id where the request has none", "a new UUID", format!("{values:?}"), made && fresh);
            seen.extend(values);
        }
    }
    Ok(())
}

const FIELD: &str = "x-fapi-interaction-id";

fn interaction_id_malformed(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    for (title, id) in [("markup", "<script>probe</script>".to_owned()), ("300 letters", "a".repeat(300))] {
        let call = good.clone().with_field(FIELD, id.as_str());
        let response = answer_of(session, &call)?;
        // Whoever fails over it has not answered it.
        if response.status.is_server_error() {
            return Err(Stop::Inconclusive(response.summary()));
        }
        let echoed = response.all(FIELD).any(|value| value.contains(&id));
        let told = response.all(FIELD).map(|value| value.chars().take(60).collect::<String>()).collect::<Vec<_>>();
        session.look(&format!("the id where that of the request is {title}"), "not that", format!("{told:?}"), !echoed);
    }
    Ok(())
}

fn without_credentials(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let response = answer_of(session, &good.without_credentials())?;
    session.look("the status", "401", response.status.as_u16().to_string(), response.status.as_u16() == 401);
    let challenges = response.challenges();
    session.look("the challenges", "at least one", format!("{} challenges", challenges.len()), !challenges.is_empty());
    let silent = ["Bearer", "DPoP"].iter().all(|scheme| response.error(scheme).is_none());
    session.look("`error` of the challenges", "none", response.summary(), silent);
    Ok(())
}

fn invalid_token(session: &mut Session<'_>) -> Result<(), Stop> {
    let claims = &session.settings().claims;
    let bindings = [(claims.certificate, Binding::Certificate), (claims.dpop, Binding::Dpop)];
    for (_, binding) in bindings.into_iter().filter(|(claimed, _)| *claimed) {
        let good = session.good_with(binding)?;
        session.control(&good)?;
        let call = session.call_with(0, binding, made_token("cHJvYmU".to_owned()))?;
        let response = answer_of(session, &call)?;
        let scheme = binding.scheme();
        session.look("the status", "401", response.status.as_u16().to_string(), response.status.as_u16() == 401);
        let error = response.error(scheme);
        let kept = error.as_deref() == Some("invalid_token");
        session.look(&format!("`error` of the challenge of {scheme}"), "invalid_token", format!("{error:?}"), kept);
        let other = match binding {
            Binding::Certificate => "DPoP",
            Binding::Dpop => "Bearer",
        };
        let silent = response.error(other).is_none();
        session.look(&format!("`error` of the challenge of {other}"), "none", response.summary(), silent);
    }
    Ok(())
}

fn form(session: &mut Session<'_>) -> Result<(), Stop> {
    for (title, response) in answers(session)?.into_iter().skip(1) {
        let lines: Vec<&str> = response.all("www-authenticate").collect();
        session.look(&format!("challenges of {title}"), "at least one", format!("{lines:?}"), !lines.is_empty());
        for line in lines {
            let fault = challenge::read(line).and_then(|challenges| challenges.iter().try_for_each(fault_of)).err();
            let told = fault.map_or_else(|| line.to_owned(), |fault| format!("{fault}: {line}"));
            session.look(&format!("a line of {title}"), "well-formed", told, fault.is_none());
        }
    }
    Ok(())
}

/// What RFC 6750 §3 has beyond the grammar of challenges.
fn fault_of(challenge: &Challenge) -> Result<(), &'static str> {
    if challenge.scheme.eq_ignore_ascii_case("bearer") && challenge.parameters.is_empty() {
        return Err("no parameter");
    }
    let allowed = |byte: u8| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let restricted = ["error", "error_description", "scope", "algs"];
    let mut restricted = challenge.parameters.iter().filter(|(name, _)| restricted.contains(&name.as_str()));
    match restricted.all(|(_, value)| value.bytes().all(allowed)) {
        true => Ok(()),
        false => Err("a character that is not allowed"),
    }
}

fn algs(session: &mut Session<'_>) -> Result<(), Stop> {
    session.needs(session.settings().claims.dpop, "DPoP")?;
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let response = answer_of(session, &good.without_credentials())?;
    let challenge = response.challenge("DPoP");
    let algs = challenge.as_ref().and_then(|challenge| challenge.parameter("algs"));
    session.look("`algs` of the challenge of DPoP", "a list", format!("{algs:?}"), algs.is_some());
    let forbidden = ["RS256", "HS256", "none"];
    let kept = algs.is_none_or(|algs| !algs.split(' ').any(|name| forbidden.contains(&name)));
    session.look("the algorithms in it", "none that FAPI forbids", format!("{algs:?}"), kept);
    Ok(())
}

fn reflects_nothing(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let mark = "probe-reflected-9f2c";
    let binding = session.binding();
    let bare = Call { credentials: Vec::new(), ..good };
    let header = r#"{"alg":"ES256","typ":"at+jwt","kid":"probe-reflected-9f2c\"<b>"}"#;
    let token =
        sandbox::keys::SigningKey::generate(sandbox::keys::KeyKind::Es256, "a").sign_raw(header.as_bytes(), b"{}");
    let with_token = session.call_with(0, binding, made_token(token))?;
    let calls = [
        ("a token whose `kid` is text", with_token),
        ("a scheme that nobody knows", bare.clone().field("Authorization", format!("{mark} {TOKEN}"))),
        ("a text that is no token", bare.clone().field("Authorization", format!("Bearer {mark}\"<b>"))),
        ("a query", bare.query(&format!("{mark}=%3Cb%3E"))),
    ];
    for (title, call) in calls {
        let response = answer_of(session, &call)?;
        let token = call.credentials.first().map_or(mark, |credential| credential.token.text.as_str());
        let reflected = stands_in(&response, mark) || stands_in(&response, token);
        let told = if reflected { "it stands in the answer" } else { "it does not" };
        session.look(title, "not in the answer", told, !reflected);
    }
    Ok(())
}

fn stands_in(response: &Response, text: &str) -> bool {
    let body = String::from_utf8_lossy(&response.body);
    response.fields.iter().any(|(_, value)| value.contains(text)) || body.contains(text)
}

fn tells_nothing(session: &mut Session<'_>) -> Result<(), Stop> {
    for (title, response) in answers(session)?.into_iter().skip(1) {
        let body = String::from_utf8_lossy(&response.body).into_owned();
        let found = INNARDS.iter().find(|mark| body.contains(**mark));
        let told = found.map_or_else(|| "nothing of the kind".to_owned(), |mark| format!("`{mark}`"));
        session.look(&format!("the content of {title}"), "no stack and no path of its own", told, found.is_none());
    }
    Ok(())
}

/// What stands in the stacks of common languages, and nowhere else in a refusal.
const INNARDS: &[&str] = &[
    "\n    at ",
    "\\n    at ",
    "node_modules/",
    "Traceback (most recent",
    "Exception in thread",
    ".java:",
    "goroutine ",
    "stack backtrace:",
    "panicked at",
    "/usr/",
    "/opt/",
];

fn invalid_proof(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let bad = good.spoiled(|proof, key| super::proofs::changed_signature(&proof.sign(key)));
    let refusal = Refusal { statuses: &[401], errors: &["invalid_dpop_proof"], closing: false };
    session.refused("a proof with a broken signature", &bad, &refusal)
}

fn scope(session: &mut Session<'_>) -> Result<(), Stop> {
    let scope = session.settings().resource.scope.clone();
    let scope = scope.ok_or_else(|| crate::session::skip("`resource.scope` is not known"))?;
    let binding = session.binding();
    let good = session.call_with_token(binding, |token| token)?;
    session.control(&good)?;
    let call = session.call_with_token(binding, |token| token.scope("probe"))?;
    let response = answer_of(session, &call)?;
    let named: Vec<String> =
        response.challenges().iter().filter_map(|one| one.parameter("scope").map(str::to_owned)).collect();
    let kept = named.contains(&scope);
    session.look("`scope` of the challenge", &scope, format!("{named:?}"), kept);
    session.refused("a token without the scope", &call, &Refusal::SCOPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_challenges_are_found() {
        let fault = |line: &str| challenge::read(line).and_then(|read| read.iter().try_for_each(fault_of)).err();
        assert_eq!(fault("Bearer realm=\"a\""), None); // control
        assert_eq!(fault("DPoP"), None);
        assert_eq!(fault("Bearer"), Some("no parameter"));
        assert_eq!(fault("Bearer error=\"\u{e9}\""), Some("a character that is not allowed"));
    }
}
