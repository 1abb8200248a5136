//! The text of an explanation: one paragraph for each step that the call came to.

use std::fmt::Write as _;
use std::sync::Arc;

use fapi::UnixTime;
use fapi::code::Code;
use fapi::credentials::Scheme;
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::metadata::Document;
use fapi::peer::ClientCertificate;
use fapi::policy::{NonceMode, Policy};
use fapi::rejection::{Cause, Rejection, Seen};
use fapi::route::Route;
use fapi::signature::rules::Presence;
use fapi::step::Step;
use fapi::token::{ActiveToken, Claims, Confirmation};
use serde_json::Value;

use super::claimed::{Jws, shown};
use super::{Call, Ended, needs_answer};
use crate::config::{Config, VirtualHost};
use crate::connection::tls::{ClientCertificates, Demand, Reason, Trust};

/// What the configuration says, as far as it is shown.
pub(super) struct Surroundings {
    origins: Vec<String>,
    /// One line for each listener, issuer, route, waiver and document of `metadata`, and one for `signing`.
    summary: Vec<String>,
    issuers: Vec<Issuer>,
    /// What the listener of the call asks of clients.
    handshake: String,
    /// How old a proof without a nonce may be, and how far ahead, in seconds.
    fresh: (u64, u64),
    now: UnixTime,
}

struct Issuer {
    name: String,
    issuer: String,
    introspected: bool,
    /// The claim that names the client, and the one that says what kind of token it is.
    client_claim: String,
    kind_claim: Option<String>,
}

impl Surroundings {
    pub(super) fn of(config: &Config, call: &Call) -> Self {
        let hosts = || config.listeners.iter().flat_map(|listener| &listener.hosts);
        let origins = hosts().flat_map(|host| host.origins.iter().map(|origin| origin.as_str().to_owned())).collect();
        let issuers = config.issuers.iter().map(|issuer| Issuer {
            name: issuer.expected.name.to_string(),
            issuer: issuer.expected.issuer.to_string(),
            introspected: issuer.introspection.is_some(),
            client_claim: issuer.expected.form.client_claim().to_owned(),
            kind_claim: issuer.expected.form.kind_claim().map(str::to_owned),
        });
        let host = hosts().find(|host| call.is_for(&host.origins)).or_else(|| hosts().next());
        Self {
            origins,
            summary: config.summary().to_vec(),
            issuers: issuers.collect(),
            handshake: host.map(asked).unwrap_or_default(),
            fresh: (config.freshness.max_age, config.freshness.clock_skew),
            now: call.now,
        }
    }

    /// What `check` says of one thing.
    fn summary_of(&self, kind: &str, name: &str) -> String {
        let beginning = format!("{kind} {name}: ");
        let line = self.summary.iter().find_map(|line| line.strip_prefix(&beginning));
        format!("{kind} {name}: {}", line.unwrap_or_default())
    }
}

/// Writes the explanation of one call.
pub(super) struct Report<'a> {
    call: &'a Call,
    surroundings: &'a Surroundings,
    /// Whether issuers were asked.
    fetch: bool,
    /// Why something could not be read from the issuer of the call.
    unread: Option<String>,
}

impl<'a> Report<'a> {
    pub(super) const fn new(
        call: &'a Call,
        surroundings: &'a Surroundings,
        fetch: bool,
        unread: Option<String>,
    ) -> Self {
        Self { call, surroundings, fetch, unread }
    }

