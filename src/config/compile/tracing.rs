//! `tracing`: where the spans of exchanges go, and what they are of.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

use fapi::text::percent_decoded;
use http::{HeaderName, HeaderValue, header};
use reqwest::Url;
use uuid::Uuid;

use super::Build;
use super::upstreams::is_exposed;
use crate::config::error::KeyPath;
use crate::config::file::{self, File, OtlpProtocol};
use crate::config::scalar::{self, FilePath};
use crate::otlp::{Peer, Protocol, Settings, Signal};
use crate::tls_client::{Identity, TrustAnchors};
use crate::upstream::ServerAddress;

/// What a section says of a collector.
pub(super) struct Entry<'f> {
    pub(super) endpoint: Option<&'f str>,
    pub(super) protocol: &'f mut Option<OtlpProtocol>,
    pub(super) header_files: Option<&'f BTreeMap<String, FilePath>>,
    pub(super) tls: Option<&'f file::CollectorTls>,
    pub(super) timeout: &'f mut Option<scalar::Duration>,
    pub(super) resource: Option<&'f BTreeMap<String, String>>,
}

impl Build<'_> {
    /// Where spans go; `None` in it if nowhere.
    pub(super) fn tracing(&mut self, file: &mut File) -> Option<Option<Settings>> {
        let Some(section) = &mut file.tracing else { return Some(None) };
        let at = KeyPath::of("tracing").key("otlp");
        let Some(entry) = &mut section.otlp else {
            self.problem(&at, "the key is missing; name the collector in it, or remove `tracing`");
            return None;
        };
        let sampling = *entry.sampling.get_or_insert(0.01);
        let is_share = (0.0..=1.0).contains(&sampling);
        if !is_share {
            self.problem(&at.key("sampling"), "the share must be from 0 to 1; the default is `0.01`, one in a hundred");
        }
        let of_clients =
            self.number(&at.key("max_client_sampled"), entry.max_client_sampled.get_or_insert(100), 0..=1_000_000);
        let peer = self.collector(
            &at,
            Signal::Traces,
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
        let (endpoint, protocol) = (&peer.endpoint, peer.protocol.as_str());
        self.summary.push(format!("traces: {endpoint} by {protocol}; {sampling} of those that begin here"));
        is_share.then_some(())?;
        Some(Some(Settings { peer, sampling, max_client_sampled: of_clients? }))
    }

    /// A collector, and how it is called.
    pub(super) fn collector(&mut self, at: &KeyPath, signal: Signal, entry: Entry<'_>) -> Option<Peer> {
        let protocol = match entry.protocol.get_or_insert_default() {
            OtlpProtocol::Http => Protocol::Http,
            OtlpProtocol::Grpc => Protocol::Grpc,
        };
        let endpoint = self.collector_endpoint(&at.key("endpoint"), &entry, protocol, signal);
        let headers = self.collector_headers(&at.key("header_files"), entry.header_files);
        let tls_at = at.key("tls");
        let tls = match entry.tls {
            Some(_) if endpoint.as_ref().is_some_and(|url| url.scheme() != "https") => {
                self.problem(&tls_at, "the collector is reached without TLS; write `https://`, or remove the key");
                None
            }
            Some(file::CollectorTls { trust_anchors, certificate, private_key }) => {
                let (trust_anchors, certificate) = (trust_anchors.clone(), certificate.clone());
                let tls =
                    file::ServerTls { trust_anchors, certificate, private_key: private_key.clone(), server_name: None };
                self.server_tls(&tls_at, &tls)
            }
            None => Some(Default::default()),
        };
        let timeout = self.time_within(&at.key("timeout"), entry.timeout, Duration::from_secs(5), TIMEOUTS);
        let resource = self.resource_of_spans(&at.key("resource"), entry.resource);
        let (endpoint, tls) = (endpoint?, tls?);
        Some(Peer {
            endpoint,
            protocol,
            headers: headers?,
            trust_anchors: tls.trust_anchors.map_or(TrustAnchors::System, TrustAnchors::Given),
            identity: tls.identity.map(|(chain, key)| Identity { chain, key }),
            timeout: timeout?,
            resource: resource?,
        })
    }

    fn collector_endpoint(
        &mut self,
        at: &KeyPath,
        entry: &Entry<'_>,
        protocol: Protocol,
        signal: Signal,
    ) -> Option<Url> {
        let way_out = match protocol {
            Protocol::Http => "write it like `https://collector.internal:4318`",
            Protocol::Grpc => "write it like `https://collector.internal:4317`",
        };
        let text = self.text(at, entry.endpoint, way_out)?;
        let url = match endpoint(text, protocol, signal) {
            Ok(url) => url,
            Err(problem) => {
                self.problem(at, format!("{problem}; {way_out}"));
                return None;
            }
        };
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').into();
        let exposed = is_exposed(&ServerAddress { tls: url.scheme() == "https", host, port: 0 });
        if exposed && entry.header_files.is_some_and(|files| !files.is_empty()) {
            let problem =
                format!("what `header_files` has would cross the network unencrypted to `{url}`; write `https://`");
            self.problem(at, problem);
            return None;
        }
        if exposed {
            let what = if signal == Signal::Traces { "spans leave" } else { "lines of the audit leave" };
            self.warn(at, format!("{what} this machine without TLS to `{url}`; write `https://` if it can"));
        }
        Some(url)
    }

    /// The fields with which the gateway authenticates.
    fn collector_headers(
        &mut self,
        at: &KeyPath,
        files: Option<&BTreeMap<String, FilePath>>,
    ) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let mut fields = Vec::new();
        let mut complete = true;
        for (name, file) in files.into_iter().flatten() {
            let at = at.key(name);
            let parsed = HeaderName::try_from(name).ok().filter(|name| !is_ours(name));
            if parsed.is_none() {
                self.problem(
                    &at,
                    "this is no field that a request to a collector may have; write one like `authorization`",
                );
            }
            let value = self.secret(&at, Some(file));
            let value = value.map(|value| value.map(|text| HeaderValue::from_str(&text)).transpose());
            if matches!(value, Some(Err(_))) {
                self.problem(&at, "the file has characters that no header field may have; write its value again");
            }
            match (parsed, value) {
                (Some(name), Some(Ok(Some(mut value)))) => {
                    value.set_sensitive(true);
                    fields.push((name, value));
                }
                // Files are not read.
                (Some(_), Some(Ok(None))) => {}
                (_, _) => complete = false,
            }
        }
        complete.then_some(fields)
    }

    /// What the spans are of: what is written here, then what the environment says, then what is known of the process.
    fn resource_of_spans(
        &mut self,
        at: &KeyPath,
        written: Option<&BTreeMap<String, String>>,
    ) -> Option<Vec<(Box<str>, Box<str>)>> {
        static INSTANCE: OnceLock<String> = OnceLock::new();
        let instance = INSTANCE.get_or_init(|| Uuid::new_v4().to_string());
        let mut attributes: BTreeMap<String, String> = [
            ("service.name", env!("CARGO_PKG_NAME")),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", instance),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        attributes.extend(self.resource_of_environment(at));
        let mut complete = true;
        for (name, value) in written.into_iter().flatten() {
            if let Err(problem) = check_attribute(name, value) {
                self.problem(&at.key(name), problem);
                complete = false;
            }
            attributes.insert(name.clone(), value.clone());
        }
        if attributes.len() > MOST_ATTRIBUTES {
            self.problem(at, format!("there are more than {MOST_ATTRIBUTES} attributes; remove some of them"));
            return None;
        }
        complete.then(|| attributes.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// What the variables of OpenTelemetry say. One that is malformed is left out: it may be meant for somebody else.
    fn resource_of_environment(&mut self, at: &KeyPath) -> Vec<(String, String)> {
        let variable = |name| (self.environment)(name).filter(|value| !value.is_empty());
        let (all, service) = (variable("OTEL_RESOURCE_ATTRIBUTES"), variable("OTEL_SERVICE_NAME"));
        let all = all.map(|text| text.to_str().and_then(listed).ok_or("OTEL_RESOURCE_ATTRIBUTES"));
        let named = |text: &str| {
            check_attribute(SERVICE_NAME, text).is_ok().then(|| (SERVICE_NAME.to_owned(), text.to_owned()))
        };
        let service = service.map(|text| text.to_str().and_then(named).map(|one| vec![one]).ok_or("OTEL_SERVICE_NAME"));
        let mut attributes = Vec::new();
        for variable in [all, service].into_iter().flatten() {
            match variable {
                Ok(listed) => attributes.extend(listed),
                Err(name) => {
                    self.warn(at, format!("the variable {name} is not what OpenTelemetry defines; it is left out"))
                }
            }
        }
        attributes
    }
}

/// `name=value` with commas in between and escapes in the values, each of which is an attribute.
fn listed(text: &str) -> Option<Vec<(String, String)>> {
    let attribute = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), percent_decoded(value.trim())?);
        check_attribute(name, &value).is_ok().then(|| (name.to_owned(), value.into_owned()))
    };
    text.split(',').map(attribute).collect()
}

