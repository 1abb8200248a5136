//! The files of the repository, as text.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, by its name below [`root`].
pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names of every Rust file below a folder; fails if there are none.
pub(crate) fn sources(folder: &str) -> Vec<String> {
    let files = walk(&root().join(folder)).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let names: Vec<String> =
        files.map(|path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()).collect();
    assert!(!names.is_empty(), "{folder} has no Rust file");
    names
}

/// The files below a folder, except build output, installed packages and what belongs to git.
pub(crate) fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let skipped = matches!(name.as_str(), ".git" | "target" | "corpus" | "artifacts" | "node_modules");
        match path.is_dir() && !path.is_symlink() {
            true if !skipped => files.extend(walk(&path)),
            false if path.is_file() => files.push(path),
            _ => {}
        }
    }
    files.sort();
    files
}
