//! What must be accepted, and what the resource server then sees: each signature algorithm over HTTP/1.1 and HTTP/2,
//! with statements about the client that come from the gateway alone.

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::pki::Authority;
use sandbox::tokens::KeyKind;

use crate::support::{ORIGIN, World, remember, request};

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_rs_01_certificate_bound_tokens_pass_over_both_protocols() {
    let world = World::start().await;
    for client in [world.client().h1(), world.client().h2()] {
        for kind in KeyKind::ALL {
            let token = remember(world.token().sign(world.issuer.key(kind)));
            world.accounts.clear();
            let response = client.send(request("/accounts", &token)).await.unwrap();
            assert_eq!(response.status(), 200, "{kind:?}");
            assert_eq!(world.gateway.record_of(&response)["code"], "ok");
            assert_eq!(world.accounts.requests().len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cc_01_fwd_07_the_upstream_sees_the_gateways_word_and_no_credentials() {
    let world = World::start().await;
    let mut request = world.request();
    let headers = request.headers_mut();
    headers.insert("x-fapi-interaction-id", "7c9e6679-7425-40de-944b-e07fc1f90ae7".parse().unwrap());
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    headers.insert("tracestate", "vendor=1".parse().unwrap());
    let response = world.client().send(request).await.unwrap();
    assert_eq!(response.headers()["x-fapi-interaction-id"], "7c9e6679-7425-40de-944b-e07fc1f90ae7");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let seen = world.accounts.requests().remove(0);
    let certificate = seen.header("client-cert").unwrap().trim_matches(':').to_owned();
    assert_eq!(STANDARD.decode(certificate).unwrap(), world.c1.chain_der[0].to_vec());
    let claims = world.token().claims();
    for (header, claim) in [
        ("x-token-client-id", "client_id"),
        ("x-token-subject", "sub"),
        ("x-token-scope", "scope"),
        ("x-token-issuer", "iss"),
    ] {
        assert_eq!(seen.header(header), claims[claim].as_str(), "{header}");
    }
    assert_eq!(seen.header("host"), Some("localhost"));
    assert_eq!(seen.header("x-fapi-interaction-id"), Some("7c9e6679-7425-40de-944b-e07fc1f90ae7"));
    assert_eq!(seen.header("traceparent"), Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    assert_eq!(seen.header("tracestate"), Some("vendor=1"));
    assert_eq!(seen.header("forwarded"), Some("for=127.0.0.1;host=\"localhost\";proto=https"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-host"), Some("localhost"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    for absent in ["authorization", "dpop", "cookie"] {
        assert_eq!(seen.header(absent), None, "{absent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_07_a_route_that_hands_the_token_on_does_so_as_received() {
    let world = World::with(|scene| scene.replace("client_certificate: true", "access_token: true")).await;
    let token = world.sign(&world.token());
    let mut request = request("/accounts", &token);
    request.headers_mut().insert("authorization", format!("bEARER  {token}").parse().unwrap());
    assert_eq!(world.judge(request).await, (200, "ok".into()));
    let seen = world.accounts.requests().remove(0);
    assert_eq!(seen.header("authorization"), Some(format!("bEARER  {token}").as_str()));
    assert_eq!(seen.header("client-cert"), None, "it is only sent where the route is configured to send it");
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_05_path_and_query_go_up_byte_for_byte() {
    let world = World::start().await;
    let token = world.sign(&world.token());
    for target in [
        "/accounts/a%20b",
        "/accounts/%C3%A9",
        "/accounts/x:y@z",
        "/accounts/1/",
        "/accounts?x=/../a&y=%2e%2e&z=a+b",
        "/accounts?",
    ] {
        for client in [world.client().h1(), world.client().h2()] {
            world.accounts.clear();
            let response = client.send(request(target, &token)).await.unwrap();
            assert_eq!(world.gateway.record_of(&response)["code"], "ok", "{target}");
            assert_eq!(world.accounts.requests().remove(0).uri, target);
        }
    }
    // RFC 9112 §3.2.2: an absolute-form target is treated as its path, and the path is forwarded.
    world.accounts.clear();
    let absolute = format!(
        "GET {ORIGIN}/accounts?a=b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    assert!(world.client().raw(absolute.as_bytes()).await.starts_with(b"HTTP/1.1 200 "));
    assert_eq!(world.accounts.requests().remove(0).uri, "/accounts?a=b");
}

/// FAPI2-RS-04.
#[tokio::test(flavor = "multi_thread")]
async fn atk_ca_10_mtls_12_every_request_of_a_connection_is_judged_anew() {
    let world = World::start().await;
    for client in [world.client().h1(), world.client().h2()] {
        let mut connection = client.connect().await.unwrap();
        let stolen = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&world.c2));
        for (token, status) in [(world.sign(&world.token()), 200), (stolen, 401), (world.sign(&world.token()), 200)] {
            assert_eq!(connection.send(request("/accounts", &token)).await.unwrap().status(), status);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_05_a_remembered_token_ends_when_it_says() {
    let world = World::start().await;
    let request =
        || request("/accounts", &world.sign(&world.token().claim("jti", "one").expires_at(world.clock.now() + 60)));
    let token = request();
    let again = || {
        let mut request = Request::new(Bytes::new());
        request.uri_mut().clone_from(token.uri());
        request.headers_mut().clone_from(token.headers());
        request
    };
    assert_eq!(world.judge(again()).await, (200, "ok".into()));
    assert_eq!(world.judge(again()).await, (200, "ok".into()));
    world.clock.advance(59);
    assert_eq!(world.judge(again()).await, (200, "ok".into()), "control");
    world.clock.advance(1);
    assert_eq!(world.judge(again()).await, (401, "token_expired".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_ca_01_a_remembered_token_is_judged_anew_on_another_route() {
    let world = World::with(|scene| {
        scene.append(
            "  - { name: admin, path: /admin/**, methods: [GET], scopes: [accounts, admin], upstream: accounts }\n",
        )
    })
    .await;
    let token = world.sign(&world.token());
    assert_eq!(world.judge(request("/accounts", &token)).await, (200, "ok".into()));
    let response = world.client().send(request("/admin", &token)).await.unwrap();
    assert_eq!(world.gateway.record_of(&response)["code"], "scope_insufficient");
    let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(challenges.len(), 2, "BEAR-13: one line for each scheme");
    assert!(
        !challenges[0].to_str().unwrap().contains("error"),
        "DPOP-32: only the scheme that was used carries an error"
    );
    assert_eq!(
        challenges[1].to_str().unwrap(),
        format!(
            "Bearer realm=\"{ORIGIN}\", error=\"insufficient_scope\", error_description=\"The request needs a scope that the access token does not have\", scope=\"accounts admin\""
        ),
        "BEAR-09"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bear_16_head_and_options_are_judged_like_any_method() {
    let world = World::start().await;
    let bare = |method: Method| {
        Request::builder().method(method).uri(format!("{ORIGIN}/accounts")).body(Bytes::new()).unwrap()
    };
    let mut head = world.request();
    *head.method_mut() = Method::HEAD;
    assert_eq!(world.judge(head).await, (200, "ok".into()), "control");
    let response = world.client().send(bare(Method::HEAD)).await.unwrap();
    assert_eq!((response.status().as_u16(), response.body().len()), (401, 0));
    let preflight = world.client().send(bare(Method::OPTIONS)).await.unwrap();
    assert_eq!(
        (preflight.status().as_u16(), &preflight.headers()["allow"]),
        (405, &"GET, HEAD, POST".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_up_whole_over_both_protocols() {
    let world = World::start().await;
    let body = Bytes::from(vec![b'x'; 200_000]);
    for client in [world.client().h1(), world.client().h2()] {
        for kind in ["application/json", "application/x-www-form-urlencoded"] {
            // A form is read before it is forwarded, so it must fit into the buffer.
            let body = if kind == "application/json" { body.clone() } else { body.slice(..60_000) };
            let mut request = request("/payments", &world.sign(&world.token().scope("payments")));
            *request.method_mut() = Method::POST;
            request.headers_mut().insert("content-type", kind.parse().unwrap());
            *request.body_mut() = body.clone();
            world.accounts.clear();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), 201, "{kind}: {}", world.gateway.record_of(&response));
            assert_eq!(world.accounts.requests().remove(0).body, body, "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_with_a_name_is_forwarded_as_it_came() {
    let world = World::with(|scene| {
        scene.replace("    path: /accounts/**\n", "    path: /accounts/{account_id}\n").append(
            "  - { name: mine, path: /accounts/me, methods: [GET], scopes: [payments], upstream: accounts }
  - { name: below, path: /accounts/**, methods: [GET], scopes: [payments], upstream: accounts }
",
        )
    })
    .await;
    let token = world.sign(&world.token());
    for client in [world.client().h1(), world.client().h2()] {
        for path in
            ["/accounts/1001", "/accounts/1001/", "/accounts/caf%C3%A9", "/accounts/a%20b,c", "/accounts/%7bx%7d"]
        {
            world.accounts.clear();
            let response = client.send(request(path, &token)).await.unwrap();
            assert_eq!(world.gateway.record_of(&response)["route"], "accounts", "{path}");
            assert_eq!(world.accounts.requests().remove(0).uri, path);
        }
        // A literal goes before the variable, and the variable before `**`.
        for (path, route) in [("/accounts/me", "mine"), ("/accounts/1001/balances", "below"), ("/accounts", "below")] {
            let response = client.send(request(path, &token)).await.unwrap();
            let record = world.gateway.record_of(&response);
            assert_eq!((&record["route"], &record["code"]), (&route.into(), &"scope_insufficient".into()), "{path}");
        }
        for path in ["/accounts/ME", "/accounts/a%2Fb", "/accounts/1001;v=1", "/accounts/%31001"] {
            let response = client.send(request(path, &token)).await.unwrap();
            assert_eq!(world.gateway.record_of(&response)["code"], "path_ambiguous", "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_06_public_routes_pass_without_anything_and_claim_nothing() {
    let world = World::start().await;
    let mut request = Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap();
    request.headers_mut().insert("x-token-client-id", "somebody".parse().unwrap());
    request.headers_mut().insert("authorization", "Bearer abc".parse().unwrap());
    assert_eq!(world.judge_from(&world.anonymous(), request).await, (200, "ok".into()));
    let seen = world.accounts.requests().remove(0);
    for absent in ["x-token-client-id", "authorization", "client-cert"] {
        assert_eq!(seen.header(absent), None, "{absent}");
    }
    let mut robot = Request::get(format!("{ORIGIN}/accounts")).body(Bytes::new()).unwrap();
    robot.headers_mut().insert("user-agent", "GoogleHC/1.0".parse().unwrap());
    assert_eq!(world.judge(robot).await, (401, "credentials_missing".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_hd_12_cc_12_claims_cannot_end_a_field_or_be_read_as_two() {
    let world = World::start().await;
    for (claim, expected) in [
        ("plain, ascii", "plain, ascii"),
        ("a\r\nX-Evil: 1\u{e9}%0d", "a%0D%0AX-Evil: 1%C3%A9%250d"),
        ("a\nX-Evil: 1", "a%0AX-Evil: 1"),
        ("a\rX-Evil: 1", "a%0DX-Evil: 1"),
        ("a\0b\tc\u{7f}", "a%00b%09c%7F"),
        ("\u{10d}\u{10a}X-Evil: 1", "%C4%8D%C4%8AX-Evil: 1"),
        (" client-1 ", "%20client-1%20"),
    ] {
        world.accounts.clear();
        let token = world.token().claim("client_id", claim).claim("sub", "customer-1");
        assert_eq!(world.judge(request("/accounts", &world.sign(&token))).await, (200, "ok".into()), "{claim:?}");
        let seen = world.accounts.requests().remove(0);
        assert_eq!(seen.header("x-token-client-id"), Some(expected), "{claim:?}");
        assert_eq!(seen.headers.get_all("x-token-client-id").iter().count(), 1, "{claim:?}");
        assert_eq!(seen.header("x-token-subject"), Some("customer-1"));
        assert_eq!(seen.header("x-evil"), None, "{claim:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_cr_09_a_new_key_works_on_first_use_and_a_removed_one_stops() {
    let mut world = World::start().await;
    let old = world.sign(&world.token());
    assert_eq!(world.judge(request("/accounts", &old)).await, (200, "ok".into()));
    world.issuer.rotate(KeyKind::Ps256);
    let new = world.sign(&world.token());
    assert_eq!(world.judge(request("/accounts", &new)).await, (200, "ok".into()));
    assert_eq!(
        world.judge(request("/accounts", &old)).await.0,
        401,
        "the key was removed, and what it signed is refused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_cf_06_ops_10_known_keys_outlive_the_issuer_and_an_issuer_that_comes_late_is_found() {
    let mut world = World::start().await;
    world.issuer.stop().await.unwrap();
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    assert_eq!(world.gateway.admin("/readyz").await.0, 200, "readiness does not flap");
    drop(world);

    let authority = Authority::new("Late CA");
    let mut late = AuthorizationServer::start(&authority).unwrap();
    late.stop().await.unwrap();
    let issuer = late.issuer().to_owned();
    let world = World::with(|scene| {
        let scene = scene.file("late.pem", &authority.pem());
        let usual = scene.issuer().to_owned();
        scene
            .replace(&format!("issuer: {usual}"), &format!("issuer: {issuer}"))
            .replace("trust_anchors: [ca.pem]\nlimits", "trust_anchors: [late.pem]\nlimits")
            .never_ready()
    })
    .await;
    let token = remember(late.token(world.clock.now()).bound_to_certificate(&world.c1).sign(late.key(KeyKind::Ps256)));
    assert_eq!(world.judge(request("/accounts", &token)).await, (503, "keys_unavailable".into()));
    late.restart().await.unwrap();
    world.gateway.ready().await;
    assert_eq!(world.judge(request("/accounts", &token)).await, (200, "ok".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_20_att_a1a_an_issuer_counts_only_where_the_route_names_it() {
    let authority = Authority::new("Other CA");
    let other = AuthorizationServer::start(&authority).unwrap();
    let url = other.issuer().to_owned();
    let world = World::with(|scene| {
        let audience = AuthorizationServer::AUDIENCE;
        let entry = format!("  - {{ name: other, issuer: \"{url}\", audiences: [\"{audience}\"], tokens: jwt, trust_anchors: [other.pem] }}\nlimits:");
        scene
            .file("other.pem", &authority.pem())
            .replace("limits:", &entry)
            .replace("scopes: [accounts]\n", "scopes: [accounts]\n    issuers: [bank]\n")
    })
    .await;
    let now = world.clock.now();
    let own = remember(other.token(now).bound_to_certificate(&world.c1).sign(other.key(KeyKind::Es256)));
    let forged = remember(world.token().sign(other.key(KeyKind::Es256)));
    assert_eq!(world.judge(request("/accounts", &own)).await, (401, "token_issuer_unknown".into()));
    let mut elsewhere = request("/payments", &own);
    *elsewhere.method_mut() = Method::POST;
    assert_eq!(world.judge(elsewhere).await, (201, "ok".into()), "control: it is trusted where it is named");
    let (status, code) = world.judge(request("/accounts", &forged)).await;
    assert_eq!(status, 401, "{code}");
    let kid = world.issuer.key(KeyKind::Es256).kid().to_owned();
    let same_kid = remember(world.token().sign(&other.key(KeyKind::Es256).with_kid(&kid)));
    assert_eq!(
        world.judge(request("/accounts", &same_kid)).await,
        (401, "token_signature_invalid".into()),
        "ATK-TK-04"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dec_13_eddsa_has_two_names() {
    let world = World::start().await;
    for name in ["EdDSA", "Ed25519"] {
        let token = remember(world.token().header("alg", name).sign(world.issuer.key(KeyKind::EdDsa)));
        assert_eq!(world.judge(request("/accounts", &token)).await, (200, "ok".into()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_06_the_upstream_is_known_by_its_certificate_and_knows_the_gateway_by_its_own() {
    let authority = Authority::new("Upstream CA");
    let identity = authority.client("the-gateway");
    let start = |names: &[&str]| {
        let tls = sandbox::tls::tls_config(&authority.server(names), Some(&authority));
        AccountsApi::start(None, Some(tls)).unwrap()
    };
    let (right, wrong) = (start(&["accounts.internal"]), start(&["other.internal"]));
    let (at_right, at_wrong) = (right.address(), wrong.address());
    let world = World::with(|scene| {
        let tls = "trust_anchors: [upstream-ca.pem], certificate: gateway.pem, private_key: gateway-key.pem, server_name: accounts.internal";
        let anonymous = "trust_anchors: [upstream-ca.pem], server_name: accounts.internal";
        let stranger = "certificate: gateway.pem, private_key: gateway-key.pem, trust_anchors: [ca.pem], server_name: accounts.internal";
        let entry = |name: &str, at, tls| format!("  {name}: {{ servers: [\"https://{at}\"], tls: {{ {tls} }} }}\n");
        let upstreams = entry("right", at_right, tls)
            + &entry("wrong-name", at_wrong, tls)
            + &entry("no-identity", at_right, anonymous)
            + &entry("wrong-anchor", at_right, stranger);
        let routes = ["right", "wrong-name", "no-identity", "wrong-anchor"]
            .map(|name| format!("  - {{ name: {name}, path: /{name}/**, methods: [GET], scopes: [accounts], upstream: {name} }}\n"))
            .concat();
        scene
            .file("upstream-ca.pem", &authority.pem())
            .file("gateway.pem", &identity.certificate_pem())
            .file("gateway-key.pem", &identity.key_pem())
            .replace("routes:\n", &format!("{upstreams}routes:\n{routes}"))
    })
    .await;
    let token = world.sign(&world.token());
    // The accounts API has no such paths and answers 404; what matters is which requests were forwarded.
    for path in ["/right", "/wrong-name", "/no-identity", "/wrong-anchor", "/right"] {
        let (status, code) = world.judge(request(path, &token)).await;
        let expected = if path == "/right" { (404, "ok") } else { (502, "upstream_unreachable") };
        assert_eq!((status, code.as_str()), expected, "{path}");
    }
    let seen = right.requests();
    assert_eq!(seen.len(), 2, "the other upstreams never used the connection of `right`");
    assert!(seen.iter().all(|seen| seen.client_certificate.as_ref() == identity.chain_der.first()));
    assert_eq!(wrong.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_of_another_age_is_answered_for_in_http_1_1() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let old = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold");
        }
    });
    let world = World::with(|scene| {
        let entry = format!("  old: {{ servers: [\"http://{old}\"] }}\nroutes:\n  - {{ name: old, path: /old, methods: [GET], scopes: [accounts], upstream: old }}\n");
        scene.replace("routes:\n", &entry)
    })
    .await;
    let response = world.client().send(request("/old", &world.sign(&world.token()))).await.unwrap();
    assert_eq!((response.version(), response.body().as_ref()), (http::Version::HTTP_11, b"old".as_slice()));
    assert!(response.headers().contains_key("date"));
}