    pub(super) fn text(&self, ended: &Ended) -> String {
        // A query may have a token, and decides nothing but whether it has one.
        let query = if self.call.uri.query().is_some() { "?..." } else { "" };
        let mut text = format!("{} {}{query}\n\n", self.call.method, without_query(self.call));
        let nothing = Seen::default();
        let (last, seen) = match ended {
            Ended::Handshake(..) => (Step::Handshake, &nothing),
            Ended::Refused(rejection) => (Step::of(rejection).unwrap_or(Step::Message), rejection.seen()),
            Ended::Described(_) => (Step::Route, &nothing),
            Ended::NoBody(seen) => (Step::Requirements, &**seen),
            Ended::NoSignature(seen) => (Step::Signature, &**seen),
            Ended::Permitted(permit, seen) => match (permit.token(), &self.call.proof) {
                (None, _) => (Step::Route, &**seen),
                (Some(_), None) => (Step::Requirements, &**seen),
                (Some(_), Some(_)) => (Step::Replay, &**seen),
            },
        };
        let policy = seen.route.as_deref().and_then(Route::policy);
        let requires = policy.is_some_and(|policy| !policy.requirements().is_empty());
        let signature = policy.and_then(Policy::signature).and_then(|rules| rules.request.as_ref());
        let looks_at_signatures = signature.is_some();
        let at_endpoint = seen.route.as_deref().is_some_and(|route| route.endpoint().is_some());
        let is_taken = |step: &Step| match step {
            Step::Handshake | Step::Message | Step::Route | Step::Replay => true,
            Step::Signature => looks_at_signatures,
            Step::Credentials | Step::Evidence | Step::Token | Step::Sender | Step::Scope => !at_endpoint,
            Step::Requirements => requires,
            Step::Parameters | Step::Client | Step::Answer => at_endpoint,
        };
        let steps = Step::ALL.into_iter().filter(|step| *step <= last && is_taken(step));
        for step in steps {
            let outcome = match ended {
                Ended::Permitted(..) | Ended::Described(_) => "ok",
                Ended::Refused(_) | Ended::NoBody(_) | Ended::NoSignature(_) | Ended::Handshake(..) if step < last => {
                    "ok"
                }
                Ended::NoBody(_) | Ended::NoSignature(_) => "not decided",
                Ended::Refused(rejection) if self.undecided(rejection) => "not decided",
                Ended::Refused(_) | Ended::Handshake(..) => "REFUSED",
            };
            let (expected, found) = match ended {
                Ended::Handshake(Reason::NameUnknown, _) => self.server_name(),
                Ended::Described(document) if step == Step::Route => self.metadata(document),
                Ended::Handshake(..)
                | Ended::Refused(_)
                | Ended::NoBody(_)
                | Ended::NoSignature(_)
                | Ended::Permitted(..)
                | Ended::Described(_) => self.step(step, seen),
            };
            let _ = write!(text, "{:<12} {outcome}\n  expected   {expected}\n  seen       {found}\n", step.as_str());
        }
        text.push('\n');
        text.push_str(&self.end(ended));
        text
    }

    /// How the call ends, and why.
    pub(super) fn end(&self, ended: &Ended) -> String {
        let mut text = String::new();
        let _ = match ended {
            Ended::Permitted(permit, _) => {
                let noted = permit.would_deny().map(|noted| {
                    format!("The route is in shadow, and would refuse this: {}: {}\n", noted.code(), noted.detail())
                });
                write!(&mut text, "ok: forwarded to upstream {}\n{}", permit.upstream().name, noted.unwrap_or_default())
            }
            Ended::Described(_) => {
                writeln!(&mut text, "ok: answered by the gateway, whoever asks; the token is not looked at")
            }
            Ended::NoBody(_) => {
                writeln!(
                    &mut text,
                    "not decided: the route compares the body with the token\nGive the body with --body FILE."
                )
            }
            Ended::NoSignature(_) => {
                writeln!(
                    &mut text,
                    "not decided: the route requires a signature of the request, and a call that is explained has none\nJudge that with `verify`."
                )
            }
            Ended::Handshake(reason, detail) => {
                writeln!(
                    &mut text,
                    "handshake {}: the connection fails before there is a call; {detail}",
                    reason.as_str()
                )
            }
            Ended::Refused(rejection) if self.undecided(rejection) => {
                writeln!(&mut text, "not decided: {}\n{}", rejection.cause(), self.way_out(rejection))
            }
            Ended::Refused(rejection) => self.refused(&mut text, rejection),
        };
        text
    }

    fn refused(&self, text: &mut String, rejection: &Rejection) -> std::fmt::Result {
        let code = rejection.code();
        writeln!(text, "{code}: {}", rejection.cause())?;
        if let Some(unread) = &self.unread {
            writeln!(text, "{unread}")?;
        }
        let error = code.oauth_error().map(|error| format!(" {}", error.as_str())).unwrap_or_default();
        writeln!(text, "{}\nThe client sees {}{error}.", code.meaning(), rejection.status().as_u16())
    }

