//! One JSON line for each exchange, made from the decision itself; never contains a token, a proof or a body.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fapi::code::Code;
use fapi::signature::signed_request::Verified;
use fapi::step::Step;
use fapi::token::{Confirmation, TokenId};
use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Version};
use schemars::JsonSchema;

use super::json::{Value, write_object};
use super::pseudonym::{self, Named, Pseudonyms};
use crate::gateway::{Exchange, Outcome};

/// What is known at the end of an exchange besides the exchange itself.
#[derive(Clone, Debug, Default)]
pub struct Ending<'a> {
    /// When it began, in the format of RFC 3339.
    pub time: String,
    /// The listener's address.
    pub listener: &'a str,
    /// The peer's address, if the connection still had one.
    pub client_address: Option<IpAddr>,
    /// What stands in place of names; `None` if they are recorded themselves.
    pub pseudonyms: Option<&'a Pseudonyms>,
    /// The version of TLS of the connection.
    pub tls_version: Option<&'static str>,
    /// The subject of the client's certificate.
    pub certificate_subject: Option<&'a str>,
    /// Where that certificate came from.
    pub certificate_source: Option<CertificateSource>,
    /// What was asked for, if the message could be read.
    pub request: Option<Asked<'a>>,
    /// The status that the client saw; `None` if the connection was already closed.
    pub status: Option<u16>,
    /// How many bytes of the request's body were read.
    pub request_bytes: u64,
    /// How many bytes the body of the response had, as far as it was sent.
    pub response_bytes: u64,
    /// The upstream that the request was sent to, or would have been.
    pub upstream: Option<&'a str>,
    /// The server of it that was chosen last.
    pub upstream_address: Option<SocketAddr>,
    /// The status that the upstream sent.
    pub upstream_status: Option<u16>,
    /// From the decision to the header section of the upstream's response.
    pub upstream_duration: Option<Duration>,
    /// From the end of the request's header section to the end of the response.
    pub duration: Duration,
    /// The gateway's own work before the request was forwarded.
    pub decision: Duration,
    /// The signature of the request.
    pub signature: Option<&'a Verified>,
    /// What was signed, encrypted.
    pub evidence: Option<String>,
}

/// What the head of a request says.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The version of HTTP.
    pub protocol: Version,
    /// The method.
    pub method: &'a str,
    /// The host as it was sent, without what does not belong to a host.
    pub host: Option<&'a str>,
    /// The path without the query.
    pub path: &'a str,
    /// The `User-Agent`, if it is text.
    pub user_agent: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// What is read of a head, for a record that is written when the head is gone.
    pub fn kept_of(request: &Parts) -> Parts {
        let (mut kept, ()) = http::Request::new(()).into_parts();
        (kept.version, kept.method, kept.uri) = (request.version, request.method.clone(), request.uri.clone());
        for name in [HOST, USER_AGENT] {
            if let Some(value) = request.headers.get(&name) {
                kept.headers.insert(name, value.clone());
            }
        }
        kept
    }

    /// Reads a head.
    pub fn of(request: &'a Parts) -> Self {
        let text = |name| request.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        Self {
            protocol: request.version,
            method: request.method.as_str(),
            host: request.uri.authority().map(Authority::as_str).or_else(|| text(HOST)).map(host_alone),
            path: request.uri.path(),
            user_agent: text(USER_AGENT),
        }
    }
}

/// Where a client's certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum CertificateSource {
    /// The handshake of this connection.
    Handshake,
    /// A proxy that is trusted to forward it.
    Forwarded,
}

impl Value for CertificateSource {
    fn write(&self, out: &mut Vec<u8>) {
        let name = match self {
            Self::Handshake => "handshake",
            Self::Forwarded => "forwarded",
        };
        name.write(out);
    }
}

