//! What the demo's gateway writes into its audit.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::mpsc;

/// The audit lines by interaction id, so that the demo can show what an operator would see.
#[derive(Clone, Default)]
pub(super) struct AuditLines(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    partial: Vec<u8>,
    lines: HashMap<String, Value>,
    follower: Option<mpsc::Sender<Value>>,
}

impl AuditLines {
    pub(super) fn find(&self, interaction: &str) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines.get(interaction).cloned()
    }

    /// Sends every line from now on, and keeps none.
    pub(super) fn follow(&self) -> mpsc::Receiver<Value> {
        let (sender, receiver) = mpsc::channel(1024);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.follower, kept.lines) = (Some(sender), HashMap::new());
        receiver
    }
}

impl Write for AuditLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.partial.extend_from_slice(bytes);
        while let Some(end) = kept.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = kept.partial.drain(..=end).collect();
            let Ok(line) = serde_json::from_slice::<Value>(&line) else { continue };
            if let Some(follower) = &kept.follower {
                let _ = follower.try_send(line);
            } else if let Some(id) = line.get("interaction_id").and_then(Value::as_str).map(str::to_owned) {
                kept.lines.insert(id, line);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
