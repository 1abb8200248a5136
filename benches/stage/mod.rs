//! A gateway that decides without a network: with the keys of an issuer, a client and its tokens.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fapi::UnixTime;
use fapi::message::{Facts, Limits};
use fapi::peer::{ClientCertificate, Peer};
use fapi::permit::{Judged, Permit};
use fapi::rejection::Cause;
use fapi::route::Origins;
use fapi_gateway::authorization_server::AuthorizationServers;
use fapi_gateway::clock::Clock;
use fapi_gateway::config::Config;
use fapi_gateway::consents::Consents;
use fapi_gateway::gateway::{Client, Gateway, Verdict};
use fapi_gateway::idempotency::IdempotencyKeys;
use fapi_gateway::issuer::Issuers;
use fapi_gateway::replay::ReplayLog;
use fapi_gateway::replay::keys::KnownKeys;
use fapi_gateway::replay::memory::{Capacity, MemoryLog};
use fapi_gateway::signatures::ClientKeySets;
use http::request::Parts;
use http::{Request, Version};
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::pki::{Authority, Credential};
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::{Value, json};
use tokio::runtime::Handle;

/// The gateway, and who sends it requests.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) issuer: AuthorizationServer,
    pub(crate) client: Credential,
    /// When tokens are made and judged.
    pub(crate) now: u64,
    pub(crate) origins: Origins,
    pub(crate) peer: Peer,
}

/// A request, and its head as it was sent.
pub(crate) struct Sent {
    pub(crate) request: Parts,
    head: String,
}

/// How much there is beside what the requests need.
#[derive(Clone, Default)]
pub(crate) struct More {
    /// Routes with paths of their own, `/more/0/*/items/**` and so on.
    pub(crate) routes: usize,
    /// Issuers with identifiers of their own and the same keys.
    pub(crate) issuers: usize,
    /// The metadata of clients of an authorization server at the origin of the routes; without any, there is none.
    pub(crate) clients: Vec<Value>,
}

impl Stage {
    /// Starts the issuer and reads its keys, within a runtime that goes on running.
    pub(crate) async fn set() -> Self {
        Self::set_with(More::default()).await
    }