/// One line. A doc comment here is the description of its member in the reference.
#[derive(JsonSchema)]
#[schemars(rename = "ExchangeLine")]
pub(super) struct Line<'a> {
    /// When the request arrived, in RFC 3339, UTC, with milliseconds: lines sort as text.
    time: &'a str,
    /// The `x-fapi-interaction-id` that the client, the upstream and the audit share.
    interaction_id: &'a str,
    /// The trace that the request belongs to, 32 hexadecimal digits (W3C Trace Context).
    trace_id: &'a str,
    /// The `address` of the listener, as configured.
    listener: &'a str,
    /// The address of the other end of the connection: the client's, or that of a proxy in front; or its pseudonym.
    #[schemars(with = "Option<String>")]
    client_address: Option<Named<IpAddr>>,
    /// `TLSv1.3` or `TLSv1.2`; null if the connection was already closed.
    tls_version: Option<&'static str>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`; null if the message could not be read.
    protocol: Option<&'static str>,
    /// The method, at most 64 characters; null if the message could not be read.
    method: Option<&'a str>,
    /// The host that was asked for, as it was sent, at most 256 characters, without user information, path or query; null if
    /// there was none that is text.
    host: Option<&'a str>,
    /// The path without the query, at most 2048 characters; null if the message could not be read.
    path: Option<&'a str>,
    /// The `name` of the route; null if none matched.
    route: Option<&'a str>,
    /// `permit`; `preflight` for one of CORS that the gateway granted; `metadata` for a document about a resource that it
    /// answered with; `reject` for an error of the client; `error` for one of the gateway, the issuer or the upstream.
    decision: &'static str,
    /// `ok`, or one of the codes.
    code: &'static str,
    /// The step of the line that refused the request: `handshake`, `message`, `route`, `credentials`, `evidence`, `token`, `sender`,
    /// `scope`, `require`, `signature` or `replay`; null if none did.
    step: Option<&'static str>,
    /// What was wrong, with both sides of the comparison that failed; null if nothing was wrong. Beside `would_deny` it is the
    /// reason for that, unless something else went wrong later.
    detail: Option<String>,
    /// The code with which the request would have been refused, if its route, or its authorization server, were not in shadow; null if it would not have been.
    would_deny: Option<&'static str>,
    /// The `name` of the token's issuer, once the token was verified or its issuer was asked about it, also if it was refused then.
    issuer: Option<&'a str>,
    /// The token's `client_id`, once the token was verified or its issuer called it active; at an endpoint of an authorization
    /// server, the client's, once it is authenticated.
    client_id: Option<&'a str>,
    /// The token's `sub`, or its pseudonym.
    #[schemars(with = "Option<String>")]
    subject: Option<Named<&'a str>>,
    /// The first 16 hexadecimal digits of the SHA-256 of the token that was presented, valid or not.
    #[schemars(with = "Option<String>")]
    token_id: Option<TokenId>,
    /// What the token is bound to.
    confirmation: Option<ConfirmationText>,
    /// The subject of the client's certificate, at most 256 characters, with special characters escaped as in RFC 4514; never
    /// that of a proxy.
    certificate_subject: Option<&'a str>,
    /// Where that certificate came from.
    certificate_source: Option<CertificateSource>,
    /// The `User-Agent`, at most 256 characters; null if there was none that is text. Clients write into it what they like.
    user_agent: Option<&'a str>,
    /// The status that the client saw; null if it closed the connection before.
    status: Option<u16>,
    /// Bytes of the request's body that were read to be judged or forwarded.
    request_bytes: u64,
    /// Bytes of the response's body that were passed to the connection, without chunk sizes and frames.
    response_bytes: u64,
    /// The `upstream` that the request was sent to, or was about to be.
    upstream: Option<&'a str>,
    /// The IP address and port of the server that was chosen, of several attempts the last; null if none was.
    upstream_address: Option<SocketAddr>,
    /// The status that the upstream sent.
    upstream_status: Option<u16>,
    /// Milliseconds from the decision to the end of the header section of the upstream's response; null if there was none.
    #[schemars(with = "Option<f64>")]
    upstream_duration_ms: Option<Duration>,
    /// Milliseconds from the end of the request's header section to the end of the response.
    #[schemars(with = "f64")]
    duration_ms: Duration,
    /// Microseconds of the gateway's own work before the request was forwarded or refused, including introspection.
    decision_us: u64,
    /// The signature of the request, if its route looks at that and it holds.
    request_signature: Option<SignatureText>,
    /// What was signed, of the request and of its response, with the signatures and the public keys: a JWE (RFC 7516), if
    /// `audit.evidence` is set and there is any.
    evidence: Option<&'a str>,
}

/// A signature over a request.
#[derive(JsonSchema)]
struct SignatureText {
    /// The name of the client's key, or of the certificate for seals.
    key_id: String,
    /// When it was made, in seconds since 1970; null for a seal, which has that in `Date`.
    created: Option<u64>,
    /// What it covers, as it says itself: components of RFC 9421, each in quotes, or names of fields; null if it covers the content
    /// alone.
    components: Option<String>,
    /// The SHA-256 in base64url: of a signature of RFC 9421, of the one with the smaller `s` if it is of ECDSA; of the value of
    /// `x-jws-signature`; of a body that is a JWT; or of what a seal covers.
    #[schemars(with = "String")]
    hash: [u8; 32],
}

