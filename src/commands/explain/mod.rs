//! `fapi-gateway explain`: takes one call through the line of a gateway with this configuration, and says at each step
//! what was expected and what was seen.
//!
//! The steps are those of a running gateway, called and not repeated: [`Gateway::authorize`] and [`Gateway::redeem`]. What
//! is explained is read from their result. Nothing is sent anywhere unless `--fetch` asks for it, and neither the token
//! nor a signature is printed.
//!
//! [`Gateway::authorize`]: crate::gateway::Gateway::authorize
//! [`Gateway::redeem`]: crate::gateway::Gateway::redeem

mod claimed;
mod record;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::credentials::Scheme;
use fapi::directory::ParticipantError;
use fapi::jose::keys::KeySet;
use fapi::message::Facts;
use fapi::metadata::Document;
use fapi::peer::{ClientCertificate, NoCertificate, Peer};
use fapi::permit::signature::{HeadEvidence, ReadContent};
use fapi::permit::{AwaitsSignature, Judged, Permit};
use fapi::policy::PolicyError;
use fapi::rejection::{Cause, Rejection, Seen, Unavailable};
use fapi::route::{Origin, Origins};
use fapi::signature::message::{ExternalUri, RequestView};
use fapi::signature::profile::Content;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Uri, Version, header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use self::claimed::Jws;
use self::report::{Report, Surroundings};
use super::time::time_or_now;
use super::{BAD_CONFIGURATION, BAD_USAGE, ConfigFile, Failure, INPUT_OUTPUT, NOT_GOOD, UNAVAILABLE};
use crate::clock::Clock;
use crate::config::{Config, Listener};
use crate::connection::VirtualHost;
use crate::connection::handshake::HandshakeError;
use crate::connection::tls::Reason;
use crate::consents::Source;
use crate::gateway::{Client, Verdict};
use crate::generation::Generation;
use crate::resource::{Kind, Resources};
use crate::server;

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The access token: a file, or `-` for standard input. White space around it is ignored.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    token: PathBuf,
    /// The client's certificate, PEM, with the authorities between it and the trust anchor; by default the client has
    /// none. On a listener behind a trusted proxy, it is the one that the proxy forwards. With `-` for it and for the token,
    /// standard input has both, in any order.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The value of the call's `DPoP` field. With it the token is sent with scheme DPoP, without it as Bearer.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    proof: Option<PathBuf>,
    /// The call: `"GET https://api.bank.example/accounts/1"`; by default one for the first route that needs a token, in
    /// which `x` stands for each `*` and each variable.
    #[arg(long, value_name = "METHOD URL")]
    request: Option<String>,
    /// The JSON object that is the body of the call, where the route compares it with the token.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    body: Option<PathBuf>,
    /// The keys of the token's issuer, a JWK Set, instead of those that the issuer publishes.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Ask the issuers as a running gateway would, for their metadata and keys, and about introspected tokens; and read the
    /// directories of participants.
    #[arg(long, conflicts_with = "jwks")]
    fetch: bool,
    /// Print the decision as one line of JSON, as the audit and `/decisions` have it. Its IDs are new, and what only a
    /// connection has is null or 0.
    #[arg(long)]
    json: bool,
    /// The time of the call: seconds since 1970, or as the audit has it, `2027-01-31T12:00:00Z`; by default now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// Explains the call. The exit code is 0 if it would be forwarded or is for metadata, 1 if it would be refused, 69 if that
/// cannot be said without asking an issuer or about a consent, reading a directory, or without a body. What keeps it from being explained
/// has another one.
pub fn run(arguments: &Arguments) -> ExitCode {
    match explain(arguments).and_then(|(text, exit)| super::print(&text).map(|()| exit)) {
        Ok(exit) => ExitCode::from(exit),
        Err(failure) => failure.report("explain"),
    }
}

