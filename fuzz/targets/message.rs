#![no_main]

use std::sync::Arc;

use fapi::message::{Facts, Limits, check};
use fapi::route::{Origin, Origins};
use http::{Request, Version};

libfuzzer_sys::fuzz_target!(|input: (&[u8], &str, &str)| {
    let (raw, host, target) = input;
    let Ok(request) = Request::builder().uri(target).header("host", host).body(()) else { return };
    let (request, ()) = request.into_parts();
    let origins = Origin::parse("https://api.bank.example").map(|origin| Origins::new(vec![Arc::new(origin)]));
    let facts = Facts { version: Version::HTTP_11, raw_h1: Some(raw), server_name: None };
    let limits = Limits { header_bytes: 32 * 1024, header_count: 100, token_bytes: 16 * 1024, body_bytes: 1024 };
    if let Ok(origins) = origins {
        let _ = check(&request, &facts, &limits, &origins);
    }
});
