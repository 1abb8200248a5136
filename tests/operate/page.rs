//! `/` of the admin listener in a real browser: complete without anything else, readable, and never what a client made of it.

use std::collections::BTreeSet;

use http::{HeaderMap, Method, Request};
use sandbox::pki::Authority;
use serde_json::Value;

use super::docs::reference::WRITE;
use crate::support::chromium::Page;
use crate::support::{DEADLINE, World, day, http_client, request};

/// Where the documentation has the page.
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images/page.png");

/// The answer to a request of a browser.
async fn asked(world: &World, method: Method, path: &str, fields: &[(&'static str, &str)]) -> (u16, HeaderMap, String) {
    let mut headers = HeaderMap::new();
    headers.insert("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8".parse().unwrap());
    for (name, value) in fields {
        headers.insert(*name, value.parse().unwrap());
    }
    let url = format!("http://{}{path}", world.gateway.admin_address());
    let response = http_client().request(method, url).headers(headers).send().await.unwrap();
    (response.status().as_u16(), response.headers().clone(), response.text().await.unwrap())
}

async fn page(world: &World, path: &str) -> String {
    let (status, _, text) = asked(world, Method::GET, path, &[]).await;
    assert_eq!(status, 200, "{text}");
    text
}

/// The page, once it has a text.
async fn page_with(world: &World, path: &str, text: &str) -> String {
    let found = async {
        loop {
            let page = page(world, path).await;
            if page.contains(text) {
                return page;
            }
        }
    };
    tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("no {text:?} at {path}"))
}

/// Drives a browser away from the threads of the test, since its calls block.
async fn browse<T: Send + 'static>(what: impl FnOnce(&mut Page) -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(|| what(&mut Page::open())).await.expect("the browser does what it is told")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_for_browsers_that_may_read_decisions() {
    let world = World::start().await;
    let (status, headers, text) = asked(&world, Method::GET, "/", &[]).await;
    assert_eq!((status, &headers["content-type"]), (200, &"text/html; charset=utf-8".parse().unwrap()));
    assert!(text.starts_with("<!DOCTYPE html>"), "{text}");
    let policy = headers["content-security-policy"].to_str().unwrap();
    for part in
        ["default-src 'none'", "style-src 'sha256-", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in
        [("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")]
    {
        assert_eq!(headers[name], value, "{name}");
    }
    let (status, of_head, body) = asked(&world, Method::HEAD, "/", &[]).await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(of_head["content-security-policy"], headers["content-security-policy"]);
    let (status, headers, _) = asked(&world, Method::POST, "/", &[]).await;
    assert_eq!((status, &headers["allow"]), (405, &"GET, HEAD".parse().unwrap()));

    // Who names no HTML gets the paths.
    for accept in ["*/*", "application/json", "text/html;q=0"] {
        let (status, headers, text) = asked(&world, Method::GET, "/", &[("accept", accept)]).await;
        assert_eq!(
            (status, &headers["content-type"]),
            (200, &"text/plain; charset=utf-8".parse().unwrap()),
            "{accept}"
        );
        assert!(text.starts_with("the paths are /livez,"), "{text}");
    }
    let status = async |path: &str, fields: &'static [(&'static str, &'static str)]| {
        asked(&world, Method::GET, path, fields).await.0
    };
    assert_eq!(status("/", &[("sec-fetch-site", "none")]).await, 200, "control: the address bar");
    assert_eq!(status("/", &[("sec-fetch-site", "same-origin")]).await, 200, "control: its own form");
    assert_eq!(status("/", &[("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(status("/", &[("host", "attacker.example")]).await, 403, "a name that leads to this machine");
    assert_eq!(status("/?code=token_expired&decision=", &[]).await, 200, "control");
    assert_eq!(status("/?token=x", &[]).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_network_the_page_is_for_trusted_certificates_alone() {
    let exposed = World::with(|scene| scene.replace("address: \"127.0.0.1:0\"", "address: \"0.0.0.0:0\"")).await;
    let (status, headers, text) = asked(&exposed, Method::GET, "/", &[]).await;
    assert_eq!((status, &headers["content-type"]), (200, &"text/plain; charset=utf-8".parse().unwrap()));
    assert!(text.starts_with("the paths are"), "{text}");

    let operators = Authority::new("operators");
    let world = World::with(|scene| scene.admin_over_tls(&operators)).await;
    let url = format!("https://localhost:{}/", world.gateway.admin_address().port());
    let asked = async |client: reqwest::Client| {
        let response = client.get(&url).header("accept", "text/html").send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, text) = asked(world.operator(None)).await;
    assert_eq!((status, text.contains("<html")), (403, false));
    let (status, text) = asked(world.operator(Some(&operators.client("operator")))).await;
    assert_eq!((status, text.contains("<html")), (200, true), "control");
}

/// A world with something in every part of the page, and what clients wrote into it.
async fn busy(subject: &str) -> World {
    let until = day(crate::support::client::now() + 20 * 24 * 60 * 60);
    let world = World::with(|scene| {
        let scene = scene.replace(
            "    scopes: [accounts]\n",
            &format!("    scopes: [accounts]\n    enforce: {{ shadow: until {until} }}\n"),
        );
        scene
            .replace(
                "routes:\n",
                &format!(
                    "waivers:\n  - {{ rule: token.algorithms.rs256, issuer: bank, \
                 reason: \"migration of <the> legacy server\", until: {until} }}\nroutes:\n"
                ),
            )
            .replace("    tokens: jwt\n", "    tokens: jwt\n    algorithms: [PS256, ES256, RS256]\n")
    })
    .await;
    let hostile = world.token().claim("client_id", subject).claim("sub", subject);
    let mut asked = request("/accounts/1001", &world.sign(&hostile));
    asked.headers_mut().insert("user-agent", subject.parse().unwrap());
    let response = world.client().send(asked).await.unwrap();
    world.gateway.record_of(&response);
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    for (token, count) in
        [(world.token().expires_at(world.clock.now() - 100), 7), (world.token().audience("https://other.example"), 3)]
    {
        for _ in 0..count {
            assert_eq!(world.judge(request("/accounts", &world.sign(&token))).await.0, 401);
        }
    }
    assert_eq!(
        world
            .judge(Request::get(format!("{}/nothing", crate::support::ORIGIN)).body(Default::default()).unwrap())
            .await
            .0,
        404
    );
    let stranger = Authority::new("Another CA").client(subject);
    assert!(world.anonymous().certificate(&stranger).send(world.request()).await.is_err(), "an unknown authority");
    world
}

const HOSTILE: &str = "\"'><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_is_served_and_what_is_refused() {
    let world = busy("tpp-<7>").await;
    let expired = world
        .client()
        .send(request("/accounts", &world.sign(&world.token().expires_at(world.clock.now() - 100))))
        .await
        .unwrap();
    let id = expired.headers()["x-fapi-interaction-id"].to_str().unwrap().to_owned();
    let text = page_with(&world, "/", &id).await;
    for shown in [
        "listeners[0].tls.certificate",
        "CN=localhost; for localhost, 127.0.0.1; until <time datetime=",
        "scopes: all of accounts",
        "tpp-&lt;7&gt;",
        "algorithms: PS256",
        "until the end of ",
        "migration of &lt;the&gt; legacy server",
        "how far what is remembered reaches",
        "<code>token_expired</code>",
        "<code>unknown_ca</code>",
        "has passed",
        &format!("{} <span class=\"badge good\">healthy</span>", world.accounts.address()),
    ] {
        assert!(text.contains(shown), "no {shown:?} in\n{text}");
    }
    let found = page(&world, &format!("/?interaction_id={id}&code=&decision=")).await;
    assert!(found.contains("<details open>") && found.contains("token_expired"), "{found}");
    assert!(!found.contains("tpp-&lt;7&gt;</span>"), "only the one that was asked for");
    let none = page(&world, "/?interaction_id=00000000-0000-4000-8000-000000000000").await;
    assert!(none.contains("None of the decisions that are kept is like that"), "{none}");
    let filtered = page(&world, "/?routes=payments").await;
    let has = |name: &str| filtered.contains(&format!("<th scope=\"row\" data-heading=\"Route\"><div>{name}</div>"));
    assert!(has("payments") && !has("health"), "{filtered}");
    for (path, refreshed) in [("/", false), ("/?refresh=10", true)] {
        assert_eq!(page(&world, path).await.contains("http-equiv=\"refresh\" content=\"10\""), refreshed, "{path}");
    }
    let token = world.sign(&world.token());
    assert_eq!(world.judge(request("/accounts", &token)).await.0, 200);
    let text = page(&world, "/").await;
    assert!(!text.contains(token.rsplit('.').next().unwrap()), "a token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_the_page_without_a_script_a_request_or_a_complaint() {
    let world = busy(HOSTILE).await;
    let address = world.gateway.admin_address();
    page_with(&world, "/", "token_expired").await;
    let url = format!("http://{address}/");
    browse(move |page| {
        page.look(1280, "light");
        page.load(&url);
        assert_eq!(page.requests().iter().filter(|url| !url.starts_with("data:")).collect::<Vec<_>>(), [&url]);
        assert_eq!(page.complaints(), Vec::<String>::new());
        assert_eq!(page.value("document.title"), "fapi-gateway");
        let elements =
            page.value("document.querySelectorAll('script, img, iframe, object, [style], [onerror]').length");
        assert_eq!(elements, 0, "what a client wrote became markup");
        let text = page.value("document.body.textContent");
        assert!(text.as_str().unwrap().contains(HOSTILE), "control: it is there as text");

        // What a browser that reads the page by parts needs of it.
        let landmarks = page.value(
            "['header', 'nav', 'main', 'footer'].map(name => document.querySelectorAll('body ' + name).length).join()",
        );
        assert_eq!(landmarks, "1,1,1,1");
        for (nothing, of) in [
            ("th:not([scope])", "headings of tables without a direction"),
            ("table:not(:has(caption))", "tables without a name"),
            ("td:not([data-heading])", "cells without a heading"),
            ("section:not([aria-labelledby])", "sections without a name"),
            ("svg:not([aria-labelledby])", "pictures without a name"),
        ] {
            assert_eq!(page.value(&format!("document.querySelectorAll('{nothing}').length")), 0, "{of}");
        }
        assert_eq!(
            page.value("[...document.querySelectorAll('input, select')].filter(field => !field.labels.length).length"),
            0
        );
        let links =
            page.value("[...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash)).length");
        assert_eq!((links, page.value("document.querySelectorAll('nav a').length")), (0.into(), 9.into()));
        page.press("Tab", 9);
        assert_eq!(page.value("document.activeElement.className"), "skip");
        assert_eq!(page.value("getComputedStyle(document.activeElement).outlineStyle"), "solid");
        page.press("Enter", 13);
        assert_eq!(page.value("location.hash"), "#main");

        // Controls: a script, a request and a complaint would have been noticed.
        page.value(
            "document.body.insertAdjacentHTML('beforeend', '<img src=\"http://127.0.0.1:9/x\">'); \
             document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))",
        );
        assert!(
            page.complaints().iter().any(|told| told.contains("Content Security Policy")),
            "{:?}",
            page.complaints()
        );
        assert_eq!(page.value("document.title"), "fapi-gateway");
    })
    .await;
}

/// How far the page can be scrolled to the side.
const SIDEWAYS: &str = "document.documentElement.scrollWidth - document.documentElement.clientWidth";

/// Texts whose contrast to what is behind them is below 4.5 (WCAG 2.2 §1.4.3).
const FAINT: &str = "(() => {
  const channels = color => color.match(/[0-9.]+/g).map(Number);
  const light = color => channels(color).slice(0, 3).map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = element => { for (; element; element = element.parentElement) {
    const color = getComputedStyle(element).backgroundColor; if (channels(color)[3] !== 0) return color; } return 'rgb(255, 255, 255)'; };
  const has_text = e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  const texts = [...document.querySelectorAll('body *')].filter(e => has_text(e) && !e.closest('figcaption span'));
  return [texts.length, texts.map(e => { const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    return [(a + .05) / (b + .05), e.tagName + '.' + e.className]; }).filter(([ratio]) => ratio < 4.5).map(String)];
})()";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_readable_in_the_dark_and_on_a_telephone() {
    let world = busy("tpp-7").await;
    page_with(&world, "/", "token_expired").await;
    let url = format!("http://{}/", world.gateway.admin_address());
    let pictures = std::env::var("FAPI_GATEWAY_PICTURES").ok();
    let write = std::env::var(WRITE).is_ok_and(|value| value == "1");
    browse(move |page| {
        let mut colors = BTreeSet::new();
        for (width, scheme) in [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")] {
            page.look(width, scheme);
            page.load(&url);
            assert_eq!(page.value(SIDEWAYS), 0, "{scheme}: it can be scrolled to the side");
            page.value("document.querySelectorAll('details').forEach(details => details.open = true)");
            assert_eq!(page.value(SIDEWAYS), 0, "{scheme}, with all details");
            let faint = page.value(FAINT);
            assert!(faint[0].as_u64().unwrap() > 100, "control: texts are looked at");
            assert_eq!(faint[1], Value::Array(Vec::new()), "{width} {scheme}");
            colors.insert(page.value("getComputedStyle(document.body).backgroundColor").to_string());
            page.load(&url);
            if let Some(folder) = &pictures {
                let height = page.value("document.documentElement.scrollHeight").as_u64().unwrap();
                std::fs::write(format!("{folder}/page-{width}-{scheme}.png"), page.picture(width, height)).unwrap();
            }
        }
        assert_eq!(colors.len(), 2, "dark is not light");
        if write {
            page.look(1000, "light");
            page.load(&url);
            std::fs::write(PICTURE, page.picture(1000, 1300)).expect("the picture can be written");
        }
    })
    .await;
    let picture = std::fs::read(PICTURE).expect("docs/operate/page.md shows it");
    assert!(picture.starts_with(b"\x89PNG") && picture.len() < 200_000, "{} bytes", picture.len());
}
