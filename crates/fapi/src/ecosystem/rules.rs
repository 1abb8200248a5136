//! The rules that several ecosystems have, each under a name and a clause of its own.

use crate::code::Code;
use crate::profile::{Enforced, Rule, Setting, Waivable};

/// About consents: a route that requires one refuses without.
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

/// About idempotency keys.
pub(super) const fn idempotency_rule(id: &'static str, clause: &'static str) -> Rule {
    Rule {
        id,
        clause,
        says: "Where the route asks for x-idempotency-key, a request has one, which its client uses for no other request in 24 hours.",
        setting: Setting::Key("routes[].idempotency_key"),
        enforced: Enforced::Request,
        codes: &[
            Code::HeaderMissing,
            Code::HeaderInvalid,
            Code::IdempotencyKeyReused,
            Code::IdempotencyShareExceeded,
            Code::IdempotencyKeysUnavailable,
        ],
        waivable: None,
    }
}

/// About media types.
pub(super) const fn media_type_rule(id: &'static str, clause: &'static str, says: &'static str) -> Rule {
    Rule {
        id,
        clause,
        says,
        setting: Setting::Key("routes[].media_types"),
        enforced: Enforced::Request,
        codes: &[Code::MediaTypeUnsupported, Code::NotAcceptable],
        waivable: None,
    }
}

/// About the lifetime of tokens.
pub(super) const fn lifetime_rule(id: &'static str, clause: &'static str, says: &'static str) -> Rule {
    Rule {
        id,
        clause,
        says,
        setting: Setting::Key("routes[].require.token_lifetime"),
        enforced: Enforced::Policy,
        codes: &[Code::TokenLifetimeExceeded],
        waivable: None,
    }
}

/// About the kind of certificate that a client has.
pub(super) const fn certificate_rule(id: &'static str, clause: &'static str, says: &'static str) -> Rule {
    Rule {
        id,
        clause,
        says,
        setting: Setting::Key("profile.ecosystem"),
        enforced: Enforced::Policy,
        codes: &[Code::CertificateMissing, Code::CertificateExpired, Code::CertificateKindRefused],
        waivable: Some(Waivable::Route),
    }
}

/// About the role that a certificate gives to a client.
pub(super) const fn role_rule(id: &'static str, clause: &'static str) -> Rule {
    Rule {
        id,
        clause,
        says: "The certificate of a client gives it a role of the service.",
        setting: Setting::Key("routes[].require.certificate.roles"),
        enforced: Enforced::Policy,
        codes: &[Code::CertificateRoleRefused],
        waivable: Some(Waivable::Route),
    }
}
