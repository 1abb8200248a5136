//! What a protected route requires of a token, with a file for each kind of rule.

mod amount;
mod authentication;
mod authorization_details;
mod body;
mod certificate;
mod claim_place;
mod claims;
mod clients;
mod comparison;
mod consent;
mod error;
mod fapi1;
mod fields;
mod participant;
mod request;
mod scopes;
mod subject;
mod token_lifetime;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Method};

pub use authentication::Authentication;
pub(crate) use authorization_details::Remaining;
pub use authorization_details::{DetailNeeds, DetailRule, MemberRule};
pub use certificate::{CertificateNeeds, EcosystemRules};
pub use claim_place::ClaimPlace;
pub use claims::ClaimRule;
pub use clients::Clients;
pub use comparison::Comparison;
pub use consent::{
    ConsentAnswer, ConsentAnswerError, ConsentId, ConsentMembers, ConsentPlace, ConsentQuestion, ConsentRule,
    ConsentState, ConsentUse, DetailPlace, ScopePrefix, StatusSource, Statuses,
};
pub use error::{InvalidPolicy, PolicyError};
pub use fapi1::Fapi1;
pub use fields::FieldRules;
pub use participant::ParticipantRule;
pub use request::{BodyMember, Operand, RequestValues};
pub use scopes::ScopeRule;
use scopes::Scopes;
pub use subject::SubjectRule;
pub use token_lifetime::TokenLifetime;
pub use value::Scalar;

use crate::UnixTime;
use crate::credentials::Scheme;
use crate::directory::Participants;
use crate::ecosystem::Ecosystem;
use crate::idempotency::{IdempotencyError, IdempotencyKey};
use crate::peer::PeerCertificate;
use crate::shadow::Shadow;
use crate::signature::form::Form;
use crate::signature::rules::SignatureRules;
use crate::token::Claims;

/// When a route requires a nonce (RFC 9449 §9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonceMode {
    /// Never: `iat` determines the age of a proof.
    #[default]
    Never,
    /// When `iat` is outside its window, so that a client with a wrong clock can continue.
    WhenStale,
    /// For every proof.
    Always,
}

/// The index of an issuer in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IssuerIndex(pub usize);

/// What a protected route requires of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    scopes: Scopes,
    issuers: Vec<IssuerIndex>,
    schemes: Vec<Scheme>,
    nonce: NonceMode,
    introspection_max_age: Option<Duration>,
    requirements: Requirements,
    fapi1: Option<Fapi1>,
    ecosystem: Option<EcosystemRules>,
    fields: FieldRules,
    shadow: Option<Shadow>,
    signature: Option<Arc<SignatureRules>>,
}

/// What a route requires beside scopes, all of it; by default, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The clients that it is for.
    pub clients: Option<Clients>,
    /// The directory that has to have its client as an active participant.
    pub participant: Option<ParticipantRule>,
    /// For whom the token has to stand.
    pub subject: Option<SubjectRule>,
    /// How long the token may live.
    pub token_lifetime: Option<TokenLifetime>,
    /// Claims that it must have.
    pub claims: Vec<ClaimRule>,
    /// What its `authorization_details` must have: an element for each of these.
    pub authorization_details: Vec<DetailRule>,
    /// The consent that the request uses.
    pub consent: Option<ConsentRule>,
    /// How its user was authenticated.
    pub authentication: Option<Authentication>,
    /// What the client's certificate must have, which is judged before everything else.
    pub certificate: Option<CertificateNeeds>,
}

/// What remains to be found out of a request whose header section satisfies a policy.
#[derive(Debug)]
pub(crate) struct Passed {
    /// What is compared with the body.
    pub(crate) remaining: Remaining,
    /// What has to be known of a consent.
    pub(crate) consent: Option<ConsentQuestion>,
}

