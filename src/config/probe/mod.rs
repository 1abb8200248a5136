//! Reads probe.yaml: which resource server is probed, what it claims, who calls, and how much.

mod keys;
mod written;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::probe::authorization::{Authentication, Given, Grant, Server, Source, Visit};
use ::probe::plan::Plan;
use ::probe::settings::{Claims, Client, Issuer, Limits, Nonce, Resource, Revoke, Settings, Target, Write};
use http::{HeaderName, HeaderValue, Method, Uri};
use rustls::RootCertStore;
use sandbox::keys::SigningKey;
use serde_json::Value;

use super::error::{ConfigErrors, KeyPath, nearest, quoted};
use super::report::Report;
use super::watch::Files;

/// What the command line says beside the file.
pub struct Said {
    /// The URL of the resource, instead of `target`.
    pub target: Option<String>,
    /// The plans, instead of `plans`.
    pub plans: Vec<String>,
    /// Whether methods may be used that change something.
    pub writes: bool,
    /// Whether nothing is sent.
    pub dry: bool,
    /// Shows a person where to log in.
    pub visit: Visit,
}

/// Reads the settings of a run.
///
/// # Errors
/// [`ConfigErrors`] with every problem that was found.
pub fn read(file: &Path, bytes: &[u8], said: Said) -> Result<Settings, ConfigErrors> {
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    let mut reader = Reader { report: Report::default(), folder };
    let settings = written::file(bytes, &mut reader.report).and_then(|written| reader.settings(written, said));
    match settings {
        Some(settings) if reader.report.errors().is_empty() => Ok(settings),
        _ => Err(ConfigErrors::new(file.to_owned(), reader.report.into_errors(), Files::default())),
    }
}

struct Reader {
    report: Report,
    folder: PathBuf,
}

impl Reader {
    fn settings(&mut self, file: written::File, said: Said) -> Option<Settings> {
        let root = KeyPath::default();
        let contact = self.contact(&root.key("contact"), file.contact);
        let roots = self.roots(&root.key("ca"), file.ca.as_deref());
        let target = self.target(&root, file.targets, file.target, said.target, file.addresses, roots.clone());
        let plans = self.plans(&root.key("plans"), file.plans, said.plans);
        let claims = self.claims(&root.key("claims"), file.claims.unwrap_or_default());
        let resource = self.resource(&root.key("resource"), file.resource.unwrap_or_default());
        let (clients, given) = self.clients(&root.key("clients"), file.clients.unwrap_or_default());
        let expired = file.expired.map_or(Some(None), |expired| {
            self.certificate(&root.key("expired"), expired.certificate.as_deref(), expired.key.as_deref())
        });
        let response_keys =
            file.response_keys.map_or(Some(None), |file| self.key_set(&root.key("response_keys"), &file).map(Some));
        let issuer_written = file.issuer.is_some();
        let issuer = file.issuer.map(|issuer| self.issuer(&root.key("issuer"), issuer));
        let server = file.authorization_server;
        let endpoint = server.is_some();
        let server =
            server.map(|server| self.server(&root.key("authorization_server"), server, said.visit, roots.as_ref()));
        let source = match (given, server) {
            (Some(_), Some(_)) => {
                self.report
                    .problem(&root.key("authorization_server"), "the clients have `tokens` too; remove one of them");
                None
            }
            (Some(given), None) => Some(Source::Given(given)),
            (None, Some(server)) => server.map(|server| Source::Server(Box::new(server))),
            (None, None) if issuer_written => Some(Source::Issuer),
            (None, None) => {
                let problem = "nothing says where tokens come from; write `authorization_server`, `issuer`, or `tokens` of each client";
                self.report.problem(&root.key("authorization_server"), problem);
                None
            }
        };
        let revoke = match file.revocation {
            Some(revocation) => self.revocation(&root.key("revocation"), revocation).map(Some),
            None => Some(endpoint.then_some(Revoke::Endpoint)),
        };
        let limits = self.limits(&root.key("limits"), file.limits.unwrap_or_default());
        let issuer = match issuer {
            None => Some(None),
            Some(issuer) => issuer.map(Some),
        };
        Some(Settings {
            target: target?,
            plans: plans?,
            resource: resource?,
            claims: claims?,
            clients: clients?,
            expired: expired?,
            response_keys: response_keys?,
            source: source?,
            issuer: issuer?,
            revoke: revoke?,
            contact: contact?,
            limits: limits?,
            writes: said.writes,
            dry: said.dry,
        })
    }

