//! The program itself, as an operator runs it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::tools::tool;
use super::{DEADLINE, Folder};

/// `fapi-gateway run` in a folder with a gateway.yaml.
pub struct Program {
    child: Child,
    log: Receiver<String>,
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
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log }
    }

    /// The next line of its log that contains this text, which comes before [`DEADLINE`] passes without a line.
    pub fn says(&mut self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(DEADLINE).unwrap_or_else(|error| panic!("nothing says {text:?}: {error}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        assert!(tool("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for the program to exit; returns its exit code.
    pub async fn ends(mut self) -> Option<i32> {
        tokio::task::spawn_blocking(move || self.child.wait()).await.unwrap().unwrap().code()
    }
}

/// A test that fails must not leave the program behind.
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