fn explain(arguments: &Arguments) -> Result<(String, u8), Failure> {
    let Arguments { config: ConfigFile { config }, token, certificate, proof, body, jwks, .. } = arguments;
    let both = from_one_input(arguments);
    let certificate = certificate.as_ref().filter(|_| !both);
    let files = [Some(config), Some(token), certificate, proof.as_ref(), body.as_ref(), jwks.as_ref()];
    super::one_from_standard_input(files)?;
    let mut config = super::load(config)?;
    let request = arguments.request.clone().or_else(|| first_request(&config));
    let request =
        request.ok_or_else(|| Failure::new(BAD_USAGE, "no route needs a token; name a call with --request"))?;
    let call = Call::read(arguments, &request)?;
    let jwks = arguments.jwks.as_deref().map(super::input).transpose()?;
    let surroundings = Surroundings::of(&config, &call);
    if !arguments.fetch {
        config.consents.iter_mut().for_each(|source| *source = Source::Nobody);
        for issuer in &mut config.issuers {
            // Without an endpoint nobody can be asked, and only `--fetch` finds the one in the metadata.
            if let Some(introspection) = &mut issuer.introspection {
                introspection.endpoint = None;
            }
        }
    }
    let address = |listener: &Listener| listener.address.to_string();
    let serves = |listener: &Listener| listener.hosts.iter().any(|host| call.is_for(&host.origins));
    let knows = |listener: &Listener| {
        listener.hosts.iter().any(|host| call.server_name().is_some_and(|name| host.origins.has_host(name)))
    };
    let listeners = || config.listeners.iter();
    let listener = listeners().position(serves).or_else(|| listeners().position(knows));
    let listener_address = config.listeners.get(listener.unwrap_or(0)).map(address).unwrap_or_default();
    let time = Duration::from_secs(call.now.0);
    let (generation, resources) = server::detached(config, Clock::from_fn(move || time))
        .map_err(|error| Failure::new(BAD_CONFIGURATION, error.to_string()))?;
    let issuers = &generation.gateway.issuers;
    if let (Some(jwks), Some(file)) = (jwks, &arguments.jwks) {
        issuers.pin_keys(&jwks).map_err(|error| Failure::io(file, &error))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(INPUT_OUTPUT, error.to_string()))?;
    let ended = runtime.block_on(async {
        if arguments.fetch {
            issuers.read_once().await;
            generation.directories.read_once().await;
        }
        take(&call, &generation, listener).await
    });
    let exit = match &ended {
        Ended::Permitted(..) | Ended::Described(_) => 0,
        Ended::Handshake(..) => NOT_GOOD,
        Ended::NoBody(_) | Ended::NoSignature(_) => UNAVAILABLE,
        Ended::Refused(rejection) if needs_answer(rejection.cause()) => UNAVAILABLE,
        Ended::Refused(_) => NOT_GOOD,
    };
    let unread = match &ended {
        Ended::Refused(rejection) if arguments.fetch => unread(rejection.cause(), &resources),
        Ended::Refused(_)
        | Ended::Permitted(..)
        | Ended::Described(_)
        | Ended::NoBody(_)
        | Ended::NoSignature(_)
        | Ended::Handshake(..) => None,
    };
    let report = Report::new(&call, &surroundings, arguments.fetch, unread);
    if !arguments.json {
        return Ok((report.text(&ended), exit));
    }
    if exit == UNAVAILABLE || matches!(ended, Ended::Handshake(..)) {
        // There is no decision, but there is a reason.
        return Err(Failure::new(exit, report.end(&ended).trim_end()));
    }
    Ok((record::line(ended, &call, &generation, listener, &listener_address), exit))
}

