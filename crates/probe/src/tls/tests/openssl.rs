//! `openssl s_server` on a free port of loopback. Without the program the tests fail.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sandbox::pki::{Authority, Credential};

/// A running server, which ends when this is dropped.
pub(super) struct OpenSsl {
    child: Child,
    address: SocketAddr,
    folder: Folder,
}

impl OpenSsl {
    /// A server with `credential` and these `arguments`, which listens when this returns.
    pub(super) fn start(credential: &Credential, arguments: &[&str]) -> Self {
        let folder = Folder::new();
        fs::write(folder.0.join("server.pem"), credential.certificate_pem() + &credential.key_pem()).unwrap();
        Self::in_folder(folder, arguments)
    }

    /// The same with a certificate for an RSA key, which is its own issuer: what suites without elliptic curves need.
    pub(super) fn with_rsa(arguments: &[&str]) -> Self {
        let folder = Folder::new();
        let mut command = openssl(&folder);
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-batch"]);
        command.args(["-config", "/dev/null", "-out", "server.pem", "-keyout", "key.pem"]);
        let output = command.output().expect("the tests of TLS need the program openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let both = ["server.pem", "key.pem"].map(|name| fs::read_to_string(folder.0.join(name)).unwrap());
        fs::write(folder.0.join("server.pem"), both.concat()).unwrap();
        Self::in_folder(folder, arguments)
    }

    /// The same with a client certificate that is required, from one of these authorities.
    pub(super) fn with_clients(credential: &Credential, authorities: &[&Authority], arguments: &[&str]) -> Self {
        let folder = Folder::new();
        fs::write(folder.0.join("server.pem"), credential.certificate_pem() + &credential.key_pem()).unwrap();
        let list: String = authorities.iter().map(|authority| authority.pem()).collect();
        fs::write(folder.0.join("clients.pem"), list).unwrap();
        let verify = ["-Verify", "1", "-verify_return_error", "-CAfile", "clients.pem"];
        Self::in_folder(folder, &[&verify, arguments].concat())
    }

    fn in_folder(folder: Folder, arguments: &[&str]) -> Self {
        let mut command = openssl(&folder);
        command.args(["s_server", "-accept", "127.0.0.1:0", "-cert", "server.pem"]).args(arguments);
        // The server ends when its standard input does.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the tests of TLS need the program openssl");
        let (listens, heard) = mpsc::channel();
        // Both outputs are read to their end, or the server would stop when a pipe is full.
        let errors = BufReader::new(child.stderr.take().unwrap());
        let stderr = thread::spawn(move || errors.lines().map_while(Result::ok).collect::<Vec<_>>());
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("ACCEPT ") {
                    let _ = listens.send(address.parse());
                }
            }
        });
        match heard.recv_timeout(Duration::from_secs(30)) {
            Ok(address) => Self { child, address: address.expect("`ACCEPT` stands before an address"), folder },
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("openssl s_server {arguments:?} does not listen: {:?}", stderr.join())
            }
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder.0);
    }
}

/// The suites that this build of OpenSSL has, with their numbers and IANA's names.
pub(super) fn suites() -> Vec<(u16, String)> {
    let folder = Folder::new();
    let arguments = ["ciphers", "-V", "-stdname", "ALL:eNULL:aNULL:@SECLEVEL=0"];
    let output = openssl(&folder).args(arguments).output().expect("the tests of TLS need the program openssl");
    let _ = fs::remove_dir_all(&folder.0);
    let text = String::from_utf8(output.stdout).unwrap();
    let suite = |line: &str| {
        // `0xC0,0x2C - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 - ECDHE-ECDSA-AES256-GCM-SHA384 TLSv1.2 ...`
        let mut words = line.split_whitespace();
        let number = words.next().unwrap().replace("0x", "").replace(',', "");
        (u16::from_str_radix(&number, 16).unwrap(), words.nth(1).unwrap().to_owned())
    };
    text.lines().map(suite).collect()
}

/// The program without the configuration of the system, which may forbid what the tests are about.
fn openssl(folder: &Folder) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(&folder.0).env("OPENSSL_CONF", "/dev/null");
    command
}

/// A new folder.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("probe-tls-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}
