//! `htu` compared with the target of the request (RFC 9449 §4.3 (9), RFC 3986 §6.2).

use serde_json::Value;

use super::{Stage, ok};
use crate::support::{ORIGIN, dpop_request};

impl Stage {
    async fn htu(&self, path: &str, htu: &str) -> (u16, Value) {
        let proof = self.holder.proof(path, self.now()).claim("htu", htu);
        let response = self.send(self.holder.request(path, &proof)).await;
        (response.status().as_u16(), self.world.gateway.record_of(&response))
    }

    /// The upstream does not know every path; it is enough that the request reached it.
    async fn htu_passes(&self, path: &str, htu: &str) {
        let (_, record) = self.htu(path, htu).await;
        assert_eq!(
            (&record["code"], &record["decision"]),
            (&"ok".into(), &"permit".into()),
            "{htu} for {path}: {record}"
        );
    }

    async fn htu_differs(&self, path: &str, htu: &str, part: &str) {
        let (status, record) = self.htu(path, htu).await;
        assert_eq!((status, &record["code"]), (401, &"dpop_uri_mismatch".into()), "{htu} for {path}: {record}");
        let detail = record["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("the {part} of htu differs")), "{htu} for {path}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_11_dpop_17_conf_dp_10_another_uri_is_refused_and_the_part_named() {
    let stage = Stage::start().await;
    stage.htu_passes("/accounts", "https://localhost/accounts").await;
    for (htu, part) in [
        ("https://other.example/accounts", "host"),
        ("https://localhost.other.example/accounts", "host"),
        ("https:///accounts", "host"),
        ("https://localhost./accounts", "host"),
        ("https://localhost\\@other.example/accounts", "form"),
        ("https://localhost:8443/accounts", "port"),
        ("https://localhost:0/accounts", "port"),
        ("https://localhost:x/accounts", "port"),
        ("https://localhost:+443/accounts", "port"),
        ("https://localhost:443:443/accounts", "host"),
        ("https://localhost:65979/accounts", "port"),
        ("http://localhost/accounts", "scheme"),
        ("http://localhost:443/accounts", "scheme"),
        ("wss://localhost/accounts", "scheme"),
        ("/accounts", "form"),
        ("localhost/accounts", "form"),
        ("https:/localhost/accounts", "form"),
        ("https://u:p@localhost/accounts", "form"),
        ("https://localhost@other.example/accounts", "form"),
        ("https://löcalhost/accounts", "form"),
        ("https://localhost/accounts/1", "path"),
        ("https://localhost/", "path"),
        ("https://localhost", "path"),
        ("https://localhost?/accounts", "path"),
        ("https://localhost#/accounts", "path"),
    ] {
        stage.htu_differs("/accounts", htu, part).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_12_conf_dp_09_query_and_fragment_are_ignored_on_both_sides() {
    let stage = Stage::start().await;
    for htu in ["https://localhost/accounts?a=b#c", "https://localhost/accounts#c?d", "https://localhost/accounts?"] {
        stage.htu_passes("/accounts", htu).await;
        stage.htu_passes("/accounts?x=y", htu).await;
    }
    stage.htu_passes("/accounts?x=y", "https://localhost/accounts").await;
    stage.htu_passes("/accounts?", "https://localhost/accounts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_13_conf_dp_16_conf_dp_17_the_claim_is_normalised() {
    let stage = Stage::start().await;
    for (path, htu) in [
        ("/accounts", "HTTPS://LOCALHOST:443/accounts"),
        ("/accounts", "https://localhost:/accounts"),
        ("/accounts", "https://localhost:0443/accounts"),
        ("/accounts", "https://localhost/%61cc%6funts"),
        ("/accounts/~user", "https://localhost/accounts/%7Euser"),
        ("/accounts/~user", "https://localhost/accounts/%7euser"),
        ("/accounts/%C3%A9", "https://localhost/accounts/%c3%a9"),
        ("/accounts/%c3%a9", "https://localhost/accounts/%C3%A9"),
        ("/accounts/b", "https://localhost/accounts/./b"),
        ("/accounts/b", "https://localhost/accounts/a/../b"),
        ("/accounts/b", "https://localhost/../accounts/%2E/b"),
        ("/accounts/", "https://localhost/accounts/."),
    ] {
        stage.htu_passes(path, htu).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_14_nothing_else_is_the_same() {
    let stage = Stage::start().await;
    stage.htu_passes("/accounts/a/b", "https://localhost/accounts/a/b").await;
    for (path, htu) in [
        ("/accounts", "https://localhost/Accounts"),
        ("/accounts", "https://localhost/accounts/"),
        ("/accounts/", "https://localhost/accounts"),
        ("/accounts/a", "https://localhost/accounts//a"),
        ("/accounts/a", "https://localhost//accounts/a"),
        ("/accounts/a/b", "https://localhost/accounts/a%2Fb"),
        ("/accounts/a", "https://localhost/accounts/a;v=1"),
        ("/accounts/a:b", "https://localhost/accounts/a%3Ab"),
        ("/accounts/%2B", "https://localhost/accounts/+"),
        ("/accounts/a", "https://localhost/accounts/%2561"),
        ("/accounts/a", "https://localhost/accounts/a%"),
        ("/accounts/a", "https://localhost/accounts/%+61"),
        ("/accounts/%C3%A9", "https://localhost/accounts/é"),
        ("/accounts/a", "https://localhost/accounts/a "),
        ("/accounts/a", "https://localhost/accounts\\a"),
    ] {
        stage.htu_differs(path, htu, "path").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_15_atk_tk_13_no_field_of_the_request_changes_what_is_expected() {
    let stage = Stage::start().await;
    for (field, value) in [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-prefix", "/evil"),
        ("x-forwarded-port", "8443"),
        ("forwarded", "host=evil.example;proto=https"),
        ("x-original-url", "/evil"),
        ("x-original-host", "evil.example"),
    ] {
        for (htu, status) in [
            (format!("{ORIGIN}/accounts"), 200),
            ("https://evil.example/accounts".to_owned(), 401),
            ("https://localhost:8443/accounts".to_owned(), 401),
            (format!("{ORIGIN}/evil"), 401),
            ("http://localhost/accounts".to_owned(), 401),
        ] {
            let proof = stage.proof().claim("htu", htu.as_str());
            let mut request = stage.holder.request("/accounts", &proof);
            request.headers_mut().insert(field, value.parse().unwrap());
            assert_eq!(stage.judge_request(request).await.0, status, "{field}: {htu}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_16_an_outer_proxys_prefix_belongs_to_htu() {
    let stage = Stage::with(|scene| scene.replace(&format!("[\"{ORIGIN}\"]"), "[\"https://localhost/api/v1\"]")).await;
    stage.htu_passes("/accounts", "https://localhost/api/v1/accounts").await;
    stage.htu_passes("/accounts", "https://localhost/api/x/../v1/accounts").await;
    for (htu, part) in [
        ("https://localhost/accounts", "prefix"),
        ("https://localhost/api/v1accounts", "prefix"),
        ("https://localhost/api/v1", "prefix"),
        ("https://localhost/API/v1/accounts", "prefix"),
        ("https://localhost/api/v1/../accounts", "prefix"),
        ("https://localhost/api/v1/api/v1/accounts", "path"),
    ] {
        stage.htu_differs("/accounts", htu, part).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_14_a_proof_for_one_origin_does_not_open_another() {
    let stage = Stage::with(|scene| {
        scene.replace(
            &format!("origins: [\"{ORIGIN}\"]"),
            "origins: [\"https://localhost\", \"https://localhost:8443\", \"https://127.0.0.1\"]",
        )
    })
    .await;
    let origins = ["https://localhost", "https://localhost:8443", "https://127.0.0.1"];
    for sent_to in origins {
        for made_for in origins {
            let proof = stage.proof().claim("htu", format!("{made_for}/accounts")).sign(&stage.holder.key);
            let mut request = dpop_request("/accounts", &stage.holder.token, &proof);
            *request.uri_mut() = format!("{sent_to}/accounts").parse().unwrap();
            let mut client = stage.client();
            if sent_to.contains("127.0.0.1") {
                client = client.server_name("127.0.0.1");
            }
            let judged = stage.world.judge_from(&client, request).await;
            let expected = if sent_to == made_for { ok() } else { (401, "dpop_uri_mismatch".to_owned()) };
            assert_eq!(judged, expected, "made for {made_for}, sent to {sent_to}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_13_dpop_39_a_path_with_data_fits_its_claim_once_in_every_spelling() {
    let stage =
        Stage::with(|scene| scene.replace("path: /accounts/**", "path: /accounts/**\n    path_characters: uri")).await;
    for (path, htu) in [
        ("/accounts/100%25;v=1", "/accounts/100%25;v=1"),
        ("/accounts/%7Ea%3bb", "/accounts/~a%3Bb"),
        ("/accounts/%41.", "/accounts/A."),
    ] {
        stage.htu_passes(path, &format!("https://localhost{htu}")).await;
    }
    stage.htu_differs("/accounts/a%3Bb", "https://localhost/accounts/a;b", "path").await;
    stage.htu_differs("/accounts/a%257Eb", "https://localhost/accounts/a~b", "path").await;
    // One proof is good for one of the spellings.
    let proof = stage.holder.proof("/accounts/~a", stage.now());
    let judge = |path: &'static str| stage.judge_request(stage.holder.request(path, &proof));
    assert_ne!(judge("/accounts/%7Ea").await.1, "dpop_replayed");
    assert_eq!(judge("/accounts/~a").await, (401, "dpop_replayed".to_owned()));
}
