#![no_main]

use std::sync::{Arc, LazyLock};

use fapi::UnixTime;
use fapi::credentials::{Credentials, Scheme};
use fapi::dpop::{Freshness, NoProofKeys, Nonces, ProofContext, SignedProof};
use fapi::policy::NonceMode;
use fapi::route::{Origin, Target};
use http::{HeaderValue, Request};

static ORIGIN: LazyLock<Arc<Origin>> =
    LazyLock::new(|| Arc::new(Origin::parse("https://resource.example.org").expect("an origin")));
static FRESHNESS: LazyLock<Freshness> = LazyLock::new(|| Freshness {
    max_age: 60,
    clock_skew: 10,
    nonces: Nonces::new(&[[1; 32]], 60).expect("a key and a lifetime"),
});

// A good seed is the proof of RFC 9449 §7.1; this is its request.
libfuzzer_sys::fuzz_target!(|proof: &[u8]| {
    let Ok(field) = HeaderValue::from_bytes(proof) else { return };
    let request = Request::get("/protectedresource")
        .header("authorization", "DPoP Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")
        .header("dpop", field)
        .body(());
    let Ok(request) = request else { return };
    let (request, ()) = request.into_parts();
    let Ok(target) = Target::parse(&request, &ORIGIN) else { return };
    let Ok(credentials) = Credentials::from_request(&request.headers, None, &[Scheme::Dpop]) else { return };
    for nonce in [NonceMode::Never, NonceMode::WhenStale, NonceMode::Always] {
        let context = ProofContext {
            target: &target,
            nonce,
            freshness: &FRESHNESS,
            keys: &NoProofKeys,
            replay_log_began: &|| UnixTime(0),
            now: UnixTime(1_562_262_618),
        };
        let _ = SignedProof::verify(credentials.proofs(), credentials.token(), &context)
            .and_then(|proof| proof.check_freshness(&context));
    }
});
