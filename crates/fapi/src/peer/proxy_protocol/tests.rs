//! Tests of both versions of the header.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

/// What a connection that begins with these bytes is read as, and how many bytes of it were read.
fn read(connection: &[u8]) -> (Option<Result<Source, HeaderError>>, usize) {
    let mut have = 0;
    loop {
        match parse(&connection[..have]) {
            Ok(Progress::Whole(source)) => return (Some(Ok(source)), have),
            Err(error) => return (Some(Err(error)), have),
            Ok(Progress::Needs(needed)) => {
                assert!(needed > have && needed <= MAX_V2, "{have} {needed}");
                if needed > connection.len() {
                    return (None, connection.len());
                }
                have = needed;
            }
        }
    }
}

fn result(connection: impl AsRef<[u8]>) -> Result<Source, HeaderError> {
    read(connection.as_ref()).0.expect("the bytes are enough to decide")
}

fn client(address: &str) -> Result<Source, HeaderError> {
    Ok(Source::Client(address.parse().unwrap()))
}

/// A header of version 2 with these bytes after its length.
fn v2(command: u8, protocol: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [V2, &[command, protocol], &length, block].concat()
}

/// The addresses and ports of version 2.
fn block(source: IpAddr) -> (u8, Vec<u8>) {
    match source {
        IpAddr::V4(source) => (0x11, [&source.octets()[..], &[192, 0, 2, 1, 0x30, 0x39, 0x01, 0xbb]].concat()),
        IpAddr::V6(source) => (0x21, [&source.octets()[..], &[0xfd; 16], &[0x30, 0x39, 0x01, 0xbb]].concat()),
    }
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

#[test]
fn version_1_says_who_the_client_is() {
    assert_eq!(result("PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n"), client("203.0.113.7"));
    assert_eq!(result("PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n"), client("2001:db8::7"));
    assert_eq!(result("PROXY UNKNOWN\r\n"), Ok(Source::Unspecified));
    assert_eq!(result("PROXY UNKNOWN ffff:f...f:ffff ffff 65535 \0\r\n"), Ok(Source::Unspecified));
    // §2.1: the longest line.
    let address = "ffff:".repeat(7) + "ffff";
    assert_eq!(result(format!("PROXY UNKNOWN {address} {address} 65535 65535\r\n")), Ok(Source::Unspecified));
}

#[test]
fn version_1_has_one_form() {
    let good = "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n";
    assert_eq!(result(good), client("203.0.113.7"), "control");
    for (from, to) in [
        ("TCP4", "TCP6"),
        ("TCP4", "UDP4"),
        ("TCP4", "tcp4"),
        ("TCP4 ", "TCP4  "),
        ("TCP4 ", "TCP4\t"),
        ("203.0.113.7", "203.0.113.07"),
        ("203.0.113.7", "203.0.113.256"),
        ("203.0.113.7", "2001:db8::7"),
        ("203.0.113.7 ", ""),
        ("192.0.2.1", "192.0.2"),
        ("56324", "056324"),
        ("56324", "65536"),
        ("56324", "+1"),
        ("56324", ""),
        ("443", "443 "),
        ("443", "443 1"),
        ("443", "-1"),
        ("\r\n", "\n\r"),
        (" 443", "\r443"),
        (" 443", "\n443"),
    ] {
        let bad = good.replace(from, to);
        assert_eq!(result(&bad), Err(HeaderError::Line), "{bad:?}");
    }
    for missing in
        ["GET / HTTP/1.1\r\n", "\x16\x03\x01\x02\0", "PROXYTCP4 1.2.3.4 ", "proxy TCP4 ", "PRI * HTTP/2.0\r\n"]
    {
        assert_eq!(result(missing), Err(HeaderError::Missing), "{missing:?}");
    }
}

#[test]
fn version_1_ends_within_107_bytes() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(read(line(107).as_bytes()), (Some(Ok(Source::Unspecified)), 107), "control");
    for length in [108, 109, 1000] {
        let (result, have) = read(line(length).as_bytes());
        assert!(result.expect("refused").is_err() && have <= 107, "{length}");
    }
}

#[test]
fn version_2_says_who_the_client_is() {
    for address in ["203.0.113.7", "2001:db8::7"] {
        let (protocol, block) = block(address.parse().unwrap());
        assert_eq!(result(v2(0x21, protocol, &block)), client(address));
        let fields = [tlv(0x01, b"h2"), tlv(0x20, &[0; 300]), tlv(0x04, b"")].concat();
        assert_eq!(result(v2(0x21, protocol, &[block, fields].concat())), client(address));
    }
    for (command, protocol, block) in [
        (0x20, 0x00, &b""[..]),
        (0x20, 0x11, b"xyz"),
        (0x20, 0xff, b""),
        (0x21, 0x00, b"xyz"),
        (0x21, 0x12, &[1; 12]),
        (0x21, 0x22, &[1; 36]),
        (0x21, 0x31, &[1; 216]),
        (0x21, 0x32, &[1; 216]),
    ] {
        assert_eq!(result(v2(command, protocol, block)), Ok(Source::Unspecified), "{command:x} {protocol:x}");
    }
}