    /// Like [`set`](Self::set), with more than is needed.
    pub(crate) async fn set_with(more: More) -> Self {
        let _ = fapi_gateway::connection::tls::install_provider();
        let authority = Authority::new("Bench CA");
        let issuer = AuthorizationServer::start(&authority).expect("an authorization server");
        let client = authority.client("client-1");
        let folder = std::env::temp_dir().join(format!("fapi-gateway-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let server = authority.server(&["localhost"]);
        write(&folder, "ca.pem", &authority.pem());
        write(&folder, "server.pem", &server.certificate_pem());
        write(&folder, "server-key.pem", &server.key_pem());
        let gateway_key = SigningKey::generate(KeyKind::Es256, "gateway");
        write(&folder, "gateway.pem", &gateway_key.private_key_pem());
        issuer.register("gateway", ResourceServer::Key(gateway_key));
        let audience = AuthorizationServer::AUDIENCE;
        let (keys, trusted) = (issuer.url(AuthorizationServer::JWKS), "trust_anchors: [ca.pem]");
        let issuers: String = (0..more.issuers)
            .map(|number| {
                format!(
                    "  - {{ name: more-{number}, issuer: \"https://as-{number}.bank.example\", audiences: [\"{audience}\"], tokens: jwt, jwks_uri: \"{keys}\", {trusted} }}\n"
                )
            })
            .collect();
        let all: String = (0..more.issuers).map(|number| format!(", more-{number}")).collect();
        let routes: Vec<String> = (0..more.routes)
            .map(|number| {
                format!(
                    "  - {{ name: more-{number}, path: /more/{number}/*/items/**, methods: [GET], scopes: [accounts], issuers: [bank], upstream: accounts }}\n"
                )
            })
            .collect();
        // A file has at most 1 MiB.
        let included: Vec<String> =
            (0..routes.len().div_ceil(5000)).map(|file| format!("routes-{file}.yaml")).collect();
        for (name, routes) in included.iter().zip(routes.chunks(5000)) {
            write(&folder, name, &format!("routes:\n{}", routes.concat()));
        }
        let server = if more.clients.is_empty() { "" } else { SERVER };
        std::fs::create_dir_all(folder.join("clients")).expect("a folder");
        for (number, client) in more.clients.iter().enumerate() {
            write(&folder, &format!("clients/{number}.json"), &client.to_string());
        }
        let include = if included.is_empty() { String::new() } else { format!("include: [{}]", included.join(", ")) };
        write(
            &folder,
            "gateway.yaml",
            &format!(
                r#"profile: fapi2-security
listeners:
  - address: 127.0.0.1:0
    origins: ["https://api.bank.example"]
    tls: {{ certificate: server.pem, private_key: server-key.pem, client_certificates: {{ mode: required, trust_anchors: [ca.pem] }} }}
issuers:
  - {{ name: bank, issuer: "{0}", audiences: ["{1}"], tokens: jwt, trust_anchors: [ca.pem] }}
  - name: asked
    issuer: "{0}"
    audiences: ["{1}"]
    tokens: introspection
    trust_anchors: [ca.pem]
    introspection: {{ client_id: gateway, authentication: {{ method: private_key_jwt, private_key: gateway.pem }}, cache: {{ max_age: 1h }} }}
{issuers}upstreams:
  accounts: {{ servers: ["http://127.0.0.1:9"] }}
routes:
  - {{ name: accounts, path: /accounts/**, methods: [GET], scopes: [accounts], issuers: [bank], upstream: accounts }}
  - {{ name: balances, path: /balances/**, methods: [GET], scopes: [accounts], issuers: [asked], upstream: accounts }}
  - name: required
    path: /required/{{account_id}}
    methods: [GET]
    scopes: [accounts]
    issuers: [bank]
    upstream: accounts
    require:
      clients: {{ deny: [another-client] }}
      subject: required
      token_lifetime: 1h
      claims:
        - {{ claim: /consent/status, equals: authorised }}
        - {{ claim: /roles, contains: AISP }}
        - {{ claim: /level, one_of: [2, 3] }}
      authorization_details:
        - {{ type: account_information, actions: [read_balances], match: [{{ detail: /accounts, contains: {{ path: account_id }} }}] }}
        - {{ type: account_view, match: [{{ detail: /view, equals: {{ query: view }} }}, {{ detail: /methods, contains: {{ method: true }} }}] }}
        - {{ type: location, locations: ["https://api.bank.example/required"], privileges: [holder] }}
      authentication: {{ acr: ["urn:bank:loa3"], max_age: 1h }}
  - {{ name: any, path: /any/**, methods: [GET], scopes: [accounts], issuers: [bank{all}], upstream: accounts }}
{server}{include}
"#,
                issuer.issuer(),
                audience
            ),
        );
        let mut config = Config::load(&folder.join("gateway.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
        std::fs::remove_dir_all(&folder).expect("the temporary folder");
        let issuers = Arc::new(Issuers::new(config.issuers, config.token_cache, Arc::new(())).expect("issuers"));
        let background = issuers.clone();
        Handle::current().spawn(async move { background.keep_fresh().await });
        while !issuers.ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let origins = config.listeners.remove(0).hosts.remove(0).origins;
        let limits = Limits { header_bytes: 32 * 1024, header_count: 100, token_bytes: 16 * 1024, body_bytes: 1024 };
        let now = now();
        let gateway = Gateway {
            client_keys: ClientKeySets::default(),
            consents: Consents::default(),
            participants: Arc::new(()),
            authorization_servers: AuthorizationServers::new(
                config.authorization_servers,
                &[],
                &Clock::from_fn(move || Duration::from_secs(now)),
                None,
            )
            .expect("an authorization server, or none"),
            routes: config.routes,
            metadata: config.metadata,
            errors: config.errors,
            issuers,
            body_bytes: limits.body_bytes,
            limits,
            strip: config.strip,
            freshness: config.freshness,
            rate_limits: None,
            proof_keys: Arc::new(KnownKeys::new(1000)),
            replay: Arc::new(ReplayLog::new(
                MemoryLog::new(Capacity { total: 100_000_000, per_key: 100_000_000 }, UnixTime(0)),
                Arc::new(()),
                // Requests are made for the same second, however long it takes to make many.
                Clock::from_fn(move || Duration::from_secs(now)),
            )),
            shared_replay: None,
            idempotency_keys: Arc::new(IdempotencyKeys::new(
                Capacity { total: 1000, per_key: 1000 },
                Clock::from_fn(move || Duration::from_secs(now)),
            )),
        };
        let peer =
            Peer::Certificate(Arc::new(ClientCertificate::from_der(&client.chain_der[0]).expect("a certificate")));
        Self { gateway, issuer, client, now, origins, peer }
    }

    /// A token for the client's certificate.
    pub(crate) fn token(&self) -> String {
        self.issuer.token(self.now).bound_to_certificate(&self.client).sign(self.issuer.key(KeyKind::Es256))
    }

    /// The same with what `/required/1001?view=full` needs beside a scope.
    #[allow(dead_code, reason = "not every bench has requirements")]
    pub(crate) fn token_with_more(&self) -> String {
        let token = self.issuer.token(self.now).bound_to_certificate(&self.client);
        let token = token.claim("iat", self.now).claim("exp", self.now + 600).claim("auth_time", self.now);
        let token = token.claim("acr", "urn:bank:loa3").claim("level", 3).claim("roles", json!(["PISP", "AISP"]));
        let token = token.claim("consent", json!({ "id": "consent-1", "status": "authorised" }));
        let details = json!([
            { "type": "account_information", "actions": ["read_balances"], "accounts": ["1002", "1001"] },
            { "type": "account_view", "view": "full", "methods": ["GET", "HEAD"] },
            { "type": "location", "locations": ["https://api.bank.example/required"], "privileges": ["holder"] },
        ]);
        token.claim("authorization_details", details).sign(self.issuer.key(KeyKind::Es256))
    }

    /// A request with these credentials, and with a proof if there is one.
    pub(crate) fn sent(&self, path: &str, authorization: &str, proof: Option<&str>) -> Sent {
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: api.bank.example\r\nAuthorization: {authorization}\r\n");
        let mut request = Request::get(path).version(Version::HTTP_11).header("host", "api.bank.example");
        request = request.header("authorization", authorization);
        if let Some(proof) = proof {
            head.push_str(&format!("DPoP: {proof}\r\n"));
            request = request.header("dpop", proof);
        }
        let (request, ()) = request.body(()).expect("a request").into_parts();
        Sent { request, head: head + "\r\n" }
    }

    /// The whole decision, as the proxy has it made for a request whose body need not be read.
    pub(crate) async fn decide(&self, sent: &Sent) -> Result<Permit, Cause> {
        let (head, now) = (Some(sent.head.as_bytes()), UnixTime(self.now));
        let facts = Facts { version: Version::HTTP_11, raw_h1: head, server_name: Some("api.bank.example") };
        let client = Client { peer: &self.peer, verified_chain: true, address: None };
        match self.gateway.authorize(&sent.request, &facts, &self.origins, None, client, now).await {
            Ok((Verdict::Judged(Judged::Authorized(authorized), taken), _)) => {
                self.gateway.redeem(authorized, &taken, now).await
            }
            Ok((
                Verdict::Judged(
                    Judged::AwaitsForm(_)
                    | Judged::AwaitsBody(_)
                    | Judged::AwaitsSignature(_)
                    | Judged::AwaitsConsent(_)
                    | Judged::AwaitsParameters(_),
                    _,
                )
                | Verdict::Preflight(_)
                | Verdict::Metadata(_),
                _,
            )) => {
                unreachable!("no request here has a body, is a preflight or is for metadata")
            }
            Err(rejection) => panic!("{}", rejection.cause()),
        }
    }

    /// The decision when everything is in memory.
    pub(crate) fn decide_at_once(&self, sent: &Sent) -> Permit {
        let decision = pin!(self.decide(sent));
        match decision.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(permit)) => permit,
            Poll::Ready(Err(cause)) => panic!("{cause}"),
            Poll::Pending => panic!("a warm decision waits for nothing"),
        }
    }
}

const SERVER: &str = "authorization_servers:
  - name: as
    issuer: https://api.bank.example
    upstream: accounts
    endpoints: { pushed_authorization_request: /par, authorization: /authorize, token: /token }
    clients: { directory: clients }
";

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a temporary file");
}

#[expect(clippy::disallowed_methods, reason = "tokens are made for the wall clock")]
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}
