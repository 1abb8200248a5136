//! Requirements that are judged and not enforced yet: a route in shadow notes what it would refuse, and lets it pass.
//!
//! Only what a route itself requires of a token can be left to a [`Shadow`]: its sender constraint, its scopes and its
//! requirements. [`may_pass`] has the list of codes for the first of them; a policy is about nothing else. A token that is
//! missing, forged, expired, revoked or for another resource is refused as ever, and so is a message with two readings.
//!
//! In front of an authorization server, which judges for itself what reaches it, all that the profile adds can be left to a shadow:
//! [`may_pass_at_server`] has that list.
//!
//! Nothing that a request has leads here. An [`InShadow`] is made of the configuration and the time alone:
//!
//! ```compile_fail
//! let pass = fapi::shadow::InShadow(()); // the field is private
//! ```

use std::fmt;

use crate::UnixTime;
use crate::code::Code;
use crate::token::Claims;

/// Until when a route or an authorization server notes what would be refused, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    end: UnixTime,
    clients: Vec<Box<str>>,
}

impl Shadow {
    /// For every client, before this time.
    pub const fn until(end: UnixTime) -> Self {
        Self { end, clients: Vec::new() }
    }

    /// For these clients alone, by their `client_id`; for every client, if there are none.
    #[must_use]
    pub fn of_clients(self, clients: Vec<Box<str>>) -> Self {
        Self { clients, ..self }
    }

    /// The first second that is not in shadow.
    pub const fn end(&self) -> UnixTime {
        self.end
    }

    /// The clients that it is for; empty for all.
    pub fn clients(&self) -> &[Box<str>] {
        &self.clients
    }

    /// Whether it has not ended, whoever asks.
    pub(crate) fn at(&self, now: UnixTime) -> Option<InShadow> {
        (now < self.end).then_some(InShadow(()))
    }

    /// Whether it is for a client that calls itself so; for one that says nothing, only if it is for all.
    pub fn is_for_client(&self, client: Option<&str>) -> bool {
        self.clients.is_empty() || client.is_some_and(|client| self.clients.iter().any(|known| **known == *client))
    }

    /// Whether it is for the client of these claims, which are those of an authentic token.
    pub(crate) fn is_for(&self, claims: &Claims) -> bool {
        self.clients.is_empty() || self.is_for_client(claims.text("client_id"))
    }
}

/// That the route of a request, or the authorization server behind it, is in shadow now.
#[derive(Clone, Copy, Debug)]
pub struct InShadow(());

/// A refusal that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldDeny {
    code: Code,
    detail: Box<str>,
}

impl WouldDeny {
    /// What is noted in place of a refusal for this reason; `None` if nobody may pass with it.
    pub(crate) fn instead_of(code: Code, why: &dyn fmt::Display, _: InShadow) -> Option<Self> {
        may_pass(code).then(|| Self { code, detail: why.to_string().into() })
    }

    /// The same at an endpoint of an authorization server, or in place of its answer.
    pub(crate) fn at_server(code: Code, why: &dyn fmt::Display, _: InShadow) -> Option<Self> {
        may_pass_at_server(code).then(|| Self { code, detail: why.to_string().into() })
    }

    /// What is noted in place of a refusal by the policy of the route, which is about nothing else.
    pub(crate) fn by_policy(code: Code, why: &dyn fmt::Display, _: InShadow) -> Self {
        Self { code, detail: why.to_string().into() }
    }

    /// A body that was not read, and so not compared with the token.
    pub(crate) fn body_unread(_: InShadow) -> Self {
        let detail = "the body is too long to be compared with the token, or does not say how long it is";
        Self { code: Code::BodyTooLarge, detail: detail.into() }
    }

