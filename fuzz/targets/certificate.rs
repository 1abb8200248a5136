#![no_main]

use fapi::peer::ClientCertificate;

libfuzzer_sys::fuzz_target!(|der: &[u8]| {
    let _ = ClientCertificate::from_der(der);
});
