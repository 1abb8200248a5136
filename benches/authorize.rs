//! The cost of a decision when every cache is warm, for a certificate-bound JWT.
//!
//! For comparison, the same run measures SHA-256 of the token, which every decision includes, and one ES256
//! verification, against which ratios between machines can be compared.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fapi::message::{Facts, Limits};
use fapi::peer::{ClientCertificate, Peer};
use fapi::permit::{Judged, Permit};
use fapi::rejection::Cause;
use fapi::route::Origins;
use fapi::{UnixTime, sha256};
use fapi_gateway::clock::Clock;
use fapi_gateway::config::Config;
use fapi_gateway::gateway::{Client, Gateway, Verdict};
use fapi_gateway::issuer::Issuers;
use fapi_gateway::replay::ReplayLog;
use fapi_gateway::replay::keys::KnownKeys;
use fapi_gateway::replay::memory::{Capacity, MemoryLog};
use http::request::Parts;
use http::{Request, Version};
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::pki::Authority;
use sandbox::tokens::{self, KeyKind, SigningKey};

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a temporary file");
}

#[expect(clippy::disallowed_methods, reason = "tokens are made for the wall clock")]
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn authorize(criterion: &mut Criterion) {
    fapi_gateway::connection::tls::install_provider().expect("the first provider");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
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
upstreams:
  accounts: {{ servers: ["http://127.0.0.1:9"] }}
routes:
  - {{ name: accounts, path: /accounts/**, methods: [GET], scopes: [accounts], issuers: [bank], upstream: accounts }}
  - {{ name: balances, path: /balances/**, methods: [GET], scopes: [accounts], issuers: [asked], upstream: accounts }}
"#,
            issuer.issuer(),
            AuthorizationServer::AUDIENCE
        ),
    );
    let mut config = Config::load(&folder.join("gateway.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    std::fs::remove_dir_all(&folder).expect("the temporary folder");
    let issuers = Arc::new(Issuers::new(config.issuers, config.token_cache, Arc::new(())).expect("issuers"));
    let background = issuers.clone();
    runtime.spawn(async move { background.keep_fresh().await });
    runtime.block_on(async {
        while !issuers.ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let origins = config.listeners.remove(0).hosts.remove(0).origins;
    let limits = Limits { header_bytes: 32 * 1024, header_count: 100, token_bytes: 16 * 1024, body_bytes: 1024 };
    let now = now();
    let gateway = Gateway {
        routes: config.routes,
        issuers,
        body_bytes: limits.body_bytes,
        limits,
        strip: config.strip,
        freshness: config.freshness,
        proof_keys: Arc::new(KnownKeys::new(1000)),
        replay: Arc::new(ReplayLog::memory(
            MemoryLog::new(Capacity { total: 100_000_000, per_key: 100_000_000 }, UnixTime(0)),
            Arc::new(()),
            Clock::system(),
        )),
    };
    let peer = Peer::Certificate(Arc::new(ClientCertificate::from_der(&client.chain_der[0]).expect("a certificate")));
    let token = issuer.token(now).bound_to_certificate(&client).sign(issuer.key(KeyKind::Es256));
    let head = format!("GET /accounts/1 HTTP/1.1\r\nHost: api.bank.example\r\nAuthorization: Bearer {token}\r\n\r\n");
    let request = Request::get("/accounts/1")
        .version(Version::HTTP_11)
        .header("host", "api.bank.example")
        .header("authorization", format!("Bearer {token}"))
        .body(())
        .expect("a request");
    let (request, ()) = request.into_parts();
    let facts =
        Facts { version: Version::HTTP_11, raw_h1: Some(head.as_bytes()), server_name: Some("api.bank.example") };
    let decide_bound = || {
        let decision = pin!(decide(&gateway, &request, &facts, &origins, &peer, UnixTime(now)));
        match decision.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(permit)) => permit,
            Poll::Ready(Err(cause)) => panic!("{cause}"),
            Poll::Pending => panic!("a warm decision waits for nothing"),
        }
    };
    drop(decide_bound());

    let mut group = criterion.benchmark_group(format!("certificate-bound JWT of {} bytes", token.len()));
    group.bench_function("authorize, warm cache", |bencher| bencher.iter(decide_bound));
    group.bench_function("SHA-256 of the token", |bencher| bencher.iter(|| sha256(token.as_bytes())));
    // The same token, introspected at its issuer, so that only the kind of validation differs.
    issuer.know(&token, &issuer.token(now).bound_to_certificate(&client));
    let mut asked = request.clone();
    asked.uri = "/balances/1".parse().expect("a target");
    let head = format!("GET /balances/1 HTTP/1.1\r\nHost: api.bank.example\r\nAuthorization: Bearer {token}\r\n\r\n");
    let facts_asked =
        Facts { version: Version::HTTP_11, raw_h1: Some(head.as_bytes()), server_name: Some("api.bank.example") };
    runtime.block_on(async {
        drop(decide(&gateway, &asked, &facts_asked, &origins, &peer, UnixTime(now)).await.expect("the issuer answers"));
    });
    let decide_asked = || {
        let decision = pin!(decide(&gateway, &asked, &facts_asked, &origins, &peer, UnixTime(now)));
        match decision.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(permit)) => permit,
            Poll::Ready(Err(cause)) => panic!("{cause}"),
            Poll::Pending => panic!("a warm decision waits for nothing"),
        }
    };
    group.bench_function("authorize, introspected, warm cache", |bencher| bencher.iter(decide_asked));
    let dpop_key = SigningKey::generate(KeyKind::Es256, "proofs");
    let bound = issuer.token(now).bound_to_key(dpop_key.thumbprint()).sign(issuer.key(KeyKind::Es256));
    let url = "https://api.bank.example/accounts/1";
    let mut number = 0_u64;
    let mut proven = || {
        number += 1;
        let proof = dpop_key.proof("GET", url, now, &format!("proof-{number}"), Some(&tokens::ath(&bound)), None);
        let mut request = request.clone();
        request.headers.insert("authorization", format!("DPoP {bound}").parse().expect("a field"));
        request.headers.insert("dpop", proof.parse().expect("a field"));
        request
    };
    let decide_proven = |request: Parts| {
        let decision = pin!(decide(&gateway, &request, &facts, &origins, &peer, UnixTime(now)));
        match decision.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(permit)) => permit,
            Poll::Ready(Err(cause)) => panic!("{cause}"),
            Poll::Pending => panic!("a warm decision waits for nothing"),
        }
    };
    drop(decide_proven(proven()));
    group.bench_function("authorize with a DPoP proof, warm cache", |bencher| {
        bencher.iter_batched(&mut proven, decide_proven, BatchSize::SmallInput);
    });
    let jwk = issuer.key(KeyKind::Es256).jwk();
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("a coordinate")).expect("base64url");
    let point = [vec![4], part("x"), part("y")].concat();
    let (signed, signature) = token.rsplit_once('.').expect("a JWS");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    group.bench_function("ES256 verification", |bencher| {
        bencher.iter(|| key.verify(signed.as_bytes(), &signature).expect("it verifies"));
    });
    group.finish();
}

/// The whole decision, as the proxy has it made for a request whose body need not be read.
async fn decide(
    gateway: &Gateway,
    request: &Parts,
    facts: &Facts<'_>,
    origins: &Origins,
    peer: &Peer,
    now: UnixTime,
) -> Result<Permit, Cause> {
    let client = Client { peer, verified_chain: true, address: None };
    match gateway.authorize(request, facts, origins, None, client, now).await {
        Ok((Verdict::Judged(Judged::Authorized(authorized)), _)) => gateway.redeem(authorized, now).await,
        Ok((Verdict::Judged(Judged::AwaitsForm(_)) | Verdict::Preflight(_), _)) => {
            unreachable!("no request here has a form or is a preflight")
        }
        Err(rejection) => panic!("{}", rejection.cause()),
    }
}

criterion_group!(benches, authorize);
criterion_main!(benches);
