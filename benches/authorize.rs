//! The cost of a decision when every cache is warm, for a certificate-bound JWT.
//!
//! For comparison, the same run measures SHA-256 of the token, which every decision includes, and one ES256
//! verification, against which ratios between machines can be compared.

mod stage;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fapi::sha256;
use sandbox::tokens::{self, KeyKind, SigningKey};

use self::stage::{Sent, Stage};

fn authorize(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stage = runtime.block_on(Stage::set());
    let token = stage.token();
    let bearer = format!("Bearer {token}");
    let bound = stage.sent("/accounts/1", &bearer, None);
    drop(stage.decide_at_once(&bound));

    let mut group = criterion.benchmark_group(format!("certificate-bound JWT of {} bytes", token.len()));
    group.bench_function("authorize, warm cache", |bencher| bencher.iter(|| stage.decide_at_once(&bound)));
    // With ten requirements beside the scope, and the same token on a route without them.
    let more = format!("Bearer {}", stage.token_with_more());
    for (path, name) in [
        ("/required/1001?view=full", "authorize, ten requirements, warm cache"),
        ("/accounts/1001?view=full", "authorize, no requirements, the same token, warm cache"),
    ] {
        let sent = stage.sent(path, &more, None);
        drop(stage.decide_at_once(&sent));
        group.bench_function(name, |bencher| bencher.iter(|| stage.decide_at_once(&sent)));
    }
    group.bench_function("SHA-256 of the token", |bencher| bencher.iter(|| sha256(token.as_bytes())));
    // The same token, introspected at its issuer, so that only the kind of validation differs.
    let (issuer, now) = (&stage.issuer, stage.now);
    issuer.know(&token, &issuer.token(now).bound_to_certificate(&stage.client));
    let asked = stage.sent("/balances/1", &bearer, None);
    drop(runtime.block_on(stage.decide(&asked)).expect("the issuer answers"));
    group.bench_function("authorize, introspected, warm cache", |bencher| {
        bencher.iter(|| stage.decide_at_once(&asked));
    });
    let dpop_key = SigningKey::generate(KeyKind::Es256, "proofs");
    let bound = issuer.token(now).bound_to_key(dpop_key.thumbprint()).sign(issuer.key(KeyKind::Es256));
    let (url, authorization) = ("https://api.bank.example/accounts/1", format!("DPoP {bound}"));
    let mut number = 0_u64;
    let mut proven = || {
        number += 1;
        let proof = dpop_key.proof("GET", url, now, &format!("proof-{number}"), Some(&tokens::ath(&bound)), None);
        stage.sent("/accounts/1", &authorization, Some(&proof))
    };
    drop(stage.decide_at_once(&proven()));
    group.bench_function("authorize with a DPoP proof, warm cache", |bencher| {
        bencher.iter_batched(&mut proven, |sent: Sent| stage.decide_at_once(&sent), BatchSize::SmallInput);
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

criterion_group!(benches, authorize);
criterion_main!(benches);
