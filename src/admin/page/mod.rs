//! `/`: what the gateway serves and what it refuses, on one page for people who look with a browser.
//!
//! The page needs nothing but itself: no script, and no style, font or image of elsewhere. maud makes its markup and escapes
//! every value, since clients wrote many of them. Tables and lists are cut, so that its size is bounded.

mod asked;
mod configuration;
mod decisions;
mod refusals;
mod state;

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use pingora::protocols::http::ServerSession;
use serde_json::Value;

use self::asked::Asked;
use self::decisions::decision_section;
use super::readiness::accepts;
use super::{Admin, Entrance, PATHS, TEXT, allow, plain};
use crate::clock::rfc3339;
use crate::generation::Generation;

impl Admin {
    /// Handles a request to `/`: the page for a browser that may read decisions, and the paths for everybody else.
    pub(super) fn serve_page(&self, session: &ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let mut response = if request.method != Method::GET && request.method != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, Vec::new());
            allow("GET, HEAD", &mut response);
            response
        } else if self.entrance == Entrance::Network || !accepts(&request.headers, "text/html") {
            plain(StatusCode::OK, TEXT, PATHS.to_vec())
        } else {
            self.page(session, &self.generation.load_full())
        };
        if request.method == Method::HEAD {
            response.body_mut().clear();
        }
        response
    }

    fn page(&self, session: &ServerSession, generation: &Generation) -> Response<Vec<u8>> {
        if let Err(refusal) = self.reader(session, generation) {
            let text = format!("{refusal}\n{TYPE_IT}\n");
            return plain(StatusCode::FORBIDDEN, TEXT, text.into_bytes());
        }
        let asked = match Asked::of(session.req_header().uri.query().unwrap_or_default()) {
            Ok(asked) => asked,
            Err(error) => return plain(StatusCode::BAD_REQUEST, TEXT, format!("{error}\n").into_bytes()),
        };
        let page = self.whole(generation, &asked);
        let mut response = plain(StatusCode::OK, HTML, page.into_string().into_bytes());
        protect(response.headers_mut());
        response
    }

    fn whole(&self, generation: &Generation, asked: &Asked<'_>) -> Markup {
        let now = rfc3339(self.clock.now());
        let lines = self.recent.lines();
        let lines: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let mut resources = self.resources.reports();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    @if let Some(seconds) = asked.refresh { meta http-equiv="refresh" content=(seconds); }
                    title { "fapi-gateway" }
                    // Browsers ask for one otherwise.
                    link rel="icon" href="data:,";
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header {
                        h1 { "fapi-gateway" }
                        p { (env!("CARGO_PKG_VERSION")) " (" (env!("FAPI_GATEWAY_COMMIT")) "), as of " time datetime=(now) { (now) } }
                        (refresh(asked))
                        nav aria-label="Sections" {
                            ul { @for (id, title) in SECTIONS { li { a href={ "#" (id) } { (title) } } } }
                        }
                    }
                    main id="main" {
                        (self.state_section(generation, &mut resources))
                        (self.refusal_section(generation, &lines))
                        (decision_section(generation, &lines, asked))
                        (self.configuration_sections(generation, &resources, asked))
                    }
                    footer { p { "The same for programs: " @for path in PROGRAMS { code { (path) } " " } } }
                }
            }
        }
    }
}

/// The parts of the page, by their IDs.
const SECTIONS: [(&str, &str); 9] = [
    ("state", "State"),
    ("refusals", "Refusals"),
    ("handshakes", "Handshakes"),
    ("decisions", "Decisions"),
    ("listeners", "Listeners and certificates"),
    ("routes", "Routes"),
    ("issuers", "Issuers"),
    ("upstreams", "Upstreams and stores"),
    ("waivers", "Waivers and shadows"),
];

const PROGRAMS: [&str; 4] = ["/readyz", "/status", "/metrics", "/decisions"];

/// One part of the page.
fn section(id: &str, content: &Markup) -> Markup {
    let title = SECTIONS.iter().find(|(known, _)| *known == id).map_or(id, |(_, title)| title);
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            (content)
        }
    }
}

/// The link that has the browser ask again and again, or that stops it.
fn refresh(asked: &Asked<'_>) -> Markup {
    html! {
        p {
            @match asked.refresh {
                None => a href=(asked.link(Some(REFRESH))) { "Refresh every " (REFRESH) " seconds" },
                Some(seconds) => {
                    "Refreshed every " (seconds) " seconds. "
                    a href=(asked.link(None)) { "Stop" }
                }
            }
        }
    }
}

