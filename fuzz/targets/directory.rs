#![no_main]

use fapi::directory::{Format, Participant};

libfuzzer_sys::fuzz_target!(|document: &[u8]| {
    for format in Format::ALL {
        let Ok(directory) = format.parse(document) else { continue };
        let (organisations, _) = directory.len();
        assert!(organisations > 0, "a directory that names nobody is none");
        let nobody = Participant::default();
        assert!(directory.check(&nobody, &[]).is_err(), "whoever is not named is not in it");
    }
});
