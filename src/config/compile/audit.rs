//! `audit`: where the lines go, and how they are chained.

use std::sync::Arc;
use std::time::Duration;

use fapi::jose::jwe::EncryptionKey;
use fapi::jose::signing::PrivateKey;
use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::signing::P_256;
use super::tracing::Entry;
use super::upstreams::address;
use super::{Build, MIB};
use crate::config::NamedFiles;
use crate::config::error::{KeyPath, nearest};
use crate::config::file::{self, File, PseudonymizedField as Field};
use crate::config::judge::directory_of;
use crate::config::scalar::FilePath;
use crate::otlp::Signal;
use crate::resource::Kind;
use crate::telemetry::audit::chain::{ChainKey, ChainSettings};
use crate::telemetry::audit::evidence::EvidenceKey;
use crate::telemetry::audit::{self, Pseudonyms, syslog};
use crate::telemetry::lines::Rotation;
use crate::tls_client::{Identity, TrustAnchors, client_config};
use crate::upstream::TlsSettings;

impl Build<'_> {
    pub(super) fn audit(&mut self, file: &mut File) -> Option<audit::Settings> {
        let entry = file.audit.get_or_insert_default();
        let on_overflow = match entry.on_overflow.get_or_insert(file::OnOverflow::Drop) {
            file::OnOverflow::Drop => audit::OnOverflow::Drop,
            file::OnOverflow::Block => audit::OnOverflow::Block,
            file::OnOverflow::Refuse => audit::OnOverflow::Refuse,
        };
        let destination = self.audit_destination(entry);
        let chain = match &mut entry.chain {
            Some(chain) => self.audit_chain(chain),
            None => Some(None),
        };
        let pseudonyms = match &mut entry.pseudonymize {
            Some(entry) => self.pseudonyms(entry).map(|pseudonyms| Some(Arc::new(pseudonyms))),
            None => Some(None),
        };
        let evidence = match &entry.evidence {
            Some(entry) => self.evidence(entry).map(|evidence| evidence.map(Arc::new)),
            None => Some(None),
        };
        if entry.evidence.is_some() && !file.routes.iter().flatten().any(|route| route.signature.is_some()) {
            self.warn(
                &KeyPath::of("audit").key("evidence"),
                "no route has `signature`, so there is no evidence to keep",
            );
        }
        Some(audit::Settings {
            destination: destination?,
            on_overflow,
            chain: chain?,
            pseudonyms: pseudonyms?,
            evidence: evidence?,
        })
    }

    /// What evidence is encrypted to; nothing where files are not read.
    fn evidence(&mut self, entry: &file::Evidence) -> Option<Option<EvidenceKey>> {
        let at = KeyPath::of("audit").key("evidence").key("encrypt_to");
        let path = self.needed(&at, entry.encrypt_to.as_ref(), "name the PEM file of a public key")?;
        if self.named_files == NamedFiles::Unread {
            return Some(None);
        }
        let text = self.read(&at, path, Kind::PublicKey)?;
        match EncryptionKey::from_spki_pem(&text, None) {
            Ok(key) => Some(Some(EvidenceKey::new(key))),
            Err(error) => {
                let shown = path.0.display();
                let way_out =
                    "create a pair of keys elsewhere, and name the file that `openssl pkey -pubout` writes of it";
                self.problem(&at, format!("`{shown}` cannot be used: {error}; {way_out}"));
                None
            }
        }
    }

    /// What stands in place of names.
    fn pseudonyms(&mut self, entry: &mut file::Pseudonymize) -> Option<Pseudonyms> {
        let at = KeyPath::of("audit").key("pseudonymize");
        let (key_at, fields_at) = (at.key("key"), at.key("fields"));
        let path = self.needed(&key_at, entry.key.as_ref(), "name the file of a key of 32 random bytes");
        let keys = path.and_then(|path| self.symmetric_keys(&key_at, path));
        let fields = entry.fields.get_or_insert_with(|| vec![Field::Subject, Field::ClientAddress]);
        let has = |field| fields.contains(&field);
        let (subject, client_address) = (has(Field::Subject), has(Field::ClientAddress));
        if fields.is_empty() {
            self.report
                .empty(&fields_at, "the list is empty; name `subject` or `client_address`, or remove the section");
        }
        match keys?[..] {
            [key] => Some(Pseudonyms::new(&key, subject, client_address)),
            _ => {
                // With two, nobody would know which of them a pseudonym is from.
                self.problem(&key_at, "the file has more than one key; write one into it");
                None
            }
        }
    }

    /// The server that lines are sent to.
    fn syslog(&mut self, entry: &file::Syslog) -> Option<audit::Destination> {
        let at = KeyPath::of("audit").key("syslog");
        let (server_at, tls_at) = (at.key("server"), at.key("tls"));
        let way_out = "name the server, such as `siem.bank.example:6514`";
        let server =
            self.text(&server_at, entry.server.as_deref(), way_out).map(|text| (text, address(true, text, 6514)));
        if let Some((text, None)) = server {
            self.problem(&server_at, format!("`{text}` is not a host with an optional port; {way_out}"));
        }
        let tls = match &entry.tls {
            Some(tls) => self.server_tls(&tls_at, tls),
            None => Some(TlsSettings { trust_anchors: None, identity: None, server_name: None }),
        };
        let (server, tls) = (server?.1?, tls?);
        let Ok(server_name) = ServerName::try_from(tls.server_name.as_deref().unwrap_or(&server.host).to_owned())
        else {
            let problem = format!("`{}` is neither a DNS name nor an IP address; {way_out}", server.host);
            self.problem(&server_at, problem);
            return None;
        };
        if self.named_files == NamedFiles::Unread {
            return Some(audit::Destination::Stdout);
        }
        let anchors = tls.trust_anchors.map_or(TrustAnchors::System, TrustAnchors::Given);
        let identity = tls.identity.map(|(chain, key)| Identity { chain, key });
        let tls_hash = hash(&anchors, identity.as_ref());
        match client_config(&anchors, identity.as_ref()) {
            Ok(tls) => Some(audit::Destination::Syslog(Arc::new(syslog::Settings {
                host: server.host,
                port: server.port,
                server_name,
                tls: Arc::new(tls),
                tls_hash,
            }))),
            Err(error) => {
                self.problem(&tls_at, format!("{error}; name the authority of the server in `trust_anchors`"));
                None
            }
        }
    }

    /// The collector that lines are sent to.
    fn audit_collector(&mut self, entry: &mut file::AuditCollector) -> Option<audit::Destination> {
        let at = KeyPath::of("audit").key("otlp");
        let peer = self.collector(
            &at,
            Signal::Logs,
            Entry {
                endpoint: entry.endpoint.as_deref(),
                protocol: &mut entry.protocol,
                header_files: entry.header_files.as_ref(),
                tls: entry.tls.as_ref(),
                timeout: &mut entry.timeout,
                resource: entry.resource.as_ref(),
            },
        );
        let peer = peer?;
        if self.named_files == NamedFiles::Unread {
            return Some(audit::Destination::Stdout);
        }
        let tls_hash = hash(&peer.trust_anchors, peer.identity.as_ref());
        Some(audit::Destination::Otlp(audit::otlp::Settings::new(peer, tls_hash)))
    }

    /// How lines are chained; `None` inside where files are not read.
    fn audit_chain(&mut self, entry: &mut file::Chain) -> Option<Option<ChainSettings>> {
        let at = KeyPath::of("audit").key("chain");
        let key_at = at.key("key");
        let written = self.needed(&key_at, entry.key.as_ref(), "name the PEM file of a key for this alone");
        let key = match written {
            Some(file::PrivateKey::File(path)) => self.private_key(&key_at, path).map(|der| {
                let der = Zeroizing::new(der);
                // Where files are not read, something empty stands for the key.
                (self.named_files == NamedFiles::Read).then(|| PrivateKey::from_der(&der))
            }),
            Some(file::PrivateKey::Token(token)) => {
                let opened = self.token_key(&key_at, token);
                opened.map(|opened| opened.map(|opened| Ok(opened.key)))
            }
            None => None,
        };
        let checkpoint_at = at.key("checkpoint");
        let checkpoint = entry.checkpoint.get_or_insert_default();
        let records = checkpoint.records.get_or_insert(1000);
        let records = self.number(&checkpoint_at.key("records"), records, 1..=1_000_000);
        let range = Duration::from_millis(100)..=Duration::from_secs(60 * 60);
        let usual = Duration::from_secs(10);
        let interval = self.time_within(&checkpoint_at.key("interval"), &mut checkpoint.interval, usual, range);
        let Some(key) = key? else { return records.and(interval).map(|_| None) };
        let key = key.map_err(|error| error.to_string());
        match key.and_then(|key| ChainKey::new(key).map_err(|error| error.to_string())) {
            Ok(key) => Some(Some(ChainSettings { key: Arc::new(key), records: records?, interval: interval? })),
            Err(problem) => {
                self.problem(&key_at, format!("{problem}; create another key: {P_256}"));
                None
            }
        }
    }

    fn audit_destination(&mut self, entry: &mut file::Audit) -> Option<audit::Destination> {
        let at = KeyPath::of("audit").key("destination");
        let written = &entry.destination.get_or_insert_with(|| FilePath("stdout".into())).0;
        let text = written.to_str().unwrap_or_default();
        if text == "syslog" {
            self.no_rotation(entry);
            let none = file::Syslog::default();
            return self.syslog(entry.syslog.as_ref().unwrap_or(&none));
        }
        if text == "otlp" {
            self.no_rotation(entry);
            return self.audit_collector(entry.otlp.get_or_insert_default());
        }
        if let Some(meant) = nearest(text, ["stdout", "syslog", "otlp", "stderr"]).filter(|_| text != "stdout") {
            let meant = if meant == "stderr" { "stdout" } else { meant };
            let problem =
                format!("`{text}` is not a valid value; did you mean `{meant}`? To name a file, write `./{text}`");
            self.problem(&at, problem);
            return None;
        }
        if entry.syslog.is_some() {
            let problem = "the lines do not go to a server; write `destination: syslog`, or remove the key";
            self.problem(&KeyPath::of("audit").key("syslog"), problem);
            return None;
        }
        if entry.otlp.is_some() {
            let problem = "the lines do not go to a collector; write `destination: otlp`, or remove the key";
            self.problem(&KeyPath::of("audit").key("otlp"), problem);
            return None;
        }
        if text == "stdout" {
            self.no_rotation(entry);
            return Some(audit::Destination::Stdout);
        }
        let path = self.resolve(written);
        let rotation = match &mut entry.rotate {
            Some(rotate) => Some(self.rotation(rotate)?),
            None => None,
        };
        if self.named_files == NamedFiles::Unread {
            return Some(audit::Destination::File(path, rotation));
        }
        if path.is_dir() || !directory_of(&path).is_dir() {
            let problem = format!(
                "`{}` is not a file in an existing directory; create the directory or correct the path",
                path.display()
            );
            self.problem(&at, problem);
            self.passing = self.passing.saturating_add(1);
            return None;
        }
        Some(audit::Destination::File(path, rotation))
    }

    /// When lines go to a new file.
    fn rotation(&mut self, entry: &mut file::Rotate) -> Option<Rotation> {
        let at = KeyPath::of("audit").key("rotate");
        if entry.size.is_none() && entry.every.is_none() {
            self.problem(&at, "the section names neither `size` nor `every`; name one or both, or remove it");
            return None;
        }
        let size = match entry.size {
            Some(_) => self.size_within(&at.key("size"), &mut entry.size, 100 * MIB, MIB..=1024 * 1024 * MIB).map(Some),
            None => Some(None),
        };
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));
        let every = match entry.every {
            Some(_) => self.time_within(&at.key("every"), &mut entry.every, day, minute..=31 * day).map(Some),
            None => Some(None),
        };
        Some(Rotation { size: size?, every: every? })
    }

    /// What is no file of the gateway's is not rotated by it.
    fn no_rotation(&mut self, entry: &file::Audit) {
        if entry.rotate.is_some() {
            let problem = "the lines do not go to a file; name one as `destination`, or remove the section";
            self.problem(&KeyPath::of("audit").key("rotate"), problem);
        }
    }
}

/// A hash of what a connection is set up with, so that a reload knows whether it needs another one.
fn hash(anchors: &TrustAnchors, identity: Option<&Identity>) -> [u8; 32] {
    let mut text = Vec::new();
    let mut add = |part: &[u8]| text.extend_from_slice(&fapi::sha256(part));
    if let TrustAnchors::Given(anchors) = anchors {
        anchors.iter().for_each(|anchor| add(anchor));
    }
    if let Some(Identity { chain, key }) = identity {
        chain.iter().for_each(|certificate| add(certificate));
        add(key.secret_der());
    }
    fapi::sha256(&text)
}
