//! A refusal as a page, for a person whose browser shows it.
//!
//! It is plain HTML that needs nothing but itself. It says no more than the other forms do: what happened and what the person can do
//! depend on the status alone.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::told::Told;

/// Its media type, without the parameter.
pub(super) const HTML: &str = "text/html";
/// The value of `Content-Type`.
pub(super) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The page.
pub(super) fn page(told: &Told<'_>) -> String {
    let Words { title, text } = Words::of(told.status);
    let [title, text, error, interaction] = [title, text, told.error, told.interaction].map(escaped);
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{text}</p>
<dl>
<dt>Error code</dt>
<dd>{error}</dd>
<dt>Interaction ID</dt>
<dd>{interaction}</dd>
</dl>
</main>
</body>
</html>
"#
    )
}

/// Adds to a refusal what every one has that a browser may show, in whatever form: nobody frames it, it loads and sends nothing, and
/// no other site learns its URL from it (RFC 9700 §4.2.4, §4.16).
pub(crate) fn protect(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // RFC 9110 §12.5.5: the form was chosen by this field.
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
}

/// What a person reads.
struct Words {
    title: &'static str,
    /// What happened, and what the person can do.
    text: &'static str,
}

impl Words {
    /// There is no link: where the person came from is what the request says, and nobody has verified it.
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            408 | 429 | 503 | 504 => Self {
                title: "Please try again later",
                text: "Your request could not be answered just now: wait a moment, go back to the application where you \
                       began, and try again.",
            },
            500.. => Self {
                title: "Something went wrong",
                text: "Your request was not completed, and the fault is not yours: go back to the application where you \
                       began, and try again.",
            },
            _ => Self {
                title: "This request was not accepted",
                text: "The request that brought you here is not valid, or it has expired: go back to the application \
                       where you began, and try again.",
            },
        }
    }
}

/// The text as it stands between tags.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Nothing is loaded, sent or run; the style is the one in the page, by its hash.
const POLICY: &str = "default-src 'none'; style-src 'sha256-MN4rI7SEROdail7F9APs50dYtawRH5uxWvOltBbDbGg='; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const STYLE: &str = ":root{color-scheme:light dark}\
    body{max-width:36rem;margin:4rem auto;padding:0 1rem;font:1.125rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}\
    h1{font-size:1.6rem}dt{font-size:.875rem}dd{margin:0 0 .5rem;font-family:ui-monospace,monospace}";

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::code::Code;

    fn told<'t>(status: StatusCode, error: &'t str, interaction: &'t str) -> Told<'t> {
        Told {
            status,
            code: Code::TokenExpired,
            error,
            description: "a description for developers",
            interaction,
            time: None,
        }
    }

    #[test]
    fn a_page_has_a_language_a_title_a_heading_and_what_support_asks_for() {
        let page = page(&told(StatusCode::BAD_REQUEST, "invalid_request", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"));
        let parts = [
            "<!DOCTYPE html>",
            "<html lang=\"en\">",
            "<title>This request was not accepted</title>",
            "<h1>This request was not accepted</h1>",
            "go back to the application where you began, and try again.</p>",
            "<dd>invalid_request</dd>",
            "<dd>6ba7b810-9dad-41d1-80b4-00c04fd430c8</dd>",
        ];
        let mut rest = &*page;
        for part in parts {
            rest = rest.split_once(part).unwrap_or_else(|| panic!("{part} is missing, or out of order: {page}")).1;
        }
        assert!(!page.contains("for developers"), "{page}");
    }

    #[test]
    fn what_it_says_follows_from_the_status() {
        let title = |status: u16| Words::of(StatusCode::from_u16(status).unwrap()).title;
        for status in [400, 401, 403, 404, 405, 413, 414, 431] {
            assert_eq!(title(status), "This request was not accepted", "{status}");
        }
        for status in [408, 429, 503, 504] {
            assert_eq!(title(status), "Please try again later", "{status}");
        }
        for status in [500, 502] {
            assert_eq!(title(status), "Something went wrong", "{status}");
        }
        for code in Code::ALL {
            assert!(Words::of(code.status()).text.ends_with("and try again."), "{code}");
        }
    }

    #[test]
    fn every_value_is_escaped() {
        let hostile = "</dd><script>alert('1')</script>&\"";
        let shown = "&lt;/dd&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;";
        let clean = page(&told(StatusCode::BAD_GATEWAY, "bad_gateway", "1")); // control
        for page in [
            page(&told(StatusCode::BAD_GATEWAY, hostile, "1")),
            page(&told(StatusCode::BAD_GATEWAY, "bad_gateway", hostile)),
        ] {
            assert_eq!(page.matches(&format!("<dd>{shown}</dd>")).count(), 1, "{page}");
            assert_eq!(page.matches('<').count(), clean.matches('<').count(), "{page}");
        }
    }

    #[test]
    fn it_needs_nothing_but_itself() {
        let page = page(&told(StatusCode::BAD_REQUEST, "invalid_request", "1"));
        for part in ["<script", "<link", "<img", "<form", "<a ", "<iframe", "http", "url(", "@import", "src=", "href="]
        {
            assert!(!page.contains(part), "{part}: {page}");
        }
        assert!(!STYLE.contains(['<', '&']));
        let digest = STANDARD.encode(crate::sha256(STYLE.as_bytes()));
        assert!(POLICY.contains(&format!("style-src 'sha256-{digest}';")), "the hash of the style is {digest}");
    }
}
