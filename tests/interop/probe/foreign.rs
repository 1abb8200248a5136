//! Servers of other makers, configured as sites have them: the probe finds what each of them does not enforce.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use probe::plan::Plan;
use probe::settings::Settings;
use sandbox::accounts::AccountsApi;
use tokio::runtime::Runtime;

use super::peers::{Api, Peer};
use super::table::{PEERS, Rows, rows, write, writes};
use super::world::{AUDIENCE, ISSUER, World, found, probed};
use crate::support::Folder;

type Start = fn(&Api<'_>) -> Peer;
type Claim = fn(&mut Settings);

/// The peers by the name of the table: what each is configured for, how it starts, and what it claims.
const ALL: [(&str, &str, Start, Claim); 3] = [
    ("nginx", "JWTs, with njs", Peer::nginx, only_certificates),
    ("apache", "bound tokens, with mod_oauth2", Peer::apache, |settings| settings.claims.private_authorities = false),
    ("envoy", "JWTs, and a script for certificate and scope", Peer::envoy, only_certificates),
];

fn only_certificates(settings: &mut Settings) {
    settings.plans = vec![Plan::Fapi2Mtls];
    settings.claims.dpop = false;
    settings.claims.certificate_required = true;
}

#[test]
fn what_other_makers_do_not_enforce_is_found() {
    let runtime = Runtime::new().expect("a runtime");
    let entered = runtime.enter();
    let accounts = AccountsApi::start(None, None).expect("it starts");
    drop(entered);
    let found: BTreeMap<&str, Vec<String>> = std::thread::scope(|scope| {
        let started = ALL.map(|(name, _, start, claims)| {
            let upstream = accounts.address();
            (name, scope.spawn(move || modules(start, claims, upstream)))
        });
        started.into_iter().map(|(name, thread)| (name, thread.join().expect("the peer is probed"))).collect()
    });
    let made: Rows =
        ALL.iter().map(|(name, what, ..)| ((*name).to_owned(), ((*what).to_owned(), found[name].clone()))).collect();
    if writes() {
        write(PEERS, &made);
    }
    assert_eq!(rows(PEERS), made);
    for (name, unbound) in [("nginx", true), ("apache", false), ("envoy", false)] {
        let stolen = found[name].iter().any(|module| module == "certificate-of-another-client");
        assert_eq!(stolen, unbound, "{name} compares the certificate, or does not");
    }
}

fn modules(start: Start, claims: Claim, upstream: SocketAddr) -> Vec<String> {
    let world = World::new();
    let folder = Folder::new();
    let api = Api {
        folder: folder.path(),
        certificate: &world.path("server.pem"),
        key: &world.path("server-key.pem"),
        client_ca: &world.path("ca.pem"),
        jwks: &world.jwks(),
        issuer: ISSUER,
        audience: AUDIENCE,
        scope: "accounts",
        upstream,
    };
    let peer = start(&api);
    let mut settings = world.settings(peer.port());
    settings.claims.metadata = false;
    settings.claims.interaction_id = false;
    claims(&mut settings);
    found(&probed(&settings, &[])).into_iter().map(|(module, _)| module).collect()
}
