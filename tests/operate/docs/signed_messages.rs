//! docs/operate/signed-messages.md, step by step: every command it shows is run in order, and prints what it shows.
//!
//! Needs openssl; without it the test fails.

use std::path::Path;

use super::start::{blocks, is_like};
use super::{page, text};
use crate::support::Folder;
use crate::support::tools::tool;

#[test]
fn every_command_on_signed_messages_prints_what_is_shown() {
    tool("openssl");
    let page = page("docs/operate/signed-messages.md");
    let folder = Folder::new();
    let program = Path::new(env!("CARGO_BIN_EXE_fapi-gateway")).parent().expect("a folder").display().to_string();
    let (mut printed, mut shown) = (String::new(), 0);
    for block in blocks(&page) {
        match block.kind {
            "sh" => {
                let script = format!("set -eo pipefail\nexport PATH=\"{program}:$PATH\"\nexec 2>&1\n{}", block.body);
                let output = tool("bash").args(["-c", &script]).current_dir(folder.path()).output().expect("bash runs");
                printed = text(&output.stdout);
                assert!(output.status.success(), "{printed}");
            }
            "text" => {
                shown += 1;
                for line in block.body.lines() {
                    assert!(printed.lines().any(|printed| is_like(printed, line)), "no {line:?} in {printed}");
                }
            }
            kind => panic!("unknown kind of block {kind:?}"),
        }
    }
    assert_eq!(shown, 4);
}
