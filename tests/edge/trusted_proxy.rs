//! A proxy in front that terminates TLS: whose certificate is trusted, whose is not, and what the upstream receives of
//! it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fapi_gateway::config::Config;
use http::{HeaderValue, Request};
use rcgen::{DistinguishedName, DnType, GeneralSubtree, NameConstraints, SanType};
use rustls::pki_types::CertificateDer;
use sandbox::pki::{self, Authority, Credential, self_signed};
use serde_json::Value;

use crate::support::client::{Client, Connection};
use crate::support::{ORIGIN, Scene, World, certificate_of_proxy, request};

const DIALECTS: [&str; 5] =
    ["client_cert", "x_forwarded_client_cert", "nginx_escaped_pem", "aws_alb_verify", "aws_alb_passthrough"];

/// The name of the trusted proxy.
const PROXY: &str = "proxy.bank.internal";

/// The section `forwarded_client_certificate` of a listener, in flow style.
fn section(dialect: &str, from: &str, trust: &str) -> String {
    let header = if dialect == "nginx_escaped_pem" { ", header: X-SSL-Client-Cert" } else { "" };
    format!("    forwarded_client_certificate: {{ dialect: {dialect}{header}, from: {{ {from} }}, {trust} }}\n")
}

fn named() -> String {
    format!("names: [{PROXY}]")
}

const CHAIN: &str = "trust: chain, trust_anchors: [ca.pem]";
const END: &str = "trust_anchors: [ca.pem] }\nadmin";

/// Adds a section at the end of the listener.
fn with(section: &str) -> impl FnOnce(Scene) -> Scene {
    move |scene| scene.replace(END, &format!("trust_anchors: [ca.pem] }}\n{section}admin"))
}

/// A world that trusts proxies by name and uses this dialect.
async fn world(dialect: &str) -> World {
    World::with(with(&section(dialect, &named(), CHAIN))).await
}

/// A client that presents the proxy's own certificate.
fn proxy(world: &World) -> Client {
    world.anonymous().certificate(&certificate_of_proxy(&world.authority, PROXY))
}

fn pem(certificates: &[CertificateDer<'_>]) -> String {
    let one = |der: &CertificateDer<'_>| {
        let body = STANDARD.encode(der);
        let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    certificates.iter().map(one).collect()
}

fn escaped(text: &str, spared: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c) || spared.contains(c);
    text.chars().map(|c| if plain(c) { c.to_string() } else { format!("%{:02X}", u32::from(c)) }).collect()
}

/// The field line in which a proxy forwards a certificate.
fn line(dialect: &str, credential: &Credential) -> (&'static str, String) {
    let chain = &credential.chain_der;
    match dialect {
        "client_cert" => ("client-cert", format!(":{}:", STANDARD.encode(&chain[0]))),
        "x_forwarded_client_cert" => {
            let hash: String = credential.thumbprint_sha256().iter().map(|byte| format!("{byte:02x}")).collect();
            let value = format!(
                "By=spiffe://bank/envoy;Hash={hash};Cert=\"{}\";Chain=\"{}\";Subject=\"CN=x\"",
                escaped(&pem(&chain[..1]), ""),
                escaped(&pem(chain), "")
            );
            ("x-forwarded-client-cert", value)
        }
        "nginx_escaped_pem" => ("x-ssl-client-cert", escaped(&pem(&chain[..1]), "")),
        "aws_alb_verify" => ("x-amzn-mtls-clientcert-leaf", escaped(&pem(&chain[..1]), "+=/")),
        "aws_alb_passthrough" => ("x-amzn-mtls-clientcert", escaped(&pem(chain), "+=/")),
        other => panic!("unknown dialect {other}"),
    }
}

