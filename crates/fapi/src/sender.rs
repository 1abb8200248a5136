//! Proof that the sender of a token is the client it was issued to (RFC 8705 §3, RFC 9449 §7.1, RFC 7800 §3.1).
//!
//! What no token could make good is refused before anyone is asked about the token ([`SenderEvidence`]). Then the
//! token's `cnf` decides what must be proven, never the request ([`BoundToken`]). An unbound token cannot be
//! represented, so no configuration can accept one (FAPI 2.0 §5.3.4 (5)). On a route in [shadow](crate::shadow), what is
//! not proven is an [`UnprovenToken`], which is bound to nothing.

use std::sync::Arc;

use crate::UnixTime;
use crate::code::Code;
use crate::credentials::{Credentials, CredentialsError, PresentedToken, Proofs, Scheme};
use crate::dpop::{DpopError, ProofContext, SignedProof, VerifiedProof};
use crate::jose::thumbprint::{CertificateThumbprint, KeyThumbprint};
use crate::peer::{NoCertificate, Peer};
use crate::shadow::{InShadow, WouldDeny};
use crate::token::{ActiveToken, Claims, Confirmation, ConfirmationError, TokenError};

/// Why it is not proven that the client sent its own token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    /// The token is bound to nothing that can be proven.
    #[error(transparent)]
    Confirmation(#[from] ConfirmationError),
    /// The token is not valid at this time.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The credentials are at fault.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A token that is bound to a key, sent as a bearer token.
    #[error("token is bound to key {expected} and came with scheme Bearer")]
    KeyBoundAsBearer {
        /// The token's thumbprint.
        expected: KeyThumbprint,
    },
    /// A token that is bound to no key, sent with scheme DPoP.
    #[error("token is bound to no key and came with scheme DPoP")]
    NoKeyBound,
    /// The proof is refused.
    #[error(transparent)]
    Proof(#[from] DpopError),
    /// The proof was made with another key.
    #[error("token is bound to key {expected}, the proof is by {found}")]
    KeyMismatch {
        /// The token's thumbprint.
        expected: KeyThumbprint,
        /// The thumbprint of the proof's key.
        found: KeyThumbprint,
    },
    /// The client has no certificate, and nothing else is accepted.
    #[error("only a token that is bound to a certificate is accepted here, {reason}")]
    NoCertificate {
        /// Why there is none.
        reason: NoCertificate,
    },
    /// The client has no certificate.
    #[error("token is bound to certificate {expected}, {reason}")]
    CertificateMissing {
        /// The token's thumbprint.
        expected: CertificateThumbprint,
        /// Why there is none.
        reason: NoCertificate,
    },
    /// The client has another certificate.
    #[error("token is bound to certificate {expected}, the client has {found}")]
    CertificateMismatch {
        /// The token's thumbprint.
        expected: CertificateThumbprint,
        /// The thumbprint of the client's certificate.
        found: CertificateThumbprint,
    },
    /// The right certificate, which has expired or is not valid yet.
    #[error("the certificate is not valid at {now}, its validity ends at {not_after}")]
    CertificateExpired {
        /// The time of the request.
        now: UnixTime,
        /// `notAfter`.
        not_after: UnixTime,
    },
}

impl SenderError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Confirmation(error) => error.code(),
            Self::Token(error) => error.code(),
            Self::Credentials(error) => error.code(),
            Self::KeyBoundAsBearer { .. } => Code::DpopTokenAsBearer,
            Self::NoKeyBound => Code::DpopTokenUnbound,
            Self::Proof(error) => error.code(),
            Self::KeyMismatch { .. } => Code::DpopKeyMismatch,
            Self::NoCertificate { .. } | Self::CertificateMissing { .. } => Code::CertificateMissing,
            Self::CertificateMismatch { .. } => Code::CertificateMismatch,
            Self::CertificateExpired { .. } => Code::CertificateExpired,
        }
    }
}

/// What a client sends to prove that a token is its own, judged as far as that needs no knowledge of the token.
///
/// A request that fails here would fail with any token, so the issuer need not be asked about this one: strangers cost
/// it nothing.
pub struct SenderEvidence<'a> {
    credentials: Credentials<'a>,
    peer: &'a Peer,
    context: ProofContext<'a>,
    /// Present exactly if the scheme is DPoP and nothing is at fault.
    proof: Option<SignedProof>,
    /// What is wrong, on a route in shadow.
    fault: Option<SenderError>,
}

