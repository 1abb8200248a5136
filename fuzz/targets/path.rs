#![no_main]

use fapi::route::{CanonicalPath, Pattern};

libfuzzer_sys::fuzz_target!(|path: &str| {
    let _ = Pattern::parse(path);
    if let Ok(accepted) = CanonicalPath::parse(path) {
        assert_eq!(accepted.as_str(), path);
    }
});
