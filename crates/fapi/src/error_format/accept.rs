//! Which of two media types a request prefers (RFC 9110 §12.5.1).

use http::{HeaderMap, header};

/// Whether a request prefers the first media type to the second. Without `Accept`, and where both weigh the same, it prefers none.
///
/// Neither media type has a parameter but `charset=utf-8`. What is malformed in `Accept` is as if it were not there.
pub(super) fn prefers(request: &HeaderMap, first: &str, second: &str) -> bool {
    weight(request, first) > weight(request, second)
}

/// The weight of a media type in thousandths: that of the most precise range in which it is; 0 if it is in none.
fn weight(request: &HeaderMap, media_type: &str) -> u16 {
    let lines = request.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    // A comma within quotes ends a range here. Such a value is of a parameter that neither media type has.
    let ranges = lines.flat_map(|line| line.split(','));
    ranges.filter_map(|range| weigh(range, media_type)).max().map_or(0, |(_, weight)| weight)
}

/// How precisely a range names what is in it, from the least to the most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Anything,
    Type,
    Subtype,
    Parameters,
}

/// How precisely a range names a media type, and the weight that it gives to it; `None` if the media type is not in it.
fn weigh(range: &str, media_type: &str) -> Option<(Precision, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let named = parts.next()?;
    let (main_type, _) = media_type.split_once('/')?;
    let mut precision = if named == "*/*" {
        Precision::Anything
    } else if named.strip_suffix("/*").is_some_and(|named| named.eq_ignore_ascii_case(main_type)) {
        Precision::Type
    } else if named.eq_ignore_ascii_case(media_type) {
        Precision::Subtype
    } else {
        return None;
    };
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=')?;
        if name.eq_ignore_ascii_case("q") {
            return Some((precision, thousandths(value)?));
        }
        if !name.eq_ignore_ascii_case("charset") || !value.trim_matches('"').eq_ignore_ascii_case("utf-8") {
            return None;
        }
        precision = Precision::Parameters;
    }
    Some((precision, MOST))
}

/// The value of a weight: 0 to 1 with at most three decimals (RFC 9110 §12.4.2).
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{decimals:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(MOST),
        _ => None,
    }
}

/// The weight of a range that does not say (RFC 9110 §12.4.2: "1 is the most preferred").
const MOST: u16 = 1000;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn accept(lines: &[&str]) -> HeaderMap {
        let lines = lines.iter().map(|line| (header::ACCEPT, HeaderValue::from_bytes(line.as_bytes()).unwrap()));
        HeaderMap::from_iter(lines)
    }

    fn prefers_html(lines: &[&str]) -> bool {
        prefers(&accept(lines), "text/html", "application/json")
    }

    #[test]
    fn html_is_for_who_prefers_it() {
        for lines in [
            // Chromium, Firefox and Safari, which ask for a page so.
            &[
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
            ][..],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["text/html"],
            &["Text/HTML"],
            &["text/*"],
            &["text/html;q=0.001"],
            &["text/html; charset=UTF-8"],
            &["text/html;charset=\"utf-8\";q=0.5, application/json;q=0.4"],
            &["application/json;q=0.9", "text/html"],
            &["text/html ; q=0.8\t, application/json ; q=0.799"],
            &["application/json;q=0, */*"],
            &["text/html;q=1.000, application/json;q=0.999"],
            &["text/html;q=0.5;level=1, application/json;q=0.4"],
        ] {
            assert!(prefers_html(lines), "{lines:?}");
        }
    }

    #[test]
    fn json_is_for_everybody_else() {
        for lines in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/json"],
            &["application/json, text/html"],
            &["text/html;q=0.8, application/json;q=0.8"],
            &["text/html;q=0.8, application/*"],
            &["text/html;q=0.5", "*/*;q=0.6"],
            &["text/html;q=0"],
            &["text/html;q=0.000"],
            &["text/html;q=0, text/*, application/json;q=0.1"],
            &["text/plain"],
            &["texthtml"],
            &["text/html2"],
            &["*/html"],
        ] {
            assert!(!prefers_html(lines), "{lines:?}");
        }
    }

    #[test]
    fn the_most_precise_range_has_the_last_word() {
        assert!(prefers_html(&["text/html, application/*;q=0.9, application/json;q=0.1"])); // control
        assert!(!prefers_html(&["text/html;q=0.1, text/*;q=1, */*;q=0.2"]));
        assert!(!prefers_html(&["text/html;charset=utf-8;q=0.1, text/html, application/json;q=0.2"]));
        assert!(prefers_html(&["*/*;q=0.1, text/*;q=0.2"]));
        assert!(prefers(
            &accept(&["application/problem+json;q=0.1, text/html;q=0.2"]),
            "text/html",
            "application/problem+json"
        ));
    }

    #[test]
    fn what_is_malformed_counts_for_nothing() {
        assert!(prefers_html(&["text/html;;q=0.5"]), "control");
        for range in [
            "text/html;q=",
            "text/html;q=2",
            "text/html;q=1.001",
            "text/html;q=0.1234",
            "text/html;q=-1",
            "text/html;q=+1",
            "text/html;q=0,5",
            "text/html;q=.5",
            "text/html;q",
            "text/html;level=1",
            "text/html;x=\"a,b\"",
            "text/html;charset=utf-16",
            "\u{e9}text/html",
            "text/html\u{e9}",
        ] {
            assert!(!prefers_html(&[range]), "{range}");
        }
    }

    proptest! {
        #[test]
        fn nobody_prefers_both(line in "[a-z*/;=,. q0-9\"-]{0,60}") {
            let request = accept(&[&line]);
            let both = prefers(&request, "text/html", "application/json") && prefers(&request, "application/json", "text/html");
            prop_assert!(!both);
        }
    }
}
