//! The problems of gateway.yaml and of the files that it includes, and the place of every key.
//!
//! A path is that of the whole configuration, with what other files add at the ends of its lists. What an operator sees is
//! the path in the file that has the key.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::error::{ConfigError, KeyPath, Segment};
use super::secret::without_keys;

/// The problems found so far, and the position of every key.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: Vec<ConfigError>,
    positions: HashMap<KeyPath, Position>,
    /// The values that are written without quotes and have a `${`.
    plain: BTreeSet<KeyPath>,
    /// The entries of lists that come from other files.
    included: Vec<Included>,
    /// What was removed or is known to be wrong; nothing at or under these paths is reported again.
    covered: Vec<KeyPath>,
    /// Lists that an entry was removed from; they are not reported as too short.
    shortened: Vec<KeyPath>,
    /// The indices, as written in the file, of the entries that were removed from each list.
    removed: HashMap<KeyPath, BTreeSet<usize>>,
}

/// Where a key is.
#[derive(Clone, Debug)]
struct Position {
    /// `None` in gateway.yaml.
    file: Option<PathBuf>,
    line: usize,
    column: usize,
}

/// The entries that a file adds to a list.
#[derive(Debug)]
struct Included {
    list: KeyPath,
    from: usize,
    count: usize,
}

impl Report {
    /// Notes where a key or an entry of a list is.
    pub(super) fn place(&mut self, place: KeyPath, (line, column): (usize, usize)) {
        self.positions.insert(place, Position { file: None, line, column });
    }

    /// Notes that a value is written without quotes.
    pub(super) fn plain(&mut self, place: KeyPath) {
        self.plain.insert(place);
    }

    /// Whether a value is written without quotes and has a `${`.
    pub(super) fn is_plain(&self, place: &KeyPath) -> bool {
        self.plain.contains(place)
    }

    /// Takes over the places and problems of another file, whose lists begin at these lengths of the lists here.
    pub(super) fn include(&mut self, other: Self, file: &Path, lengths: &[(&str, usize)]) {
        let shift = |place: &KeyPath| match place.segments() {
            [Segment::Key(list), Segment::Index(index), rest @ ..] => {
                let length = lengths.iter().find(|(name, _)| *name == &**list).map_or(0, |(_, length)| *length);
                KeyPath::of(list).index(index.saturating_add(length)).join(rest)
            }
            _ => place.clone(),
        };
        let named = |position: Position| Position { file: Some(file.to_owned()), ..position };
        for (place, position) in other.positions {
            // A list or mapping itself stays where it is first.
            let place = shift(&place);
            self.positions.entry(place).or_insert(named(position));
        }
        self.plain.extend(other.plain.iter().map(shift));
        let errors = other.errors.into_iter();
        self.errors.extend(errors.map(|error| ConfigError {
            path: shift(&error.path),
            file: Some(file.to_owned()),
            ..error
        }));
    }

    /// The included file that has a key; `None` if it is gateway.yaml.
    pub(super) fn file_of(&self, place: &KeyPath) -> Option<&Path> {
        self.positions.get(place)?.file.as_deref()
    }

    /// Notes that a list has entries of another file, from this index on.
    pub(super) fn joined(&mut self, list: &str, from: usize, count: usize) {
        self.included.push(Included { list: KeyPath::of(list), from, count });
    }

    /// Records a problem, unless it is a consequence of one that is already recorded.
    pub(super) fn problem(&mut self, place: &KeyPath, problem: &str) {
        self.problem_unless(std::slice::from_ref(place), place, problem);
    }

    /// Records a problem, unless a problem at `place` or at one of `causes` is already recorded.
    pub(super) fn problem_unless(&mut self, causes: &[KeyPath], place: &KeyPath, problem: &str) {
        let known = |place: &KeyPath| {
            let written = self.as_written(place);
            self.covered.iter().any(|covered| written.starts_with(covered))
        };
        if known(place) || causes.iter().any(known) {
            return;
        }
        let written = self.as_written(place);
        let error = self.error(written, problem);
        self.record(error);
    }

    /// The value of a key that must be there; a problem with the way out if it is not.
    pub(super) fn needed<T>(&mut self, place: &KeyPath, value: Option<T>, way_out: &str) -> Option<T> {
        if value.is_none() {
            self.problem(place, &format!("the key is missing; {way_out}"));
        }
        value
    }

