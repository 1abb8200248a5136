//! Independent programs, most of them run by Node from a folder of tests/ with the packages that its lockfile names.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

use super::Folder;
use super::tools::tool;

/// A copy of `files` of `source`, with the packages of its lockfile installed.
pub fn installed(source: &Path, files: &[&str]) -> Folder {
    let folder = Folder::new();
    for name in files.iter().chain(&["package.json", "package-lock.json", ".npmrc"]) {
        std::fs::copy(source.join(name), folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let mut npm = tool("npm");
    npm.args(["ci", "--ignore-scripts", "--fetch-retries=2", "--fetch-timeout=30000"]).current_dir(folder.path());
    let Output { status, stdout, stderr } = npm.stdin(Stdio::null()).output().expect("npm runs");
    assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    folder
}

/// A script that communicates in lines of JSON. It is stopped when the value is dropped, whatever the test did.
pub struct Script {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Runs `script` from an installed folder; it trusts the servers of this authority.
    pub fn start(folder: &Folder, script: &str, arguments: &[&str], authority: &Path) -> Self {
        let mut command = tool("node");
        command.arg("--no-warnings").arg(script).args(arguments).current_dir(folder.path());
        command.env("NODE_EXTRA_CA_CERTS", authority);
        Self::run(command)
    }

    /// Runs any command that communicates so.
    pub fn run(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the script runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { input: child.stdin.take(), child, lines }
    }

    /// Writes one line.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("not ended"), "{line}").expect("the script reads");
    }

    /// Reads one line; `None` when the script has ended.
    pub fn hear(&mut self) -> Option<Value> {
        let line = self.lines.next()?.expect("text");
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// Writes one line of JSON and reads the response.
    pub fn ask(&mut self, line: &Value) -> Value {
        self.tell(&line.to_string());
        self.hear().expect("the script answers")
    }

    /// Closes the script's input, and returns what it still writes; it must exit successfully.
    pub fn end(mut self) -> Vec<Value> {
        drop(self.input.take());
        let rest = std::iter::from_fn(|| self.hear()).collect();
        assert!(self.child.wait().expect("the script ends").success());
        rest
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
