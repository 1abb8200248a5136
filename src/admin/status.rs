//! `/status`: how the last attempts to read each resource went, for people and their tools.

use serde_json::{Value, json};

use super::Admin;
use crate::clock::rfc3339;
use crate::resource::{Id, Report};
use crate::store::guarantee::Guarantee;

impl Admin {
    /// The response to `GET /status`.
    pub(super) fn status(&self) -> Vec<u8> {
        let resources: Vec<Value> = self.resources.reports().iter().map(entry).collect();
        let guarantees = self.generation.load().guarantees(self.clock.unix_time());
        let guarantees: Vec<Value> = guarantees
            .iter()
            .map(|Guarantee { name, level }| json!({ "name": name, "level": level.as_str() }))
            .collect();
        let mut text = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "ready": self.reasons().is_empty(),
            "guarantees": guarantees,
            "resources": resources,
        })
        .to_string();
        text.push('\n');
        text.into_bytes()
    }
}

/// The name of how the last attempt to read a resource went.
pub(super) const fn state(report: &Report) -> &'static str {
    match report.succeeded {
        None => "waiting",
        Some(true) => "good",
        Some(false) => "failing",
    }
}

fn entry(((kind, name), report): &(Id, Report)) -> Value {
    let last_error =
        report.last_error.as_ref().map(|failure| json!({ "time": rfc3339(failure.at), "why": failure.why }));
    json!({
        "kind": kind.as_str(),
        "name": &**name,
        "state": state(report),
        "last_success": report.last_success.map(rfc3339),
        "last_error": last_error,
    })
}
