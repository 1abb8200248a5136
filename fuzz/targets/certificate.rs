#![no_main]

use fapi::peer::ClientCertificate;

libfuzzer_sys::fuzz_target!(|der: &[u8]| {
    if let Ok(certificate) = ClientCertificate::from_der(der) {
        let _ = certificate.participant();
    }
});