    fn contact(&mut self, at: &KeyPath, contact: Option<String>) -> Option<String> {
        let way_out = "write a mail address or a URL by which the operator of the target finds you";
        let contact = self.report.needed(at, contact, way_out)?;
        if HeaderValue::from_str(&contact).is_err() || contact.contains(['(', ')', '\\']) || contact.trim().is_empty() {
            self.report.problem(at, "it becomes part of `User-Agent`; write a mail address or a URL");
            return None;
        }
        Some(contact)
    }

    fn target(
        &mut self,
        root: &KeyPath,
        targets: Option<Vec<String>>,
        written: Option<String>,
        said: Option<String>,
        addresses: Option<Vec<String>>,
        roots: Option<Arc<RootCertStore>>,
    ) -> Option<Target> {
        let way_out = "list the origins that may be probed, such as `https://api.example.com`; nothing else is called";
        let targets = self.report.needed(&root.key("targets"), targets, way_out);
        let mut allowed = Vec::new();
        if targets.as_ref().is_some_and(Vec::is_empty) {
            self.report.problem(&root.key("targets"), &format!("it is empty; {way_out}"));
        }
        for (index, text) in targets.iter().flatten().enumerate() {
            let at = root.key("targets").index(index);
            let url = self.https(&at, text)?;
            if url.path_and_query().is_some_and(|target| target.as_str() != "/") {
                self.report
                    .problem(&at, "an origin has no path: all of it may be called; remove what follows the host");
            }
            allowed.push(origin(&url));
        }
        let at = root.key("target");
        let text = said.or(written);
        let text = self.report.needed(
            &at,
            text,
            "write the URL of a resource that can be called without harm, or give `--target`",
        )?;
        let url = self.https(&at, &text)?;
        if !allowed.contains(&origin(&url)) {
            let names = quoted(allowed.iter().map(String::as_str));
            self.report.problem(&at, &format!("{} is not one of `targets`, which are {names}", origin(&url)));
            return None;
        }
        let addresses = match addresses {
            Some(written) => {
                let places = (0..).map(|index| root.key("addresses").index(index));
                let found: Vec<_> = places.zip(&written).map(|(at, text)| self.address(&at, text)).collect();
                found.into_iter().collect::<Option<Vec<SocketAddr>>>()?
            }
            None => self.resolve(&at, &url).into_iter().collect(),
        };
        if addresses.is_empty() {
            self.report.problem(&at, "the host has no address; write `addresses`, such as `[192.0.2.1:443]`");
            return None;
        }
        Some(Target { url, addresses, roots: roots? })
    }

