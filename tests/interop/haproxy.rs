//! HAProxy in front, as a proxy that terminates TLS and forwards certificates in `Client-Cert` (RFC 9440), configured as
//! docs/operate/proxies.md says.
//!
//! Needs HAProxy 2.6 or later; without it the test fails.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};

use fapi::peer::ClientCertificate;
use http::HeaderValue;
use sandbox::pki::{Credential, self_signed};

use crate::support::client::Client;
use crate::support::source::read;
use crate::support::tools::tool;
use crate::support::{Folder, ORIGIN, World, certificate_of_proxy, free_ports, request};

/// A HAProxy with its own folder; killed when dropped.
struct HaProxy {
    process: Child,
    port: u16,
    _folder: Folder,
}

impl HaProxy {
    /// Starts it with TLS for clients, in front of a gateway.
    fn in_front(world: &World, proxy: &Credential) -> Self {
        let folder = Folder::new();
        let server = world.authority.server(&["localhost"]);
        folder.write("server.pem", &(server.certificate_pem() + &server.key_pem()));
        folder.write("haproxy.pem", &(proxy.certificate_pem() + &proxy.key_pem()));
        folder.write("client-ca.pem", &world.authority.pem());
        folder.write("gateway-ca.pem", &world.authority.pem());
        // Another process may take the port in between.
        for port in free_ports(10) {
            folder.write("haproxy.cfg", &configuration(port, world.gateway.address()));
            let mut process = tool("haproxy")
                .args(["-db", "-f", "haproxy.cfg"])
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("haproxy runs");
            while process.try_wait().expect("the process was started by this test").is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { process, port, _folder: folder };
                }
                std::thread::yield_now();
            }
        }
        panic!("haproxy does not start");
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the page shows, at other addresses and for another name.
fn configuration(port: u16, gateway: SocketAddr) -> String {
    let page = read("docs/operate/proxies.md");
    let (_, section) = page.split_once("\n### HAProxy\n").expect("a section");
    let (_, block) = section.split_once("```text\n").expect("a configuration");
    let mut shown = block.split_once("```").expect("its end").0.to_owned();
    for (on_page, here) in [
        ("bind :443 ", format!("bind 127.0.0.1:{port} ")),
        ("gateway.bank.internal:8443", gateway.to_string()),
        ("str(api.bank.example)", "str(localhost)".to_owned()),
    ] {
        assert_eq!(shown.matches(on_page).count(), 1, "{on_page} in {shown}");
        shown = shown.replace(on_page, &here);
    }
    let defaults = "defaults\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n";
    format!("{defaults}\n{shown}")
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_14_haproxy_in_front_hands_on_the_certificate_of_its_client() {
    let world = World::with(|scene| scene.behind("client_cert", "haproxy.bank.internal")).await;
    let proxy = certificate_of_proxy(&world.authority, "haproxy.bank.internal");
    let haproxy = HaProxy::in_front(&world, &proxy);
    let address = SocketAddr::from(([127, 0, 0, 1], haproxy.port));
    let client = Client::new(address, &world.authority).origin(ORIGIN);
    let token =
        |credential: &Credential| world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(credential));
    let field = |credential: &Credential| -> HeaderValue {
        ClientCertificate::from_der(&credential.chain_der[0]).unwrap().header_value().clone()
    };
    for (shown, bound, expected) in [
        (Some(&world.c1), &world.c1, (200, "ok")),
        (Some(&world.c2), &world.c2, (200, "ok")),
        (Some(&world.c2), &world.c1, (401, "certificate_mismatch")),
        (None, &world.c1, (401, "certificate_missing")),
        (None, &proxy, (401, "certificate_missing")),
        (Some(&world.c1), &world.c1, (200, "ok")),
    ] {
        for client in [client.clone().h1(), client.clone().h2()] {
            let client = shown.map_or(client.clone(), |shown| client.certificate(shown));
            world.accounts.clear();
            let mut request = request("/accounts", &token(bound));
            // What a client claims; HAProxy removes both.
            request.headers_mut().insert("client-cert", field(bound));
            request.headers_mut().insert("client-cert-chain", field(bound));
            let (status, code) = world.judge_from(&client, request).await;
            assert_eq!((status, code.as_str()), expected, "shown {:?}", shown.map(Credential::x5t_s256));
            if code == "ok" {
                let seen = world.accounts.requests().remove(0);
                assert_eq!(seen.header("client-cert"), field(bound).to_str().ok());
                assert_eq!(seen.header("client-cert-chain"), None);
            }
        }
    }
    // HAProxy refuses what does not lead to an authority of clients, before the gateway is asked.
    let stranger = client.certificate(&self_signed("stranger"));
    assert!(stranger.send(request("/accounts", &token(&world.c1))).await.is_err());
}
