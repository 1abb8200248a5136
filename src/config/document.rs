//! One file of YAML: its text, the value that it has, and where each key of it is.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_yaml::Value;

use super::error::KeyPath;
use super::report::Report;
use super::syntax::{Mistake, excerpt, explain};

/// How much of a file is read, in bytes: one byte more than it may have, so that a larger file is noticed.
pub(super) const READ_AT_MOST: u64 = 1024 * 1024 + 1;

/// How deeply lists and mappings may be nested; the format itself needs seven levels.
const MAX_DEPTH: usize = 32;

/// Reads the text of a file. If there is no value, the report has a problem.
pub(super) fn read(bytes: &[u8], report: &mut Report) -> Option<Value> {
    let value = parse(bytes, report)?;
    if value.is_null() {
        report.problem(&KeyPath::default(), "the file is empty; the example gateway.yaml shows what to write");
        return None;
    }
    Some(value)
}

/// The same for a file that may be empty, whose value is then null.
pub(super) fn parse(bytes: &[u8], report: &mut Report) -> Option<Value> {
    let root = KeyPath::default();
    if u64::try_from(bytes.len()).is_ok_and(|length| length >= READ_AT_MOST) {
        report.problem(&root, "the file is larger than 1MiB; make it smaller");
        return None;
    }
    // Such as /proc/self/environ: no line of it is shown.
    if bytes.contains(&0) {
        report.problem(&root, "the file has bytes that are not text; name a file with YAML");
        return None;
    }
    // Editors of Windows put a byte order mark before a text.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            report.problem_at(&root, (line, 1), "this line is not valid UTF-8; save the file as UTF-8");
            return None;
        }
    };
    let invalid = |report: &mut Report, Mistake { position, problem }: Mistake| {
        report.problem_in_text(position, &problem, excerpt(text, position));
    };
    if let Err(position) = locate(text, report) {
        invalid(report, explain(text, position));
    }
    if !report.errors().is_empty() {
        return None;
    }
    match serde_yaml::from_str::<Value>(text) {
        Ok(value) => Some(value),
        Err(error) => {
            let position = error.location().map_or((1, 1), |location| (location.line(), location.column()));
            let problem = "the file is not valid YAML; put text in quotes, and correct numbers that are too large";
            invalid(report, Mistake { position, problem: problem.to_owned() });
            None
        }
    }
}

/// A list or mapping that is still open.
enum Open {
    List { place: KeyPath, next: usize },
    Mapping { place: KeyPath, key: Option<Box<str>>, seen: BTreeSet<Box<str>> },
}

/// Finds the line of every key, and refuses features of YAML that this format does not use: aliases, tags, merge keys,
/// repeated keys and a second document. Text that is not YAML is an error with the place where the parser stops.
fn locate(text: &str, report: &mut Report) -> Result<(), (usize, usize)> {
    let mut open: Vec<Open> = Vec::new();
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| (error.marker().line(), error.marker().col() + 1))?;
        let position = (span.start.line(), span.start.col() + 1);
        let has_tag = match &event {
            Event::Scalar(_, _, _, tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => tag.is_some(),
            Event::Alias(_) => false,
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
                continue;
            }
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    report.problem_at(&KeyPath::default(), position, "a second document begins here; keep only one");
                    return Ok(());
                }
                continue;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
        };
        // The event begins a key, the value of a key, an entry of a list, or the whole file.
        let place = match open.last_mut() {
            None => KeyPath::default(),
            Some(Open::List { place, next }) => {
                let entry = place.index(*next);
                *next += 1;
                report.place(entry.clone(), position);
                entry
            }
            Some(Open::Mapping { place, key: key @ Some(_), .. }) => place.key(&key.take().unwrap_or_default()),
            Some(Open::Mapping { place, key, seen }) => {
                let Event::Scalar(name, style, _, None) = &event else {
                    report.problem_at(
                        place,
                        position,
                        "a key is plain text; write it without a tag, an alias, a list or a mapping",
                    );
                    return Ok(());
                };
                let entry = place.key(name);
                if **name == *"<<" && *style == ScalarStyle::Plain {
                    report.problem_at(&entry, position, "merge keys are not supported; write the entries out");
                }
                if seen.insert((&**name).into()) {
                    report.place(entry, position);
                } else {
                    report.problem_at(&entry, position, "the key appears twice; keep one");
                }
                *key = Some((&**name).into());
                continue;
            }
        };
        if has_tag {
            report.problem_at(&place, position, "tags are not supported; write the value without `!`");
        }
        if let Event::Scalar(text, ScalarStyle::Plain, ..) = &event
            && text.contains("${")
        {
            report.plain(place);
        } else if let Event::Alias(_) = event {
            // Aliases can make a small file expand into a large one.
            report.problem_at(&place, position, "aliases are not supported; write the value out");
        } else if let Event::SequenceStart(..) = event {
            open.push(Open::List { place, next: 0 });
        } else if let Event::MappingStart(..) = event {
            open.push(Open::Mapping { place, key: None, seen: BTreeSet::new() });
        }
        if open.len() > MAX_DEPTH {
            report.problem_at(
                &KeyPath::default(),
                position,
                "lists and mappings are nested too deeply; no key needs that",
            );
            return Ok(());
        }
    }
    Ok(())
}
