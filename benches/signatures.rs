//! The cost of a signature over a request (RFC 9421) beside that of the key alone, and of one pass over content (RFC 9530).

use std::hint::black_box;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fapi::UnixTime;
use fapi::jose::keys::{Algorithm, KeySet};
use fapi::jose::signing::PrivateKey;
use fapi::signature::create::sign;
use fapi::signature::digest::{CONTENT_DIGEST, ClaimedDigest, DigestAlgorithm, content_digest};
use fapi::signature::input::{SIGNATURE, SIGNATURE_INPUT, SignatureParameters};
use fapi::signature::message::{ExternalUri, Message, RequestView};
use fapi::signature::profile::{Content, Dpop, Profile};
use fapi::signature::verify::verify;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;

const NOW: UnixTime = UnixTime(1_900_000_000);

fn view(headers: &HeaderMap) -> RequestView<'_> {
    let uri = ExternalUri { scheme: "https", authority: "api.bank.example", path: "/payments", query: None };
    RequestView { method: &Method::POST, uri, target: "/payments", headers }
}

fn requests(criterion: &mut Criterion) {
    let key = PrivateKey::generate(Algorithm::Es256).expect("a key");
    let mut jwk = key.public_jwk().expect("a public key");
    let point = ["x", "y"].map(|name| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("text")).expect("base64url"));
    jwk.insert("kid".to_owned(), "tpp-1".into());
    let keys = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).expect("a set");
    let body = b"{\"amount\":\"10.00\",\"to\":\"DE02\"}";
    let mut headers = HeaderMap::new();
    let token = format!("Bearer {}", "x".repeat(1200));
    for (name, value) in [("authorization", token), (CONTENT_DIGEST, content_digest(DigestAlgorithm::Sha256, body))] {
        headers.insert(name, HeaderValue::try_from(value).expect("a value"));
    }
    let profile = Profile::fapi2_request(Dpop::Absent, Content::Present);
    let parameters = SignatureParameters {
        created: Some(NOW),
        key_id: Some("tpp-1".into()),
        tag: profile.tag.clone(),
        ..SignatureParameters::default()
    };
    let fields = sign(&Message::Request(view(&headers)), "sig", &profile.required, &parameters, &key).expect("fields");
    for (name, value) in [(SIGNATURE_INPUT, fields.signature_input), (SIGNATURE, fields.signature)] {
        headers.insert(name, HeaderValue::try_from(value).expect("a value"));
    }
    let mut group = criterion.benchmark_group("signature of a request");
    group.bench_function("whole, with a digest of 31 bytes", |bencher| {
        bencher.iter(|| {
            let signed = verify(&Message::Request(view(black_box(&headers))), &profile, &keys, NOW).expect("it holds");
            let mut hasher = ClaimedDigest::read(&headers).expect("a digest").hasher();
            hasher.update(body);
            signed.with_content(&hasher.finish().expect("it is the content's")).expect("it is signed")
        });
    });
    let message = vec![b'x'; 1500];
    let signature = key.sign(&message).expect("a signature");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4][..], &point[0], &point[1]].concat());
    group.bench_function("ES256 alone", |bencher| {
        bencher.iter(|| public.verify(black_box(&message), &signature).expect("it holds"));
    });
    group.finish();
}

fn content(criterion: &mut Criterion) {
    let body = vec![b'x'; 10 << 20];
    let mut group = criterion.benchmark_group("content of 10 MiB");
    group.throughput(Throughput::Bytes(body.len() as u64)).sample_size(20);
    for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512] {
        let value = HeaderValue::try_from(content_digest(algorithm, &body)).expect("a value");
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(CONTENT_DIGEST), value)]);
        group.bench_function(algorithm.as_str(), |bencher| {
            bencher.iter(|| {
                let mut hasher = ClaimedDigest::read(&headers).expect("a digest").hasher();
                for part in body.chunks(64 * 1024) {
                    hasher.update(black_box(part));
                }
                hasher.finish().expect("it is the content's")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests, content);
criterion_main!(benches);