fn check_attribute(name: &str, value: &str) -> Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
        return Err(
            "a name has at most 128 letters, digits, `.`, `_`, `-` and `/`; write one like `deployment.environment.name`",
        );
    }
    if value.is_empty() || value.len() > 256 || value.chars().any(char::is_control) {
        return Err(
            "a value has from 1 to 256 bytes and no control characters; write a shorter text, or remove the key",
        );
    }
    Ok(())
}

/// The URL of a collector, without what the protocol adds.
fn endpoint(text: &str, protocol: Protocol, signal: Signal) -> Result<Url, String> {
    if !(text.starts_with("https://") || text.starts_with("http://")) {
        return Err("the endpoint does not begin with `https://` or `http://`".to_owned());
    }
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let url = Url::parse(text).ok().filter(|url| plain && url.has_host() && url.port() != Some(0));
    // An error quotes nothing that may be a secret.
    let url = url.ok_or("the endpoint is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the endpoint has user information, which is for `header_files`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the endpoint has a query or a fragment".to_owned());
    }
    match protocol {
        Protocol::Http if url.path().trim_end_matches('/').ends_with(signal.path()) => {
            Err(format!("the endpoint ends with `{}`, which is added; remove that", signal.path()))
        }
        Protocol::Grpc if url.path() != "/" => Err("the endpoint has a path, which gRPC has itself".to_owned()),
        Protocol::Http | Protocol::Grpc => Ok(url),
    }
}

