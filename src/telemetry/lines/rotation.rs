//! When a file has enough lines, it gets another name, and the next lines go to a new one.
//!
//! No file is ever removed or written over.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::output::append;
use crate::clock::{Clock, Moment, rfc3339};

/// When the next lines go to a new file: when one of these is reached. With neither, they never do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// How many bytes a file has at most, unless what is written at once has more.
    pub size: Option<u64>,
    /// A file has the lines of one span of this length, which are counted from 1970 on, in UTC: an hour or a day of the clock.
    pub every: Option<Duration>,
}

/// A file that gets another name when it has enough lines.
pub struct Rotated {
    path: PathBuf,
    limits: Rotation,
    clock: Clock,
    /// Of which span the file's lines are.
    span: Option<u64>,
    /// When the last attempt failed.
    failed: Option<Moment>,
}

impl Rotated {
    /// # Errors
    /// When the file's place or its age cannot be found out.
    pub(super) fn new(path: &Path, file: &File, limits: Rotation, clock: Clock) -> io::Result<Self> {
        // A link to the file stays where it is.
        let mut rotated = Self { path: path.canonicalize()?, limits, clock, span: None, failed: None };
        let metadata = file.metadata()?;
        let written = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        rotated.span = rotated.span_of(if metadata.len() == 0 { rotated.clock.now() } else { written });
        Ok(rotated)
    }

    /// The file for the next lines, which have so many bytes; `None` if it is still this one.
    ///
    /// # Errors
    /// When the next file cannot be made: the lines still go to this one. The next attempt is in a minute.
    pub(super) fn next(&mut self, file: &File, more: usize) -> io::Result<Option<File>> {
        if self.failed.is_some_and(|failed| failed.elapsed() < AGAIN) {
            return Ok(None);
        }
        let (now, metadata) = (self.clock.now(), file.metadata()?);
        let span = self.span_of(now);
        if metadata.len() == 0 {
            self.span = span;
            return Ok(None);
        }
        let length = metadata.len().saturating_add(more as u64);
        let is_full = self.limits.size.is_some_and(|size| length > size);
        if !(is_full || span > self.span) {
            return Ok(None);
        }
        let next = self.replace(&metadata, now);
        self.failed = next.is_err().then(Moment::now);
        let next = next?;
        self.span = span;
        Ok(Some(next))
    }

