//! Connections to upstreams belong to a single identity.

use std::sync::Arc;
use std::time::Duration;

use fapi_gateway::clock::Clock;
use fapi_gateway::resource::{Kind, Resources};
use fapi_gateway::upstream::{Limits, Protocol, ServerAddress, Settings, SystemLookup, TlsSettings, Upstream};
use http::StatusCode;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use sandbox::https::{Answer, HttpServer};
use sandbox::pki::{Authority, Credential};
use sandbox::tls::danger_tls_config_with_any_client;

use super::still_serves;
use crate::support::{World, request};

/// Two identities of different authorities with the same serial number, as happens when numbers are counted from 1.
fn twins() -> (Authority, [Credential; 2]) {
    let (one, other) = (Authority::new("One"), Authority::new("Other"));
    let numbered =
        |authority: &Authority| authority.client_with("gateway", |params| params.serial_number = Some(2001u64.into()));
    let twins = [numbered(&one), numbered(&other)];
    (one, twins)
}

async fn our_hash(anchors: &[&Authority], identity: Option<&Credential>) -> u64 {
    let settings = Settings {
        name: "bank".into(),
        servers: vec![ServerAddress { tls: true, host: "127.0.0.1".into(), port: 1 }],
        tls: TlsSettings {
            trust_anchors: Some(anchors.iter().map(|authority| authority.der().clone()).collect()),
            identity: identity.map(|credential| (credential.chain_der.clone(), credential.private_key())),
            server_name: None,
        },
        protocol: Protocol::Http1,
        connect_timeout: Duration::from_secs(1),
        response_timeout: Duration::from_secs(1),
        header_bytes: 1024,
        idle_timeout: Duration::from_secs(1),
        health_check: None,
        limits: Limits { exchanges: 1, exchanges_per_client: 1, waiting: 0, connections: 1 },
    };
    let resource = Resources::new(Clock::system()).of(Kind::Upstream, "bank");
    let upstream = Upstream::new(settings, Arc::new(SystemLookup), resource);
    upstream.resolve().await;
    upstream.choose(&[], Duration::ZERO).expect("an address").peer().reuse_hash()
}

#[tokio::test]
async fn t2_the_pool_key_holds_the_whole_identity_of_both_ends() {
    let (authority, [one, other]) = twins();
    let stranger = Authority::new("Stranger");
    let naive = |identity: &Credential, anchor: &Authority| {
        let key =
            CertKey::new(identity.chain_der.iter().map(|der| der.to_vec()).collect(), identity.key_pkcs8_der.clone());
        let mut peer = HttpPeer::new_mtls("127.0.0.1:1", "localhost".into(), Arc::new(key));
        peer.options.ca = Some(Arc::new([WrappedX509::new(anchor.der().to_vec(), parse_x509)]));
        peer.reuse_hash()
    };
    assert_eq!(naive(&one, &authority), naive(&other, &authority), "the trap: another identity, the same connection");
    assert_eq!(naive(&one, &authority), naive(&one, &stranger), "the trap: another authority, the same connection");

    let ours = our_hash(&[&authority], Some(&one)).await;
    assert_eq!(ours, our_hash(&[&authority], Some(&one)).await, "control: connections are reused at all");
    for (what, differs) in [
        ("identity", our_hash(&[&authority], Some(&other)).await),
        ("none", our_hash(&[&authority], None).await),
        ("anchor", our_hash(&[&stranger], Some(&one)).await),
        ("anchors", our_hash(&[&authority, &stranger], Some(&one)).await),
    ] {
        assert_ne!(ours, differs, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t2_fwd_06_each_upstream_is_shown_its_own_identity_and_believed_by_its_own_anchor() {
    let (authority, twins) = twins();
    let config = danger_tls_config_with_any_client(&authority.server(&["localhost"]));
    let bank = HttpServer::start(None, Some(config), Arc::new(|_| Answer::text(StatusCode::OK, "ok"))).unwrap();
    let stranger = Authority::new("Stranger");
    let world = World::with(|scene| {
        let mut scene = scene.file("bank-ca.pem", &authority.pem()).file("stranger-ca.pem", &stranger.pem());
        let (mut upstreams, mut routes) = (String::new(), String::new());
        for (name, identity, ca, server_name) in [
            ("one", Some(&twins[0]), "bank-ca", ""),
            ("other", Some(&twins[1]), "bank-ca", ""),
            ("anonymous", None, "bank-ca", ""),
            ("distrusting", Some(&twins[0]), "stranger-ca", ""),
            ("misnamed", Some(&twins[0]), "bank-ca", ", server_name: bank.example"),
        ] {
            let mut tls = format!("trust_anchors: [{ca}.pem]{server_name}");
            if let Some(identity) = identity {
                scene = scene
                    .file(&format!("{name}.pem"), &identity.certificate_pem())
                    .file(&format!("{name}-key.pem"), &identity.key_pem());
                tls += &format!(", certificate: {name}.pem, private_key: {name}-key.pem");
            }
            let port = bank.address().port();
            upstreams += &format!("  {name}: {{ servers: [\"https://localhost:{port}\"], tls: {{ {tls} }} }}\n");
            routes += &format!(
                "  - {{ name: {name}, path: /{name}, methods: [GET], scopes: [accounts], upstream: {name} }}\n"
            );
        }
        scene.replace("routes:\n", &format!("{upstreams}routes:\n{routes}"))
    })
    .await;
    let token = world.sign(&world.token());
    let judge = async |path: &str| world.judge(request(path, &token)).await;
    for _ in 0..3 {
        for (path, identity) in [("/one", Some(&twins[0])), ("/other", Some(&twins[1])), ("/anonymous", None)] {
            bank.clear();
            assert_eq!(judge(path).await, (200, "ok".into()), "{path}");
            let shown = bank.requests().remove(0).client_certificate;
            assert_eq!(shown.as_ref(), identity.map(|identity| &identity.chain_der[0]), "{path}");
        }
        let heads = bank.heads();
        for path in ["/distrusting", "/misnamed"] {
            assert_eq!(judge(path).await, (502, "upstream_unreachable".into()), "{path}");
        }
        assert_eq!(bank.heads(), heads, "nothing is sent to a server that is not trusted");
    }
    still_serves(&world).await;
}
