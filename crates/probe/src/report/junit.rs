//! JUnit XML, which the servers of continuous integration show: a test case for each module.

use std::fmt::Write;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::deciding::{deciding_steps, sentences};
use super::{Module, Report, Verdict};

/// The report as JUnit XML: one suite, since a module may belong to several plans and is to be counted once.
///
/// A rule that is not kept is a failure, and a module of which nothing can be said is an error. A warning passes, and says why in
/// `system-out`.
pub fn junit(report: &Report) -> String {
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
        report.modules.len(),
        report.count(Verdict::Fail),
        report.count(Verdict::Inconclusive),
        report.count(Verdict::Skipped),
        seconds(report),
    );
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string does not fail.
    let _ = writeln!(xml, "<testsuites name=\"{}\" {counts}>", attribute(&report.program));
    let (name, started) = (attribute(&report.plans.join(", ")), attribute(&report.started));
    let _ = writeln!(xml, "  <testsuite name=\"{name}\" {counts} timestamp=\"{started}\">\n    <properties>");
    let requests = report.requests.to_string();
    for (name, value) in [
        ("target", &*report.target),
        ("program", &report.program),
        ("configuration_sha256", &report.configuration_sha256),
        ("transcript_sha256", &report.transcript_sha256),
        ("requests", &requests),
    ] {
        let _ = writeln!(xml, "      <property name=\"{name}\" value=\"{}\"/>", attribute(value));
    }
    xml.push_str("    </properties>\n");
    for module in &report.modules {
        xml.push_str(&test_case(module));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn test_case(module: &Module) -> String {
    let plan = module.plans.first().map_or("probe", String::as_str);
    let (name, plan) = (attribute(&module.name), attribute(plan));
    let said = match module.verdict {
        Verdict::Pass => return format!("    <testcase name=\"{name}\" classname=\"{plan}\"/>\n"),
        Verdict::Skipped => {
            format!("<skipped message=\"{}\"/>", attribute(module.reason.as_deref().unwrap_or_default()))
        }
        Verdict::Inconclusive => explained("error", module),
        Verdict::Warning => format!("<system-out>{}</system-out>", escaped(&explanation(module))),
        Verdict::Fail => explained("failure", module),
    };
    format!("    <testcase name=\"{name}\" classname=\"{plan}\">\n      {said}\n    </testcase>\n")
}

/// An element that says in an attribute what decided, and everything in its text.
fn explained(element: &str, module: &Module) -> String {
    let message = sentences(module).into_iter().next().unwrap_or_else(|| module.purpose.clone());
    format!(
        "<{element} message=\"{}\" type=\"{}\">{}</{element}>",
        attribute(&message),
        attribute(&module.clause),
        escaped(&explanation(module)),
    )
}

/// What the module shows, where the rule stands, what decided, and how to send the same.
fn explanation(module: &Module) -> String {
    let mut lines = vec![format!("{}: {} ({})", module.verdict, module.purpose, module.clause)];
    lines.extend(sentences(module));
    lines.extend(deciding_steps(module).into_iter().filter_map(|step| step.curl.clone()));
    lines.join("\n")
}

/// How long the run took; 0 where its times are not times.
fn seconds(report: &Report) -> String {
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let took = time(&report.started).zip(time(&report.finished)).map(|(started, finished)| finished - started);
    format!("{:.3}", took.map_or(0.0, time::Duration::as_seconds_f64).max(0.0))
}

/// The text as it stands between tags.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            // XML 1.0 §2.4: in `]]>` it "MUST, for compatibility, be escaped".
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\'' => xml.push_str("&apos;"),
            // XML 1.0 §2.11: a parser makes a line feed of it otherwise.
            '\r' => xml.push_str("&#13;"),
            allowed if is_allowed(allowed) => xml.push(allowed),
            _ => xml.push(char::REPLACEMENT_CHARACTER),
        }
    }
    xml
}

/// The text as it stands in an attribute.
fn attribute(text: &str) -> String {
    // XML 1.0 §3.3.3: a parser makes spaces of them otherwise.
    escaped(text).replace('\n', "&#10;").replace('\t', "&#9;")
}

