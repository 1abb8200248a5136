//! Client certificates: chains, key usages, revocation, and connections that outlive what they were accepted on.

use std::sync::{Arc, Mutex};

use fapi_gateway::config::Config;
use http::{Request, StatusCode};
use rcgen::{
    BasicConstraints, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, RootCertStore, SignatureScheme};
use sandbox::der::tlv;
use sandbox::pki::{self, Authority, Credential};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::still_serves;
use super::tls::alert;
use crate::support::client::Connection;
use crate::support::{DEADLINE, ORIGIN, Scene, TestClock, World, request};

/// The alert that a client with this certificate receives; `None` if the handshake succeeds.
async fn refusal(world: &World, credential: &Credential) -> Option<AlertDescription> {
    let client = world.anonymous().certificate(credential);
    let mut seen = Vec::new();
    for client in [client.clone().tls13_only(), client.clone().h2()] {
        seen.push(match client.handshake().await {
            Ok(_) => None,
            Err(error) => Some(alert(&error).unwrap_or_else(|| panic!("no alert: {error}"))),
        });
    }
    assert_eq!(seen[0], seen[1]);
    seen[0]
}

/// Adds keys to `client_certificates`.
fn with(keys: &str) -> impl FnOnce(String) -> String {
    move |text| {
        let (head, tail) = text.split_once("trust_anchors: [ca.pem]").expect("client certificates come first");
        let (_, tail) = tail.split_once('}').expect("the section ends with a brace");
        format!("{head}trust_anchors: [ca.pem]{keys} }}{tail}")
    }
}

/// A client's open connections, one for each protocol, and its token.
struct Open {
    connections: [Connection; 2],
    token: String,
}

impl Open {
    async fn new(world: &World, credential: &Credential) -> Self {
        let client = world.anonymous().certificate(credential);
        let connections = [client.clone().h1().connect().await.unwrap(), client.h2().connect().await.unwrap()];
        let token = world.issuer.token(world.clock.now()).bound_to_certificate(credential);
        let mut open =
            Self { connections, token: world.sign(&token.expires_at(world.clock.now() + 40 * 24 * 60 * 60)) };
        assert_eq!(open.judge(world).await, "ok", "control");
        open
    }

    /// The outcome of the next request on both connections.
    async fn judge(&mut self, world: &World) -> String {
        self.ask(world, |token| request("/accounts", token)).await
    }

    /// The outcome of a request for a public route on both connections.
    async fn judge_public(&mut self, world: &World) -> String {
        self.ask(world, |_| Request::get(format!("{ORIGIN}/health")).body(bytes::Bytes::new()).unwrap()).await
    }

    async fn ask(&mut self, world: &World, make: impl Fn(&str) -> Request<bytes::Bytes>) -> String {
        let mut codes = Vec::new();
        for connection in &mut self.connections {
            let response = connection.send(make(&self.token)).await.unwrap();
            let record = world.gateway.record_of(&response);
            assert_eq!(record["status"], response.status().as_u16());
            codes.push((record["code"].as_str().unwrap_or_default().to_owned(), response.status()));
        }
        assert_eq!(codes[0], codes[1], "both protocols agree");
        let (code, status) = codes.swap_remove(0);
        let expected = match code.as_str() {
            "ok" => StatusCode::OK,
            "certificate_missing" => StatusCode::UNAUTHORIZED,
            "connection_outdated" => StatusCode::MISDIRECTED_REQUEST,
            other => panic!("{other}"),
        };
        assert_eq!(status, expected);
        code
    }
}

fn pem(list: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(list);
    format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
}

/// A revocation list whose next update is due in this many seconds by the gateway's clock.
fn list_for(authority: &Authority, clock: &TestClock, revoked: &[&Credential], seconds: u64) -> String {
    let end = i64::try_from(clock.now() + seconds).unwrap();
    let list = authority.revocation_list_with(revoked, |list| {
        list.next_update = OffsetDateTime::from_unix_timestamp(end).unwrap();
        list.this_update = list.next_update - time::Duration::days(1);
    });
    pem(&list)
}

