//! Programs of other makers that tests run: where they are, and what to do where they are not.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// A command that runs this program.
///
/// # Panics
/// If the machine lacks it, with the command that installs it.
#[track_caller]
pub fn tool(program: &str) -> Command {
    let folders = folders();
    let Some(path) = folders.iter().map(|folder| folder.join(program)).find(|path| path.is_file()) else {
        panic!(
            "{program} is missing on this machine: `./test` installs what the tests need, and says what before it does"
        );
    };
    let mut command = Command::new(path);
    // So that it finds the others where this found it.
    command.env("PATH", env::join_paths(folders).unwrap_or_else(|error| panic!("PATH: {error}")));
    command
}

/// Where `./test` puts what no package of Debian has, the search path, and where Debian has servers.
fn folders() -> Vec<PathBuf> {
    let private = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools");
    let path: OsString = env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![PathBuf::from(private).join("bin"), PathBuf::from(private).join("node_modules/.bin")];
    folders.extend(env::split_paths(&path));
    folders.push("/usr/sbin".into());
    folders
}

#[test]
fn a_missing_tool_is_named_with_the_command_that_installs_it() {
    let panic = std::panic::catch_unwind(|| tool("no-such-program")).expect_err("there is no such program");
    let message = panic.downcast_ref::<String>().expect("text");
    assert!(message.contains("no-such-program is missing") && message.contains("`./test`"), "{message}");
    assert!(std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/test")).is_ok(), "it exists");
}

#[test]
fn a_tool_finds_others_where_it_was_found() {
    let output = tool("sh").args(["-c", "echo $PATH"]).output().expect("sh runs");
    let path = String::from_utf8(output.stdout).expect("text");
    assert_eq!(env::split_paths(path.trim()).collect::<Vec<_>>(), folders());
}