    /// Whether the call cannot be judged because issuers and directories were not asked.
    fn undecided(&self, rejection: &Rejection) -> bool {
        !self.fetch && needs_answer(rejection.cause())
    }

    /// The server name that the handshake expects, and the one that it saw.
    fn server_name(&self) -> (String, String) {
        let name =
            self.call.server_name().map_or_else(|| "no server name".to_owned(), |name| format!("server name {name}"));
        (format!("a server name of the origins: {}", self.surroundings.origins.join(", ")), name)
    }

    /// What the path of a document means, and what it is.
    fn metadata(&self, document: &Document) -> (String, String) {
        let expected = self.surroundings.summary_of("metadata", document.identifier().as_str());
        (expected, format!("{} {}", self.call.method, self.call.uri.path()))
    }

    /// What would decide the call.
    fn way_out(&self, rejection: &Rejection) -> &'static str {
        if rejection.code() == Code::ConsentUnavailable {
            return "The service in `consents` would have to be asked about the consent: --fetch does it.";
        }
        if matches!(rejection.cause(), Cause::Policy(_)) {
            return "The directory would have to be read: --fetch does it.";
        }
        let policy = rejection.seen().route.as_deref().and_then(Route::policy);
        match self.claimed_issuer(policy).filter(|issuer| !issuer.introspected) {
            Some(_) => {
                "The keys of the issuer would have to be read: give them with --jwks FILE, or let them be read with --fetch."
            }
            None => "The issuer would have to be asked about the token: --fetch does it.",
        }
    }

    /// The issuers whose tokens the route accepts.
    fn accepted(&self, policy: Option<&Policy>) -> impl Iterator<Item = &Issuer> {
        let accepted = policy.map(Policy::issuers).unwrap_or_default().to_vec();
        accepted.into_iter().filter_map(|index| self.surroundings.issuers.get(index.0))
    }

    /// The one of them that the token says it is from.
    fn claimed_issuer(&self, policy: Option<&Policy>) -> Option<&Issuer> {
        let jws = self.call.jws()?;
        let claimed = jws.claim("iss")?.as_str()?;
        self.accepted(policy).find(|issuer| issuer.issuer == claimed)
    }

    /// What a step expects, and what it saw.
    fn step(&self, step: Step, seen: &Seen) -> (String, String) {
        let call = self.call;
        let route = seen.route.as_deref();
        let policy = route.and_then(Route::policy);
        match step {
            Step::Handshake => (self.surroundings.handshake.clone(), certificate(call.certificate.as_deref())),
            Step::Message => {
                let authority = call.uri.authority().map_or("", |authority| authority.as_str());
                (format!("an origin of this gateway: {}", self.surroundings.origins.join(", ")), authority.to_owned())
            }
            Step::Route => {
                let expected = match route {
                    Some(route) => self.surroundings.summary_of("route", &route.name),
                    None => {
                        let routes = self.surroundings.summary.iter().filter(|line| line.starts_with("route "));
                        format!("one of the routes\n{}", indented(routes.map(String::as_str)))
                    }
                };
                (expected, format!("{} {}", call.method, call.uri.path()))
            }
            Step::Credentials => (schemes(policy), format!("{} and one token", call.scheme().as_str())),
            Step::Evidence => self.evidence(policy),
            Step::Token => self.token(policy),
            Step::Sender => self.sender(policy, seen.token.as_deref()),
            Step::Scope => {
                let claims = self.claims(seen);
                let scopes = claims.map(|claims| claims.scopes().collect::<Vec<_>>().join(" ")).unwrap_or_default();
                let expected = policy.map(Policy::scopes_shown).unwrap_or_default();
                (format!("scope {expected}"), format!("scope {scopes:?}"))
            }
            Step::Requirements => {
                let requirements = policy.map(Policy::requirements);
                let found =
                    requirements.zip(self.claims(seen)).map(|(requirements, claims)| requirements.found(&claims));
                (requirements.map(ToString::to_string).unwrap_or_default(), found.unwrap_or_default())
            }
            Step::Parameters => (
                "a form that the profile of the authorization server allows".to_owned(),
                format!("a body of {} bytes", call.body.as_ref().map_or(0, Vec::len)),
            ),
            Step::Client => (
                "a client that is registered and authenticated".to_owned(),
                seen.client_id.as_deref().map_or_else(|| "none".to_owned(), |id| format!("client {id}")),
            ),
            Step::Answer => ("an answer that is bound to the client".to_owned(), "nothing was forwarded".to_owned()),
            Step::Signature => {
                let rules = policy.and_then(Policy::signature).and_then(|rules| rules.request.as_ref());
                let needed = rules.is_some_and(|rules| rules.presence == Presence::Required);
                let expected =
                    if needed { "a signature of the token's client" } else { "a signature that holds, or none" };
                (expected.to_owned(), "none".to_owned())
            }
            Step::Replay => (
                "a proof that was not used before".to_owned(),
                "only the running gateway knows; taken as its first use here".to_owned(),
            ),
        }
    }

    fn claims(&self, seen: &Seen) -> Option<Arc<Claims>> {
        seen.token.as_deref()?.claims_at(self.surroundings.now).ok().cloned()
    }

    fn evidence(&self, policy: Option<&Policy>) -> (String, String) {
        let call = self.call;
        let Some(proof) = &call.proof else {
            let expected = match policy.map(|policy| policy.schemes()) {
                Some([Scheme::Bearer]) => "a certificate",
                Some(_) | None => "nothing: the token says what it is bound to",
            };
            return (expected.to_owned(), certificate(call.certificate.as_deref()));
        };
        let expected = format!("a DPoP proof for this token, {} {}", call.method, without_query(call));
        let found = match Jws::read(proof) {
            Some(proof) => {
                let key = key_of(&proof).map_or_else(|| "no usable jwk".to_owned(), |key| format!("by key {key}"));
                let age = self.age(&proof).map(|age| format!(" ({age})")).unwrap_or_default();
                format!("{}{age}, {key}", proof.list(&["typ", "alg"], &["htm", "htu", "ath", "nonce", "iat"]))
            }
            None => "not a JWS".to_owned(),
        };
        (expected, found)
    }

    fn token(&self, policy: Option<&Policy>) -> (String, String) {
        let surroundings = self.surroundings;
        let issuer = self.claimed_issuer(policy);
        let expected = match issuer {
            Some(issuer) => surroundings.summary_of("issuer", &issuer.name),
            None => {
                let issuers: Vec<String> =
                    self.accepted(policy).map(|issuer| surroundings.summary_of("issuer", &issuer.name)).collect();
                format!("a token of one of the issuers of the route\n{}", indented(issuers.iter().map(String::as_str)))
            }
        };
        let Some(jws) = self.call.jws() else {
            return (expected, format!("not a JWS: an opaque token of {} bytes", self.call.token.len()));
        };
        let client = issuer.map_or("client_id", |issuer| &*issuer.client_claim);
        let mut found = jws.list(&["typ", "alg", "kid"], &["iss", "aud", client]);
        if let Some(kind) = issuer.and_then(|issuer| issuer.kind_claim.as_deref()) {
            // The header may have a member of the same name, as `typ` is.
            let _ = match jws.claim(kind) {
                Some(value) => write!(found, ", claim {kind} {}", shown(value)),
                None => write!(found, ", no claim {kind}"),
            };
        }
        for name in ["iat", "nbf", "exp"] {
            match (jws.claim(name), jws.claim(name).and_then(Value::as_f64)) {
                (Some(value), Some(seconds)) => {
                    // Far beyond any time that is shown, the whole part is all that counts.
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
                    let at = UnixTime(seconds as u64);
                    let _ = write!(found, ", {name} {} ({})", shown(value), self.ago(at));
                }
                (Some(value), None) => {
                    let _ = write!(found, ", {name} {}", shown(value));
                }
                (None, _) if name == "nbf" => {}
                (None, _) => {
                    let _ = write!(found, ", no {name}");
                }
            }
        }
        (expected, found)
    }

    fn sender(&self, policy: Option<&Policy>, token: Option<&ActiveToken>) -> (String, String) {
        let cnf = token.and_then(|token| token.claims_for_audit().get("cnf"));
        let expected = match Confirmation::from_claim(cnf) {
            Ok(confirmation) => {
                let certificate = confirmation.certificate().map(|thumbprint| format!("certificate {thumbprint}"));
                let fresh = self.fresh(policy);
                let key = confirmation.key().map(|thumbprint| format!("a proof by key {thumbprint}, {fresh}"));
                let both: Vec<String> = certificate.into_iter().chain(key).collect();
                format!("what the token is bound to: {}", both.join(" and "))
            }
            Err(_) => "a token that is bound: cnf with x5t#S256 or jkt".to_owned(),
        };
        let proof = self.call.proof.as_deref().and_then(Jws::read);
        let key = proof.as_ref().and_then(key_of);
        let made = proof.as_ref().and_then(|proof| self.age(proof)).map(|age| format!(", made {age}"));
        let proof = key
            .map_or_else(|| "no proof".to_owned(), |key| format!("a proof by key {key}{}", made.unwrap_or_default()));
        let bound = match cnf {
            Some(_) => String::new(),
            None => "; the token has no cnf".to_owned(),
        };
        (expected, format!("{}; {proof}{bound}", certificate(self.call.certificate.as_deref())))
    }

    /// When a proof has to be made.
    fn fresh(&self, policy: Option<&Policy>) -> String {
        let (max_age, skew) = self.surroundings.fresh;
        let window = format!("made at most {max_age}s before the call or {skew}s after it");
        match policy.map(Policy::nonce) {
            Some(NonceMode::Always) => "with a nonce of this gateway".to_owned(),
            Some(NonceMode::WhenStale) => format!("{window}, or with a nonce of this gateway"),
            Some(NonceMode::Never) | None => window,
        }
    }

    /// How long before or after the call a proof says it was made.
    fn age(&self, proof: &Jws) -> Option<String> {
        proof.claim("iat").and_then(Value::as_u64).map(|iat| self.ago(UnixTime(iat)))
    }

    /// How long before or after the call something is.
    fn ago(&self, at: UnixTime) -> String {
        let now = self.surroundings.now;
        let text = |seconds: u64| humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string();
        if at > now { format!("in {}", text(at.since(now))) } else { format!("{} ago", text(now.since(at))) }
    }
}

