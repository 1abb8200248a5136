//! `/readyz`: whether the gateway is ready and, if not, why: as text, or as JSON for a client that accepts it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fapi::text::is_media_type;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::{Admin, JSON, TEXT};
use crate::generation::Missing;
use crate::store::guarantee::{Guarantee, Level};

/// Why the gateway is not ready.
pub(super) enum Reason {
    Draining,
    Starting,
    Missing(Missing),
    Audit,
    ReplayLog,
}

impl Admin {
    /// The response to `GET /readyz`: its status, content type and body.
    pub(super) fn readiness(&self, headers: &HeaderMap) -> (StatusCode, &'static str, Vec<u8>) {
        let (reasons, guarantees) = (self.reasons(), self.generation.load().guarantees(self.clock.unix_time()));
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if accepts(headers, JSON) {
            let entries: Vec<Value> = reasons.iter().map(Reason::entry).collect();
            let guarantees: BTreeMap<_, _> =
                guarantees.iter().map(|guarantee| (guarantee.name, guarantee.level.as_str())).collect();
            let body = json!({ "ready": reasons.is_empty(), "reasons": entries, "guarantees": guarantees });
            return (status, JSON, format!("{body}\n").into_bytes());
        }
        let ok = reasons.is_empty().then(|| "ok\n".to_owned());
        let reasons = reasons.iter().map(|reason| format!("{reason}\n"));
        // Replicas that decide by themselves serve, so that is a detail and no reason.
        let degraded = guarantees.iter().filter(|Guarantee { level, .. }| *level == Level::Degraded);
        let details = degraded.map(|Guarantee { name, level }| format!("{name} is {}\n", level.as_str()));
        (status, TEXT, ok.into_iter().chain(reasons).chain(details).collect::<String>().into_bytes())
    }

    /// Why the gateway is not ready; nothing if it is.
    pub(super) fn reasons(&self) -> Vec<Reason> {
        if self.drain.began() {
            return vec![Reason::Draining];
        }
        let generation = self.generation.load();
        let mut reasons: Vec<Reason> = generation.awaited().into_iter().map(Reason::Missing).collect();
        reasons.extend((!generation.on_overflow.is_ready(&self.audit)).then_some(Reason::Audit));
        reasons.extend((!self.replay_log_is_old_enough()).then_some(Reason::ReplayLog));
        reasons.extend((!self.serves.load(Ordering::Acquire)).then_some(Reason::Starting));
        reasons
    }

    fn replay_log_is_old_enough(&self) -> bool {
        if !self.replay_log_known.load(Ordering::Acquire) {
            let wait = self.generation.load().replay_log_too_young_for(self.clock.unix_time());
            self.replay_log_known.store(wait == 0, Ordering::Release);
            return wait == 0;
        }
        true
    }
}

impl Reason {
    fn entry(&self) -> Value {
        let text = self.to_string();
        let of = |reason: &str, kind: &str, name: &Arc<str>| json!({ "reason": reason, kind: &**name, "text": text });
        match self {
            Self::Draining => json!({ "reason": "draining", "text": text }),
            Self::Starting => json!({ "reason": "starting", "text": text }),
            Self::Missing(Missing::Keys(issuer)) => of("keys", "issuer", issuer),
            Self::Missing(Missing::IntrospectionEndpoint(issuer)) => of("introspection_endpoint", "issuer", issuer),
            Self::Missing(Missing::Address(upstream)) => of("address", "upstream", upstream),
            Self::Missing(Missing::Directory(directory)) => of("directory", "directory", directory),
            Self::Missing(Missing::Revocations(store)) => of("revocations", "store", store),
            Self::Audit => json!({ "reason": "audit", "text": text }),
            Self::ReplayLog => json!({ "reason": "replay_log", "text": text }),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("draining"),
            Self::Starting => f.write_str("starting"),
            Self::Missing(missing) => write!(f, "waiting for {missing}"),
            Self::Audit => f.write_str("the audit cannot be written"),
            Self::ReplayLog => f.write_str("waiting until the replay log knows every use of a proof"),
        }
    }
}

/// Whether `Accept` names this media type itself and with a weight: a range such as `*/*` does not count.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let ranges = headers.get_all(header::ACCEPT).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let mut ranges = ranges.filter_map(|range| HeaderValue::from_bytes(range).ok());
    ranges.any(|range| is_media_type(&range, media_type) && !is_refused(&range))
}

/// RFC 9110 §12.4.2: "A weight value of 0 means "not acceptable"."
fn is_refused(range: &HeaderValue) -> bool {
    let parameters = range.as_bytes().split(|b| *b == b';').skip(1);
    parameters.map(<[u8]>::trim_ascii).any(|parameter| {
        let weight = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
        weight.is_some_and(|weight| weight.starts_with(b"0") && weight.iter().all(|b| matches!(b, b'0' | b'.')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_those_who_name_it() {
        let json = |accept: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            accepts(&headers, JSON)
        };
        for accept in [
            &["application/json"][..],
            &["text/html, application/json;q=0.9, */*;q=0.8"],
            &["text/plain", "Application/JSON; charset=utf-8"],
        ] {
            assert!(json(accept), "{accept:?}");
        }
        for accept in [
            &[][..],
            &["*/*"],
            &["application/*"],
            &["text/plain"],
            &["application/json-seq"],
            &["application/json;q=0"],
            &["application/json; q=0.000, */*"],
        ] {
            assert!(!json(accept), "{accept:?}");
        }
    }
}