/// A table whose rows have a cell for each heading; the first of them is the heading of its row. On a narrow screen each cell
/// has its heading beside it.
fn table(caption: &str, headings: &[&str], rows: &Cut<Vec<Markup>>) -> Markup {
    if rows.all == 0 {
        return html! { p { (caption) ": none." } };
    }
    html! {
        table {
            caption { (caption) }
            thead { tr { @for heading in headings { th scope="col" { (heading) } } } }
            tbody {
                @for row in &rows.shown {
                    tr {
                        @for (place, (heading, cell)) in headings.iter().zip(row).enumerate() {
                            @if place == 0 {
                                th scope="row" data-heading=(heading) { div { (cell) } }
                            } @else {
                                td.count[COUNTS.contains(heading)] data-heading=(heading) { div { (cell) } }
                            }
                        }
                    }
                }
            }
        }
        (rows.note())
    }
}

/// The first of many entries, and how many there are.
struct Cut<T> {
    shown: Vec<T>,
    all: usize,
}

impl<T> Cut<T> {
    /// Of all entries, the first [`MOST`].
    fn of(entries: impl IntoIterator<Item = T>) -> Self {
        Self::to(MOST, entries)
    }

    /// Of all entries, the first of them.
    fn to(most: usize, entries: impl IntoIterator<Item = T>) -> Self {
        let mut entries = entries.into_iter();
        let shown: Vec<T> = entries.by_ref().take(most).collect();
        let all = shown.len().saturating_add(entries.count());
        Self { shown, all }
    }

    fn map<U>(self, of: impl FnMut(T) -> U) -> Cut<U> {
        Cut { shown: self.shown.into_iter().map(of).collect(), all: self.all }
    }

    /// What is said of those that are not shown.
    fn note(&self) -> Markup {
        html! {
            @if self.shown.len() < self.all {
                p.note { "The first " (self.shown.len()) " of " (self.all) " are shown." }
            }
        }
    }
}

/// A word for how something is: in colour, and never by colour alone.
fn badge(word: &str) -> Markup {
    let kind = match word {
        "good" | "ready" | "healthy" | "permit" | "preflight" | "metadata" | "connected" | "shared" => "good",
        "failing" | "not ready" | "unhealthy" | "ejected" | "error" | "not connected" | "degraded" | "expired" => "bad",
        "reject" | "waiting" | "warning" | "active" | "shadow" => "warn",
        _ => "plain",
    };
    html! { span class={ "badge " (kind) } { (word) } }
}

/// A text of ours in which code stands between backticks.
fn prose(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// What keeps a browser from doing more with the page than to show it.
fn protect(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    for (name, value) in PROTECTION {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

const PROTECTION: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Nothing may be loaded but the style that is in the page and the icon that is none; nothing runs.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = STANDARD.encode(fapi::sha256(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

const STYLE: &str = include_str!("style.css");
const HTML: &str = "text/html; charset=utf-8";

/// What somebody does who followed a link of another page.
const TYPE_IT: &str = "type the address of this page into the browser, or press Enter in its address bar";

/// The headings of columns with counts, of which there is room for several beside each other.
const COUNTS: [&str; 3] = ["5 min", "1 h", "since start"];

/// How many entries of a table are shown.
const MOST: usize = 100;

/// After how many seconds the page is asked for again, if that is wanted.
const REFRESH: u16 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_cut_and_says_so() {
        let rows = |count: usize| {
            let rows = Cut::of((0..count).map(|number| vec![html! { (number) }]));
            table("Numbers", &["number"], &rows).into_string()
        };
        assert!(!rows(MOST).contains("are shown")); // control
        let cut = rows(MOST + 1);
        assert!(cut.contains("The first 100 of 101 are shown."), "{cut}");
        assert_eq!(cut.matches("<tr>").count(), MOST + 1, "with that of the headings");
        assert_eq!(rows(0), "<p>Numbers: none.</p>");
    }

    #[test]
    fn code_in_prose_stands_between_backticks() {
        assert_eq!(prose("`exp` has <passed>").into_string(), "<code>exp</code> has &lt;passed&gt;");
    }

    #[test]
    fn the_style_has_no_end_of_its_element_in_it() {
        assert!(!STYLE.contains("</") && !STYLE.contains("url("));
        assert!(POLICY.to_str().unwrap().contains("style-src 'sha256-"));
    }
}
