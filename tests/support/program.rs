//! The program itself, as an operator runs it.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};

use super::Folder;
use super::tools::tool;

/// `fapi-gateway run` in a folder with a gateway.yaml.
pub struct Program {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Program {
    pub fn run(folder: &Folder) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"))
            .arg("run")
            .current_dir(folder.path())
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// The next line of its log that contains this text.
    pub fn says(&mut self, text: &str) -> String {
        let mut lines = self.log.by_ref().map(|line| line.expect("text"));
        lines.find(|line| line.contains(text)).expect("the program still runs")
    }

    pub fn signal(&self, name: &str) {
        assert!(tool("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for the program to exit; returns its exit code.
    pub async fn ends(mut self) -> Option<i32> {
        tokio::task::spawn_blocking(move || self.child.wait()).await.unwrap().unwrap().code()
    }
}
