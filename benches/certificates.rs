//! What a chain that webpki does not support costs, compared with one that it supports, and with the handshake that both
//! are part of: `cargo bench --bench certificates`.
//!
//! A handshake is measured as a whole, client and server, in memory, in TLS 1.3 with keys on P-256.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use fapi::UnixTime;
use fapi_gateway::connection::tls::{
    ClientCertificates, Demand, ExtendedKeyUsage, ForwardedRule, OnExpired, Settings, Suites, Trust, install_provider,
    trust_anchor,
};
use rcgen::{CustomExtension, DistinguishedName, DnType, GeneralSubtree, NameConstraints};
use rustls::pki_types::ServerName;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use sandbox::pki::{Authority, Credential};

fn trust(anchor: &Authority) -> Trust {
    let mut anchors = RootCertStore::empty();
    anchors.roots.extend(trust_anchor(anchor.der()));
    Trust::Chain {
        anchors: Arc::new(anchors),
        extended_key_usage: ExtendedKeyUsage::ClientAuthOrAbsent,
        revocation_lists: Vec::new(),
        on_expired: OnExpired::Refuse,
    }
}

fn server(authority: &Authority) -> Arc<ServerConfig> {
    let identity = authority.server(&["localhost"]);
    let settings = Settings {
        certificate_chain: identity.chain_der.clone(),
        private_key: identity.private_key(),
        protocols: &[b"h2", b"http/1.1"],
        suites: Suites::Bcp195,
        client_certificates: ClientCertificates::Requested { demand: Demand::Required, trust: trust(authority) },
    };
    settings.in_force(Arc::new(DefaultTimeProvider)).expect("a key that fits").config
}

fn client(authority: &Authority, identity: &Credential) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an anchor");
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain_der.clone(), identity.private_key())
        .expect("a key that fits");
    Arc::new(config)
}

fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(client.clone(), name).expect("a client");
    let mut server = ServerConnection::new(server.clone()).expect("a server");
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        client.write_tls(&mut wire).expect("memory");
        server.read_tls(&mut wire.as_slice()).expect("memory");
        server.process_new_packets().expect("the client is accepted");
        wire.clear();
        server.write_tls(&mut wire).expect("memory");
        client.read_tls(&mut wire.as_slice()).expect("memory");
        client.process_new_packets().expect("the server is accepted");
        wire.clear();
    }
}

fn certificates(criterion: &mut Criterion) {
    install_provider().expect("the first provider");
    let ca = Authority::new("Bench CA");
    let policies = |params: &mut rcgen::CertificateParams| {
        let policy = vec![0x30, 8, 0x30, 6, 6, 4, 0x55, 0x1d, 0x20, 0];
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 32], policy);
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
    };
    let names = |params: &mut rcgen::CertificateParams| {
        let mut nation = DistinguishedName::new();
        nation.push(DnType::CountryName, "NL");
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DirectoryName(nation)],
            excluded_subtrees: Vec::new(),
        });
    };
    let dutch = |params: &mut rcgen::CertificateParams| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "NL");
    };
    let server = server(&ca);
    let rule = ForwardedRule::new(&trust(&ca));
    let now = UnixTime(sandbox::now());
    for (what, identity) in [
        ("plain", ca.intermediate("between").client("c")),
        ("critical policies", ca.intermediate_with("between", policies).client("c")),
        ("directory names", ca.intermediate_with("between", names).client_with("c", dutch)),
    ] {
        rule.judge(&identity.chain_der, now).expect("the chain is good");
        criterion.bench_function(&format!("chain, {what}"), |bencher| {
            bencher.iter(|| rule.judge(black_box(&identity.chain_der), now));
        });
        let client = client(&ca, &identity);
        criterion.bench_function(&format!("handshake, {what}"), |bencher| {
            bencher.iter(|| handshake(&client, &server));
        });
    }
}

criterion_group!(benches, certificates);
criterion_main!(benches);
