//! The problems of gateway.yaml, each with its line, its key path and how to correct it.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::secret::without_keys;
use crate::config::watch::Files;
use crate::resource;

/// The path of a value in gateway.yaml, such as `routes[2].scopes`; empty for the whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<Segment>);

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Segment {
    /// The value of this key.
    Key(Box<str>),
    /// The entry of a list, counted from zero.
    Index(usize),
}

impl KeyPath {
    pub(super) fn of(key: &str) -> Self {
        Self::default().key(key)
    }

    pub(super) fn key(&self, key: &str) -> Self {
        self.join(&[Segment::Key(key.into())])
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.join(&[Segment::Index(index)])
    }

    /// This path, followed by another that begins where it ends.
    pub(super) fn join(&self, relative: &[Segment]) -> Self {
        Self([&self.0[..], relative].concat())
    }

    pub(super) fn parent(&self) -> Option<Self> {
        let (_, parents) = self.0.split_last()?;
        Some(Self(parents.to_vec()))
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    pub(super) fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if matches!(without_keys(key), Cow::Owned(_)) => {
                    f.write_str("[(a key, which is not shown)]")?
                }
                Segment::Key(key) if key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') => {
                    let dot = if place == 0 { "" } else { "." };
                    write!(f, "{dot}{key}")?;
                }
                Segment::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

/// One problem of gateway.yaml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The included file that it is in; `None` if it is in gateway.yaml.
    pub file: Option<PathBuf>,
    /// The key it is about, in its file; for a missing key, the path that it would have.
    pub path: KeyPath,
    /// Its line, from 1; for a missing key, the line of the mapping that should contain it.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
    /// What is wrong, and how to correct it.
    pub problem: String,
    /// The line of the file and a caret under the place, for text that is not YAML.
    pub excerpt: Option<String>,
}

impl ConfigError {
    /// The problem as one line, like a compiler's, with the path of gateway.yaml; an excerpt follows it.
    pub fn in_file(&self, file: &Path) -> String {
        let file = self.file.as_deref().unwrap_or(file).display();
        let mut line = format!("{file}:{}:{}: ", self.line, self.column);
        if !self.path.segments().is_empty() {
            line.push_str(&format!("{}: ", self.path));
        }
        line.push_str(&self.problem);
        if let Some(excerpt) = &self.excerpt {
            line.push('\n');
            line.push_str(excerpt);
        }
        line
    }
}

/// Every problem of gateway.yaml, ordered by line; at least one.
///
/// Prints one line for each, like a compiler, and a last line with their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file: PathBuf,
    errors: Vec<ConfigError>,
    files: Files,
    resources: Vec<(resource::Id, String)>,
    passing: bool,
}

impl ConfigErrors {
    pub(super) fn new(file: PathBuf, mut errors: Vec<ConfigError>, files: Files) -> Self {
        let place = |error: &ConfigError| (error.file.clone(), error.line, error.column, error.path.clone());
        errors.sort_by_cached_key(place);
        Self { file, errors, files, resources: Vec::new(), passing: false }
    }

    /// Adds which of the problems are those of a file.
    pub(super) fn with_resources(self, resources: Vec<(resource::Id, String)>) -> Self {
        Self { resources, ..self }
    }

    /// Adds whether all of them may disappear although none of the files that were read changes.
    pub(super) fn passing(self, passing: bool) -> Self {
        Self { passing, ..self }
    }

    /// Whether reading the configuration again may succeed although none of its files changes.
    pub const fn may_pass(&self) -> bool {
        self.passing
    }

    /// The files that are at fault, each with its problem.
    pub fn resources(&self) -> &[(resource::Id, String)] {
        &self.resources
    }

    /// The problems, ordered by line.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// Every file that was read or could not be read; a change to one of them may solve the problems.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// All problems in one line, for the log.
    pub fn in_one_line(&self) -> String {
        let problems = self.errors.iter().map(|error| {
            let of = error.file.as_ref().map(|file| format!("{}, ", file.display())).unwrap_or_default();
            match error.path.segments() {
                [] => format!("{of}line {}: {}", error.line, error.problem),
                _ => format!("{of}line {}: {}: {}", error.line, error.path, error.problem),
            }
        });
        format!("{}: {}", self.file.display(), problems.collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for error in &self.errors {
            writeln!(f, "{}", error.in_file(&self.file))?;
        }
        match self.errors.len() {
            1 => write!(f, "1 problem in {file}")?,
            count => write!(f, "{count} problems in {file}")?,
        }
        match self.errors.iter().any(|error| error.file.is_some()) {
            true => f.write_str(" and the files that it includes"),
            false => Ok(()),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// The known name that `name` is most likely a misspelling of; at most one letter in three may differ.
pub(super) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let limit = (name.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|candidate| (distance(name, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// How many letters must be added, removed, changed or swapped with their neighbour, ignoring case.
fn distance(a: &str, b: &str) -> usize {
    // Names are short; a long text is not a misspelling, and comparing it would be expensive.
    if [a, b].iter().any(|name| name.chars().count() > 64) {
        return usize::MAX;
    }
    strsim::osa_distance(&a.to_lowercase(), &b.to_lowercase())
}

/// The names as a list for a sentence, each in backquotes, separated by commas.
pub(super) fn quoted<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<String>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_that_was_meant() {
        let known = ["scopes", "issuers", "sender_constraint"];
        assert_eq!(nearest("scope", known), Some("scopes"));
        assert_eq!(nearest("scoeps", known), Some("scopes"));
        assert_eq!(nearest("sender-constraint", known), Some("sender_constraint"));
        assert_eq!(nearest("SCOPES", known), Some("scopes"));
        assert_eq!(nearest("nonce", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"scopes".repeat(1000), known), None);
    }

    #[test]
    fn a_key_path_reads_like_the_file() {
        let path = KeyPath::of("routes").index(2).key("forward").key("claims").key("https://bank.example/sub");
        assert_eq!(path.to_string(), r#"routes[2].forward.claims["https://bank.example/sub"]"#);
        assert_eq!(KeyPath::default().to_string(), "");
    }
}
