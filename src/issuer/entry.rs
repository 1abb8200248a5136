//! One running issuer: its keys, and how its tokens are validated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fapi::token::Expected;
use reqwest::Url;

use super::http::Client;
use super::introspection::Introspector;
use super::jwks::{KeySource, Location};
use super::metadata::Discovery;
use super::observer::Observer;
use super::revocations::Revocations;
use super::settings::{IssuerError, Settings, Timing, TrustAnchors};
use crate::resource::Kind;

/// One running issuer.
pub(super) struct Entry {
    /// A number that changes with the way tokens are validated; cached tokens of another number are not used.
    pub(super) id: u64,
    pub(super) expected: Expected,
    pub(super) keys: Option<Arc<KeySource>>,
    pub(super) judge: Judge,
    pub(super) source_key: SourceKey,
    pub(super) required: bool,
    /// Whether the previous configuration had neither these keys nor this introspector.
    new: bool,
}

/// What has to be read from an issuer before its tokens can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Its keys.
    Keys,
    /// The address of its introspection endpoint, in its metadata.
    IntrospectionEndpoint,
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
        let keys_needed = settings.needs_keys();
        let Settings { expected, jwks_uri, jwks, trust_anchors, introspection, required, .. } = settings;
        let Shared { timing, observer, .. } = shared;
        let (name, issuer) = (expected.name.clone(), expected.issuer.clone());
        let source_key = SourceKey { name, issuer, jwks_uri: jwks_uri.clone(), trust_anchors: trust_anchors.clone() };
        let same = before.iter().find(|entry| entry.source_key == source_key);
        // The same issuer, even if it is called in another way from now on.
        let earlier = before
            .iter()
            .find(|entry| entry.source_key.name == source_key.name && entry.source_key.issuer == source_key.issuer);
        let name = || expected.name.clone();
        let mut new = false;
        let failed = |error| IssuerError::Client { issuer: name(), error };
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
                let source = KeySource::new(name(), location, client, jwks, *timing, observer.clone());
                new = true;
                Some(Arc::new(match earlier.and_then(|entry| entry.keys.as_ref()) {
                    Some(earlier) => source.succeeding(earlier),
                    None => source,
                }))
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
                        let made =
                            Introspector::new(expected.clone(), settings, &trust_anchors, keys.clone(), jwks, shared);
                        let made = made.map_err(failed)?;
                        new = true;
                        Arc::new(match earlier.map(|entry| &entry.judge) {
                            Some(Judge::Issuer(earlier)) => made.succeeding(earlier),
                            Some(Judge::Keys(_)) | None => made,
                        })
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
        Ok(Self { id, expected, keys, judge, source_key, required, new })
    }

    /// What must be read before its tokens can be judged, and has not been since the start.
    pub(super) fn unread(&self) -> Option<Unread> {
        let keys = self.keys.as_ref().is_some_and(|keys| keys.current().is_none());
        match &self.judge {
            _ if keys => Some(Unread::Keys),
            Judge::Issuer(introspector) if !introspector.ready() => Some(Unread::IntrospectionEndpoint),
            Judge::Issuer(_) | Judge::Keys(_) => None,
        }
    }

    /// Whether it was asked for everything that is new about it.
    pub(super) fn has_settled(&self) -> bool {
        let introspector = match &self.judge {
            Judge::Issuer(introspector) => introspector.has_asked(),
            Judge::Keys(_) => true,
        };
        !self.new || (introspector && self.keys.as_ref().is_none_or(|keys| keys.has_asked()))
    }

    /// What is read from it.
    pub(super) fn resources(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.keys.iter().map(|_| Kind::Keys).collect();
        if let Judge::Issuer(introspector) = &self.judge {
            kinds.push(Kind::Introspection);
            kinds.extend(introspector.discovers().then_some(Kind::IntrospectionEndpoint));
        }
        kinds
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
