//! However many clients come, and whatever they send: the number of series is that of the configuration.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Request};
use sandbox::tokens::KeyKind;
use tokio::task::JoinSet;

use crate::support::{ORIGIN, World, remember, request};

/// The series of a scrape, without their values.
fn series(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_clients_paths_and_methods_make_no_series() {
    let world = World::start().await;
    let (key, certificate) = (world.issuer.key(KeyKind::Es256), world.c1.x5t_s256());
    let now = world.clock.now();
    // One of another client, path and method for each number; with that method and a token nobody looks at.
    let requests = |number: usize| {
        let token = world.issuer.token(now).bound_to_thumbprint(&certificate);
        let token = token.claim("client_id", format!("client-{number}")).claim("sub", format!("customer-{number}"));
        let good = request(&format!("/accounts/account-{number}"), &remember(token.sign(key)));
        let method = Method::from_bytes(format!("M{number}").as_bytes()).expect("a token of HTTP");
        let bad = Request::builder().method(method).uri(format!("{ORIGIN}/accounts/account-{number}"));
        let bad = bad.header("user-agent", format!("agent-{number}")).body(Bytes::new()).expect("a request");
        [good, bad]
    };
    let client = world.client().h2();
    let send = async |numbers: std::ops::Range<usize>| {
        let mut clients = JoinSet::new();
        let each = numbers.len().div_ceil(CONNECTIONS);
        let all: Vec<[Request<Bytes>; 2]> = numbers.map(requests).collect();
        for part in all.chunks(each) {
            let (client, part) = (client.clone(), part.to_vec());
            clients.spawn(async move {
                let mut connection = client.connect().await.expect("a connection");
                for [good, bad] in part {
                    // The API has no such account.
                    assert_eq!(connection.send(good).await.expect("an answer").status(), 404);
                    assert_eq!(connection.send(bad).await.expect("an answer").status(), 405);
                }
            });
        }
        clients.join_all().await;
    };
    send(0..1).await;
    let before = series(&world.gateway.admin("/metrics").await.1);
    assert!(before.iter().any(|series| series.contains("method_not_allowed")), "control: {before:?}");
    send(1..MANY).await;
    let (status, text) = world.gateway.admin("/metrics").await;
    assert_eq!(status, 200);
    for (code, decision) in [("ok", "permit"), ("method_not_allowed", "reject")] {
        let counted = format!("fapi_gateway_requests_total{{code=\"{code}\",decision=\"{decision}\",route=");
        let counted = text.lines().filter(|line| line.starts_with(&counted));
        let sum: usize = counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum();
        assert_eq!(sum, MANY, "control: {code}");
    }
    let after = series(&text);
    let new: Vec<&String> = after.difference(&before).collect();
    assert_eq!(new, Vec::<&String>::new());
    assert_eq!(after.len(), before.len());
}

const MANY: usize = 10_000;
const CONNECTIONS: usize = 16;
