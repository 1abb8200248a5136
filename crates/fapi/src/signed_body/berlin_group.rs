//! The header signature of the Berlin Group's NextGenPSD2 (implementation guidelines §12): `Digest`, `Signature`, and in
//! `TPP-Signature-Certificate` the certificate for electronic seals whose key signed.
//!
//! The certificate comes with the request, so it is trusted only by its path to an anchor, and only for the organisation that
//! the connection's own certificate is of. It never stands in for that one.

use http::HeaderMap;
use http::header::DATE;
use httpdate::parse_http_date;

use super::cavage::CavageSignature;
use super::digest_header::DIGEST;
use super::error::SignedBodyError;
use super::seal_certificate::{self, SealCertificate};
use crate::UnixTime;
use crate::jose::thumbprint::CertificateThumbprint;
use crate::path_validation::{self, Anchor, Verification};
use crate::peer::ClientCertificate;
use crate::sha256;
use crate::signature::digest::{FieldHash, MatchedContent};
use crate::signature::evidence::Evidence;
use crate::signature::message::RequestView;
use crate::text::sole_value;

/// Whether a request needs a `Date`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateRule {
    /// It has to be there and covered.
    Required,
    /// It has to be covered if it is there.
    WhenPresent,
}

/// What is required of a signature and its certificate.
#[derive(Clone, Copy)]
pub struct Rules<'e> {
    /// The authorities that issue certificates for seals, such as those of the EU's trusted lists.
    pub anchors: &'e [Anchor],
    /// Certificates of authorities between them and the certificates for seals, in DER and any order.
    pub intermediates: &'e [&'e [u8]],
    /// What verifies the signatures of certificates, including the algorithm that each names, and knows which are revoked.
    pub verification: &'e dyn Verification,
    /// Whether a request needs a `Date`.
    pub date: DateRule,
    /// Seconds from `Date` for which a signature is accepted.
    pub max_age: u64,
    /// Seconds that `Date` may be ahead.
    pub clock_skew: u64,
}

impl<'e> Rules<'e> {
    /// Those of the guidelines, for 60 seconds from the `Date`, by clocks that may be 10 ahead.
    pub const fn new(anchors: &'e [Anchor], intermediates: &'e [&'e [u8]], verification: &'e dyn Verification) -> Self {
        Self { anchors, intermediates, verification, date: DateRule::Required, max_age: 60, clock_skew: 10 }
    }
}

/// Verifies the signature over the head of a request, by the certificate that comes with it.
///
/// `client` is the certificate with which the client connects, whose possession and trust the caller knows of. `now` is whole
/// seconds; a signature with a `Date` is fresh from `now - max_age` to `now + clock_skew`.
///
/// Does not compare a digest with the body ([`SealedFields::with_body`]), does not read the roles in the certificate, and does
/// not detect replay.
///
/// # Errors
/// [`SignedBodyError`], for the first check that fails: what the request says before what it costs to verify.
pub fn verify(
    request: &RequestView<'_>,
    client: &ClientCertificate,
    rules: &Rules<'_>,
    now: UnixTime,
) -> Result<SealedFields, SignedBodyError> {
    let headers = request.headers;
    let signature = CavageSignature::read(headers)?;
    let der = seal_certificate::der(headers)?;
    let certificate = SealCertificate::read(&der)?;
    check_covered(&signature.covered, headers, rules.date)?;
    let date = check_date(headers, rules, now)?;
    let signing_string = signature.signing_string(request)?;
    certificate.check_named_by(signature.key_id)?;
    certificate.check_for_seals()?;
    let organization = certificate.check_organization(client)?;
    certificate.verify(signature.algorithm, &signing_string, &signature.signature)?;
    let path_rules = path_validation::Rules { now, client_auth: false };
    path_validation::validate(&der, rules.intermediates, rules.anchors, path_rules, rules.verification)
        .map_err(SignedBodyError::CertificateUntrusted)?;
    Ok(SealedFields {
        seal: VerifiedSeal {
            key_id: signature.key_id.into(),
            thumbprint: CertificateThumbprint::of_der(&der),
            organization,
            covered: signature.covered,
            date,
            signing_string_hash: sha256(&signing_string),
            evidence: Evidence::of_seal(signing_string, &signature.signature, signature.algorithm, &der),
        },
        digest: FieldHash::of(headers, DIGEST),
    })
}

/// BG-10: a digest and the identifier of the request are covered, and what says for whom it is and when it was made.
fn check_covered(covered: &[Box<str>], headers: &HeaderMap, date: DateRule) -> Result<(), SignedBodyError> {
    // A request without a body has a digest too, that of no bytes.
    const ALWAYS: [&str; 2] = [DIGEST, "x-request-id"];
    const WHEN_PRESENT: [&str; 3] = ["psu-id", "psu-corporate-id", "tpp-redirect-uri"];
    let is_needed = |name: &str| headers.contains_key(name) || (name == DATE && date == DateRule::Required);
    let conditional = WHEN_PRESENT.into_iter().chain([DATE_NAME]).filter(|name| is_needed(name));
    let lacking = ALWAYS.into_iter().chain(conditional).find(|name| !covered.iter().any(|own| **own == **name));
    match lacking {
        Some(name) => Err(SignedBodyError::NotCovered { name }),
        None => Ok(()),
    }
}

/// Whether the `Date`, if there is one, is of now. One that is required and absent is noticed as something that is covered.
fn check_date(headers: &HeaderMap, rules: &Rules<'_>, now: UnixTime) -> Result<Option<UnixTime>, SignedBodyError> {
    if !headers.contains_key(DATE) {
        return Ok(None);
    }
    let date = sole_value(headers, DATE).and_then(|value| parse_http_date(value.to_str().ok()?).ok());
    let seconds = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok()).map(|time| time.as_secs());
    let why = "it is not one HTTP-date";
    let at = UnixTime(seconds.ok_or(SignedBodyError::Malformed { what: DATE_NAME, why })?);
    if at > now.plus(rules.clock_skew) || now > at.plus(rules.max_age) {
        return Err(SignedBodyError::Stale { at, now });
    }
    Ok(Some(at))
}

