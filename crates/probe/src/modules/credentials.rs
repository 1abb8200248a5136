//! Where an access token is taken from (FAPI 2.0 §5.3.4 (1) and (2), RFC 6750 §2).

use crate::call::{Call, Credential, TOKEN};
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::Severity;
use crate::session::{Binding, Session, Stop};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "resource-call",
        purpose: "A call with a good token in `Authorization` succeeds",
        clause: "FAPI 2.0 §5.3.4 (1), FAPI 1.0 Baseline §6.2.1 (2)",
        suite: &["EnsureHttpStatusCodeIs200or201"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            let call = session.good()?;
            session.accepted("a good call", &call).map(drop)
        },
    },
    Module {
        name: "no-credentials",
        purpose: "A call without credentials is refused",
        clause: "RFC 6750 §3",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| refused(session, "no credentials", Call::without_credentials, &Refusal::NO_CREDENTIALS),
    },
    Module {
        name: "token-in-query",
        purpose: "A token in the query is not taken",
        clause: "FAPI 2.0 §5.3.4 (2), FAPI 1.0 Baseline §6.2.1 (3)",
        suite: &["DisallowAccessTokenInQuery"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            let in_query = |call: Call| {
                let call = call.query(&format!("access_token={TOKEN}"));
                Call { credentials: Vec::new(), ..call }
            };
            refused(session, "the token in the query alone", in_query, &Refusal::NO_CREDENTIALS)
        },
    },
    Module {
        name: "token-in-query-too",
        purpose: "A token in the query beside one in `Authorization` is refused",
        clause: "RFC 6750 §2",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: |session| {
            let in_both = |call: Call| call.query(&format!("access_token={TOKEN}"));
            refused(session, "the token in the query and in the field", in_both, &Refusal::REQUEST)
        },
    },
    Module {
        name: "token-in-form",
        purpose: "A token in a form is not taken",
        clause: "FAPI 2.0 §5.3.4 (1), FAPI 1.0 Baseline §6.2.1 (2), RFC 6750 §2.2",
        suite: &["EnsureBearerAccessTokenNotInParams"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: token_in_form,
    },
    Module {
        name: "token-in-other-fields",
        purpose: "A token in a cookie or in a field of another name is not taken",
        clause: "FAPI 2.0 §5.3.4 (1), FAPI 1.0 Baseline §6.2.1 (2), RFC 6750 §5.3",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: token_in_other_fields,
    },
    Module {
        name: "two-authorization-fields",
        purpose: "Two `Authorization` fields are refused",
        clause: "RFC 6750 §3.1, RFC 9110 §11.6.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            let twice = |call: Call| {
                let credentials =
                    call.credentials.iter().flat_map(|credential| [credential.clone(), credential.clone()]);
                Call { credentials: credentials.collect(), ..call }
            };
            refused(session, "the same field twice", twice, &Refusal::REQUEST)
        },
    },
    Module {
        name: "authorization-malformed",
        purpose: "An `Authorization` field that is not a scheme and one token is refused",
        clause: "RFC 6750 §2.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: authorization_malformed,
    },
    Module {
        name: "scheme-case",
        purpose: "The name of the scheme is read in any case",
        clause: "RFC 9110 §11.1",
        suite: &["access-token-type-header-case-sensitivity"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: scheme_case,
    },
    Module {
        name: "scheme-other",
        purpose: "A token under the scheme Basic, or in `Proxy-Authorization`, is refused",
        clause: "RFC 6750 §2.1, RFC 9449 §7.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: scheme_other,
    },
];

/// A good call, and then one that differs in what `spoil` does.
pub(super) fn refused(
    session: &mut Session<'_>,
    title: &str,
    spoil: impl FnOnce(Call) -> Call,
    refusal: &Refusal,
) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    session.refused(title, &spoil(good), refusal)
}

fn token_in_form(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_write()?;
    session.control(&good)?;
    let form = Call { credentials: Vec::new(), body: Some(format!("access_token={TOKEN}")), ..good };
    let form = form.with_field("Content-Type", "application/x-www-form-urlencoded");
    let refusal = Refusal { statuses: &[400, 401, 415], ..Refusal::NO_CREDENTIALS };
    session.refused("the token in a form", &form, &refusal)
}

fn token_in_other_fields(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let bare = Call { credentials: Vec::new(), ..good };
    let token = TOKEN.to_owned();
    let places = [
        ("Cookie", format!("access_token={TOKEN}")),
        ("X-Access-Token", token.clone()),
        ("Access-Token", token.clone()),
        ("X-Auth-Token", token.clone()),
        ("X-Forwarded-Authorization", format!("Bearer {TOKEN}")),
        ("X-Original-Authorization", format!("Bearer {TOKEN}")),
        ("Sec-WebSocket-Protocol", format!("bearer, {TOKEN}")),
    ];
    for (field, value) in places {
        let call = bare.clone().field(field, value);
        session.refused(&format!("the token in `{field}`"), &call, &Refusal::NO_CREDENTIALS)?;
    }
    Ok(())
}

fn authorization_malformed(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let scheme = good.credentials.first().map(|credential| credential.scheme.clone()).unwrap_or_default();
    let bare = Call { credentials: Vec::new(), ..good };
    let values = [
        ("the scheme alone", scheme.clone()),
        ("two tokens", format!("{scheme} {TOKEN} {TOKEN}")),
        ("two tokens after a comma", format!("{scheme} {TOKEN},{TOKEN}")),
        ("the token in quotes", format!("{scheme} \"{TOKEN}\"")),
        ("the token without a scheme", TOKEN.to_owned()),
        ("two credentials in one field", format!("{scheme} {TOKEN}, Basic YTpi")),
    ];
    for (title, value) in values {
        session.refused(title, &bare.clone().field("Authorization", value), &Refusal::REQUEST)?;
    }
    Ok(())
}

fn scheme_case(session: &mut Session<'_>) -> Result<(), Stop> {
    let claims = &session.settings().claims;
    let bindings = [(claims.certificate, Binding::Certificate), (claims.dpop, Binding::Dpop)];
    for (_, binding) in bindings.into_iter().filter(|(claimed, _)| *claimed) {
        let good = session.good_with(binding)?;
        session.control(&good)?;
        let turned: String = binding
            .scheme()
            .chars()
            .map(|letter| match letter.is_ascii_lowercase() {
                true => letter.to_ascii_uppercase(),
                false => letter.to_ascii_lowercase(),
            })
            .collect();
        for scheme in [turned, binding.scheme().to_ascii_lowercase(), binding.scheme().to_ascii_uppercase()] {
            session.accepted(&format!("the scheme as `{scheme}`"), &good.clone().scheme(&scheme))?;
        }
    }
    Ok(())
}

fn scheme_other(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    session.refused("the scheme Basic", &good.clone().scheme("Basic"), &Refusal::REQUEST)?;
    let proxy: Vec<_> = good
        .credentials
        .iter()
        .map(|Credential { scheme, .. }| ("Proxy-Authorization".to_owned(), format!("{scheme} {TOKEN}")))
        .collect();
    let mut call = Call { credentials: Vec::new(), ..good };
    call.fields.extend(proxy);
    session.refused("the token in `Proxy-Authorization`", &call, &Refusal::NO_CREDENTIALS)
}