/// Whether a field says how a request is sent, which the protocol decides.
fn is_ours(name: &HeaderName) -> bool {
    let ours = [
        header::ACCEPT_ENCODING,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::USER_AGENT,
    ];
    ours.contains(name) || name.as_str().starts_with("grpc-")
}

const SERVICE_NAME: &str = "service.name";
const MOST_ATTRIBUTES: usize = 64;
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_what_the_protocol_adds_to() {
        let shown = |text, protocol| endpoint(text, protocol, Signal::Traces).map(|url| url.to_string());
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/"),
            ("https://[::1]:4318/", "https://[::1]:4318/"),
            ("https://otlp.example/tenant-1", "https://otlp.example/tenant-1"),
        ] {
            assert_eq!(shown(text, Protocol::Http), Ok(url.to_owned()), "{text}");
        }
        assert_eq!(shown("http://localhost:4317", Protocol::Grpc), Ok("http://localhost:4317/".to_owned()));
        for bad in ["http://", "http://a:0", "http://a b", "grpc://a", "http://u:p@a", "http://a?b", "http://a#b"] {
            assert!(shown(bad, Protocol::Http).is_err(), "{bad}");
        }
        assert!(shown("http://a/v1/traces/", Protocol::Http).is_err());
        assert!(shown("http://a/v1/traces", Protocol::Grpc).is_err());
    }

    #[test]
    fn attributes_of_the_environment_are_listed_with_escapes() {
        let list = listed("k8s.pod.name=gateway-0 , deployment.environment.name=pre%2Cprod").unwrap();
        let expected = [("k8s.pod.name", "gateway-0"), ("deployment.environment.name", "pre,prod")];
        assert_eq!(list, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for bad in ["a", "a=", "=b", "a=%", "a=b,", "a b=c", "a=%00", "a=%ff"] {
            assert_eq!(listed(bad), None, "{bad}");
        }
    }
}