/// Adds a field line to a request.
fn and(mut request: Request<Bytes>, (name, value): (&'static str, String)) -> Request<Bytes> {
    request.headers_mut().append(name, HeaderValue::try_from(value).unwrap());
    request
}

/// `GET /accounts` with a token that is bound to this certificate.
fn bound_to(world: &World, credential: &Credential) -> Request<Bytes> {
    let token = world.issuer.token(world.clock.now()).bound_to_certificate(credential);
    request("/accounts", &world.sign(&token.expires_at(world.clock.now() + 40 * 24 * 60 * 60)))
}

/// The good request: `GET /accounts` with `T(C)` and `C`, both of this client.
fn good(world: &World, dialect: &str, credential: &Credential) -> Request<Bytes> {
    and(bound_to(world, credential), line(dialect, credential))
}

fn health() -> Request<Bytes> {
    Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap()
}

/// Returns status, code and record.
async fn ask(world: &World, connection: &mut Connection, request: Request<Bytes>) -> (u16, String, Value) {
    let response = connection.send(request).await.expect("the gateway answers");
    let record = world.gateway.record_of(&response);
    (response.status().as_u16(), record["code"].as_str().unwrap_or_default().to_owned(), record)
}

/// Returns the code alone.
async fn code(world: &World, client: &Client, request: Request<Bytes>) -> String {
    world.judge_from(client, request).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_14_a_token_is_bound_to_the_certificate_that_a_trusted_proxy_hands_on() {
    for dialect in DIALECTS {
        let world = world(dialect).await;
        for proxy in [proxy(&world).h1(), proxy(&world).h2()] {
            // One connection carries the requests of many clients; nothing is shared between them.
            let mut connection = proxy.connect().await.unwrap();
            for client in [&world.c1, &world.c2, &world.c1] {
                world.accounts.clear();
                let (status, code, record) = ask(&world, &mut connection, good(&world, dialect, client)).await;
                assert_eq!((status, code.as_str()), (200, "ok"), "{dialect}: {record}");
                let name = if client.x5t_s256() == world.c1.x5t_s256() { "CN=client-1" } else { "CN=client-2" };
                assert_eq!(
                    (&record["certificate_subject"], &record["certificate_source"]),
                    (&name.into(), &"forwarded".into())
                );
                let seen = world.accounts.requests().remove(0);
                let certificate = format!(":{}:", STANDARD.encode(&client.chain_der[0]));
                assert_eq!(
                    seen.header("client-cert"),
                    Some(certificate.as_str()),
                    "in the form of RFC 9440, whatever the dialect"
                );
                for name in [
                    "x-forwarded-client-cert",
                    "x-ssl-client-cert",
                    "x-amzn-mtls-clientcert-leaf",
                    "x-amzn-mtls-clientcert",
                ] {
                    assert_eq!(seen.header(name), None, "{dialect}: {name}");
                }
                let stolen = and(bound_to(&world, &world.c1), line(dialect, &world.c2));
                assert_eq!(ask(&world, &mut connection, stolen).await.1, "certificate_mismatch", "{dialect}");
                let (_, code, record) = ask(&world, &mut connection, bound_to(&world, client)).await;
                assert_eq!(code, "certificate_missing", "{dialect}: nothing of the previous request is used");
                assert!(record["detail"].as_str().unwrap().ends_with("the proxy in front forwarded none"), "{record}");
                assert_eq!(
                    (&record["certificate_subject"], &record["certificate_source"]),
                    (&Value::Null, &Value::Null)
                );
            }
        }
        // A client that connects without the proxy is identified by the certificate of its own connection.
        let response = world.client().send(world.request()).await.unwrap();
        assert_eq!(world.gateway.record_of(&response)["certificate_source"], "handshake");
        assert_eq!(response.status(), 200, "{dialect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_01_no_token_is_bound_to_the_certificate_of_the_proxy() {
    let world = world("client_cert").await;
    let own = certificate_of_proxy(&world.authority, PROXY);
    let proxy = world.anonymous().certificate(&own);
    assert_eq!(code(&world, &proxy, bound_to(&world, &own)).await, "certificate_missing");
    let of_another = and(bound_to(&world, &own), line("client_cert", &world.c1));
    assert_eq!(code(&world, &proxy, of_another).await, "certificate_mismatch");
    let handed_on = and(bound_to(&world, &own), line("client_cert", &own));
    assert_eq!(code(&world, &proxy, handed_on).await, "certificate_missing", "not even if it says it is a client's");
    let stranger = certificate_of_proxy(&world.authority, "other.bank.internal");
    let client = world.anonymous().certificate(&stranger);
    assert_eq!(code(&world, &client, bound_to(&world, &stranger)).await, "ok", "control: any other peer is a client");
    world.accounts.clear();
    assert_eq!(code(&world, &proxy, health()).await, "ok");
    world
        .reload(1, |text| text.replace("path: /health", "path: /health\n    forward: { client_certificate: true }"))
        .await;
    for (client, has) in [(&proxy, false), (&client, true)] {
        world.accounts.clear();
        assert_eq!(code(&world, client, health()).await, "ok");
        let seen = world.accounts.requests().remove(0);
        assert_eq!(
            seen.header("client-cert").is_some(),
            has,
            "the proxy's certificate is never forwarded as a client's"
        );
    }
    world
        .reload(2, |text| {
            text.lines()
                .filter(|line| !line.contains("forwarded_client_certificate"))
                .map(|line| format!("{line}\n"))
                .collect()
        })
        .await;
    assert_eq!(
        code(&world, &proxy, bound_to(&world, &own)).await,
        "ok",
        "control: without proxies everybody is a client"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_hd_01_what_anybody_else_sends_is_not_believed_and_does_not_go_up() {
    for dialect in DIALECTS {
        let world = world(dialect).await;
        let wildcard = certificate_of_proxy(&world.authority, "*.bank.internal");
        let strangers = [
            (world.anonymous(), "certificate_missing"),
            (world.anonymous().certificate(&world.c2), "certificate_mismatch"),
            (world.anonymous().certificate(&wildcard), "certificate_mismatch"),
        ];
        for (stranger, expected) in strangers {
            for stranger in [stranger.clone().h1(), stranger.h2()] {
                let forged = || good(&world, dialect, &world.c1);
                assert_eq!(code(&world, &stranger, forged()).await, expected, "{dialect}");
                world.accounts.clear();
                // A proxy's malformed field is refused; from any other peer the field is not even read.
                let (name, value) = line(dialect, &world.c1);
                let ignored = and(and(and(health(), (name, value.clone())), (name, value)), (name, "junk".into()));
                assert_eq!(code(&world, &stranger, ignored).await, "ok", "{dialect}");
                assert_eq!(world.accounts.requests().remove(0).header(name), None, "{dialect}");
                assert_eq!(code(&world, &proxy(&world), forged()).await, "ok", "control");
            }
        }
        let own = and(world.request(), line(dialect, &world.c2));
        assert_eq!(
            code(&world, &world.client(), own).await,
            "ok",
            "{dialect}: the connection's own certificate counts"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_hd_02_of_a_trusted_proxy_one_field_in_one_writing_counts() {
    for dialect in DIALECTS {
        let world = world(dialect).await;
        let proxy = proxy(&world);
        let mut connection = proxy.connect().await.unwrap();
        let (name, value) = line(dialect, &world.c1);
        for other in DIALECTS.iter().filter(|other| **other != dialect) {
            let request = and(bound_to(&world, &world.c1), line(other, &world.c1));
            assert_eq!(ask(&world, &mut connection, request).await.1, "certificate_missing", "{other} for {dialect}");
            let beside = and(good(&world, dialect, &world.c2), line(other, &world.c1));
            assert_eq!(ask(&world, &mut connection, beside).await.1, "ok", "{other} beside {dialect}");
        }
        let looks_alike: &'static str = match dialect {
            "client_cert" => "client_cert",
            "x_forwarded_client_cert" => "x-forwarded_client_cert",
            "nginx_escaped_pem" => "x_ssl_client_cert",
            "aws_alb_verify" => "x-amzn-mtls-clientcert_leaf",
            _ => "x.amzn.mtls.clientcert",
        };
        world.accounts.clear();
        let request = and(bound_to(&world, &world.c1), (looks_alike, value.clone()));
        assert_eq!(ask(&world, &mut connection, request).await.1, "certificate_missing", "{looks_alike}");
        let request = and(good(&world, dialect, &world.c1), (looks_alike, line(dialect, &world.c2).1));
        assert_eq!(ask(&world, &mut connection, request).await.1, "ok", "{looks_alike}");
        assert_eq!(world.accounts.requests().remove(0).header(looks_alike), None);

        let two = [value.clone(), line(dialect, &world.c2).1];
        for second in two {
            let request = and(and(bound_to(&world, &world.c1), (name, value.clone())), (name, second));
            let (status, code, record) = ask(&world, &mut connection, request).await;
            assert_eq!((status, code.as_str()), (400, "forwarded_certificate_repeated"), "{dialect}: {record}");
        }
        for junk in ["", "junk", "%00", &value[..value.len() - 20], &format!("{value}x"), &"A".repeat(20_000)] {
            for request in [bound_to(&world, &world.c1), health()] {
                let (status, code, record) = ask(&world, &mut connection, and(request, (name, junk.to_owned()))).await;
                assert_eq!((status, code.as_str()), (400, "forwarded_certificate_malformed"), "{dialect}: {record}");
                assert_eq!(record["certificate_subject"], Value::Null, "{record}");
            }
        }
        let (status, code, _) = ask(&world, &mut connection, good(&world, dialect, &world.c1)).await;
        assert_eq!((status, code.as_str()), (200, "ok"), "control, on the connection of all of these");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_a_message_with_two_readings_is_refused_for_that_and_ends_the_connection() {
    let world = world("client_cert").await;
    let proxy = proxy(&world).h1();
    let mut connection = proxy.connect().await.unwrap();
    let (_, code, _) = ask(&world, &mut connection, and(health(), ("client-cert", "junk".into()))).await;
    assert_eq!(code, "forwarded_certificate_malformed", "control");
    assert_eq!(
        ask(&world, &mut connection, health()).await.1,
        "ok",
        "control: one client's fault does not affect the next one"
    );
    let next = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let fields = "Host: localhost\r\nClient-Cert: junk\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let ambiguous = proxy.raw(format!("GET /health HTTP/1.1\r\n{fields}\r\n0\r\n\r\n{next}").as_bytes()).await;
    let text = String::from_utf8(ambiguous).unwrap();
    assert!(text.starts_with("HTTP/1.1 400 ") && text.matches("HTTP/1.1 ").count() == 1, "{text}");
    assert!(text.to_ascii_lowercase().contains("connection: close"), "{text}");
    world.gateway.record_where(|record| record["code"] == "framing_ambiguous");
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_that_appends_instead_of_replacing_is_refused() {
    let world = world("x_forwarded_client_cert").await;
    let proxy = proxy(&world);
    let (name, own) = line("x_forwarded_client_cert", &world.c2);
    let (_, forged) = line("x_forwarded_client_cert", &world.c1);
    for both in [format!("{forged},{own}"), format!("{own},{forged}")] {
        let request = and(bound_to(&world, &world.c1), (name, both));
        assert_eq!(code(&world, &proxy, request).await, "forwarded_certificate_repeated");
    }
    // A client chooses the name in its certificate: Envoy writes `URI` without quotes.
    let (_, cert) = forged.split_once("Cert=").unwrap();
    let cert = cert.split_once(';').unwrap().0;
    let injected = format!("{own};URI=spiffe://x;Cert={cert}");
    let request = and(bound_to(&world, &world.c1), (name, injected));
    assert_eq!(code(&world, &proxy, request).await, "forwarded_certificate_repeated");
    let request = and(bound_to(&world, &world.c2), (name, format!("{own};URI=spiffe://x")));
    assert_eq!(code(&world, &proxy, request).await, "ok", "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_11_a_forwarded_certificate_is_verified_here() {
    let world = world("client_cert").await;
    let proxy = proxy(&world);
    let revoked = world.authority.client("revoked");
    let ca = &world.authority;
    let table = [
        (ca.client_with("late", pki::expired), "it or one of its issuers has expired"),
        (ca.client_with("early", pki::not_yet_valid), "it is not valid yet"),
        (Authority::new("Other CA").client("c"), "no chain leads to a trust anchor"),
        (Authority::new("Test CA").client("c"), "its issuer did not sign it"),
        (self_signed("c"), "no chain leads to a trust anchor"),
        (ca.server(&["localhost"]), "it is not valid for client authentication"),
    ];
    for (certificate, why) in &table {
        let response = proxy.send(good(&world, "client_cert", certificate)).await.unwrap();
        let record = world.gateway.record_of(&response);
        assert_eq!((response.status().as_u16(), &record["code"]), (401, &"certificate_missing".into()), "{record}");
        assert!(record["detail"].as_str().unwrap().ends_with(why), "{record}");
        assert_eq!(record["certificate_source"], Value::Null);
        // Without a token no certificate is needed, and none is forwarded.
        let public = and(health(), line("client_cert", certificate));
        assert_eq!(code(&world, &proxy, public).await, "ok");
    }
    for certificate in [&world.c1, &revoked] {
        assert_eq!(code(&world, &proxy, good(&world, "client_cert", certificate)).await, "ok", "control");
    }
    // A cached verification belongs to the configuration that it was made under.
    world.gateway.folder().write("ca.crl", &world.authority.revocation_list_pem(&[&revoked]));
    world
        .reload(1, |text| text.replace(&format!("}}, {CHAIN}"), &format!("}}, {CHAIN}, revocation_lists: [ca.crl]")))
        .await;
    for _ in 0..2 {
        let response = proxy.send(good(&world, "client_cert", &revoked)).await.unwrap();
        let record = world.gateway.record_of(&response);
        assert!(record["detail"].as_str().unwrap().ends_with("it was revoked"), "{record}");
        assert_eq!(code(&world, &proxy, good(&world, "client_cert", &world.c1)).await, "ok", "control");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_15_a_remembered_certificate_ends_when_it_does() {
    let world = world("client_cert").await;
    let end = world.clock.now() + 1000;
    let short = world.authority.client_with("short", |params| {
        params.not_after = time::OffsetDateTime::from_unix_timestamp(i64::try_from(end).unwrap()).unwrap();
    });
    let mut connection = proxy(&world).connect().await.unwrap();
    let request = || good(&world, "client_cert", &short);
    assert_eq!(ask(&world, &mut connection, request()).await.1, "ok");
    world.clock.advance(1000);
    assert_eq!(ask(&world, &mut connection, request()).await.1, "ok", "control: the last second");
    world.clock.advance(1);
    for _ in 0..2 {
        let (status, code, record) = ask(&world, &mut connection, request()).await;
        assert_eq!((status, code.as_str()), (401, "certificate_missing"), "{record}");
    }
    assert_eq!(ask(&world, &mut connection, good(&world, "client_cert", &world.c1)).await.1, "ok", "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_09_by_possession_the_proxy_has_seen_the_key_and_the_token_names_the_certificate() {
    let stranger = self_signed("The Bank Itself");
    let world = World::with(|scene| {
        with(&section("aws_alb_passthrough", &named(), "trust: possession"))(scene)
            .append("    forward: { client_certificate: true }\n")
    })
    .await;
    let proxy = proxy(&world);
    assert_eq!(code(&world, &proxy, good(&world, "aws_alb_passthrough", &stranger)).await, "ok");
    let other = and(bound_to(&world, &world.c1), line("aws_alb_passthrough", &stranger));
    assert_eq!(code(&world, &proxy, other).await, "certificate_mismatch");
    let late = world.authority.client_with("late", pki::expired);
    assert_eq!(code(&world, &proxy, good(&world, "aws_alb_passthrough", &late)).await, "certificate_expired");
    // A name that is not vouched for is not forwarded; CC-04.
    world.accounts.clear();
    assert_eq!(code(&world, &proxy, and(health(), line("aws_alb_passthrough", &stranger))).await, "ok");
    assert_eq!(world.accounts.requests().remove(0).header("client-cert"), None);
    let chain = self::world("aws_alb_passthrough").await;
    let proxy = self::proxy(&chain);
    assert_eq!(
        code(&chain, &proxy, good(&chain, "aws_alb_passthrough", &stranger)).await,
        "certificate_missing",
        "control"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_14_proxies_are_known_by_certificate_by_address_or_by_both() {
    let world = world("client_cert").await;
    let named = proxy(&world);
    let thumbprint = certificate_of_proxy(&world.authority, PROXY);
    let other = world.anonymous().certificate(&thumbprint);
    let anybody = world.anonymous();
    let x5t = thumbprint.x5t_s256();
    let table = [
        (self::named(), [true, true, false]),
        (format!("thumbprints: [{x5t}]"), [false, true, false]),
        ("addresses: [127.0.0.0/8]".into(), [true, true, true]),
        ("addresses: [10.0.0.0/8, \"::1\"]".into(), [false, false, false]),
        (format!("addresses: [127.0.0.1], names: [{PROXY}]"), [true, true, false]),
        (format!("addresses: [10.0.0.0/8], names: [{PROXY}], thumbprints: [{x5t}]"), [false, false, false]),
        (format!("names: [elsewhere.example], thumbprints: [{x5t}]"), [false, true, false]),
    ];
    // Connections opened before each reload are judged too.
    let mut open = Vec::new();
    for client in [&named, &other, &anybody] {
        open.push((client.clone(), client.clone().h2().connect().await.unwrap()));
    }
    for (count, (from, expected)) in table.into_iter().enumerate() {
        world
            .reload(count + 1, |text| {
                let (head, tail) = text.split_once("from: { ").unwrap();
                format!("{head}from: {{ {from} }}{}", tail.split_once(" }").unwrap().1)
            })
            .await;
        for ((client, connection), trusted) in open.iter_mut().zip(expected) {
            let old = ask(&world, connection, good(&world, "client_cert", &world.c1)).await.1;
            let new = code(&world, client, good(&world, "client_cert", &world.c1)).await;
            assert_eq!((old == "ok", new == "ok"), (trusted, trusted), "{from}: {old}, {new}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn net_16_a_proxy_whose_certificate_is_revoked_or_over_is_a_proxy_no_more() {
    let world = world("client_cert").await;
    let own = certificate_of_proxy(&world.authority, PROXY);
    let end = world.clock.now() + 1000;
    let short = world.authority.client_with("short", |params| {
        params.subject_alt_names = vec![SanType::DnsName(PROXY.try_into().unwrap())];
        params.not_after = time::OffsetDateTime::from_unix_timestamp(i64::try_from(end).unwrap()).unwrap();
    });
    let mut first = world.anonymous().certificate(&own).connect().await.unwrap();
    let mut second = world.anonymous().certificate(&short).connect().await.unwrap();
    for connection in [&mut first, &mut second] {
        assert_eq!(ask(&world, connection, good(&world, "client_cert", &world.c1)).await.1, "ok", "control");
    }
    world.gateway.folder().write("ca.crl", &world.authority.revocation_list_pem(&[&own]));
    world
        .reload(1, |text| {
            text.replace(
                "trust_anchors: [ca.pem] }\n    forw",
                "trust_anchors: [ca.pem], revocation_lists: [ca.crl] }\n    forw",
            )
        })
        .await;
    assert_eq!(ask(&world, &mut first, good(&world, "client_cert", &world.c1)).await.1, "certificate_missing");
    assert_eq!(ask(&world, &mut second, good(&world, "client_cert", &world.c1)).await.1, "ok", "control");
    world.clock.advance(1001);
    for bound in [&world.c1, &short] {
        let request = and(bound_to(&world, bound), line("client_cert", &world.c1));
        assert_eq!(ask(&world, &mut second, request).await.1, "certificate_missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cc_02_the_upstream_sees_the_authorities_that_vouch_and_no_others() {
    let adjust = |section: &str| {
        let section = section.to_owned();
        move |scene: Scene| {
            with(&section)(scene)
                .replace(
                    "client_certificate: true\n",
                    "client_certificate: true\n      client_certificate_chain: true\n",
                )
                .append("    forward: { client_certificate: true, client_certificate_chain: true }\n")
        }
    };
    let world = World::with(adjust(&section("client_cert", &named(), CHAIN))).await;
    let item = |der: &[u8]| format!(":{}:", STANDARD.encode(der));
    let (upper, lower) = {
        let upper = world.authority.intermediate("upper");
        let lower = upper.intermediate("lower");
        (upper, lower)
    };
    let client = lower.client("below");
    assert_eq!(client.chain_der.len(), 3, "the leaf and two authorities");
    // An authority that signed none of the others: comparing names alone would take it for the client's.
    let gold = Authority::new("Gold Tier CA");
    let padded = {
        let mut padded = client.clone();
        padded.chain_der.insert(1, gold.der().clone());
        padded
    };
    let expected = format!("{}, {}", item(lower.der()), item(upper.der()));
    let chain_of =
        |certificates: &[CertificateDer<'_>]| certificates.iter().map(|der| item(der)).collect::<Vec<_>>().join(", ");
    let proxy = proxy(&world);
    for sent in [&client, &padded] {
        let direct = world.anonymous().certificate(sent);
        let through = and(good(&world, "client_cert", sent), ("client-cert-chain", chain_of(&sent.chain_der[1..])));
        let mut lines = good(&world, "client_cert", sent);
        for certificate in &sent.chain_der[1..] {
            lines = and(lines, ("client-cert-chain", item(certificate)));
        }
        for (client, request) in [(&direct, bound_to(&world, sent)), (&proxy, through), (&proxy, lines)] {
            for _ in 0..2 {
                world.accounts.clear();
                let mut again = Request::get(format!("{ORIGIN}/accounts")).body(Bytes::new()).unwrap();
                again.headers_mut().clone_from(request.headers());
                assert_eq!(code(&world, client, again).await, "ok");
                let seen = world.accounts.requests().remove(0);
                assert_eq!(seen.header("client-cert"), Some(item(&sent.chain_der[0]).as_str()));
                assert_eq!(seen.header("client-cert-chain"), Some(expected.as_str()));
            }
        }
    }
    // Without the intermediates there is no chain, and a client directly below the anchor has none to forward.
    assert_eq!(code(&world, &proxy, good(&world, "client_cert", &client)).await, "certificate_missing");
    world.accounts.clear();
    let forged = and(world.request(), ("client-cert-chain", chain_of(&client.chain_der[1..])));
    assert_eq!(code(&world, &world.client(), forged).await, "ok");
    let seen = world.accounts.requests().remove(0);
    assert!(seen.header("client-cert").is_some());
    assert_eq!(seen.header("client-cert-chain"), None, "CC-03");
    // With trust by possession only the leaf is vouched for.
    let world = World::with(adjust(&section("aws_alb_passthrough", &named(), "trust: possession"))).await;
    world.accounts.clear();
    assert_eq!(code(&world, &self::proxy(&world), good(&world, "aws_alb_passthrough", &client)).await, "ok");
    let seen = world.accounts.requests().remove(0);
    assert!(seen.header("client-cert").is_some());
    assert_eq!(seen.header("client-cert-chain"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn cc_02_every_dialect_that_has_a_chain_brings_it() {
    for (dialect, has) in [
        ("client_cert", true),
        ("x_forwarded_client_cert", true),
        ("aws_alb_passthrough", true),
        ("nginx_escaped_pem", false),
        ("aws_alb_verify", false),
    ] {
        let world = world(dialect).await;
        let between = world.authority.intermediate("between");
        let client = between.client("below");
        let mut request = good(&world, dialect, &client);
        if dialect == "client_cert" {
            request = and(request, ("client-cert-chain", format!(":{}:", STANDARD.encode(between.der()))));
        }
        let expected = if has { "ok" } else { "certificate_missing" };
        assert_eq!(code(&world, &proxy(&world), request).await, expected, "{dialect}");
        // An intermediate authority can be a trust anchor where the proxy forwards only the leaf.
        world.gateway.folder().write("between.pem", &between.pem());
        world.reload(1, |text| text.replace(&format!("}}, {CHAIN}"), "}, trust_anchors: [between.pem]")).await;
        assert_eq!(code(&world, &proxy(&world), good(&world, dialect, &client)).await, "ok", "{dialect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_chain_is_judged_by_name_constraints_as_in_a_handshake() {
    let world = world("client_cert").await;
    let mut nation = DistinguishedName::new();
    nation.push(DnType::CountryName, "NL");
    let limited = world.authority.intermediate_with("limited", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DirectoryName(nation)],
            excluded_subtrees: Vec::new(),
        });
    });
    let of = |country: &str| {
        limited.client_with("below", |params| {
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CountryName, country);
            params.distinguished_name.push(DnType::CommonName, "below");
        })
    };
    for (country, expected) in [("NL", "ok"), ("DE", "certificate_missing")] {
        let client = of(country);
        let chain = ("client-cert-chain", format!(":{}:", STANDARD.encode(limited.der())));
        let request = and(good(&world, "client_cert", &client), chain);
        assert_eq!(code(&world, &proxy(&world), request).await, expected, "{country}");
    }
}

#[test]
fn addresses_alone_are_a_warning_and_the_summary_says_who_is_believed() {
    fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
    let authority = Authority::new("Test CA");
    let load = |from: &str| {
        let scene = Scene::new(&authority, "https://as.bank.example", "127.0.0.1:9".parse().unwrap());
        let folder = with(&section("nginx_escaped_pem", from, CHAIN))(scene).into_folder();
        Config::load(&folder.path().join("gateway.yaml")).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let config = load(&named());
    assert_eq!(config.warnings, Vec::<String>::new(), "control");
    assert!(
        config.summary()[0].contains("; forwarded in x-ssl-client-cert: by chain; trust anchors: 1"),
        "{:?}",
        config.summary()
    );
    assert_eq!(load("addresses: [10.0.0.0/8], names: [a.example]").warnings, Vec::<String>::new(), "control");
    let warnings = load("addresses: [10.0.0.0/8]").warnings;
    assert!(
        matches!(warnings.as_slice(), [only] if only.starts_with("listeners[0].forwarded_client_certificate.from: ")),
        "{warnings:?}"
    );
}
