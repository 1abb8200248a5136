//! `errors` and `error_templates`: the body that tells a client of a refusal.

use std::collections::BTreeMap;
use std::sync::Arc;

use fapi::code::Code;
use fapi::ecosystem::Ecosystem;
use fapi::error_format::{ErrorFormat, ErrorNames, ErrorTemplate, TemplateError, Variable};
use fapi::rejection::error_names;
use fapi::text::is_json;
use http::HeaderValue;

use super::Build;
use crate::config::error::{KeyPath, quoted};
use crate::config::file::{self, File};

/// The forms that `errors` may name: those that are always there, and the templates.
pub(super) struct ErrorFormats {
    by_name: BTreeMap<String, Option<ErrorFormat>>,
    /// The name of the one that is chosen for all, if one is.
    chosen: Option<String>,
}

impl ErrorFormats {
    const USUAL: &str = "json";

    /// The form with this name, if it has no problem.
    pub(super) fn of(&self, name: &str) -> Option<ErrorFormat> {
        self.by_name.get(name).cloned().flatten()
    }

    /// The name of the form of those that say none, in an ecosystem or outside.
    pub(super) fn usual(&self, ecosystem: Option<Ecosystem>) -> String {
        let usual = ecosystem.map_or(Self::USUAL, Ecosystem::as_str);
        self.chosen.as_deref().unwrap_or(usual).to_owned()
    }
}

/// The name of the form, as `errors` has it.
pub(super) fn format_name(format: &ErrorFormat) -> &str {
    match format {
        ErrorFormat::Json => ErrorFormats::USUAL,
        ErrorFormat::Problem => "problem",
        ErrorFormat::Template(template) => template.name(),
        ErrorFormat::Ecosystem(ecosystem) => ecosystem.as_str(),
    }
}

impl Build<'_> {
    /// Builds the templates.
    pub(super) fn error_formats(&mut self, file: &mut File) -> ErrorFormats {
        let of_ecosystems = Ecosystem::ALL.iter().map(|ecosystem| ErrorFormat::Ecosystem(*ecosystem));
        let built_in = [ErrorFormat::Json, ErrorFormat::Problem].into_iter().chain(of_ecosystems);
        let mut formats: BTreeMap<_, _> =
            built_in.map(|format| (format_name(&format).to_owned(), Some(format))).collect();
        let routes = file.routes.iter().flatten().map(|route| &route.errors);
        let used: Vec<&str> = routes.chain([&file.errors]).filter_map(|name| name.as_deref()).collect();
        for (name, entry) in file.error_templates.iter_mut().flatten() {
            let at = KeyPath::of("error_templates").key(name);
            self.name(&at, Some(name));
            if formats.contains_key(name) {
                self.problem(&at, format!("`{name}` is a form that is always there; choose another name"));
                continue;
            }
            if !used.contains(&name.as_str()) {
                self.warn(&at, "no `errors` names this template");
            }
            let template = self.error_template(&at, name, entry);
            formats.insert(name.clone(), template.map(|template| ErrorFormat::Template(Arc::new(template))));
        }
        ErrorFormats { by_name: formats, chosen: file.errors.clone() }
    }

    /// Finds the form with this name; one that could not be built is a problem of its own.
    pub(super) fn error_format(&mut self, at: &KeyPath, name: &str, formats: &ErrorFormats) -> Option<ErrorFormat> {
        if let Some(format) = formats.by_name.get(name) {
            return format.clone();
        }
        self.unknown(at, "form of errors is named", name, formats.by_name.keys().map(String::as_str), false);
        None
    }

    fn error_template(&mut self, at: &KeyPath, name: &str, entry: &mut file::ErrorTemplate) -> Option<ErrorTemplate> {
        let written = entry.media_type.get_or_insert_with(|| "application/json".to_owned());
        let media_type = HeaderValue::from_str(written).ok().filter(|_| is_json(written));
        if media_type.is_none() {
            let problem =
                "is not a media type of JSON; write `application/json`, or one such as `application/error+json`";
            self.problem(&at.key("media_type"), problem);
        }
        let names = self.error_names(at, entry);
        let body_at = at.key("body");
        let body = self.needed(&body_at, entry.body.as_ref(), "write the object that clients are to see")?;
        if body.is_empty() {
            self.report.empty(&body_at, "the object is empty; write the members that clients are to see");
            return None;
        }
        match ErrorTemplate::new(name, media_type?, body, names) {
            Ok(template) => Some(template),
            Err(errors) => {
                for error in errors {
                    self.bad_string(&body_at, &error, body);
                }
                None
            }
        }
    }

    fn error_names(&mut self, at: &KeyPath, entry: &file::ErrorTemplate) -> ErrorNames {
        let errors_at = at.key("error_names");
        if entry.error_names.as_ref().is_some_and(BTreeMap::is_empty) {
            self.report.empty(&errors_at, "the map is empty; name an error, or remove the key");
        }
        let known = error_names();
        let errors = entry.error_names.iter().flatten().map(|(error, name)| (error.as_str(), name.as_str()));
        for (error, _) in errors.clone().filter(|(error, _)| !known.contains(error)) {
            self.unknown(&errors_at.key(error), "error is called", error, known.iter().copied(), false);
        }
        let codes_at = at.key("code_names");
        if entry.code_names.as_ref().is_some_and(BTreeMap::is_empty) {
            self.report.empty(&codes_at, "the map is empty; name a code, or remove the key");
        }
        let mut codes = Vec::new();
        for (written, name) in entry.code_names.iter().flatten() {
            match Code::ALL.iter().find(|code| code.as_str() == written) {
                Some(code) => codes.push((*code, name.as_str())),
                None => {
                    let all = Code::ALL.iter().map(|code| code.as_str());
                    self.unknown(&codes_at.key(written), "code is called", written, all, false);
                }
            }
        }
        ErrorNames::new(errors, codes)
    }

    fn bad_string(&mut self, at: &KeyPath, error: &TemplateError, body: &serde_json::Map<String, serde_json::Value>) {
        let mut steps = error.pointer.iter();
        let Some(first) = steps.next() else { return };
        let (mut at, mut value) = (at.key(first), body.get(first));
        for step in steps {
            let index = value.filter(|value| value.is_array()).and_then(|_| step.parse::<usize>().ok());
            (at, value) = match index {
                Some(index) => (at.index(index), value.and_then(|value| value.get(index))),
                None => (at.key(step), value.and_then(|value| value.get(step))),
            };
        }
        let variables: Vec<String> =
            Variable::ALL.iter().map(|variable| format!("{{{}}}", variable.as_str())).collect();
        let choices = quoted(variables.iter().map(String::as_str));
        self.problem(&at, format!("{error}; the choices are {choices}"));
    }
}