    /// The code of the refusal.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The reason, for operators: what the audit of the refusal would have as `detail`.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// The codes that a [`WouldDeny`] may have: those that [`may_pass`] or [`may_pass_at_server`], that of a body that was not read, that of
/// `authorization_details` that are malformed where the policy asks for them, and those of an idempotency key that is missing or
/// malformed where the route asks for it.
pub fn noted_codes() -> impl Iterator<Item = Code> {
    let by_policy = [Code::BodyTooLarge, Code::TokenClaimMalformed, Code::HeaderMissing, Code::HeaderInvalid];
    let all = Code::ALL.iter().copied();
    all.filter(move |code| may_pass(*code) || may_pass_at_server(*code) || by_policy.contains(code))
}

/// Whether a request to an authorization server passes in shadow that would be refused with this code, and its answer that would
/// be withheld: whatever is said of them is left to the server, and nothing is that the message or the gateway is at fault for.
pub const fn may_pass_at_server(code: Code) -> bool {
    matches!(
        code,
        Code::ParameterRepeated
            | Code::ParameterMalformed
            | Code::ParameterRefused
            | Code::ParRequired
            | Code::ParUnauthenticated
            | Code::ClientUnknown
            | Code::ClientAuthenticationRefused
            | Code::ClientAuthenticationRepeated
            | Code::ClientAssertionAudience
            | Code::ClientAssertionStale
            | Code::ClientAssertionReplayed
            | Code::ResponseTypeRefused
            | Code::ResponseModeRefused
            | Code::PkceMissing
            | Code::PkcePlain
            | Code::RedirectUriRefused
            | Code::RequestUriRefused
            | Code::RequestUriUnknown
            | Code::RequestObjectRequired
            | Code::RequestObjectInvalid
            | Code::JktMismatch
            | Code::SenderConstraintMissing
            | Code::GrantTypeRefused
            | Code::RegistrationRefused
            | Code::RegistrationRedirectRefused
            | Code::SoftwareStatementRefused
            | Code::AnswerUnbound
            | Code::AnswerTooLongLived
            | Code::AnswerMalformed
            | Code::MetadataMismatch
            // Nobody knows whether these would have been refused.
            | Code::KeysUnavailable
            | Code::PushedRequestsUnavailable
            | Code::IntrospectionUnavailable
            | Code::IntrospectionShareExceeded
            | Code::ReplayLogUnavailable
            | Code::ReplayShareExceeded
            | Code::DpopMissing
            | Code::DpopRepeated
            | Code::DpopMalformed
            | Code::DpopTypeWrong
            | Code::DpopAlgorithmRefused
            | Code::DpopKeyPrivate
            | Code::DpopKeyRefused
            | Code::DpopSignatureInvalid
            | Code::DpopClaimMissing
            | Code::DpopClaimMalformed
            | Code::DpopMethodMismatch
            | Code::DpopUriMismatch
            | Code::DpopStale
            | Code::DpopReplayed
    )
}

/// Whether a request that is refused with this code passes on a route in shadow, whichever step refuses it: the whole list.
pub const fn may_pass(code: Code) -> bool {
    match code {
        // The sender constraint: nothing shows that the client is the one that the token was issued to.
        Code::SchemeUnsupported
        | Code::TokenUnbound
        | Code::ConfirmationEmpty
        | Code::ConfirmationSha1
        | Code::ConfirmationHex
        | Code::ConfirmationPadded
        | Code::ConfirmationStandardBase64
        | Code::ConfirmationMalformed
        | Code::ConfirmationUnsupported
        | Code::CertificateMissing
        | Code::CertificateExpired
        | Code::CertificateMismatch
        | Code::DpopTokenAsBearer
        | Code::DpopTokenUnbound
        | Code::DpopMissing
        | Code::DpopRepeated
        | Code::DpopMalformed
        | Code::DpopTypeWrong
        | Code::DpopAlgorithmRefused
        | Code::DpopKeyPrivate
        | Code::DpopKeyRefused
        | Code::DpopSignatureInvalid
        | Code::DpopClaimMissing
        | Code::DpopClaimMalformed
        | Code::DpopMethodMismatch
        | Code::DpopUriMismatch
        | Code::DpopNonceRequired
        | Code::DpopStale
        | Code::DpopAthMismatch
        | Code::DpopKeyMismatch
        | Code::DpopReplayed
        | Code::ReplayShareExceeded
        | Code::ReplayLogUnavailable => true,
        // What stands under `idempotency_key` and `media_types`.
        Code::IdempotencyKeyReused
        | Code::IdempotencyShareExceeded
        | Code::IdempotencyKeysUnavailable
        | Code::MediaTypeUnsupported
        | Code::NotAcceptable => true,
        // What stands under `signature`.
        Code::SignatureMissing
        | Code::SignatureMalformed
        | Code::SignatureComponentMissing
        | Code::SignatureKeyUnknown
        | Code::SignatureAlgorithmRefused
        | Code::SignatureStale
        | Code::SignatureInvalid
        | Code::SignatureClaimMissing
        | Code::SignatureClaimRefused
        | Code::SignatureCertificateRefused
        | Code::SignatureReplayed
        | Code::ContentNotDecrypted
        | Code::RevocationStatusUnknown
        | Code::DigestMissing
        | Code::DigestMismatch => true,
        // What is required of certificates, the scopes, and what stands under `require`.
        Code::CertificateKindRefused
        | Code::CertificateRoleRefused
        | Code::CertificateOrganisationRefused
        | Code::ScopeInsufficient
        | Code::ClientRefused
        | Code::ParticipantUnknown
        | Code::ParticipantInactive
        | Code::ParticipantRoleMissing
        | Code::DirectoryUnavailable
        | Code::SubjectMissing
        | Code::SubjectRefused
        | Code::TokenLifetimeExceeded
        | Code::ClaimRefused
        | Code::AuthorizationDetailsInsufficient
        | Code::ConsentMissing
        | Code::ConsentMismatch
        | Code::ConsentUnknown
        | Code::ConsentExpired
        | Code::ConsentRevoked
        | Code::ConsentRefused
        | Code::ConsentUnavailable
        | Code::ConsentShareExceeded
        | Code::BodyTypeUnsupported
        | Code::BodyUnreadable
        | Code::AcrInsufficient
        | Code::AuthenticationTooOld => true,
        // The message, the connection, the target and the credentials.
        Code::FramingAmbiguous
        | Code::HeaderMalformed
        | Code::HeaderTooLarge
        | Code::TargetTooLong
        | Code::BodyTooLarge
        | Code::HeaderTimeout
        | Code::BodyTimeout
        | Code::BodyMalformed
        | Code::ClientGone
        | Code::ClientStalled
        | Code::ExchangeTimeout
        | Code::HostMissing
        | Code::HostMalformed
        | Code::HostUnknown
        | Code::ConnectionOutdated
        | Code::MethodRefused
        | Code::ForwardedCertificateRepeated
        | Code::ForwardedCertificateMalformed
        | Code::PathAmbiguous
        | Code::RouteNotFound
        | Code::MethodNotAllowed
        | Code::CredentialsMissing
        | Code::CredentialsInQuery
        | Code::CredentialsRepeated
        | Code::CredentialsMalformed
        | Code::AuthDateMalformed
        | Code::HeaderMissing
        | Code::HeaderInvalid
        | Code::VersionInvalid
        | Code::VersionUnsupported
        | Code::CustomerIpAddressMalformed
        | Code::RateLimited => false,
        // What goes to an authorization server, and what comes from it.
        Code::ParameterRepeated
        | Code::ParameterMalformed
        | Code::ParameterRefused
        | Code::ParRequired
        | Code::ParUnauthenticated
        | Code::ClientUnknown
        | Code::ClientAuthenticationRefused
        | Code::ClientAuthenticationRepeated
        | Code::ClientAssertionAudience
        | Code::ClientAssertionStale
        | Code::ClientAssertionReplayed
        | Code::ResponseTypeRefused
        | Code::ResponseModeRefused
        | Code::PkceMissing
        | Code::PkcePlain
        | Code::RedirectUriRefused
        | Code::RequestUriRefused
        | Code::RequestUriUnknown
        | Code::RequestObjectRequired
        | Code::RequestObjectInvalid
        | Code::JktMismatch
        | Code::SenderConstraintMissing
        | Code::GrantTypeRefused
        | Code::RegistrationRefused
        | Code::RegistrationRedirectRefused
        | Code::SoftwareStatementRefused
        | Code::PushedRequestsUnavailable
        | Code::AnswerUnbound
        | Code::AnswerTooLongLived
        | Code::AnswerMalformed
        | Code::MetadataMismatch => false,
        // The token itself.
        Code::TokenTooLarge
        | Code::TokenMalformed
        | Code::TokenEncrypted
        | Code::TokenCriticalHeader
        | Code::TokenKeySupplied
        | Code::TokenAlgorithmRefused
        | Code::TokenTypeWrong
        | Code::TokenIssuerUnknown
        | Code::TokenKeyUnknown
        | Code::TokenKeyWeak
        | Code::TokenSignatureInvalid
        | Code::TokenClaimMissing
        | Code::TokenClaimMalformed
        | Code::TokenAudienceMismatch
        | Code::TokenExpired
        | Code::TokenNotYetValid
        | Code::TokenIssuedInFuture
        | Code::TokenInactive
        | Code::TokenRevoked => false,
        // The gateway, the issuer and the upstream.
        Code::KeysUnavailable
        | Code::IntrospectionUnavailable
        | Code::RevocationsStale
        | Code::IntrospectionShareExceeded
        | Code::ShareExceeded
        | Code::UpstreamShareExceeded
        | Code::Overloaded
        | Code::UpstreamOverloaded
        | Code::AuditUnavailable
        | Code::GatewayStopped
        | Code::UpstreamUnreachable
        | Code::UpstreamTimeout
        | Code::UpstreamInvalid
        | Code::ResponseNotSigned
        | Code::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::introspected;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    #[test]
    fn nobody_passes_without_a_good_token_in_a_message_with_one_reading() {
        let passing: Vec<&str> = Code::ALL.iter().filter(|code| may_pass(**code)).map(|code| code.as_str()).collect();
        let beside_proofs = [
            "scheme_unsupported",
            "token_unbound",
            "confirmation_empty",
            "confirmation_sha1",
            "confirmation_hex",
            "confirmation_padded",
            "confirmation_standard_base64",
            "confirmation_malformed",
            "confirmation_unsupported",
            "certificate_missing",
            "certificate_expired",
            "certificate_mismatch",
            "certificate_kind_refused",
            "certificate_role_refused",
            "certificate_organisation_refused",
            "scope_insufficient",
            "client_refused",
            "participant_unknown",
            "participant_inactive",
            "participant_role_missing",
            "directory_unavailable",
            "subject_missing",
            "subject_refused",
            "token_lifetime_exceeded",
            "claim_refused",
            "authorization_details_insufficient",
            "body_type_unsupported",
            "body_unreadable",
            "acr_insufficient",
            "authentication_too_old",
            "content_not_decrypted",
            "digest_missing",
            "digest_mismatch",
            "revocation_status_unknown",
            "replay_share_exceeded",
            "replay_log_unavailable",
            "media_type_unsupported",
            "not_acceptable",
        ];
        for code in Code::ALL.iter().map(|code| code.as_str()) {
            let kinds = ["dpop_", "signature_", "idempotency_", "consent_"];
            let expected = kinds.iter().any(|kind| code.starts_with(kind)) || beside_proofs.contains(&code);
            assert_eq!(passing.contains(&code), expected, "{code}");
        }
    }

    #[test]
    fn at_an_authorization_server_all_passes_that_is_left_to_it() {
        let own = |code: &str| {
            [
                "parameter_",
                "par_",
                "client_assertion_",
                "client_authentication_",
                "request_object_",
                "request_uri_",
                "pkce_",
            ]
            .iter()
            .chain(&["registration_", "answer_", "response_type", "response_mode", "pushed_", "replay_"])
            .any(|prefix| code.starts_with(prefix))
        };
        let others = [
            "client_unknown",
            "redirect_uri_refused",
            "jkt_mismatch",
            "sender_constraint_missing",
            "grant_type_refused",
            "software_statement_refused",
            "metadata_mismatch",
            "keys_unavailable",
            "introspection_unavailable",
            "introspection_share_exceeded",
        ];
        // What is about an access token.
        let of_tokens = [
            "dpop_token_as_bearer",
            "dpop_token_unbound",
            "dpop_nonce_required",
            "dpop_ath_mismatch",
            "dpop_key_mismatch",
        ];
        for code in Code::ALL {
            let name = code.as_str();
            let of_proofs = name.starts_with("dpop_") && !of_tokens.contains(&name);
            assert_eq!(may_pass_at_server(*code), own(name) || others.contains(&name) || of_proofs, "{name}");
        }
    }

    #[test]
    fn a_shadow_ends() {
        let shadow = Shadow::until(NOW);
        assert!(shadow.at(UnixTime(NOW.0 - 1)).is_some()); // control
        for ended in [NOW, NOW.plus(1), UnixTime(u64::MAX)] {
            assert!(shadow.at(ended).is_none(), "{ended}");
        }
    }

    #[test]
    fn a_shadow_for_some_clients_is_for_no_other() {
        let token = |client: &serde_json::Value| {
            introspected(&json!({ "active": true, "token_type": "Bearer", "client_id": client }), NOW)
        };
        let is_for = |shadow: &Shadow, client: serde_json::Value| shadow.is_for(token(&client).claims_at(NOW).unwrap());
        let all = Shadow::until(NOW);
        let one = all.clone().of_clients(vec!["tpp-1".into()]);
        assert!(is_for(&all, json!("tpp-2")) && is_for(&one, json!("tpp-1"))); // control
        for other in ["tpp-2", "tpp-11", "TPP-1"] {
            assert!(!is_for(&one, json!(other)), "{other}");
        }
        let nobody = introspected(&json!({ "active": true, "token_type": "Bearer" }), NOW);
        assert!(!one.is_for(nobody.claims_at(NOW).unwrap()));
    }

    #[test]
    fn what_may_not_pass_is_not_noted_either() {
        let shadow = Shadow::until(NOW.plus(1)).at(NOW).unwrap();
        let noted =
            |code| WouldDeny::instead_of(code, &"why", shadow).map(|would| (would.code(), would.detail().to_owned()));
        assert_eq!(noted(Code::ScopeInsufficient), Some((Code::ScopeInsufficient, "why".to_owned()))); // control
        assert_eq!(noted(Code::TokenExpired), None);
    }
}