const DATE_NAME: &str = "date";

/// A seal of the client's organisation over fields of a request.
///
/// Proves nothing yet of the body: a signed digest may be that of another one.
#[derive(Debug)]
pub struct SealedFields {
    seal: VerifiedSeal,
    /// The field as it was when the signature was verified, which covers it.
    digest: FieldHash,
}

impl SealedFields {
    /// The seal over a request with this body, which may be empty.
    ///
    /// # Errors
    /// [`SignedBodyError::BodyNotSigned`] unless it covers the very field that the body was compared with.
    pub fn with_body(self, body: &MatchedContent) -> Result<VerifiedSeal, SignedBodyError> {
        if body.field() == self.digest { Ok(self.seal) } else { Err(SignedBodyError::BodyNotSigned) }
    }
}

/// The proof that the organisation of the client sealed a request, its body included.
///
/// Does not say that the request comes for the first time: its `X-Request-ID`, which is covered, is for whoever remembers.
#[derive(Clone, Debug)]
pub struct VerifiedSeal {
    key_id: Box<str>,
    thumbprint: CertificateThumbprint,
    organization: Box<str>,
    covered: Vec<Box<str>>,
    date: Option<UnixTime>,
    signing_string_hash: [u8; 32],
    evidence: Evidence,
}

impl VerifiedSeal {
    /// The name of the key, as written in the request: the serial number and the issuer of the certificate.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The SHA-256 of the certificate.
    pub const fn thumbprint(&self) -> &CertificateThumbprint {
        &self.thumbprint
    }

    /// The `organizationIdentifier` of the certificate, which is that of the client's.
    pub fn organization_identifier(&self) -> &str {
        &self.organization
    }

    /// The names of what is covered, in lower case and in the order of the signature.
    pub fn covered(&self) -> &[Box<str>] {
        &self.covered
    }

    /// What shows it later.
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// When the request was made, as its `Date` says.
    pub const fn date(&self) -> Option<UnixTime> {
        self.date
    }

    /// The SHA-256 of what is signed, the `X-Request-ID` among it: of one text there may be many signatures, and with ECDSA
    /// anybody can make a second one of the first.
    pub const fn signing_string_hash(&self) -> &[u8; 32] {
        &self.signing_string_hash
    }
}

#[cfg(test)]
mod tests;
