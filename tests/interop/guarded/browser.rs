//! The same with a real browser in which the user logs in: what it shows them, and what it keeps from other sites.

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{KeyPair, PublicKeyData};

use super::*;
use crate::support::chromium::Page;

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_20_fapi2_as_23_a_user_logs_in_with_a_browser_and_the_client_gets_its_token() {
    let stage = Stage::set(Differences::default()).await;
    let (mut script, site) = (stage.client(), Site::open(&stage));
    let mut page = site.browser(&stage);
    for (library, name, token_type, bound) in [
        ("openid-client", "dpop-client", "dpop", "jkt"),
        ("openid-client", "bound-client", "bearer", "x5t#S256"),
        ("oauth4webapi", "dpop-client", "dpop", "jkt"),
        ("oauth4webapi", "mtls-client", "bearer", "x5t#S256"),
    ] {
        let what = format!("{library} {name}");
        // Nobody is logged in yet.
        page.call("Network.clearBrowserCookies", json!({}));
        page.load(&begun(&mut script, library, name));
        assert_eq!((title(&mut page), page.statuses()), ("Log in".into(), vec![303, 200]), "{what}");
        log_in(&mut page);
        assert_eq!((title(&mut page), page.statuses()), ("Allow".into(), vec![303, 303, 200]), "{what}");
        allow(&mut page);
        assert_eq!((title(&mut page), page.statuses()), ("Another site".into(), vec![303, 303, 200]), "{what}");
        let back = address(&mut page);
        assert!(back.starts_with(&format!("{CALLBACK}?code=")), "{what}");
        let answer = script.ask(&json!({ "back": back }));
        assert_eq!(answer["iss"], json!(stage.origin), "{what}: {answer}");
        let mut expected = json!({ "token_type": token_type, "format": "jwt", "cnf": [bound] });
        assert_eq!(answer["first"], expected, "{what}: {answer}");
        expected["same"] = json!(true);
        assert_eq!(answer["refreshed"], expected, "{what}: {answer}");
    }
    assert!(script.end().is_empty());
}

