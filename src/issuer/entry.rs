//! One running issuer: its keys, and how its tokens are validated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fapi::token::Expected;
use reqwest::Url;

use super::http::Client;
use super::introspection::{self, Introspector};
use super::jwks::{KeySource, Location};
use super::metadata::Discovery;
use super::observer::Observer;
use super::revocations::Revocations;
use super::settings::{IssuerError, Settings, Timing, TrustAnchors};

/// One running issuer.
pub(super) struct Entry {
    /// A number that changes with the way tokens are validated; cached tokens of another number are not used.
    pub(super) id: u64,
    pub(super) expected: Expected,
    pub(super) keys: Option<Arc<KeySource>>,
    pub(super) judge: Judge,
    pub(super) source_key: SourceKey,
}

/// How it is decided whether a token is active.
pub(super) enum Judge {
    /// By the gateway, with the issuer's keys.
    Keys(Arc<KeySource>),
    /// By the issuer, when asked.
    Issuer(Arc<Introspector>),
}

/// Everything that the calls to an issuer depend on.
#[derive(PartialEq, Eq)]
pub(super) struct SourceKey {
    pub(super) name: Arc<str>,
    pub(super) issuer: Box<str>,
    pub(super) jwks_uri: Option<Url>,
    pub(super) trust_anchors: TrustAnchors,
}

/// What all issuers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) timing: Timing,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) revocations: Arc<Revocations>,
}

impl Entry {
    pub(super) fn new(settings: Settings, shared: &Shared, before: &[Self]) -> Result<Self, IssuerError> {
        let Settings { expected, jwks_uri, jwks, trust_anchors, introspection, security_events } = settings;
        let Shared { timing, observer, .. } = shared;
        let (name, issuer) = (expected.name.clone(), expected.issuer.clone());
        let source_key = SourceKey { name, issuer, jwks_uri: jwks_uri.clone(), trust_anchors: trust_anchors.clone() };
        let same = before.iter().find(|entry| entry.source_key == source_key);
        let name = || expected.name.clone();
        let failed = |error| IssuerError::Client { issuer: name(), error };
        let answers = introspection.as_ref().map(|settings| &settings.response);
        let keys_needed = security_events || !matches!(answers, Some(introspection::Response::Json));
        let keys = match (same.and_then(|entry| entry.keys.clone()), jwks_uri) {
            _ if !keys_needed => None,
            (Some(keys), _) => Some(Arc::new(keys.with_settings(jwks))),
            (None, Some(url)) if url.scheme() != "https" => {
                return Err(IssuerError::JwksUriNotHttps { issuer: name() });
            }
            (None, jwks_uri) => {
                let location = match jwks_uri {
                    Some(url) => Location::Configured(url),
                    None => Location::Discovered(
                        Discovery::new(&expected.issuer)
                            .map_err(|error| IssuerError::NotDiscoverable { issuer: name(), error })?,
                    ),
                };
                let client = Client::new(&trust_anchors, timing.connect_timeout, timing.timeout).map_err(failed)?;
                Some(Arc::new(KeySource::new(name(), location, client, jwks, *timing, observer.clone())))
            }
        };
        let judge = match (introspection, &keys) {
            (Some(settings), _) => {
                let same = same.and_then(|entry| match &entry.judge {
                    Judge::Issuer(introspector) if introspector.is_of(&expected, &settings, jwks) => Some(introspector),
                    Judge::Issuer(_) | Judge::Keys(_) => None,
                });
                Judge::Issuer(match same {
                    Some(introspector) => introspector.clone(),
                    None => {
                        let shared = shared.clone();
                        let new =
                            Introspector::new(expected.clone(), settings, &trust_anchors, keys.clone(), jwks, shared);
                        Arc::new(new.map_err(failed)?)
                    }
                })
            }
            (None, Some(keys)) => Judge::Keys(keys.clone()),
            (None, None) => unreachable!("keys are needed whenever the gateway verifies tokens"),
        };
        let id = match same.filter(|entry| entry.expected == expected && entry.judge.is_same(&judge)) {
            Some(entry) => entry.id,
            None => NEXT_ID.fetch_add(1, Ordering::Relaxed),
        };
        Ok(Self { id, expected, keys, judge, source_key })
    }
}

impl Judge {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keys(one), Self::Keys(other)) => one.shares_keys_with(other),
            (Self::Issuer(one), Self::Issuer(other)) => Arc::ptr_eq(one, other),
            (Self::Keys(_), Self::Issuer(_)) | (Self::Issuer(_), Self::Keys(_)) => false,
        }
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);
