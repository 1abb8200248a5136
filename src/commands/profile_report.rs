//! `check --profile-report`: the rules of the profile, one by one, with what is waived.

use std::fmt::Write as _;

use fapi::UnixTime;
use fapi::profile::{Profile, Rule, Setting, Waivable};
use serde_json::{Value, json};

use crate::config::Outline;
use crate::config::waivers::{Standing, Waiver};

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// The report of what a configuration says, at this time.
pub(super) fn of(outline: &Outline, format: Format, now: UnixTime) -> String {
    let effective = serde_yaml::from_str(&outline.effective).unwrap_or_default();
    let report = Report { outline, effective, now };
    match format {
        Format::Text => report.text(),
        Format::Json => format!("{:#}\n", report.json()),
    }
}

struct Report<'o> {
    outline: &'o Outline,
    /// The effective configuration.
    effective: Value,
    now: UnixTime,
}

impl<'o> Report<'o> {
    /// Each profile that is in force somewhere, that of all routes first, and the routes that hold it.
    fn profiles(&self) -> Vec<(Profile, Vec<&'o str>)> {
        let mut found: Vec<(Profile, Vec<&str>)> = Vec::new();
        for (route, profile) in &self.outline.profiles {
            if found.iter().all(|(known, _)| known != profile) {
                found.push((*profile, Vec::new()));
            }
            let holding = found.iter_mut().filter(|(known, _)| known == profile).filter(|_| !route.is_empty());
            holding.for_each(|(_, routes)| routes.push(route));
        }
        found
    }

    /// The waivers of a rule of the profile that these routes hold. The tokens of an issuer may come to any of them.
    fn waivers(&self, rule: &Rule, routes: &[&str]) -> Vec<&'o Waiver> {
        let concerns = |waiver: &Waiver| waiver.of == Waivable::Issuer || routes.contains(&waiver.name.as_str());
        self.outline.waivers.iter().filter(|waiver| waiver.rule.id == rule.id && concerns(waiver)).collect()
    }

    /// The value of the setting, if it is one value and not one for each entry of a list.
    fn value(&self, setting: Setting) -> Option<&Value> {
        let Setting::Key(path) = setting else { return None };
        let value = path.split('.').try_fold(&self.effective, |value, key| value.get(key))?;
        Some(value).filter(|value| !value.is_object() && !value.is_array())
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (profile, routes) in self.profiles() {
            let names = if routes.is_empty() { "none".to_owned() } else { routes.join(", ") };
            let _ = writeln!(out, "{}: {}\nroutes: {names}\n", profile.as_str(), profile.version());
            for rule in profile.rules() {
                self.rule_in_text(&mut out, rule, &routes);
            }
        }
        if !self.outline.shadows.is_empty() {
            let _ = writeln!(out, "In shadow, the binding of tokens, their scopes and `require` refuse nobody yet:");
            self.outline.shadows.iter().for_each(|line| {
                let _ = writeln!(out, "  {line}");
            });
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn rule_in_text(&self, out: &mut String, rule: &Rule, routes: &[&str]) {
        let setting = match self.value(rule.setting) {
            Some(Value::String(text)) => format!("{} = {text}", rule.setting),
            Some(value) => format!("{} = {value}", rule.setting),
            None => rule.setting.to_string(),
        };
        let codes: Vec<&str> = rule.codes.iter().map(|code| code.as_str()).collect();
        let codes = if codes.is_empty() { String::new() } else { format!(": {}", codes.join(", ")) };
        let waivers = self.waivers(rule, routes);
        let waivable = match rule.waivable {
            None => "never".to_owned(),
            Some(of) => format!("for one {} at a time{}", of.as_str(), if waivers.is_empty() { "; none" } else { "" }),
        };
        let _ = writeln!(out, "{}\n  {}", rule.id, rule.says);
        let _ = writeln!(out, "  clause: {}\n  setting: {setting}", rule.clause);
        let _ = writeln!(out, "  enforced: {}{codes}\n  waiver: {waivable}", rule.enforced.as_str());
        for waiver in waivers {
            let standing = match waiver.standing(self.now) {
                Standing::Pending => "not yet waived",
                Standing::Active => "waived",
                Standing::Over => "no longer waived",
            };
            let since = waiver.since().map(|since| format!(" since {since}")).unwrap_or_default();
            let (of, name, until, reason) = (waiver.of.as_str(), &waiver.name, waiver.until(), &waiver.reason);
            let _ = writeln!(out, "  {standing} for {of} {name}{since} until {until}: {reason}");
        }
        out.push('\n');
    }

    fn json(&self) -> Value {
        let profiles = self.profiles().into_iter().map(|(profile, routes)| {
            let rules: Vec<Value> = profile.rules().iter().map(|rule| self.rule_in_json(rule, &routes)).collect();
            json!({ "profile": profile.as_str(), "version": profile.version(), "routes": routes, "rules": rules })
        });
        json!({ "profiles": profiles.collect::<Vec<_>>(), "shadows": self.outline.shadows })
    }

    fn rule_in_json(&self, rule: &Rule, routes: &[&str]) -> Value {
        let waivers = self.waivers(rule, routes);
        let in_json = |waiver: &&Waiver| {
            json!({
                waiver.of.as_str(): waiver.name,
                "reason": waiver.reason,
                "since": waiver.since(),
                "until": waiver.until(),
                "standing": waiver.standing(self.now).as_str(),
            })
        };
        json!({
            "id": rule.id,
            "clause": rule.clause,
            "says": rule.says,
            "setting": rule.setting.to_string(),
            "value": self.value(rule.setting),
            "enforced": rule.enforced.as_str(),
            "codes": rule.codes.iter().map(|code| code.as_str()).collect::<Vec<_>>(),
            "waivable": rule.waivable.map(|of| of.as_str()),
            "waived": waivers.iter().any(|waiver| waiver.standing(self.now) == Standing::Active),
            "waivers": waivers.iter().map(in_json).collect::<Vec<_>>(),
        })
    }
}
