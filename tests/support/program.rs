//! The program itself, as an operator runs it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::token::Token;
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

    /// The same, with this token.
    pub fn run_with_token(folder: &Folder, token: &Token) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        command.arg("run").envs(token.variables());
        Self::start(folder, command)
    }

    /// The same, with files that can grow to this many KiB and no further, as on a full disk.
    pub fn run_with_disk(folder: &Folder, kib: usize) -> Self {
        let mut command = tool("bash");
        let script = format!("ulimit -S -f {kib}; exec \"$0\" run");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_fapi-gateway")]);
        Self::start(folder, command)
    }

    /// The same with a limit on open files: a soft and a hard one.
    pub fn run_with_files(folder: &Folder, soft: usize, hard: usize) -> Self {
        let mut command = tool("sh");
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" run");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_fapi-gateway")]);
        Self::start(folder, command)
    }

    /// The same on one processor of the machine.
    pub fn run_on_one_processor(folder: &Folder) -> Self {
        let mut command = tool("sh");
        let script = "exec taskset --cpu-list \"$(taskset -cp $$ | grep -oE '[0-9]+' | sed -n 2p)\" \"$0\" run";
        command.args(["-c", script, env!("CARGO_BIN_EXE_fapi-gateway")]);
        Self::start(folder, command)
    }

    /// The names of its threads.
    pub fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// The same, with this filter in its environment, or none.
    pub fn run_logging(folder: &Folder, filter: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        command.arg("run");
        Self::start_logging(folder, command, filter)
    }

    /// The same, with a standard output that nobody reads before [`Program::stdout`] is.
    pub fn run_unread(folder: &Folder) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        command.arg("run").stdout(Stdio::piped());
        Self::start(folder, command)
    }

    fn start(folder: &Folder, command: Command) -> Self {
        Self::start_logging(folder, command, Some("info"))
    }

    fn start_logging(folder: &Folder, mut command: Command, filter: Option<&str>) -> Self {
        let command = command.current_dir(folder.path()).env_remove("RUST_LOG").stderr(Stdio::piped());
        command.envs(filter.map(|filter| ("RUST_LOG", filter)));
        let mut child = command.spawn().expect("the program runs");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log }
    }

    /// The next line of its log that contains this text, which comes before [`DEADLINE`] passes without a line.
    pub fn says(&mut self, text: &str) -> String {
        self.until(text).pop().expect("the last line is that one")
    }

    /// The same with all lines before it.
    pub fn until(&mut self, text: &str) -> Vec<String> {
        self.until_within(text, DEADLINE)
    }

    /// Waits until it is ready, which takes longer than [`DEADLINE`]: until proofs from before its start are too old.
    pub fn ready(&mut self) {
        self.until_within("announce: ready", 3 * DEADLINE);
    }

    fn until_within(&mut self, text: &str, deadline: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.log.recv_timeout(deadline);
            let line = line.unwrap_or_else(|error| panic!("nothing says {text:?}: {error}\n{}", lines.join("\n")));
            let last = line.contains(text);
            lines.push(line);
            if last {
                return lines;
            }
        }
    }

    /// The addresses of its listener and its admin listener, from the log.
    pub fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let mut address =
            |text| self.says(text).rsplit_once("address=").expect("an address").1.trim().parse().expect("an address");
        (address(" listening"), address("admin listening"))
    }

    /// Its standard output.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("it is piped and was not taken")
    }

    /// The lines of its log that have come and that nobody has asked for.
    pub fn rest(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    /// The lines of its log until it ends, which comes before [`DEADLINE`] passes without a line.
    pub fn until_end(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.log.recv_timeout(DEADLINE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(error @ RecvTimeoutError::Timeout) => panic!("it does not end: {error}"),
            }
        }
    }

    /// The memory that it occupies, in KiB.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS").trim_end_matches(" kB").parse().expect("a number")
    }

    /// What the system says of it under this name.
    pub fn status(&self, name: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.expect("Linux tells").trim().to_owned()
    }

    pub fn signal(&self, name: &str) {
        assert!(tool("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for the program to exit; returns its exit code. What it said last is printed if that is a fault's.
    pub async fn ends(mut self) -> Option<i32> {
        let ended = tokio::task::spawn_blocking(move || {
            let code = self.child.wait().expect("it was started").code();
            if code != Some(0) {
                self.rest().iter().for_each(|line| eprintln!("{line}"));
            }
            code
        });
        ended.await.expect("no panic")
    }
}

/// A test that fails must not leave the program behind.
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
