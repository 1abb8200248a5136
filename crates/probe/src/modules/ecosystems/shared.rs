//! What several ecosystems ask for, each with the values of its own rules.

use fapi::ecosystem::Ecosystem::{self, BerlinGroup, Brazil, Cdr, Ksa, Uae, UkObie31, UkObie40};

use super::{complete, fields_malformed, good, good_write};
use crate::clock::now;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::Severity;
use crate::session::{Session, Stop, skip};

/// Those that say of the fields about the customer what FAPI 1.0 does.
const WITH_CUSTOMERS: &[Ecosystem] = &[UkObie31, UkObie40, Brazil, Uae, Ksa];
/// Those that say which media types there are.
const WITH_MEDIA_TYPES: &[Ecosystem] = &[UkObie31, UkObie40, Brazil, Cdr, BerlinGroup];

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "ecosystem-fields-malformed",
        purpose: "A call with a field about the customer that is malformed is refused",
        clause: "FAPI 1.0 Baseline §6.2.2; Read/Write API profile § Headers; UAE API specifications 2.1 § Headers",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Ecosystems(WITH_CUSTOMERS),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let ecosystems = session.ecosystems().filter(|ecosystem| WITH_CUSTOMERS.contains(ecosystem));
            let ecosystems: Vec<_> = ecosystems.collect();
            ecosystems.into_iter().try_for_each(|ecosystem| fields_malformed(session, &good, ecosystem, |_| None))
        },
    },
    Module {
        name: "ecosystem-accept",
        purpose: "A call that accepts nothing which there is is refused, and one that accepts JSON in any spelling is not",
        clause: "Read/Write API profile § Headers; Consumer Data Standards § HTTP Headers; NextGenPSD2 implementation guidelines § Error codes; Open Finance Brazil API guidelines § HTTP status codes",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(WITH_MEDIA_TYPES),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let spelled = good.clone().with_field("Accept", "AppliCAtion/JSon;Charset=uTf-8");
            session.accepted("JSON in another spelling", &spelled)?;
            session.accepted("no `Accept`", &good.clone().without_field("Accept"))?;
            for accepts in ["text/html", "image/png"] {
                let call = good.clone().with_field("Accept", accepts);
                session.refused(&format!("`Accept: {accepts}`"), &call, &Refusal::ACCEPT)?;
            }
            Ok(())
        },
    },
    Module {
        name: "ecosystem-content-type",
        purpose: "Content of a type that is not taken is refused",
        clause: "Read/Write API profile § Headers; Consumer Data Standards § HTTP Headers; NextGenPSD2 implementation guidelines § Error codes; Open Finance Brazil API guidelines § HTTP status codes",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(WITH_MEDIA_TYPES),
        run: |session| {
            let good = good_write(session)?;
            session.control(&good)?;
            // None takes a picture.
            let fresh = good_write(session)?.with_field("Content-Type", "image/png");
            session.refused("`Content-Type: image/png`", &fresh, &Refusal::CONTENT_TYPE)
        },
    },
    Module {
        name: "ecosystem-idempotency-key",
        purpose: "A call that changes something is refused without an idempotency key, and with one that is too long",
        clause: "Read/Write API profile § Idempotency; Open Finance Brazil payments API § Idempotency",
        suite: &[],
        // Not every resource asks for a key.
        severity: Severity::Warning,
        plans: Plans::Ecosystems(&[UkObie31, UkObie40, Brazil]),
        run: |session| {
            let good = good_write(session)?;
            if good.method != "POST" {
                return Err(skip("`resource.write` is no POST"));
            }
            session.control(&good)?;
            let without = good_write(session)?.without_field("x-idempotency-key");
            session.refused("no `x-idempotency-key`", &without, &Refusal::FIELD)?;
            let long = good_write(session)?.with_field("x-idempotency-key", "a".repeat(41));
            session.refused("a key of 41 characters", &long, &Refusal::FIELD)
        },
    },
    Module {
        name: "ecosystem-token-lifetime",
        purpose: "A token that lives for longer than the ecosystem allows is refused",
        clause: "FAPI-BR security profile § Access tokens; Consumer Data Standards § Tokens",
        suite: &[],
        // It is said to authorization servers.
        severity: Severity::Warning,
        plans: Plans::Ecosystems(&[Brazil, Cdr]),
        run: token_lifetime,
    },
];

fn token_lifetime(session: &mut Session<'_>) -> Result<(), Stop> {
    let longest = session.ecosystems().filter_map(Ecosystem::longest_token_lifetime).max().unwrap_or_default();
    for (lifetime, refused) in [(longest.as_secs(), false), (longest.as_secs().saturating_add(3_600), true)] {
        let time = now();
        let call = session.call_with_token(session.binding(), |token| {
            token.claim("iat", time).expires_at(time.saturating_add(lifetime))
        })?;
        let call = complete(session, call);
        if refused {
            session.refused(&format!("a token for {lifetime} seconds"), &call, &Refusal::TOKEN)?;
        } else {
            session.control(&call)?;
        }
    }
    Ok(())
}
