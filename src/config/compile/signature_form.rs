//! `routes[].signature.profile`: in which form messages are signed, and what that needs.

use std::str::FromStr;
use std::sync::Arc;

use fapi::jose::keys::Algorithm;
use fapi::sha256;
use fapi::signature::component::{Component, Derived};
use fapi::signature::form::{
    Covers, DetachedJwsRules, Form, Forward, HttpRules, JwtBodyRules, JwtForm, SealAuthorities, SealRules,
};
use fapi::signature::profile::REQUEST_TAG;
use fapi::signature::rules::{ResponseForm, ResponseRules};

use super::Build;
use super::MIB;
use super::encryption::Senders;
use super::files::{Anchors, store};
use crate::config::error::KeyPath;
use crate::config::file::{self, SignatureProfile};
use crate::connection::tls;

impl SignatureProfile {
    /// Whether it is one of RFC 9421.
    pub(super) const fn is_of_fields(self) -> bool {
        matches!(self, Self::Fapi2 | Self::Custom)
    }

    /// How it is written.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fapi2 => "fapi2",
            Self::Custom => "custom",
            Self::UkObie => "uk_obie",
            Self::Brazil => "brazil",
            Self::Gulf => "gulf",
            Self::BerlinGroup => "berlin_group",
        }
    }

    /// Whose bodies are JWTs, if they are.
    const fn jwt_form(self) -> Option<JwtForm> {
        match self {
            Self::Brazil => Some(JwtForm::Brazil),
            Self::Gulf => Some(JwtForm::Gulf),
            Self::Fapi2 | Self::Custom | Self::UkObie | Self::BerlinGroup => None,
        }
    }
}

