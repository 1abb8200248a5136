//! `/decisions`: why was this refused, answered at once and only to those who may know.

use http::{HeaderMap, Method};
use sandbox::pki::Authority;
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{DEADLINE, World, http_client, request};

/// The decisions that a path has, once there are as many as expected.
async fn decisions(world: &World, path: &str, count: usize) -> Vec<Value> {
    let enough = async {
        loop {
            let (status, text) = world.gateway.admin(path).await;
            assert_eq!(status, 200, "{text}");
            let found: Vec<Value> = serde_json::from_str(&text).expect("a list");
            if found.len() >= count {
                return found;
            }
        }
    };
    timeout(DEADLINE, enough).await.unwrap_or_else(|_| panic!("{count} decisions at {path}"))
}

/// The status of a request to the admin listener with these fields.
async fn status(world: &World, method: Method, path: &str, fields: &[(&'static str, &str)]) -> u16 {
    let client = http_client();
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.insert(*name, value.parse().unwrap());
    }
    let url = format!("http://{}{path}", world.gateway.admin_address());
    client.request(method, url).headers(headers).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_decisions_are_the_lines_of_the_audit() {
    let world = World::with(|scene| scene.replace("admin: { ", "admin: { decisions: 3, ")).await;
    assert_eq!(decisions(&world, "/decisions", 0).await, Vec::<Value>::new());
    let expired = world.sign(&world.token().expires_at(world.clock.now() - 100));
    let refused = world.client().send(request("/accounts", &expired)).await.unwrap();
    let line = world.gateway.record_of(&refused);
    for _ in 0..2 {
        assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    }
    let found = decisions(&world, "/decisions", 3).await;
    assert_eq!((&found[2], &found[0]["code"]), (&line, &"ok".into()), "the last one comes first");
    assert_eq!(decisions(&world, "/decisions?code=token_expired&status=401", 1).await, std::slice::from_ref(&line));
    assert_eq!(decisions(&world, "/decisions?decision=permit&limit=1", 1).await, [found[0].clone()]);
    assert_eq!(decisions(&world, "/decisions?route=payments", 0).await, Vec::<Value>::new());
    assert_eq!(world.gateway.admin("/decisions?token=x").await.0, 400);
    assert_eq!(decisions(&world, "/decisions?code=%74oken_expired", 1).await, std::slice::from_ref(&line));
    let (status, why) = world.gateway.admin("/decisions?limit=1&limit=2").await;
    assert_eq!((status, why.as_str()), (400, "the query has limit more than once; name it once\n"));
    let id = line["interaction_id"].as_str().unwrap();
    let (found, text) = world.gateway.admin(&format!("/decisions/{id}")).await;
    assert_eq!((found, serde_json::from_str::<Value>(&text).unwrap()), (200, line.clone()));
    assert!(!text.contains(&expired) && !text.contains(expired.rsplit('.').next().unwrap()));

    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    let gone = async { while world.gateway.admin(&format!("/decisions/{id}")).await.0 != 404 {} };
    timeout(DEADLINE, gone).await.expect("a fourth one displaces the first");
    assert_eq!(decisions(&world, "/decisions", 3).await.len(), 3);

    // A reload keeps another number.
    for (count, (from, to, expected)) in [("3", "1", 200), ("1", "0", 404)].into_iter().enumerate() {
        let [from, to] = [from, to].map(|number| format!("decisions: {number}, "));
        world.reload(count + 1, |text| text.replace(&from, &to)).await;
        let (found, text) = world.gateway.admin("/decisions").await;
        assert_eq!((found, text.lines().count()), (expected, usize::from(expected == 200)), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_and_no_name_of_others_reads_decisions() {
    let world = World::start().await;
    let get = |fields: &'static [(&'static str, &'static str)]| status(&world, Method::GET, "/decisions", fields);
    assert_eq!(get(&[]).await, 200, "control");
    assert_eq!(get(&[("host", "localhost:9464")]).await, 200, "control");
    assert_eq!(get(&[("host", "attacker.example")]).await, 403, "a name that leads to this machine");
    assert_eq!(get(&[("origin", "https://attacker.example")]).await, 403);
    assert_eq!(get(&[("sec-fetch-site", "none")]).await, 200, "control: the address bar of a browser");
    assert_eq!(
        get(&[("sec-fetch-site", "cross-site")]).await,
        403,
        "a page that shows it as an image or runs it as a script"
    );
    assert_eq!(status(&world, Method::POST, "/decisions", &[]).await, 405);
    assert_eq!(status(&world, Method::GET, "/decisionsx", &[]).await, 404);
    assert_eq!(status(&world, Method::GET, "/decisions/decisions", &[]).await, 404, "no such interaction ID");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_network_only_a_certificate_that_is_trusted_reads_decisions() {
    let exposed = World::with(|scene| scene.replace("address: \"127.0.0.1:0\"", "address: \"0.0.0.0:0\"")).await;
    assert_eq!(exposed.gateway.admin("/metrics").await.0, 200, "control");
    assert_eq!(exposed.gateway.admin("/decisions").await.0, 404);

    let operators = Authority::new("operators");
    let world = World::with(|scene| scene.admin_over_tls(&operators)).await;
    let url = format!("https://localhost:{}/decisions", world.gateway.admin_address().port());
    let asked = async |client: reqwest::Client| client.get(&url).send().await.unwrap().status().as_u16();
    assert_eq!(asked(world.operator(None)).await, 403);
    assert_eq!(asked(world.operator(Some(&operators.client("operator")))).await, 200, "control");
}
