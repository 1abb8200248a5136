//! Files of policy tests as they are written: texts and JSON, nothing looked up yet.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Binding, GivenParticipant};
use crate::config::document;
use crate::config::error::KeyPath;
use crate::config::report::Report;
use crate::config::source::{deserialize, refuse_nulls, take_out_odd_keys};

/// One test as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: Option<String>,
    pub(super) like: Option<String>,
    pub(super) given: Option<Given>,
    pub(super) expect: Option<String>,
    pub(super) would_deny: Option<String>,
    pub(super) at: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    pub(super) issuer: Option<String>,
    pub(super) claims: Option<Map<String, Value>>,
    pub(super) without: Option<Vec<String>>,
    pub(super) binding: Option<Binding>,
    pub(super) request: Option<Request>,
    pub(super) signed: Option<bool>,
    pub(super) consent: Option<String>,
    pub(super) participant: Option<GivenParticipant>,
    pub(super) certificate: Option<CertificateEntry>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateEntry {
    pub(super) roles: Option<Vec<String>>,
    pub(super) organisation: Option<String>,
    pub(super) software: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) url: Option<String>,
    pub(super) query: Option<String>,
    pub(super) headers: Option<BTreeMap<String, String>>,
    pub(super) body: Option<Value>,
}

impl Given {
    /// This call with what another test says of its own.
    pub(super) fn with(self, own: Self) -> Self {
        let without = own.without.or(self.without);
        let claims = match (self.claims, own.claims) {
            (Some(mut claims), own) => {
                claims.retain(|claim, _| !without.iter().flatten().any(|removed| removed == claim));
                claims.extend(own.into_iter().flatten());
                Some(claims)
            }
            (None, own) => own,
        };
        let request = match (self.request, own.request) {
            (Some(request), Some(own)) => Some(request.with(own)),
            (request, own) => own.or(request),
        };
        let (issuer, binding) = (own.issuer.or(self.issuer), own.binding.or(self.binding));
        let (signed, consent) = (own.signed.or(self.signed), own.consent.or(self.consent));
        let participant = own.participant.or(self.participant);
        let certificate = match (self.certificate, own.certificate) {
            (Some(certificate), Some(own)) => Some(certificate.with(own)),
            (certificate, own) => own.or(certificate),
        };
        Self { issuer, claims, without, binding, request, signed, consent, participant, certificate }
    }
}

impl CertificateEntry {
    fn with(self, own: Self) -> Self {
        let (roles, organisation) = (own.roles.or(self.roles), own.organisation.or(self.organisation));
        Self { roles, organisation, software: own.software.or(self.software) }
    }
}

impl Request {
    fn with(self, own: Self) -> Self {
        let (path, url) = match (own.path, own.url) {
            (None, None) => (self.path, self.url),
            own => own,
        };
        let headers = match (self.headers, own.headers) {
            (Some(mut headers), Some(own)) => {
                headers.extend(own);
                Some(headers)
            }
            (headers, own) => own.or(headers),
        };
        let (method, query, body) = (own.method.or(self.method), own.query.or(self.query), own.body.or(self.body));
        Self { method, path, url, query, headers, body }
    }
}

/// The tests of a file; `None` if it has no list, which is a problem.
pub(super) fn entries(bytes: &[u8], report: &mut Report) -> Option<Vec<Entry>> {
    let root = KeyPath::default();
    let mut value = document::parse(bytes, report)?;
    if value.is_null() {
        return Some(Vec::new());
    }
    take_out_odd_keys(&mut value, &root, report);
    let entries = deserialize(&mut value, report)?;
    // Null is a value in JSON, and a key without one everywhere else.
    for given in value.as_sequence_mut().into_iter().flatten().filter_map(|test| test.get_mut("given")) {
        hide(given.get_mut("claims"));
        hide(given.get_mut("request").and_then(|request| request.get_mut("body")));
    }
    refuse_nulls(&value, &root, report);
    Some(entries)
}

/// Puts something in the place of JSON that is written.
fn hide(json: Option<&mut serde_yaml::Value>) {
    if let Some(json) = json.filter(|json| !json.is_null()) {
        *json = true.into();
    }
}