/// Takes the call through the line.
async fn take(call: &Call, generation: &Generation, listener: Option<usize>) -> Ended {
    let hosts = generation.listeners.get(listener.unwrap_or(0));
    let Some(host) = hosts.and_then(|hosts| hosts.find(call.server_name())) else {
        let unserved = HandshakeError::ServerName(call.server_name().map(Box::from));
        return Ended::Handshake(Reason::NameUnknown, unserved.to_string());
    };
    let peer = match call.peer(host) {
        Ok(peer) => peer,
        Err((reason, detail)) => return Ended::Handshake(reason, detail),
    };
    let facts = Facts { version: Version::HTTP_2, raw_h1: None, server_name: call.server_name() };
    let verified_chain =
        host.trusted_proxy.as_ref().map_or(host.tls.verifies_chains(), |proxy| proxy.verifies_chains());
    let client = Client { peer: &peer, verified_chain, address: None };
    let request = call.parts(&host.origins);
    let cors = host.cors.as_deref();
    let judged = generation.gateway.authorize(&request, &facts, &host.origins, cors, client, call.now).await;
    match judged {
        Ok((Verdict::Judged(judged, taken), mut seen)) => {
            // The call has no signature.
            let unsigned = |waiting| unsigned(waiting, call, &request).ok_or(());
            let judged = judged.without_signature().or_else(unsigned);
            let Ok(judged) = judged else { return Ended::NoSignature(Box::new(seen)) };
            let authorized = match (judged, &call.body) {
                (Judged::Authorized(authorized), _) => Ok(authorized),
                // A form is not part of the call: as if it had no second token.
                (Judged::AwaitsForm(waiting), _) => waiting.judge(&[]).map_err(Cause::from),
                (Judged::AwaitsBody(waiting), Some(body)) => waiting.judge(body).map_err(Cause::from),
                (Judged::AwaitsParameters(guard), Some(body)) => {
                    generation.gateway.judge_form(*guard, &request, body, client, call.now, &mut seen).await
                }
                (Judged::AwaitsSignature(_) | Judged::AwaitsConsent(_), _) => {
                    return Ended::NoSignature(Box::new(seen));
                }
                (Judged::AwaitsBody(_) | Judged::AwaitsParameters(_), None) => return Ended::NoBody(Box::new(seen)),
            };
            let permit = match authorized {
                Ok(authorized) => {
                    // Of its key, nobody here knows whether it was used before.
                    let content = call.body.as_deref().unwrap_or_default();
                    let authorized = authorized.with_request(&request, content);
                    generation.gateway.redeem(authorized, &taken, call.now).await
                }
                Err(cause) => Err(cause),
            };
            match permit {
                Ok(permit) => Ended::Permitted(Box::new(permit), Box::new(seen)),
                Err(cause) => Ended::Refused(Box::new(Rejection::new(cause, seen))),
            }
        }
        Ok((Verdict::Preflight(_), seen)) => {
            let detail = "a call without Origin is not a preflight".to_owned();
            Ended::Refused(Box::new(Rejection::new(Unavailable::Internal { detail }, seen)))
        }
        Ok((Verdict::Metadata(document), _)) => Ended::Described(document),
        Err(rejection) => Ended::Refused(Box::new(rejection)),
    }
}

/// What remains to be judged of a request without a signature; nothing, if its route requires one.
fn unsigned(waiting: Box<AwaitsSignature>, call: &Call, request: &Parts) -> Option<Judged> {
    // A call that would have content is not one without because none was given.
    let has_content = call.body.is_some() || matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
    let content = if has_content { Content::Present } else { Content::Absent };
    let keys = KeySet::default();
    let evidence = HeadEvidence { keys: &keys, certificate: None };
    let uri = ExternalUri { scheme: "https", authority: "", path: "/", query: None };
    let view = RequestView { method: &request.method, uri, target: "/", headers: &request.headers };
    let head = waiting.verify(view, content, evidence, call.now).ok()?;
    waiting.head_signed(head).judge(ReadContent::Unread).ok()
}

/// Whether an issuer, a directory, or whoever knows the consent would have to be asked to go on.
fn needs_answer(cause: &Cause) -> bool {
    let of_consent = matches!(cause, Cause::Unavailable(Unavailable::Consent { .. }));
    awaited(cause).is_some() || awaited_directory(cause).is_some() || of_consent
}

/// The name of the directory that would have to be read to go on.
fn awaited_directory(cause: &Cause) -> Option<&str> {
    let Cause::Policy(PolicyError::Participant {
        directory,
        error: ParticipantError::NeverRead | ParticipantError::TooOld { .. },
    }) = cause
    else {
        return None;
    };
    Some(directory)
}

/// The name of the issuer that would have to be asked to go on.
fn awaited(cause: &Cause) -> Option<&Arc<str>> {
    let Cause::Unavailable(
        Unavailable::KeysNeverRead { issuer }
        | Unavailable::KeysNotReadAgain { issuer }
        | Unavailable::KeysTooOld { issuer, .. }
        | Unavailable::Introspection { issuer, .. },
    ) = cause
    else {
        return None;
    };
    Some(issuer)
}

