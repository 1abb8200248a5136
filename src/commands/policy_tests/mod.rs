//! `fapi-gateway check --tests`: takes the calls of policy tests through the line, and says which are not decided as they
//! have to be.
//!
//! The line is that of a running gateway, and none of its checks is left out: the tokens and proofs of the calls are signed
//! with keys that are made for this run, and those of the issuers are replaced by them. Nothing is sent anywhere.

mod certificate;
mod coverage;
mod directories;
mod signature;
mod token;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fapi::UnixTime;
use fapi::code::Code;
use fapi::credentials::Scheme;
use fapi::dpop::DpopError;
use fapi::jose::keys::Algorithm;
use fapi::message::Facts;
use fapi::peer::{ClientCertificate, NoCertificate, Peer};
use fapi::permit::signature::{Awaited, ReadContent};
use fapi::permit::{AwaitsSignature, Judged, Permit};
use fapi::policy::PolicyError;
use fapi::rejection::{Cause, Seen, Unavailable};
use fapi::route::Route;
use fapi::sender::SenderError;
use fapi::shadow::WouldDeny;
use http::request::Parts;
use http::{HeaderValue, Request, Version, header};

use self::coverage::Coverage;
use self::directories::Directories;
use self::signature::{RequestSigner, content_of};
use self::token::{Clients, Signers};
use super::{BAD_CONFIGURATION, Failure, INPUT_OUTPUT, NOT_GOOD};
use crate::clock::Clock;
use crate::config::{Binding, Config, Decision, GivenToken, Known, PolicyTest, VirtualHost};
use crate::connection::tls::{ClientCertificates, Demand};
use crate::consents::{Scripted, Source as ConsentSource};
use crate::gateway::{Client, HeadJudged, Verdict, WholeContent};
use crate::generation::Generation;
use crate::rate_limits::Taken;
use crate::server;
use crate::signatures::Source;
use crate::tls_client::TrustAnchors;

/// Runs the tests of these files; the report, and whether every test holds.
pub(super) fn run(files: &[PathBuf], config: Config) -> Result<(String, bool), Failure> {
    super::one_from_standard_input(files.iter().map(Some))?;
    let tests = read(files, &config)?;
    let stage = Stage::set(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(INPUT_OUTPUT, error.to_string()))?;
    let today = Clock::system().unix_time();
    let mut found: Vec<Option<Found>> = tests.iter().map(|_| None).collect();
    // Time does not go back, or the log of used proofs would begin again.
    let mut order: Vec<_> = tests.iter().zip(&mut found).collect();
    order.sort_by_key(|((_, test), _)| test.at.unwrap_or(today));
    runtime.block_on(async {
        for ((_, test), found) in order {
            *found = Some(stage.decide(test, test.at.unwrap_or(today)).await?);
        }
        Ok(())
    })?;
    let (mut text, mut held, mut coverage) = (String::new(), 0_usize, Coverage::default());
    for ((file, test), found) in tests.iter().zip(found.iter().flatten()) {
        coverage.note(found);
        if found.decision == test.expected && found.would_deny == test.would_deny {
            held = held.saturating_add(1);
            continue;
        }
        let (expected, got) = (said(test.expected, test.would_deny), said(found.decision, found.would_deny));
        let why = found.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let _ = writeln!(text, "{}:{}: {}: expected {expected}, got {got}{why}", file.display(), test.line, test.name);
    }
    let _ = writeln!(text, "{held} of {} policy tests hold", tests.len());
    text.push_str(&coverage.text(stage.generation.gateway.routes.iter()));
    Ok((text, held == tests.len()))
}

/// A decision, and what it would be without the shadow of its route.
fn said(decision: Decision, would_deny: Option<Code>) -> String {
    match would_deny {
        Some(code) => format!("{} in shadow, which would be {code}", decision.as_str()),
        None => decision.as_str().to_owned(),
    }
}

/// The tests of all files, or all of their problems.
fn read<'f>(files: &'f [PathBuf], config: &Config) -> Result<Vec<(&'f PathBuf, PolicyTest)>, Failure> {
    let hosts = config.listeners.iter().flat_map(|listener| &listener.hosts);
    let known = Known {
        issuers: config.issuers.iter().map(|issuer| &*issuer.expected.name).collect(),
        origins: hosts.map(|host| &host.origins).collect(),
    };
    let (mut tests, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        match PolicyTest::read(file, &super::input(file)?, &known) {
            Ok(read) => tests.extend(read.into_iter().map(|test| (file, test))),
            Err(errors) => problems.push(errors.to_string()),
        }
    }
    match problems.is_empty() {
        true => Ok(tests),
        false => Err(Failure::new(BAD_CONFIGURATION, problems.join("\n"))),
    }
}