/// What a listener asks of its clients.
fn asked(host: &VirtualHost) -> String {
    match (&host.trusted_proxy, &host.tls.client_certificates) {
        (Some(_), _) => "a connection of the trusted proxy, which forwards the client's certificate".to_owned(),
        (None, ClientCertificates::None) => "no certificate is asked for".to_owned(),
        (None, ClientCertificates::Requested { demand, trust }) => {
            let trust = match trust {
                Trust::Chain { .. } => "that leads to a trust anchor of the listener",
                Trust::Possession => "of any issuer",
            };
            match demand {
                Demand::Optional => format!("no certificate, or one {trust}"),
                Demand::Required => format!("a certificate {trust}"),
            }
        }
    }
}

fn certificate(certificate: Option<&ClientCertificate>) -> String {
    certificate.map_or_else(
        || "no certificate".to_owned(),
        |certificate| format!("certificate {} of {:?}", certificate.thumbprint(), certificate.subject()),
    )
}

/// The key that a proof says it is by.
fn key_of(proof: &Jws) -> Option<KeyThumbprint> {
    KeyThumbprint::of_jwk(proof.header("jwk")?.as_object()?)
}

fn schemes(policy: Option<&Policy>) -> String {
    let schemes = policy.map(|policy| policy.schemes()).unwrap_or_default();
    let schemes: Vec<&str> = schemes.iter().map(|scheme| scheme.as_str()).collect();
    format!("one Authorization field with scheme {} and one token", schemes.join(" or "))
}

fn without_query(call: &Call) -> String {
    let text = call.uri.to_string();
    text.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn indented<'l>(lines: impl Iterator<Item = &'l str>) -> String {
    lines.map(|line| format!("             {line}")).collect::<Vec<_>>().join("\n")
}