#[test]
fn version_2_has_one_form() {
    let (protocol, block) = block("203.0.113.7".parse().unwrap());
    let with = |fields: &[u8]| result(v2(0x21, protocol, &[&block, fields].concat()));
    assert_eq!(with(&tlv(0x05, b"id")), client("203.0.113.7"), "control");
    for command in [0x00, 0x11, 0x22, 0x2f, 0x31, 0xff] {
        assert_eq!(result(v2(command, protocol, &block)), Err(HeaderError::Command), "{command:x}");
    }
    for protocol in [0x01, 0x02, 0x10, 0x13, 0x20, 0x23, 0x30, 0x33, 0x41, 0xff] {
        assert_eq!(result(v2(0x21, protocol, &[0; 216])), Err(HeaderError::Protocol), "{protocol:x}");
    }
    for short in [0, 11] {
        assert_eq!(result(v2(0x21, 0x11, &block[..short])), Err(HeaderError::Length), "{short}");
    }
    assert_eq!(result(v2(0x21, 0x21, &[0; 35])), Err(HeaderError::Length));
    for fields in [&[5][..], &[5, 0], &[5, 0, 3, 1, 2], &[5, 0xff, 0xff], &[5, 0, 1, 7, 5], &[3, 0, 3, 1, 2, 3]] {
        assert_eq!(with(fields), Err(HeaderError::Field), "{fields:?}");
    }
    assert_eq!(with(&tlv(5, &[0; MAX_V2 - 31])), client("203.0.113.7"), "control: the largest");
    assert_eq!(with(&tlv(5, &[0; MAX_V2 - 30])), Err(HeaderError::Length));
    let mut signature = v2(0x21, protocol, &block);
    signature[4] = b'\r';
    assert_eq!(result(signature), Err(HeaderError::Missing));
}

#[test]
fn a_checksum_is_verified() {
    // RFC 3720 appendix B.4 has this one; nothing of the text is taken for the checksum itself.
    assert_eq!(crc32c(&[0xff; 32], 32), 0x62a8_ab43);
    assert_eq!(crc32c(b"123456789", 9), 0xe306_9283);
    let (protocol, block) = block("203.0.113.7".parse().unwrap());
    let header = |sum: u32| v2(0x21, protocol, &[block.clone(), tlv(3, &sum.to_be_bytes()), tlv(5, b"id")].concat());
    let sum = crc32c(&header(0), START_V2 + block.len() + 3);
    assert_eq!(result(header(sum)), client("203.0.113.7"));
    assert_eq!(result(header(sum ^ 1)), Err(HeaderError::Checksum));
}

proptest! {
    #[test]
    fn what_a_balancer_writes_is_read_back_and_no_byte_beyond_it(
        address: IpAddr, port: u16, fields in proptest::collection::vec((4_u8.., proptest::collection::vec(any::<u8>(), 0..100)), 0..5), rest: Vec<u8>,
    ) {
        let family = if address.is_ipv4() { "TCP4" } else { "TCP6" };
        let line = format!("PROXY {family} {address} {address} {port} {port}\r\n").into_bytes();
        let (protocol, mut block) = block(address);
        block.extend(fields.iter().flat_map(|(kind, value)| tlv(*kind, value)));
        for header in [line, v2(0x21, protocol, &block)] {
            let (read, have) = read(&[&header[..], &rest].concat());
            prop_assert_eq!((read, have), (Some(Ok(Source::Client(address))), header.len()));
            // A header that is cut is never a header, nor a reason to close before the rest had time to come.
            for cut in 0..header.len() {
                prop_assert_eq!(tests::read(&header[..cut]).0, None);
            }
        }
    }

    #[test]
    fn garbage_is_judged_without_a_panic(start in 0_usize..4, garbage: Vec<u8>) {
        let start = [&b""[..], V1, V2, b"PROXY TCP4 "][start];
        let _ = read(&[start, &garbage].concat());
        let _ = parse(&[start, &garbage].concat());
    }

    #[test]
    fn two_headers_mixed_are_refused_or_end_where_one_does(at in 0_usize..28, address: Ipv4Addr) {
        let (protocol, block) = block(address.into());
        let one = v2(0x21, protocol, &block);
        let line = format!("PROXY TCP4 {address} {address} 1 2\r\n").into_bytes();
        let mixed = [&one[..at], &line].concat();
        let (result, have) = read(&mixed);
        prop_assert!(have <= mixed.len());
        if at > 0 && at < START_V2 {
            prop_assert!(result.is_none_or(|result| result.is_err()), "{result:?}");
        }
    }
}