impl SignatureText {
    fn of(signature: &Verified) -> Self {
        let (key_id, created, components, hash) = match signature {
            Verified::Http(signature) => {
                let components: Vec<String> = signature.components().iter().map(ToString::to_string).collect();
                let created = Some(signature.created().0);
                (signature.key_id(), created, Some(components.join(" ")), *signature.signature_hash())
            }
            Verified::DetachedJws(signature) => {
                let hash = fapi::sha256(signature.value().as_bytes());
                (signature.key_id(), Some(signature.issued_at().0), None, hash)
            }
            Verified::JwtBody(body) => (body.key_id(), Some(body.issued_at().0), None, *body.hash()),
            Verified::Seal(seal) => {
                let covered: Vec<&str> = seal.covered().iter().map(AsRef::as_ref).collect();
                (seal.key_id(), None, Some(covered.join(" ")), *seal.signing_string_hash())
            }
        };
        Self { key_id: shortened(key_id, 256).to_owned(), created, components, hash }
    }
}

impl Value for SignatureText {
    fn write(&self, out: &mut Vec<u8>) {
        write_object!(out, self; key_id, created, components, hash);
    }
}

/// The method and thumbprint of a binding; if there are two, those of the key, since the certificate has its own
/// fields.
#[derive(JsonSchema)]
struct ConfirmationText {
    /// `x5t#S256` for a certificate; `jkt` for a key, and for a token that is bound to both.
    method: &'static str,
    /// The thumbprint, in base64url.
    #[schemars(with = "String")]
    thumbprint: [u8; 32],
}

impl Value for ConfirmationText {
    fn write(&self, out: &mut Vec<u8>) {
        write_object!(out, self; method, thumbprint);
    }
}

impl ConfirmationText {
    fn of(confirmation: &Confirmation) -> Self {
        match confirmation {
            Confirmation::Certificate(thumbprint) => Self { method: "x5t#S256", thumbprint: *thumbprint.as_bytes() },
            Confirmation::Key(thumbprint) | Confirmation::Both(_, thumbprint) => {
                Self { method: "jkt", thumbprint: *thumbprint.as_bytes() }
            }
        }
    }
}

/// The JSON Schema of a line, for the reference.
pub fn schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Line<'_>>().to_value()
}

/// The decision and code of an exchange, as metrics and audit name them. An exchange that was permitted and then cut
/// short remains permitted.
pub fn decision(outcome: &Outcome, ending: &Ending<'_>) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Permit(_) => ("permit", "ok"),
        Outcome::Preflight(_) => ("preflight", "ok"),
        Outcome::Metadata(_) => ("metadata", "ok"),
        Outcome::Reject(rejection) if cut_short(rejection.code()) && ending.upstream.is_some() => {
            ("permit", rejection.code().as_str())
        }
        Outcome::Reject(rejection) => {
            (decisions(rejection.code()).next().unwrap_or("error"), rejection.code().as_str())
        }
        Outcome::Pending => ("error", "internal"),
    }
}

/// The decisions with which a code can appear, of which the second is that of a permitted exchange that was cut short.
pub fn decisions(code: Code) -> impl Iterator<Item = &'static str> {
    let refused = if code.status().is_server_error() { "error" } else { "reject" };
    std::iter::once(refused).chain(cut_short(code).then_some("permit"))
}

const fn cut_short(code: Code) -> bool {
    matches!(
        code,
        Code::ClientGone
            | Code::ClientStalled
            | Code::ExchangeTimeout
            | Code::GatewayStopped
            | Code::TokenExpired
            | Code::TokenRevoked
    )
}

