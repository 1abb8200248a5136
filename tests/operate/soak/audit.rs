//! What the audit has, read while it is rotated.

use std::collections::HashSet;
use std::fs::{File, remove_file, rename};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use serde_json::Value;

use super::world::World;

/// The interaction IDs of the exchanges that it has a line of.
#[derive(Default)]
pub(super) struct Audit {
    seen: HashSet<String>,
    /// Renamed, but not necessarily closed.
    renamed: Option<PathBuf>,
    rotations: usize,
}

impl Audit {
    pub(super) fn lines(&self) -> usize {
        self.seen.len()
    }

    /// Renames the file; the gateway goes on with another one when it is told to reload, and this one is read at the next
    /// rotation.
    pub(super) fn rotate(&mut self, world: &World) {
        let renamed = self.renamed.take();
        if let Some(path) = renamed {
            self.read(path);
        }
        let path = world.folder().path().join(format!("audit-{}.jsonl", self.rotations));
        rename(world.folder().path().join("audit.jsonl"), &path).expect("the gateway made a new one");
        self.rotations += 1;
        self.renamed = Some(path);
    }

    /// Reads what is left once the gateway has ended.
    pub(super) fn last(&mut self, world: &World) {
        let renamed = self.renamed.take();
        for path in renamed.into_iter().chain([world.folder().path().join("audit.jsonl")]) {
            self.read(path);
        }
    }

    fn read(&mut self, path: PathBuf) {
        for line in BufReader::new(File::open(&path).expect("it was renamed")).lines() {
            let line = line.expect("text");
            let record: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if record["event"] == "handshake" {
                continue;
            }
            let id = record["interaction_id"].as_str().expect("every exchange has one").to_owned();
            assert!(self.seen.insert(id), "an exchange is in the audit twice: {line}");
        }
        remove_file(path).expect("it is ours");
    }

    pub(super) fn has_each_once(&self, answered: &HashSet<String>) {
        let missing: Vec<_> = answered.difference(&self.seen).take(5).collect();
        assert!(missing.is_empty(), "answered and not in the audit: {missing:?}");
        let unanswered = self.seen.difference(answered).count();
        println!("{} exchanges in the audit, of which {unanswered} nobody read an answer of", self.seen.len());
    }
}