#[tokio::test(flavor = "multi_thread")]
async fn net_14_paths_that_rfc_5280_does_not_allow_fail_the_handshake() {
    use AlertDescription as Alert;
    let world = World::start().await;
    let ca = &world.authority;
    let constrained = |length| {
        ca.intermediate_with("constrained", |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        })
    };
    let named = |name: &str| {
        ca.intermediate_with("named", |params| {
            params.name_constraints = Some(rcgen::NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("bank.example".into())],
                excluded_subtrees: Vec::new(),
            });
        })
        .client_with("named", |params| params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())])
    };
    let no_authority = |params: &mut rcgen::CertificateParams| params.is_ca = IsCa::ExplicitNoCa;
    let unlimited = |usages: Vec<KeyUsagePurpose>| {
        ca.intermediate_with("usage", |params| params.key_usages = usages).client("below")
    };
    let used = |usages: Vec<KeyUsagePurpose>| ca.client_with("used", |params| params.key_usages = usages);
    let extended = |critical: bool| {
        // The extension is on the intermediate: a client with the same TLS library as the gateway refuses to present a
        // leaf with it.
        let between = ca.intermediate_with("extended", |params| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            extension.set_criticality(critical);
            params.custom_extensions.push(extension);
        });
        between.client("below")
    };
    let unshown = {
        let mut credential = ca.intermediate("unshown").client("below");
        credential.chain_der.truncate(1);
        credential
    };
    use KeyUsagePurpose::{ContentCommitment, CrlSign, DigitalSignature, KeyCertSign};
    let cases = [
        ("expired", ca.client_with("late", pki::expired), ca.client("c"), Alert::CertificateExpired),
        ("not yet valid", ca.client_with("early", pki::not_yet_valid), ca.client("c"), Alert::CertificateExpired),
        ("of a stranger", Authority::new("Test CA").client("c"), ca.client("c"), Alert::DecryptError),
        ("of an unknown", Authority::new("Other CA").client("c"), ca.client("c"), Alert::UnknownCA),
        ("an authority that is not shown", unshown, ca.intermediate("shown").client("c"), Alert::UnknownCA),
        (
            "no authority",
            ca.intermediate_with("no", no_authority).client("c"),
            ca.client("c"),
            Alert::CertificateUnknown,
        ),
        (
            "path length",
            constrained(0).intermediate("too deep").client("c"),
            constrained(1).intermediate("deep").client("c"),
            Alert::CertificateUnknown,
        ),
        ("name", named("client.evil.example"), named("client.bank.example"), Alert::CertificateUnknown),
        ("critical", extended(true), extended(false), Alert::CertificateUnknown),
        ("cannot sign", unlimited(vec![DigitalSignature]), unlimited(vec![KeyCertSign, CrlSign]), Alert::UnknownCA),
        ("cannot be used", used(vec![ContentCommitment]), used(Vec::new()), Alert::UnsupportedCertificate),
    ];
    for (what, bad, good, expected) in &cases {
        assert_eq!(refusal(&world, good).await, None, "control of {what}");
        assert_eq!(refusal(&world, bad).await, Some(*expected), "{what}");
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_14_a_handshake_takes_what_only_the_second_validator_supports() {
    let world = World::start().await;
    let ca = &world.authority;
    let nation = |country: &str| {
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, country);
        name
    };
    let limited = ca.intermediate_with("limited", |params| {
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DirectoryName(nation("NL"))],
            excluded_subtrees: Vec::new(),
        });
    });
    let of = |country: &str| limited.client_with("c", |params| params.distinguished_name = nation(country));
    // policyConstraints, requireExplicitPolicy 0 or 9: the clients have no policy.
    let requires = |skip: u8| {
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 36], vec![0x30, 3, 0x80, 1, skip]);
        extension.set_criticality(true);
        ca.intermediate_with("requires", |params| params.custom_extensions = vec![extension]).client("c")
    };
    let spelled = |ca: &Authority, name: &str| {
        ca.spelled(DnValue::PrintableString(name.try_into().unwrap())).intermediate("below").client("c")
    };
    // certificatePolicies with any-policy, or an extension that nobody knows, in the client's certificate itself.
    let says = |number: u64| {
        let content = vec![0x30, 8, 0x30, 6, 6, 4, 0x55, 0x1d, 0x20, 0];
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, number], content);
        extension.set_criticality(true);
        ca.client_with("c", |params| params.custom_extensions = vec![extension])
    };
    let identified = |signer: &Authority| {
        signer.reissued(&ca.client("c"), |fields| {
            let extensions = fields.pop().expect("a certificate has extensions");
            fields.extend([tlv(0x81, &[0, 1]), tlv(0x82, &[0, 2]), extensions]);
        })
    };
    for (what, good, bad, expected) in [
        ("policies of the client", says(32), says(99), AlertDescription::CertificateUnknown),
        ("unique identifiers", identified(ca), identified(&Authority::new("Test CA")), AlertDescription::DecryptError),
        ("a directory name", of("NL"), of("DE"), AlertDescription::CertificateUnknown),
        ("an explicit policy", requires(9), requires(0), AlertDescription::CertificateUnknown),
        ("a spelling", spelled(ca, "TEST ca"), spelled(ca, "TESTca"), AlertDescription::UnknownCA),
        (
            "a key",
            spelled(ca, "TEST ca"),
            spelled(&Authority::new("Test CA"), "TEST ca"),
            AlertDescription::DecryptError,
        ),
    ] {
        assert_eq!(refusal(&world, &good).await, None, "control of {what}");
        assert_eq!(refusal(&world, &bad).await, Some(expected), "{what}");
    }
    // The same rule applies to a connection that is open when a list of version 1 arrives.
    let (kept, revoked) = (of("NL"), of("NL"));
    let (mut first, mut second) = (Open::new(&world, &kept).await, Open::new(&world, &revoked).await);
    let folder = world.gateway.folder();
    folder.write("ca.crl", &pem(&ca.version_one_list(&[], |_| {})));
    folder.write("limited.crl", &pem(&limited.version_one_list(&[&revoked], |_| {})));
    world.reload(1, with(", revocation_lists: [ca.crl, limited.crl]")).await;
    assert_eq!(first.judge(&world).await, "ok", "control");
    assert_eq!(second.judge(&world).await, "certificate_missing");
    assert_eq!(refusal(&world, &revoked).await, Some(AlertDescription::CertificateRevoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn dec_10_extended_key_usage_is_what_the_configuration_says() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    let world = World::start().await;
    let meant_for = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        world.authority.client_with("meant", |params| params.extended_key_usages = purposes)
    };
    let certificates = [
        meant_for(vec![ClientAuth]),
        meant_for(vec![ServerAuth, ClientAuth]),
        meant_for(Vec::new()),
        meant_for(vec![ServerAuth]),
        meant_for(vec![Any]),
    ];
    let below = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        let authority = world.authority.intermediate_with("meant", |params| params.extended_key_usages = purposes);
        authority.client("below")
    };
    let authorities = [below(Vec::new()), below(vec![ClientAuth]), below(vec![ServerAuth])];
    let table = [
        ("", [true, true, true, false, false], [true, true, false]),
        (", extended_key_usage: client_auth", [true, true, false, false, false], [true, true, false]),
        (", extended_key_usage: client_auth_or_absent", [true, true, true, false, false], [true, true, false]),
        (", extended_key_usage: any", [true; 5], [true; 3]),
    ];
    for (count, (keys, leaves, intermediates)) in table.into_iter().enumerate() {
        world.reload(count + 1, with(keys)).await;
        for (credential, good) in certificates.iter().zip(leaves).chain(authorities.iter().zip(intermediates)) {
            let expected = (!good).then_some(AlertDescription::UnsupportedCertificate);
            assert_eq!(refusal(&world, credential).await, expected, "{keys:?}");
        }
    }
    // The same rule applies to open connections.
    let (mut plain, mut named) = (Open::new(&world, &certificates[2]).await, Open::new(&world, &certificates[0]).await);
    world.reload(5, with(", extended_key_usage: client_auth")).await;
    assert_eq!(plain.judge(&world).await, "certificate_missing");
    assert_eq!(named.judge(&world).await, "ok", "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_16_a_certificate_that_is_revoked_loses_its_open_connections() {
    let world = World::start().await;
    let (mut first, mut second) = (Open::new(&world, &world.c1).await, Open::new(&world, &world.c2).await);
    world.gateway.folder().write("ca.crl", &world.authority.revocation_list_pem(&[&world.c1]));
    world.reload(1, with(", revocation_lists: [ca.crl]")).await;
    for _ in 0..2 {
        assert_eq!(first.judge(&world).await, "certificate_missing");
        assert_eq!(second.judge(&world).await, "ok", "control");
    }
    // A client that may connect without a certificate may keep its connection without one.
    assert_eq!(first.judge_public(&world).await, "ok");
    assert_eq!(refusal(&world, &world.c1).await, Some(AlertDescription::CertificateRevoked));
    assert_eq!(refusal(&world, &world.c2).await, None, "control");

    // Where a certificate is required, a connection without one is refused.
    world.reload(2, |text| text.replace("mode: optional", "mode: required")).await;
    assert_eq!(first.judge_public(&world).await, "connection_outdated");
    assert_eq!(second.judge_public(&world).await, "ok", "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_16_a_required_certificate_that_is_trusted_no_more_ends_every_request() {
    let world = World::with(|scene| scene.replace("mode: optional", "mode: required")).await;
    let (mut first, mut second) = (Open::new(&world, &world.c1).await, Open::new(&world, &world.c2).await);
    world.gateway.folder().write("ca.crl", &world.authority.revocation_list_pem(&[&world.c1]));
    world.reload(1, with(", revocation_lists: [ca.crl]")).await;
    let before = world.accounts.server().heads();
    assert_eq!(first.judge_public(&world).await, "connection_outdated");
    assert_eq!(world.accounts.server().heads(), before, "nothing is forwarded");
    assert_eq!(second.judge_public(&world).await, "ok", "control");
    assert_eq!(second.judge(&world).await, "ok", "control");

    // Another authority replaces ours: no client's certificate is trusted any longer.
    world.gateway.folder().write("other.pem", &Authority::new("Other CA").pem());
    world
        .reload(2, |text| {
            text.replace("trust_anchors: [ca.pem], revocation_lists: [ca.crl] }", "trust_anchors: [other.pem] }")
        })
        .await;
    assert_eq!(second.judge(&world).await, "connection_outdated");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_16_a_list_past_its_next_update_refuses_until_it_is_replaced() {
    let world = World::start().await;
    let folder = world.gateway.folder();
    folder.write("ca.crl", &list_for(&world.authority, &world.clock, &[&world.c2], 1000));
    world.reload(1, with(", revocation_lists: [ca.crl]")).await;
    let next_update = world.clock.now() + 1000;
    let metrics = world.gateway.admin("/metrics").await.1;
    let shown =
        format!("fapi_gateway_revocation_list_next_update_timestamp_seconds{{file=\"ca.crl\"}} {next_update}\n");
    assert!(metrics.contains(&shown), "{metrics}");
    let mut open = Open::new(&world, &world.c1).await;
    world.clock.advance(999);
    assert_eq!(open.judge(&world).await, "ok", "control: the last second");
    assert_eq!(refusal(&world, &world.c1).await, None, "control: the last second");
    world.clock.advance(1);
    for _ in 0..2 {
        assert_eq!(open.judge(&world).await, "certificate_missing");
    }
    assert_eq!(refusal(&world, &world.c1).await, Some(AlertDescription::UnknownCA));

    // A newer list next to the old one is enough.
    folder.write("newer.crl", &list_for(&world.authority, &world.clock, &[], 1000));
    world.reload(2, with(", revocation_lists: [ca.crl, newer.crl]")).await;
    assert_eq!(open.judge(&world).await, "ok");
    assert_eq!(refusal(&world, &world.c1).await, None);
    assert_eq!(refusal(&world, &world.c2).await, None, "the newer list no longer names it");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_16_a_list_past_its_next_update_goes_on_counting_where_that_is_said() {
    let world = World::start().await;
    let folder = world.gateway.folder();
    folder.write("ca.crl", &list_for(&world.authority, &world.clock, &[&world.c2], 1000));
    world.reload(1, with(", revocation_lists: [ca.crl], revocation_list_expired: accept")).await;
    let mut open = Open::new(&world, &world.c1).await;
    world.clock.advance(2000);
    assert_eq!(open.judge(&world).await, "ok");
    assert_eq!(refusal(&world, &world.c1).await, None);
    assert_eq!(refusal(&world, &world.c2).await, Some(AlertDescription::CertificateRevoked), "it is still named");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_16_every_certificate_below_the_anchor_needs_a_list_of_its_issuer() {
    let world = World::start().await;
    let between = world.authority.intermediate("between");
    let (below, namesake) = (between.client("below"), world.authority.intermediate("between"));
    let folder = world.gateway.folder();
    folder.write("ca.crl", &world.authority.revocation_list_pem(&[]));
    folder.write("between.crl", &between.revocation_list_pem(&[]));
    folder.write("forged.crl", &namesake.revocation_list_pem(&[]));
    let unknown = Some(AlertDescription::UnknownCA);
    world.reload(1, with(", revocation_lists: [ca.crl]")).await;
    assert_eq!((refusal(&world, &world.c1).await, refusal(&world, &below).await), (None, unknown));
    world.reload(2, with(", revocation_lists: [between.crl]")).await;
    assert_eq!((refusal(&world, &world.c1).await, refusal(&world, &below).await), (unknown, unknown));
    world.reload(3, with(", revocation_lists: [between.crl, ca.crl]")).await;
    assert_eq!((refusal(&world, &world.c1).await, refusal(&world, &below).await), (None, None));
    // An authority can be revoked as well.
    let (_, own) = x509_parser::parse_x509_certificate(between.der()).unwrap();
    let list = world.authority.revocation_list_with(&[], |list| {
        list.revoked_certs.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(own.raw_serial()),
            revocation_time: list.this_update,
            reason_code: None,
            invalidity_date: None,
        });
    });
    let mut open = Open::new(&world, &below).await;
    folder.write("ca.crl", &pem(&list));
    world.reload(4, |text| text).await;
    assert_eq!(open.judge(&world).await, "certificate_missing");
    assert_eq!(refusal(&world, &below).await, Some(AlertDescription::CertificateRevoked));
    assert_eq!(refusal(&world, &world.c1).await, None, "control");
    // Only the issuer can declare a certificate good.
    folder.write("ca.crl", &world.authority.revocation_list_pem(&[]));
    world.reload(5, with(", revocation_lists: [forged.crl, ca.crl]")).await;
    assert_eq!(refusal(&world, &world.c1).await, None, "control");
    assert!(refusal(&world, &below).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn net_16_an_authority_that_changed_its_key_has_a_list_for_each() {
    let world = World::start().await;
    let (old, new) = (&world.authority, Authority::new("Test CA"));
    let (kept, revoked, below) = (new.client("kept"), new.client("revoked"), new.intermediate("below"));
    let folder = world.gateway.folder();
    folder.write("ca.pem", &(old.pem() + &new.pem()));
    folder.write("old.crl", &old.revocation_list_pem(&[&world.c2]));
    folder.write("new.crl", &new.revocation_list_pem(&[&revoked]));
    folder.write("below.crl", &below.revocation_list_pem(&[]));
    let below = below.client("client");
    for (count, lists) in ["old.crl, new.crl, below.crl", "below.crl, new.crl, old.crl"].into_iter().enumerate() {
        world.reload(count + 1, with(&format!(", revocation_lists: [{lists}]"))).await;
        for good in [&world.c1, &kept, &below] {
            assert_eq!(refusal(&world, good).await, None, "{lists}");
        }
        for bad in [&world.c2, &revoked] {
            assert_eq!(refusal(&world, bad).await, Some(AlertDescription::CertificateRevoked), "{lists}");
        }
    }
    // The list of one key does not cover the certificates of the other.
    world.reload(3, with(", revocation_lists: [old.crl, below.crl]")).await;
    assert_eq!(refusal(&world, &world.c1).await, None, "control");
    for bad in [&kept, &revoked, &below] {
        assert_eq!(refusal(&world, bad).await, Some(AlertDescription::UnknownCA));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_15_an_authority_in_between_that_expires_ends_the_use_of_what_it_issued() {
    let world = World::start().await;
    let end = i64::try_from(world.clock.now() + 1000).unwrap();
    let between = world.authority.intermediate_with("short", |params| {
        params.not_after = OffsetDateTime::from_unix_timestamp(end).unwrap();
    });
    let (mut below, mut control) =
        (Open::new(&world, &between.client("below")).await, Open::new(&world, &world.c1).await);
    world.clock.advance(1000);
    assert_eq!(below.judge(&world).await, "ok", "control: the last second");
    world.clock.advance(1);
    assert_eq!(below.judge(&world).await, "certificate_missing");
    assert_eq!(control.judge(&world).await, "ok", "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_15_a_required_certificate_that_expires_ends_the_connection() {
    let world = World::with(|scene| scene.replace("mode: optional", "mode: required")).await;
    let end = i64::try_from(world.clock.now() + 1000).unwrap();
    let short = world.authority.client_with("short", |params| {
        params.not_after = OffsetDateTime::from_unix_timestamp(end).unwrap();
    });
    let (mut short, mut control) = (Open::new(&world, &short).await, Open::new(&world, &world.c1).await);
    world.clock.advance(1000);
    assert_eq!(short.judge_public(&world).await, "ok", "control: the last second");
    world.clock.advance(1);
    assert_eq!(short.judge_public(&world).await, "connection_outdated");
    assert_eq!(control.judge_public(&world).await, "ok", "control");
}

/// A client that records the request for a certificate, and presents none.
#[derive(Debug, Default)]
struct Asked(Mutex<Option<Vec<Vec<u8>>>>);

impl ResolvesClientCert for Asked {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.0.lock().unwrap() = Some(hints.iter().map(|hint| hint.to_vec()).collect());
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The names of authorities in the certificate request; `None` if there is no such request.
async fn asked(world: &World) -> Option<Vec<Vec<u8>>> {
    let mut roots = RootCertStore::empty();
    roots.add(world.authority.der().clone()).unwrap();
    let asked = Arc::new(Asked::default());
    let mut config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(asked.clone());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    timeout(DEADLINE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap().unwrap();
    asked.0.lock().unwrap().take()
}

#[tokio::test(flavor = "multi_thread")]
async fn net_28_net_29_a_client_is_asked_for_what_counts_and_for_no_more() {
    let world = World::start().await;
    let mut own = RootCertStore::empty();
    own.add(world.authority.der().clone()).unwrap();
    assert_eq!(asked(&world).await, Some(own.subjects().iter().map(|name| name.as_ref().to_vec()).collect()));
    // More names than fit: the list is empty, the client chooses, and its certificate is checked as usual.
    let many: String = (0..200).map(|number| Authority::new(&format!("Authority {number:050}")).pem()).collect();
    world.gateway.folder().write("many.pem", &(world.authority.pem() + &many));
    world.reload(1, |text| text.replacen("trust_anchors: [ca.pem] }", "trust_anchors: [many.pem] }", 1)).await;
    assert_eq!(asked(&world).await, Some(Vec::new()));
    assert_eq!(refusal(&world, &world.c1).await, None);
    let stranger = Authority::new("Other CA").client("c");
    assert_eq!(refusal(&world, &stranger).await, Some(AlertDescription::UnknownCA));
    let chain = "mode: optional, trust: chain, trust_anchors: [many.pem]";
    world.reload(2, |text| text.replace(chain, "mode: optional, trust: possession")).await;
    assert_eq!(asked(&world).await, Some(Vec::new()), "RFC 8705 §6.2: any certificate");
    world.reload(3, |text| text.replace("mode: optional, trust: possession", "mode: none")).await;
    assert_eq!(asked(&world).await, None);
}

#[test]
fn an_anchor_without_a_list_is_worth_a_warning() {
    let (first, second) = (Authority::new("First CA"), Authority::new("Second CA"));
    let load = |lists: &str| {
        let folder = Scene::new(&first, "https://localhost:9", "127.0.0.1:9".parse().unwrap())
            .file("both.pem", &(first.pem() + &second.pem()))
            .file("first.crl", &first.revocation_list_pem(&[]))
            .file("second.crl", &second.revocation_list_pem(&[]))
            .replace("trust_anchors: [ca.pem] }\nadmin", &format!("trust_anchors: [both.pem]{lists} }}\nadmin"))
            .into_folder();
        Config::load(&folder.path().join("gateway.yaml")).unwrap_or_else(|errors| panic!("{errors}")).warnings
    };
    assert_eq!(load(""), Vec::<String>::new());
    assert_eq!(load(", revocation_lists: [first.crl, second.crl]"), Vec::<String>::new(), "control");
    let warnings = load(", revocation_lists: [first.crl]");
    assert!(
        matches!(warnings.as_slice(), [only] if only.contains("revocation_lists: 1 of 2 trust anchors have no revocation list")),
        "{warnings:?}"
    );
}

#[test]
fn what_an_anchor_says_in_vain_is_worth_a_warning() {
    let critical = |number: u64, content: &[u8]| {
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, number], content.to_vec());
        extension.set_criticality(true);
        vec![extension]
    };
    let anchor = |extensions: Vec<CustomExtension>| {
        Authority::new_with("CA", |params| params.custom_extensions = extensions).pem()
    };
    let load = |anchor: &str| {
        let folder = Scene::new(&Authority::new("x"), "https://localhost:9", "127.0.0.1:9".parse().unwrap())
            .file("ca.pem", anchor)
            .into_folder();
        Config::load(&folder.path().join("gateway.yaml")).unwrap_or_else(|errors| panic!("{errors}")).warnings
    };
    // permittedSubtrees with a host name, and with a registeredID.
    assert_eq!(
        load(&anchor(critical(30, &[0x30, 9, 0xa0, 7, 0x30, 5, 0x82, 3, b'a', b'.', b'b']))),
        Vec::<String>::new()
    );
    assert_eq!(load(&anchor(Vec::new())), Vec::<String>::new(), "control");
    for (extensions, expected) in [
        (
            critical(30, &[0x30, 8, 0xa0, 6, 0x30, 4, 0x88, 2, 0x2a, 3]),
            "has the extension nameConstraints with a form of names that is not supported",
        ),
        (critical(36, &[0x30, 3, 0x80, 1, 0]), "has the extension policyConstraints, which has no effect there"),
        (critical(54, &[2, 1, 0]), "has the extension inhibitAnyPolicy, which has no effect there"),
    ] {
        let warnings = load(&anchor(extensions));
        assert!(matches!(warnings.as_slice(), [only] if only.contains(expected)), "{expected}: {warnings:?}");
    }
}
