//! The five dialects, with the certificates of RFC 9440 appendix A, and the trusted proxies.

use http::HeaderValue;
use proptest::prelude::*;

use super::proxies::{Network, NotANetwork, ProxyName, TrustedProxies};
use super::*;
use crate::code::Code;
use crate::jose::thumbprint::CertificateThumbprint;
use crate::sha256;

/// The certificate of RFC 9440 appendix A, and the two of its chain.
fn example() -> (Vec<Vec<u8>>, String, String) {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../tests/vectors/rfc9440.json")).unwrap();
    let text = |name: &str| vectors["A"][name].as_str().unwrap().to_owned();
    let (leaf, others) = (text("client_cert"), text("client_cert_chain"));
    let mut chain = vec![STANDARD.decode(text("certificate")).unwrap()];
    chain.extend(others.split(", ").map(|item| STANDARD.decode(item.trim_matches(':')).unwrap()));
    (chain, leaf, others)
}

/// PEM with lines of 64 characters (RFC 7468 §2).
fn pem_of(certificates: &[Vec<u8>]) -> String {
    let mut pem = String::new();
    for der in certificates {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(der).as_bytes().chunks(64) {
            pem.push_str(std::str::from_utf8(line).unwrap());
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

fn escaped(text: &str, spared: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c) || spared.contains(c);
    text.chars().map(|c| if plain(c) { c.to_string() } else { format!("%{:02X}", u32::from(c)) }).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nginx() -> Dialect {
    Dialect::NginxEscapedPem(HeaderName::from_static("x-ssl-client-cert"))
}

/// What is read from these field lines, in DER.
fn read(dialect: &Dialect, lines: &[(&HeaderName, &str)]) -> Result<Option<Vec<Vec<u8>>>, ForwardedError> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append((*name).clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    dialect.find(&headers)?.map(|sent| Ok(sent.read()?.der().to_vec())).transpose()
}

/// The code with which one field line is refused.
fn code(dialect: &Dialect, value: &str) -> Option<Code> {
    read(dialect, &[(dialect.header(), value)]).err().map(|error| error.code())
}

const MALFORMED: Option<Code> = Some(Code::ForwardedCertificateMalformed);
const REPEATED: Option<Code> = Some(Code::ForwardedCertificateRepeated);

/// Each dialect with the example as its proxy encodes it.
fn good() -> [(Dialect, String); 5] {
    let (chain, leaf, _) = example();
    let (one, whole) = (pem_of(&chain[..1]), pem_of(&chain));
    let hash = hex(&sha256(&chain[0]));
    [
        (Dialect::ClientCert, leaf),
        (
            Dialect::XForwardedClientCert,
            format!(r#"By=spiffe://bank/envoy;Hash={hash};Cert="{}";Subject="CN=\"a\", O=b;c""#, escaped(&one, "")),
        ),
        (nginx(), escaped(&one, "")),
        (Dialect::AwsAlbVerify, escaped(&one, "+=/")),
        (Dialect::AwsAlbPassthrough, escaped(&whole, "+=/")),
    ]
}

#[test]
fn every_dialect_reads_the_example_of_rfc_9440() {
    let (chain, leaf, others) = example();
    for (dialect, value) in good() {
        let expected = if dialect == Dialect::AwsAlbPassthrough { &chain[..] } else { &chain[..1] };
        assert_eq!(read(&dialect, &[(dialect.header(), &value)]).unwrap().unwrap(), expected, "{dialect:?}");
        assert_eq!(read(&dialect, &[]), Ok(None), "{dialect:?}");
    }
    let both = [(&CLIENT_CERT, &*leaf), (&CLIENT_CERT_CHAIN, &*others)];
    assert_eq!(read(&Dialect::ClientCert, &both).unwrap().unwrap(), chain);
    let sent = HeaderMap::from_iter([(CLIENT_CERT.clone(), leaf.parse().unwrap())]);
    let read = Dialect::ClientCert.find(&sent).unwrap().unwrap().read().unwrap();
    assert_eq!(*read.leaf().thumbprint(), CertificateThumbprint::of_der(&chain[0]));
}

#[test]
fn atk_hd_01_no_dialect_reads_the_field_of_another() {
    let all = good();
    for (dialect, _) in &all {
        let others: Vec<_> = all.iter().filter(|(other, _)| other != dialect).collect();
        let lines: Vec<_> = others.iter().map(|(other, value)| (other.header(), value.as_str())).collect();
        assert_eq!(read(dialect, &lines), Ok(None), "{dialect:?}");
        for (other, value) in others {
            let pem = |dialect: &Dialect| !matches!(dialect, Dialect::ClientCert | Dialect::XForwardedClientCert);
            if !(pem(dialect) && pem(other)) {
                assert_eq!(code(dialect, value), MALFORMED, "{dialect:?} in the writing of {other:?}");
            }
        }
    }
}

#[test]
fn atk_hd_02_two_lines_are_refused_even_if_they_agree() {
    for (dialect, value) in good() {
        let line = (dialect.header(), value.as_str());
        assert!(read(&dialect, &[line]).is_ok(), "control");
        assert_eq!(read(&dialect, &[line, line]).unwrap_err().code(), Code::ForwardedCertificateRepeated);
    }
    let (_, leaf, others) = example();
    let lines = [(&CLIENT_CERT, &*leaf), (&CLIENT_CERT_CHAIN, &*others), (&CLIENT_CERT, &*leaf)];
    assert!(read(&Dialect::ClientCert, &lines[..2]).is_ok(), "control");
    assert_eq!(read(&Dialect::ClientCert, &lines).unwrap_err().code(), Code::ForwardedCertificateRepeated);
}

#[test]
fn a_chain_on_several_lines_is_one_list() {
    let (chain, leaf, others) = example();
    let (upper, lower) = others.split_once(", ").unwrap();
    let read_lines = |lines: &[&str]| {
        let chain = lines.iter().map(|line| (&CLIENT_CERT_CHAIN, *line));
        let fields: Vec<_> = std::iter::once((&CLIENT_CERT, &*leaf)).chain(chain).collect();
        read(&Dialect::ClientCert, &fields)
    };
    assert_eq!(read_lines(&[&others]), Ok(Some(chain.clone()))); // control
    assert_eq!(read_lines(&[upper, lower]), Ok(Some(chain.clone())));
    assert_ne!(read_lines(&[lower, upper]), Ok(Some(chain)), "the order of the lines is the order of the list");
    // What is not a list on one line is not one on several.
    let (half, rest) = upper.split_at(upper.len() / 2);
    for broken in [&[upper, ""][..], &["", lower], &[&format!("{upper},"), lower], &[half, rest], &[upper; 10]] {
        assert_eq!(read_lines(broken).err().map(|error| error.code()), MALFORMED, "{broken:?}");
    }
    let long = format!(":{}:", "A".repeat(MAX_BYTES / 2));
    let bytes = 2 * long.len() + 2;
    assert_eq!(read_lines(&[&long, &long]), Err(ForwardedError::TooLarge { bytes }));
}

#[test]
fn what_is_not_a_certificate_is_refused_in_every_dialect() {
    let (chain, ..) = example();
    let cut = chain[0][..chain[0].len() - 1].to_vec();
    let longer = [&chain[0][..], &[0]].concat();
    for broken in [cut, longer, b"junk".to_vec()] {
        let (pem, hash) = (pem_of(std::slice::from_ref(&broken)), hex(&sha256(&broken)));
        let written = [
            (Dialect::ClientCert, format!(":{}:", STANDARD.encode(&broken))),
            (Dialect::XForwardedClientCert, format!(r#"Hash={hash};Cert="{}""#, escaped(&pem, ""))),
            (nginx(), escaped(&pem, "")),
            (Dialect::AwsAlbVerify, escaped(&pem, "+=/")),
            (Dialect::AwsAlbPassthrough, escaped(&pem, "+=/")),
        ];
        for (dialect, value) in written {
            assert_eq!(code(&dialect, &value), MALFORMED, "{dialect:?}");
        }
    }
    for (dialect, value) in good() {
        assert_eq!(code(&dialect, &value), None, "control");
        for broken in ["", " ", "junk", "%", "::", "\"\"", "-----BEGIN CERTIFICATE-----"] {
            assert_eq!(code(&dialect, broken), MALFORMED, "{dialect:?}: {broken:?}");
        }
        assert_eq!(code(&dialect, &"A".repeat(MAX_BYTES + 1)), MALFORMED, "{dialect:?}");
        for at in [1, value.len() / 2, value.len() - 1] {
            assert!(code(&dialect, &value[..at]).is_some(), "{dialect:?} cut at {at}");
        }
    }
}

#[test]
fn cc_01_a_byte_sequence_has_one_spelling() {
    let (_, leaf, others) = example();
    let client_cert = Dialect::ClientCert;
    assert_eq!(code(&client_cert, &leaf), None); // control
    let inner = leaf.trim_matches(':');
    for broken in [
        inner.to_owned(),
        format!(":{inner}"),
        format!("{inner}:"),
        format!("{leaf};a=1"),
        format!("\"{inner}\""),
        format!("({leaf})"),
        leaf.replace('=', ""),
        format!(":{}=:", inner),
        format!(":{} {}:", &inner[..8], &inner[8..]),
        leaf.replace('/', "_"),
        format!(":{}:", escaped(inner, "")),
        format!("{leaf}, {leaf}"),
    ] {
        assert_eq!(code(&client_cert, &broken), MALFORMED, "{broken}");
    }
    let chain = |text: &str| {
        let lines = [(&CLIENT_CERT, &*leaf), (&CLIENT_CERT_CHAIN, text)];
        read(&client_cert, &lines).err().map(|error| error.code())
    };
    let item = others.split(", ").next().unwrap();
    for good in [others.clone(), others.replace(", ", ","), others.replace(", ", " \t,\t "), item.to_owned()] {
        assert_eq!(chain(&good), None, "{good}"); // control
    }
    for broken in
        ["", ",", &format!("{others},"), &format!("{item};a"), &[item; 10].join(", "), &others.replace(", ", " ")]
    {
        assert_eq!(chain(broken), MALFORMED, "{broken}");
    }
    assert_eq!(chain(&[item; 9].join(", ")), None); // control
    let alone = read(&client_cert, &[(&CLIENT_CERT_CHAIN, &others)]);
    assert_eq!(alone.unwrap_err(), ForwardedError::Malformed { why: "Client-Cert-Chain without Client-Cert" });
}

#[test]
fn envoy_has_one_element_whose_hash_is_that_of_its_certificate() {
    let (chain, ..) = example();
    let envoy = Dialect::XForwardedClientCert;
    let hash = hex(&sha256(&chain[0]));
    let other = hex(&sha256(&chain[1]));
    let (one, whole) = (escaped(&pem_of(&chain[..1]), ""), escaped(&pem_of(&chain), ""));
    let above = escaped(&pem_of(&chain[1..2]), "");
    let good = format!(r#"Hash={hash};Cert="{one}""#);
    for value in [
        good.clone(),
        format!("Hash={hash};Cert={one}"),
        format!(r#"Cert="{one}";hash="{hash}""#),
        format!(r#"Hash={};CERT="{one}""#, hash.to_uppercase()),
        format!(r#"By=;{good};Subject="";URI=;DNS=a;DNS=b;New=x"#),
        format!(r#"{good};Subject="/C=US/CN=\",;Cert=\\""#),
        format!(r#"{good};URI=https://a?b=c"#),
    ] {
        let read = read(&envoy, &[(&XFCC, &value)]);
        assert_eq!(read, Ok(Some(chain[..1].to_vec())), "{value}");
    }
    for value in [format!(r#"Hash={hash};Chain="{whole}""#), format!(r#"{good};Chain="{whole}""#)] {
        assert_eq!(read(&envoy, &[(&XFCC, &value)]), Ok(Some(chain.clone())), "{value}");
    }
    let table = [
        // APPEND_FORWARD and FORWARD_ONLY forward what the client sent; nothing says which element is Envoy's.
        (format!("{good},{good}"), REPEATED),
        (format!("{good}, {good}"), REPEATED),
        (format!("{good},"), REPEATED),
        (format!("Hash={hash},{good}"), REPEATED),
        // A client can choose its names, and Envoy writes them without quotes.
        (format!(r#"{good};URI=spiffe://x;Cert="{above}""#), REPEATED),
        (format!(r#"{good};DNS=x;Hash={other}"#), REPEATED),
        (format!(r#"Hash={hash};Chain="{whole}";URI=x;Cert="{above}""#), MALFORMED),
        (format!(r#"Hash={hash};URI=x;Cert="{above}""#), MALFORMED),
        (format!(r#"{good};URI=x,y"#), REPEATED),
        (format!(r#"{good};URI=x"y"#), MALFORMED),
        // A hash identifies a certificate, but says nothing about its validity or trust.
        (format!("Hash={hash}"), MALFORMED),
        (format!(r#"Cert="{one}""#), MALFORMED),
        (format!(r#"Hash=;Cert="{one}""#), MALFORMED),
        (format!(r#"Hash={};Cert="{one}""#, &hash[..63]), MALFORMED),
        (format!(r#"Hash={other};Cert="{one}""#), MALFORMED),
        (format!(r#"Hash={hash};Cert="{whole}""#), REPEATED),
        (format!(r#"Hash={hash};Cert="""#), MALFORMED),
        // Malformed pairs.
        (format!("{good};"), MALFORMED),
        (format!("{good} "), MALFORMED),
        (format!("; {good}"), MALFORMED),
        (format!("{good};Subject"), MALFORMED),
        (format!("{good};=x"), MALFORMED),
        (format!(r#"{good};Subject="x"#), MALFORMED),
        (format!(r#"{good};Subject="x\"#), MALFORMED),
        (format!(r#"{good};Subject="x"y"#), MALFORMED),
        (format!("{good}{}", ";A=b".repeat(400)), MALFORMED),
    ];
    for (value, expected) in table {
        assert_eq!(code(&envoy, &value), expected, "{value}");
    }
}

#[test]
fn pem_is_whole_and_escaped_as_its_proxy_does() {
    let (chain, ..) = example();
    let pem = pem_of(&chain[..1]);
    let nginx = nginx();
    let aws = Dialect::AwsAlbVerify;
    for value in [escaped(&pem, ""), escaped(&pem.replace('\n', "\r\n"), ""), escaped(pem.trim_end(), "")] {
        assert_eq!((code(&nginx, &value), code(&aws, &value)), (None, None), "{value}");
    }
    let lower = escaped(&pem, "").replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d");
    assert_eq!((code(&nginx, &lower), code(&aws, &lower)), (None, None));
    assert_eq!(code(&aws, &escaped(&pem, "+=/")), None); // control
    assert_eq!(code(&nginx, &escaped(&pem, "+=/")), MALFORMED, "nginx escapes them");
    let whole = escaped(&pem_of(&chain[..2]), "+=/");
    assert_eq!((code(&aws, &whole), code(&nginx, &escaped(&pem_of(&chain[..2]), ""))), (REPEATED, REPEATED));
    assert_eq!(code(&Dialect::AwsAlbPassthrough, &whole), None); // control
    for broken in [
        pem.replace('\n', " "),
        pem.replace('\n', ""),
        format!("x{pem}"),
        format!("\n{pem}"),
        format!("{pem}\n"),
        format!("{pem}x"),
        format!("Subject: CN=a\n{pem}"),
        pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        pem.replace("-----END CERTIFICATE-----", "-----END X509 CRL-----"),
        pem.replacen("\nMII", "\nProc-Type: 4,ENCRYPTED\nMII", 1),
        pem.replacen("\nMII", "\n\nMII", 1),
        pem.replacen("\nMII", "\nMI I", 1),
        pem.replacen("-----\n", "-----", 1),
        pem.replace('=', ""),
    ] {
        assert_eq!(code(&nginx, &escaped(&broken, "")), MALFORMED, "{broken}");
        assert_eq!(code(&aws, &escaped(&broken, "+=/")), MALFORMED, "{broken}");
    }
    let good = escaped(&pem, "");
    for broken in [
        pem.replace('\n', "\t"),
        good.replace("%20", " "),
        good.replace("%20", "+"),
        good.replacen("%0A", "%0", 1),
        good.replacen("%0A", "%0G", 1),
        good.replacen("%0A", "%%0A", 1),
        good.replacen("%0A", "%250A", 1),
        format!("{good}%"),
        format!("{good}%0A%00"),
        format!("{good}%E9"),
        format!("\"{good}\""),
    ] {
        assert_eq!(code(&nginx, &broken), MALFORMED, "{broken}");
    }
    let many = |count: usize| escaped(&pem_of(&vec![chain[0].clone(); count]), "+=/");
    assert_eq!(
        (code(&Dialect::AwsAlbPassthrough, &many(10)), code(&Dialect::AwsAlbPassthrough, &many(11))),
        (None, MALFORMED)
    );
}

#[test]
fn a_digest_tells_apart_whatever_could_be_read_differently() {
    let (_, leaf, others) = example();
    let digest = |lines: &[(&HeaderName, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert((*name).clone(), value.parse().unwrap());
        }
        Dialect::ClientCert.find(&headers).unwrap().unwrap().digest()
    };
    let whole = digest(&[(&CLIENT_CERT, &leaf), (&CLIENT_CERT_CHAIN, &others)]);
    assert_eq!(whole, digest(&[(&CLIENT_CERT, &leaf), (&CLIENT_CERT_CHAIN, &others)])); // control
    assert_ne!(whole, digest(&[(&CLIENT_CERT, &leaf)]));
    assert_ne!(digest(&[(&CLIENT_CERT, &leaf)]), digest(&[(&CLIENT_CERT, &leaf), (&CLIENT_CERT_CHAIN, "")]));
    assert_ne!(
        digest(&[(&CLIENT_CERT, "ab"), (&CLIENT_CERT_CHAIN, "c")]),
        digest(&[(&CLIENT_CERT, "a"), (&CLIENT_CERT_CHAIN, "bc")])
    );
}

#[test]
fn networks_have_their_addresses_and_no_others() {
    for (network, address, has) in [
        ("10.0.0.0/8", "10.255.255.255", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ("10.0.0.0/8", "a00::1", false),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.2", false),
        ("10.1.2.2/31", "10.1.2.3", true),
        ("128.0.0.0/1", "255.0.0.1", true),
        ("128.0.0.0/1", "127.0.0.1", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("::1", "::1", true),
        ("::1/128", "127.0.0.1", false),
    ] {
        let parsed: Network = network.parse().unwrap();
        assert_eq!(parsed.contains(address.parse().unwrap()), has, "{network} has {address}");
    }
    for (text, error) in [
        ("10.0.0.0/33", NotANetwork::Syntax),
        ("10.0.0.0/", NotANetwork::Syntax),
        ("10.0.0.0/+8", NotANetwork::Syntax),
        ("10.0.0.0/264", NotANetwork::Syntax),
        ("010.0.0.0/8", NotANetwork::Syntax),
        ("10.0.0/8", NotANetwork::Syntax),
        ("localhost", NotANetwork::Syntax),
        ("10.0.0.1/8", NotANetwork::HostBits),
        ("2001:db8::1/32", NotANetwork::HostBits),
        ("10.0.0.1/0", NotANetwork::Everybody),
        ("0.0.0.0/0", NotANetwork::Everybody),
        ("::/0", NotANetwork::Everybody),
        ("::ffff:10.0.0.0/104", NotANetwork::Mapped),
    ] {
        assert_eq!(text.parse::<Network>().unwrap_err(), error, "{text}");
    }
    assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
}

#[test]
fn mtls_14_a_proxy_is_known_by_certificate_by_address_or_by_both() {
    let certificate = |names: &[&str]| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        for name in names {
            params.subject_alt_names.push(match name.contains("://") {
                true => rcgen::SanType::URI((*name).try_into().unwrap()),
                false => rcgen::SanType::DnsName((*name).try_into().unwrap()),
            });
        }
        params.self_signed(&key).unwrap().der().to_vec()
    };
    let proxy = certificate(&["other.example", "Proxy.bank.example", "spiffe://bank.example/proxy"]);
    let wild = certificate(&["*.bank.example", "proxy.bank.example.evil", "spiffe://bank.example/proxy/x"]);
    let bare = certificate(&[]);
    let (inside, outside) = ("10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let networks = || vec!["10.0.0.0/8".parse::<Network>().unwrap()];
    let names = |texts: &[&str]| texts.iter().map(|text| text.parse::<ProxyName>().unwrap()).collect::<Vec<_>>();

    let by_name = TrustedProxies::new(vec![], names(&["proxy.BANK.example"]), vec![]).unwrap();
    assert!(by_name.contain(Some(&proxy), outside)); // control
    let by_uri = TrustedProxies::new(vec![], names(&["spiffe://bank.example/proxy"]), vec![]).unwrap();
    assert!(by_uri.contain(Some(&proxy), outside)); // control
    for proxies in [&by_name, &by_uri] {
        assert!(!proxies.contain(None, inside));
        for stranger in [&wild, &bare, &b"junk".to_vec()] {
            assert!(!proxies.contain(Some(stranger), inside));
        }
    }
    let by_thumbprint = TrustedProxies::new(vec![], vec![], vec![CertificateThumbprint::of_der(&bare)]).unwrap();
    assert!(by_thumbprint.contain(Some(&bare), outside)); // control
    assert!(!by_thumbprint.contain(Some(&proxy), outside) && !by_thumbprint.contain(None, outside));
    let by_address = TrustedProxies::new(networks(), vec![], vec![]).unwrap();
    assert!(by_address.contain(None, inside) && by_address.contain(Some(&wild), inside)); // control
    assert!(!by_address.contain(Some(&proxy), outside));
    let by_both = TrustedProxies::new(networks(), names(&["proxy.bank.example"]), vec![]).unwrap();
    assert!(by_both.contain(Some(&proxy), inside)); // control
    assert!(
        !by_both.contain(Some(&proxy), outside)
            && !by_both.contain(Some(&wild), inside)
            && !by_both.contain(None, inside)
    );
    assert!(TrustedProxies::new(vec![], vec![], vec![]).is_none(), "nobody is not everybody");
    for text in ["", "*.bank.example", "a..b", "a b", "a/b", "spiffe://a b", ".", "a."] {
        assert!(text.parse::<ProxyName>().is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_value_panics_and_what_is_read_is_a_certificate(value in prop::collection::vec(any::<u8>(), 0..400)) {
        for (dialect, _) in good() {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let headers = HeaderMap::from_iter([(dialect.header().clone(), value)]);
                prop_assert!(dialect.find(&headers).unwrap().unwrap().read().is_err());
            }
        }
    }

    /// A value with one byte changed is refused, or means the same certificate.
    #[test]
    fn one_byte_changed_never_makes_another_client(which in 0usize..5, at in any::<prop::sample::Index>(), byte in 0x20u8..0x7f) {
        let (dialect, value) = &good()[which];
        let mut bytes = value.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let headers = HeaderMap::from_iter([(dialect.header().clone(), HeaderValue::from_bytes(&bytes).unwrap())]);
        let expected = CertificateThumbprint::of_der(&example().0[0]);
        if let Ok(Some(sent)) = dialect.find(&headers) && let Ok(read) = sent.read() {
            let same = *read.leaf().thumbprint() == expected;
            // Inside the base64, another byte is another certificate; outside, and in Envoy's dialect with its hash, it
            // is not.
            prop_assert!(same || *dialect != Dialect::XForwardedClientCert);
            prop_assert!(same || read.der()[0].len() == example().0[0].len());
        }
    }

    #[test]
    fn certificates_come_back_as_they_were_written(count in 1usize..4) {
        let (chain, ..) = example();
        let chain: Vec<_> = chain.into_iter().cycle().take(count).collect();
        let value = escaped(&pem_of(&chain), "+=/");
        let dialect = Dialect::AwsAlbPassthrough;
        prop_assert_eq!(read(&dialect, &[(&AWS_CHAIN, &value)]), Ok(Some(chain)));
    }
}
