//! The example application with the gateway of its pod in front: what the manifests say works with requests.

use std::path::Path;
use std::process::{Child, Stdio};

use bytes::Bytes;
use http::{Request, StatusCode};
use sandbox::authorization_server::AuthorizationServer;
use sandbox::pki::Authority;
use serde_yaml::Value;

use super::rendered::rendered;
use super::{file, items, list, strings, text};
use crate::support::client::Client;
use crate::support::tools::tool;
use crate::support::{DEADLINE, Folder, ORIGIN, Scene, World, free_ports, remember, request};

/// The application as the manifest starts it, at another port; ends with the test.
struct Application(Child);

impl Application {
    /// Starts it; its files are below the folder.
    fn start(container: &Value, port: u16, folder: &Path) -> Self {
        let command = strings(container, "command");
        let script = file("deploy/kubernetes/application").join(command[1].rsplit('/').next().expect("a name"));
        let mut process = tool(&command[0]);
        process.arg(script).stdin(Stdio::null());
        for variable in items(container, "env") {
            let (name, value) = (text(variable, "name"), text(variable, "value"));
            let value = match name {
                "LISTEN_ADDRESS" => format!("127.0.0.1:{port}"),
                _ => value.replacen('/', &format!("{}/", folder.display()), 1),
            };
            process.env(name, value);
        }
        let child = process.spawn().expect("python3 runs");
        let began = crate::support::client::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(crate::support::client::now() - began < DEADLINE.as_secs(), "the application does not listen");
            std::thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The configuration of a manifest, with what there is here.
fn here(scene: Scene, config: &str) -> Scene {
    let issuer = scene.issuer().to_owned();
    scene
        .rewrite(config)
        .replace("https://api.bank.example\"]\n    tls", &format!("{ORIGIN}\"]\n    tls"))
        .replace("0.0.0.0:8443", "127.0.0.1:0")
        .replace("0.0.0.0:9464", "127.0.0.1:0")
        .replace("/etc/fapi-gateway/tls/tls.crt", "server.pem")
        .replace("/etc/fapi-gateway/tls/tls.key", "server-key.pem")
        .replace("/etc/fapi-gateway/client-ca/ca.crt", "ca.pem")
        .replace("/etc/fapi-gateway/issuer-ca/ca.crt", "ca.pem")
        .replace("issuer: https://as.bank.example", &format!("issuer: {issuer}"))
        .replace("drain: { delay: 5s, timeout: 30s }", "drain: { delay: 0s, timeout: 2s }")
}

/// In pods of its own, the gateway reaches the application over the network: both know each other by their certificates.
#[tokio::test(flavor = "multi_thread")]
async fn in_other_pods_the_example_answers_the_gateway_and_nobody_else() {
    let pods = rendered("standalone");
    let container = super::named(pods.named("Deployment", "accounts"), "spec/template/spec/containers", "accounts");
    let authority = Authority::new("Pods CA");
    let folder = Folder::new();
    let (server, client) = (authority.server(&["localhost"]), authority.client("fapi-gateway"));
    for (name, text) in [
        ("tls/tls.crt", server.certificate_pem()),
        ("tls/tls.key", server.key_pem()),
        ("tls/gateway-ca.crt", authority.pem()),
    ] {
        folder.write(name, &text);
    }
    let port = free_ports(1)[0];
    let _application = Application::start(&container, port, folder.path());
    let config = pods.config();
    let world = World::with(|scene| {
        here(scene, &config)
            .file("upstream-ca.pem", &authority.pem())
            .file("upstream.pem", &client.certificate_pem())
            .file("upstream-key.pem", &client.key_pem())
            .replace("https://accounts:8443", &format!("https://localhost:{port}"))
            .replace("/etc/fapi-gateway/upstream-ca/ca.crt", "upstream-ca.pem")
            .replace("/etc/fapi-gateway/upstream-tls/tls.crt", "upstream.pem")
            .replace("/etc/fapi-gateway/upstream-tls/tls.key", "upstream-key.pem")
    })
    .await;
    let alice = remember(world.sign(&world.token().claim("sub", "alice")));
    let response = world.client().send(request("/accounts/1", &alice)).await.expect("the gateway answers");
    assert_eq!(response.status(), StatusCode::OK);
    let body: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!((&body["balance"], &body["seen_by"]), (&"1024.00".into(), &"client-1".into()));
    // Whoever else reaches the application gets nothing.
    let address = ([127, 0, 0, 1], port).into();
    let whoever = Client::new(address, &authority).origin(&format!("https://localhost:{port}"));
    let direct = Request::get(format!("https://localhost:{port}/accounts/1"))
        .header("x-token-subject", "alice")
        .body(Bytes::new())
        .expect("a request");
    assert!(whoever.clone().send(direct.clone()).await.is_err());
    let gateway = whoever.certificate(&client).send(direct).await.expect("control: with the gateway's certificate");
    assert_eq!(gateway.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_answers_the_owner_of_an_account_and_nobody_else() {
    let pods = rendered("sidecar");
    let container = super::named(pods.pod(), "spec/containers", "accounts");
    let port = free_ports(1)[0];
    let _application = Application::start(&container, port, Path::new("/"));

    // The readiness probe of the manifest sees it, and does not see what is not there.
    let probe = list(&container, "readinessProbe/exec/command").clone();
    let ready = |port: u16| {
        let words: Vec<&str> = probe.iter().map(|word| word.as_str().expect("text")).collect();
        let mut probe = tool(words[0]);
        probe.args(&words[1..]).env("LISTEN_ADDRESS", format!("127.0.0.1:{port}")).stderr(Stdio::null());
        probe.status().expect("python3 runs").success()
    };
    assert!(ready(port));
    assert!(!ready(free_ports(1)[0]), "control");

    let config = pods.config();
    let world = World::with(|scene| here(scene, &config).replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"))).await;
    assert_eq!(AuthorizationServer::AUDIENCE, "https://api.bank.example", "what gateway.yaml accepts");
    let owned = |subject: &str| remember(world.sign(&world.token().claim("sub", subject)));
    let (alice, bob) = (owned("alice"), owned("bob"));
    let response = world.client().send(request("/accounts/1", &alice)).await.expect("the gateway answers");
    assert_eq!(response.status(), StatusCode::OK);
    let body: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!((&body["balance"], &body["seen_by"]), (&"1024.00".into(), &"client-1".into()));
    // Somebody else's account, also with a header that claims it.
    let forged = Request::get(format!("{ORIGIN}/accounts/1"))
        .header("authorization", format!("Bearer {bob}"))
        .header("x-token-subject", "alice")
        .body(Bytes::new())
        .expect("a request");
    assert_eq!(world.judge(forged).await.0, 404);
    // Alice's token without her client's certificate.
    let stolen =
        world.anonymous().certificate(&world.c2).send(request("/accounts/1", &alice)).await.expect("an answer");
    assert_eq!(stolen.status(), StatusCode::UNAUTHORIZED);
    // control: nothing but the gateway knows who is calling
    let direct = crate::support::http_client().get(format!("http://127.0.0.1:{port}/accounts/1"));
    assert_eq!(direct.send().await.expect("the application answers").status(), 404);
}
