//! `listeners`: addresses, origins, and TLS settings that rustls accepts.

use std::net::SocketAddr;
use std::sync::Arc;

use fapi::route::{Origin, Origins};
use rustls::RootCertStore;
use rustls::pki_types::TrustAnchor;

use super::Build;
use super::cors::{Place, describe_cors};
use super::files::{Anchors, is_for_rsa, store};
use crate::certificate::Purpose;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::config::scalar::FilePath;
use crate::config::{Listener, NamedFiles, VirtualHost};
use crate::connection::tls;

impl Build<'_> {
    /// Compiles every entry, in the order of the file.
    pub(super) fn listeners(&mut self, file: &mut File) -> Option<Vec<(SocketAddr, VirtualHost)>> {
        let at = KeyPath::of("listeners");
        let entries =
            self.entries(&at, file.listeners.as_deref_mut(), "add a listener with `address`, `origins` and `tls`")?;
        let mut built = Vec::new();
        let mut earlier = Vec::new();
        for (index, entry) in entries.iter_mut().enumerate() {
            built.push(self.listener(&at, index, entry, &mut earlier));
        }
        built.into_iter().collect()
    }

    fn listener(
        &mut self,
        listeners: &KeyPath,
        index: usize,
        entry: &mut file::Listener,
        earlier: &mut Vec<Reached>,
    ) -> Option<(SocketAddr, VirtualHost)> {
        let at = listeners.index(index);
        let address = self.address(&at.key("address"), entry.address.as_deref());
        let origins = self.origins(&at.key("origins"), entry.origins.as_deref());
        if let Some(address) = address {
            let balancers = entry.proxy_protocol.as_ref().and_then(|section| section.from.clone());
            let reached = Reached { index, address, origins: origins.clone().unwrap_or_default(), balancers };
            self.tell_apart(&at, &reached, earlier);
            earlier.push(reached);
        }
        let hosts: Vec<&str> = origins.iter().flatten().map(|origin| origin.host()).collect();
        let behind_proxy = entry.forwarded_client_certificate.is_some();
        let tls = match &mut entry.tls {
            Some(tls) => self.listener_tls(&at.key("tls"), tls, Purpose::Server { hosts: &hosts, behind_proxy }),
            None => {
                self.problem(
                    &at.key("tls"),
                    "the key is missing; add `certificate`, `private_key` and `client_certificates`, since every listener uses TLS",
                );
                None
            }
        };
        let asked =
            entry.tls.as_ref().and_then(|tls| tls.client_certificates.as_ref()).map(|own| (own.mode, own.trust));
        let trusted_proxy_at = at.key("forwarded_client_certificate");
        let trusted_proxy = match &mut entry.forwarded_client_certificate {
            Some(trusted_proxy) => self
                .trusted_proxy(&trusted_proxy_at, trusted_proxy, &at.key("tls").key("client_certificates"), asked)
                .map(Some),
            None => Some(None),
        };
        let cors = self.cors(&at.key("cors"), entry.cors.as_mut(), Place::Listener);
        let balancers = self.balancers(&at.key("proxy_protocol"), entry.proxy_protocol.as_ref());
        let (address, origins, tls, trusted_proxy, cors) = (address?, origins?, tls?, trusted_proxy?, cors?);
        let balancers = balancers?;
        let host = VirtualHost { origins: Origins::new(origins), tls, trusted_proxy, cors, errors: None, balancers };
        self.summary.push(self.describe(address, &host, entry));
        Some((address, host))
    }

    /// Leaves the cipher suites of FAPI 1.0 Advanced §8.5, which is about whole listeners, so that only their profile and that of all
    /// routes decide.
    pub(super) fn listener_of_fapi1(&mut self, index: usize, tls: &mut tls::Settings) {
        tls.suites = tls::Suites::Fapi1;
        if tls.certificate_chain.first().is_some_and(|leaf| !is_for_rsa(leaf)) {
            let at = KeyPath::of("listeners").index(index).key("tls").key("certificate");
            self.warn(&at, "with `profile: fapi1-advanced` TLS 1.2 has suites for RSA certificates alone, so that clients without TLS 1.3 cannot connect; name an RSA certificate if there are any");
        }
    }

    /// Reports entries that clients could not choose between. Entries with the same address are distinguished by the
    /// server name that a client sends in TLS, which has no port and cannot be an IP address.
    fn tell_apart(&mut self, at: &KeyPath, entry: &Reached, earlier: &[Reached]) {
        if let Some(Reached { index, address, .. }) = earlier.iter().find(|other| other.covers(entry)) {
            let problem = format!(
                "listeners[{index}] has {address}, and one of the two addresses includes the other; choose another port, or write the same address for both"
            );
            self.problem(&at.key("address"), problem);
        }
        let address = entry.address;
        // The header comes before the name that selects an entry.
        let shares = |other: &&Reached| other.address == address && other.balancers != entry.balancers;
        if let Some(Reached { index, .. }) = earlier.iter().find(shares) {
            let problem = format!(
                "listeners[{index}] shares {address}, and its connections begin before a name selects an entry, but its key is missing or different; write the same networks in both"
            );
            self.problem(&at.key("proxy_protocol"), problem);
        }
        for (place, origin) in entry.origins.iter().enumerate() {
            let same = |other: &Arc<Origin>| other.host() == origin.host();
            let both = |other: &Arc<Origin>| other.is_address() && origin.is_address();
            let mut sharing = earlier.iter().filter(|other| other.address == address);
            let taken = sharing.find(|other| other.origins.iter().any(|other| same(other) || both(other)));
            let Some(Reached { index, origins, .. }) = taken else { continue };
            let why = if origins.iter().any(same) {
                format!("has a host that listeners[{index}] already serves at {address}")
            } else {
                format!(
                    "is an IP address, for which clients send no host name in TLS, and listeners[{index}] already has one at {address}"
                )
            };
            let problem = format!("`{}` {why}; keep one, or choose another address", origin.as_str());
            self.problem(&at.key("origins").index(place), problem);
        }
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

    fn origins(&mut self, at: &KeyPath, texts: Option<&[String]>) -> Option<Vec<Arc<Origin>>> {
        let texts = self.list(at, texts, "name at least one public origin, such as `https://api.bank.example`")?;
        let mut origins: Vec<Option<Arc<Origin>>> = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let at = at.index(index);
            match Origin::parse(text) {
                Ok(origin) => {
                    let same = |other: &&Arc<Origin>| other.host() == origin.host() && other.port() == origin.port();
                    if let Some(other) = origins.iter().flatten().find(same) {
                        let problem =
                            format!("`{other}` already has this host and port; keep one", other = other.as_str());
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

    fn listener_tls(
        &mut self,
        at: &KeyPath,
        entry: &mut file::ListenerTls,
        purpose: Purpose<'_>,
    ) -> Option<tls::Settings> {
        let identity = self.identity(at, entry.certificate.as_ref(), entry.private_key.as_ref(), purpose);
        let clients_at = at.key("client_certificates");
        let clients = match &mut entry.client_certificates {
            Some(clients) => self.client_certificates(&clients_at, clients),
            None => {
                self.problem(&clients_at, "the key is missing; add `mode: required`, `mode: optional` or `mode: none`");
                None
            }
        };
        let ((certificate_chain, private_key), client_certificates) = (identity?, clients?);
        let (protocols, suites): (&[&[u8]], _) = (&[b"h2", b"http/1.1"], tls::Suites::Bcp195);
        Some(tls::Settings { certificate_chain, private_key, client_certificates, protocols, suites })
    }

    fn client_certificates(
        &mut self,
        at: &KeyPath,
        entry: &mut file::ClientCertificates,
    ) -> Option<tls::ClientCertificates> {
        let Some(mode) = entry.mode else {
            let problem = "the key is missing; write `mode: required`, `mode: optional` or `mode: none`";
            self.problem(&at.key("mode"), problem);
            return None;
        };
        let demand = match mode {
            file::Mode::Required => tls::Demand::Required,
            file::Mode::Optional => tls::Demand::Optional,
            file::Mode::None => {
                let problem = "with `mode: none` no client certificate is requested, so this has no effect; remove the key, or write `mode: optional` or `mode: required`";
                let trust = self.refuse_written(at, &[("trust", entry.trust.is_some())], problem);
                let keys_of_chains = self.refuse_written(at, &entry.trust_keys().of_chains(), problem);
                return trust.and(keys_of_chains).map(|()| tls::ClientCertificates::None);
            }
        };
        let trust = self.trust(at, entry.trust_keys(), "or write `trust: possession` or `mode: none`")?;
        Some(tls::ClientCertificates::Requested { demand, trust })
    }

    /// Compiles the keys that say which certificates are acceptable; `otherwise` is the advice if there are no trust
    /// anchors.
    pub(super) fn trust(&mut self, at: &KeyPath, entry: TrustKeys<'_>, otherwise: &str) -> Option<tls::Trust> {
        match entry.trust.get_or_insert(file::Trust::Chain) {
            file::Trust::Possession => {
                let problem = "with `trust: possession` no chain is verified, so this has no effect; remove the key, or write `trust: chain`";
                self.refuse_written(at, &entry.of_chains(), problem).map(|()| tls::Trust::Possession)
            }
            file::Trust::Chain => {
                let anchors_at = at.key("trust_anchors");
                let anchors = match entry.trust_anchors.as_deref() {
                    Some(paths) => self.trust_anchors(&anchors_at, paths, Anchors::Authorities),
                    None => {
                        let problem = format!(
                            "the key is missing, so no client certificate could be trusted; name the PEM files of the authorities that issue them, {otherwise}"
                        );
                        self.report.problem_unless(&[at.key("mode"), at.key("trust")], &anchors_at, &problem);
                        None
                    }
                };
                let extended_key_usage =
                    match entry.extended_key_usage.get_or_insert(file::ExtendedKeyUsage::ClientAuthOrAbsent) {
                        file::ExtendedKeyUsage::ClientAuth => tls::ExtendedKeyUsage::ClientAuth,
                        file::ExtendedKeyUsage::ClientAuthOrAbsent => tls::ExtendedKeyUsage::ClientAuthOrAbsent,
                        file::ExtendedKeyUsage::Any => tls::ExtendedKeyUsage::Any,
                    };
                let lists_at = at.key("revocation_lists");
                let paths = entry.revocation_lists.get_or_insert_default();
                let lists = self.revocation_lists(&lists_at, paths, anchors.as_deref().unwrap_or_default());
                if paths.is_empty() && *entry.revocation_list_expired == Some(file::OnExpired::Accept) {
                    let problem = "there are no revocation lists that could expire; name them in `revocation_lists`, or remove the key";
                    self.problem(&at.key("revocation_list_expired"), problem);
                }
                let on_expired = match entry.revocation_list_expired.get_or_insert(file::OnExpired::Refuse) {
                    file::OnExpired::Refuse => tls::OnExpired::Refuse,
                    file::OnExpired::Accept => tls::OnExpired::Accept,
                };
                let (anchors, revocation_lists) = (Arc::new(store(&anchors?)?), lists?);
                self.warn_of_missing_lists(&lists_at, &anchors, &revocation_lists);
                Some(tls::Trust::Chain { anchors, extended_key_usage, revocation_lists, on_expired })
            }
        }
    }

    /// Warns of trust anchors without a list: a certificate that no list covers is refused, and an operator who forgot
    /// a list should know why.
    pub(super) fn warn_of_missing_lists(
        &mut self,
        at: &KeyPath,
        anchors: &RootCertStore,
        lists: &[tls::RevocationList],
    ) {
        if lists.is_empty() {
            return;
        }
        let without = |anchor: &&TrustAnchor<'_>| !lists.iter().any(|list| list.is_of(anchor));
        let missing = anchors.roots.iter().filter(without).count();
        if missing > 0 {
            let all = anchors.len();
            self.warn(
                at,
                format!(
                    "{missing} of {all} trust anchors have no revocation list, so every certificate they issued is refused; add their lists"
                ),
            );
        }
    }

    /// A line of the summary.
    fn describe(&self, address: SocketAddr, host: &VirtualHost, entry: &file::Listener) -> String {
        let origins = entry.origins.as_deref().unwrap_or_default().join(", ");
        let clients = match &host.tls.client_certificates {
            tls::ClientCertificates::None => "none".to_owned(),
            tls::ClientCertificates::Requested { demand, trust } => {
                let demand = match demand {
                    tls::Demand::Optional => "optional",
                    tls::Demand::Required => "required",
                };
                format!("{demand}, {}", self.describe_trust(trust))
            }
        };
        let mut line = format!("listener {address}: serves {origins}; client certificates: {clients}");
        if let Some(proxy) = &host.trusted_proxy {
            let (header, trust) = (proxy.dialect.header(), self.describe_trust(&proxy.trust));
            line.push_str(&format!("; forwarded in {header}: {trust}"));
        }
        if !host.balancers.is_empty() {
            let networks: Vec<String> = host.balancers.iter().map(ToString::to_string).collect();
            line.push_str(&format!("; PROXY protocol from {}", networks.join(", ")));
        }
        line.push_str(&describe_cors(entry.cors.as_ref()));
        line
    }

    fn describe_trust(&self, trust: &tls::Trust) -> String {
        match trust {
            tls::Trust::Possession => "by possession".to_owned(),
            tls::Trust::Chain { .. } if self.named_files == NamedFiles::Unread => "by chain; files not read".to_owned(),
            tls::Trust::Chain { anchors, extended_key_usage, revocation_lists, on_expired } => {
                let usage = match extended_key_usage {
                    tls::ExtendedKeyUsage::ClientAuth => "client_auth",
                    tls::ExtendedKeyUsage::ClientAuthOrAbsent => "client_auth_or_absent",
                    tls::ExtendedKeyUsage::Any => "any",
                };
                let expired = match on_expired {
                    _ if revocation_lists.is_empty() => "",
                    tls::OnExpired::Refuse => " (expired: refuse)",
                    tls::OnExpired::Accept => " (expired: accept)",
                };
                let (anchors, lists) = (anchors.len(), revocation_lists.len());
                format!(
                    "by chain; trust anchors: {anchors}; extended key usage: {usage}; revocation lists: {lists}{expired}"
                )
            }
        }
    }
}

/// How clients reach an entry of `listeners`.
struct Reached {
    index: usize,
    address: SocketAddr,
    origins: Vec<Arc<Origin>>,
    /// The networks in its `proxy_protocol`, as they are written.
    balancers: Option<Vec<String>>,
}

impl Reached {
    /// Whether one socket listens on all addresses of the machine, and so leaves none for the other.
    fn covers(&self, other: &Self) -> bool {
        let (one, other) = (self.address, other.address);
        let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
        one != other && one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && everywhere
    }
}

/// Groups entries with the same address into one listener.
pub(super) fn by_address(entries: Vec<(SocketAddr, VirtualHost)>) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for (address, host) in entries {
        match listeners.iter_mut().find(|listener| listener.address == address) {
            Some(listener) => listener.hosts.push(host),
            None => listeners.push(Listener { address, balancers: host.balancers.clone(), hosts: vec![host] }),
        }
    }
    listeners
}

/// The keys that decide which certificates are trusted, for direct and for forwarded certificates.
pub(super) struct TrustKeys<'f> {
    trust: &'f mut Option<file::Trust>,
    trust_anchors: &'f Option<Vec<FilePath>>,
    extended_key_usage: &'f mut Option<file::ExtendedKeyUsage>,
    revocation_lists: &'f mut Option<Vec<FilePath>>,
    revocation_list_expired: &'f mut Option<file::OnExpired>,
}

impl TrustKeys<'_> {
    /// The keys that have an effect only with `trust: chain`, and whether they are present.
    const fn of_chains(&self) -> [(&'static str, bool); 4] {
        [
            ("trust_anchors", self.trust_anchors.is_some()),
            ("extended_key_usage", self.extended_key_usage.is_some()),
            ("revocation_lists", self.revocation_lists.is_some()),
            ("revocation_list_expired", self.revocation_list_expired.is_some()),
        ]
    }
}

impl file::ClientCertificates {
    const fn trust_keys(&mut self) -> TrustKeys<'_> {
        TrustKeys {
            trust: &mut self.trust,
            trust_anchors: &self.trust_anchors,
            extended_key_usage: &mut self.extended_key_usage,
            revocation_lists: &mut self.revocation_lists,
            revocation_list_expired: &mut self.revocation_list_expired,
        }
    }
}

impl file::ForwardedClientCertificate {
    pub(super) const fn trust_keys(&mut self) -> TrustKeys<'_> {
        TrustKeys {
            trust: &mut self.trust,
            trust_anchors: &self.trust_anchors,
            extended_key_usage: &mut self.extended_key_usage,
            revocation_lists: &mut self.revocation_lists,
            revocation_list_expired: &mut self.revocation_list_expired,
        }
    }
}
