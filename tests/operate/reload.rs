//! Reload: changed files take effect all together or not at all, and clients served at that time do not notice.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fapi_gateway::config::Config;
use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::pki::{Authority, Credential};
use sandbox::tls::tls_config;
use sandbox::tokens::{KeyKind, SigningKey};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::client::{Client, Connection};
use crate::support::program::Program;
use crate::support::{DEADLINE, ORIGIN, Scene, World, request};

const UNWATCHED: &str = "reload: { watch: 0s }";
const WATCHED: &str = "reload: { watch: 100ms }";
const GOOD: &str = "fapi_gateway_config_last_reload_success 1";
const BAD: &str = "fapi_gateway_config_last_reload_success 0";

/// Waits until this many reloads have been attempted.
async fn tried(world: &World, count: usize) {
    timeout(DEADLINE, world.gateway.control().reloads(count)).await.expect("a reload is attempted");
}

async fn metrics(world: &World) -> String {
    world.gateway.admin("/metrics").await.1
}

/// The server certificate that a new connection receives.
async fn shown(world: &World) -> Vec<u8> {
    let stream = world.client().raw_stream().await.expect("a handshake");
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

/// Writes a version of the server's certificate and key where a Kubernetes volume has them, and swaps the link.
fn mount(folder: &Path, version: &str, server: &Credential) {
    let mount = folder.join("mount");
    std::fs::create_dir_all(mount.join(version)).unwrap();
    std::fs::write(mount.join(version).join("tls.crt"), server.certificate_pem()).unwrap();
    std::fs::write(mount.join(version).join("tls.key"), server.key_pem()).unwrap();
    let before = std::fs::read_link(mount.join("..data"));
    symlink(version, mount.join("..data_tmp")).unwrap();
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    if let Ok(before) = before {
        std::fs::remove_dir_all(mount.join(before)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_kubernetes_swaps_comes_into_force_by_itself() {
    let first = Authority::new("elsewhere").server(&["localhost"]);
    let world = World::with(|scene| {
        scene
            .folder(|folder| {
                mount(folder, "..2026_1", &first);
                for name in ["tls.crt", "tls.key"] {
                    symlink(format!("..data/{name}"), folder.join("mount").join(name)).unwrap();
                }
            })
            .replace("server.pem", "mount/tls.crt")
            .replace("server-key.pem", "mount/tls.key")
            .replace(UNWATCHED, WATCHED)
    })
    .await;
    for number in 2..5 {
        let server = world.authority.server(&["localhost"]);
        mount(world.gateway.folder().path(), &format!("..2026_{number}"), &server);
        tried(&world, number - 1).await;
        assert_eq!(shown(&world).await, server.chain_der[0].as_ref());
        assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    }
    let metrics = metrics(&world).await;
    assert!(metrics.contains("fapi_gateway_config_reloads_total{outcome=\"success\"} 3"), "{metrics}");
    assert!(!metrics.contains("fapi_gateway_config_reloads_total{outcome=\"failure\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_a_pair_is_not_taken_and_is_tried_once() {
    let world = World::with(|scene| scene.replace(UNWATCHED, WATCHED)).await;
    let folder = world.gateway.folder();
    let (old, new) = (shown(&world).await, world.authority.server(&["localhost"]));
    folder.write("server.pem", &new.certificate_pem());
    tried(&world, 1).await;
    assert_eq!(shown(&world).await, old);
    assert_eq!(world.gateway.admin("/readyz").await.0, 200);
    assert!(metrics(&world).await.contains(BAD));
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    // For longer than a few polling intervals, the same state is not tried again.
    assert!(timeout(Duration::from_millis(500), world.gateway.control().reloads(2)).await.is_err());
    folder.write("server-key.pem", &new.key_pem());
    tried(&world, 2).await;
    assert_eq!(shown(&world).await, new.chain_der[0].as_ref());
    let metrics = metrics(&world).await;
    assert!(metrics.contains(GOOD) && metrics.contains("fapi_gateway_config_reloads_total{outcome=\"failure\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_only_the_broken_state_names_is_watched_too() {
    let world = World::with(|scene| scene.replace(UNWATCHED, WATCHED)).await;
    let folder = world.gateway.folder();
    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    folder.write("gateway.yaml", &text.replace("certificate: server.pem", "certificate: late.pem"));
    tried(&world, 1).await;
    assert!(metrics(&world).await.contains(BAD));
    let pem = std::fs::read_to_string(folder.path().join("server.pem")).unwrap();
    folder.write("late.pem", &pem);
    tried(&world, 2).await;
    assert!(metrics(&world).await.contains(GOOD));
    // From here on the files are not watched.
    folder.write("gateway.yaml", &text.replace(WATCHED, UNWATCHED));
    tried(&world, 3).await;
    folder.write("gateway.yaml", "not: a gateway\n");
    assert!(timeout(Duration::from_millis(500), world.gateway.control().reloads(4)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_forgets_nothing() {
    let world = World::start().await;
    let folder = world.gateway.folder();
    let token = world.sign(&world.token());
    let holder = world.holder();
    let proof = holder.proof("/accounts", world.clock.now());
    assert_eq!(world.judge(request("/accounts", &token)).await, (200, "ok".into()));
    assert_eq!(world.judge(holder.request("/accounts", &proof)).await, (200, "ok".into()));
    let before = metrics(&world).await;
    let value = |metrics: &str, name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    let server = world.authority.server(&["localhost"]);
    folder.write("server.pem", &server.certificate_pem());
    folder.write("server-key.pem", &server.key_pem());
    world.attempt_reload(1).await;
    assert_eq!(shown(&world).await, server.chain_der[0].as_ref(), "control: it was a reload");
    assert_eq!(world.judge(request("/accounts", &token)).await, (200, "ok".into()));
    assert_eq!(world.judge(holder.request("/accounts", &proof)).await, (401, "dpop_replayed".into()));
    let after = metrics(&world).await;
    let hits = "fapi_gateway_token_cache_requests_total{issuer=\"bank\",outcome=\"hit\"}";
    assert_eq!((value(&before, hits), value(&after, hits)), (0.0, 2.0));
    let permitted = "fapi_gateway_requests_total{code=\"ok\",decision=\"permit\",route=\"accounts\"}";
    assert_eq!((value(&before, permitted), value(&after, permitted)), (2.0, 3.0));
    let remembered = "fapi_gateway_replay_entries";
    assert_eq!(value(&before, remembered), value(&after, remembered));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_issuers_said_of_their_tokens() {
    let world = World::with(|scene| scene.introspected("")).await;
    let token = world.opaque(&world.token());
    let asked = || world.issuer.requests_to(AuthorizationServer::INTROSPECTION);
    for reloads in 1..3 {
        assert_eq!(world.judge(request("/accounts", &token)).await, (200, "ok".into()));
        assert_eq!(asked(), 1);
        world.attempt_reload(reloads).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_how_many_connections_are_held() {
    let world = World::with(|scene| scene.replace("limits:\n", "limits:\n  connections: 1\n")).await;
    let folder = world.gateway.folder();
    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let mut first = world.client().connect().await.unwrap();
    assert_eq!(first.send(world.request()).await.unwrap().status(), 200);
    assert!(world.client().handshake().await.is_err(), "control");
    folder.write("gateway.yaml", &text.replace("connections: 1", "connections: 2"));
    world.attempt_reload(1).await;
    let mut second = world.client().connect().await.unwrap();
    assert_eq!(second.send(world.request()).await.unwrap().status(), 200);
    folder.write("gateway.yaml", &text);
    world.attempt_reload(2).await;
    assert!(world.client().handshake().await.is_err());
    assert_eq!(second.send(world.request()).await.unwrap().status(), 200, "no connection is closed");
    assert_eq!(first.send(world.request()).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_changes_a_hundred_times_under_load_and_no_request_fails() {
    const TURNS: usize = 100;
    let theirs = Authority::new("Upstream CA");
    let tls = tls_config(&theirs.server(&["localhost"]), Some(&theirs));
    let upstream = AccountsApi::start(None, Some(tls)).unwrap();
    let at = upstream.address().port();
    let secured = format!(
        "  secured: {{ servers: [\"https://localhost:{at}\"], tls: {{ trust_anchors: [upstream-ca.pem], \
         certificate: upstream.pem, private_key: upstream-key.pem }} }}\nroutes:\n"
    );
    let own = theirs.client("gateway");
    let world = World::with(|scene| {
        scene
            .folder(|folder| {
                for name in ["client-ca.pem", "issuer-ca.pem"] {
                    std::fs::copy(folder.join("ca.pem"), folder.join(name)).unwrap();
                }
            })
            .file("upstream-ca.pem", &theirs.pem())
            .file("upstream.pem", &own.certificate_pem())
            .file("upstream-key.pem", &own.key_pem())
            .file("nonce.key", &format!("{:064x}", 1))
            .append("dpop: { nonce: when_stale, nonce_key: nonce.key }\n")
            .introspected(", cache: { max_age: 0s }")
            .replace("trust_anchors: [ca.pem] }", "trust_anchors: [client-ca.pem] }")
            .replace("trust_anchors: [ca.pem]\n", "trust_anchors: [issuer-ca.pem]\n")
            .replace("routes:\n", &secured)
            .replace("    upstream: accounts\n", "    upstream: secured\n")
    })
    .await;
    let text = std::fs::read_to_string(world.gateway.folder().path().join("gateway.yaml")).unwrap();
    let text = text.replace("[client-ca.pem] }", "[client-ca.pem], revocation_lists: [client.crl] }");
    let mut rotation = Rotation { world: &world, theirs: &theirs, text, nonce_keys: Vec::new() };

    let load = Load::default();
    let mut sent = load.sent.subscribe();
    let token = world.opaque(&world.token());
    let tasks: Vec<_> = [(Kind::Kept, false), (Kind::Kept, true), (Kind::New, false), (Kind::New, true)]
        .into_iter()
        .map(|(kind, h2)| {
            let client = if h2 { world.client().h2() } else { world.client().h1() };
            tokio::spawn(load.clone().send(client, token.clone(), kind))
        })
        .collect();
    for turn in 0..TURNS {
        rotation.turn(turn);
        world.attempt_reload(turn + 1).await;
        // Some of the load is served in each state.
        let before = *load.sent.borrow();
        let more = sent.wait_for(|sent| *sent >= before + 2);
        timeout(DEADLINE, more).await.expect("requests continue").expect("there are senders");
    }
    load.enough.send_replace(true);
    for task in tasks {
        task.await.expect("no request failed");
    }
    let metrics = metrics(&world).await;
    assert!(
        metrics.contains(&format!("fapi_gateway_config_reloads_total{{outcome=\"success\"}} {TURNS}")),
        "{metrics}"
    );
    assert!(*load.sent.borrow() >= 2 * TURNS);
    assert!(upstream.requests().len() >= 2 * TURNS, "control: all of them were forwarded");
}

/// Requests that continue while files change.
#[derive(Clone, Default)]
struct Load {
    sent: Arc<watch::Sender<usize>>,
    enough: Arc<watch::Sender<bool>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All requests on one connection, which has to last.
    Kept,
    /// A connection for each request.
    New,
}

impl Load {
    async fn send(self, client: Client, token: String, kind: Kind) {
        let mut connection = client.connect().await.expect("a connection");
        while !*self.enough.borrow() {
            let response = connection.send(request("/accounts", &token)).await.expect("an answer");
            assert_eq!(response.status(), 200, "{response:?}");
            self.sent.send_modify(|sent| *sent += 1);
            if kind == Kind::New {
                connection = client.connect().await.expect("a connection");
            }
        }
    }
}

/// Everything that a gateway reads, and how it changes.
struct Rotation<'w> {
    world: &'w World,
    /// The authority that signs the certificates of the upstream and of the gateway there.
    theirs: &'w Authority,
    text: String,
    nonce_keys: Vec<String>,
}

impl Rotation<'_> {
    /// Replaces everything once; every tenth turn also replaces what makes the gateway read its issuer's keys again.
    fn turn(&mut self, number: usize) {
        let (ours, folder) = (&self.world.authority, self.world.gateway.folder());
        let newcomer = Authority::new("Newcomer CA");
        let server = ours.server(&["localhost"]);
        folder.write("server.pem", &server.certificate_pem());
        folder.write("server-key.pem", &server.key_pem());
        folder.write("client-ca.pem", &(ours.pem() + &newcomer.pem()));
        let revoked = ours.client("revoked");
        folder.write("client.crl", &(ours.revocation_list_pem(&[&revoked]) + &newcomer.revocation_list_pem(&[])));
        self.nonce_keys.insert(0, format!("{:064x}\n", number + 1));
        self.nonce_keys.truncate(3);
        folder.write("nonce.key", &self.nonce_keys.concat());
        let own = self.theirs.client("gateway");
        folder.write("upstream.pem", &own.certificate_pem());
        folder.write("upstream-key.pem", &own.key_pem());
        folder.write("upstream-ca.pem", &(newcomer.pem() + &self.theirs.pem()));
        let client_id = format!("gateway-{}", number / 10);
        if number.is_multiple_of(10) {
            folder.write("issuer-ca.pem", &(newcomer.pem() + &ours.pem()));
            let key = SigningKey::generate(KeyKind::Es256, "gateway");
            self.world.issuer.register(&client_id, ResourceServer::Key(key.clone()));
            folder.write("gateway.pem", &key.private_key_pem());
        }
        let scopes = if number.is_multiple_of(2) { "{ any: [accounts, more] }" } else { "[accounts]" };
        let text = self.text.replace("client_id: gateway,", &format!("client_id: {client_id},"));
        folder.write("gateway.yaml", &text.replace("scopes: [accounts]\n", &format!("scopes: {scopes}\n")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_limits_of_new_http_2_connections() {
    let world = World::start().await;
    let folder = world.gateway.folder();
    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    // Beyond 64 KiB of fields, where the HTTP/2 layer refuses while `header_bytes` is 32KiB.
    let mut large = request("/accounts", &world.sign(&world.token()));
    for name in ["x-a", "x-b", "x-c", "x-d", "x-e"] {
        large.headers_mut().insert(name, "x".repeat(15_000).parse().unwrap());
    }
    let connect = async || world.client().h2().connect().await.unwrap();
    let status = async |connection: &mut Connection| connection.send(large.clone()).await.unwrap().status().as_u16();
    let mut old = connect().await;
    assert_eq!(status(&mut old).await, 431);
    folder.write("gateway.yaml", &text.replace("header_bytes: 32KiB", "header_bytes: 128KiB"));
    world.attempt_reload(1).await;
    assert_eq!(status(&mut old).await, 431, "the limit was negotiated when the connection was made");
    assert_eq!(status(&mut connect().await).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_audit_file_is_left_for_a_new_one_on_sighup_whatever_becomes_of_the_reload() {
    let authority = Authority::new("Test CA");
    let issuer = AuthorizationServer::start(&authority).unwrap();
    let scene = Scene::new(&authority, issuer.issuer(), "127.0.0.1:9".parse().unwrap());
    let folder = scene.append("audit: { destination: audit.jsonl }\n").into_folder();
    let mut program = Program::run(&folder);
    let address = program.says("listening").rsplit_once("address=").unwrap().1.trim().parse().unwrap();
    let client = Client::new(address, &authority).origin(ORIGIN);
    let ask = async || {
        let response = client.send(request("/nowhere", "token")).await.expect("an answer");
        response.headers()["x-fapi-interaction-id"].to_str().unwrap().to_owned()
    };
    // A line may be written a moment after the response.
    let has = async |name: &str, id: &str| {
        let path = folder.path().join(name);
        let there = async {
            while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains(id)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, there).await.unwrap_or_else(|_| panic!("{name} has no {id}"));
    };
    let rename = |to: &str| std::fs::rename(folder.path().join("audit.jsonl"), folder.path().join(to)).unwrap();
    has("audit.jsonl", &ask().await).await;
    rename("audit.1");
    has("audit.1", &ask().await).await; // control
    program.signal("-HUP");
    let said = program.says("the configuration was reloaded");
    assert!(said.contains("changed=[]"), "{said}");
    has("audit.jsonl", &ask().await).await;

    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    rename("audit.2");
    folder.write("gateway.yaml", &text.replace("server.pem", "nowhere.pem").replace("ca.pem] }", "nobody.pem] }"));
    program.signal("-HUP");
    let said = program.says("the old one remains in force");
    for part in ["listeners[0].tls.certificate: `", "nowhere.pem", "; ", "nobody.pem", "changed=[\"gateway.yaml\"]"] {
        assert!(said.contains(part), "every problem in one line: {said}");
    }
    let id = ask().await;
    has("audit.jsonl", &id).await;

    // Another name selects another file.
    folder.write("gateway.yaml", &text.replace("audit.jsonl", "other.jsonl"));
    program.signal("-HUP");
    let said = program.says("the configuration was reloaded");
    assert!(said.contains("changed=[\"gateway.yaml\"]"), "{said}");
    has("other.jsonl", &ask().await).await;
    program.signal("-TERM");
    assert_eq!(program.ends().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_tried_again_when_only_the_place_of_the_audit_is_missing() {
    let authority = Authority::new("Test CA");
    let issuer = AuthorizationServer::start(&authority).unwrap();
    let scene = Scene::new(&authority, issuer.issuer(), "127.0.0.1:9".parse().unwrap());
    let scene = scene.replace(UNWATCHED, WATCHED).append("audit: { destination: logs/audit.jsonl }\n");
    let folder = scene.into_folder();
    let (logs, old) = (folder.path().join("logs"), folder.path().join("old"));
    std::fs::create_dir(&logs).unwrap();
    let mut program = Program::run(&folder);
    program.says("listening");
    for in_its_place in [false, true] {
        std::fs::rename(&logs, &old).unwrap();
        if in_its_place {
            std::fs::create_dir_all(logs.join("audit.jsonl")).unwrap();
        }
        program.signal("-HUP");
        let said = program.says("the old one remains in force");
        assert!(said.contains("is not a file in an existing directory"), "{said}");
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::rename(&old, &logs).unwrap();
        program.says("the configuration was reloaded");
    }
    std::fs::remove_dir_all(&logs).unwrap();
    let file = folder.path().join("gateway.yaml");
    let may_pass = || Config::load(&file).err().map(|errors| errors.may_pass());
    assert_eq!(may_pass(), Some(true));
    let text = std::fs::read_to_string(&file).unwrap();
    folder.write("gateway.yaml", &text.replace("server.pem", "nowhere.pem"));
    assert_eq!(may_pass(), Some(false), "control: another problem needs a change of a file");
}
