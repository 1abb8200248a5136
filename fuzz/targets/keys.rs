#![no_main]

use fapi::keys::KeySet;

libfuzzer_sys::fuzz_target!(|document: &[u8]| {
    let _ = KeySet::parse(document);
});
