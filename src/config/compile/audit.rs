//! `audit`: where the lines go.

use super::Build;
use crate::config::NamedFiles;
use crate::config::error::{KeyPath, nearest};
use crate::config::file::{self, File};
use crate::config::judge::directory_of;
use crate::config::scalar::FilePath;
use crate::telemetry::audit;

impl Build<'_> {
    pub(super) fn audit(&mut self, file: &mut File) -> Option<audit::Settings> {
        let entry = file.audit.get_or_insert_default();
        let on_overflow = match entry.on_overflow.get_or_insert(file::OnOverflow::Drop) {
            file::OnOverflow::Drop => audit::OnOverflow::Drop,
            file::OnOverflow::Block => audit::OnOverflow::Block,
            file::OnOverflow::Refuse => audit::OnOverflow::Refuse,
        };
        Some(audit::Settings { destination: self.audit_destination(entry)?, on_overflow })
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
