//! `include`: other files that add routes, upstreams and issuers.
//!
//! A file that is included has these three keys and no other, so that it cannot include another: there are no loops. Its
//! lists follow those of gateway.yaml; a name that two files give to an upstream is an error.

use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use super::compile::unreadable;
use super::document;
use super::environment::{self, Environment};
use super::error::KeyPath;
use super::report::Report;
use super::secret;
use crate::config::watch::Files;

/// What a configuration is read with, besides its text.
pub(super) struct Surroundings<'s> {
    /// The path of gateway.yaml.
    pub(super) file: &'s Path,
    /// Every file that was read.
    pub(super) files: &'s mut Files,
    pub(super) environment: Environment<'s>,
}

/// Adds what the files in `include` have to `value`, and removes the key.
pub(super) fn merge(value: &mut Value, surroundings: &mut Surroundings<'_>, report: &mut Report) {
    let at = KeyPath::of("include");
    let Value::Mapping(whole) = value else { return };
    // What is not a list of texts remains, and is reported like every other value of a wrong type.
    let Some(Value::Sequence(list)) = whole.get("include") else { return };
    if !list.iter().all(Value::is_string) {
        return;
    }
    // Under its key, so that what is removed from it is found by its path.
    let mut named: Value = whole.shift_remove_entry("include").into_iter().collect::<Mapping>().into();
    environment::expand(&mut named, surroundings.environment, report);
    let list = named.get("include").and_then(Value::as_sequence).map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        report.empty(&at, "the list is empty; name a file or a folder, or remove the key");
    }
    let mut included: Vec<PathBuf> = Vec::new();
    for (index, entry) in list.iter().filter_map(Value::as_str).enumerate() {
        let at = at.index(index);
        for path in files(entry, &at, surroundings, report) {
            if same_file(&path, surroundings.file) {
                report.problem(&at, "this is the file that includes it; name another");
            } else if let Some(other) = included.iter().find(|other| same_file(&path, other)) {
                let problem = format!("`{}` is included already, as `{}`; keep one", path.display(), other.display());
                report.problem(&at, &problem);
            } else if included.len() >= MOST_FILES {
                report.problem(&at, "more than 256 files are included; join some of them");
                return;
            } else {
                include(whole, &path, &at, surroundings, report);
                included.push(path);
            }
        }
    }
}

/// The file that an entry names, or those of the folder that it names, by name.
fn files(entry: &str, at: &KeyPath, surroundings: &mut Surroundings<'_>, report: &mut Report) -> Vec<PathBuf> {
    if let Some(problem) = secret::misplaced(entry) {
        report.problem(at, problem);
        return Vec::new();
    }
    if entry.is_empty() || entry.contains(['*', '?']) {
        report.problem(
            at,
            "this is neither a file nor a folder; for all files of a folder, write its name, such as `routes`",
        );
        return Vec::new();
    }
    let path = surroundings.file.parent().unwrap_or(Path::new("")).join(entry);
    if !path.is_dir() {
        return vec![path];
    }
    match surroundings.files.list(&path, &["yaml", "yml"]) {
        Ok(names) => names.iter().map(|name| path.join(name)).collect(),
        Err(error) => {
            report.problem(at, &format!("`{}` cannot be listed: {}", path.display(), unreadable(&path, &error)));
            Vec::new()
        }
    }
}

/// Whether two paths lead to one file.
fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Adds what one file has.
fn include(whole: &mut Mapping, path: &Path, at: &KeyPath, surroundings: &mut Surroundings<'_>, report: &mut Report) {
    let bytes = match surroundings.files.read(path, document::READ_AT_MOST) {
        Ok(bytes) => bytes,
        Err(error) => {
            report.problem(at, &format!("`{}` cannot be read: {}", path.display(), unreadable(path, &error)));
            return;
        }
    };
    let mut own = Report::default();
    let value = document::read(&bytes, &mut own);
    let lengths = LISTS.map(|list| (list, whole.get(list).and_then(Value::as_sequence).map_or(0, Vec::len)));
    let Some(Value::Mapping(entries)) = value else {
        if own.errors().is_empty() {
            own.problem(&KeyPath::default(), ONLY);
        }
        report.include(own, path, &lengths);
        return;
    };
    let mut added = Vec::new();
    for (key, value) in entries {
        let name = key.as_str().unwrap_or_default();
        let problem = match name {
            _ if LISTS.contains(&name) => (!value.is_sequence()).then_some("expected a list, such as `[a, b]`"),
            UPSTREAMS => (!value.is_mapping()).then_some("expected a mapping"),
            "include" => Some("an included file includes no others; name them in gateway.yaml"),
            _ => Some(ONLY),
        };
        match problem {
            None => added.push((name.to_owned(), value)),
            Some(problem) => own.problem(&KeyPath::of(name), problem),
        }
    }
    for (key, value) in &added {
        if let (Value::Mapping(upstreams), Some(Value::Mapping(present))) = (value, whole.get(key.as_str())) {
            for name in upstreams.keys().filter(|name| present.contains_key(name)).filter_map(Value::as_str) {
                let place = KeyPath::of(key).key(name);
                let other = report.file_of(&place).unwrap_or(surroundings.file);
                own.problem(&place, &format!("{} has an upstream of this name too; choose another", other.display()));
            }
        }
    }
    report.include(own, path, &lengths);
    for (key, value) in added {
        let empty = if value.is_mapping() { Value::Mapping(Mapping::new()) } else { Value::Sequence(Vec::new()) };
        let kept = whole.entry(Value::String(key.clone())).or_insert(empty);
        match (kept, value) {
            (Value::Sequence(kept), Value::Sequence(more)) => {
                report.joined(&key, kept.len(), more.len());
                kept.extend(more);
            }
            (Value::Mapping(kept), Value::Mapping(more)) => {
                for (name, upstream) in more {
                    kept.entry(name).or_insert(upstream);
                }
            }
            // What gateway.yaml has there has a wrong type, which is reported.
            _ => {}
        }
    }
}

/// The lists that a file can add to.
const LISTS: [&str; 2] = ["issuers", "routes"];

/// The mapping that a file can add to.
const UPSTREAMS: &str = "upstreams";

const ONLY: &str =
    "an included file has the keys `routes`, `upstreams` and `issuers` only; write the others in gateway.yaml";

const MOST_FILES: usize = 256;
