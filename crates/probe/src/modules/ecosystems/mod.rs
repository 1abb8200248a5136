//! What each ecosystem adds at a resource server.
//!
//! Which fields a request needs, and in which form, is read from the rules that the gateway has; what an answer has to look like is
//! written here.

mod berlin_group;
mod brazil;
mod cdr;
mod fdx;
mod gulf;
mod interaction;
mod shared;
mod smart;
mod uk_obie;

use fapi::ecosystem::{Ecosystem, Form, HeaderRule, Needed};
use uuid::Uuid;

use crate::call::Call;
use crate::exchange::Response;
use crate::expect::Refusal;
use crate::module::Module;
use crate::report::{Role, Verdict};
use crate::session::{Session, Stop, made_token, observed, skip};
use crate::wire::Exchange;

/// The modules, by what they look at.
pub(super) const MODULES: &[&[Module]] = &[
    interaction::MODULES,
    shared::MODULES,
    uk_obie::MODULES,
    brazil::MODULES,
    cdr::MODULES,
    berlin_group::MODULES,
    gulf::MODULES,
    fdx::MODULES,
    smart::MODULES,
];

/// The name of the id of an exchange.
const INTERACTION_ID: &str = "x-fapi-interaction-id";

// Good calls.

/// A good call, with an id of its own where an ecosystem needs one.
pub(super) fn good(session: &mut Session<'_>) -> Result<Call, Stop> {
    let call = session.good()?;
    Ok(complete(session, call))
}

/// The same of a call that changes something.
fn good_write(session: &mut Session<'_>) -> Result<Call, Stop> {
    let call = session.good_write()?;
    let call = complete(session, call);
    Ok(call.with_field("x-idempotency-key", Uuid::new_v4().to_string()))
}

/// A call with what its ecosystem needs and the configuration cannot know.
fn complete(session: &Session<'_>, call: Call) -> Call {
    let ids = session
        .ecosystems()
        .flat_map(Ecosystem::headers)
        .filter(|rule| rule.needed == Needed::Always && rule.form == Form::Uuid);
    ids.fold(call, |call, rule| call.with_field(rule.name, Uuid::new_v4().to_string()))
}

/// A call with a token that nobody issued.
fn without_good_token(call: &Call) -> Call {
    call.clone().with_token(&made_token("cHJvYmU".to_owned()))
}

// Fields.

/// A value of this form.
fn fitting(form: Form) -> String {
    match form {
        Form::Uuid => Uuid::new_v4().to_string(),
        Form::HttpDate | Form::HttpDateOrUtc => "Tue, 11 Sep 2012 19:43:31 GMT".to_owned(),
        Form::Address => "198.51.100.7".to_owned(),
        Form::Base64 => "e30=".to_owned(),
        Form::Text(_) => "probe".to_owned(),
        Form::OneOf(values) => values.first().copied().unwrap_or_default().to_owned(),
        Form::Version => "1".to_owned(),
    }
}