/// Why the issuer's keys, its introspection endpoint or a directory could not be read, if that is why the call ends so. What
/// introspection itself fails of is in the cause.
fn unread(cause: &Cause, resources: &Resources) -> Option<String> {
    let mut failing = resources.reports().into_iter().filter(|(_, report)| report.succeeded == Some(false));
    if let Some(directory) = awaited_directory(cause) {
        let (_, report) = failing.find(|((kind, name), _)| *kind == Kind::Directory && **name == *directory)?;
        return Some(format!("Reading directory {directory:?} failed: {}.", report.last_error?.why));
    }
    let issuer = awaited(cause)?;
    let mut of_issuer = failing.filter(|((_, name), _)| name == issuer);
    of_issuer.find_map(|((kind, _), report)| {
        let what = if kind == Kind::Keys {
            "the keys"
        } else if kind == Kind::IntrospectionEndpoint {
            "the introspection endpoint"
        } else {
            return None;
        };
        Some(format!("Reading {what} of issuer {issuer:?} failed: {}.", report.last_error?.why))
    })
}

/// How the call ends.
enum Ended {
    /// Forwarded.
    Permitted(Box<Permit>, Box<Seen>),
    /// Answered with the metadata of a resource, which is public.
    Described(Arc<Document>),
    /// Not decided for lack of a body.
    NoBody(Box<Seen>),
    /// Not decided for lack of a signature.
    NoSignature(Box<Seen>),
    /// There is no call, since the handshake fails; what the audit says of it.
    Handshake(Reason, String),
    /// Refused, or not decided for lack of an issuer or a directory.
    Refused(Box<Rejection>),
}

/// One call as its client makes it.
struct Call {
    method: Method,
    uri: Uri,
    token: String,
    proof: Option<String>,
    body: Option<Vec<u8>>,
    chain: Vec<CertificateDer<'static>>,
    certificate: Option<Arc<ClientCertificate>>,
    now: UnixTime,
}

impl Call {
    fn read(arguments: &Arguments, request: &str) -> Result<Self, Failure> {
        let Arguments { token, certificate, proof, at, .. } = arguments;
        let usage = |why: String| Failure::new(BAD_USAGE, why);
        let (method, url) =
            request.split_once(' ').ok_or_else(|| usage("--request is not \"METHOD https://HOST/PATH\"".to_owned()))?;
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|_| usage(format!("{method:?} is not an HTTP method")))?;
        // The URL is not repeated: its query may have a token.
        let uri: Uri =
            url.trim().parse().map_err(|error| usage(format!("the URL of --request cannot be read: {error}")))?;
        if uri.scheme_str() != Some("https") || uri.authority().is_none_or(|authority| authority.as_str().contains('@'))
        {
            return Err(usage("the URL of --request is not https://HOST/PATH".to_owned()));
        }
        let now = time_or_now("--at", at.as_deref())?;
        let (sent, chain) = if from_one_input(arguments) {
            let text = super::input(token)?;
            let (certificates, rest) = apart(&text);
            (word_in(token, rest)?, chain_in(token, &certificates)?)
        } else {
            (word(token)?, certificate.as_deref().map(chain).transpose()?.unwrap_or_default())
        };
        let certificate = match (chain.first(), certificate) {
            (Some(leaf), Some(file)) => {
                Some(Arc::new(ClientCertificate::from_der(leaf).map_err(|error| Failure::io(file, &error))?))
            }
            _ => None,
        };
        let proof = proof.as_deref().map(word).transpose()?;
        let body = arguments.body.as_deref().map(super::input).transpose()?;
        Ok(Self { method, uri, token: sent, proof, body, chain, certificate, now })
    }

    const fn scheme(&self) -> Scheme {
        if self.proof.is_some() { Scheme::Dpop } else { Scheme::Bearer }
    }

    fn is_for(&self, origins: &Origins) -> bool {
        self.origin(origins).is_some()
    }

    fn origin<'o>(&self, origins: &'o Origins) -> Option<&'o Arc<Origin>> {
        origins.find(&self.uri.host()?.to_ascii_lowercase(), self.uri.port_u16())
    }

    /// The name in the handshake; clients send none for an address (RFC 6066 §3).
    fn server_name(&self) -> Option<&str> {
        self.uri.host().filter(|host| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err())
    }

    /// The request as it reaches the gateway, over HTTP/2: without the prefix of the origin, which an outer proxy removes.
    fn parts(&self, origins: &Origins) -> Parts {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.version_mut() = Version::HTTP_2;
        let prefix = self.origin(origins).map(|origin| origin.prefix().to_owned()).unwrap_or_default();
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let inner = target.strip_prefix(&*prefix).filter(|rest| rest.starts_with('/')).unwrap_or(target);
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = inner.parse().ok();
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone());
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(mut value) = HeaderValue::try_from(format!("{} {}", self.scheme().as_str(), self.token)) {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        if let Some(Ok(value)) = self.proof.as_deref().map(HeaderValue::try_from) {
            headers.insert("dpop", value);
        }
        request.into_parts().0
    }

    /// Who the client is after the handshake, or why that fails.
    fn peer(&self, host: &VirtualHost) -> Result<Peer, (Reason, String)> {
        match (&self.certificate, &host.trusted_proxy) {
            // It comes in a header field; the connection is the proxy's.
            (Some(certificate), Some(proxy)) => Ok(match proxy.judge(&self.chain, self.now) {
                Ok(()) => Peer::Forwarded(certificate.clone()),
                Err(reason) => Peer::Anonymous(reason),
            }),
            (None, Some(_)) => Ok(Peer::Anonymous(NoCertificate::NotForwarded)),
            (_, None) if !host.tls.asks_for_certificates() => Ok(Peer::Anonymous(NoCertificate::NotRequested)),
            (certificate, None) => {
                host.tls.judge(&self.chain, self.now)?;
                Ok(certificate.clone().map_or(Peer::Anonymous(NoCertificate::NotPresented), Peer::Certificate))
            }
        }
    }

    fn jws(&self) -> Option<Jws> {
        Jws::read(&self.token)
    }
}

