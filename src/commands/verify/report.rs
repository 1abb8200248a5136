//! The text about a message: a paragraph for its digest, and one for each signature.

use std::fmt::Write as _;

use fapi::UnixTime;

use super::advice::advice;
use super::difference::Difference;
use super::shown::{Value, printable};
use super::{Digest, Examination, Examined, Terms};

/// The whole text.
pub(super) fn text(examination: &Examination, terms: &Terms) -> String {
    let mut text = String::new();
    let _ = digest(&mut text, &examination.digest);
    for signature in &examination.signatures {
        let _ = one(&mut text, signature, terms);
    }
    let hidden = |signature: &Examined| {
        let lines = signature.lines.as_deref().unwrap_or_default();
        lines.iter().any(|line| matches!(line.value(), Ok(Value::Hidden { .. })))
    };
    if examination.signatures.iter().any(hidden) {
        text.push_str("Credentials are not printed. For the same hash: printf %s 'VALUE' | sha256sum\n\n");
    }
    let _ = match &examination.outcome {
        Ok(()) => writeln!(text, "ok: {}", proven(terms)),
        Err(error) => {
            let is_said = examination.signatures.iter().any(|signature| signature.refusal() == Some(error));
            let advice = if is_said { String::new() } else { format!("{}\n", advice(error, None, terms)) };
            write!(text, "{}: {error}\n{advice}", error.code())
        }
    };
    text
}

fn proven(terms: &Terms) -> String {
    let time = if terms.any_time { ", whatever the time is" } else { "" };
    match terms.name.tag() {
        Some(tag) => format!("a signature with the tag {tag:?} holds and covers what it has to{time}"),
        None => format!("every signature holds{time}"),
    }
}

fn digest(text: &mut String, digest: &Digest) -> std::fmt::Result {
    let outcome = match &digest.matched {
        None => "none, and no content",
        Some(Ok(_)) => "ok",
        Some(Err(_)) => "NOT OK",
    };
    writeln!(text, "content-digest  {outcome}")?;
    if let Some(field) = &digest.field {
        writeln!(text, "  expected   {field}")?;
    }
    for computed in &digest.computed {
        writeln!(text, "  computed   {computed}")?;
    }
    if let Some(Err(error)) = &digest.matched {
        writeln!(text, "  {}: {error}", error.code())?;
    }
    text.push('\n');
    Ok(())
}

fn one(text: &mut String, signature: &Examined, terms: &Terms) -> std::fmt::Result {
    let outcome = match &signature.verdict {
        Some(Ok(())) => "ok",
        Some(Err(_)) => "NOT OK",
        None => "for something else",
    };
    writeln!(text, "signature {}  {outcome}", signature.label)?;
    let quoted =
        |value: Option<&str>| value.map_or_else(|| "none".to_owned(), |value| format!("\"{}\"", printable(value)));
    writeln!(text, "  tag        {}", quoted(signature.tag.as_deref()))?;
    if let Ok(parameters) = &signature.parameters {
        let of = signature.key.map_or_else(|| "not known".to_owned(), |of| format!("known, {of}"));
        writeln!(text, "  keyid      {} ({of})", quoted(parameters.key_id.as_deref()))?;
        writeln!(text, "  alg        {}", quoted(parameters.algorithm.as_deref()))?;
        writeln!(text, "  created    {}", time(parameters.created, terms))?;
        if parameters.expires.is_some() {
            writeln!(text, "  expires    {}", time(parameters.expires, terms))?;
        }
    }
    match &signature.lines {
        Ok(lines) => {
            writeln!(text, "  base")?;
            lines.iter().try_for_each(|line| writeln!(text, "    {}", line.printed()))?;
        }
        Err(error) => writeln!(text, "  base       none, {error}")?,
    }
    match &signature.difference {
        None => {}
        Some(Difference::None { .. }) => writeln!(text, "  the base of the other side is the same")?,
        Some(Difference::At { line, column, there, here }) => {
            let place = column.map(|column| format!(" from character {column}")).unwrap_or_default();
            let shown = |side: &Option<String>| side.clone().unwrap_or_else(|| "no such line".to_owned());
            writeln!(text, "  the base of the other side differs in line {line}{place}")?;
            writeln!(text, "    there    {}\n    here     {}", shown(there), shown(here))?;
        }
    }
    let made = match &signature.holds {
        Ok(()) => "made by the key, over this message".to_owned(),
        Err(error) => format!("not shown to be made by the key: {error}"),
    };
    writeln!(text, "  signature  {made}")?;
    if let Some(error) = signature.refusal() {
        writeln!(
            text,
            "  verdict    {}: {error}\n  look at    {}",
            error.code(),
            advice(error, signature.difference.as_ref(), terms)
        )?;
    }
    text.push('\n');
    Ok(())
}

/// A time, and how far it is from the one at which the message is verified.
fn time(at: Option<UnixTime>, terms: &Terms) -> String {
    let Some(at) = at else { return "none".to_owned() };
    if terms.any_time {
        return at.to_string();
    }
    let distance = |seconds: u64| humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string();
    match at > terms.now {
        true => format!("{at} (in {})", distance(at.since(terms.now))),
        false => format!("{at} ({} ago)", distance(terms.now.since(at))),
    }
}
