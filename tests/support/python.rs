//! Python with packages of other makers, of exactly the versions that a file of requirements names.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::Folder;
use super::tools::tool;

/// An interpreter in this folder that has these packages, and no others.
pub fn installed(folder: &Folder, requirements: &Path) -> PathBuf {
    let environment = folder.path().join("python");
    run(tool("python3").args(["-m", "venv"]).arg(&environment));
    let interpreter = environment.join("bin/python");
    let mut pip = Command::new(&interpreter);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"]);
    run(pip.arg(requirements));
    interpreter
}

fn run(command: &mut Command) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("Python runs");
    assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
}