/// What the gateway decided on a call.
struct Found {
    decision: Decision,
    /// The code of the refusal that was not carried out.
    would_deny: Option<Code>,
    /// What was wrong.
    why: Option<String>,
    /// The route, once one matched.
    route: Option<Arc<Route>>,
    /// The cause of a refusal.
    cause: Option<Cause>,
}

/// A gateway that serves nobody, and those who call it.
struct Stage {
    generation: Generation,
    hosts: Vec<VirtualHost>,
    signers: Signers,
    clients: Clients,
    request_signer: RequestSigner,
    consents: Arc<Scripted>,
    directories: Arc<Directories>,
    /// The time, in seconds since 1970.
    now: Arc<AtomicU64>,
}

impl Stage {
    fn set(mut config: Config) -> Result<Self, Failure> {
        let unable = |error: &dyn std::fmt::Display| Failure::new(NOT_GOOD, error.to_string());
        let clients = Clients::new().map_err(|error| unable(&error))?;
        let listeners = std::mem::take(&mut config.listeners);
        let hosts = listeners.into_iter().flat_map(|listener| listener.hosts).collect();
        config.admin = None;
        config.upstreams.clear();
        // The clock of the tests stands still, and all of them are by one client.
        config.rate_limits.routes.clear();
        for issuer in &mut config.issuers {
            // Nobody is asked: an introspected token is one whose issuer would say the same.
            issuer.introspection = None;
            // One that signs with what a waiver allows is tested with tokens that need none.
            if issuer.expected.algorithms.is_empty() {
                issuer.expected.algorithms.push(Algorithm::Es256);
            }
            issuer.trust_anchors = TrustAnchors::Given(vec![clients.anchor()]);
        }
        let request_signer = RequestSigner::new(&config.routes).map_err(|error| unable(&error))?;
        for set in &mut config.client_keys {
            set.source = Source::Everybody(request_signer.client().clone());
        }
        let consents = Arc::new(Scripted::default());
        config.consents.iter_mut().for_each(|source| *source = ConsentSource::Test(consents.clone()));
        let signers = Signers::of(&config.issuers).map_err(|error| unable(&error))?;
        let now = Arc::new(AtomicU64::new(0));
        let clock = now.clone();
        let clock = Clock::from_fn(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
        // Nobody is asked either who takes part.
        config.directories.clear();
        let (mut generation, _) = server::detached(config, clock).map_err(|error| unable(&error))?;
        let directories = Arc::new(Directories::default());
        generation.gateway.participants = directories.clone();
        let issuers = &generation.gateway.issuers;
        issuers.pin_keys(&signers.jwks()).map_err(|error| unable(&error))?;
        Ok(Self { generation, hosts, signers, clients, request_signer, consents, directories, now })
    }

    /// Decides on the call of a test. A client that is asked for a nonce sends it with a second proof, and one of whose certificate the
    /// route asks what it says comes with one that says it.
    async fn decide(&self, test: &PolicyTest, now: UnixTime) -> Result<Found, Failure> {
        self.now.store(now.0, Ordering::Relaxed);
        self.consents.say(test.consent.clone());
        self.directories.say(test.participant);
        let unable = |error: &dyn std::fmt::Display| Failure::new(NOT_GOOD, error.to_string());
        let mut nonce: Option<HeaderValue> = None;
        let mut made: Option<Arc<ClientCertificate>> = None;
        loop {
            let certificate = made.as_ref().unwrap_or(self.clients.certificate());
            let token = test.token.as_ref();
            let token = token.map(|given| self.signers.token(given, &self.clients, certificate, now)).transpose();
            let token = token.map_err(|error| unable(&error))?;
            let request = self.request(test, token.as_deref(), nonce.as_ref(), now).map_err(|error| unable(&error))?;
            let body = test.call.body.as_deref().unwrap_or_default();
            let found = self.take(test, made.as_ref(), &request, body, now).await;
            if made.is_none() && asks_for_certificate(test, &found) {
                let policy = found.route.as_ref().and_then(|route| route.policy());
                let given = policy.zip(test.token.as_ref());
                if let Some((policy, token)) = given {
                    let template = self.clients.certificate().der();
                    let fitting = certificate::fitting(policy, &token.claims, &test.certificate, &template);
                    made = Some(fitting.map_err(|error| unable(&error))?);
                    continue;
                }
            }
            match found.cause {
                Some(Cause::Sender(SenderError::Proof(DpopError::NonceRequired { fresh: Some(fresh), .. })))
                    if nonce.is_none() =>
                {
                    nonce = Some(fresh);
                }
                _ => return Ok(found),
            }
        }
    }

    /// Takes a request through the line, of a client with the certificate that was made for it, if one was.
    async fn take(
        &self,
        test: &PolicyTest,
        made: Option<&Arc<ClientCertificate>>,
        request: &Parts,
        body: &[u8],
        now: UnixTime,
    ) -> Found {
        let gateway = &self.generation.gateway;
        let decided = |decision, route| Found { decision, would_deny: None, why: None, route, cause: None };
        let refused = |cause: Cause, route| Found {
            decision: Decision::Refuse(cause.code()),
            would_deny: None,
            why: Some(cause.to_string()),
            route,
            cause: Some(cause),
        };
        let Some(host) = self.hosts.get(test.call.host) else {
            let missing = fapi::message::MessageError::ConnectionOutdated;
            return refused(missing.into(), None);
        };
        let name = request.uri.host().filter(|host| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err());
        let facts = Facts { version: Version::HTTP_2, raw_h1: None, server_name: name };
        let peer = self.peer(test.token.as_ref(), host, made);
        let client = Client { peer: &peer, verified_chain: true, address: None };
        let verdict = gateway.authorize(request, &facts, &host.origins, host.cors.as_deref(), client, now).await;
        let (judged, mut seen) = match verdict {
            Ok((Verdict::Judged(judged, _), seen)) => (judged, seen),
            Ok((Verdict::Preflight(_), seen)) => return decided(Decision::Preflight, seen.route),
            Ok((Verdict::Metadata(_), seen)) => return decided(Decision::Metadata, seen.route),
            Err(rejection) => return refused(rejection.cause().clone(), rejection.seen().route.clone()),
        };
        let judged = match judged.without_signature() {
            Ok(judged) => Ok(judged),
            Err(waiting) => match self.signed(&waiting, test, (request, body), &seen, now) {
                // What is signed has another type, which is judged before the signature is.
                Ok(Some(call)) => return Box::pin(self.take(test, made, &call.request, &call.body, now)).await,
                Ok(None) => self.judge_signature(waiting, (request, body), client, &seen, now).await,
                Err(cause) => Err(cause),
            },
        };
        let permit = match judged {
            Ok(judged) => self.redeem(judged, request, body, client, now, &mut seen).await,
            Err(cause) => Err(cause),
        };
        match permit {
            Ok(permit) => Found {
                would_deny: permit.would_deny().map(WouldDeny::code),
                why: permit.would_deny().map(|noted| noted.detail().to_owned()),
                ..decided(Decision::Permit, Some(permit.route().clone()))
            },
            Err(cause) => refused(cause, seen.route),
        }
    }

    /// The call with a signature, which is made here unless the test says that there is none; `None` if it is as it has to be.
    fn signed(
        &self,
        waiting: &AwaitsSignature,
        test: &PolicyTest,
        (request, body): (&Parts, &[u8]),
        seen: &Seen,
        now: UnixTime,
    ) -> Result<Option<signature::Call>, Cause> {
        let Some(rules) = waiting.rules().filter(|_| test.signed) else { return Ok(None) };
        if rules.form.is_claimed_by(&request.headers) || (rules.form.signs_content_alone() && body.is_empty()) {
            return Ok(None);
        }
        let internal = |detail: String| Unavailable::Internal { detail };
        let missing = || internal("a request has a route and no origin".to_owned());
        let origin = seen.origin.as_deref().ok_or_else(missing)?;
        let client_id = waiting.client_id().unwrap_or_default();
        let call = self.request_signer.signed((request, body), origin, client_id, rules, now).map_err(internal)?;
        // What cannot be signed, for lack of what the signature has to cover, is judged without one.
        Ok(rules.form.is_claimed_by(&call.request.headers).then_some(call))
    }

    /// Judges the signature of a call, if it has one.
    async fn judge_signature(
        &self,
        waiting: Box<AwaitsSignature>,
        (request, body): (&Parts, &[u8]),
        client: Client<'_>,
        seen: &Seen,
        now: UnixTime,
    ) -> Result<Judged, Cause> {
        let internal = |detail: &str| Unavailable::Internal { detail: detail.to_owned() };
        let origin = seen.origin.as_deref().ok_or_else(|| internal("a request has a route and no origin"))?;
        let gateway = &self.generation.gateway;
        let judged = gateway.verify_signature(waiting, (request, origin), content_of(body), client, now).await?;
        let waiting = match judged {
            HeadJudged::Unsigned(judged) => return Ok(*judged),
            HeadJudged::Content(waiting) => waiting,
        };
        let read = match waiting.awaits() {
            Awaited::Nothing => ReadContent::Unread,
            Awaited::Hashed(mut hasher) => {
                hasher.update(body);
                ReadContent::Hashed(hasher)
            }
            Awaited::Whole(_) => {
                let content = WholeContent { request, origin, body };
                ReadContent::Verified(gateway.verify_content(&waiting, content, client, now).await?)
            }
        };
        Ok(waiting.judge(read)?)
    }

    async fn redeem(
        &self,
        judged: Judged,
        request: &Parts,
        body: &[u8],
        client: Client<'_>,
        now: UnixTime,
        seen: &mut Seen,
    ) -> Result<Permit, Cause> {
        let authorized = match judged {
            Judged::Authorized(authorized) => authorized,
            Judged::AwaitsForm(waiting) => waiting.judge(body)?,
            Judged::AwaitsBody(waiting) => waiting.judge(body)?,
            Judged::AwaitsSignature(_) | Judged::AwaitsConsent(_) => {
                let detail = "a signature or a consent was judged, and is to be judged again".to_owned();
                return Err(Unavailable::Internal { detail }.into());
            }
            Judged::AwaitsParameters(guard) => {
                self.generation.gateway.judge_form(*guard, request, body, client, now, seen).await?
            }
        };
        let authorized = authorized.with_request(request, body);
        self.generation.gateway.redeem(authorized, &Taken::default(), now).await
    }

    fn request(
        &self,
        test: &PolicyTest,
        token: Option<&str>,
        nonce: Option<&HeaderValue>,
        now: UnixTime,
    ) -> Result<Parts, token::Unable> {
        let call = &test.call;
        let mut request = Request::new(());
        *request.method_mut() = call.method.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = call.uri.clone();
        *request.headers_mut() = call.headers.clone();
        let (mut parts, ()) = request.into_parts();
        if let (Some(token), Some(given)) = (token, &test.token) {
            let scheme = scheme(given.binding);
            let field = HeaderValue::try_from(format!("{} {token}", scheme.as_str()));
            parts.headers.append(header::AUTHORIZATION, field.map_err(|_| token::Unable)?);
            if scheme == Scheme::Dpop && given.binding != Binding::MissingProof {
                let proof = self.clients.proof(call, token, nonce, now)?;
                parts.headers.append("dpop", HeaderValue::try_from(proof).map_err(|_| token::Unable)?);
            }
        }
        Ok(parts)
    }

    /// Who makes the call. A client that needs no certificate has one where no handshake succeeds without.
    fn peer(&self, token: Option<&GivenToken>, host: &VirtualHost, made: Option<&Arc<ClientCertificate>>) -> Peer {
        let has_one = match token.map(|given| given.binding) {
            Some(Binding::Certificate | Binding::Both | Binding::AnotherCertificate | Binding::None) => true,
            Some(Binding::MissingCertificate) => false,
            Some(Binding::Dpop | Binding::AnotherKey | Binding::MissingProof) | None => {
                host.trusted_proxy.is_none()
                    && matches!(
                        host.tls.client_certificates,
                        ClientCertificates::Requested { demand: Demand::Required, .. }
                    )
            }
        };
        let certificate = made.cloned().or_else(|| has_one.then(|| self.clients.certificate().clone()));
        match (certificate, &host.trusted_proxy, &host.tls.client_certificates) {
            (Some(certificate), Some(_), _) => Peer::Forwarded(certificate),
            (None, Some(_), _) => Peer::Anonymous(NoCertificate::NotForwarded),
            (_, None, ClientCertificates::None) => Peer::Anonymous(NoCertificate::NotRequested),
            (Some(certificate), None, ClientCertificates::Requested { .. }) => Peer::Certificate(certificate),
            (None, None, ClientCertificates::Requested { .. }) => Peer::Anonymous(NoCertificate::NotPresented),
        }
    }
}

/// Whether the call would have been decided otherwise with another certificate, or with one.
fn asks_for_certificate(test: &PolicyTest, found: &Found) -> bool {
    let code = match found.decision {
        Decision::Refuse(code) => Some(code),
        Decision::Permit | Decision::Preflight | Decision::Metadata => found.would_deny,
    };
    let has_none = test.token.as_ref().is_some_and(|given| given.binding == Binding::MissingCertificate);
    // A client whose token needs no certificate may come without one, and then the policy of the route asks for it.
    let by_policy = matches!(found.cause, Some(Cause::Policy(PolicyError::CertificateMissing { .. })));
    !has_none && (by_policy || code.is_some_and(Code::is_about_certificates))
}

/// The scheme with which a token is sent.
const fn scheme(binding: Binding) -> Scheme {
    match binding {
        Binding::Dpop | Binding::Both | Binding::AnotherKey | Binding::MissingProof => Scheme::Dpop,
        Binding::Certificate | Binding::AnotherCertificate | Binding::MissingCertificate | Binding::None => {
            Scheme::Bearer
        }
    }
}
