//! In which form a request is signed: by the fields of RFC 9421, or in one of those that ecosystems use instead.

use std::fmt;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::component::Component;
use crate::code::Code;
use crate::jose::jwe::DecryptionKeys;
use crate::path_validation::{Anchor, Verification};
use crate::sha256;
use crate::signed_body::{detached, jwt_body};
use crate::text::{is_media_type, sole_value};

/// In which form a request is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// By the fields of RFC 9421.
    Http(HttpRules),
    /// By `x-jws-signature`, over its body (UK Open Banking).
    DetachedJws(DetachedJwsRules),
    /// By a body that is a signed JWT (Open Finance Brazil, UAE and KSA).
    JwtBody(JwtBodyRules),
    /// By a seal, whose certificate comes with it (Berlin Group).
    Seal(SealRules),
}

/// What a signature of RFC 9421 has to cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRules {
    /// What it has to cover in any case.
    pub covers: Covers,
    /// Identifiers that it has to cover beside.
    pub components: Vec<Component>,
    /// The `tag` that it has to have; without one, any signature counts.
    pub tag: Option<Box<str>>,
}

/// What a signature has to cover, beside what the configuration adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// What FAPI 2.0 HTTP Signatures says.
    Fapi2,
    /// The digest of the content, if there is some, and nothing else.
    Content,
}

/// What an `x-jws-signature` has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachedJwsRules {
    /// The domains of the trust anchors at which keys may be registered.
    pub trust_anchors: Vec<Box<str>>,
}

/// What a body that is a signed JWT has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtBodyRules {
    /// Whose rules these are.
    pub jwt_form: JwtForm,
    /// What the upstream gets of it.
    pub forward: Forward,
    /// The keys for one of which every body is encrypted; `None` if none is.
    pub decryption_keys: Option<DecryptionKeys>,
}

/// Who has bodies that are signed JWTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtForm {
    /// Open Finance Brazil.
    Brazil,
    /// The UAE and KSA.
    Gulf,
}

/// What the upstream gets of a body that is a signed JWT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The JWT.
    AsIs,
    /// The payload alone, as its signer wrote it.
    Payload,
}

/// What the certificate of a seal has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealRules {
    /// The authorities that issue such certificates.
    pub authorities: SealAuthorities,
}

/// The authorities that issue certificates for seals, and what is known of those that they have revoked.
#[derive(Clone)]
pub struct SealAuthorities {
    anchors: Arc<[Anchor]>,
    verification: Arc<dyn Verification + Send + Sync>,
    fingerprint: [u8; 32],
}

impl SealAuthorities {
    /// Collects anchors, and what verifies what they issue. Two of these are equal if they are made of the same `documents`, which
    /// are hashes of certificates and of lists.
    pub fn new(
        anchors: Vec<Anchor>,
        verification: Arc<dyn Verification + Send + Sync>,
        documents: &[[u8; 32]],
    ) -> Self {
        Self { anchors: anchors.into(), verification, fingerprint: sha256(documents.as_flattened()) }
    }

    /// The anchors.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// What verifies certificates.
    pub fn verification(&self) -> &dyn Verification {
        &*self.verification
    }
}

impl PartialEq for SealAuthorities {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for SealAuthorities {}

/// Says how many there are.
impl fmt::Debug for SealAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealAuthorities({})", self.anchors.len())
    }
}

impl Form {
    /// Whether a request says that it is signed in this form. Without that, no keys are needed.
    pub fn is_claimed_by(&self, headers: &HeaderMap) -> bool {
        let has = |name: &str| headers.contains_key(name);
        match self {
            Self::Http(_) => has("signature") || has("signature-input"),
            Self::DetachedJws(_) => has(detached::X_JWS_SIGNATURE),
            Self::JwtBody(_) => sole_value(headers, CONTENT_TYPE).is_some_and(is_jwt),
            Self::Seal(_) => has("signature") || has("tpp-signature-certificate"),
        }
    }

    /// Whether it is over the content and nothing else.
    pub const fn signs_content_alone(&self) -> bool {
        matches!(self, Self::DetachedJws(_) | Self::JwtBody(_))
    }

    /// The most bytes of content that are read for it; `None` if the route alone limits that.
    pub const fn content_limit(&self) -> Option<usize> {
        match self {
            Self::DetachedJws(_) => Some(detached::MAX_BODY_BYTES),
            Self::JwtBody(_) => Some(jwt_body::MAX_BYTES),
            Self::Http(_) | Self::Seal(_) => None,
        }
    }

    /// The status of a refusal with this code, where the ecosystem has another one than the code.
    pub fn status(&self, code: Code) -> StatusCode {
        match self {
            // BR-12: a `jti` that comes again is refused with 403.
            Self::JwtBody(JwtBodyRules { jwt_form: JwtForm::Brazil, .. }) if code == Code::SignatureReplayed => {
                StatusCode::FORBIDDEN
            }
            // UK-09, BR-14, UAE-03.
            Self::DetachedJws(_) | Self::JwtBody(_) if code.is_about_signatures() => StatusCode::BAD_REQUEST,
            Self::Http(_) | Self::DetachedJws(_) | Self::JwtBody(_) | Self::Seal(_) => code.status(),
        }
    }
}

/// Whether this is the media type of a JWT (RFC 7519 §10.3.1).
pub fn is_jwt(content_type: &http::HeaderValue) -> bool {
    is_media_type(content_type, "application/jwt")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::UnixTime;
    use crate::path_validation::{Fault, Issued, Signed};

    struct Nothing;

    impl Verification for Nothing {
        fn is_signed_by(&self, _: &[u8], _: &Signed<'_>) -> bool {
            false
        }

        fn check_status(&self, _: &Issued<'_>, _: UnixTime) -> Result<(), Fault> {
            Err(Fault::UnknownStatus)
        }
    }

    fn jwt_body(jwt_form: JwtForm) -> Form {
        Form::JwtBody(JwtBodyRules { jwt_form, forward: Forward::AsIs, decryption_keys: None })
    }

    #[test]
    fn the_ecosystem_decides_the_status_of_what_is_about_signatures() {
        let detached = Form::DetachedJws(DetachedJwsRules { trust_anchors: Vec::new() });
        let authorities = SealAuthorities::new(Vec::new(), Arc::new(Nothing), &[]);
        let seal = Form::Seal(SealRules { authorities });
        for (form, missing, replayed) in [
            (detached, 400, 400),
            (jwt_body(JwtForm::Brazil), 400, 403),
            (jwt_body(JwtForm::Gulf), 400, 400),
            (seal, 401, 401),
        ] {
            assert_eq!(form.status(Code::SignatureMissing), missing, "{form:?}");
            assert_eq!(form.status(Code::DigestMismatch), missing, "{form:?}");
            assert_eq!(form.status(Code::SignatureReplayed), replayed, "{form:?}");
            assert_eq!(form.status(Code::ScopeInsufficient), 403, "control: {form:?}");
            assert_eq!(form.status(Code::TokenExpired), 401, "control: {form:?}");
        }
    }

    #[test]
    fn a_body_is_a_jwt_if_its_one_content_type_says_so() {
        let claimed = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            jwt_body(JwtForm::Brazil).is_claimed_by(&headers)
        };
        assert!(claimed(&["application/jwt"]) && claimed(&["Application/JWT; charset=utf-8"]));
        for other in [&[][..], &["application/json"], &["application/jwt+json"], &["application/jwt", "text/plain"]] {
            assert!(!claimed(other), "{other:?}");
        }
    }
}
