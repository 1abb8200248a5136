//! Whether files are still what they were when they were read.
//!
//! Files are looked at in intervals, through every link on the way; the system is not asked to tell of changes. Kubernetes
//! swaps a link two directories away, editors and certificate managers put a new file in the old one's place, and network and
//! layered file systems tell nothing of what others write: a look sees all of these alike. While nothing happens it costs one
//! `stat` for each file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fapi::sha256;

/// The files that something was made of, each with a digest of what was in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, (u64, Content)>);

/// The SHA-256 of what was in a file; `None` if it could not be read, or was read twice with different results.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Content(Option<[u8; 32]>);

impl Files {
    /// Reads a file, up to `limit` bytes, and notes what was in it.
    ///
    /// # Errors
    /// When it cannot be read; that is noted too.
    pub fn read(&mut self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = read(path, limit);
        let content = Content::of(&bytes);
        let (_, noted) = self.0.entry(path.to_owned()).or_insert((limit, content));
        if *noted != content {
            *noted = Content(None);
        }
        bytes
    }

    /// Their paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

/// Names alone: a digest of a key is nobody's business.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Content {
    fn of(bytes: &io::Result<Vec<u8>>) -> Self {
        Self(bytes.as_ref().ok().map(|bytes| sha256(bytes)))
    }
}

/// Compares files with what was read of them.
#[derive(Default)]
pub struct Watch(Vec<Watched>);

struct Watched {
    path: PathBuf,
    limit: u64,
    read: Content,
    /// What the last look saw.
    seen: Content,
    stamp: Option<Stamp>,
}

/// What a look saw.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Every file is as it was when it was read.
    Same,
    /// Something is being written: what is there now is not what was there at the look before.
    Changing,
    /// These files are not as they were when they were read, and as they were at the look before.
    Changed(Vec<PathBuf>),
}

impl Watch {
    /// Watches these files from now on.
    pub fn new(files: &Files) -> Self {
        let watched = |(path, (limit, read)): (&PathBuf, &(u64, Content))| Watched {
            path: path.clone(),
            limit: *limit,
            read: *read,
            seen: *read,
            stamp: None,
        };
        Self(files.0.iter().map(watched).collect())
    }

    /// Looks at every file; reads those whose metadata say that they may be others.
    pub fn look(&mut self) -> Look {
        let mut settled = true;
        let mut changed = Vec::new();
        for file in &mut self.0 {
            // First the metadata: what is written between this and the reading shows at the next look.
            let stamp = Stamp::of(&file.path);
            if stamp.is_none() || stamp != file.stamp {
                let content = Content::of(&read(&file.path, file.limit));
                settled &= content == file.seen;
                (file.seen, file.stamp) = (content, stamp);
            }
            if file.seen != file.read {
                changed.push(file.path.clone());
            }
        }
        match (changed.is_empty(), settled) {
            (true, _) => Look::Same,
            (false, false) => Look::Changing,
            (false, true) => Look::Changed(changed),
        }
    }
}

/// What changes with a file, of the one that a path leads to in the end. `ctime` cannot be set back, as `mtime` can.
#[derive(PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LIMIT: u64 = 1024;

    /// A folder of its own for each test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("fapi-gateway-watch-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Reads the files and watches them.
    fn watch(paths: &[&Path]) -> Watch {
        let mut files = Files::default();
        for path in paths {
            let _ = files.read(path, LIMIT);
        }
        Watch::new(&files)
    }

    #[test]
    fn sees_a_change_once_it_has_settled() {
        let folder = Folder::new("settled");
        let (a, b) = (folder.write("a", "one"), folder.write("b", "one"));
        let mut watch = watch(&[&a, &b]);
        assert_eq!((watch.look(), watch.look()), (Look::Same, Look::Same));
        folder.write("a", "two, half");
        assert_eq!(watch.look(), Look::Changing);
        folder.write("a", "two, whole");
        assert_eq!(watch.look(), Look::Changing);
        assert_eq!((watch.look(), watch.look()), (Look::Changed(vec![a.clone()]), Look::Changed(vec![a])));
        folder.write("a", "one");
        assert_eq!(watch.look(), Look::Same, "as it was read");
    }

    #[test]
    fn sees_what_was_written_between_the_reading_and_the_first_look() {
        let folder = Folder::new("between");
        let path = folder.write("a", "one");
        let mut watch = watch(&[&path]);
        folder.write("a", "two");
        assert_eq!((watch.look(), watch.look()), (Look::Changing, Look::Changed(vec![path])));
    }

    #[test]
    fn takes_the_same_content_in_another_file_for_the_same() {
        let folder = Folder::new("same");
        let path = folder.write("a", "one");
        let mut watch = watch(&[&path]);
        assert_eq!(watch.look(), Look::Same);
        std::fs::rename(folder.write("new", "one"), &path).unwrap();
        assert_eq!(watch.look(), Look::Same);
        std::fs::rename(folder.write("new", "two"), &path).unwrap(); // control
        assert_eq!(watch.look(), Look::Changing);
    }

    #[test]
    fn sees_files_come_and_go() {
        let folder = Folder::new("come");
        let path = folder.0.join("a");
        let mut absent = watch(&[&path]);
        assert_eq!(absent.look(), Look::Same, "still not there");
        folder.write("a", "one");
        assert_eq!((absent.look(), absent.look()), (Look::Changing, Look::Changed(vec![path.clone()])));
        let mut present = watch(&[&path]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!((present.look(), present.look()), (Look::Changing, Look::Changed(vec![path])));
    }

    #[test]
    fn sees_through_links_that_are_swapped_as_kubernetes_does() {
        let folder = Folder::new("links");
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            std::fs::create_dir(folder.0.join(version)).unwrap();
            folder.write(&format!("{version}/tls.crt"), text);
        }
        symlink("..1", folder.0.join("..data")).unwrap();
        let path = folder.0.join("tls.crt");
        symlink("..data/tls.crt", &path).unwrap();
        let mut watch = watch(&[&path]);
        assert_eq!(watch.look(), Look::Same);
        symlink("..2", folder.0.join("..data_tmp")).unwrap();
        std::fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
        std::fs::remove_dir_all(folder.0.join("..1")).unwrap();
        assert_eq!((watch.look(), watch.look()), (Look::Changing, Look::Changed(vec![path])));
    }

    #[test]
    fn what_was_read_in_two_states_is_neither() {
        let folder = Folder::new("two");
        let path = folder.write("a", "one");
        let mut files = Files::default();
        files.read(&path, LIMIT).unwrap();
        folder.write("a", "two");
        files.read(&path, LIMIT).unwrap();
        let mut watch = Watch::new(&files);
        assert_eq!((watch.look(), watch.look()), (Look::Changing, Look::Changed(vec![path])));
        assert_eq!(format!("{files:?}"), format!("{{{:?}}}", folder.0.join("a")), "no digest");
    }
}
