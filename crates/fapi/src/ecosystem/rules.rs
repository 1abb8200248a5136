//! What ecosystems say of consents, which is the same of all: a route that requires one refuses without.

use crate::code::Code;
use crate::profile::{Enforced, Rule, Setting};

/// The rule under a name and a clause of an ecosystem.
pub(super) const fn consent_rule(id: &'static str, clause: &'static str) -> Rule {
    Rule {
        id,
        clause,
        says: "Where a route requires a consent, the request is for it, and it is in a state in which it can be used.",
        setting: Setting::Key("routes[].require.consent"),
        enforced: Enforced::Request,
        codes: &[
            Code::ConsentMissing,
            Code::ConsentMismatch,
            Code::ConsentUnknown,
            Code::ConsentExpired,
            Code::ConsentRevoked,
            Code::ConsentRefused,
        ],
        waivable: None,
    }
}
