//! Which routes and requirements the tests reach.

use std::collections::BTreeSet;
use std::sync::Arc;

use fapi::code::Code;
use fapi::policy::Requirements;
use fapi::route::Route;
use fapi::shadow::may_pass;

use super::Found;
use crate::config::Decision;

/// What a route requires of a token, by the key that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Required {
    Scopes,
    SenderConstraint,
    Clients,
    Participant,
    Subject,
    TokenLifetime,
    Claims,
    AuthorizationDetails,
    Consent,
    Authentication,
    Certificate,
}

impl Required {
    const ALL: [Self; 11] = [
        Self::Scopes,
        Self::SenderConstraint,
        Self::Clients,
        Self::Participant,
        Self::Subject,
        Self::TokenLifetime,
        Self::Claims,
        Self::AuthorizationDetails,
        Self::Consent,
        Self::Authentication,
        Self::Certificate,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Scopes => "scopes",
            Self::SenderConstraint => "sender_constraint",
            Self::Clients => "require.clients",
            Self::Participant => "require.participant",
            Self::Subject => "require.subject",
            Self::TokenLifetime => "require.token_lifetime",
            Self::Claims => "require.claims",
            Self::AuthorizationDetails => "require.authorization_details",
            Self::Consent => "require.consent",
            Self::Authentication => "require.authentication",
            Self::Certificate => "require.certificate",
        }
    }

    /// Whether a protected route with these requirements has it.
    const fn is_of(self, requirements: &Requirements) -> bool {
        match self {
            Self::Scopes | Self::SenderConstraint => true,
            Self::Clients => requirements.clients.is_some(),
            Self::Participant => requirements.participant.is_some(),
            Self::Subject => requirements.subject.is_some(),
            Self::TokenLifetime => requirements.token_lifetime.is_some(),
            Self::Claims => !requirements.claims.is_empty(),
            Self::AuthorizationDetails => !requirements.authorization_details.is_empty(),
            Self::Consent => requirements.consent.is_some(),
            Self::Authentication => requirements.authentication.is_some(),
            Self::Certificate => requirements.certificate.is_some(),
        }
    }

    /// The requirement that refuses with this code.
    fn of(code: Code) -> Option<Self> {
        let of_policy = OF_POLICY.iter().find(|(known, _)| *known == code).map(|(_, required)| *required);
        of_policy.or_else(|| (may_pass(code) && !OF_FIELDS.contains(&code)).then_some(Self::SenderConstraint))
    }
}

/// The codes of scopes and requirements. All others that a shadow may let pass, but for those of header fields, are those of the sender
/// constraint.
const OF_POLICY: [(Code, Required); 24] = [
    (Code::ScopeInsufficient, Required::Scopes),
    (Code::ClientRefused, Required::Clients),
    (Code::ParticipantUnknown, Required::Participant),
    (Code::ParticipantInactive, Required::Participant),
    (Code::ParticipantRoleMissing, Required::Participant),
    (Code::DirectoryUnavailable, Required::Participant),
    (Code::SubjectMissing, Required::Subject),
    (Code::SubjectRefused, Required::Subject),
    (Code::TokenLifetimeExceeded, Required::TokenLifetime),
    (Code::ClaimRefused, Required::Claims),
    (Code::AuthorizationDetailsInsufficient, Required::AuthorizationDetails),
    (Code::ConsentMissing, Required::Consent),
    (Code::ConsentMismatch, Required::Consent),
    (Code::ConsentUnknown, Required::Consent),
    (Code::ConsentExpired, Required::Consent),
    (Code::ConsentRevoked, Required::Consent),
    (Code::ConsentRefused, Required::Consent),
    (Code::BodyTypeUnsupported, Required::AuthorizationDetails),
    (Code::BodyUnreadable, Required::AuthorizationDetails),
    (Code::AcrInsufficient, Required::Authentication),
    (Code::AuthenticationTooOld, Required::Authentication),
    (Code::CertificateKindRefused, Required::Certificate),
    (Code::CertificateRoleRefused, Required::Certificate),
    (Code::CertificateOrganisationRefused, Required::Certificate),
];

/// The codes of header fields, which are no requirement on a token.
const OF_FIELDS: [Code; 5] = [
    Code::MediaTypeUnsupported,
    Code::NotAcceptable,
    Code::IdempotencyKeyReused,
    Code::IdempotencyShareExceeded,
    Code::IdempotencyKeysUnavailable,
];

/// The routes on which a call was permitted, and the requirements that refused one.
#[derive(Default)]
pub(super) struct Coverage {
    permitted: BTreeSet<Arc<str>>,
    refused: BTreeSet<(Arc<str>, Required)>,
}

impl Coverage {
    pub(super) fn note(&mut self, found: &Found) {
        let Some(route) = &found.route else { return };
        if found.decision == Decision::Permit {
            self.permitted.insert(route.name.clone());
        }
        let refused = match found.decision {
            Decision::Refuse(code) => Some(code),
            Decision::Permit | Decision::Preflight | Decision::Metadata => found.would_deny,
        };
        if let Some(required) = refused.and_then(Required::of) {
            self.refused.insert((route.name.clone(), required));
        }
    }

    /// Two lines: the routes on which no test is permitted, and the requirements by which none is refused.
    pub(super) fn text<'r>(&self, routes: impl Iterator<Item = &'r Arc<Route>>) -> String {
        let (mut routes_left, mut requirements_left) = (Vec::new(), Vec::new());
        for route in routes {
            if !self.permitted.contains(&route.name) {
                routes_left.push(route.name.to_string());
            }
            let Some(policy) = route.policy() else { continue };
            let left = Required::ALL.into_iter().filter(|required| {
                required.is_of(policy.requirements()) && !self.refused.contains(&(route.name.clone(), *required))
            });
            requirements_left.extend(left.map(|required| format!("{} {}", route.name, required.as_str())));
        }
        let list = |left: Vec<String>| if left.is_empty() { "none".to_owned() } else { left.join(", ") };
        format!(
            "routes on which no test is permitted: {}\nrequirements by which no test is refused: {}\n",
            list(routes_left),
            list(requirements_left)
        )
    }
}
