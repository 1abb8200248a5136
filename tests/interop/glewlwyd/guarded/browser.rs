//! The same in a real browser, through the pages that glewlwyd has: a script, which asks for all that it shows.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

use super::is_bound;
use super::stage::{CALLBACK, Stage, json_of, parameter};
use crate::interop::form::text;
use crate::support::chromium::Page;

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_20_a_user_logs_in_and_consents_on_glewlwyds_own_pages() {
    let stage = Stage::set(json!({})).await;
    let reference = stage.reference("new-client", &stage.pushed("new-client").await);
    let mut page = browser(&stage);
    page.load(&format!("{}?{}", stage.endpoint("/auth"), reference.encoded()));
    assert_eq!(page.statuses(), [302, 200]);

    appears(&mut page, "#password");
    for name in ["username", "password"] {
        page.value(&format!("document.querySelector('#{name}').focus()"));
        page.write(stage.user[name].as_str().expect("text"));
    }
    page.press("Enter", 13);
    appears(&mut page, "#grant-accounts");
    page.value("document.querySelector('#grant-accounts').click()");
    page.value(&press("Grant access"));
    holds(&mut page, "!document.querySelector('#grant-accounts') && document.body.innerText.includes('Connection to')");
    page.follow(|page| page.value(&press("Continue")));

    let requests = page.requests();
    let back = requests.iter().find(|url| url.starts_with(&format!("{CALLBACK}?")));
    let back = back.unwrap_or_else(|| panic!("{requests:?}"));
    assert_eq!(parameter(back, "iss").as_deref(), Some(&*stage.issuer));
    let exchange = stage.exchange("new-client", &parameter(back, "code").expect("a code"));
    let (status, code, response) = stage.judge(stage.token_request(&exchange, Some(&stage.proof("/token")))).await;
    assert_eq!((status, &*code), (200, "ok"), "{}", text(&response));
    let answer = json_of(&response);
    is_bound(&stage, &answer);
    assert_eq!(answer["scope"], "openid accounts");
    let consent = stage.gateway.record_where(|record| record["method"] == "PUT");
    assert_eq!((&consent["code"], &consent["path"]), (&json!("ok"), &json!("/api/auth/grant/new-client")));
    let refused: Vec<Value> = stage.gateway.audit_text().lines().filter_map(refusal).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// The record in a line of the audit, if it is one of a refusal.
fn refusal(line: &str) -> Option<Value> {
    let record: Value = serde_json::from_str(line).expect("JSON");
    record["code"].as_str().is_some_and(|code| code != "ok").then_some(record)
}

/// The script that presses the button with this text.
fn press(button: &str) -> String {
    format!("[...document.querySelectorAll('button')].find(one => one.innerText.includes('{button}')).click()")
}

fn appears(page: &mut Page, selector: &str) {
    holds(page, &format!("document.querySelector('{selector}')"));
}

/// Waits until an expression holds, which is looked at again whenever the page changes.
fn holds(page: &mut Page, expression: &str) {
    page.value(&format!(
        "new Promise(done => {{
            const look = () => ({expression}) && done(true);
            new MutationObserver(look).observe(document, {{ childList: true, subtree: true, attributes: true }});
            look();
        }})"
    ));
}

/// A browser that trusts the certificates of all, and finds the client at glewlwyd, which has no such page.
fn browser(stage: &Stage) -> Page {
    let gateway = std::fs::read_to_string(stage.gateway.folder().path().join("server-key.pem")).expect("a key");
    let keys = [gateway, stage.server.credential.key_pem()].map(|pem| {
        let key = KeyPair::from_pem(&pem).expect("a key").subject_public_key_info();
        STANDARD.encode(digest(&SHA256, &key))
    });
    let own_port = stage.server.own_origin.rsplit(':').next().expect("a port");
    Page::open_with(&[
        format!("--ignore-certificate-errors-spki-list={}", keys.join(",")),
        format!("--host-resolver-rules=MAP client.example:443 127.0.0.1:{own_port}"),
    ])
}
