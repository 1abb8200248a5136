//! The cost of a decision on a pushed authorization request and on a token request, and of the judgement of its answer.
//!
//! For comparison, the same run measures one ES256 verification, of which an assertion takes one and a proof another.

#[allow(dead_code, reason = "requests with tokens are decided in other benches")]
mod stage;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fapi::UnixTime;
use fapi::authorization_server::token_answer::{self, Binding, ExpectedToken, RefreshRule};
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::message::Facts;
use fapi::permit::{Judged, Permit};
use fapi::rejection::Seen;
use fapi_gateway::gateway::{Client, Verdict};
use fapi_gateway::rate_limits::Taken;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::{Value, json};

use self::stage::{More, Stage};

const ORIGIN: &str = "https://api.bank.example";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "https://client.example/callback";

/// A form, and its head as it was sent.
struct Form {
    request: Parts,
    head: String,
    body: String,
}

impl Form {
    fn of(path: &str, parameters: &[(&str, &str)], proof: Option<&str>) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let kind = "application/x-www-form-urlencoded";
        let length = body.len();
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nHost: api.bank.example\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n"
        );
        let mut request = Request::post(path).version(Version::HTTP_11).header("host", "api.bank.example");
        request = request.header(CONTENT_TYPE, kind).header("content-length", length);
        if let Some(proof) = proof {
            head.push_str(&format!("DPoP: {proof}\r\n"));
            request = request.header("dpop", proof);
        }
        let (request, ()) = request.body(()).expect("a request").into_parts();
        Self { request, head: head + "\r\n", body }
    }
}

/// The whole decision, as the proxy has it made once the body is read.
fn decide(stage: &Stage, form: &Form) -> Permit {
    let now = UnixTime(stage.now);
    let decision = pin!(async {
        let head = Some(form.head.as_bytes());
        let facts = Facts { version: Version::HTTP_11, raw_h1: head, server_name: Some("api.bank.example") };
        let client = Client { peer: &stage.peer, verified_chain: true, address: None };
        let judged = stage.gateway.authorize(&form.request, &facts, &stage.origins, None, client, now).await;
        let guard = match judged {
            Ok((Verdict::Judged(Judged::AwaitsParameters(guard), _), _)) => guard,
            Ok(_) => unreachable!("every request here is a form"),
            Err(rejection) => panic!("{}", rejection.cause()),
        };
        let origin = stage.origins.iter().next().expect("an origin").clone();
        let mut seen = Seen { origin: Some(origin), ..Seen::default() };
        let body = form.body.as_bytes();
        let authorized = stage.gateway.judge_form(*guard, &form.request, body, client, now, &mut seen).await?;
        stage.gateway.redeem(authorized, &Taken::default(), now).await
    });
    match decision.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(permit)) => permit,
        Poll::Ready(Err(cause)) => panic!("{cause}"),
        Poll::Pending => panic!("a decision waits for nothing"),
    }
}

fn endpoints(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let key = SigningKey::generate(KeyKind::Es256, "client");
    let signing = json!({
        "client_id": "client-1", "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.jwk()] },
        "redirect_uris": [CALLBACK],
    });
    let by_certificate = json!({
        "client_id": "client-2", "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": "CN=client-1", "redirect_uris": [CALLBACK],
    });
    let more = More { clients: vec![signing, by_certificate], ..More::default() };
    let stage = runtime.block_on(Stage::set_with(more));
    let now = stage.now;
    let mut number = 0_u64;
    let mut assertion = || {
        number += 1;
        let claims = json!({
            "iss": "client-1", "sub": "client-1", "aud": ORIGIN, "jti": format!("{number:024}"), "iat": now, "exp": now + 60,
        });
        key.sign(&json!({ "alg": "ES256", "kid": "client" }), &claims)
    };
    let kind = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let pushed = [
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("scope", "openid accounts"),
        ("state", "fJ8vLq2yTn4wXz6bKc9dQe"),
    ];
    let redeemed =
        [("grant_type", "authorization_code"), ("code", "SplxlOBeZQQYbYS6WxSbIA"), ("code_verifier", VERIFIER)];

    let mut group = criterion.benchmark_group("authorization server");
    group.bench_function("pushed request, private_key_jwt", |bencher| {
        let mut form = || {
            let assertion = assertion();
            let own = [kind, ("client_assertion", &*assertion)];
            Form::of("/par", &[&pushed[..], &own].concat(), None)
        };
        bencher.iter_batched(&mut form, |form| decide(&stage, &form), BatchSize::SmallInput);
    });
    let own = [("client_id", "client-2")];
    let form = Form::of("/par", &[&pushed[..], &own].concat(), None);
    group.bench_function("pushed request, certificate", |bencher| bencher.iter(|| decide(&stage, &form)));
    let proof_key = SigningKey::generate(KeyKind::Es256, "proofs");
    let mut proofs = 0_u64;
    group.bench_function("token request, private_key_jwt, proof", |bencher| {
        let mut form = || {
            let assertion = assertion();
            proofs += 1;
            let proof = Proof::new("POST", &format!("{ORIGIN}/token"), now)
                .claim("jti", format!("{proofs:024}"))
                .sign(&proof_key);
            let own = [kind, ("client_assertion", &*assertion)];
            Form::of("/token", &[&redeemed[..], &own].concat(), Some(&proof))
        };
        bencher.iter_batched(&mut form, |form| decide(&stage, &form), BatchSize::SmallInput);
    });
    let form = Form::of("/token", &[&redeemed[..], &own].concat(), None);
    group.bench_function("token request, certificate", |bencher| bencher.iter(|| decide(&stage, &form)));

    let token = stage.issuer.token(now).bound_to_key(proof_key.thumbprint()).sign(stage.issuer.key(KeyKind::Es256));
    let answer =
        json!({ "access_token": token, "token_type": "DPoP", "expires_in": 300, "refresh_token": "r" }).to_string();
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let bound_to = URL_SAFE_NO_PAD.decode(proof_key.thumbprint()).ok().and_then(|bytes| bytes.try_into().ok());
    let bound_to = Binding::Key(KeyThumbprint::from_bytes(bound_to.expect("a thumbprint")));
    let expected =
        ExpectedToken { bound_to: &bound_to, lifetime: None, refresh: RefreshRule::Any, may_introspect: false };
    group.bench_function("answer with a token", |bencher| {
        bencher.iter(|| token_answer::judge(StatusCode::OK, &headers, answer.as_bytes(), &expected, UnixTime(now)));
    });
    let jwk: Value = key.jwk();
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("a coordinate")).expect("base64url");
    let point = [vec![4], part("x"), part("y")].concat();
    let signed = assertion();
    let (signed, signature) = signed.rsplit_once('.').expect("a JWS");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let verifying = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    group.bench_function("ES256 verification", |bencher| {
        bencher.iter(|| verifying.verify(signed.as_bytes(), &signature).expect("it verifies"));
    });
    group.finish();
}

criterion_group!(benches, endpoints);
criterion_main!(benches);
