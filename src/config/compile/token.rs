//! Private keys that may be in a token (PKCS#11).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Build;
use super::unreadable::unreadable;
use crate::config::NamedFiles;
use crate::config::error::KeyPath;
use crate::config::file;
use crate::config::scalar::FilePath;
use crate::pkcs11::{self, Location, Opened, Part, Pin};
use crate::resource::Kind;

impl Build<'_> {
    /// The key of this mapping, which has signed once; `None` inside where files are not read.
    pub(super) fn token_key(&mut self, at: &KeyPath, entry: &file::InToken) -> Option<Option<Opened>> {
        let at = at.key("pkcs11");
        let way_out = "write `module`, `token`, `object` and `pin_file`";
        let entry = self.needed(&at, entry.pkcs11.as_ref(), way_out)?;
        let (token_at, object_at, pin_at) = (at.key("token"), at.key("object"), at.key("pin_file"));
        let module = self.module(&at.key("module"), entry.module.as_ref());
        let token = self.label(&token_at, entry.token.as_deref(), "write the label of the token");
        let object = self.label(&object_at, entry.object.as_deref(), "write the label of the private key");
        let pin_file = self.needed(&pin_at, entry.pin_file.as_ref(), "name the file with the PIN of the token's user");
        let text = pin_file.and_then(|path| self.secret(&pin_at, Some(path)));
        let (module, token, object, pin_file, text) = (module?, token?, object?, pin_file?, text?);
        // Nothing is loaded and nobody logs in where files are not read.
        let (NamedFiles::Read, Some(text)) = (self.named_files, text) else { return Some(None) };
        let written = std::fs::metadata(self.resolve(&pin_file.0)).and_then(|metadata| metadata.modified()).ok();
        let location = Location { module, token, object };
        let name = location.uri();
        match pkcs11::open(&location, Pin::new(text, written)) {
            Ok(opened) => {
                self.resources.push((self.report.as_written(&object_at), (Kind::PrivateKey, name.into())));
                Some(Some(opened))
            }
            Err(problem) => {
                let at = match problem.part() {
                    Part::Whole => at,
                    Part::Module => at.key("module"),
                    Part::Token => token_at,
                    Part::Object => object_at,
                    Part::Pin => pin_at,
                };
                self.resources.push((self.report.as_written(&at), (Kind::PrivateKey, name.into())));
                self.passing = self.passing.saturating_add(usize::from(problem.may_pass()));
                self.problem(&at, problem.to_string());
                None
            }
        }
    }

    /// The whole path of a library that no other user of the machine can replace but root, since it becomes part of the process.
    /// What a group may write is the administrator's choice.
    fn module(&mut self, at: &KeyPath, path: Option<&FilePath>) -> Option<PathBuf> {
        let path = self.needed(at, path, "name the library that came with the token")?;
        let path = self.resolve(&path.0);
        if self.named_files == NamedFiles::Unread {
            return Some(path);
        }
        match std::fs::canonicalize(&path).and_then(|path| Ok((openness(&path)?, path))) {
            Ok((Some((part, why)), _)) => {
                let problem = format!(
                    "`{}` is a library that other users of this machine can replace, and the gateway would run it: `{}` {why}; then install the library again",
                    path.display(),
                    part.display()
                );
                self.problem(at, problem);
                None
            }
            Ok((None, path)) => Some(path),
            Err(error) => {
                self.problem(at, format!("`{}` cannot be read: {}", path.display(), unreadable(&path, &error)));
                None
            }
        }
    }

    fn label(&mut self, at: &KeyPath, label: Option<&str>, way_out: &str) -> Option<String> {
        let label = self.text(at, label, way_out)?;
        if label.len() > LONGEST_LABEL || label.chars().any(char::is_control) {
            self.problem(at, format!("a label has at most {LONGEST_LABEL} bytes, in one line; {way_out}"));
            return None;
        }
        Some(label.to_owned())
    }
}

/// The file of this path, which has no links, or the first folder above it that lets other users replace what is below, and why.
fn openness(path: &Path) -> io::Result<Option<(PathBuf, &'static str)>> {
    let own = rustix::process::geteuid().as_raw();
    for part in path.ancestors() {
        let metadata = std::fs::metadata(part)?;
        if let Some(why) = why_open(metadata.is_dir(), metadata.mode(), metadata.uid(), own) {
            return Ok(Some((part.to_owned(), why)));
        }
    }
    Ok(None)
}

fn why_open(is_folder: bool, mode: u32, owner: u32, own: u32) -> Option<&'static str> {
    // In a sticky folder, such as /tmp, nobody replaces what belongs to others.
    let is_sticky = is_folder && mode & 0o1000 != 0;
    match () {
        () if mode & 0o002 != 0 && !is_sticky => Some("can be written by every user; take that away (`chmod o-w`)"),
        () if owner != 0 && owner != own => {
            Some("belongs neither to root nor to the user of this process; change that (`chown root`)")
        }
        () => None,
    }
}

/// The longest label of a key; that of a token has at most 32 bytes.
const LONGEST_LABEL: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_open_to_those_who_may_write_or_own_a_part_of_its_path() {
        let (root, own, other) = (0, 1000, 1001);
        for (is_folder, mode, owner, wanted) in [
            (false, 0o100_755, root, None),
            (false, 0o100_755, own, None),
            (false, 0o100_775, root, None),
            (false, 0o100_755, other, Some("belongs neither")),
            (false, 0o100_757, root, Some("can be written")),
            (false, 0o101_757, root, Some("can be written")),
            (true, 0o040_755, own, None),
            (true, 0o040_757, root, Some("can be written")),
            (true, 0o041_777, root, None),
            (true, 0o041_777, other, Some("belongs neither")),
        ] {
            let found = why_open(is_folder, mode, owner, own);
            assert_eq!(
                found.map(|why| why.starts_with(wanted.unwrap_or("?"))),
                wanted.map(|_| true),
                "{mode:o} {owner}"
            );
        }
    }
}
