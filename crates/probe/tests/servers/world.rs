//! A server, the settings to probe it, and the verdict of one module.

use std::sync::Arc;
use std::time::Duration;

use fapi::jose::keys::KeySet;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use probe::authorization::Source;
use probe::module::Module;
use probe::plan::Plan;
use probe::report::{Module as ModuleReport, Report, Verdict};
use probe::run::{Watch, run};
use probe::settings::{Certificate, Claims, Client, Issuer, Limits, Nonce, Resource, Settings, Target, Write};
use rustls::RootCertStore;
use sandbox::https::{Answer, HttpServer, Recorded};
use sandbox::keys::{KeyKind, SigningKey};
use sandbox::pki::{Authority, Credential};
use sandbox::tls::danger_tls_config_with_any_client;
use sandbox::tokens::jwks;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// What a server answers.
pub(crate) type Handler = Arc<dyn Fn(Recorded) -> Answer + Send + Sync>;
/// What a wrong server makes of a right answer.
pub(crate) type Wrong = fn(&Recorded, Answer) -> Answer;
/// What a row of a table adds to the settings.
pub(crate) type Adjust = fn(&mut Settings);

/// The audience of tokens, and the base of the resource.
pub(crate) const AUDIENCE: &str = "https://localhost/r4";

/// Keys and certificates of one test.
pub(crate) struct World {
    runtime: Runtime,
    authority: Authority,
    certificates: [Credential; 2],
    proof_keys: [SigningKey; 2],
    pub(crate) signing_keys: [SigningKey; 2],
    pub(crate) issuer: SigningKey,
    pub(crate) server: SigningKey,
}

impl World {
    pub(crate) fn new(kind: KeyKind) -> Self {
        let authority = Authority::new("probe");
        let two = |name: &str| [SigningKey::generate(kind, name), SigningKey::generate(kind, &format!("{name}-2"))];
        Self {
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
            certificates: [authority.client("one"), authority.client("two")],
            authority,
            proof_keys: two("proof"),
            signing_keys: two("signing"),
            issuer: SigningKey::generate(KeyKind::Es256, "issuer"),
            server: SigningKey::generate(kind, "server"),
        }
    }

    /// Runs one module against a server.
    pub(crate) fn report(
        &self,
        plan: Plan,
        module: &str,
        handler: Handler,
        adjust: &dyn Fn(&mut Settings),
    ) -> ModuleReport {
        let _runtime = self.runtime.enter();
        let tls = danger_tls_config_with_any_client(&self.authority.server(&["localhost"]));
        let server = HttpServer::start(None, Some(tls), handler).unwrap();
        let mut settings = self.settings(&server, plan);
        adjust(&mut settings);
        let report = run(&settings, &[module.to_owned()], "", None, &mut Silent);
        let [module] = <[ModuleReport; 1]>::try_from(report.modules).unwrap();
        module
    }

    /// Runs all modules of a plan against a server, and gives the transcript too.
    pub(crate) fn run(&self, plan: Plan, handler: Handler, adjust: &dyn Fn(&mut Settings)) -> (Report, Vec<u8>) {
        let _runtime = self.runtime.enter();
        let tls = danger_tls_config_with_any_client(&self.authority.server(&["localhost"]));
        let server = HttpServer::start(None, Some(tls), handler).unwrap();
        let mut settings = self.settings(&server, plan);
        adjust(&mut settings);
        let mut transcript = Vec::new();
        let report = run(&settings, &[], "", Some(&mut transcript), &mut Silent);
        (report, transcript)
    }

    /// Runs one module against a right server, a wrong one, one that refuses everything and a dead one.
    pub(crate) fn prove(&self, plan: Plan, row: &Row, adjust: &dyn Fn(&mut Settings), right: &Handler) {
        let (Row { module, wrong, verdict, .. }, name) = (*row, row.module);
        let judge = |what: &str, handler: Handler, expected: &[Verdict]| {
            let report = self.report(plan, module, handler, adjust);
            assert!(expected.contains(&report.verdict), "{name} at {plan}, {what}: {report:#?}");
        };
        judge("right", Arc::clone(right), &[Verdict::Pass]);
        let inner = Arc::clone(right);
        judge("wrong", Arc::new(move |request| wrong(&request, inner(request.clone()))), &[verdict]);
        judge("dead", Arc::new(|_| Answer::resetting()), &[Verdict::Inconclusive]);
        // Who refuses everything has shown nothing, except for what has to be accepted.
        let refusing = |_| Answer::status(StatusCode::UNAUTHORIZED);
        judge("refusing", Arc::new(refusing), &[Verdict::Inconclusive, Verdict::Fail]);
    }