impl Requirements {
    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a token with these claims has in place of each requirement, for operators.
    pub fn found(&self, claims: &Claims) -> String {
        let parts = [
            self.clients.as_ref().map(|_| Clients::found(claims)),
            self.participant.as_ref().map(|rule| rule.found(claims)),
            self.subject.map(|_| SubjectRule::found(claims)),
            self.token_lifetime.map(|_| TokenLifetime::found(claims)),
        ];
        let rules = self.claims.iter().map(|rule| rule.found(claims));
        let details = (!self.authorization_details.is_empty()).then(|| authorization_details::found(claims));
        let consent = self.consent.as_ref().map(|consent| consent.found(claims));
        let authentication = self.authentication.as_ref().map(|_| Authentication::found(claims));
        let certificate = self.certificate.iter().flat_map(|needs| needs.found(claims));
        let parts = certificate.map(Some).chain(parts).flatten();
        parts.chain(rules).chain(details).chain(consent).chain(authentication).collect::<Vec<_>>().join(", ")
    }

    /// Whether the body has to be read.
    pub fn compare_body(&self) -> bool {
        authorization_details::compare_body(&self.authorization_details)
    }

    /// What another token would satisfy comes before what another authentication of the user would.
    fn check(
        &self,
        claims: &Claims,
        request: &dyn RequestValues,
        headers: &HeaderMap,
        participants: &dyn Participants,
        now: UnixTime,
    ) -> Result<Passed, PolicyError> {
        if let Some(clients) = &self.clients {
            clients.check(claims)?;
        }
        if let Some(participant) = &self.participant {
            participant.check(claims, participants)?;
        }
        if let Some(subject) = self.subject {
            subject.check(claims)?;
        }
        if let Some(lifetime) = self.token_lifetime {
            lifetime.check(claims)?;
        }
        self.claims.iter().try_for_each(|rule| rule.check(claims, request))?;
        let remaining = authorization_details::check(&self.authorization_details, claims, request)?;
        let consent = self.consent.as_ref().map(|consent| consent.check(claims, request, headers)).transpose()?;
        self.authentication.as_ref().map_or(Ok(()), |authentication| authentication.check(claims, now))?;
        Ok(Passed { remaining, consent })
    }
}

/// Each requirement, for operators, in the order in which they are judged.
impl fmt::Display for Requirements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.certificate.as_ref().map(CertificateNeeds::shown),
            self.clients.as_ref().map(Clients::shown),
            self.participant.as_ref().map(ParticipantRule::shown),
            self.subject.map(|rule| rule.shown().to_owned()),
            self.token_lifetime.map(TokenLifetime::shown),
        ];
        let rules = self.claims.iter().map(ClaimRule::shown);
        let details = self.authorization_details.iter().map(DetailRule::shown);
        let consent = self.consent.as_ref().map(ConsentRule::shown);
        let authentication = self.authentication.as_ref().map(Authentication::shown);
        let parts = parts.into_iter().flatten().chain(rules).chain(details);
        let all: Vec<_> = parts.chain(consent).chain(authentication).collect();
        f.write_str(&all.join(", "))
    }
}

impl Policy {
    /// A policy with at least one scope, one issuer and one scheme.
    ///
    /// # Errors
    /// [`InvalidPolicy`] if one of them is missing: an omission never permits.
    pub fn new(
        scopes: ScopeRule,
        issuers: Vec<IssuerIndex>,
        mut schemes: Vec<Scheme>,
        nonce: NonceMode,
    ) -> Result<Self, InvalidPolicy> {
        let scopes = Scopes::new(scopes)?;
        if issuers.is_empty() {
            return Err(InvalidPolicy::Issuers);
        }
        if schemes.is_empty() {
            return Err(InvalidPolicy::SenderConstraints);
        }
        // BEAR-13: challenges come in the order DPoP, Bearer.
        schemes.sort_unstable_by_key(|scheme| *scheme == Scheme::Bearer);
        schemes.dedup();
        let (introspection_max_age, requirements) = (None, Requirements::default());
        let (fapi1, ecosystem, shadow, signature) = (None, None, None, None);
        Ok(Self {
            scopes,
            issuers,
            schemes,
            nonce,
            introspection_max_age,
            requirements,
            fapi1,
            ecosystem,
            fields: FieldRules::default(),
            shadow,
            signature,
        })
    }

    /// The issuers whose tokens it accepts.
    pub fn issuers(&self) -> &[IssuerIndex] {
        &self.issuers
    }

    /// The authentication schemes that it accepts, in the order of their challenges.
    pub fn schemes(&self) -> &[Scheme] {
        &self.schemes
    }

    /// When it requires a nonce.
    pub const fn nonce(&self) -> NonceMode {
        self.nonce
    }

