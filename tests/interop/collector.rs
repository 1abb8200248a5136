//! A collector on the gRPC library of another maker, over TLS: what the gateway sends is a call for it, and a request of OTLP.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::support::collector::{Protocol, SERVER, decoded, section};
use crate::support::tools::tool;
use crate::support::{Folder, World};
use sandbox::pki::Authority;

/// The program, which must not be left behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_server_of_another_maker_takes_spans() {
    let (authority, folder) = (Authority::new("Collectors"), Folder::new());
    let server = authority.server(&["localhost", "127.0.0.1"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/collector.py");
    // Debian's own interpreter, which has Debian's modules; there may be another before it in PATH.
    let mut command = tool("/usr/bin/python3");
    command.arg(script).arg(folder.write("server.pem", &server.certificate_pem()));
    command.arg(folder.write("server-key.pem", &server.key_pem())).stdout(Stdio::piped());
    let mut running = Running(command.spawn().expect("it runs"));
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines().map(|line| line.expect("text"));
    let port = lines.next().expect("its port: `./test` installs python3-grpcio");
    let section = section(
        &format!("https://localhost:{port}"),
        Protocol::Grpc,
        ", sampling: 1, tls: { trust_anchors: [collectors.pem] }, header_files: { authorization: token.txt }",
    );
    let world = World::with(|scene| {
        scene.file("collectors.pem", &authority.pem()).file("token.txt", "Bearer of-the-gateway\n").append(&section)
    })
    .await;
    // On one connection, and after each other.
    for _ in 0..2 {
        let response = world.client().send(world.request()).await.unwrap();
        let line = lines.next().expect("a call");
        let (authorization, request) = line.rsplit_once(' ').expect("two parts");
        assert_eq!(authorization, "Bearer of-the-gateway");
        let bytes: Vec<u8> =
            (0..request.len()).step_by(2).map(|at| u8::from_str_radix(&request[at..at + 2], 16).unwrap()).collect();
        let own = decoded(&bytes).into_iter().find(|span| span.kind == SERVER).expect("the exchange");
        assert_eq!(own.attribute("fapi.interaction_id"), response.headers()["x-fapi-interaction-id"].to_str().ok());
    }
    let metrics = world.gateway.admin("/metrics").await.1;
    assert!(metrics.contains("fapi_gateway_spans_total{outcome=\"failed\"} 0\n"), "{metrics}");
}
