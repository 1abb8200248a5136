//! `admin`: where operators connect, and who may revoke tokens there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fapi::policy::IssuerIndex;
use rustls::RootCertStore;
use rustls::time_provider::DefaultTimeProvider;

use super::Build;
use super::files::{Anchors, misfit};
use super::issuers::name_of;
use crate::certificate::Purpose;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::config::{Admin, NamedFiles, VirtualHost};
use crate::connection::tls;
use crate::issuer::revocations::{Settings, Source};

impl Build<'_> {
    pub(super) fn admin(&mut self, file: &mut File, listeners: &[(SocketAddr, VirtualHost)]) -> Option<Admin> {
        let at = KeyPath::of("admin");
        let address = self.admin_address(&at.key("address"), file, listeners);
        let File { admin, issuers, .. } = file;
        let entry = admin.as_mut()?;
        let has_tls = entry.tls.is_some();
        let tls = entry.tls.as_ref().and_then(|tls| self.admin_tls(&at.key("tls"), tls));
        let revocations_at = at.key("revocations");
        let revocations = match &mut entry.revocations {
            Some(section) => {
                if !has_tls && address.is_some_and(|address| !address.ip().is_loopback()) {
                    let problem = "anyone who reaches the address could revoke tokens; add `tls` beside it, so that a client certificate is required, or write a loopback address";
                    self.report.problem_unless(&[at.key("tls")], &revocations_at, problem);
                }
                self.revocations(&revocations_at, section, issuers.as_deref().unwrap_or_default())
            }
            None => None,
        };
        let decisions = self.number(&at.key("decisions"), entry.decisions.get_or_insert(1000), 0..=10_000);
        Some(Admin { address: address?, tls, revocations, decisions: decisions? })
    }

    fn admin_address(
        &mut self,
        at: &KeyPath,
        file: &File,
        listeners: &[(SocketAddr, VirtualHost)],
    ) -> Option<SocketAddr> {
        let admin = self.address(at, file.admin.as_ref()?.address.as_deref())?;
        let written = file.listeners.iter().flatten().filter_map(|listener| listener.address.as_deref()?.parse().ok());
        let clashes = |listener: &SocketAddr| {
            let every = listener.ip().is_unspecified() || admin.ip().is_unspecified();
            listener.port() == admin.port() && admin.port() != 0 && (every || listener.ip() == admin.ip())
        };
        if let Some(listener) = listeners.iter().map(|(address, _)| *address).chain(written).find(clashes) {
            self.problem(
                at,
                format!("the listener {listener} has this port, so clients could reach it; choose another port"),
            );
        }
        Some(admin)
    }

    fn admin_tls(&mut self, at: &KeyPath, entry: &file::AdminTls) -> Option<tls::Settings> {
        let (chain_at, key_at, anchors_at) = (at.key("certificate"), at.key("private_key"), at.key("trust_anchors"));
        let chain = self.needed(&chain_at, entry.certificate.as_ref(), "name the PEM file with the certificate chain");
        let chain = chain.and_then(|path| self.certificate_chain(&chain_at, path));
        let key =
            self.needed(&key_at, entry.private_key.as_ref(), "name the PEM file with the certificate's private key");
        let key = key.and_then(|path| self.private_key(&key_at, path));
        let way_out = "name the PEM files of the authorities whose clients may send revocations";
        let anchors = self.needed(&anchors_at, entry.trust_anchors.as_deref(), way_out);
        let anchors = anchors.and_then(|paths| self.trust_anchors(&anchors_at, paths, Anchors::Authorities));
        let (chain, key) = (chain?, key?);
        let known = anchors.is_some();
        let mut store = RootCertStore::empty();
        for anchor in anchors.iter().flatten() {
            store.roots.push(tls::trust_anchor(anchor)?);
        }
        let trust = tls::Trust::Chain {
            anchors: Arc::new(store),
            extended_key_usage: tls::ExtendedKeyUsage::ClientAuthOrAbsent,
            revocation_lists: Vec::new(),
            on_expired: tls::OnExpired::Refuse,
        };
        let settings = tls::Settings {
            certificate_chain: chain,
            private_key: key,
            client_certificates: match known {
                true => tls::ClientCertificates::Requested { demand: tls::Demand::Optional, trust },
                // Checked even without them, so that a key that does not match is reported in the same run.
                false => tls::ClientCertificates::None,
            },
            // Over HTTP/2, a connection without a request could not make room for others.
            protocols: &[b"http/1.1"],
        };
        if let Some(path) = &entry.certificate {
            let purpose = Purpose::Server { hosts: &[], behind_proxy: false };
            self.judge(&chain_at, path, &settings.certificate_chain, purpose);
        }
        if self.named_files == NamedFiles::Unread {
            return known.then_some(settings);
        }
        match settings.in_force(Arc::new(DefaultTimeProvider)) {
            Ok(_) => known.then_some(settings),
            Err(tls::TlsError(error)) => {
                self.problem(&key_at, misfit(&error, &settings.certificate_chain, &settings.private_key));
                None
            }
        }
    }

    fn revocations(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Revocations,
        issuers: &[file::Issuer],
    ) -> Option<Settings> {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(60 * 60));
        let keep = self.time_within(&at.key("keep"), &mut entry.keep, hour * 24, minute..=hour * 720);
        let max_entries = self.number(&at.key("max_entries"), entry.max_entries.get_or_insert(100_000), 1..=10_000_000);
        let sources_at = at.key("security_events");
        let (mut sources, mut named) = (Vec::new(), Vec::new());
        for (index, entry) in entry.security_events.get_or_insert_default().iter().enumerate() {
            let at = sources_at.index(index);
            let audience = self.text(
                &at.key("audience"),
                entry.audience.as_deref(),
                "write the `aud` that the issuer uses for this gateway, such as `https://gateway.bank.example`",
            );
            let issuer_at = at.key("issuer");
            let name = self.text(&issuer_at, entry.issuer.as_deref(), "write the name of one of the `issuers`");
            let names = issuers.iter().map(name_of).collect::<Vec<_>>();
            let found = name.and_then(|name| names.iter().position(|known| known == name));
            if let (Some(name), None) = (name, found) {
                let broken = self.report.lost_under(&KeyPath::of("issuers"));
                self.unknown(&issuer_at, "issuer is named", name, names.iter().map(String::as_str), broken);
            }
            let issuer = found.map(IssuerIndex);
            if issuer.is_some() && named.contains(&issuer) {
                self.problem(&issuer_at, "another entry already names this issuer; keep one of them");
            }
            named.push(issuer);
            sources.push(issuer.zip(audience).map(|(issuer, audience)| Source { issuer, audience: audience.into() }));
        }
        let security_events = sources.into_iter().collect::<Option<Vec<Source>>>()?;
        Some(Settings { keep: keep?, max_entries: max_entries?, security_events })
    }
}
