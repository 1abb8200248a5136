//! One running issuer: its keys, and how its tokens are validated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fapi::token::Expected;
use reqwest::Url;

use super::http::Client;
use super::introspection::{self, AnswerStore, Introspector, SharedAnswers, Sharing};
use super::jwks::{KeySource, Location};
use super::metadata::Discovery;
use super::observer::Observer;
use super::revocations::Revocations;
use super::settings::{IssuerError, Settings, Timing};
use crate::resource::Kind;
use crate::tls_client::TrustAnchors;

/// One running issuer.
pub(super) struct Entry {
    /// A number that changes with the way tokens are validated; cached tokens of another number are not used.
    pub(super) id: u64,
    pub(super) expected: Expected,
    pub(super) keys: Option<Arc<KeySource>>,
    pub(super) judge: Judge,
    pub(super) source_key: SourceKey,
    pub(super) required: bool,
    sharing: Option<Sharing>,
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
    /// Whether keys for RS256 are read too.
    pub(super) rs256: bool,
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
        let source_key = SourceKey::of(&settings);
        let before = Before::of(&source_key, before);
        let (keys, new_keys) = match settings.needs_keys() {
            true => before.keys(&settings, shared).map(|(keys, new)| (Some(keys), new))?,
            false => (None, false),
        };
        let (judge, new_introspector) = match (&settings.introspection, &keys) {
            (Some(introspection), _) => {
                let (introspector, new) = before.introspector(&settings, introspection, keys.as_ref(), shared)?;
                (Judge::Issuer(introspector), new)
            }
            (None, Some(keys)) => (Judge::Keys(keys.clone()), false),
            (None, None) => unreachable!("keys are needed whenever the gateway verifies tokens"),
        };
        let Settings { expected, required, sharing, .. } = settings;
        let id = match before.same.filter(|entry| entry.expected == expected && entry.judge.is_same(&judge)) {
            Some(entry) => entry.id,
            None => NEXT_ID.fetch_add(1, Ordering::Relaxed),
        };
        Ok(Self { id, expected, keys, judge, source_key, required, sharing, new: new_keys || new_introspector })
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

    /// Has it share answers in the store that is found for it, if its settings say so.
    pub(super) fn share(&self, store_of: impl Fn(&Sharing) -> Option<Arc<dyn AnswerStore>>) {
        let Judge::Issuer(introspector) = &self.judge else { return };
        let SourceKey { jwks_uri, trust_anchors, .. } = &self.source_key;
        let shared = self.sharing.as_ref().and_then(|sharing| {
            let basis = introspector.basis(jwks_uri.as_ref(), trust_anchors);
            Some(SharedAnswers::new(store_of(sharing)?, sharing.keys.clone(), basis))
        });
        introspector.share(shared);
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

impl SourceKey {
    fn of(settings: &Settings) -> Self {
        let Settings { expected, jwks_uri, trust_anchors, .. } = settings;
        let (name, issuer) = (expected.name.clone(), expected.issuer.clone());
        let (jwks_uri, trust_anchors) = (jwks_uri.clone(), trust_anchors.clone());
        Self { name, issuer, jwks_uri, trust_anchors, rs256: expected.rs256.is_some() }
    }
}

/// What the previous configuration had of an issuer.
#[derive(Clone, Copy)]
struct Before<'b> {
    /// Its entry, if it is called in the same way.
    same: Option<&'b Entry>,
    /// Its entry, even if it is called in another way from now on.
    earlier: Option<&'b Entry>,
}

impl<'b> Before<'b> {
    fn of(key: &SourceKey, entries: &'b [Entry]) -> Self {
        let is_of_issuer = |other: &SourceKey| other.name == key.name && other.issuer == key.issuer;
        Self {
            same: entries.iter().find(|entry| entry.source_key == *key),
            earlier: entries.iter().find(|entry| is_of_issuer(&entry.source_key)),
        }
    }

    /// The keys of the issuer, and whether they are read in a new way.
    fn keys(self, settings: &Settings, shared: &Shared) -> Result<(Arc<KeySource>, bool), IssuerError> {
        let Settings { expected, jwks_uri, jwks, trust_anchors, .. } = settings;
        if let Some(keys) = self.same.and_then(|entry| entry.keys.as_ref()) {
            return Ok((Arc::new(keys.with_settings(*jwks)), false));
        }
        let name = || expected.name.clone();
        let location = match jwks_uri {
            Some(url) if url.scheme() != "https" => return Err(IssuerError::JwksUriNotHttps { issuer: name() }),
            Some(url) => Location::Configured(url.clone()),
            None => Location::Discovered(
                Discovery::new(&expected.issuer)
                    .map_err(|error| IssuerError::NotDiscoverable { issuer: name(), error })?,
            ),
        };
        let Shared { timing, observer, .. } = shared;
        let client = Client::new(trust_anchors, timing.connect_timeout, timing.timeout)
            .map_err(|error| IssuerError::Client { issuer: name(), error })?;
        let source = KeySource::new(name(), location, client, *jwks, *timing, observer.clone());
        let source = source.with_rs256(expected.rs256.is_some());
        let source = match self.earlier.and_then(|entry| entry.keys.as_ref()) {
            Some(earlier) => source.succeeding(earlier),
            None => source,
        };
        Ok((Arc::new(source), true))
    }

    /// The introspector of the issuer, and whether it asks in a new way.
    fn introspector(
        self,
        settings: &Settings,
        introspection: &introspection::Settings,
        keys: Option<&Arc<KeySource>>,
        shared: &Shared,
    ) -> Result<(Arc<Introspector>, bool), IssuerError> {
        let Settings { expected, jwks, trust_anchors, .. } = settings;
        if let Some(Judge::Issuer(same)) = self.same.map(|entry| &entry.judge)
            && same.is_of(expected, introspection, *jwks)
        {
            return Ok((same.clone(), false));
        }
        let (introspection, keys) = (introspection.clone(), keys.cloned());
        let made = Introspector::new(expected.clone(), introspection, trust_anchors, keys, *jwks, shared.clone());
        let made = made.map_err(|error| IssuerError::Client { issuer: expected.name.clone(), error })?;
        let made = match self.earlier.map(|entry| &entry.judge) {
            Some(Judge::Issuer(earlier)) => made.succeeding(earlier),
            Some(Judge::Keys(_)) | None => made,
        };
        Ok((Arc::new(made), true))
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
