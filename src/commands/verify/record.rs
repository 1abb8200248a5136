//! What was found in a message, as one object of JSON.

use fapi::signature::error::SignatureError;
use serde_json::{Value as Json, json};

use super::difference::Difference;
use super::shown::{Line, Value};
use super::{Digest, Examination, Examined};

/// The object on one line.
pub(super) fn json(examination: &Examination) -> String {
    let record = json!({
        "ok": examination.outcome.is_ok(),
        "error": error(examination.outcome.as_ref().err()),
        "content_digest": digest(&examination.digest),
        "signatures": examination.signatures.iter().map(signature).collect::<Vec<_>>(),
    });
    format!("{record}\n")
}

fn error(error: Option<&SignatureError>) -> Json {
    error.map_or(Json::Null, |error| json!({ "code": error.code().as_str(), "detail": error.to_string() }))
}

fn digest(digest: &Digest) -> Json {
    json!({
        "ok": digest.matched.as_ref().map(Result::is_ok),
        "error": error(digest.matched.as_ref().and_then(|matched| matched.as_ref().err())),
        "expected": digest.field,
        "computed": digest.computed,
    })
}

fn signature(signature: &Examined) -> Json {
    let parameters = signature.parameters.as_ref().ok();
    let verdict = signature.verdict.as_ref();
    json!({
        "label": signature.label,
        "tag": signature.tag,
        "key_id": parameters.and_then(|parameters| parameters.key_id.as_deref()),
        "key_type": signature.key,
        "algorithm": parameters.and_then(|parameters| parameters.algorithm.as_deref()),
        "created": parameters.and_then(|parameters| parameters.created).map(|at| at.0),
        "expires": parameters.and_then(|parameters| parameters.expires).map(|at| at.0),
        "nonce": parameters.and_then(|parameters| parameters.nonce.as_deref()),
        "base": signature.lines.as_ref().ok().map(|lines| lines.iter().map(line).collect::<Vec<_>>()),
        "made_by_key": signature.holds.is_ok(),
        "ok": verdict.map(Result::is_ok),
        "error": error(verdict.and_then(|verdict| verdict.as_ref().err())),
        "difference": signature.difference.as_ref().map_or(Json::Null, difference),
    })
}

/// A component with its value, or what stands in place of that.
fn line(line: &Line) -> Json {
    let identifier = &line.identifier;
    match line.value() {
        Ok(Value::Plain(value)) => json!({ "component": identifier, "value": value }),
        Ok(Value::Hidden { bytes, sha256 }) => json!({ "component": identifier, "bytes": bytes, "sha256": sha256 }),
        Err(problem) => json!({ "component": identifier, "error": error(Some(problem)) }),
    }
}

fn difference(difference: &Difference) -> Json {
    match difference {
        Difference::None { .. } => Json::Null,
        Difference::At { line, column, there, here } => {
            json!({ "line": line, "character": column, "there": there, "here": here })
        }
    }
}
