//! Where the result of a suite is kept for `suites_page.py`.

use std::path::Path;

use serde_json::Value;

/// Writes the result of a suite into the folder that `FAPI_GATEWAY_SUITE_RESULTS` names, if it names one.
pub(crate) fn write(suite: &str, result: &Value) {
    let Some(folder) = std::env::var_os("FAPI_GATEWAY_SUITE_RESULTS") else { return };
    let mut result = result.clone();
    result["suite"] = suite.into();
    let file: String = suite.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let path = Path::new(&folder).join(file + ".json");
    std::fs::write(&path, result.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