/// Values that are not of this form.
fn unfitting(form: Form) -> Vec<String> {
    let values: &[&str] = match form {
        Form::Uuid => &["probe", "c770aef3-6784-41f7-8e0e"],
        Form::HttpDate | Form::HttpDateOrUtc => &["probe", "2012-09-11T19:43:31Z"],
        Form::Address => &["probe", "198.51.100.7.8"],
        Form::Base64 => &["{}"],
        Form::Text(most) => return vec!["a".repeat(most.saturating_add(1))],
        Form::OneOf(_) => &["ROBOT"],
        Form::Version => &["0", "-1", "1.0", "probe"],
    };
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// A call with a value of a field, and with those that have to be beside it.
fn with_field_of(rules: &[HeaderRule], rule: &HeaderRule, call: &Call, value: String) -> Call {
    let beside = rules
        .iter()
        .filter(|other| rule.needed == Needed::Beside(other.name) || other.needed == Needed::Beside(rule.name));
    let call = beside.fold(call.clone(), |call, other| call.with_field(other.name, fitting(other.form)));
    call.with_field(rule.name, value)
}

/// Sends a call for each form that a field of the ecosystem has to have and has not. `code` is what the answer calls it, if that is
/// known: a JSON pointer into its body, and the value there.
fn fields_malformed(
    session: &mut Session<'_>,
    good: &Call,
    ecosystem: Ecosystem,
    code: impl Fn(&HeaderRule) -> Option<(&'static str, &'static str)>,
) -> Result<(), Stop> {
    let rules = ecosystem.headers();
    // The id of an exchange has modules of its own, and a key of a call that changes nothing means nothing.
    let looked_at = |rule: &&HeaderRule| ![INTERACTION_ID, "x-idempotency-key"].contains(&rule.name);
    for rule in rules.iter().filter(looked_at) {
        for value in unfitting(rule.form) {
            let title = format!("`{}: {value}`", rule.name);
            let call = with_field_of(rules, rule, good, value);
            match code(rule) {
                Some((pointer, code)) => refused_as(session, &title, &call, &Refusal::FIELD, pointer, &[code])?,
                None => session.refused(&title, &call, &Refusal::FIELD)?,
            }
        }
    }
    Ok(())
}

// Answers.

/// The text at a place of a JSON body.
fn text_at(response: &Response, pointer: &str) -> Option<String> {
    response.json()?.pointer(pointer)?.as_str().map(str::to_owned)
}

/// Sends a call that must be refused, and called by one of these codes. Another code is a recommendation that is not followed, since
/// the call is refused all the same.
fn refused_as(
    session: &mut Session<'_>,
    title: &str,
    call: &Call,
    refusal: &Refusal,
    pointer: &str,
    codes: &[&str],
) -> Result<(), Stop> {
    let exchange = session.answered(call)?;
    let mut told = observed(&exchange.answer);
    let mut verdict = refusal.judge(&exchange.answer);
    if let (Verdict::Pass, Ok(response)) = (verdict, &exchange.answer) {
        let code = text_at(response, pointer);
        told.push_str(&format!(", {}", code.as_deref().unwrap_or("no code")));
        if !code.is_some_and(|code| codes.contains(&code.as_str())) {
            verdict = Verdict::Warning;
        }
    }
    let expected = format!("{refusal}, {}", codes.join(" or "));
    session.note(title, Role::Check, &expected, told, verdict, call, &exchange);
    Ok(())
}

/// Sends a call that is refused with this status, and looks at how the answer tells of it. Nothing can be said if it is refused otherwise.
fn told(
    session: &mut Session<'_>,
    title: &str,
    call: &Call,
    status: u16,
    expected: &str,
    look: impl FnOnce(&Response) -> Result<(), String>,
) -> Result<(), Stop> {
    let exchange = session.answered(call)?;
    note_told(session, title, call, &exchange, status, expected, look);
    Ok(())
}

/// Writes down how a refusal is told.
fn note_told(
    session: &mut Session<'_>,
    title: &str,
    call: &Call,
    exchange: &Exchange,
    status: u16,
    expected: &str,
    look: impl FnOnce(&Response) -> Result<(), String>,
) {
    let mut told = observed(&exchange.answer);
    let verdict = match &exchange.answer {
        Ok(response) if response.status.as_u16() == status => match look(response) {
            Ok(()) => Verdict::Pass,
            Err(why) => {
                told.push_str(&format!(": {why}"));
                Verdict::Fail
            }
        },
        Ok(_) | Err(_) => Verdict::Inconclusive,
    };
    session.note(title, Role::Check, &format!("{status}, {expected}"), told, verdict, call, exchange);
}

/// The same for a call that is malformed in a way that a target may let pass: then there is nothing to look at.
fn told_of_bad_date(
    session: &mut Session<'_>,
    expected: &str,
    look: impl FnOnce(&Response) -> Result<(), String>,
) -> Result<(), Stop> {
    let good = good(session)?;
    session.control(&good)?;
    let call = good.with_field("x-fapi-auth-date", "probe");
    let exchange = session.answered(&call)?;
    if exchange.answer.as_ref().is_ok_and(|response| response.status.as_u16() != 400) {
        return Err(skip("the target does not refuse a malformed `x-fapi-auth-date` with 400, which it need not"));
    }
    note_told(session, "`x-fapi-auth-date: probe`", &call, &exchange, 400, expected, look);
    Ok(())
}

/// Whether a body is JSON with a text at each of these places.
fn has_texts(response: &Response, pointers: &[&str]) -> Result<(), String> {
    if response.json().is_none() {
        return Err("the body is not JSON".to_owned());
    }
    let missing = pointers.iter().find(|pointer| text_at(response, pointer).is_none_or(|text| text.is_empty()));
    missing.map_or(Ok(()), |pointer| Err(format!("the body has no text at {pointer}")))
}

/// Whether there is no body.
fn is_empty(response: &Response) -> Result<(), String> {
    match response.body.len() {
        0 => Ok(()),
        length => Err(format!("it has a body of {length} bytes")),
    }
}
