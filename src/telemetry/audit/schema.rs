//! The JSON Schema of the audit, for those who read it.

use schemars::JsonSchema;

use super::chain::{CheckpointLine, Link};
use super::handshake::Line as HandshakeLine;
use super::record::Line as ExchangeLine;

/// A line of the audit of fapi-gateway.
#[derive(JsonSchema)]
#[schemars(untagged, title = "audit line")]
#[expect(dead_code, clippy::large_enum_variant, reason = "it is described and never made")]
enum Line<'l> {
    /// An exchange.
    Exchange(Chained<'l, ExchangeLine<'l>>),
    /// A handshake that failed.
    Handshake(Chained<'l, HandshakeLine<'l>>),
    /// A signed line of a chain.
    Checkpoint(CheckpointLine<'l>),
}

/// A line that may be in a chain.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is described and never made")]
struct Chained<'l, L> {
    #[schemars(flatten)]
    line: L,
    /// Its place in its chain, if `audit.chain` is set.
    #[schemars(skip_serializing_if = "Option::is_none")]
    chain: Option<Link<'l>>,
}

/// The JSON Schema (2020-12) of every line.
pub fn schema_of_lines() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Line<'_>>().to_value()
}
