//! The digest of content, which is compared before any of it goes up (RFC 9530).

use bytes::Bytes;
use fapi::code::Code;
use fapi::signature::digest::{DigestAlgorithm, content_digest};
use http::{HeaderValue, Method, Request};

use super::{PAYMENT, REQUIRED, Signed};

fn with_digest(mut request: Request<Bytes>, digest: &str) -> Request<Bytes> {
    request.headers_mut().insert("content-digest", HeaderValue::try_from(digest).unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_06_every_digest_that_counts_is_that_of_the_content() {
    let signed = Signed::start().await;
    let judged = async |digest: &str| {
        let request = with_digest(signed.payment(PAYMENT), digest);
        signed.judge(signed.key.sign(request, signed.now())).await.1
    };
    let [sha256, sha512] = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512]
        .map(|algorithm| content_digest(algorithm, PAYMENT.as_bytes()));
    let wrong = content_digest(DigestAlgorithm::Sha512, b"other");
    assert_eq!(judged(&sha256).await, "ok", "control");
    assert_eq!(judged(&sha512).await, "ok");
    assert_eq!(judged(&format!("{sha256}, {sha512}")).await, "ok");
    assert_eq!(judged(&format!("{sha256}, {wrong}")).await, "digest_mismatch");
    assert_eq!(judged(&format!("{sha256}, md5=:AAAA:")).await, "ok", "one that does not count is ignored");
    assert_eq!(judged("md5=:AAAA:").await, "digest_missing");
    assert_eq!(judged("sha-256=x").await, "signature_malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_07_the_digest_is_of_the_bytes_that_are_sent() {
    let signed = Signed::start().await;
    let coded = b"\x1f\x8b not really gzip, and nobody decodes it";
    let coding = |digest_of: &[u8]| {
        let mut request = signed.payment(&coded[..]);
        request.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
        signed.key.sign(with_digest(request, &content_digest(DigestAlgorithm::Sha256, digest_of)), signed.now())
    };
    assert_eq!(signed.judge(coding(coded)).await.0, 201, "control");
    signed.refused(coding(PAYMENT.as_bytes()), Code::DigestMismatch, "of what would be decoded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_20_content_is_read_up_to_the_limit_of_the_route_and_forwarded_byte_for_byte() {
    let signed = Signed::with(REQUIRED, |scene| {
        scene.replace("    path: /payments\n", "    path: /payments\n    limits: { body_bytes: 10MiB }\n")
    })
    .await;
    for client in [signed.world.client().h1(), signed.world.client().h2()] {
        for size in [1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 1024 * 1024, 10 * 1024 * 1024] {
            let body: Bytes = (0..size).map(|number: usize| (number % 251) as u8).collect();
            let request = signed.key.sign(signed.payment(body.clone()), signed.now());
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), 201, "{size}");
            let seen = signed.world.accounts.requests().pop().unwrap();
            assert!(seen.body == body, "{size}");
            assert_eq!(seen.headers["content-length"].to_str().unwrap(), size.to_string());
            assert!(seen.headers.get("transfer-encoding").is_none());
            let mut other = body.to_vec();
            *other.last_mut().unwrap() ^= 1;
            let mut request = signed.key.sign(signed.payment(body), signed.now());
            *request.body_mut() = other.into();
            let before = signed.world.accounts.server().heads();
            let response = client.send(request).await.unwrap();
            assert_eq!(signed.world.gateway.record_of(&response)["code"], "digest_mismatch", "{size}");
            assert_eq!(signed.world.accounts.server().heads(), before);
        }
        let large: Bytes = vec![0; 10 * 1024 * 1024 + 1].into();
        let request = signed.key.sign(signed.payment(large), signed.now());
        let before = signed.world.accounts.server().heads();
        let response = client.send(request).await.unwrap();
        assert_eq!((response.status().as_u16(), signed.world.accounts.server().heads()), (413, before));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_without_a_digest_is_not_signed() {
    let signed = Signed::start().await;
    let mut request = signed.signed_payment();
    request.headers_mut().remove("content-digest");
    signed.refused(request, Code::SignatureComponentMissing, "the field was covered").await;
    let bare = signed.key.sign(signed.request(Method::POST, "/payments", ""), signed.now());
    assert_eq!(signed.judge(bare).await.0, 201, "control: without content, no digest is needed");
}
