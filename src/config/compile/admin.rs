//! `admin`: where operators connect, and who may revoke tokens there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fapi::policy::IssuerIndex;

use super::Build;
use super::files::{Anchors, store};
use super::issuers::name_of;
use crate::certificate::Purpose;
use crate::config::Admin;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::connection::tls;
use crate::issuer::revocations::{Settings, Source};

impl Build<'_> {
    pub(super) fn admin(&mut self, file: &mut File) -> Option<Admin> {
        let at = KeyPath::of("admin");
        let address = self.admin_address(&at.key("address"), file);
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

    fn admin_address(&mut self, at: &KeyPath, file: &File) -> Option<SocketAddr> {
        let admin = self.address(at, file.admin.as_ref()?.address.as_deref())?;
        let mut listeners =
            file.listeners.iter().flatten().filter_map(|listener| listener.address.as_deref()?.parse().ok());
        let clashes = |listener: &SocketAddr| {
            let every = listener.ip().is_unspecified() || admin.ip().is_unspecified();
            listener.port() == admin.port() && admin.port() != 0 && (every || listener.ip() == admin.ip())
        };
        if let Some(listener) = listeners.find(clashes) {
            self.problem(
                at,
                format!("the listener {listener} has this port, so clients could reach it; choose another port"),
            );
        }
        Some(admin)
    }

    fn admin_tls(&mut self, at: &KeyPath, entry: &file::AdminTls) -> Option<tls::Settings> {
        let purpose = Purpose::Server { hosts: &[], behind_proxy: false };
        let identity = self.identity(at, entry.certificate.as_ref(), entry.private_key.as_ref(), purpose);
        let anchors_at = at.key("trust_anchors");
        let way_out = "name the PEM files of the authorities whose clients may send revocations";
        let anchors = self.needed(&anchors_at, entry.trust_anchors.as_deref(), way_out);
        let anchors = anchors.and_then(|paths| self.trust_anchors(&anchors_at, paths, Anchors::Authorities));
        let (certificate_chain, private_key) = identity?;
        let trust = tls::Trust::Chain {
            anchors: Arc::new(store(&anchors?)?),
            extended_key_usage: tls::ExtendedKeyUsage::ClientAuthOrAbsent,
            revocation_lists: Vec::new(),
            on_expired: tls::OnExpired::Refuse,
        };
        Some(tls::Settings {
            certificate_chain,
            private_key,
            client_certificates: tls::ClientCertificates::Requested { demand: tls::Demand::Optional, trust },
            // Over HTTP/2, a connection without a request could not make room for others.
            protocols: &[b"http/1.1"],
            suites: tls::Suites::Bcp195,
        })
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
        let names: Vec<String> = issuers.iter().map(name_of).collect();
        let (mut sources, mut taken) = (Vec::new(), Vec::new());
        for (index, entry) in entry.security_events.get_or_insert_default().iter().enumerate() {
            let at = sources_at.index(index);
            let audience = self.text(
                &at.key("audience"),
                entry.audience.as_deref(),
                "write the `aud` that the issuer uses for this gateway, such as `https://gateway.bank.example`",
            );
            let issuer_at = at.key("issuer");
            let name = self.text(&issuer_at, entry.issuer.as_deref(), "write the name of one of the `issuers`");
            let found = name.and_then(|name| names.iter().position(|known| known == name));
            if let (Some(name), None) = (name, found) {
                let broken = self.report.lost_under(&KeyPath::of("issuers"));
                self.unknown(&issuer_at, "issuer is named", name, names.iter().map(String::as_str), broken);
            }
            let issuer = found.map(IssuerIndex);
            if issuer.is_some() && taken.contains(&issuer) {
                self.problem(&issuer_at, "another entry already names this issuer; keep one of them");
            }
            taken.push(issuer);
            sources.push(issuer.zip(audience).map(|(issuer, audience)| Source { issuer, audience: audience.into() }));
        }
        let security_events = sources.into_iter().collect::<Option<Vec<Source>>>()?;
        Some(Settings { keep: keep?, max_entries: max_entries?, security_events })
    }
}