    /// Records that a list is too short, unless an entry was removed from it.
    pub(super) fn empty(&mut self, place: &KeyPath, problem: &str) {
        if !self.shortened.contains(&self.as_written(place)) {
            self.problem(place, problem);
        }
    }

    /// Whether something at, above or under this path was removed, so that a name may be missing for that reason.
    pub(super) fn lost_under(&self, place: &KeyPath) -> bool {
        let written = self.as_written(place);
        self.covered.iter().any(|covered| covered.starts_with(&written) || written.starts_with(covered))
    }

    /// The problems so far, with the paths of the whole configuration; empty if there are none.
    pub(super) fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// The problems, with the paths in their files.
    pub(super) fn into_errors(mut self) -> Vec<ConfigError> {
        let mut errors = std::mem::take(&mut self.errors);
        for error in &mut errors {
            error.path = self.in_its_file(&error.path);
        }
        errors
    }

    /// An error at this key of its file, for a problem that is found later and is empty until then.
    pub(super) fn error_to_come(&self, place: &KeyPath) -> ConfigError {
        let error = self.error(self.as_written(place), "");
        ConfigError { path: self.in_its_file(&error.path), ..error }
    }

    /// A path for a sentence: that in its file, with the file if it is an included one.
    pub(super) fn shown(&self, place: &KeyPath) -> String {
        let error = self.error_to_come(place);
        match error.file {
            Some(file) => format!("{} in {}", error.path, file.display()),
            None => error.path.to_string(),
        }
    }

    /// Records a problem of text that is not YAML, with the line to print below it.
    pub(super) fn problem_in_text(&mut self, (line, column): (usize, usize), problem: &str, excerpt: Option<String>) {
        let problem = problem.to_owned();
        self.record(ConfigError { file: None, path: KeyPath::default(), line, column, problem, excerpt });
    }

    /// Records a problem of a key at a position, before the positions of all keys are known.
    pub(super) fn problem_at(&mut self, place: &KeyPath, (line, column): (usize, usize), problem: &str) {
        let (path, problem) = (place.clone(), problem.to_owned());
        self.record(ConfigError { file: None, path, line, column, problem, excerpt: None });
    }

    /// Notes that what is at this path is known to be wrong.
    pub(super) fn cover(&mut self, place: &KeyPath) {
        self.covered.push(self.as_written(place));
    }

    fn record(&mut self, mut error: ConfigError) {
        if let Cow::Owned(shown) = without_keys(&error.problem) {
            error.problem = shown;
        }
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    fn error(&self, path: KeyPath, problem: &str) -> ConfigError {
        let Position { file, line, column } = self.position(&path);
        ConfigError { file, path, line, column, problem: problem.to_owned(), excerpt: None }
    }

    fn position(&self, written: &KeyPath) -> Position {
        let mut place = Some(written.clone());
        while let Some(here) = place {
            if let Some(position) = self.positions.get(&here) {
                return position.clone();
            }
            place = here.parent();
        }
        Position { file: None, line: 1, column: 1 }
    }

    /// The path in its own file of a path as written.
    fn in_its_file(&self, written: &KeyPath) -> KeyPath {
        let [Segment::Key(list), Segment::Index(index), rest @ ..] = written.segments() else { return written.clone() };
        let list = KeyPath::of(list);
        let parts = self.included.iter().filter(|part| part.list == list);
        let mut own = parts.filter_map(|part| index.checked_sub(part.from).filter(|index| *index < part.count));
        own.next().map_or_else(|| written.clone(), |index| list.index(index).join(rest))
    }

    /// The path as written of a path into what is left of the file.
    pub(super) fn as_written(&self, place: &KeyPath) -> KeyPath {
        let mut written = KeyPath::default();
        for segment in place.segments() {
            written = match segment {
                Segment::Key(key) => written.key(key),
                Segment::Index(index) => {
                    let mut index = *index;
                    for removed in self.removed.get(&written).into_iter().flatten() {
                        if *removed <= index {
                            index += 1;
                        }
                    }
                    written.index(index)
                }
            };
        }
        written
    }

    /// Notes that what is at this path was removed: it is known to be wrong, and the indices after it are shifted.
    pub(super) fn took_out(&mut self, place: &KeyPath) {
        let written = self.as_written(place);
        if let (Some(Segment::Index(index)), Some(parent)) = (written.segments().last(), written.parent()) {
            self.shortened.push(parent.clone());
            self.removed.entry(parent).or_default().insert(*index);
        }
        self.covered.push(written);
    }
}
