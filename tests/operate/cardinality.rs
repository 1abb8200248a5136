//! However many clients come, and whatever they send: the number of series is that of the configuration.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Request};
use sandbox::tokens::KeyKind;
use tokio::task::JoinSet;

use crate::support::{DEADLINE, ORIGIN, World, remember, request};

/// The series of a scrape, without their values.
fn series(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_with_clients_paths_and_methods_of_their_own_make_no_series() {
    let world = World::start().await;
    let (key, certificate) = (world.issuer.key(KeyKind::Es256), world.c1.x5t_s256());
    let now = world.clock.now();
    // Every other one is of another client, and those between have another method and program; each has another path.
    let wanted = |number: usize| {
        let path = format!("/accounts/account-{number}");
        if number.is_multiple_of(2) {
            let token = world.issuer.token(now).bound_to_thumbprint(&certificate);
            let token = token.claim("client_id", format!("client-{number}")).claim("sub", format!("customer-{number}"));
            return request(&path, &remember(token.sign(key)));
        }
        let method = Method::from_bytes(format!("M{number}").as_bytes()).expect("a token of HTTP");
        let request = Request::builder().method(method).uri(format!("{ORIGIN}{path}"));
        request.header("user-agent", format!("agent-{number}")).body(Bytes::new()).expect("a request")
    };
    let client = world.client().h2();
    let send = async |numbers: std::ops::Range<usize>| {
        let mut clients = JoinSet::new();
        let each = numbers.len().div_ceil(CONNECTIONS);
        let all: Vec<Request<Bytes>> = numbers.map(wanted).collect();
        for part in all.chunks(each) {
            let (client, part) = (client.clone(), part.to_vec());
            clients.spawn(async move {
                let mut connection = client.connect().await.expect("a connection");
                for request in part {
                    // The API has no such account.
                    let expected = if request.method() == Method::GET { 404 } else { 405 };
                    assert_eq!(connection.send(request).await.expect("an answer").status(), expected);
                }
            });
        }
        clients.join_all().await;
    };
    send(0..2).await;
    let before = series(&world.gateway.admin("/metrics").await.1);
    send(2..MANY).await;
    let counted = async {
        loop {
            let text = world.gateway.admin("/metrics").await.1;
            // One of each kind for every two, once the last are counted.
            let count = |status_class: &str| -> usize {
                let end = format!(",status_class=\"{status_class}\"}}");
                let lines = text.lines().filter(|line| line.starts_with("fapi_gateway_responses_total{"));
                let counts = lines.filter_map(|line| line.split_once(' ')).filter(|(series, _)| series.ends_with(&end));
                counts.filter_map(|(_, count)| count.parse::<usize>().ok()).sum()
            };
            if count("4xx") == MANY {
                return text;
            }
        }
    };
    let text = tokio::time::timeout(DEADLINE, counted).await.expect("control: every request is counted");
    let permitted = "fapi_gateway_requests_total{code=\"ok\",decision=\"permit\",route=\"accounts\"} ";
    assert!(text.contains(&format!("\n{permitted}{}\n", MANY / 2)), "control: every client was known\n{text}");
    let after = series(&text);
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(after.len(), before.len());
}

const MANY: usize = 10_000;
const CONNECTIONS: usize = 16;
