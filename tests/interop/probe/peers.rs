//! Servers of other makers in front of an API, configured as sites have them. Each enforces something and lets something
//! through, which a probe has to find.
//!
//! Needs nginx with njs, Apache with mod_oauth2, and python3 with venv and either the network or the cache of pip for Envoy;
//! without them the tests fail.

use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::support::tools::tool;
use crate::support::{DEADLINE, Folder, free_ports, python};

/// An API to be guarded, and what a token for it has to say. All paths are absolute.
pub struct Api<'a> {
    /// Where a peer has its files and its log; no other peer uses it.
    pub folder: &'a Path,
    /// The server's certificate and its private key, in PEM.
    pub certificate: &'a Path,
    pub key: &'a Path,
    /// The authority of clients' certificates, in PEM.
    pub client_ca: &'a Path,
    /// The issuer's JWK set.
    pub jwks: &'a str,
    pub issuer: &'a str,
    pub audience: &'a str,
    pub scope: &'a str,
    /// Where the API itself listens, over plain HTTP.
    pub upstream: SocketAddr,
}

/// A peer that accepts connections over TLS on a port of 127.0.0.1; killed when dropped.
pub struct Peer {
    process: Child,
    port: u16,
    _program: Option<Folder>,
}

impl Peer {
    /// nginx with mutual TLS that verifies a token's signature, issuer, audience and end, and nothing else.
    pub fn nginx(api: &Api<'_>) -> Self {
        api.write("token.js", include_str!("peers/token.js"));
        api.write("jwks.json", api.jwks);
        let command = || {
            let mut nginx = tool("nginx");
            nginx.arg("-p").arg(api.folder).args(["-c", "nginx.conf", "-e", "stderr"]);
            nginx
        };
        Self::start(api, "nginx.conf", include_str!("peers/nginx.conf"), command)
    }

    /// Apache with mod_oauth2: Bearer with the certificate that a token is bound to, DPoP with the key.
    pub fn apache(api: &Api<'_>) -> Self {
        let command = || {
            let mut apache = tool("apache2");
            apache.arg("-f").arg(api.folder.join("apache.conf")).arg("-DFOREGROUND");
            apache
        };
        Self::start(api, "apache.conf", include_str!("peers/apache.conf"), command)
    }

    /// Envoy with mutual TLS, its own verification of tokens, and a script for the certificate and the scope.
    pub fn envoy(api: &Api<'_>) -> Self {
        let program = Folder::new();
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/probe/requirements.txt");
        let envoy = python::installed(&program, &requirements).with_file_name("envoy");
        api.write("binding.lua", &api.fill(include_str!("peers/binding.lua"), 0));
        api.write("jwks.json", api.jwks);
        let command = || {
            let mut envoy = Command::new(&envoy);
            envoy.arg("-c").arg(api.folder.join("envoy.yaml"));
            envoy.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
            envoy
        };
        let mut peer = Self::start(api, "envoy.yaml", include_str!("peers/envoy.yaml"), command);
        peer._program = Some(program);
        peer
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts a program with this configuration on a free port, and waits until it accepts connections there.
    #[expect(clippy::disallowed_methods, reason = "the deadline is in real time")]
    fn start(api: &Api<'_>, name: &str, template: &str, command: impl Fn() -> Command) -> Self {
        // Another process may take the port in between.
        for port in free_ports(10) {
            api.write(name, &api.fill(template, port));
            api.write("error.log", "");
            // Apache writes to it too, by name.
            let log = OpenOptions::new().append(true).open(api.log()).expect("a log");
            let process = command()
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut peer = Self { process, port, _program: None };
            let started = Instant::now();
            while peer.runs() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return peer;
                }
                assert!(started.elapsed() < DEADLINE, "nothing listens for {name}: {}", api.said());
                std::thread::yield_now();
            }
        }
        panic!("what {name} configures does not start: {}", api.said());
    }

    fn runs(&mut self) -> bool {
        self.process.try_wait().expect("the process was started by this test").is_none()
    }
}

impl Drop for Peer {
    #[expect(clippy::disallowed_methods, reason = "the deadline is in real time")]
    fn drop(&mut self) {
        // One that has ended has given its number back.
        if !self.runs() {
            return;
        }
        // Apache has processes of its own, which it ends when it is asked to end and which would outlive it otherwise.
        let _ = tool("kill").arg(self.process.id().to_string()).status();
        let asked = Instant::now();
        while self.runs() && asked.elapsed() < DEADLINE {
            std::thread::yield_now();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Api<'_> {
    /// The template with its places filled.
    fn fill(&self, template: &str, port: u16) -> String {
        let values = [
            ("folder", self.folder.display().to_string()),
            ("port", port.to_string()),
            ("certificate", self.certificate.display().to_string()),
            ("key", self.key.display().to_string()),
            ("client_ca", self.client_ca.display().to_string()),
            ("certificate_bound", self.verify("${certificate-bound}")),
            ("key_bound", self.verify("${key-bound}")),
            ("issuer", self.issuer.to_owned()),
            ("audience", self.audience.to_owned()),
            ("scope", self.scope.to_owned()),
            ("upstream", self.upstream.to_string()),
            ("upstream_host", self.upstream.ip().to_string()),
            ("upstream_port", self.upstream.port().to_string()),
        ];
        let filled = values
            .iter()
            .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value));
        assert!(!filled.contains("{{"), "a place has no value: {filled}");
        filled
    }

    /// The directives that have mod_oauth2 verify a token with each key. It knows no Ed25519.
    fn verify(&self, options: &str) -> String {
        let set: Value = serde_json::from_str(self.jwks).expect("a JWK set");
        let keys = set["keys"].as_array().expect("keys").iter().filter(|key| key["kty"] != "OKP");
        let directive = |key: &Value| {
            let key = key.to_string().replace('"', "\\\"");
            format!("OAuth2TokenVerify jwk \"{key}\" {options}")
        };
        keys.map(directive).collect::<Vec<_>>().join("\n            ")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).expect("a file of the peer");
    }

    fn log(&self) -> PathBuf {
        self.folder.join("error.log")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}