/// Whoever is logged in needs only to be made to click, on what another site shows them.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_46_a_browser_shows_no_page_of_the_server_in_a_frame_and_sends_clients_no_referrer() {
    let stage = Stage::set(Differences::default()).await;
    let (mut script, site) = (stage.client(), Site::open(&stage));
    let mut page = site.browser(&stage);
    for (origin, alone) in [(&stage.origin, false), (&stage.own_origin, true)] {
        page.call("Network.clearBrowserCookies", json!({}));
        let visit = begun(&mut script, "openid-client", "dpop-client").replace(&stage.origin, origin);
        page.load(&visit);
        log_in(&mut page);
        let consent = address(&mut page);
        assert!(consent.starts_with(&format!("{origin}/interaction/")), "{consent}");
        for url in [&visit, &consent] {
            page.load(&site.origin);
            page.value(&format!(
                "new Promise(done => document.body.append(
                    Object.assign(document.createElement('iframe'), {{ src: '{url}', onload: () => done() }})))"
            ));
            let shown = page.value_in_frame("[location.origin, document.forms.length]");
            assert_eq!(shown, if alone { json!([origin, 1]) } else { json!(["null", 0]) }, "{url}");
            let complaints = page.complaints();
            let says_why = complaints.iter().any(|complaint| complaint.contains("frame-ancestors 'none'"));
            assert_eq!(says_why, !alone, "{url}: {complaints:?}");
        }
        page.load(&visit);
        allow(&mut page);
        let referrer = if alone { format!("{origin}/") } else { String::new() };
        assert_eq!(page.value("document.referrer"), json!(referrer), "{origin}");
        let answer = script.ask(&json!({ "back": address(&mut page) }));
        assert_eq!(answer["first"]["token_type"], "dpop", "{origin}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_32_a_browser_lets_no_script_of_another_origin_read_a_page_of_the_server() {
    let stage = Stage::set(Differences::default()).await;
    let site = Site::open(&stage);
    let mut page = site.browser(&stage);
    let pushed = stage.brought("free-client").await;
    for (origin, alone) in [(&stage.origin, false), (&stage.own_origin, true)] {
        let visit = format!("{origin}/auth?{pushed}");
        page.load(&visit);
        let login = address(&mut page);
        for url in [&visit, &login] {
            for (reader, reads) in [(&login, true), (&site.origin, alone)] {
                page.load(reader);
                let fetch = format!("fetch('{url}', {{ credentials: 'include' }})");
                let read = page.value(&format!("{fetch}.then(answer => answer.text()).catch(String)"));
                let read = read.as_str().expect("text");
                assert_eq!(read.contains("<form"), reads, "{url} from {reader}: {read}");
                assert_eq!(read == "TypeError: Failed to fetch", !reads, "{url} from {reader}: {read}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_25_a_login_can_be_loaded_again_until_the_user_is_through() {
    let stage = Stage::set(Differences::default()).await;
    let (mut script, site) = (stage.client(), Site::open(&stage));
    let mut page = site.browser(&stage);
    let visit = begun(&mut script, "openid-client", "dpop-client");
    page.load(&visit);
    let first = address(&mut page);
    reload(&mut page);
    assert_eq!((title(&mut page), address(&mut page)), ("Log in".into(), first.clone()));
    page.load(&visit);
    let second = address(&mut page);
    assert_eq!((title(&mut page), second == first), ("Log in".into(), false), "it is another login");
    page.load(&site.origin);
    go_back(&mut page);
    assert_eq!((title(&mut page), address(&mut page)), ("Log in".into(), second));
    log_in(&mut page);
    reload(&mut page);
    assert_eq!(title(&mut page), "Allow");
    allow(&mut page);
    let back = address(&mut page);
    assert!(back.starts_with(&format!("{CALLBACK}?code=")), "{back}");
    let answer = script.ask(&json!({ "back": back }));
    assert_eq!(answer["first"]["token_type"], "dpop", "{answer}");
    go_back(&mut page);
    assert_eq!(page.value("document.forms.length"), 0, "consent is asked for once");
    // The server knows who is logged in and what they consented to, and would send the browser back at once.
    page.load(&visit);
    let back = address(&mut page);
    assert!(back.starts_with(&format!("{CALLBACK}?error=invalid_request_uri&")), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_16_a_browser_that_brings_a_request_itself_shows_a_refusal_and_no_login() {
    let stage = Stage::set(Differences::default()).await;
    let site = Site::open(&stage);
    let mut page = site.browser(&stage);
    let pushed = stage.brought("free-client").await;
    let plain = stage.request_of("free-client").without("client_assertion").without("client_assertion_type").encoded();
    for (what, origin, query, statuses, forms, shown) in [
        ("control", &stage.origin, &pushed, vec![303, 200], 1, "Log in"),
        ("plain parameters", &stage.origin, &plain, vec![400], 0, "This request was not accepted"),
        ("plain parameters, alone", &stage.own_origin, &plain, vec![303, 200], 1, "Log in"),
    ] {
        page.load(&format!("{origin}/auth?{query}"));
        assert_eq!((title(&mut page), page.statuses()), (shown.to_owned(), statuses), "{what}");
        assert_eq!(page.value("document.forms.length"), forms, "{what}");
        if forms == 0 {
            let parts =
                "[document.documentElement.lang, document.querySelector('h1').innerText, document.links.length]";
            assert_eq!(page.value(parts), json!(["en", shown, 0]), "{what}");
            let text = page.value("document.body.innerText");
            let text = text.as_str().expect("text");
            assert!(text.contains("go back to the application where you began"), "{what}: {text}");
            assert!(text.contains("invalid_request") && !text.contains("code_challenge"), "{what}: {text}");
            // The policy lets the style of the page through, and nothing else is asked for.
            assert_eq!(page.value("document.styleSheets.length"), 1, "{what}");
            let width = "getComputedStyle(document.body).maxWidth";
            assert_eq!(page.value(width), "576px", "{what}");
        }
    }
    let record = stage.gateway.record_where(|record| record["code"] == "par_required");
    assert_eq!((&record["path"], &record["upstream"]), (&json!("/auth"), &Value::Null), "{record}");
}

impl Stage {
    /// What a browser brings for a client that has pushed its request.
    async fn brought(&self, client: &'static str) -> String {
        Form::default().with("client_id", client).with("request_uri", &self.pushed(client).await).encoded()
    }
}

/// Has a library begin a login, and returns where it sends the user.
fn begun(script: &mut Script, library: &str, client: &str) -> String {
    let answer = script.ask(&json!({ "do": library, "client": client, "resource": true, "browser": true }));
    answer["visit"].as_str().unwrap_or_else(|| panic!("{library} {client}: {answer}")).to_owned()
}

fn title(page: &mut Page) -> String {
    page.value("document.title").as_str().expect("a title").to_owned()
}

fn address(page: &mut Page) -> String {
    page.value("location.href").as_str().expect("an address").to_owned()
}

/// Fills in the form of the login page, and sends it.
fn log_in(page: &mut Page) {
    page.press("Tab", 9);
    page.write("alice");
    page.follow(|page| page.press("Enter", 13));
}

/// Presses the button of the page that asks for consent.
fn allow(page: &mut Page) {
    page.press("Tab", 9);
    page.follow(|page| page.press("Enter", 13));
}

fn reload(page: &mut Page) {
    page.follow(|page| page.call("Page.reload", json!({})));
}

fn go_back(page: &mut Page) {
    page.follow(|page| page.value("history.back()"));
}

/// A web site that has nothing to do with the gateway: the client's, under its name, and a stranger's, under that of this machine. A
/// browser counts the latter as the same site as the server, for which cookies are sent along, but as another origin.
struct Site {
    _script: Script,
    port: u64,
    origin: String,
}

impl Site {
    fn open(stage: &Stage) -> Self {
        let ca = stage.folder.path().join("ca.pem");
        let mut script = Script::start(&stage.folder, "site.mjs", &["others.pem", "others-key.pem"], &ca);
        let port = script.hear().expect("the site starts")["port"].as_u64().expect("a port");
        Self { _script: script, port, origin: format!("https://localhost:{port}") }
    }

    /// A browser that finds the client here, and trusts the certificates of all.
    fn browser(&self, stage: &Stage) -> Page {
        let gateway = std::fs::read_to_string(stage.gateway.folder().path().join("server-key.pem")).expect("a key");
        let keys = [gateway, stage.others.key_pem()].map(|pem| {
            let key = KeyPair::from_pem(&pem).expect("a key").subject_public_key_info();
            STANDARD.encode(digest(&SHA256, &key))
        });
        Page::open_with(&[
            format!("--ignore-certificate-errors-spki-list={}", keys.join(",")),
            format!("--host-resolver-rules=MAP client.example:443 127.0.0.1:{}", self.port),
        ])
    }
}
