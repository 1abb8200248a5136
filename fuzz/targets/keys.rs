#![no_main]

use fapi::jose::keys::KeySet;

libfuzzer_sys::fuzz_target!(|document: &[u8]| {
    let _ = KeySet::parse(document);
    let _ = KeySet::parse_with_rs256(document);
});
