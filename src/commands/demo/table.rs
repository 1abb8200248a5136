//! The table of the demo: one row for each call.

use std::io::{ErrorKind, Write};

use serde_json::Value;

use super::Stop;

/// Prints a line; a reader that went away ends the demo.
pub(super) fn say(line: &str) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            Stop::Unread
        } else {
            Stop::Failed(format!("standard output: {error}"))
        }
    })
}

/// One row.
pub(super) fn row(call: &str, status: &str, code: &str, reason: &str) -> String {
    format!("{call:<44} {status:>6}  {code:<30} {reason}")
}

/// The row of a line of the audit: a call, or a handshake that failed.
pub(super) fn row_of(record: &Value) -> Option<String> {
    let text = |name: &str| record.get(name).and_then(Value::as_str);
    if text("event") == Some("handshake") {
        return Some(row("a handshake", "-", text("reason")?, text("detail")?));
    }
    let call = format!("{} {}", text("method").unwrap_or("-"), text("path").unwrap_or("-"));
    let status =
        record.get("status").and_then(Value::as_u64).map_or_else(|| "-".to_owned(), |status| status.to_string());
    let code = text("code")?;
    Some(row(&call, &status, code, if code == "ok" { "permitted" } else { text("detail").unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_what_the_audit_says() {
        let call = json!({ "method": "GET", "path": "/accounts", "status": 401, "code": "credentials_missing", "detail": "no Authorization field" });
        let words = |record| row_of(&record).map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(words(call).as_deref(), Some("GET /accounts 401 credentials_missing no Authorization field"));
        let handshake = json!({ "event": "handshake", "reason": "unknown_ca", "detail": "why" });
        assert_eq!(words(handshake).as_deref(), Some("a handshake - unknown_ca why"));
        assert_eq!(words(json!({})), None);
    }
}
