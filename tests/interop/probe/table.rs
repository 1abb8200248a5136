//! The tables of docs/probe.md: what the probe found, by server. They are compared with what it finds now.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The rows of a table: the first cell, the cells between, and the modules of the last one.
pub type Rows = BTreeMap<String, (String, Vec<String>)>;

/// Whether the tables are written instead of compared.
pub fn writes() -> bool {
    std::env::var_os("FAPI_GATEWAY_WRITE_DOCS").is_some()
}

/// The rows of the table under a heading.
pub fn rows(heading: &str) -> Rows {
    let text = std::fs::read_to_string(page()).expect("docs/probe.md is there");
    let (_, table) = text.split_once(start(heading)).unwrap_or_else(|| panic!("docs/probe.md has no {heading}"));
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    lines
        .map(cells)
        .map(|cells| {
            let modules = cells.last().expect("a row has cells").split(", ");
            let modules = modules.map(|module| module.trim_matches('`').to_owned()).filter(|module| !module.is_empty());
            let what = cells[1..cells.len() - 1].join(" | ");
            (cells[0].trim_matches('`').to_owned(), (what, modules.collect()))
        })
        .collect()
}

/// Writes the rows of the table under a heading.
pub fn write(heading: &str, rows: &Rows) {
    let text = std::fs::read_to_string(page()).expect("docs/probe.md is there");
    let (before, table) = text.split_once(start(heading)).unwrap_or_else(|| panic!("docs/probe.md has no {heading}"));
    let after: Vec<&str> = table.lines().skip_while(|line| line.starts_with('|')).collect();
    let row = |(name, (what, modules)): (&String, &(String, Vec<String>))| {
        let modules: Vec<String> = modules.iter().map(|module| format!("`{module}`")).collect();
        format!("| `{name}` | {what} | {} |\n", modules.join(", "))
    };
    let rows: String = rows.iter().map(row).collect();
    let written = format!("{before}{}{rows}{}\n", start(heading), after.join("\n"));
    std::fs::write(page(), written).expect("docs/probe.md can be written");
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/probe.md")
}

/// The head of a table, by which it is found.
fn start(heading: &str) -> &'static str {
    match heading {
        FAULTS => "| fault | what the server does, and the clause | found by |\n| --- | --- | --- |\n",
        PEERS => "| server | configured for | not kept |\n| --- | --- | --- |\n",
        _ => "| module | what it shows, and the clause | plans |\n| --- | --- | --- |\n",
    }
}

pub const FAULTS: &str = "Servers with one fault";
pub const PEERS: &str = "Servers of other makers";
pub const MODULES: &str = "Every module";