    /// The policy with a maximum age of introspection responses; zero means that the issuer is asked every time.
    #[must_use]
    pub fn with_introspection_max_age(self, max_age: Duration) -> Self {
        Self { introspection_max_age: Some(max_age), ..self }
    }

    /// The maximum age of introspection responses, if it is shorter than that of the issuer.
    pub const fn introspection_max_age(&self) -> Option<Duration> {
        self.introspection_max_age
    }

    /// The policy with requirements beside the scopes.
    #[must_use]
    pub fn with_requirements(self, requirements: Requirements) -> Self {
        Self { requirements, ..self }
    }

    /// The policy, of which nothing is enforced before the end of a shadow.
    #[must_use]
    pub fn with_shadow(self, shadow: Shadow) -> Self {
        Self { shadow: Some(shadow), ..self }
    }

    /// Until when it is not enforced, if it is in shadow or was.
    pub const fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_ref()
    }

    /// The policy of a route with signatures.
    #[must_use]
    pub fn with_signature(self, signature: SignatureRules) -> Self {
        Self { signature: Some(Arc::new(signature)), ..self }
    }

    /// What it says of signatures.
    pub const fn signature(&self) -> Option<&Arc<SignatureRules>> {
        self.signature.as_ref()
    }

    /// What it requires beside scopes.
    pub const fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// The policy of a route that holds FAPI 1.0.
    #[must_use]
    pub fn with_fapi1(self, fapi1: Fapi1) -> Self {
        Self { fapi1: Some(fapi1), ..self }
    }

    /// The policy of a route in an ecosystem, less what is waived of it.
    #[must_use]
    pub fn with_ecosystem(self, rules: impl Into<EcosystemRules>) -> Self {
        Self { ecosystem: Some(rules.into()), ..self }
    }

    /// The ecosystem that it is in.
    pub fn ecosystem(&self) -> Option<Ecosystem> {
        self.ecosystem.map(|rules| rules.ecosystem)
    }

    /// Whether it asks what a certificate says, unless all of that is waived: what an authority has put into it, and not only whether
    /// it is the one that the token is bound to.
    pub fn reads_certificate(&self) -> bool {
        certificate::is_read(self.requirements.certificate.as_ref(), self.ecosystem)
    }

    /// The policy of a route that says this of header fields.
    #[must_use]
    pub fn with_fields(self, fields: FieldRules) -> Self {
        Self { fields, ..self }
    }

    /// What it says of header fields beside its ecosystem.
    pub const fn fields(&self) -> &FieldRules {
        &self.fields
    }

    /// What FAPI 1.0 says of its requests and responses, if it holds that.
    pub const fn fapi1(&self) -> Option<&Fapi1> {
        self.fapi1.as_ref()
    }

    /// The parameters of a challenge that asks for another authentication, each after a comma (RFC 9470 §3); empty if there is
    /// no such requirement.
    pub fn authentication_challenge(&self) -> &str {
        self.requirements.authentication.as_ref().map_or("", Authentication::challenge)
    }

    /// The scopes as one value of the challenge's `scope` (RFC 6750 §3).
    pub fn scope_text(&self) -> &str {
        self.scopes.text()
    }

    /// The scopes that it names, each of which is required, or one of them.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.names()
    }

    /// The scopes that it requires, for operators: one in quotes, or `all of` or `one of` a list.
    pub fn scopes_shown(&self) -> Box<str> {
        self.scopes.needed()
    }

    /// Checks whether a token with these claims satisfies the policy for this request of `client` at `now`: what FAPI 1.0 says of
    /// `headers`, what the ecosystem says of them, the client's certificate, the token's scopes, and then everything else, but for
    /// what is compared with the body, which `headers` have to declare as JSON, and what has to be known of a consent. `participants`
    /// are those of the directories that are in force.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub(crate) fn check(
        &self,
        claims: &Claims,
        request: &dyn RequestValues,
        headers: &HeaderMap,
        (client, participants): (PeerCertificate<'_>, &dyn Participants),
        now: UnixTime,
    ) -> Result<Passed, PolicyError> {
        if let Some(fapi1) = &self.fapi1 {
            fapi1.check(headers, now)?;
        }
        if let Some(ecosystem) = self.ecosystem() {
            ecosystem.check_headers(headers)?;
            if let Some(versions) = &self.fields.versions {
                ecosystem.check_versions(versions, headers)?;
            }
        }
        certificate::check(self.requirements.certificate.as_ref(), self.ecosystem, client, claims, now)?;
        self.scopes.check(claims)?;
        let passed = self.requirements.check(claims, request, headers, participants, now)?;
        if let Some(media_types) = &self.fields.media_types {
            media_types.check(request.method(), headers)?;
        }
        if !passed.remaining.is_empty() && !self.has_signed_json(headers) {
            body::check_type(headers)?;
        }
        Ok(passed)
    }

    /// The idempotency key of a request, as one of this client of an issuer, where the route has one.
    ///
    /// # Errors
    /// [`IdempotencyError`].
    pub(crate) fn idempotency_key(
        &self,
        (issuer, client_id): (&str, Option<&str>),
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Option<IdempotencyKey>, IdempotencyError> {
        let Some(rule) = &self.fields.idempotency_key else { return Ok(None) };
        rule.key(method, headers, issuer, client_id)
    }

    /// Whether these headers declare a signed JWT, which is JSON, where the route wants that.
    fn has_signed_json(&self, headers: &HeaderMap) -> bool {
        let rules = self.signature.as_ref().and_then(|rules| rules.request.as_ref());
        // RFC 9110 §8.4: who decodes the content reads another text.
        let is_coded = headers.contains_key(CONTENT_ENCODING);
        !is_coded
            && rules.is_some_and(|rules| matches!(rules.form, Form::JwtBody(_)) && rules.form.is_claimed_by(headers))
    }

    /// Checks what remains: whether the token satisfies the policy for a request with this body.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub(crate) fn check_body(&self, claims: &Claims, remaining: &Remaining, body: &[u8]) -> Result<(), PolicyError> {
        let body = body::read(body)?;
        authorization_details::check_body(&self.requirements.authorization_details, claims, remaining, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::printable;

    #[test]
    fn a_policy_is_what_it_was_made_of() {
        let scopes = ScopeRule::All(vec!["accounts".into()]);
        let (issuers, schemes) =
            (vec![IssuerIndex(3), IssuerIndex(1)], vec![Scheme::Bearer, Scheme::Dpop, Scheme::Bearer]);
        let policy = Policy::new(scopes, issuers.clone(), schemes, NonceMode::Always).unwrap();
        assert_eq!((policy.issuers(), policy.nonce()), (&*issuers, NonceMode::Always));
        assert_eq!(policy.schemes(), [Scheme::Dpop, Scheme::Bearer]);
        assert_eq!((policy.scope_text(), policy.introspection_max_age()), ("accounts", None));
        let max_age = Duration::from_secs(5);
        assert_eq!(policy.with_introspection_max_age(max_age).introspection_max_age(), Some(max_age));
    }

    #[test]
    fn a_policy_without_scopes_or_issuers_does_not_exist() {
        let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Vec<Box<str>>>();
        assert!(
            Policy::new(
                ScopeRule::All(names(&["accounts"])),
                vec![IssuerIndex(0)],
                vec![Scheme::Bearer],
                NonceMode::Never
            )
            .is_ok()
        ); // control
        assert_eq!(
            Policy::new(ScopeRule::All(vec![]), vec![IssuerIndex(0)], vec![Scheme::Bearer], NonceMode::Never)
                .unwrap_err(),
            InvalidPolicy::Scopes
        );
        assert_eq!(
            Policy::new(ScopeRule::Any(vec![]), vec![IssuerIndex(0)], vec![Scheme::Bearer], NonceMode::Never)
                .unwrap_err(),
            InvalidPolicy::Scopes
        );
        assert_eq!(
            Policy::new(ScopeRule::All(names(&["accounts"])), vec![], vec![Scheme::Bearer], NonceMode::Never)
                .unwrap_err(),
            InvalidPolicy::Issuers
        );
        for scope in ["", "a b", "a\"", "a\\", "é"] {
            let policy = Policy::new(
                ScopeRule::All(names(&[scope])),
                vec![IssuerIndex(0)],
                vec![Scheme::Bearer],
                NonceMode::Never,
            );
            assert_eq!(policy.unwrap_err(), InvalidPolicy::ScopeSyntax { scope: printable(scope) }, "{scope:?}");
        }
    }
}