    fn https(&mut self, at: &KeyPath, text: &str) -> Option<Uri> {
        let url = text.parse::<Uri>().ok().filter(|url| {
            url.scheme_str() == Some("https")
                && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        if url.is_none() {
            self.report.problem(at, "expected a URL that begins with `https://`");
        }
        url
    }

    fn address(&mut self, at: &KeyPath, text: &str) -> Option<SocketAddr> {
        let found = text.to_socket_addrs().ok().and_then(|mut found| found.next());
        if found.is_none() {
            self.report.problem(at, "expected an address with a port, such as `192.0.2.1:443`");
        }
        found
    }

    /// One address of the host; that of IPv4 first, which servers on this machine listen on.
    fn resolve(&mut self, at: &KeyPath, url: &Uri) -> Option<SocketAddr> {
        let host = url.host()?.trim_matches(['[', ']']);
        match (host, url.port_u16().unwrap_or(443)).to_socket_addrs() {
            Ok(found) => found.min_by_key(SocketAddr::is_ipv6),
            Err(error) => {
                self.report.problem(at, &format!("the host cannot be found: {error}"));
                None
            }
        }
    }

    fn plans(&mut self, at: &KeyPath, written: Option<Vec<String>>, said: Vec<String>) -> Option<Vec<Plan>> {
        let names = if said.is_empty() { written.unwrap_or_default() } else { said };
        if names.is_empty() {
            let all: Vec<&str> = Plan::all().map(Plan::name).collect();
            let problem = format!("no plan is named; the choices are {}", quoted(all.iter().copied()));
            self.report.problem(at, &problem);
            return None;
        }
        let mut plans = Vec::new();
        for name in names {
            match Plan::named(&name) {
                Some(plan) if plans.contains(&plan) => {}
                Some(plan) => plans.push(plan),
                None => {
                    let problem = match nearest(&name, Plan::all().map(Plan::name)) {
                        Some(meant) => format!("`{name}` is not a plan; did you mean `{meant}`?"),
                        None => {
                            format!("`{name}` is not a plan; the choices are {}", quoted(Plan::all().map(Plan::name)))
                        }
                    };
                    self.report.problem(at, &problem);
                }
            }
        }
        Some(plans)
    }

    fn claims(&mut self, at: &KeyPath, written: written::Claims) -> Option<Claims> {
        let bindings = self.report.needed(
            &at.key("bindings"),
            written.bindings,
            "write what tokens are bound to: `[certificate]`, `[dpop]`, or both",
        )?;
        if bindings.is_empty() {
            self.report
                .problem(&at.key("bindings"), "a resource server that binds tokens to nothing is not one of FAPI");
            return None;
        }
        let cors = match written.cors {
            None => None,
            Some(text) => {
                let url = self.https(&at.key("cors"), &text)?;
                Some(origin(&url))
            }
        };
        Some(Claims {
            certificate: bindings.contains(&written::Binding::Certificate),
            dpop: bindings.contains(&written::Binding::Dpop),
            nonce: match written.nonce.unwrap_or_default() {
                written::Nonce::Never => Nonce::Never,
                written::Nonce::Sometimes => Nonce::Sometimes,
                written::Nonce::Always => Nonce::Always,
            },
            nonce_lifetime: written.nonce_lifetime.map(|time| time.0),
            revocation: written.revocation.map(|time| time.0),
            metadata: written.metadata.unwrap_or(false),
            cors,
            interaction_id: written.interaction_id.unwrap_or(false),
            signed_requests: written.signed_requests.unwrap_or(false),
            signed_responses: written.signed_responses.unwrap_or(false),
            certificate_required: written.certificate_required.unwrap_or(false),
            private_authorities: written.private_authorities.unwrap_or(false),
        })
    }

    fn resource(&mut self, at: &KeyPath, written: written::Resource) -> Option<Resource> {
        let method = self.method(&at.key("method"), written.method.as_deref().unwrap_or("GET"))?;
        if ![Method::GET, Method::HEAD].contains(&method) {
            let problem =
                "expected GET or HEAD, which change nothing; a call that changes something is `resource.write`";
            self.report.problem(&at.key("method"), problem);
            return None;
        }
        let mut fields = Vec::new();
        for (name, value) in written.headers.unwrap_or_default() {
            let at = at.key("headers").key(&name);
            let own =
                ["authorization", "dpop", "host", "user-agent", "content-length", "transfer-encoding", "connection"];
            if own.contains(&name.to_ascii_lowercase().as_str()) {
                self.report.problem(&at, "the probe writes this field itself; remove it");
            } else if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(&value).is_err() {
                self.report.problem(&at, "this is not a field that can be sent");
            }
            fields.push((name, value));
        }
        let forbidden = match written.forbidden {
            None => None,
            Some(path) => Some(self.path(&at.key("forbidden"), path)?),
        };
        let write = match written.write {
            None => None,
            Some(write) => Some(self.write(&at.key("write"), write)?),
        };
        Some(Resource { method, fields, scope: written.scope, forbidden, write })
    }

    fn write(&mut self, at: &KeyPath, written: written::Write) -> Option<Write> {
        let method = self.method(&at.key("method"), written.method.as_deref().unwrap_or("POST"));
        let path = self.report.needed(&at.key("path"), written.path, "write the path of the resource")?;
        let path = self.path(&at.key("path"), path);
        let body = match written.body {
            None => Vec::new(),
            Some(Value::String(text)) => text.into_bytes(),
            Some(json) => json.to_string().into_bytes(),
        };
        let content_type = self.media_type(&at.key("content_type"), written.content_type)?;
        Some(Write { method: method?, path: path?, content_type, body })
    }

    fn media_type(&mut self, at: &KeyPath, text: Option<String>) -> Option<String> {
        let text = text.unwrap_or_else(|| "application/json".to_owned());
        if HeaderValue::from_str(&text).is_err() {
            self.report.problem(at, "this is not a media type such as `application/json`");
            return None;
        }
        Some(text)
    }

    fn method(&mut self, at: &KeyPath, text: &str) -> Option<Method> {
        let method = Method::from_bytes(text.as_bytes()).ok();
        if method.is_none() {
            self.report.problem(at, "this is not a method; write one such as `GET`");
        }
        method
    }

    fn path(&mut self, at: &KeyPath, path: String) -> Option<String> {
        if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(path);
        }
        self.report.problem(at, "expected a path that begins with `/`");
        None
    }

    fn clients(&mut self, at: &KeyPath, written: Vec<written::Client>) -> (Option<[Client; 2]>, Option<[Given; 2]>) {
        let count = written.len();
        let mut clients = Vec::new();
        let mut given = Vec::new();
        let mut tokens = false;
        for (index, client) in written.into_iter().enumerate() {
            let at = at.index(index);
            let client_id =
                self.report.needed(&at.key("client_id"), client.client_id, "write the `client_id` of the client");
            let certificate = self.certificate(&at, client.certificate.as_deref(), client.key.as_deref());
            let proof_key = self.signing_key(&at.key("proof_key"), client.proof_key.as_deref(), None);
            let signing_key = self.signing_key(
                &at.key("signing_key"),
                client.signing_key.as_deref(),
                client.signing_key_id.as_deref(),
            );
            tokens |= client.tokens.is_some();
            let written = client.tokens.unwrap_or_default();
            let certificate_token = self.token(&at.key("tokens").key("certificate"), written.certificate.as_deref());
            let dpop = self.token(&at.key("tokens").key("dpop"), written.dpop.as_deref());
            given.extend(certificate_token.zip(dpop).map(|(certificate, dpop)| Given { certificate, dpop }));
            if let (Some(client_id), Some(certificate), Some(proof_key), Some(signing_key)) =
                (client_id, certificate, proof_key, signing_key)
            {
                clients.push(Client { client_id, certificate, proof_key, signing_key });
            }
        }
        if count != 2 {
            let problem = format!("there are {count}; a stolen token needs a thief, so write two");
            self.report.problem(at, &problem);
        }
        let given = if tokens { given.try_into().ok() } else { None };
        let clients: Option<[Client; 2]> = clients.try_into().ok();
        if let Some([first, second]) = &clients {
            self.refuse_twins(at, first, second);
        }
        (clients, given)
    }

    /// What one client has, the other must not be able to use, so they share nothing.
    fn refuse_twins(&mut self, at: &KeyPath, first: &Client, second: &Client) {
        let leaf =
            |client: &Client| client.certificate.as_ref().and_then(|certificate| certificate.chain.first().cloned());
        let proof = |client: &Client| client.proof_key.as_ref().map(SigningKey::thumbprint);
        let at = at.index(1);
        for (key, same) in [
            ("client_id", first.client_id == second.client_id),
            ("certificate", leaf(first).is_some() && leaf(first) == leaf(second)),
            ("proof_key", proof(first).is_some() && proof(first) == proof(second)),
        ] {
            if same {
                let problem = "the first client has the same; a stolen token needs another client to steal it";
                self.report.problem(&at.key(key), problem);
            }
        }
    }

    fn issuer(&mut self, at: &KeyPath, written: written::Issuer) -> Option<Issuer> {
        let issuer = self.report.needed(&at.key("issuer"), written.issuer, "write `iss` of its tokens");
        let audience = self.report.needed(&at.key("audience"), written.audience, "write `aud` that the target expects");
        let file = self.report.needed(&at.key("key"), written.key, "name the file of its private key");
        let key = file.and_then(|file| self.signing_key(&at.key("key"), Some(&file), written.key_id.as_deref()));
        let rsa_key = self.signing_key(&at.key("rsa_key"), written.rsa_key.as_deref(), written.rsa_key_id.as_deref());
        let (issuer, audience, key) = (issuer?, audience?, key??);
        Some(Issuer { issuer, audience, key, rsa_key: rsa_key?, claims: written.claims.unwrap_or_default() })
    }

    fn server(
        &mut self,
        at: &KeyPath,
        written: written::AuthorizationServer,
        visit: Visit,
        roots: Option<&Arc<RootCertStore>>,
    ) -> Option<Server> {
        let issuer = self.report.needed(&at.key("issuer"), written.issuer, "write the issuer identifier");
        let issuer = issuer.and_then(|text| self.https(&at.key("issuer"), &text).map(|_| text));
        let mut endpoint = |name: &str, text: Option<String>| match text {
            None => Some(None),
            Some(text) => self.https(&at.key(name), &text).map(Some),
        };
        let token_endpoint = endpoint("token_endpoint", written.token_endpoint);
        let par_endpoint =
            endpoint("pushed_authorization_request_endpoint", written.pushed_authorization_request_endpoint);
        let authorization_endpoint = endpoint("authorization_endpoint", written.authorization_endpoint);
        let revocation_endpoint = endpoint("revocation_endpoint", written.revocation_endpoint);
        let grant = match (written.grant.unwrap_or_default(), written.redirect_uri) {
            (written::Grant::ClientCredentials, None) => Some(Grant::ClientCredentials),
            (written::Grant::ClientCredentials, Some(_)) => {
                self.report.problem(&at.key("redirect_uri"), "it is of `grant: authorization_code`; remove it");
                None
            }
            (written::Grant::AuthorizationCode, redirect_uri) => {
                let way_out = "write the redirect URI of the clients";
                let redirect_uri = self.report.needed(&at.key("redirect_uri"), redirect_uri, way_out);
                redirect_uri.map(|redirect_uri| Grant::Code { redirect_uri, visit })
            }
        };
        let roots = match written.ca {
            Some(file) => self.roots(&at.key("ca"), Some(&file)),
            None => roots.cloned(),
        };
        Some(Server {
            issuer: issuer?,
            token_endpoint: token_endpoint?,
            par_endpoint: par_endpoint?,
            authorization_endpoint: authorization_endpoint?,
            revocation_endpoint: revocation_endpoint?,
            authentication: match written.client_authentication.unwrap_or_default() {
                written::ClientAuthentication::PrivateKeyJwt => Authentication::PrivateKeyJwt,
                written::ClientAuthentication::TlsClientAuth => Authentication::TlsClientAuth,
            },
            grant: grant?,
            resource: written.resource,
            roots: roots?,
            metadata: OnceLock::new(),
        })
    }

    fn revocation(&mut self, at: &KeyPath, written: written::Revocation) -> Option<Revoke> {
        let text = self.report.needed(&at.key("url"), written.url, "write where a revocation is posted to")?;
        let url = text.parse::<Uri>().ok().filter(|url| {
            let local = url.host().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
            url.scheme_str() == Some("https") || (url.scheme_str() == Some("http") && local)
        });
        if url.is_none() {
            self.report.problem(
                &at.key("url"),
                "expected a URL that begins with `https://`, or with `http://` of this machine",
            );
        }
        let body = self.report.needed(
            &at.key("body"),
            written.body,
            "write the body; `{token}` and `{jti}` stand for those of the token",
        );
        let content_type = self.media_type(&at.key("content_type"), written.content_type)?;
        Some(Revoke::Post { url: url?, content_type, body: body? })
    }

    fn limits(&mut self, at: &KeyPath, written: written::Limits) -> Option<Limits> {
        let defaults = Limits::default();
        let rate = match written.rate {
            None => Some(defaults.rate),
            Some(rate) => {
                let rate = u32::try_from(rate).ok().filter(|rate| (1..=MAX_RATE).contains(rate));
                if rate.is_none() {
                    self.report.problem(&at.key("rate"), &format!("expected 1 to {MAX_RATE} requests a second"));
                }
                rate
            }
        };
        let timeout = written.timeout.map_or(defaults.timeout, |time| time.0);
        if timeout < Duration::from_millis(100) || timeout > Duration::from_secs(120) {
            self.report.problem(&at.key("timeout"), "expected 100ms to 2m");
        }
        let total = written.total.unwrap_or(defaults.total);
        if total == 0 {
            self.report.problem(&at.key("total"), "expected 1 request or more");
        }
        Some(Limits { rate: rate?, total, timeout })
    }
}

/// More than this is no probe but a load test.
const MAX_RATE: u32 = 10_000;

/// Scheme and authority, without the default port.
fn origin(url: &Uri) -> String {
    let host = url.host().unwrap_or_default().to_ascii_lowercase();
    match url.port_u16().unwrap_or(443) {
        443 => format!("https://{host}"),
        port => format!("https://{host}:{port}"),
    }
}