    /// Why the token of a request is refused.
    pub(crate) fn token_of(&self) -> impl Fn(&Recorded) -> Token + Send + Sync + use<> {
        let keys = KeySet::parse(jwks(&[&self.issuer]).to_string().as_bytes()).unwrap();
        move |request| {
            let value = request.header("authorization").unwrap_or_default();
            let Some((_, token)) = value.split_once(' ') else { return Token::Missing };
            let Some((input, signature)) = token.rsplit_once('.') else { return Token::Invalid };
            let signed = keys
                .candidates(None, fapi::jose::keys::Algorithm::Es256)
                .any(|key| key.verifies(input.as_bytes(), signature));
            let claims = if signed { payload(token) } else { Value::Null };
            let time = |name: &str| claims[name].as_u64().unwrap_or_default();
            match () {
                () if !signed || claims["aud"] != AUDIENCE => Token::Invalid,
                () if time("exp") <= sandbox::now() => Token::Expired,
                () => Token::Good { lifetime: time("exp").saturating_sub(time("iat")) },
            }
        }
    }

    fn settings(&self, server: &HttpServer, plan: Plan) -> Settings {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let client = |index: usize| Client {
            client_id: format!("client-{index}"),
            certificate: Some(Certificate {
                chain: self.certificates[index].chain_der.clone(),
                key: self.certificates[index].private_key(),
            }),
            proof_key: Some(self.proof_keys[index].clone()),
            signing_key: Some(self.signing_keys[index].clone()),
        };
        Settings {
            target: Target {
                url: server.url("/r4/accounts?page=1").parse().unwrap(),
                addresses: vec![server.address()],
                roots: Arc::new(roots),
            },
            plans: vec![plan],
            resource: Resource {
                method: Method::GET,
                fields: Vec::new(),
                scope: None,
                forbidden: None,
                write: Some(Write {
                    method: Method::POST,
                    path: "/r4/payments".to_owned(),
                    content_type: "application/json".to_owned(),
                    body: json!({ "aud": "https://api.example/payments", "iss": "bank" }).to_string().into_bytes(),
                }),
            },
            claims: Claims {
                certificate: true,
                dpop: true,
                nonce: Nonce::Never,
                nonce_lifetime: None,
                revocation: None,
                metadata: false,
                cors: None,
                interaction_id: true,
                signed_requests: true,
                signed_responses: true,
                certificate_required: false,
                private_authorities: false,
            },
            clients: [client(0), client(1)],
            expired: None,
            source: Source::Issuer,
            issuer: Some(Issuer {
                issuer: "https://as.example".to_owned(),
                audience: AUDIENCE.to_owned(),
                key: self.issuer.clone(),
                rsa_key: None,
                claims: serde_json::Map::new(),
            }),
            revoke: None,
            response_keys: Some(KeySet::parse(jwks(&[&self.server]).to_string().as_bytes()).unwrap()),
            contact: "probe@example.com".to_owned(),
            limits: Limits { rate: 10_000, total: 2_000, timeout: Duration::from_secs(5) },
            writes: true,
            dry: false,
        }
    }
}

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Missing,
    Invalid,
    Expired,
    Good { lifetime: u64 },
}

/// The claims of a JWT that nobody verified.
pub(crate) fn payload(token: &str) -> Value {
    use base64::Engine;
    let part = token.split('.').nth(1).unwrap_or_default();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// A module, what a wrong server does, and what is found there.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) module: &'static str,
    pub(crate) wrong: Wrong,
    pub(crate) verdict: Verdict,
    pub(crate) adjust: Adjust,
}

pub(crate) const fn row(module: &'static str, wrong: Wrong, verdict: Verdict) -> Row {
    Row { module, wrong, verdict, adjust: |_| {} }
}

/// Every module of a table is one of the plan's, and the other way round.
pub(crate) fn is_complete<'r>(modules: &[Module], rows: impl Iterator<Item = &'r str>) {
    let mut rows: Vec<&str> = rows.collect();
    rows.sort_unstable();
    rows.dedup();
    let mut names: Vec<&str> = modules.iter().map(|module| module.name).collect();
    names.sort_unstable();
    assert_eq!(names, rows);
}

/// The same answer with another value of a field.
pub(crate) fn with_field(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers.retain(|(field, _)| *field != name);
    answer.header(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
}

/// The same without it.
pub(crate) fn without_field(mut answer: Answer, name: &str) -> Answer {
    answer.headers.retain(|(field, _)| *field != name);
    answer
}

struct Silent;

impl Watch for Silent {
    fn begins(&mut self, _: usize, _: usize, _: &Module) {}
    fn ended(&mut self, _: usize, _: usize, _: &ModuleReport) {}
}
