//! `forwarded_client_certificate` of a listener: the proxies in front of it, and how they forward certificates.

use std::fmt::Display;
use std::str::FromStr;

use fapi::headers::may_carry_certificate;
use fapi::peer::forwarded::Dialect;
use fapi::peer::forwarded::proxies::{Network, TrustedProxies};
use fapi::token::read_thumbprint;
use http::HeaderName;

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file;
use crate::connection::trusted_proxy::Settings;

impl Build<'_> {
    /// Compiles the entry at `at`; `asked` is the listener's own `mode` and `trust` for client certificates, at
    /// `asked_at`.
    pub(super) fn trusted_proxy(
        &mut self,
        at: &KeyPath,
        entry: &mut file::ForwardedClientCertificate,
        asked_at: &KeyPath,
        asked: Option<(Option<file::Mode>, Option<file::Trust>)>,
    ) -> Option<Settings> {
        let dialect = self.dialect(at, entry);
        let from_at = at.key("from");
        let from =
            self.needed(&from_at, entry.from.as_ref(), "name the proxies by `names`, `thumbprints` or `addresses`");
        let proxies = from.and_then(|from| self.proxies(&from_at, from, asked_at, asked));
        let trust = self.trust(at, entry.trust_keys(), "or write `trust: possession`");
        Some(Settings { dialect: dialect?, proxies: proxies?, trust: trust? })
    }

    /// Compiles `proxy_protocol`: the networks of the balancers, none without the section.
    pub(super) fn balancers(&mut self, at: &KeyPath, entry: Option<&file::ProxyProtocol>) -> Option<Vec<Network>> {
        let Some(entry) = entry else { return Some(Vec::new()) };
        let (at, way_out) = (at.key("from"), "name the networks of the balancers, such as `10.0.0.0/8`");
        let networks = self.list(&at, entry.from.as_deref(), way_out)?;
        self.parsed(&at, Some(networks))
    }

    fn dialect(&mut self, at: &KeyPath, entry: &file::ForwardedClientCertificate) -> Option<Dialect> {
        let way_out = "write how the proxies forward certificates, such as `client_cert` or `nginx_escaped_pem`";
        let dialect = self.needed(&at.key("dialect"), entry.dialect.as_ref(), way_out)?;
        let dialect = match dialect {
            file::Dialect::NginxEscapedPem => {
                let at = at.key("header");
                let way_out = "name the header that nginx sets with `proxy_set_header`, such as `X-SSL-Client-Cert`";
                let text = self.text(&at, entry.header.as_deref(), way_out)?;
                return self.header(&at, text).map(Dialect::NginxEscapedPem);
            }
            file::Dialect::ClientCert => Dialect::ClientCert,
            file::Dialect::XForwardedClientCert => Dialect::XForwardedClientCert,
            file::Dialect::AwsAlbVerify => Dialect::AwsAlbVerify,
            file::Dialect::AwsAlbPassthrough => Dialect::AwsAlbPassthrough,
        };
        let problem = "the dialect has its own header, so this has no effect; remove the key, or write `dialect: nginx_escaped_pem`";
        self.refuse_written(at, &[("header", entry.header.is_some())], problem).map(|()| dialect)
    }

    /// Reads the name of the header, which is never forwarded from any listener: upstreams may trust it too.
    fn header(&mut self, at: &KeyPath, text: &str) -> Option<HeaderName> {
        let header =
            HeaderName::from_str(text).ok().filter(|_| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        let header = header.filter(|header| may_carry_certificate(header.as_str()));
        if header.is_none() {
            let problem = format!(
                "`{text}` is not the name of a header for certificates; choose one that begins with `X-SSL-`, `SSL-Client-`, `X-Client-Cert` or `Client-Cert`"
            );
            self.problem(at, problem);
        }
        header
    }

    fn proxies(
        &mut self,
        at: &KeyPath,
        entry: &file::Proxies,
        asked_at: &KeyPath,
        asked: Option<(Option<file::Mode>, Option<file::Trust>)>,
    ) -> Option<TrustedProxies> {
        let networks = self.parsed(&at.key("addresses"), entry.addresses.as_deref());
        let names = self.parsed(&at.key("names"), entry.names.as_deref());
        let thumbprints = self.each(&at.key("thumbprints"), entry.thumbprints.as_deref(), read_thumbprint);
        let (mode, trust) = asked.unwrap_or_default();
        let mut refuse_if = |written: bool, key: &str, problem: &str| {
            if written {
                self.report.problem_unless(std::slice::from_ref(asked_at), &at.key(key), problem);
            }
        };
        if mode == Some(file::Mode::None) {
            let problem = "no client certificate is requested, so no proxy could present one; write `mode: optional` in `client_certificates`";
            refuse_if(entry.names.is_some(), "names", problem);
            refuse_if(entry.thumbprints.is_some(), "thumbprints", problem);
        } else if trust == Some(file::Trust::Possession) {
            // Anyone can put any name into a certificate that no authority signed.
            let problem = "with `trust: possession` in `client_certificates` anyone can use these names; write `trust: chain` there, or name `thumbprints`";
            refuse_if(entry.names.is_some(), "names", problem);
        }
        let (networks, names, thumbprints) = (networks?, names?, thumbprints?);
        if !networks.is_empty() && names.is_empty() && thumbprints.is_empty() {
            self.warn(at, "anyone who connects from these addresses can claim any client certificate; add `names` or `thumbprints` of the proxies' certificates, or make sure that only the proxies use these addresses");
        }
        let proxies = TrustedProxies::new(networks, names, thumbprints);
        if proxies.is_none() {
            self.report
                .empty(at, "it is empty, so no proxy could be identified; add `names`, `thumbprints` or `addresses`");
        }
        proxies
    }

    fn parsed<T: FromStr>(&mut self, at: &KeyPath, texts: Option<&[String]>) -> Option<Vec<T>>
    where
        T::Err: Display,
    {
        self.each(at, texts, str::parse)
    }

    /// Parses every entry of a list that may be absent, but not empty.
    fn each<T, E: Display>(
        &mut self,
        at: &KeyPath,
        texts: Option<&[String]>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let Some(texts) = texts else { return Some(Vec::new()) };
        let texts = self.distinct(at, Some(texts), "name at least one, or remove the key")?;
        let mut parsed = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let entry = parse(text)
                .map_err(|error| self.problem(&at.index(index), format!("`{text}` cannot be used: {error}")));
            parsed.push(entry.ok());
        }
        parsed.into_iter().collect()
    }
}
