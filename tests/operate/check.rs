//! `check` with its options, and certificates that clients refuse: what `check`, `run` and a reload make of them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::Answer;
use sandbox::pki::{self, Authority};
use sandbox::tls::tls_config;
use tokio::time::timeout;

use crate::support::backend::Backend;
use crate::support::program::Program;
use crate::support::{DEADLINE, Folder, ORIGIN, Scene, World, http_client};

fn check(folder: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    let Output { status, stdout, stderr } = command
        .arg("check")
        .args(options)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .output()
        .expect("the program runs");
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A folder with a gateway.yaml whose servers do not answer.
fn scene(adjust: impl FnOnce(Scene) -> Scene) -> Folder {
    let authority = Authority::new("Test CA");
    adjust(Scene::new(&authority, "https://localhost:9", "127.0.0.1:9".parse().unwrap())).into_folder()
}

#[test]
fn without_files_everything_else_is_checked() {
    let files = ["ca.pem", "server.pem", "server-key.pem", "gateway.pem"];
    let bare = |adjust: &dyn Fn(Scene) -> Scene| {
        let folder = scene(adjust);
        for file in files {
            std::fs::remove_file(folder.path().join(file)).unwrap();
        }
        folder
    };
    let all = "dpop: { nonce: always, nonce_key: nonce.key }\naudit: { destination: nowhere/audit.jsonl }\n";
    let folder = bare(&|scene| scene.introspected("").append(all));
    let (code, _, text) = check(folder.path(), &[]);
    assert_eq!(code, Some(64), "control: the files are missing\n{text}");
    let (code, summary, text) = check(folder.path(), &["--without-files"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        summary.contains("by chain; files not read") && summary.contains("route payments: POST /payments"),
        "{summary}"
    );
    let (code, effective, _) = check(folder.path(), &["--without-files", "--print-effective"]);
    assert!(code == Some(0) && effective.contains("private_key: server-key.pem"), "{effective}");

    let broken = bare(&|scene| {
        scene.replace("methods: [POST]", "methods: [post]").replace("upstream: accounts", "upstream: acounts")
    });
    let (code, _, text) = check(broken.path(), &["--without-files"]);
    assert_eq!(code, Some(64));
    for part in ["write `POST`", "did you mean `accounts`", "4 problems in gateway.yaml\n"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("cannot be read"), "{text}");
    let assertion = "private_key: gateway.pem, algorithm: EdDSA, key_id: \"\"";
    let broken = bare(&|scene| {
        let scene = scene.introspected("").replace("private_key: gateway.pem", assertion);
        scene.replace("fapi2-security", "fapi1-advanced")
    });
    let (_, _, text) = check(broken.path(), &["--without-files"]);
    for part in ["algorithm: `profile: fapi1-advanced` allows PS256 and ES256 only", "key_id: the value is empty"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let (code, _, _) = check(folder.path(), &["--without-files", "--connect"]);
    assert_eq!(code, Some(2), "nothing can be verified without files");
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_asks_issuers_and_upstreams_and_says_how_each_went() {
    let authority = Authority::new("Test CA");
    let issuer = AuthorizationServer::start(&authority).unwrap();
    let upstream = AuthorizationServer::start(&authority).unwrap();
    let url = upstream.issuer().to_owned();
    let tls = |anchors: &str| format!("servers: [\"{url}\"], tls: {{ trust_anchors: [{anchors}] }}");
    let with = |anchors: &str| {
        let scene = Scene::new(&authority, issuer.issuer(), "127.0.0.1:9".parse().unwrap());
        let scene = scene.file("other-ca.pem", &Authority::new("Other CA").pem());
        scene.replace("servers: [\"http://127.0.0.1:9\"]", &tls(anchors)).into_folder()
    };
    let connect = |folder: &Folder| check(folder.path(), &["--connect"]);
    let folder = with("ca.pem");
    let (code, table, text) = connect(&folder);
    assert_eq!(code, Some(0), "{table}{text}");
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("ok ") && lines[0].contains("keys of issuer  bank") && lines[0].contains("usable key"),
        "{table}"
    );
    assert!(lines[1].starts_with("ok ") && lines[1].contains("TLS 1.3, certificate verified"), "{table}");
    assert_eq!(lines[2..], ["2 of 2 could be used"]);

    let (code, table, _) = connect(&with("other-ca.pem"));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(code, Some(69), "{table}");
    assert!(
        lines[0].starts_with("ok ") && lines[1].starts_with("FAILED") && lines[1].contains("UnknownIssuer"),
        "{table}"
    );
    assert_eq!(lines[2], "1 of 2 could be used");

    issuer.script("/jwks", Answer::status(StatusCode::SERVICE_UNAVAILABLE));
    let (code, table, _) = connect(&folder);
    assert_eq!(code, Some(69), "{table}");
    assert!(table.starts_with("FAILED") && table.contains("503"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_says_when_an_upstream_refuses_the_certificate_of_the_gateway() {
    let (authority, gateways) = (Authority::new("Test CA"), Authority::new("Gateways"));
    let issuer = AuthorizationServer::start(&authority).unwrap();
    for protocol in ["http1", "http2"] {
        for (signer, code, part) in [
            (&gateways, 0, "TLS 1.3, certificate verified"),
            (&Authority::new("Strangers"), 69, "the server refuses the gateway's client certificate"),
        ] {
            let backend = Backend::tls(tls_config(&authority.server(&["localhost"]), Some(&gateways))).await;
            let identity = signer.client("gateway");
            let tls = "trust_anchors: [ca.pem], certificate: gateway.pem, private_key: gateway-key.pem";
            let port = backend.address().port();
            let server = format!("servers: [\"https://localhost:{port}\"], protocol: {protocol}, tls: {{ {tls} }}");
            let folder = Scene::new(&authority, issuer.issuer(), "127.0.0.1:9".parse().unwrap())
                .file("gateway.pem", &identity.certificate_pem())
                .file("gateway-key.pem", &identity.key_pem())
                .replace("servers: [\"http://127.0.0.1:9\"]", &server)
                .into_folder();
            let path = folder.path().to_owned();
            let checking = tokio::task::spawn_blocking(move || check(&path, &["--connect"]));
            let (seen, table, text) = timeout(DEADLINE, checking).await.expect("it ends").unwrap();
            assert!(seen == Some(code) && table.contains(part), "{protocol}: {table}{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_does_not_wait_for_those_who_never_answer() {
    let authority = Authority::new("Test CA");
    let issuer = AuthorizationServer::start(&authority).unwrap();
    // Accepts connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let scene = Scene::new(&authority, issuer.issuer(), "127.0.0.1:9".parse().unwrap());
    let address = silent.local_addr().unwrap();
    let server =
        format!("servers: [\"https://{address}\"], connect_timeout: 200ms, tls: {{ trust_anchors: [ca.pem] }}");
    let folder = scene.replace("servers: [\"http://127.0.0.1:9\"]", &server).into_folder();
    let path = folder.path().to_owned();
    let checking = tokio::task::spawn_blocking(move || check(&path, &["--connect"]));
    let (code, table, _) = timeout(DEADLINE, checking).await.expect("it ends").unwrap();
    assert_eq!(code, Some(69), "{table}");
    assert!(table.contains("there was no answer within 0.2 s"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_check_refuses_run_serves_with_a_warning() {
    let authority = Authority::new("Test CA");
    let folder = Scene::new(&authority, "https://localhost:9", "127.0.0.1:9".parse().unwrap()).into_folder();
    let (code, _, text) = check(folder.path(), &[]);
    assert_eq!(code, Some(0), "control: {text}");
    let late = authority.server_with(&["localhost", "127.0.0.1"], pki::expired);
    folder.write("server.pem", &late.certificate_pem());
    folder.write("server-key.pem", &late.key_pem());
    let (code, _, text) = check(folder.path(), &[]);
    assert_eq!(code, Some(64), "{text}");
    assert!(
        text.contains("gateway.yaml:6:7: listeners[0].tls.certificate: `server.pem`: certificate 1 expired at "),
        "{text}"
    );
    assert!(text.ends_with("1 problem in gateway.yaml\n"), "{text}");
    let mut program = Program::run(&folder);
    let line = program.says("certificate 1 expired at ");
    assert!(line.contains("WARN") && line.contains("listeners[0].tls.certificate"), "{line}");
    let (_, admin) = program.addresses();
    let read =
        async { http_client().get(format!("http://{admin}/metrics")).send().await.unwrap().text().await.unwrap() };
    let metrics = timeout(DEADLINE, read).await.expect("an answer");
    let wanted = "fapi_gateway_certificate_problems{file=\"server.pem\",problem=\"expired\"} 1";
    assert!(metrics.contains(wanted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_does_not_replace_a_good_certificate_by_an_expired_one() {
    let world = World::start().await;
    let folder = world.gateway.folder();
    let reload = async |count| {
        world.attempt_reload(count).await;
        let (_, metrics) = world.gateway.admin("/metrics").await;
        (metrics.contains("\nfapi_gateway_config_last_reload_success 1\n"), metrics)
    };
    let shown = async || {
        let stream = world.client().raw_stream().await.expect("a handshake");
        stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
    };
    let replace = |credential: &pki::Credential| {
        folder.write("server.pem", &credential.certificate_pem());
        folder.write("server-key.pem", &credential.key_pem());
        credential.chain_der[0].to_vec()
    };
    let before = shown().await;
    for (count, adjust) in [(1, pki::expired as fn(&mut _)), (2, pki::not_yet_valid)] {
        replace(&world.authority.server_with(&["localhost"], adjust));
        let (good, metrics) = reload(count).await;
        assert!(!good, "{metrics}");
        assert!(!metrics.contains("fapi_gateway_certificate_problems{"), "what is in force has none: {metrics}");
        assert_eq!(shown().await, before, "the old one is kept");
    }
    let good = replace(&world.authority.server(&["localhost"]));
    assert!(reload(3).await.0, "control");
    assert_eq!(shown().await, good);
    // One that has expired while it was in force does not keep other changes from coming into force.
    world.clock.advance(Duration::from_secs(40 * 24 * 60 * 60).as_secs());
    let (good, metrics) = reload(4).await;
    assert!(
        good && metrics.contains("fapi_gateway_certificate_problems{file=\"server.pem\",problem=\"expired\"} 1"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_included_file_that_changes_is_reloaded() {
    let world = World::with(|scene| {
        let more = "routes:\n  - { name: more, path: /more, methods: [GET], public: true, upstream: accounts }\n";
        scene
            .replace("reload: { watch: 0s }", "include: [routes]\nreload: { watch: 100ms }")
            .file("routes/a.yaml", more)
    })
    .await;
    let route = async |path: &str| {
        let request = http::Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).expect("a request");
        let response = world.anonymous().send(request).await.expect("a response");
        world.gateway.record_of(&response)["route"].as_str().map(str::to_owned)
    };
    assert_eq!(route("/extra").await, None, "control");
    assert_eq!(route("/more").await.as_deref(), Some("more"));
    let extra = "routes:\n  - { name: extra, path: /extra, methods: [GET], public: true, upstream: accounts }\n";
    world.gateway.folder().write("routes/b.yaml", extra);
    timeout(DEADLINE, world.gateway.control().reloads(1)).await.expect("a new file is seen");
    assert_eq!(route("/extra").await.as_deref(), Some("extra"));
    world.gateway.folder().write("routes/b.yaml", &extra.replace("/extra", "/other"));
    timeout(DEADLINE, world.gateway.control().reloads(2)).await.expect("a change is seen");
    assert_eq!(route("/extra").await, None);
}