    /// The file that is at the path by now, if it is another one.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn successor(&self, file: &File) -> io::Result<Option<File>> {
        let there = self.path.symlink_metadata()?;
        Ok(if is_same(&there, &file.metadata()?) { None } else { Some(append(&self.path, None)?) })
    }

    /// Gives the file another name, unless somebody else has done so already, and makes the next one.
    fn replace(&self, metadata: &Metadata, now: Duration) -> io::Result<File> {
        let is_ours = self.path.symlink_metadata().is_ok_and(|there| is_same(&there, metadata));
        let renamed = is_ours.then(|| self.name(now));
        if let Some(name) = &renamed {
            if name.symlink_metadata().is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(&self.path, name)?;
        }
        match (append(&self.path, Some(metadata.mode())), renamed) {
            (Ok(next), _) => {
                // What the process's mask has taken away. Not every file system has modes.
                let _ = next.set_permissions(metadata.permissions());
                Ok(next)
            }
            (Err(error), renamed) => {
                // So that the lines stay where they are looked for.
                if let Some(name) = renamed.filter(|_| self.path.symlink_metadata().is_err()) {
                    let _ = std::fs::rename(name, &self.path);
                }
                Err(error)
            }
        }
    }

    /// The name of a file that has its last lines: the time follows its own, so that names sort by their age.
    fn name(&self, now: Duration) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(".");
        // Some file systems, and many a script, do not take a colon.
        name.push(rfc3339(now).replace(':', "-"));
        name.into()
    }

    fn span_of(&self, time: Duration) -> Option<u64> {
        let length = self.limits.every?;
        time.as_millis().checked_div(length.as_millis()).and_then(|span| u64::try_from(span).ok())
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// How long after an attempt that failed there is another one.
const AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::{Event, Lines, Output};
    use super::*;

    fn quiet(_: Event<'_>, _: u64) {}

    /// A folder with an audit file, and a clock.
    struct Place(PathBuf, Arc<AtomicU64>);

    impl Place {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("fapi-gateway-rotation-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder, Arc::new(AtomicU64::new(1_800_000_000)))
        }

        fn path(&self) -> PathBuf {
            self.0.join("audit.jsonl")
        }

        fn open(&self, limits: Rotation) -> Output {
            let time = self.1.clone();
            let clock = Clock::from_fn(move || Duration::from_secs(time.load(Ordering::SeqCst)));
            Output::append_to(&self.path()).unwrap().rotated(&self.path(), limits, clock).unwrap()
        }

        /// Writes each of these with a second in between.
        fn write(&self, lines: &Lines, texts: &[&str]) {
            for text in texts {
                lines.sender().send(text.as_bytes());
                assert!(lines.sender().wait_until_written(Duration::from_secs(20)));
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }

        /// What the files have, by their names.
        fn files(&self) -> Vec<(String, String)> {
            let mut files: Vec<(String, String)> = std::fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| {
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    (name, std::fs::read_to_string(path).unwrap())
                })
                .collect();
            files.sort();
            files
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn file(name: &str, text: &str) -> (String, String) {
        (format!("audit.jsonl{name}"), text.to_owned())
    }

    #[test]
    fn a_file_has_at_most_its_size_unless_one_line_has_more() {
        let place = Place::new("size");
        let output = place.open(Rotation { size: Some(10), every: None });
        std::fs::set_permissions(place.path(), Permissions::from_mode(0o640)).unwrap();
        let lines = Lines::start("t", output, 1000, quiet).unwrap();
        place.write(&lines, &["1234\n", "6789\n", "next\n", "a longer line\n", "last\n"]);
        assert!(lines.close(Duration::from_secs(20)));
        assert_eq!(
            place.files(),
            [
                file("", "last\n"),
                file(".2027-01-15T08-00-02.000Z", "1234\n6789\n"),
                file(".2027-01-15T08-00-03.000Z", "next\n"),
                file(".2027-01-15T08-00-04.000Z", "a longer line\n"),
            ]
        );
        assert_eq!(place.path().metadata().unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_file_has_the_lines_of_one_span_whoever_wrote_them() {
        let place = Place::new("every");
        let limits = Rotation { size: None, every: Some(Duration::from_secs(60)) };
        let lines = Lines::start("t", place.open(limits), 1000, quiet).unwrap();
        place.1.store(1_800_000_058, Ordering::SeqCst);
        place.write(&lines, &["58\n", "59\n", "60\n", "61\n"]);
        // A clock that is set back leaves the lines where they are.
        place.1.store(1_800_000_010, Ordering::SeqCst);
        place.write(&lines, &["10\n"]);
        assert!(lines.close(Duration::from_secs(20)));
        let first = file(".2027-01-15T08-01-00.000Z", "58\n59\n");
        assert_eq!(place.files(), [file("", "60\n61\n10\n"), first.clone()]);
        // The next process finds out from the file of when its lines are.
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_119);
        File::options().append(true).open(place.path()).unwrap().set_modified(written).unwrap();
        place.1.store(1_800_000_119, Ordering::SeqCst);
        let lines = Lines::start("t", place.open(limits), 1000, quiet).unwrap();
        place.write(&lines, &["119\n", "120\n"]);
        assert!(lines.close(Duration::from_secs(20)));
        let second = file(".2027-01-15T08-02-00.000Z", "60\n61\n10\n119\n");
        assert_eq!(place.files(), [file("", "120\n"), first, second]);
    }

    #[test]
    fn a_file_that_somebody_else_has_renamed_stays_as_it_is() {
        let place = Place::new("renamed");
        let lines = Lines::start("t", place.open(Rotation { size: Some(5), every: None }), 1000, quiet).unwrap();
        place.write(&lines, &["1234\n"]);
        std::fs::rename(place.path(), place.0.join("audit.jsonl.1")).unwrap();
        place.write(&lines, &["6789\n"]);
        assert!(lines.close(Duration::from_secs(20)));
        assert_eq!(place.files(), [file("", "6789\n"), file(".1", "1234\n")]);
    }

    /// The reload opens the file before the writer rotates it, and the writer hears of it after that.
    #[test]
    fn a_reload_during_a_rotation_does_not_go_back_to_the_file_before() {
        let place = Place::new("during");
        let limits = Rotation { size: Some(12), every: None };
        let lines = Lines::start("t", place.open(limits), 1000, quiet).unwrap();
        place.write(&lines, &["1234\n", "6789\n"]);
        let opened = place.open(limits);
        place.write(&lines, &["next\n"]);
        lines.sender().continue_in(opened);
        place.write(&lines, &["a\n"]);
        assert!(lines.close(Duration::from_secs(20)));
        assert_eq!(place.files(), [file("", "next\na\n"), file(".2027-01-15T08-00-02.000Z", "1234\n6789\n")]);
    }

    #[test]
    fn no_file_is_written_over_and_lines_go_on_in_the_one_that_there_is() {
        let place = Place::new("taken");
        let limits = Rotation { size: Some(5), every: None };
        let taken = file(".2027-01-15T08-00-01.000Z", "another\n");
        std::fs::write(place.0.join(&taken.0), &taken.1).unwrap();
        let lines = Lines::start("t", place.open(limits), 1000, quiet).unwrap();
        place.write(&lines, &["1234\n", "6789\n"]);
        assert!(lines.close(Duration::from_secs(20)), "nothing is lost");
        assert_eq!(place.files(), [file("", "1234\n6789\n"), taken.clone()]);
        // A reload tries again.
        let lines = Lines::start("t", place.open(limits), 1000, quiet).unwrap();
        place.write(&lines, &["last\n"]);
        assert!(lines.close(Duration::from_secs(20)));
        assert_eq!(place.files(), [file("", "last\n"), taken, file(".2027-01-15T08-00-02.000Z", "1234\n6789\n")]);
    }

    #[test]
    fn a_reload_gives_the_same_file_other_limits() {
        let place = Place::new("reload");
        let lines = Lines::start("t", place.open(Rotation::default()), 1000, quiet).unwrap();
        place.write(&lines, &["1234\n", "6789\n"]);
        lines.sender().continue_in(place.open(Rotation { size: Some(5), every: None }));
        place.write(&lines, &["last\n"]);
        assert!(lines.close(Duration::from_secs(20)));
        assert_eq!(place.files(), [file("", "last\n"), file(".2027-01-15T08-00-02.000Z", "1234\n6789\n")]);
    }
}