impl Build<'_> {
    /// Refuses the keys that mean something with other profiles alone.
    pub(super) fn refuse_keys_of_others(
        &mut self,
        at: &KeyPath,
        profile: SignatureProfile,
        entry: &file::Signature,
    ) -> Option<()> {
        let (is_of_fields, is_sealed) = (profile.is_of_fields(), profile == SignatureProfile::BerlinGroup);
        let surplus = [
            ("components", entry.components.is_some() && !is_of_fields),
            ("tag", entry.tag.is_some() && !is_of_fields),
            ("trust_anchors", entry.trust_anchors.is_some() && profile != SignatureProfile::UkObie),
            ("seal_trust_anchors", entry.seal_trust_anchors.is_some() && !is_sealed),
            ("seal_revocation_lists", entry.seal_revocation_lists.is_some() && !is_sealed),
            ("forward", entry.forward.is_some() && profile.jwt_form().is_none()),
            ("decryption_keys", entry.decryption_keys.is_some() && profile.jwt_form().is_none()),
            ("response_bytes", entry.response_bytes.is_some() && is_sealed),
        ];
        let problem = format!("with `profile: {}` this has no effect; remove the key", profile.as_str());
        let mut found = self.refuse_written(at, &surplus, &problem);
        if is_sealed && entry.keys.is_some() {
            let problem = "the certificate of a seal comes with the request, and its key counts; remove the key";
            self.problem(&at.key("keys"), problem);
            found = None;
        }
        if is_sealed && entry.response.is_some() {
            let problem = "the Berlin Group has no seals of responses; remove the key";
            self.problem(&at.key("response"), problem);
            found = None;
        }
        found
    }

    /// In which form requests are signed.
    pub(super) fn signed_form(
        &mut self,
        at: &KeyPath,
        profile: SignatureProfile,
        entry: &mut file::Signature,
    ) -> Option<Form> {
        // Responses name the first of them.
        let trust_anchors =
            if profile == SignatureProfile::UkObie { self.domains(at, &mut entry.trust_anchors) } else { None };
        entry.request?;
        if let Some(jwt_form) = profile.jwt_form() {
            let forward = match entry.forward.get_or_insert_default() {
                file::SignedForward::AsIs => Forward::AsIs,
                file::SignedForward::Payload => Forward::Payload,
            };
            if entry.decryption_keys.is_some() && entry.request == Some(file::SignedRequests::WhenPresent) {
                let problem = "with `request: when_present` a client may send what is neither signed nor encrypted; write `request: required`, or remove this key";
                self.problem(&at.key("decryption_keys"), problem);
            }
            let decryption_keys = match &mut entry.decryption_keys {
                Some(keys) => Some(self.decryption_keys(&at.key("decryption_keys"), keys, Senders::Anybody)?),
                None => None,
            };
            return Some(Form::JwtBody(JwtBodyRules { jwt_form, forward, decryption_keys }));
        }
        match profile {
            SignatureProfile::UkObie => Some(Form::DetachedJws(DetachedJwsRules { trust_anchors: trust_anchors? })),
            SignatureProfile::BerlinGroup => self.seal(at, entry).map(Form::Seal),
            SignatureProfile::Fapi2 | SignatureProfile::Custom | SignatureProfile::Brazil | SignatureProfile::Gulf => {
                self.signed_fields(at, profile, entry).map(Form::Http)
            }
        }
    }

    fn signed_fields(&mut self, at: &KeyPath, profile: SignatureProfile, entry: &file::Signature) -> Option<HttpRules> {
        let components = self.components(&at.key("components"), entry.components.as_deref());
        if profile == SignatureProfile::Custom {
            if entry.components.is_none() {
                let problem = "the key is missing; with `profile: custom` it says what a signature covers, such as `[\"@method\", \"@target-uri\"]`";
                self.problem(&at.key("components"), problem);
            }
            let tag = entry.tag.as_deref().and_then(|tag| self.tag(&at.key("tag"), tag));
            return Some(HttpRules { covers: Covers::Content, components: components?, tag });
        }
        if entry.tag.is_some() {
            let problem = format!("with `profile: fapi2` the tag is `{REQUEST_TAG}`; remove the key");
            self.problem(&at.key("tag"), problem);
        }
        Some(HttpRules { covers: Covers::Fapi2, components: components?, tag: Some(REQUEST_TAG.into()) })
    }

    /// The authorities that issue certificates for seals.
    fn seal(&mut self, at: &KeyPath, entry: &file::Signature) -> Option<SealRules> {
        let anchors_at = at.key("seal_trust_anchors");
        let way_out = "name the PEM files of the authorities that issue certificates for seals";
        let paths = self.needed(&anchors_at, entry.seal_trust_anchors.as_deref(), way_out)?;
        let files = (paths.to_vec(), entry.seal_revocation_lists.clone());
        if let Some((_, authorities)) = self.seal_authorities.iter().find(|(known, _)| *known == files) {
            return Some(SealRules { authorities: authorities.clone() });
        }
        let certificates = self.trust_anchors(&anchors_at, paths, Anchors::Authorities);
        let lists_at = at.key("seal_revocation_lists");
        let lists = match entry.seal_revocation_lists.as_deref() {
            Some([]) => {
                self.report.empty(&lists_at, "the list is empty; name a file, or remove the key");
                None
            }
            paths => {
                self.revocation_lists(&lists_at, paths.unwrap_or_default(), certificates.as_deref().unwrap_or_default())
            }
        };
        let (certificates, lists) = (certificates?, lists?);
        self.warn_of_missing_lists(&lists_at, &store(&certificates)?, &lists);
        let anchors = certificates.iter().filter_map(tls::path_anchor).collect();
        let of_anchors = certificates.iter().map(|certificate| sha256(certificate));
        let documents: Vec<[u8; 32]> = of_anchors.chain(lists.iter().map(|list| *list.hash())).collect();
        let verification = Arc::new(tls::MessageCertificates::new(lists));
        let authorities = SealAuthorities::new(anchors, verification, &documents);
        self.seal_authorities.push((files, authorities.clone()));
        Some(SealRules { authorities })
    }

    /// The domains of trust anchors.
    fn domains(&mut self, at: &KeyPath, entry: &mut Option<Vec<String>>) -> Option<Vec<Box<str>>> {
        let at = at.key("trust_anchors");
        let texts = entry.get_or_insert_with(|| vec![OPEN_BANKING.to_owned()]);
        let way_out = "write the domain of a trust anchor, such as `openbanking.org.uk`, or remove the key";
        let texts = self.distinct(&at, Some(texts), way_out)?;
        let mut domains = Some(Vec::new());
        for (index, text) in texts.iter().enumerate() {
            let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            if text.is_empty() || !text.bytes().all(is_domain) {
                self.problem(&at.index(index), format!("`{text}` is not a domain; {way_out}"));
                domains = None;
            } else if let Some(domains) = &mut domains {
                domains.push(text.as_str().into());
            }
        }
        domains
    }

    /// How responses are signed.
    pub(super) fn signed_responses(
        &mut self,
        at: &KeyPath,
        profile: SignatureProfile,
        entry: &mut file::Signature,
        keys: Option<Option<usize>>,
    ) -> Option<Option<ResponseRules>> {
        if profile == SignatureProfile::BerlinGroup {
            return Some(None);
        }
        if entry.response.is_none() {
            let surplus = [("response_bytes", entry.response_bytes.is_some())];
            let problem = "responses are not signed, so this has no effect; add `response: sign`, or remove the key";
            return self.refuse_written(at, &surplus, problem).map(|()| None);
        }
        if !self.signing.is_written() {
            let problem = "there is no key to sign with; add the section `signing`, or remove this key";
            self.problem(&at.key("response"), problem);
        }
        let bytes_at = at.key("response_bytes");
        let content_bytes = self.size_within(&bytes_at, &mut entry.response_bytes, 10 * MIB, 1024..=64 * MIB);
        let form = self.response_form(at, profile, entry, keys);
        Some(Some(ResponseRules { content_bytes: content_bytes?, form: form? }))
    }

    fn response_form(
        &mut self,
        at: &KeyPath,
        profile: SignatureProfile,
        entry: &file::Signature,
        keys: Option<Option<usize>>,
    ) -> Option<ResponseForm> {
        if profile.is_of_fields() {
            return Some(ResponseForm::Http);
        }
        if let Some(key) = self.signing.keys()
            && key.first().algorithm() != Algorithm::Ps256
        {
            let found = key.first().algorithm().as_str();
            let problem = format!(
                "the first key of `signing` is for {found}, and clients of `profile: {}` accept PS256 alone; let an RSA key be the first",
                profile.as_str()
            );
            self.problem(&at.key("response"), problem);
        }
        let issuer: Option<Arc<str>> = self.response_issuer(profile.as_str()).map(Arc::from);
        match profile.jwt_form() {
            Some(jwt_form) => Some(ResponseForm::JwtBody { jwt_form, issuer: issuer?, keys: keys? }),
            None => {
                let trust_anchor = entry.trust_anchors.iter().flatten().next()?;
                Some(ResponseForm::DetachedJws { issuer: issuer?, trust_anchor: trust_anchor.as_str().into() })
            }
        }
    }

    /// RFC 9421 §2.3: a tag is a string, which is printable ASCII (RFC 8941 §3.3.3).
    fn tag(&mut self, at: &KeyPath, tag: &str) -> Option<Box<str>> {
        let tag = self.text(at, Some(tag), "write the tag, or remove the key")?;
        if !tag.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.problem(at, "a tag is printable ASCII; write another");
            return None;
        }
        Some(tag.into())
    }

    fn components(&mut self, at: &KeyPath, texts: Option<&[String]>) -> Option<Vec<Component>> {
        let Some(texts) = texts else { return Some(Vec::new()) };
        let way_out = "name a component such as `x-idempotency-key`, or remove the key";
        let texts = self.distinct(at, Some(texts), way_out)?;
        let mut components = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            // A name alone is an identifier without parameters.
            let whole = if text.starts_with('"') { text.clone() } else { format!("\"{text}\"") };
            let of_response =
                |component: &Component| component.is_of_request() || *component == Component::derived(Derived::Status);
            match Component::from_str(&whole) {
                Ok(component) if of_response(&component) => {
                    self.problem(&at.index(index), "the component is one of responses; remove it");
                    components.push(None);
                }
                Ok(component) => components.push(Some(component)),
                Err(error) => {
                    self.problem(&at.index(index), format!("{error}; {way_out}"));
                    components.push(None);
                }
            }
        }
        components.into_iter().collect()
    }
}

/// The trust anchor of the UK's directory.
const OPEN_BANKING: &str = "openbanking.org.uk";
