//! SARIF 2.1.0, which code hosts and dashboards of findings read: a rule and a result for each module.

use serde_json::{Value, json};

use super::deciding::sentences;
use super::{Module, Report, Severity, Verdict};

/// The report as a SARIF log with one run.
pub fn sarif(report: &Report) -> Value {
    let (name, version) = report.program.rsplit_once(' ').unwrap_or((&report.program, ""));
    let mut driver = json!({ "name": name, "rules": report.modules.iter().map(rule).collect::<Vec<_>>() });
    if !version.is_empty() {
        driver["version"] = version.into();
    }
    let results: Vec<Value> =
        report.modules.iter().enumerate().map(|(index, module)| result(report, index, module)).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": driver },
            "invocations": [{
                // Whether the program did its work, not whether the target conforms.
                "executionSuccessful": true,
                "startTimeUtc": report.started,
                "endTimeUtc": report.finished,
            }],
            "results": results,
            "properties": {
                "format": report.format,
                "target": report.target,
                "plans": report.plans,
                "requests": report.requests,
                "dryRun": report.dry_run,
                "writes": report.writes,
                "claims": report.claims,
                "modulesOfPlans": report.modules_of_plans,
                "configurationSha256": report.configuration_sha256,
                "transcriptSha256": report.transcript_sha256,
            },
        }],
    })
}

fn rule(module: &Module) -> Value {
    json!({
        "id": module.name,
        "shortDescription": { "text": message(&module.purpose) },
        "help": { "text": message(&format!("{} ({})", module.purpose, module.clause)) },
        "defaultConfiguration": { "level": level(module.severity) },
        "properties": {
            "clause": module.clause,
            "suite": module.suite,
            "plans": module.plans,
            "severity": module.severity,
            "tags": ["fapi"],
        },
    })
}

fn result(report: &Report, index: usize, module: &Module) -> Value {
    let mut said = sentences(module);
    if said.is_empty() {
        said.push(format!("{}: {}", module.verdict, module.purpose));
    }
    let (kind, level) = kind_and_level(module.verdict);
    json!({
        "ruleId": module.name,
        "ruleIndex": index,
        "kind": kind,
        "level": level,
        "message": { "text": message(&said.join("\n")) },
        "locations": [{
            "physicalLocation": { "artifactLocation": { "uri": report.target } },
            "logicalLocations": [{ "fullyQualifiedName": report.target, "kind": "resource" }],
        }],
        "properties": { "verdict": module.verdict, "clause": module.clause, "steps": module.steps },
    })
}

/// The level of a rule that is not kept.
const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Failure => "error",
        Severity::Warning => "warning",
    }
}

/// §3.27.10: if `kind` "has any value other than "fail"", then `level` "SHALL have the value "none"".
const fn kind_and_level(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Pass => ("pass", "none"),
        Verdict::Skipped => ("notApplicable", "none"),
        // §3.27.9: "there was insufficient information to decide whether a problem exists".
        Verdict::Inconclusive => ("open", "none"),
        Verdict::Warning => ("fail", "warning"),
        Verdict::Fail => ("fail", "error"),
    }
}

/// The text as a message: braces would be placeholders (§3.11.5), and brackets links (§3.11.6).
fn message(text: &str) -> String {
    let mut message = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '{' => message.push_str("{{"),
            '}' => message.push_str("}}"),
            '[' | ']' => message.extend(['\\', character]),
            _ => message.push(character),
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{HOSTILE, hostile, module, one_of_each};

    #[test]
    fn each_verdict_has_its_kind_and_only_failures_have_a_level() {
        let log = sarif(&one_of_each());
        let run = &log["runs"][0];
        for (index, (verdict, kind, level)) in [
            (Verdict::Pass, "pass", "none"),
            (Verdict::Skipped, "notApplicable", "none"),
            (Verdict::Inconclusive, "open", "none"),
            (Verdict::Warning, "fail", "warning"),
            (Verdict::Fail, "fail", "error"),
        ]
        .into_iter()
        .enumerate()
        {
            let result = &run["results"][index];
            assert_eq!((&result["kind"], &result["level"]), (&json!(kind), &json!(level)), "{verdict}");
            assert_eq!((&result["ruleId"], &result["ruleIndex"]), (&json!(format!("dpop-{verdict}")), &json!(index)));
            assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
            let uri = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
            assert_eq!(uri, "https://bank.example/accounts");
        }
        let text = |index: usize| run["results"][index]["message"]["text"].as_str().unwrap();
        assert_eq!(text(0), "pass: a proof for another method is refused");
        assert_eq!(text(4), "the reason for fail\na proof for PUT: expected 401; observed 200");
    }

    #[test]
    fn the_run_has_the_program_its_times_and_its_hashes() {
        let mut report = one_of_each();
        let run = &sarif(&report)["runs"][0];
        let driver = &run["tool"]["driver"];
        assert_eq!((&driver["name"], &driver["version"]), (&json!("fapi-gateway"), &json!("0.1.0")));
        let invocation = &run["invocations"][0];
        assert_eq!(invocation["startTimeUtc"], "2026-03-01T12:00:00Z");
        assert_eq!(invocation["endTimeUtc"], "2026-03-01T12:01:30Z");
        assert_eq!(run["properties"]["configurationSha256"], "11".repeat(32));
        assert_eq!(run["properties"]["transcriptSha256"], "22".repeat(32));
        report.program = "probe".into();
        let driver = &sarif(&report)["runs"][0]["tool"]["driver"];
        assert_eq!((&driver["name"], driver.get("version")), (&json!("probe"), None));
    }

    #[test]
    fn the_level_of_a_rule_is_that_of_its_severity() {
        let mut module = module("dpop-htm-other", Verdict::Pass);
        assert_eq!(rule(&module)["defaultConfiguration"]["level"], "error"); // control
        module.severity = Severity::Warning;
        assert_eq!(rule(&module)["defaultConfiguration"]["level"], "warning");
    }

    #[test]
    fn no_text_makes_a_placeholder_or_a_link() {
        assert_eq!(message("expected 401; observed 200"), "expected 401; observed 200"); // control
        assert_eq!(message("{0} [here](https://evil.example)"), r"{{0}} \[here\](https://evil.example)");
        let log = sarif(&hostile());
        let text = log["runs"][0]["results"][4]["message"]["text"].as_str().unwrap();
        assert!(text.contains(r"\]\]>") && !text.contains("]]>"), "{text}");
        assert!(HOSTILE.contains("]]>"), "control");
    }
}