/// Whether a document may have this character, even as a reference: `Char` of XML 1.0 §2.2.
const fn is_allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{HOSTILE, hostile, module, one_of_each, report};

    #[test]
    fn each_verdict_has_its_element() {
        let xml = junit(&one_of_each());
        let counts = r#"tests="5" failures="1" errors="1" skipped="1" time="90.000""#;
        assert_eq!(xml.matches(counts).count(), 2, "{xml}");
        let cases: Vec<&str> = xml.split("<testcase ").skip(1).collect();
        for (case, element) in cases.iter().zip(["/>", "<skipped ", "<error ", "<system-out>", "<failure "]) {
            assert!(case.contains(element), "{case}");
        }
        assert_eq!(cases[0], "name=\"dpop-pass\" classname=\"fapi2-rs-dpop\"/>\n    ");
        assert!(cases[1].contains(r#"<skipped message="the reason for skipped"/>"#), "{}", cases[1]);
        let failure =
            r#"<failure message="the reason for fail" type="RFC 9449 §4.3 (8)">fail: a proof for another method"#;
        assert!(cases[4].contains(failure), "{}", cases[4]);
        assert!(
            cases[4].contains("a proof for PUT: expected 401; observed 200\ncurl -i -H &quot;DPoP"),
            "{}",
            cases[4]
        );
    }

    #[test]
    fn a_report_without_faults_has_neither_failures_nor_errors() {
        let good = junit(&report(vec![module("dpop-htm-other", Verdict::Pass)]));
        assert!(good.contains(r#"tests="1" failures="0" errors="0" skipped="0""#), "{good}");
        let bad = junit(&report(vec![module("dpop-htm-other", Verdict::Fail)]));
        assert!(bad.contains(r#"tests="1" failures="1" errors="0" skipped="0""#), "control: {bad}");
        assert!(bad.contains(r#"<failure message="a proof for another method is refused""#), "{bad}");
    }

    #[test]
    fn what_xml_forbids_is_replaced_and_the_rest_is_escaped() {
        assert_eq!(escaped("plain – §4.3\n\t\u{10ffff}"), "plain – §4.3\n\t\u{10ffff}"); // control
        assert_eq!(escaped("a<b>&\"'\r]]>"), "a&lt;b&gt;&amp;&quot;&apos;&#13;]]&gt;");
        assert_eq!(escaped("\0\x08\x0b\x1f\u{fffe}\u{ffff}"), "\u{fffd}".repeat(6));
        assert_eq!(attribute("a\n\tb\r"), "a&#10;&#9;b&#13;");
    }

    #[test]
    fn hostile_text_adds_no_tag_and_no_character_that_xml_forbids() {
        let (plain, hostile) = (junit(&one_of_each()), junit(&hostile()));
        assert_eq!(hostile.matches('<').count(), plain.matches('<').count(), "{hostile}");
        assert_eq!(hostile.matches('>').count(), plain.matches('>').count(), "{hostile}");
        assert!(hostile.chars().all(is_allowed) && !hostile.contains("]]>") && !hostile.contains("<!"), "{hostile}");
        assert!(!HOSTILE.chars().all(is_allowed) && hostile.contains("&lt;script&gt;alert(&apos;1&apos;)"), "control");
        // What is in quotes ends where it should: outside of tags and of what they quote, each tag has quotes in pairs.
        for tag in hostile.split('<').filter_map(|rest| rest.split('>').next()) {
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
    }

    #[test]
    fn the_time_is_that_between_the_beginning_and_the_end() {
        let mut report = one_of_each();
        assert_eq!(seconds(&report), "90.000"); // control
        report.finished = "2026-03-01T12:00:00.25Z".into();
        assert_eq!(seconds(&report), "0.250");
        for finished in ["2026-03-01T11:00:00Z", "later"] {
            report.finished = finished.into();
            assert_eq!(seconds(&report), "0.000");
        }
    }
}
