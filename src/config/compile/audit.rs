//! `audit`: where the lines go, and how they are chained.

use std::sync::Arc;
use std::time::Duration;

use fapi::jose::signing::PrivateKey;

use super::Build;
use super::signing::P_256;
use crate::config::NamedFiles;
use crate::config::error::{KeyPath, nearest};
use crate::config::file::{self, File};
use crate::config::judge::directory_of;
use crate::config::scalar::FilePath;
use crate::telemetry::audit;
use crate::telemetry::audit::chain::{ChainKey, ChainSettings};

impl Build<'_> {
    pub(super) fn audit(&mut self, file: &mut File) -> Option<audit::Settings> {
        let entry = file.audit.get_or_insert_default();
        let on_overflow = match entry.on_overflow.get_or_insert(file::OnOverflow::Drop) {
            file::OnOverflow::Drop => audit::OnOverflow::Drop,
            file::OnOverflow::Block => audit::OnOverflow::Block,
            file::OnOverflow::Refuse => audit::OnOverflow::Refuse,
        };
        let destination = self.audit_destination(entry);
        let chain = match &mut entry.chain {
            Some(chain) => self.audit_chain(chain),
            None => Some(None),
        };
        Some(audit::Settings { destination: destination?, on_overflow, chain: chain? })
    }

    /// How lines are chained; `None` inside where files are not read.
    fn audit_chain(&mut self, entry: &mut file::Chain) -> Option<Option<ChainSettings>> {
        let at = KeyPath::of("audit").key("chain");
        let key_at = at.key("key");
        let path = self.needed(&key_at, entry.key.as_ref(), "name the PEM file of a key for this alone");
        let key = path.and_then(|path| self.private_key(&key_at, path));
        let checkpoint_at = at.key("checkpoint");
        let checkpoint = entry.checkpoint.get_or_insert_default();
        let records = checkpoint.records.get_or_insert(1000);
        let records = self.number(&checkpoint_at.key("records"), records, 1..=1_000_000);
        let range = Duration::from_millis(100)..=Duration::from_secs(60 * 60);
        let usual = Duration::from_secs(10);
        let interval = self.time_within(&checkpoint_at.key("interval"), &mut checkpoint.interval, usual, range);
        if self.named_files == NamedFiles::Unread {
            return key.and(records).and(interval).map(|_| None);
        }
        let key = PrivateKey::from_der(&key?).map_err(|error| error.to_string());
        match key.and_then(|key| ChainKey::new(key).map_err(|error| error.to_string())) {
            Ok(key) => Some(Some(ChainSettings { key: Arc::new(key), records: records?, interval: interval? })),
            Err(problem) => {
                self.problem(&key_at, format!("{problem}; create another key: {P_256}"));
                None
            }
        }
    }

    fn audit_destination(&mut self, entry: &mut file::Audit) -> Option<audit::Destination> {
        let at = KeyPath::of("audit").key("destination");
        let written = &entry.destination.get_or_insert_with(|| FilePath("stdout".into())).0;
        let text = written.to_str().unwrap_or_default();
        if text == "stdout" {
            return Some(audit::Destination::Stdout);
        }
        if nearest(text, ["stdout", "stderr"]).is_some() {
            let problem =
                format!("`{text}` is not a valid value; did you mean `stdout`? To name a file, write `./{text}`");
            self.problem(&at, problem);
            return None;
        }
        let path = self.resolve(written);
        if self.named_files == NamedFiles::Unread {
            return Some(audit::Destination::File(path));
        }
        if path.is_dir() || !directory_of(&path).is_dir() {
            let problem = format!(
                "`{}` is not a file in an existing directory; create the directory or correct the path",
                path.display()
            );
            self.problem(&at, problem);
            self.no_place_for_audit = true;
            return None;
        }
        Some(audit::Destination::File(path))
    }
}
