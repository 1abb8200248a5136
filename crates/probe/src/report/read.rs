//! Reads the JSON of a report.

use serde::Deserialize;

use super::{FORMAT, Report};

/// Why a text is not a report that this program reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or without the members of a report.
    #[error("it is not a report in JSON")]
    NotAReport,
    /// Of another program, or of another version of it.
    #[error("its format is {found:?}, this program reads {FORMAT:?}")]
    OtherFormat {
        /// The beginning of what it says.
        found: String,
    },
}

/// Reads the JSON of a report.
///
/// # Errors
/// [`ReadError`]. Without details of what is malformed, since these would quote the text.
pub fn read(json: &[u8]) -> Result<Report, ReadError> {
    #[derive(Deserialize)]
    struct Format {
        format: String,
    }

    // Another format has other members, so that this comes first.
    let Format { format } = serde_json::from_slice(json).map_err(|_| ReadError::NotAReport)?;
    if format != FORMAT {
        return Err(ReadError::OtherFormat { found: format.chars().take(64).collect() });
    }
    serde_json::from_slice(json).map_err(|_| ReadError::NotAReport)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::testing::{hostile, one_of_each};

    #[test]
    fn what_is_written_is_read() {
        for report in [one_of_each(), hostile()] {
            assert_eq!(read(&serde_json::to_vec(&report).unwrap()), Ok(report));
        }
    }

    #[test]
    fn another_format_is_refused_by_its_name_and_whatever_else_is_in_it() {
        let with = |format: Value| {
            let mut json = serde_json::to_value(one_of_each()).unwrap();
            json["format"] = format;
            read(json.to_string().as_bytes()).map(drop)
        };
        assert_eq!(with(json!(FORMAT)), Ok(())); // control
        let other = Err(ReadError::OtherFormat { found: "fapi-gateway-probe/2".into() });
        assert_eq!(with(json!("fapi-gateway-probe/2")), other);
        assert_eq!(read(br#"{"format":"fapi-gateway-probe/2"}"#).map(drop), other);
        let error = with(json!("\x1b".repeat(1000))).unwrap_err().to_string();
        assert!(error.len() < 512 && !error.contains('\x1b'), "{error:?}");
        assert_eq!(with(json!(1)), Err(ReadError::NotAReport));
    }

    #[test]
    fn what_lacks_a_member_or_has_one_twice_is_no_report() {
        let text = serde_json::to_string(&one_of_each()).unwrap();
        assert!(read(text.as_bytes()).is_ok()); // control
        let twice = text.replacen("\"requests\":12", "\"requests\":12,\"requests\":0", 1);
        let lacks = text.replacen("\"requests\":12,", "", 1);
        for broken in [&twice, &lacks, &text[..text.len() - 1], "", "[]", "{}"] {
            assert_eq!(read(broken.as_bytes()), Err(ReadError::NotAReport), "{broken}");
        }
    }
}
