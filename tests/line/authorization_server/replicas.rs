//! Two gateways in front of one server, which share what was pushed in a Redis server.

use http::Request;

use super::*;
use crate::support::Running;
use crate::support::redis::Redis;

/// Another gateway with the same configuration.
async fn replica(stage: &Stage) -> Running {
    let first = stage.world.gateway.folder().path();
    let yaml = std::fs::read_to_string(first.join("gateway.yaml")).expect("gateway.yaml");
    let world = &stage.world;
    let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address()).rewrite(&yaml);
    let scene = scene.folder(|own| {
        for part in ["clients", "resource-servers"] {
            std::fs::create_dir_all(own.join(part)).expect("a folder");
            for entry in std::fs::read_dir(first.join(part)).expect("a folder") {
                let path = entry.expect("a file").path();
                std::fs::copy(&path, own.join(part).join(path.file_name().expect("a name"))).expect("a copy");
            }
        }
    });
    let gateway = Running::start(scene, &world.clock).await;
    gateway.ready().await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_need_not_come_back_to_the_replica_that_was_pushed_to() {
    let redis = Redis::start(&[]);
    let stores =
        format!("stores: {{ shared: {{ servers: [\"redis://127.0.0.1:{}\"], timeout: 1s }} }}\n", redis.port());
    let stage =
        Stage::with(|section| stores + &section.replace("upstream: as\n", "upstream: as\n    store: shared\n")).await;
    let other = replica(&stage).await;
    let client = Client::new(other.address(), &stage.world.authority).origin(ORIGIN);
    let authorize = |uri: &str| {
        let (query, client, other) = (form(&owned(&[("client_id", CLIENT), ("request_uri", uri)])), &client, &other);
        async move {
            let request = Request::get(format!("{ORIGIN}/authorize?{query}")).body(Bytes::new()).unwrap();
            let response = client.send(request).await.expect("the gateway answers");
            let code = other.record_of(&response)["code"].as_str().expect("a code").to_owned();
            (code, response.status().as_u16())
        }
    };
    assert_eq!(authorize(REQUEST_URI).await, ("request_uri_unknown".into(), 400), "control");
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed(), &[]).await), "ok");
    assert_eq!(authorize(REQUEST_URI).await, ("ok".into(), 303));
    assert_eq!(authorize("urn:ietf:params:oauth:request_uri:2").await, ("request_uri_unknown".into(), 400), "control");
    let keys = redis.cli(&["KEYS", "*:u:*"]);
    assert!(!keys.contains("request_uri") && keys.lines().count() == 1, "{keys}");
    drop(redis);
    assert_eq!(authorize(REQUEST_URI).await, ("pushed_requests_unavailable".into(), 503));
    // Where it was pushed, it is known, and clients go on pushing.
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed(), &[]).await), "ok");
    let query = form(&owned(&[("client_id", CLIENT), ("request_uri", REQUEST_URI)]));
    let request = Request::get(format!("{ORIGIN}/authorize?{query}")).body(Bytes::new()).unwrap();
    assert_eq!(stage.code(&stage.send(request).await), "ok");
}
