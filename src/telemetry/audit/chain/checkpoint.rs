//! The signed lines of a chain.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;

use super::Chain;
use super::signer::ChainKey;

/// A signed line. A doc comment here is the description of its member in the reference.
#[derive(Serialize, JsonSchema)]
pub(in crate::telemetry::audit) struct Checkpoint<'c> {
    /// `checkpoint`.
    event: &'static str,
    /// When it was signed, in RFC 3339, UTC, with milliseconds.
    time: String,
    /// Why it was signed.
    reason: Reason,
    /// How many lines were lost since the process started, which are in no chain.
    lost: u64,
    /// The SHA-256 of what the file had of a line without its end when the chain began, in base64url; null if there was none.
    torn: Option<String>,
    /// Its place in its chain.
    chain: Link<'c>,
    /// A JWS in compact serialization with detached content (RFC 7515 appendix F). The content is the line without this member:
    /// all before the comma, and the closing brace.
    signature: &'static str,
}

/// The place of a line in its chain.
#[derive(Serialize, JsonSchema)]
pub(in crate::telemetry::audit) struct Link<'c> {
    /// The ID of the chain, a UUID; each process has its own.
    id: &'c str,
    /// How many lines of the chain come before this one.
    sequence: u64,
    /// The SHA-256 of the line before it in the chain, without its end, in base64url. In the first line of a chain that of the line
    /// that the file ended with, or null if there was none.
    previous: Option<String>,
}

/// Why a checkpoint was signed.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::telemetry::audit) enum Reason {
    /// The chain begins.
    Begin,
    /// There were as many lines since the one before as `checkpoint.records` says.
    Records,
    /// A line was without a checkpoint for as long as `checkpoint.interval` says.
    Interval,
    /// The chain ends, since the process does.
    End,
}

/// The JSON Schema of a checkpoint.
pub fn checkpoint_schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Checkpoint<'_>>().to_value()
}

impl<'c> Checkpoint<'c> {
    /// The next line of a chain.
    pub(super) fn new(time: String, reason: Reason, lost: u64, chain: &'c Chain) -> Self {
        let shown = |hash: [u8; 32]| URL_SAFE_NO_PAD.encode(hash);
        Self {
            event: "checkpoint",
            time,
            reason,
            lost,
            torn: chain.torn.map(shown),
            chain: Link { id: &chain.id, sequence: chain.sequence, previous: chain.previous.map(shown) },
            signature: "",
        }
    }

    /// Appends the line without its end; returns whether it was signed.
    pub(super) fn write(&self, key: &ChainKey, out: &mut Vec<u8>) -> bool {
        // Still without its signature, which is the last member.
        let Ok(line) = serde_json::to_vec(self) else { return false };
        let before = line.strip_suffix(b"\"}").and_then(|line| line.strip_suffix(SIGNATURE.as_bytes()));
        let Some(before) = before else { return false };
        let Ok(signature) = key.sign(&[before, b"}"].concat()) else { return false };
        for part in [before, SIGNATURE.as_bytes(), signature.as_bytes(), b"\"}"] {
            out.extend_from_slice(part);
        }
        true
    }
}

/// What the content of a checkpoint and its signature have between them.
pub(super) const SIGNATURE: &str = ",\"signature\":\"";