/// A call for the first route that needs a token.
fn first_request(config: &Config) -> Option<String> {
    let route = config.routes.iter().find(|route| route.policy().is_some())?;
    let hosts = config.listeners.iter().flat_map(|listener| &listener.hosts);
    let mut origins = hosts.flat_map(|host| host.origins.iter());
    let origin = origins.find(|origin| route.answers_for(origin.host()))?;
    let path = route.pattern.as_str();
    let path = path.strip_suffix("**").map(|path| path.trim_end_matches('/')).unwrap_or(path);
    let stands_for_any = |segment: &&str| *segment == "*" || segment.starts_with('{');
    let path: Vec<&str> = path.split('/').map(|segment| if stands_for_any(&segment) { "x" } else { segment }).collect();
    let path = path.join("/");
    let slash = if path.is_empty() { "/" } else { "" };
    Some(format!("{} {}{path}{slash}", route.methods.first()?, origin.as_str()))
}

/// Whether token and certificate both come from standard input.
fn from_one_input(arguments: &Arguments) -> bool {
    let input = Path::new("-");
    arguments.token == input && arguments.certificate.as_deref() == Some(input)
}

const BEGIN: &[u8] = b"-----BEGIN ";

/// The lines of PEM blocks, and the rest.
fn apart(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut blocks, mut rest, mut within) = (Vec::new(), Vec::new(), false);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        // A file with a token may have no line end.
        let begins = line.windows(BEGIN.len()).position(|window| window == BEGIN).filter(|_| !within);
        let (before, line) = line.split_at(begins.unwrap_or_default());
        rest.extend_from_slice(before);
        within |= begins.is_some();
        if within { &mut blocks } else { &mut rest }.extend_from_slice(line);
        within &= !line.starts_with(b"-----END ");
    }
    (blocks, rest)
}

/// The certificates of a PEM file, the client's first.
fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    chain_in(file, &super::input(file)?)
}

/// The certificates in the bytes of a file, or of a part of it.
fn chain_in(file: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(Failure::io(file, &"there is no certificate in it; expected PEM")),
        Err(_) => Err(Failure::io(file, &"the PEM text is malformed")),
    }
}

/// A file with one word, which is never shown.
fn word(file: &Path) -> Result<String, Failure> {
    word_in(file, super::input(file)?)
}

fn word_in(file: &Path, bytes: Vec<u8>) -> Result<String, Failure> {
    let text = String::from_utf8(bytes).unwrap_or_default();
    let word = text.trim();
    if word.is_empty() {
        return Err(Failure::io(file, &"it is empty; look at the command that should have written it"));
    }
    if !word.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::io(
            file,
            &"expected one word of ASCII, the bare value without the name of a field or a scheme",
        ));
    }
    Ok(word.to_owned())
}