impl<'a> SenderEvidence<'a> {
    /// Checks what depends on the request alone, where these schemes are accepted:
    ///
    /// | scheme | must hold |
    /// | --- | --- |
    /// | Bearer, and DPoP is not accepted | the client has a certificate |
    /// | Bearer, and DPoP is accepted | nothing: that the token is bound to a key is the better reason to refuse |
    /// | DPoP | there is one proof, by the key in its header, for this request and token ([`SignedProof::verify`]) |
    ///
    /// Does not check whose certificate or key it is, or how old the proof is ([`BoundToken::prove`]).
    ///
    /// # Errors
    /// [`SenderError::NoCertificate`], [`SenderError::Proof`].
    pub fn collect(
        credentials: Credentials<'a>,
        peer: &'a Peer,
        context: ProofContext<'a>,
        accepted: &[Scheme],
    ) -> Result<Self, SenderError> {
        let proof = match (credentials.scheme(), peer) {
            (Scheme::Dpop, _) => Some(SignedProof::verify(credentials.proofs(), credentials.token(), &context)?),
            (Scheme::Bearer, Peer::Anonymous(reason)) if !accepted.contains(&Scheme::Dpop) => {
                return Err(SenderError::NoCertificate { reason: *reason });
            }
            (Scheme::Bearer, _) => None,
        };
        Ok(Self { credentials, peer, context, proof, fault: None })
    }

    /// The same on a route that is in shadow and would accept these schemes: what is wrong is refused, or noted, once the token
    /// is known.
    pub fn collect_in_shadow(
        credentials: Credentials<'a>,
        peer: &'a Peer,
        context: ProofContext<'a>,
        accepted: &[Scheme],
        _: InShadow,
    ) -> Self {
        let collected = match accepted.contains(&credentials.scheme()) {
            true => Self::collect(credentials, peer, context, accepted),
            false => Err(CredentialsError::SchemeUnsupported.into()),
        };
        collected.unwrap_or_else(|fault| Self { credentials, peer, context, proof: None, fault: Some(fault) })
    }

    /// The key that signed the proof, if there is a proof; the token may be bound to another.
    pub fn proof_key(&self) -> Option<&KeyThumbprint> {
        self.proof.as_ref().map(SignedProof::key)
    }

    /// The token that the evidence came with.
    pub const fn token(&self) -> PresentedToken<'a> {
        self.credentials.token()
    }
}

/// An active token, and the proof that the sender of the request is the client it was issued to.
#[derive(Clone, Debug)]
pub struct BoundToken {
    token: Arc<ActiveToken>,
    claims: Arc<Claims>,
    confirmation: Confirmation,
    proof: Option<VerifiedProof>,
}

impl BoundToken {
    /// Proves the binding, for this request and at this time (RFC 8705 §3, RFC 9449 §7.1, §7.2).
    ///
    /// | `cnf` | scheme | must hold |
    /// | --- | --- | --- |
    /// | `x5t#S256` | Bearer | the client's certificate has the thumbprint |
    /// | `jkt` | DPoP | the proof is valid, and its key has the thumbprint |
    /// | both | DPoP | both |
    ///
    /// Does not check: replay of the proof ([`Authorized::redeem`](crate::permit::Authorized::redeem)), scopes
    /// ([`Guard::authorize`](crate::permit::Guard::authorize)), and whether the certificate's chain leads to a trust
    /// anchor (the listener's `trust`).
    ///
    /// # Errors
    /// [`SenderError`]; every other combination is refused.
    pub fn prove(token: Arc<ActiveToken>, evidence: SenderEvidence<'_>) -> Result<Self, SenderError> {
        let SenderEvidence { credentials, peer, context, proof, fault } = evidence;
        let claims = token.claims_at(context.now)?.clone();
        if let Some(fault) = fault {
            return Err(fault);
        }
        let confirmation = *token.confirmation()?;
        // RFC 9449 §7.2: a protected resource "MUST reject a DPoP-bound access token received as a bearer token".
        let proof = match (proof, confirmation.key()) {
            (None, Some(key)) => return Err(SenderError::KeyBoundAsBearer { expected: *key }),
            (Some(_), None) => return Err(SenderError::NoKeyBound),
            (None, None) => match credentials.proofs() {
                Proofs::None => None,
                Proofs::One(_) | Proofs::Several => return Err(CredentialsError::ProofWithBearer.into()),
            },
            (Some(proof), Some(key)) => Some((proof, key)),
        };
        if let Some(certificate) = confirmation.certificate() {
            check_certificate(certificate, peer, context.now)?;
        }
        let proof = match proof {
            None => None,
            Some((proof, expected)) => {
                // RFC 9449 §4.3 (12): "… confirm that the public key to which the access token is bound matches the
                // public key from the DPoP proof."
                if proof.key() != expected {
                    return Err(SenderError::KeyMismatch { expected: *expected, found: *proof.key() });
                }
                proof.remember_key(context.keys);
                Some(proof.check_freshness(&context)?)
            }
        };
        Ok(Self { token, claims, confirmation, proof })
    }

