//! Content that is signed by itself: an `x-jws-signature` over it, or a JWT, as the rules of a route require.

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::SignatureError;
use super::form::{DetachedJwsRules, Form, Forward, JwtBodyRules, JwtForm};
use super::rules::{Replay, RequestRules};
use super::signed_request::{SignatureUse, SignedRequest, Verified};
use crate::UnixTime;
use crate::dpop::ProofId;
use crate::jose::jwe::JweError;
use crate::jose::keys::KeySet;
use crate::path_validation::Name;
use crate::peer::ClientCertificate;
use crate::signed_body::detached::{self, ExpectedIssuer};
use crate::signed_body::directory::DirectoryName;
use crate::signed_body::error::SignedBodyError;
use crate::signed_body::jwt_body;

/// Who has to have signed, and for which endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'e> {
    /// The client of the token.
    pub client_id: &'e str,
    /// How the directory names it.
    pub name: &'e DirectoryName,
    /// The certificate with which it connects.
    pub certificate: Option<&'e ClientCertificate>,
    /// The URL of the endpoint, as clients write it, without a query.
    pub endpoint: &'e str,
    /// The URL of the host, as clients write it.
    pub origin: &'e str,
}

/// A message whose content has to be signed by itself.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'s> {
    /// Its header section.
    pub headers: &'s HeaderMap,
    /// The whole content.
    pub content: &'s Opened<'s>,
    /// Its method, which decides whether a signature counts once.
    pub method: &'s http::Method,
}

/// Content that can be verified: as it was received, or what was in it where the route requires that it is encrypted.
#[must_use]
pub struct Opened<'c> {
    content: Cow<'c, [u8]>,
    /// Whether it was encrypted.
    is_decrypted: bool,
}

impl<'c> Opened<'c> {
    /// Decrypts the content, if these rules have keys for that.
    ///
    /// # Errors
    /// [`SignedBodyError::NotDecrypted`], also of content that is not encrypted.
    pub(crate) fn of(rules: &RequestRules, content: &'c [u8]) -> Result<Self, SignatureError> {
        match &rules.form {
            Form::JwtBody(JwtBodyRules { decryption_keys: Some(keys), .. }) => {
                let content = jwt_body::decrypt(content, keys)?.into_bytes().into();
                Ok(Self { content, is_decrypted: true })
            }
            Form::Http(_) | Form::DetachedJws(_) | Form::JwtBody(_) | Form::Seal(_) => {
                Ok(Self { content: content.into(), is_decrypted: false })
            }
        }
    }
}

/// Says how long it is.
impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} bytes)", self.content.len())
    }
}

/// Content whose signature by the client holds.
#[must_use]
#[derive(Debug)]
pub struct SignedContent(SignedRequest);

impl SignedContent {
    /// Verifies the content with these keys, which are those of the client.
    ///
    /// # Errors
    /// [`SignatureError`], whose [`depends_on_keys`](SignatureError::depends_on_keys) says whether others could verify it.
    pub(crate) fn verify(
        rules: &RequestRules,
        signed: Signed<'_>,
        expected: &Expected<'_>,
        keys: &KeySet,
        now: UnixTime,
    ) -> Result<Self, SignatureError> {
        match &rules.form {
            Form::DetachedJws(form) => verify_detached(rules, form, signed, expected, keys, now),
            Form::JwtBody(form) => verify_jwt(rules, form, signed, expected, keys, now),
            // Of these, the header section is signed.
            Form::Http(_) | Form::Seal(_) => Err(SignatureError::ContentNotSigned),
        }
    }

    /// The request with it.
    pub(crate) fn into_request(self) -> SignedRequest {
        self.0
    }
}

fn verify_detached(
    rules: &RequestRules,
    form: &DetachedJwsRules,
    signed: Signed<'_>,
    expected: &Expected<'_>,
    keys: &KeySet,
    now: UnixTime,
) -> Result<SignedContent, SignatureError> {
    let in_directory = match (&expected.name.org_id, &expected.name.software_id) {
        (Some(organization), Some(software)) => Some(format!("{organization}/{software}")),
        (None, _) | (_, None) => None,
    };
    let subject = expected.certificate.and_then(subject);
    // UK-08: `org-id/software-id` for clients of the directory, and otherwise the subject of the certificate.
    let issuer = match (&in_directory, &subject) {
        (Some(text), _) => ExpectedIssuer::Exact(text),
        (None, Some(name)) => ExpectedIssuer::Subject(name),
        (None, None) => {
            return Err(SignedBodyError::SenderUnknown {
                lacks: "an org_id and a software_id, and has no certificate",
            }
            .into());
        }
    };
    let required = detached::Rules {
        max_age: rules.max_age,
        clock_skew: rules.clock_skew,
        ..detached::Rules::new(issuer, &form.trust_anchors)
    };
    let verified = detached::verify(signed.headers, &signed.content.content, &required, keys, now)?;
    let created = verified.issued_at();
    let remember = rules.replay.remembers(signed.method).then(|| {
        let id = ProofId::of_signed_body("x-jws-signature", expected.client_id, verified.value());
        SignatureUse::of_time(id, created, rules.max_age, rules.clock_skew)
    });
    Ok(SignedContent(SignedRequest::new(Verified::DetachedJws(verified.into()), remember, Forward::AsIs)))
}

fn verify_jwt(
    rules: &RequestRules,
    form: &JwtBodyRules,
    signed: Signed<'_>,
    expected: &Expected<'_>,
    keys: &KeySet,
    now: UnixTime,
) -> Result<SignedContent, SignatureError> {
    if form.decryption_keys.is_some() && !signed.content.is_decrypted {
        return Err(SignedBodyError::NotDecrypted(JweError::NotEncrypted).into());
    }
    let endpoint = [Box::from(expected.endpoint), Box::from(expected.origin)];
    let required = match form.jwt_form {
        JwtForm::Brazil => {
            let organization = expected.name.org_id.as_deref();
            let organization = organization.ok_or(SignedBodyError::SenderUnknown { lacks: "an org_id" })?;
            jwt_body::Rules::brazil(organization, endpoint.split_at(1).0)
        }
        JwtForm::Gulf => jwt_body::Rules::gulf(expected.client_id, &endpoint),
    };
    let verified =
        jwt_body::verify(&signed.content.content, &jwt_body::Rules { window: rules.max_age, ..required }, keys, now)?;
    let created = verified.issued_at();
    let good_until = created.plus(rules.max_age);
    // BR-12: "jti unique for clientId in 24 h". Elsewhere until `exp`, which its maker chooses, and so not for longer.
    let day = now.plus(DAY);
    let forget_after = match form.jwt_form {
        JwtForm::Brazil => day,
        JwtForm::Gulf => verified.expires().map_or(good_until, |expires| expires.max(good_until)).min(day),
    };
    let remember = (rules.replay != Replay::Ignore).then(|| SignatureUse {
        id: ProofId::of_signed_body("jti of a signed body", expected.client_id, verified.jti()),
        created,
        ahead: rules.max_age,
        good_until,
        forget_after: forget_after.max(good_until),
    });
    Ok(SignedContent(SignedRequest::new(Verified::JwtBody(verified.into()), remember, form.forward)))
}

/// The subject of a certificate.
fn subject(certificate: &ClientCertificate) -> Option<Name> {
    let der = certificate.der();
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    Some(Name::of(parsed.subject())).filter(|name| !name.is_empty())
}

const DAY: u64 = 24 * 60 * 60;