/// The line of one exchange, with its line end; `decision` and `code` are those of [`decision`].
pub fn line(exchange: &Exchange, ending: &Ending<'_>, (decision, code): (&'static str, &'static str)) -> Vec<u8> {
    let seen = &exchange.seen;
    let token = seen.token.as_deref();
    let named = seen.named.as_deref();
    let claims = token.map(|token| token.claims_for_audit());
    let (request, pseudonyms) = (ending.request.as_ref(), ending.pseudonyms);
    let subject = claims.and_then(|claims| claims.text("sub")).or(named.and_then(|named| named.subject.as_deref()));
    let line = Line {
        time: &ending.time,
        interaction_id: exchange.interaction.as_str(),
        trace_id: exchange.trace.trace_id(),
        listener: ending.listener,
        client_address: ending.client_address.map(|address| pseudonym::client_address(pseudonyms, address)),
        tls_version: ending.tls_version,
        protocol: request.map(|request| protocol(request.protocol)),
        method: request.map(|request| shortened(request.method, 64)),
        host: request.and_then(|request| request.host).map(|host| shortened(host, 256)),
        path: request.map(|request| shortened(request.path, 2048)),
        route: seen.route.as_ref().map(|route| &*route.name),
        decision,
        code,
        step: match &exchange.outcome {
            Outcome::Reject(rejection) => Step::of(rejection).map(Step::as_str),
            Outcome::Permit(_) | Outcome::Preflight(_) | Outcome::Metadata(_) | Outcome::Pending => None,
        },
        would_deny: seen.would_deny.as_ref().map(|would_deny| would_deny.code().as_str()),
        detail: match &exchange.outcome {
            Outcome::Reject(rejection) => {
                Some(pseudonym::without_subject(pseudonyms, rejection.cause().to_string(), subject))
            }
            Outcome::Permit(_) | Outcome::Preflight(_) | Outcome::Metadata(_) | Outcome::Pending => {
                let detail = seen.would_deny.as_ref().map(|would_deny| would_deny.detail().to_owned());
                detail.map(|detail| pseudonym::without_subject(pseudonyms, detail, subject))
            }
        },
        issuer: token.map(|token| &**token.issuer()).or(named.map(|named| &*named.issuer)),
        client_id: claims
            .and_then(|claims| claims.text("client_id"))
            .or(named.and_then(|named| named.client_id.as_deref()))
            .or(seen.client_id.as_deref()),
        subject: subject.map(|subject| pseudonym::subject(pseudonyms, subject)),
        token_id: seen.token_id,
        confirmation: token.and_then(|token| token.confirmation().ok()).map(ConfirmationText::of),
        certificate_subject: ending.certificate_subject,
        certificate_source: ending.certificate_source,
        user_agent: request.and_then(|request| request.user_agent).map(|agent| shortened(agent, 256)),
        status: ending.status,
        request_bytes: ending.request_bytes,
        response_bytes: ending.response_bytes,
        upstream: ending.upstream,
        upstream_address: ending.upstream_address,
        upstream_status: ending.upstream_status,
        upstream_duration_ms: ending.upstream_duration,
        duration_ms: ending.duration,
        decision_us: u64::try_from(ending.decision.as_micros()).unwrap_or(u64::MAX),
        request_signature: ending.signature.map(SignatureText::of),
        evidence: ending.evidence.as_deref(),
    };
    let mut bytes = Vec::with_capacity(USUAL);
    line.write(&mut bytes);
    bytes.push(b'\n');
    bytes
}

impl Line<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        write_object!(
            out, self;
            time,
            interaction_id,
            trace_id,
            listener,
            client_address,
            tls_version,
            protocol,
            method,
            host,
            path,
            route,
            decision,
            code,
            step,
            detail,
            would_deny,
            issuer,
            client_id,
            subject,
            token_id,
            confirmation,
            certificate_subject,
            certificate_source,
            user_agent,
            status,
            request_bytes,
            response_bytes,
            upstream,
            upstream_address,
            upstream_status,
            upstream_duration_ms,
            duration_ms,
            decision_us,
            request_signature,
            evidence,
        );
    }
}

/// A host without the user information before it, and without a path, query or fragment after it. A request that has any of
/// these is refused, but not before it has a record, and secrets are sent in them.
fn host_alone(text: &str) -> &str {
    let host = text.split(['/', '?', '#']).next().unwrap_or_default();
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

/// The first characters of a text, at most this many.
fn shortened(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    text.char_indices().nth(most).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// The size of most lines, in bytes.
const USUAL: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_recorded_without_what_may_be_secret_around_it() {
        for (sent, recorded) in [
            ("api.bank.example:8443", "api.bank.example:8443"), // control
            ("[::1]:8443", "[::1]:8443"),                       // control
            ("", ""),
            ("user:secret@api.bank.example", "api.bank.example"),
            ("user:secret@more@api.bank.example", "api.bank.example"),
            ("api.bank.example?access_token=secret", "api.bank.example"),
            ("api.bank.example/secret", "api.bank.example"),
            ("api.bank.example#secret@x", "api.bank.example"),
        ] {
            assert_eq!(host_alone(sent), recorded, "{sent}");
        }
        // The authority of HTTP/2 and of an absolute target.
        let of = |uri: &str| http::Request::get(uri).body(()).unwrap().into_parts().0;
        let request = of("https://user:secret@api.bank.example/accounts");
        assert_eq!(Asked::of(&request).host, Some("api.bank.example"));
    }
}
