//! `fapi-gateway init`: makes a folder in which `fapi-gateway run` works: a configuration, a development PKI, keys, a
//! Compose file, and a page with the commands that lead to a first call.

mod files;
mod proposal;

use std::io::Write;
use std::num::NonZeroU16;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use reqwest::Url;
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, SigningKey, jwks};

use self::proposal::Proposal;
use super::{BAD_USAGE, Failure, NOT_GOOD};

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder; it is made if it is not there. No file in it is overwritten.
    dir: PathBuf,
    /// The authorization server: the exact `iss` of its tokens. Its metadata is read to propose settings. Without it, the
    /// sandbox's is used, which `fapi-gateway sandbox` serves.
    #[arg(long, value_name = "URL", value_parser = https_url)]
    issuer: Option<String>,
    /// The authorities of the issuer's own certificate, PEM; by default those of the system.
    #[arg(long, value_name = "FILE", requires = "issuer")]
    trust_anchors: Option<PathBuf>,
    /// Your API, without a path; by default that at `--api-port` on this machine, which is the sandbox's if there is no
    /// `--issuer`.
    #[arg(long, value_name = "URL", value_parser = server_url)]
    upstream: Option<String>,
    #[command(flatten)]
    ports: Ports,
}

/// Where the gateway, and what stands around it, listen on 127.0.0.1.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Ports {
    /// The port of the gateway.
    #[arg(long, value_name = "PORT", default_value = "8443")]
    port: NonZeroU16,
    /// The port of the gateway's admin listener.
    #[arg(long, value_name = "PORT", default_value = "9464")]
    admin_port: NonZeroU16,
    /// The port of the sandbox's authorization server, if there is no `--issuer`.
    #[arg(long, value_name = "PORT", default_value = "9443", conflicts_with = "issuer")]
    issuer_port: NonZeroU16,
    /// The port of the API, if `--upstream` does not name another.
    #[arg(long, value_name = "PORT", default_value = "8080", conflicts_with = "upstream")]
    api_port: NonZeroU16,
}

impl Ports {
    /// Refuses a port for two: only one of them could listen there.
    fn check(self, arguments: &Arguments) -> Result<(), Failure> {
        let mut taken = vec![("--port", self.port), ("--admin-port", self.admin_port)];
        taken.extend(arguments.issuer.is_none().then_some(("--issuer-port", self.issuer_port)));
        taken.extend(arguments.upstream.is_none().then_some(("--api-port", self.api_port)));
        for (index, (name, port)) in taken.iter().enumerate() {
            if let Some((first, _)) = taken.iter().take(index).find(|(_, other)| other == port) {
                return Err(Failure::new(
                    BAD_USAGE,
                    format!("{first} and {name} are both {port}; choose another for one"),
                ));
            }
        }
        Ok(())
    }
}

/// One file of the folder.
struct File {
    name: &'static str,
    content: Vec<u8>,
    mode: u32,
}

impl File {
    fn new(name: &'static str, content: impl Into<Vec<u8>>) -> Self {
        Self { name, content: content.into(), mode: 0o644 }
    }

    /// A file that only its owner can read.
    fn secret(name: &'static str, content: impl Into<Vec<u8>>) -> Self {
        Self { mode: 0o600, ..Self::new(name, content) }
    }
}

/// Makes the folder and says what is in it. Nothing is written if any of the files is there already.
pub fn run(arguments: &Arguments) -> ExitCode {
    super::ended(init(arguments).and_then(|text| super::print(&text)), "init")
}

fn init(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { dir, issuer, trust_anchors, upstream, ports } = arguments;
    ports.check(arguments)?;
    let anchors = trust_anchors.as_deref().map(super::input).transpose()?;
    let proposal = match issuer {
        None => Proposal::sandbox(upstream.is_none(), ports.issuer_port),
        Some(issuer) => Proposal::of(issuer, anchors.as_deref(), trust_anchors.as_deref())?,
    };
    let upstream = upstream.clone().unwrap_or_else(|| format!("http://127.0.0.1:{}", ports.api_port));
    let mut made = keys(issuer.is_none());
    if let Some(anchors) = anchors {
        made.push(File::new("tls/issuer-ca.pem", anchors));
    }
    made.push(File::new("gateway.yaml", files::configuration(&proposal, *ports, &upstream)));
    made.push(File::new("gateway.tests.yaml", files::tests(&proposal)));
    made.push(File::new("probe.yaml", files::probe(&proposal, *ports)));
    made.push(File::new("compose.yaml", files::compose()));
    made.push(File::new("README.md", files::readme(&proposal, *ports)));
    write(dir, &made)?;
    let config = super::load(&dir.join("gateway.yaml"))?;
    let mut text = format!("{} has:\n", dir.display());
    for file in &made {
        text.push_str("  ");
        text.push_str(file.name);
        text.push('\n');
    }
    for note in proposal.notes.iter().chain(&config.warnings) {
        text.push_str(&format!("note: {note}\n"));
    }
    text.push_str(&format!("\n{} has the commands that lead to a first call.\n", dir.join("README.md").display()));
    Ok(text)
}

