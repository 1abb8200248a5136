#![no_main]

use fapi::UnixTime;
use fapi::path_validation::{self, Anchor, Fault, Issued, Rules, Signed, Verification};

/// Takes every signature for good, so that everything behind it is reached.
struct Trusting;

impl Verification for Trusting {
    fn is_signed_by(&self, _: &[u8], _: &Signed<'_>) -> bool {
        true
    }

    fn check_status(&self, issued: &Issued<'_>, _: UnixTime) -> Result<(), Fault> {
        if issued.serial.is_empty() { Err(Fault::UnknownStatus) } else { Ok(()) }
    }
}

/// CN=CA in UTF8String, as rcgen writes it.
const SUBJECT: &[u8] = b"\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x0c\x02CA";

// The certificates of a chain, leaf first, each after its length in two octets.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut chain = Vec::new();
    while let Some(([high, low], tail)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (certificate, tail) = tail.split_at(length);
        chain.push(certificate);
        rest = tail;
    }
    let Some((leaf, others)) = chain.split_first() else { return };
    let anchor = Anchor::new(SUBJECT, &[], None).expect("the name is well-formed");
    let rules = Rules { now: UnixTime(1_900_000_000), client_auth: true };
    if let Ok(path) = path_validation::validate(leaf, others, &[anchor], rules, &Trusting) {
        assert!(path.iter().all(|place| *place < others.len()));
    }
    let _ = Anchor::new(SUBJECT, &[], Some(bytes));
});