    /// The proof, if the token is bound to a key.
    pub const fn proof(&self) -> Option<&VerifiedProof> {
        self.proof.as_ref()
    }

    /// The token.
    pub const fn token(&self) -> &Arc<ActiveToken> {
        &self.token
    }

    /// The claims of the token, which was valid when the binding was proven.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What the token is bound to.
    pub const fn confirmation(&self) -> &Confirmation {
        &self.confirmation
    }
}

/// A token that is valid, on a route in shadow, and whose sender is not proven to be the client that it was issued to.
#[derive(Clone, Debug)]
pub struct UnprovenToken {
    token: Arc<ActiveToken>,
    claims: Arc<Claims>,
}

/// The token of a request that is permitted.
#[derive(Clone, Debug)]
pub enum AcceptedToken {
    /// Its sender is proven.
    Bound(BoundToken),
    /// Its sender is not proven, and the route is in shadow.
    Unproven(UnprovenToken),
}

impl AcceptedToken {
    /// Proves the binding, or notes why it is not proven.
    ///
    /// # Errors
    /// [`SenderError`], of those for which nobody passes in shadow either.
    pub(crate) fn in_shadow(
        token: Arc<ActiveToken>,
        evidence: SenderEvidence<'_>,
        shadow: InShadow,
    ) -> Result<(Self, Option<WouldDeny>), SenderError> {
        let claims = token.claims_at(evidence.context.now)?.clone();
        match BoundToken::prove(token.clone(), evidence) {
            Ok(bound) => Ok((Self::Bound(bound), None)),
            Err(error) => match WouldDeny::instead_of(error.code(), &error, shadow) {
                Some(noted) => Ok((Self::Unproven(UnprovenToken { token, claims }), Some(noted))),
                None => Err(error),
            },
        }
    }

    /// The same token without what was proven, for one whose proof cannot be redeemed.
    pub(crate) fn unproven(self, _: InShadow) -> Self {
        match self {
            Self::Bound(BoundToken { token, claims, .. }) => Self::Unproven(UnprovenToken { token, claims }),
            Self::Unproven(_) => self,
        }
    }

    /// The token.
    pub const fn token(&self) -> &Arc<ActiveToken> {
        match self {
            Self::Bound(bound) => &bound.token,
            Self::Unproven(unproven) => &unproven.token,
        }
    }

    /// The claims of the token, which was valid when it was judged.
    pub fn claims(&self) -> &Claims {
        match self {
            Self::Bound(bound) => &bound.claims,
            Self::Unproven(unproven) => &unproven.claims,
        }
    }

    /// The client that it was issued to, if it says so.
    pub fn client_id(&self) -> Option<&str> {
        self.claims().text("client_id")
    }

    /// The token with its sender, if that is proven.
    pub const fn bound(&self) -> Option<&BoundToken> {
        match self {
            Self::Bound(bound) => Some(bound),
            Self::Unproven(_) => None,
        }
    }

    /// What the token is bound to, if that is proven.
    pub const fn confirmation(&self) -> Option<&Confirmation> {
        match self {
            Self::Bound(bound) => Some(&bound.confirmation),
            Self::Unproven(_) => None,
        }
    }

    /// The proof, if there is one that proves something.
    pub const fn proof(&self) -> Option<&VerifiedProof> {
        match self {
            Self::Bound(bound) => bound.proof.as_ref(),
            Self::Unproven(_) => None,
        }
    }
}