/// The certificates and keys, which are made for this folder alone.
fn keys(sandbox: bool) -> Vec<File> {
    let authority = Authority::new("Development CA");
    let server = authority.server(&["localhost", "127.0.0.1"]);
    let [client, other] = ["client", "client-2"].map(|name| authority.client(name));
    let dpop = |name| SigningKey::generate(KeyKind::Es256, name).private_key_pem();
    let mut nonce_key = [0; 32];
    let nonce_key = match aws_lc_rs::rand::fill(&mut nonce_key) {
        Ok(()) => data_encoding::HEXLOWER.encode(&nonce_key),
        Err(_) => unreachable!("the keys above needed random bytes, too"),
    };
    let mut made = vec![
        File::new("tls/ca.pem", authority.pem()),
        File::secret("tls/ca-key.pem", authority.key_pem()),
        File::new("tls/server.pem", server.certificate_pem()),
        File::secret("tls/server-key.pem", server.key_pem()),
        File::new("tls/client.pem", client.certificate_pem()),
        File::secret("tls/client-key.pem", client.key_pem()),
        File::new("tls/client-2.pem", other.certificate_pem()),
        File::secret("tls/client-2-key.pem", other.key_pem()),
        File::secret("keys/dpop.pem", dpop("dpop")),
        File::secret("keys/dpop-2.pem", dpop("dpop-2")),
        File::secret("keys/nonce.key", format!("{nonce_key}\n")),
    ];
    if sandbox {
        let key = SigningKey::generate(KeyKind::Es256, "");
        let key = key.with_kid(&key.thumbprint());
        made.push(File::secret("sandbox/issuer-key.pem", key.private_key_pem()));
        made.push(File::new("sandbox/jwks.json", format!("{:#}\n", jwks(&[&key]))));
    }
    made
}

/// Writes the files, or none of them if one is there.
fn write(dir: &Path, made: &[File]) -> Result<(), Failure> {
    let there: Vec<&str> =
        made.iter().filter(|file| dir.join(file.name).symlink_metadata().is_ok()).map(|file| file.name).collect();
    if !there.is_empty() {
        let (there, dir) = (there.join(", "), dir.display());
        return Err(Failure::new(
            NOT_GOOD,
            format!("nothing was written: {dir} has {there} already; name another folder"),
        ));
    }
    for file in made {
        let path = dir.join(file.name);
        let folder = path.parent().unwrap_or(dir);
        let written = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).and_then(|()| {
            // `create_new` also refuses what has appeared since.
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true).mode(file.mode).open(&path)?.write_all(&file.content)
        });
        written.map_err(|error| Failure::io(&path, &error))?;
    }
    Ok(())
}

/// RFC 8414 §2: an issuer is "a URL that uses the "https" scheme and has no query or fragment components".
fn https_url(text: &str) -> Result<String, &'static str> {
    let url = bare_url(text).filter(|url| url.scheme() == "https");
    url.map(|_| text.to_owned()).ok_or("expected https://HOST or https://HOST/PATH")
}

fn server_url(text: &str) -> Result<String, &'static str> {
    let url = bare_url(text).filter(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/");
    let url = url.map(|_| text.trim_end_matches('/').to_owned());
    url.ok_or("expected http://HOST:PORT or https://HOST:PORT, without a path")
}

/// A URL without user information, query and fragment, which can stand in the files as it is.
fn bare_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| is_plain(text))?;
    let is_anonymous = url.username().is_empty() && url.password().is_none();
    (is_anonymous && url.query().is_none() && url.fragment().is_none()).then_some(url)
}

/// Whether the text can stand between quotation marks in the files as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b'`' | b'$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_those_that_the_configuration_takes() {
        for url in ["https://as.bank.example", "https://as.bank.example/realms/a", "https://localhost:9443"] {
            assert_eq!(https_url(url).as_deref(), Ok(url)); // control
        }
        for url in
            ["http://as.example", "as.example", "https://as.example/?a", "https://as.example/#a", "https://a@b/", ""]
        {
            assert!(https_url(url).is_err(), "{url}");
        }
        assert_eq!(server_url("http://127.0.0.1:8080/").as_deref(), Ok("http://127.0.0.1:8080")); // control
        for url in ["127.0.0.1:8080", "http://api/v1", "ftp://api", "http://a:b@api", "http://api\"x"] {
            assert!(server_url(url).is_err(), "{url}");
        }
    }
}
