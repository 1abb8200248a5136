//! Detects changes to files since they were read.
//!
//! Files are polled, following every link; the operating system's change notifications are not used. Kubernetes swaps a
//! link two directories away, editors and certificate managers replace the file, and network and layered file systems
//! do not report what others write: polling sees all of these alike. While nothing changes it costs one `stat` for each
//! file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fapi::sha256;
use rustix::fs::OFlags;

/// The files that something was built from, each with a digest of its content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, (Part, Content)>);

/// What is read at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The content of a file, up to so many bytes.
    Bytes(u64),
    /// The names of the files in a folder that have one of these endings.
    Names(&'static [&'static str]),
}

/// The SHA-256 of a file's content; `None` if it could not be read, or was read twice with different results.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Content(Option<[u8; 32]>);

impl Files {
    /// Reads a file, up to `limit` bytes, and records a digest of its content.
    ///
    /// # Errors
    /// When it cannot be read; that is recorded too.
    pub fn read(&mut self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.note(path, Part::Bytes(limit))
    }

    /// Lists the files of a folder that have one of these endings, by their names, in their order, and records a digest of them.
    /// Hidden files are left out: editors and Kubernetes keep files there that are not meant to be read.
    ///
    /// # Errors
    /// When it cannot be listed; that is recorded too.
    pub fn list(&mut self, path: &Path, endings: &'static [&'static str]) -> io::Result<Vec<String>> {
        let names = self.note(path, Part::Names(endings))?;
        Ok(String::from_utf8_lossy(&names).lines().map(str::to_owned).collect())
    }

    fn note(&mut self, path: &Path, part: Part) -> io::Result<Vec<u8>> {
        let bytes = part.read(path);
        let content = Content::of(&bytes);
        let (_, noted) = self.0.entry(path.to_owned()).or_insert((part, content));
        if *noted != content {
            *noted = Content(None);
        }
        bytes
    }

    /// The paths that are among `later` too, and had another content there.
    pub fn that_differ(&self, later: &Self) -> Vec<PathBuf> {
        let both = self.0.iter().filter_map(|(path, before)| Some((path, before, later.0.get(path)?)));
        both.filter(|(_, before, after)| before != after).map(|(path, ..)| path.clone()).collect()
    }

    /// Their paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

/// Shows only the names: the digest of a key is nobody's business.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Part {
    fn read(self, path: &Path) -> io::Result<Vec<u8>> {
        match self {
            Self::Bytes(limit) => read(path, limit),
            Self::Names(endings) => names(path, endings),
        }
    }
}

/// The names of the files in a folder that have one of these endings, in their order, one on each line.
fn names(path: &Path, endings: &[&str]) -> io::Result<Vec<u8>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        let extension = Path::new(&name).extension();
        let is_meant = extension.is_some_and(|extension| endings.iter().any(|ending| extension == *ending));
        if let Some(name) = name.to_str().filter(|name| is_meant && !name.starts_with('.') && !name.contains('\n')) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names.join("\n").into_bytes())
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe waits for its writer, and opening a device may do something.
    refuse_special(&std::fs::metadata(path)?)?;
    let nonblocking = OFlags::NONBLOCK.bits().try_into().unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    // Whatever is there by now.
    let metadata = file.metadata()?;
    refuse_special(&metadata)?;
    // What is a key is not left in memory that a growing buffer gives back.
    let length = metadata.len().min(limit).saturating_add(GROWTH);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn refuse_special(metadata: &Metadata) -> io::Result<()> {
    match metadata.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        kind if kind.is_fifo() => Err(io::Error::other("it is a pipe, not a file")),
        kind if kind.is_socket() => Err(io::Error::other("it is a socket, not a file")),
        _ => Err(io::Error::other("it is a device, not a file")),
    }
}

impl Content {
    fn of(bytes: &io::Result<Vec<u8>>) -> Self {
        Self(bytes.as_ref().ok().map(|bytes| sha256(bytes)))
    }
}

