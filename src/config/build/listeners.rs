//! `listeners`: addresses, origins, and TLS that was set up once.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::VerifierBuilderError;

use super::Build;
use super::files::{Anchors, misfit};
use crate::config::Listener;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::fapi::route::{Origin, Origins};
use crate::tls;

impl Build<'_> {
    pub(super) fn listeners(&mut self, file: &mut File) -> Option<Vec<Listener>> {
        let at = KeyPath::of("listeners");
        let entries =
            self.entries(&at, file.listeners.as_deref_mut(), "add a listener with `address`, `origins` and `tls`")?;
        let mut listeners = Vec::new();
        let mut taken: Vec<SocketAddr> = Vec::new();
        for (index, entry) in entries.iter_mut().enumerate() {
            listeners.push(self.listener(&at.index(index), entry, &mut taken));
        }
        listeners.into_iter().collect()
    }

    pub(super) fn listener(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Listener,
        taken: &mut Vec<SocketAddr>,
    ) -> Option<Listener> {
        let address = self.address(&at.key("address"), entry.address.as_deref());
        if let Some(address) = address {
            if address.port() != 0 && taken.contains(&address) {
                self.problem(
                    &at.key("address"),
                    format!("another listener has {address} already; choose another port"),
                );
            }
            taken.push(address);
        }
        let origins = self.origins(&at.key("origins"), entry.origins.as_deref());
        let tls = match &mut entry.tls {
            Some(tls) => self.listener_tls(&at.key("tls"), tls),
            None => {
                self.problem(
                    &at.key("tls"),
                    "the key is missing; add `certificate`, `private_key` and `client_certificates`, there are no listeners without TLS",
                );
                None
            }
        };
        let (address, origins, tls) = (address?, origins?, tls?);
        self.summary.push(format!(
            "listener {address}: serves {}; client certificates: {}",
            entry.origins.as_deref().unwrap_or_default().join(", "),
            describe(&tls.client_certificates)
        ));
        Some(Listener { address, origins: Origins::new(origins), tls })
    }

    pub(super) fn address(&mut self, at: &KeyPath, text: Option<&str>) -> Option<SocketAddr> {
        let text = self.text(at, text, "write address and port, such as `0.0.0.0:8443` or `[::]:8443`")?;
        let address = text.parse().ok();
        if address.is_none() {
            let problem =
                format!("`{text}` is not an IP address with a port; write it like `0.0.0.0:8443` or `[::]:8443`");
            self.problem(at, problem);
        }
        address
    }

    pub(super) fn origins(&mut self, at: &KeyPath, texts: Option<&[String]>) -> Option<Vec<Arc<Origin>>> {
        let texts = self.list(at, texts, "name at least one public origin, such as `https://api.bank.example`")?;
        let mut origins: Vec<Option<Arc<Origin>>> = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let at = at.index(index);
            match Origin::parse(text) {
                Ok(origin) => {
                    let same = |other: &&Arc<Origin>| other.host() == origin.host() && other.port() == origin.port();
                    if let Some(other) = origins.iter().flatten().find(same) {
                        let problem =
                            format!("`{other}` has this host and port already; keep one", other = other.as_str());
                        self.problem(&at, problem);
                    }
                    origins.push(Some(Arc::new(origin)));
                }
                Err(error) => {
                    self.problem(&at, error.to_string());
                    origins.push(None);
                }
            }
        }
        origins.into_iter().collect()
    }

    pub(super) fn listener_tls(&mut self, at: &KeyPath, entry: &mut file::ListenerTls) -> Option<tls::Settings> {
        let (chain_at, key_at) = (at.key("certificate"), at.key("private_key"));
        let chain = self.needed(&chain_at, entry.certificate.as_ref(), "name the PEM file with the certificate chain");
        let chain = chain.and_then(|path| self.certificate_chain(&chain_at, path));
        let key =
            self.needed(&key_at, entry.private_key.as_ref(), "name the PEM file with the certificate's private key");
        let key = key.and_then(|path| self.private_key(&key_at, path));
        let clients_at = at.key("client_certificates");
        let clients = match &mut entry.client_certificates {
            Some(clients) => self.client_certificates(&clients_at, clients),
            None => {
                self.problem(&clients_at, "the key is missing; add `mode: required`, `mode: optional` or `mode: none`");
                None
            }
        };
        let (chain, key) = (chain?, key?);
        // Looked at without them too, so that a key that does not fit is found in the same run.
        let known = clients.is_some();
        let settings = tls::Settings {
            certificate_chain: chain,
            private_key: key,
            client_certificates: clients.unwrap_or(tls::ClientCertificates::None),
        };
        match settings.in_force(0) {
            Ok(_) if known => Some(settings),
            Ok(_) => None,
            Err(tls::TlsError::Verifier(VerifierBuilderError::InvalidCrl(error))) => {
                let problem =
                    format!("one of the lists cannot be used ({error:?}); fetch them again from their authority");
                self.problem(&clients_at.key("revocation_lists"), problem);
                None
            }
            Err(tls::TlsError::Verifier(error)) => {
                self.problem(
                    &clients_at,
                    format!("client certificates cannot be verified ({error}); correct the anchors"),
                );
                None
            }
            Err(tls::TlsError::Rustls(error)) => {
                self.problem(&key_at, misfit(&error));
                None
            }
        }
    }

    pub(super) fn client_certificates(
        &mut self,
        at: &KeyPath,
        entry: &mut file::ClientCertificates,
    ) -> Option<tls::ClientCertificates> {
        let (anchors_at, lists_at) = (at.key("trust_anchors"), at.key("revocation_lists"));
        let Some(mode) = entry.mode else {
            let problem = "the key is missing; write `mode: required`, `mode: optional` or `mode: none`";
            self.problem(&at.key("mode"), problem);
            return None;
        };
        let demand = match mode {
            file::Mode::Required => tls::Demand::Required,
            file::Mode::Optional => tls::Demand::Optional,
            file::Mode::None => {
                let way_out = "remove the key, or write `mode: optional` or `mode: required`";
                let surplus = [
                    (at.key("trust"), entry.trust.is_some()),
                    (anchors_at, entry.trust_anchors.is_some()),
                    (lists_at, entry.revocation_lists.is_some()),
                ];
                for (at, _) in surplus.iter().filter(|(_, present)| *present) {
                    self.problem(
                        at,
                        format!("with `mode: none` no certificate is asked for, so this means nothing; {way_out}"),
                    );
                }
                return Some(tls::ClientCertificates::None);
            }
        };
        let trust = match entry.trust.get_or_insert(file::Trust::Chain) {
            file::Trust::Possession => {
                for (at, present) in
                    [(anchors_at, entry.trust_anchors.is_some()), (lists_at, entry.revocation_lists.is_some())]
                {
                    if present {
                        let problem = "with `trust: possession` no chain is looked at, so this means nothing; remove the key, or write `trust: chain`";
                        self.problem(&at, problem);
                    }
                }
                tls::Trust::Possession
            }
            file::Trust::Chain => {
                let anchors = match entry.trust_anchors.as_deref() {
                    Some(paths) => self.trust_anchors(&anchors_at, paths, Anchors::Authorities),
                    None => {
                        let problem = "the key is missing, so no client certificate could be trusted; name the PEM files of their authorities, or write `trust: possession` or `mode: none`";
                        self.report.problem_unless(&[at.key("mode"), at.key("trust")], &anchors_at, problem);
                        None
                    }
                };
                let lists = entry.revocation_lists.get_or_insert_default();
                let revocation_lists = self.revocation_lists(&lists_at, lists);
                let mut store = RootCertStore::empty();
                for anchor in anchors? {
                    store.add(anchor).ok()?;
                }
                tls::Trust::Chain { anchors: Arc::new(store), revocation_lists: revocation_lists? }
            }
        };
        Some(tls::ClientCertificates::Requested { demand, trust })
    }
}

pub(super) fn describe(clients: &tls::ClientCertificates) -> String {
    match clients {
        tls::ClientCertificates::None => "none".to_owned(),
        tls::ClientCertificates::Requested { demand, trust } => {
            let demand = match demand {
                tls::Demand::Optional => "optional",
                tls::Demand::Required => "required",
            };
            match trust {
                tls::Trust::Possession => format!("{demand}, by possession"),
                tls::Trust::Chain { anchors, revocation_lists } => format!(
                    "{demand}, by chain; trust anchors: {}; revocation lists: {}",
                    anchors.len(),
                    revocation_lists.len()
                ),
            }
        }
    }
}
