#![no_main]

use fapi::peer::proxy_protocol::{Progress, parse};

libfuzzer_sys::fuzz_target!(|connection: &[u8]| {
    // As the gateway reads: only what is part of the header for sure.
    let mut have = 0;
    while let Some(Ok(Progress::Needs(needed))) = connection.get(..have).map(parse) {
        assert!(needed > have && needed <= 4096);
        have = needed;
    }
    // All at once: what was given beyond the header is not accepted.
    if let Ok(Progress::Whole(_)) = parse(connection) {
        assert_eq!(have, connection.len());
    }
});
