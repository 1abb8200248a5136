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
        let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        command.arg("run");
        Self::start(folder, command)
    }

    /// The same with a limit on open files: a soft and a hard one.
    pub fn run_with_files(folder: &Folder, soft: usize, hard: usize) -> Self {
        let mut command = tool("sh");
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" run");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_fapi-gateway")]);
        Self::start(folder, command)
    }

    fn start(folder: &Folder, mut command: Command) -> Self {
        let mut child = command
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
