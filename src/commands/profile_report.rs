//! `check --profile-report`: the rules of the profile, one by one, with what is waived.

use std::fmt::Write as _;

use fapi::UnixTime;
use fapi::profile::{Rule, Setting, Waivable};
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

/// The rules of one profile, and who holds them.
struct Part<'o> {
    profile: &'static str,
    version: &'static str,
    rules: &'static [Rule],
    /// Whether they are routes or authorization servers.
    of: Waivable,
    names: Vec<&'o str>,
}

impl Part<'_> {
    /// What its names are of, in the text.
    const fn holders(&self) -> &'static str {
        match self.of {
            Waivable::AuthorizationServer => "authorization servers",
            Waivable::Issuer | Waivable::Route => "routes",
        }
    }

    /// Whether a waiver is for one of those who hold the profile. The tokens of an issuer may come to any route.
    fn concerns(&self, waiver: &Waiver) -> bool {
        match waiver.of {
            Waivable::Issuer => self.of == Waivable::Route,
            of @ (Waivable::Route | Waivable::AuthorizationServer) => {
                self.of == of && self.names.contains(&waiver.name.as_str())
            }
        }
    }
}

impl<'o> Report<'o> {
    /// Each profile that is in force somewhere: that of all routes first, and those of authorization servers last.
    fn parts(&self) -> Vec<Part<'o>> {
        let mut found: Vec<Part> = Vec::new();
        for (route, profile) in &self.outline.profiles {
            let (name, version, rules) = (profile.as_str(), profile.version(), profile.rules());
            hold(&mut found, Part { profile: name, version, rules, of: Waivable::Route, names: vec![route] });
        }
        for (route, ecosystem) in &self.outline.ecosystems {
            let (name, version, rules) = (ecosystem.as_str(), ecosystem.version(), ecosystem.rules());
            hold(&mut found, Part { profile: name, version, rules, of: Waivable::Route, names: vec![route] });
        }
        for (server, profile) in &self.outline.server_profiles {
            let (name, version, rules) = (profile.as_str(), profile.version(), profile.rules());
            let of = Waivable::AuthorizationServer;
            hold(&mut found, Part { profile: name, version, rules, of, names: vec![server] });
        }
        found
    }

    fn waivers(&self, rule: &Rule, part: &Part<'_>) -> Vec<&'o Waiver> {
        let of_rule = self.outline.waivers.iter().filter(|waiver| waiver.rule.id == rule.id);
        of_rule.filter(|waiver| part.concerns(waiver)).collect()
    }

    /// The value of the setting, if it is one value and not one for each entry of a list.
    fn value(&self, setting: Setting) -> Option<&Value> {
        let Setting::Key(path) = setting else { return None };
        let value = path.split('.').try_fold(&self.effective, |value, key| value.get(key))?;
        Some(value).filter(|value| !value.is_object() && !value.is_array())
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for part in self.parts() {
            let names = if part.names.is_empty() { "none".to_owned() } else { part.names.join(", ") };
            let _ = writeln!(out, "{}: {}\n{}: {names}\n", part.profile, part.version, part.holders());
            for rule in part.rules {
                self.rule_in_text(&mut out, rule, &part);
            }
        }
        if !self.outline.shadows.is_empty() {
            let _ = writeln!(
                out,
                "In shadow, where what breaks a rule is counted and not refused yet: on routes the binding of tokens, their scopes and `require`, at authorization servers all of their rules:"
            );
            self.outline.shadows.iter().for_each(|line| {
                let _ = writeln!(out, "  {line}");
            });
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn rule_in_text(&self, out: &mut String, rule: &Rule, part: &Part<'_>) {
        let setting = match self.value(rule.setting) {
            Some(Value::String(text)) => format!("{} = {text}", rule.setting),
            Some(value) => format!("{} = {value}", rule.setting),
            None => rule.setting.to_string(),
        };
        let codes: Vec<&str> = rule.codes.iter().map(|code| code.as_str()).collect();
        let codes = if codes.is_empty() { String::new() } else { format!(": {}", codes.join(", ")) };
        let waivers = self.waivers(rule, part);
        let waivable = match rule.waivable {
            None => "never".to_owned(),
            Some(of) => {
                format!("for one {} at a time{}", of.as_words(), if waivers.is_empty() { "; none" } else { "" })
            }
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
            let (of, name, until, reason) = (waiver.of.as_words(), &waiver.name, waiver.until(), &waiver.reason);
            let _ = writeln!(out, "  {standing} for {of} {name}{since} until {until}: {reason}");
        }
        out.push('\n');
    }

    fn json(&self) -> Value {
        let in_json = |part: Part<'_>| {
            let rules: Vec<Value> = part.rules.iter().map(|rule| self.rule_in_json(rule, &part)).collect();
            let holders = part.holders().replace(' ', "_");
            json!({ "profile": part.profile, "version": part.version, holders: part.names, "rules": rules })
        };
        let (routes, servers): (Vec<Part>, Vec<Part>) =
            self.parts().into_iter().partition(|part| part.of == Waivable::Route);
        json!({
            "profiles": routes.into_iter().map(in_json).collect::<Vec<_>>(),
            "authorization_server_profiles": servers.into_iter().map(in_json).collect::<Vec<_>>(),
            "shadows": self.outline.shadows,
        })
    }

    fn rule_in_json(&self, rule: &Rule, part: &Part<'_>) -> Value {
        let waivers = self.waivers(rule, part);
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

/// Adds who holds a profile to its part, which is new for the first of them. The profile of all routes has no name.
fn hold<'o>(parts: &mut Vec<Part<'o>>, mut part: Part<'o>) {
    part.names.retain(|name| !name.is_empty());
    match parts.iter_mut().find(|known| (known.profile, known.of) == (part.profile, part.of)) {
        Some(known) => known.names.append(&mut part.names),
        None => parts.push(part),
    }
}
