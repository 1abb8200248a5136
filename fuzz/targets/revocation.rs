#![no_main]

use fapi::UnixTime;
use fapi::revocation::security_event::claimed_issuer;
use fapi::revocation::{Reach, Revocation};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let _ = Revocation::from_json(body, |name| Some(name.into()), Reach::Gateway, UnixTime(1_800_000_000));
    let _ = claimed_issuer(body);
});
