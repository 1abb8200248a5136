#![no_main]

use fapi::credentials::{Credentials, Scheme};
use http::{HeaderMap, HeaderValue};

libfuzzer_sys::fuzz_target!(|input: (&[u8], &str)| {
    let (field, query) = input;
    let Ok(field) = HeaderValue::from_bytes(field) else { return };
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, field)]);
    let _ = Credentials::from_request(&headers, Some(query), &[Scheme::Bearer, Scheme::Dpop]);
});