/// Compares files with their content when they were read.
#[derive(Default)]
pub struct Watch(Vec<Watched>);

struct Watched {
    path: PathBuf,
    part: Part,
    read: Content,
    /// The content at the last look.
    seen: Content,
    stamp: Option<Stamp>,
}

/// The result of one look at all files.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Every file is as it was when it was read.
    Same,
    /// A file is being written: its content differs from the look before.
    Changing,
    /// These files differ from when they were read, and have not changed since the look before.
    Changed(Vec<PathBuf>),
}

impl Watch {
    /// Starts watching these files.
    pub fn new(files: &Files) -> Self {
        let watched = |(path, (part, read)): (&PathBuf, &(Part, Content))| Watched {
            path: path.clone(),
            part: *part,
            read: *read,
            seen: *read,
            stamp: None,
        };
        Self(files.0.iter().map(watched).collect())
    }

    /// Looks at every file, and reads those whose metadata show that they may have changed.
    pub fn look(&mut self) -> Look {
        let mut settled = true;
        let mut changed = Vec::new();
        for file in &mut self.0 {
            // The metadata come first: a write between the two steps is then noticed at the next look.
            let stamp = Stamp::of(&file.path);
            if stamp.is_none() || stamp != file.stamp {
                let content = Content::of(&file.part.read(&file.path));
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

/// The metadata of the file that a path finally leads to, which change when it does. Unlike `mtime`, `ctime` cannot be
/// set back.
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

/// How much more than its length is read of a file at first, so that its end is found.
const GROWTH: u64 = 64;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LIMIT: u64 = 1024;

    /// A temporary folder for one test.
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
    fn sees_files_come_into_a_folder() {
        let folder = Folder::new("folder");
        folder.write("b.yaml", "one");
        folder.write(".c.yaml", "hidden");
        let mut files = Files::default();
        assert_eq!(files.list(&folder.0, &["yaml", "yml"]).unwrap(), ["b.yaml"]);
        let mut watch = Watch::new(&files);
        assert_eq!(watch.look(), Look::Same);
        folder.write("notes.txt", "one");
        assert_eq!(watch.look(), Look::Same, "no YAML");
        folder.write("a.yml", "one");
        assert_eq!((watch.look(), watch.look()), (Look::Changing, Look::Changed(vec![folder.0.clone()])));
        assert_eq!(files.list(&folder.0, &["yaml", "yml"]).unwrap(), ["a.yml", "b.yaml"]);
    }

    #[test]
    fn knows_what_was_read_twice_with_another_content() {
        let folder = Folder::new("differ");
        let paths = ["a", "b", "gone"].map(|name| folder.write(name, "one"));
        let read = |paths: &[&PathBuf]| {
            let mut files = Files::default();
            for path in paths {
                let _ = files.read(path, LIMIT);
            }
            files
        };
        let before = read(&[&paths[0], &paths[1], &paths[2]]);
        assert_eq!(before.that_differ(&before), Vec::<PathBuf>::new()); // control
        let new = folder.write("new", "two");
        folder.write("b", "two");
        assert_eq!(before.that_differ(&read(&[&paths[0], &paths[1], &new])), [paths[1].clone()]);
    }

    #[test]
    fn refuses_what_is_no_file_without_waiting() {
        let folder = Folder::new("special");
        let mut files = Files::default();
        assert!(files.read(&folder.write("a", "one"), LIMIT).is_ok(), "control");
        let socket = folder.0.join("socket");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let pipe = folder.0.join("pipe");
        let made = rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0);
        made.unwrap();
        for (path, what) in
            [(&*folder.0, "directory"), (Path::new("/dev/zero"), "a device"), (&socket, "a socket"), (&pipe, "a pipe")]
        {
            let error = files.read(path, LIMIT).unwrap_err().to_string();
            assert!(error.contains(what), "{}: {error}", path.display());
        }
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
