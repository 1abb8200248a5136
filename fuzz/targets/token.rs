#![no_main]

use fapi::credentials::{Credentials, Scheme};
use fapi::token::UnverifiedJws;
use http::{HeaderMap, HeaderValue};

libfuzzer_sys::fuzz_target!(|token: &[u8]| {
    let field = [b"Bearer ", token].concat();
    let Ok(field) = HeaderValue::from_bytes(&field) else { return };
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, field)]);
    if let Ok(credentials) = Credentials::from_request(&headers, None, &[Scheme::Bearer]) {
        let _ = UnverifiedJws::parse(credentials.token());
    }
});
