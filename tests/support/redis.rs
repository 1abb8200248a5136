//! A Redis server of its own for a test, and sentinels.

use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use sandbox::pki::{Authority, Credential};

use super::client::now;
use super::tools::tool;
use super::{DEADLINE, Folder, free_ports};

/// A running Redis server, which ends with the test.
pub struct Redis {
    child: Child,
    port: u16,
    tls_port: u16,
    bus_port: u16,
    options: Vec<String>,
    folder: Folder,
    /// What `redis-cli` needs to be let in.
    login: Vec<String>,
}

/// What a server with a configuration file of its own is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Server,
    Sentinel,
}

impl Redis {
    /// Starts a server that keeps nothing on disk; `options` are its own, such as `--maxmemory 2mb`.
    pub fn start(options: &[&str]) -> Self {
        let folder = Folder::new();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // Somebody else may take the port in between.
        for port in free_ports(20) {
            if let Some(child) = run(port, &options, &folder) {
                return Self { child, port, tls_port: 0, bus_port: 0, options, folder, login: Vec::new() };
            }
        }
        panic!("redis-server does not start");
    }

    /// A replica of this server, which has everything that was written to it.
    pub fn replica(&self) -> Self {
        let replica = Self::start(&["--replicaof", "127.0.0.1", &self.port.to_string()]);
        let began = now();
        while !replica.cli(&["INFO", "replication"]).contains("master_link_status:up") {
            assert!(now() - began < DEADLINE.as_secs(), "the replica does not reach its primary");
        }
        replica
    }

    /// The same with TLS and this certificate, for clients with one of this authority.
    pub fn start_with_tls(authority: &Authority, server: &Credential) -> Self {
        let folder = Folder::new();
        folder.write("ca.pem", &authority.pem());
        folder.write("redis.pem", &server.certificate_pem());
        folder.write("redis-key.pem", &server.key_pem());
        let path = |name: &str| folder.path().join(name).display().to_string();
        let options: Vec<String> = [
            ["--tls-cert-file".to_owned(), path("redis.pem")],
            ["--tls-key-file".to_owned(), path("redis-key.pem")],
            ["--tls-ca-cert-file".to_owned(), path("ca.pem")],
            ["--tls-auth-clients".to_owned(), "yes".to_owned()],
        ]
        .concat();
        for port in free_ports(20) {
            let of_port = [options.clone(), vec!["--tls-port".to_owned(), port.to_string()]].concat();
            if let Some(child) = run_on(0, port, &of_port, &folder) {
                return Self { child, port, tls_port: port, bus_port: 0, options: of_port, folder, login: Vec::new() };
            }
        }
        panic!("redis-server does not start with TLS");
    }

    /// Starts a server, or a sentinel, with this configuration and these files beside it, for which `{folder}` stands in the
    /// configuration. It listens at a port for `redis-cli`, as the user `admin`, and at [`Redis::tls_port`].
    pub fn configured(role: Role, config: &str, files: &[(&str, String)]) -> Self {
        let folder = Folder::new();
        for (name, text) in files {
            folder.write(name, text);
        }
        let here = folder.path().display().to_string();
        let path = folder.path().join("redis.conf").display().to_string();
        let options = match role {
            Role::Server => vec![path],
            Role::Sentinel => vec![path, "--sentinel".to_owned()],
        };
        for ports in free_ports(9).chunks_exact(3) {
            let [port, tls, bus] = [ports[0], ports[1], ports[2]];
            let of_ports = match role {
                Role::Server => format!("cluster-port {bus}\n"),
                Role::Sentinel => String::new(),
            };
            let own = format!("\nbind 127.0.0.1\ndir {here}\nport {port}\ntls-port {tls}\n{of_ports}");
            folder.write("redis.conf", &(config.replace("{folder}", &here) + &own));
            if let Some(child) = run_with(port, &options) {
                let login = ["--user", "admin", "--pass", "admin", "--no-auth-warning"].map(str::to_owned).to_vec();
                return Self { child, port, tls_port: tls, bus_port: bus, options, folder, login };
            }
        }
        panic!("redis-server does not start with this configuration");
    }

    /// Where a server with a configuration of its own speaks TLS.
    pub const fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Where such a server speaks to others of its cluster.
    pub const fn bus_port(&self) -> u16 {
        self.bus_port
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Stops the process where it is, so that it answers nothing and accepts connections all the same.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = tool("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Kills it, and starts another one at its port that knows nothing but its place in a cluster.
    pub fn start_again(&mut self) {
        self.kill();
        let began = now();
        loop {
            let another = match self.login.is_empty() {
                true => run(self.port, &self.options, &self.folder),
                false => run_with(self.port, &self.options),
            };
            if let Some(child) = another {
                self.child = child;
                return;
            }
            assert!(now() - began < DEADLINE.as_secs(), "redis-server does not start again");
        }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What `redis-cli` prints for a command.
    pub fn cli(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let output =
            tool("redis-cli").args(["-p", &port]).args(&self.login).args(command).output().expect("redis-cli runs");
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(port: u16, options: &[String], folder: &Folder) -> Option<Child> {
    run_on(port, port, options, folder)
}

/// Starts a server that is configured by options alone.
fn run_on(port: u16, reached: u16, options: &[String], folder: &Folder) -> Option<Child> {
    let port = port.to_string();
    let folder = folder.path().display().to_string();
    let usual = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &folder];
    let usual = usual.into_iter().chain(["--repl-diskless-sync-delay", "0"]).map(str::to_owned);
    let options: Vec<String> = usual.chain(options.iter().cloned()).collect();
    run_with(reached, &options)
}

/// Starts it and waits until it accepts connections at `reached`; `None` if it ends first.
fn run_with(reached: u16, options: &[String]) -> Option<Child> {
    let mut child = tool("redis-server").args(options).stdout(Stdio::null()).spawn().expect("redis-server runs");
    let address = ([127, 0, 0, 1], reached).into();
    let began = now();
    while now() - began < DEADLINE.as_secs() {
        if let Ok(Some(_)) = child.try_wait() {
            return None;
        }
        if TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok() {
            return Some(child);
        }
        std::thread::yield_now();
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}