/// RFC 8705 §3: "the protected resource MUST obtain … the client certificate used for mutual TLS and MUST verify that
/// the certificate matches the certificate associated with the access token."
fn check_certificate(expected: &CertificateThumbprint, peer: &Peer, now: UnixTime) -> Result<(), SenderError> {
    let expected = *expected;
    let certificate = match peer {
        Peer::Anonymous(reason) => return Err(SenderError::CertificateMissing { expected, reason: *reason }),
        Peer::Certificate(certificate) | Peer::Forwarded(certificate) => certificate,
    };
    if *certificate.thumbprint() != expected {
        return Err(SenderError::CertificateMismatch { expected, found: *certificate.thumbprint() });
    }
    if !certificate.valid_at(now) {
        return Err(SenderError::CertificateExpired { now, not_after: certificate.not_after() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderMap, HeaderValue, Request, header};
    use serde_json::{Value, json};

    use super::*;
    use crate::client::proof::{self, ProofKey};
    use crate::code::Code;
    use crate::dpop::NoProofKeys;
    use crate::jose::keys::Algorithm;
    use crate::jose::signing::PrivateKey;
    use crate::peer::ClientCertificate;
    use crate::policy::NonceMode;
    use crate::route::{Origin, Target};
    use crate::testing::{certificate, freshness, introspected};

    const NOW: UnixTime = UnixTime(1_800_000_000);

    /// A key for proofs, and its thumbprint.
    fn proof_key() -> (ProofKey, KeyThumbprint) {
        let key = PrivateKey::generate(Algorithm::EdDsa).unwrap();
        let thumbprint = KeyThumbprint::of_jwk(&key.public_jwk().unwrap()).unwrap();
        (ProofKey::new(key).unwrap(), thumbprint)
    }

    fn peer(certificate: &ClientCertificate) -> Peer {
        Peer::Certificate(Arc::new(certificate.clone()))
    }

    /// Collects the evidence of a request with this scheme, a proof by this key and this peer, and hands it on.
    fn evidence<T>(
        scheme: Scheme,
        key: Option<&ProofKey>,
        peer: &Peer,
        accepted: &[Scheme],
        judge: impl FnOnce(SenderEvidence<'_>) -> Result<T, SenderError>,
    ) -> Result<T, SenderError> {
        let mut headers = HeaderMap::new();
        let authorization = format!("{} token", scheme.as_str());
        headers.insert(header::AUTHORIZATION, HeaderValue::try_from(authorization).unwrap());
        if let Some(key) = key {
            let url = "https://api.example/a";
            let request = proof::Request { method: "GET", url, access_token: Some("token"), nonce: None };
            headers.insert("dpop", HeaderValue::try_from(key.prove(&request, "one", NOW).unwrap()).unwrap());
        }
        let credentials = Credentials::from_request(&headers, None, accepted).unwrap();
        let (request, ()) = Request::get("/a").body(()).unwrap().into_parts();
        let context = ProofContext {
            target: &Target::parse(&request, &Arc::new(Origin::parse("https://api.example").unwrap())).unwrap(),
            nonce: NonceMode::Never,
            freshness: &freshness(),
            keys: &NoProofKeys,
            replay_log_began: &|| UnixTime(0),
            now: NOW,
        };
        judge(SenderEvidence::collect(credentials, peer, context, accepted)?)
    }

    /// An active token with this `cnf`.
    fn token(cnf: &Value) -> Arc<ActiveToken> {
        let kind = if cnf.get("jkt").is_some() { "DPoP" } else { "Bearer" };
        Arc::new(introspected(&json!({ "active": true, "token_type": kind, "cnf": cnf }), NOW))
    }

    #[test]
    fn a_bearer_without_a_certificate_is_refused_early_where_no_key_could_save_it() {
        let nobody = Peer::Anonymous(NoCertificate::NotPresented);
        let code = |peer: &Peer, accepted: &[Scheme]| {
            evidence(Scheme::Bearer, None, peer, accepted, |_| Ok(())).err().map(|error| error.code())
        };
        assert_eq!(code(&peer(&certificate()), &[Scheme::Bearer]), None); // control
        assert_eq!(code(&nobody, &[Scheme::Bearer]), Some(Code::CertificateMissing));
        assert_eq!(code(&nobody, &[Scheme::Dpop, Scheme::Bearer]), None);
    }

    #[test]
    fn dpop_21_the_key_of_the_proof_is_known_before_the_token_is() {
        let nobody = Peer::Anonymous(NoCertificate::NotRequested);
        let ((one, first), (other, second)) = (proof_key(), proof_key());
        let found = |scheme: Scheme, key: Option<&ProofKey>| {
            evidence(scheme, key, &nobody, &[scheme, Scheme::Dpop], |evidence| Ok(evidence.proof_key().copied()))
        };
        assert_eq!(
            (found(Scheme::Dpop, Some(&one)), found(Scheme::Dpop, Some(&other))),
            (Ok(Some(first)), Ok(Some(second)))
        );
        assert_eq!(found(Scheme::Bearer, None), Ok(None));
    }

    #[test]
    fn mtls_07_dpop_21_dpop_30_dpop_31_the_token_says_what_must_be_proven() {
        let ((key, thumbprint), (other_key, _)) = (proof_key(), proof_key());
        let (own, other, nobody) = (certificate(), certificate(), Peer::Anonymous(NoCertificate::NotPresented));
        let x5t = own.thumbprint().to_string();
        let (own, other) = (peer(&own), peer(&other));
        let by_certificate = json!({ "x5t#S256": x5t });
        let by_key = json!({ "jkt": thumbprint.to_string() });
        let by_both = json!({ "x5t#S256": x5t, "jkt": thumbprint.to_string() });
        let (right, wrong) = (Some(&key), Some(&other_key));
        for (cnf, scheme, key, peer, expected) in [
            (&by_certificate, Scheme::Bearer, None, &own, None), // control
            (&by_certificate, Scheme::Bearer, None, &other, Some(Code::CertificateMismatch)),
            (&by_certificate, Scheme::Bearer, None, &nobody, Some(Code::CertificateMissing)),
            (&by_certificate, Scheme::Bearer, right, &own, Some(Code::CredentialsRepeated)),
            (&by_certificate, Scheme::Dpop, right, &own, Some(Code::DpopTokenUnbound)),
            (&by_key, Scheme::Dpop, right, &nobody, None), // control
            (&by_key, Scheme::Dpop, right, &other, None),
            (&by_key, Scheme::Dpop, wrong, &nobody, Some(Code::DpopKeyMismatch)),
            (&by_key, Scheme::Dpop, None, &nobody, Some(Code::DpopMissing)),
            (&by_key, Scheme::Bearer, None, &nobody, Some(Code::DpopTokenAsBearer)),
            (&by_key, Scheme::Bearer, right, &nobody, Some(Code::DpopTokenAsBearer)),
            (&by_both, Scheme::Dpop, right, &own, None), // control
            (&by_both, Scheme::Dpop, right, &other, Some(Code::CertificateMismatch)),
            (&by_both, Scheme::Dpop, right, &nobody, Some(Code::CertificateMissing)),
            (&by_both, Scheme::Dpop, wrong, &own, Some(Code::DpopKeyMismatch)),
            (&by_both, Scheme::Bearer, None, &own, Some(Code::DpopTokenAsBearer)),
        ] {
            let schemes = [Scheme::Dpop, Scheme::Bearer];
            let bound = evidence(scheme, key, peer, &schemes, |evidence| BoundToken::prove(token(cnf), evidence));
            let proven = bound.as_ref().ok().and_then(|bound| bound.proof().map(|proof| *proof.key()));
            assert_eq!(bound.err().map(|error| error.code()), expected, "{cnf} {scheme:?} {peer:?}");
            let has_key = expected.is_none() && cnf.get("jkt").is_some();
            assert_eq!(proven, has_key.then_some(thumbprint), "{cnf} {scheme:?} {peer:?}");
        }
    }

    #[test]
    fn mtls_05_a_token_is_for_the_certificate_that_it_names_and_while_that_is_valid() {
        let (own, other) = (certificate(), certificate());
        let (now, late) = (UnixTime(1_800_000_000), UnixTime(own.not_after().0.saturating_add(1)));
        let code = |expected: &ClientCertificate, peer: &Peer, now| {
            check_certificate(expected.thumbprint(), peer, now).err().map(|error| error.code())
        };
        for peer in [Peer::Certificate(Arc::new(own.clone())), Peer::Forwarded(Arc::new(own.clone()))] {
            assert_eq!(code(&own, &peer, now), None);
            assert_eq!(code(&other, &peer, now), Some(Code::CertificateMismatch));
            assert_eq!(code(&own, &peer, late), Some(Code::CertificateExpired));
        }
        let nobody = Peer::Anonymous(NoCertificate::NotPresented);
        assert_eq!(code(&own, &nobody, now), Some(Code::CertificateMissing));
    }
}
