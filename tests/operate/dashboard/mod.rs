//! deploy/grafana/dashboard.json: made from the metrics of the program, of nothing that does not exist, and a real Prometheus
//! evaluates each of its queries.

mod content;
mod queries;
mod written;

use std::collections::BTreeSet;
use std::path::Path;

use sandbox::pki::Authority;

use self::content::{Form, Panel, ROWS};
use self::queries::{metrics_in, problems};
use self::written::{chosen, dashboard};
use super::docs::reference::{WRITE, every_family};
use crate::support::prometheus::Prometheus;
use crate::support::{World, request};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana/dashboard.json");

fn panels() -> impl Iterator<Item = &'static Panel> {
    ROWS.iter().flat_map(|row| row.panels)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_is_that_of_the_metrics_that_the_program_has() {
    let families = every_family().await;
    let made = dashboard(&families);
    if std::env::var(WRITE).is_ok_and(|value| value == "1") {
        std::fs::write(FILE, &made).expect("the file can be written");
    }
    let found = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(found == made, "{FILE} is not what the tests say; {WRITE}=1 cargo test --locked dashboard writes it");

    for panel in panels() {
        for (query, _) in panel.queries {
            assert_eq!(problems(query, &families), Vec::<String>::new(), "{}: {query}", panel.title);
        }
        assert!((panel.form == Form::Text) == panel.queries.is_empty(), "{}", panel.title);
    }
    let shown: BTreeSet<String> =
        panels().flat_map(|panel| panel.queries).flat_map(|(query, _)| metrics_in(query)).collect();
    let missing: Vec<&String> = families.keys().filter(|name| !shown.contains(*name)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "metrics that no panel shows");
    let titles: BTreeSet<&str> = panels().map(|panel| panel.title).collect();
    assert_eq!(titles.len(), panels().count(), "each title is there once");
}

#[test]
fn the_page_explains_the_dashboard() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/operate/dashboard.md")).expect("the page");
    let explained: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    for row in ROWS {
        assert!(explained.contains(&row.title), "{}: {explained:?}", row.title);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_evaluates_every_query_and_the_usual_ones_have_data() {
    let world = World::with(|scene| scene).await;
    let prometheus = Prometheus::start(world.gateway.admin_address(), None);
    prometheus.until("query?query=up", |data| data["result"][0]["value"][1] == "1").await;
    // After the first scrape, so that there is a rate.
    assert_eq!(world.judge(world.request()).await.0, 200);
    assert_eq!(world.judge(request("/accounts", "a-bad-token")).await.0, 401);
    assert_eq!(world.judge_from(&world.anonymous(), world.request()).await.0, 401);
    let holder = world.holder();
    let proof = holder.proof("/accounts", world.clock.now());
    world.judge(holder.request("/accounts", &proof)).await;
    let stranger = Authority::new("Another CA").client("stranger");
    assert!(world.anonymous().certificate(&stranger).send(world.request()).await.is_err(), "an unknown authority");
    // The last of them: a scrape that has it has the others.
    let counted =
        "query?query=increase(fapi_gateway_tls_handshakes_total%7Breason%3D%22unknown_ca%22%7D%5B5m%5D)%20%3E%200";
    prometheus.until(counted, |data| data["result"].as_array().is_some_and(|series| !series.is_empty())).await;
    for panel in panels() {
        for (query, _) in panel.queries {
            let query = chosen(query);
            let values =
                [("$job", ".*"), ("$instance", ".*"), ("$route", ".*"), ("$__rate_interval", "5m"), ("$__range", "5m")];
            let query = values.iter().fold(query, |query, (name, value)| query.replace(name, value));
            let form: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
            let answer = prometheus.ask(&format!("query?query={form}")).await;
            assert_eq!(answer["status"], "success", "{}: {query}: {answer}", panel.title);
            let series = answer["data"]["result"].as_array().map_or(0, Vec::len);
            assert!(series > 0 || !panel.usual, "{}: no data: {query}", panel.title);
        }
    }
}
