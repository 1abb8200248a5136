//! `cors` of a listener and of a route: what scripts of other origins may learn.

use std::sync::Arc;
use std::time::Duration;

use fapi::cors::{Cors, ScriptOrigin};
use http::HeaderName;

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};

/// Where a rule is, which decides whether its list of origins may be empty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// An empty list is a mistake, since without the rule no script is let in either.
    Listener,
    /// An empty list keeps the listener's rule away from the route.
    Route,
}

impl Build<'_> {
    /// Compiles a rule; `Some(None)` if there is none.
    pub(super) fn cors(
        &mut self,
        at: &KeyPath,
        entry: Option<&mut file::Cors>,
        place: Place,
    ) -> Option<Option<Arc<Cors>>> {
        let Some(entry) = entry else { return Some(None) };
        let origins = self.allowed_origins(&at.key("allowed_origins"), entry.allowed_origins.as_deref(), place);
        let usual = || ALLOWED_HEADERS.map(str::to_owned).into();
        let allowed = self.fields(&at.key("allowed_headers"), entry.allowed_headers.get_or_insert_with(usual));
        let exposed = self.fields(&at.key("exposed_headers"), entry.exposed_headers.get_or_insert_default());
        // No browser remembers an answer for longer than a day.
        let range = Duration::ZERO..=Duration::from_secs(24 * 60 * 60);
        let max_age = self.time_within(&at.key("max_age"), &mut entry.max_age, Duration::from_secs(600), range);
        let credentials = *entry.allow_credentials.get_or_insert(false);
        Some(Some(Arc::new(Cors::new(origins?, &allowed?, &exposed?, max_age?.as_secs(), credentials))))
    }

    fn allowed_origins(&mut self, at: &KeyPath, texts: Option<&[String]>, place: Place) -> Option<Vec<ScriptOrigin>> {
        let way_out = "name the origins of the scripts, such as `https://app.example`";
        let texts = match place {
            Place::Listener => self.list(at, texts, way_out)?,
            Place::Route => self.needed(at, texts, way_out)?,
        };
        self.no_repeats(at, texts);
        let mut origins = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let origin = ScriptOrigin::parse(text);
            if let Err(error) = &origin {
                self.problem(&at.index(index), error.to_string());
            }
            origins.push(origin.ok());
        }
        origins.into_iter().collect()
    }

    /// Warns of rules that do not let a script send the token that a route needs.
    pub(super) fn warn_of_scripts(&mut self, file: &File) {
        let forbids = |cors: &Option<file::Cors>| {
            let allowed = cors.as_ref().filter(|cors| cors.allowed_origins.iter().flatten().next().is_some());
            let allowed = allowed.and_then(|cors| cors.allowed_headers.as_ref());
            allowed.is_some_and(|names| !names.iter().any(|name| name.eq_ignore_ascii_case("authorization")))
        };
        let protected = |route: &file::Route| route.public != Some(true);
        let mut places = Vec::new();
        // The rule of a listener is for the routes that have none of their own.
        if file.routes.iter().flatten().any(|route| protected(route) && route.cors.is_none()) {
            let listeners = file.listeners.iter().flatten().enumerate();
            let forbidding = listeners.filter(|(_, listener)| forbids(&listener.cors));
            places.extend(forbidding.map(|(index, _)| KeyPath::of("listeners").index(index)));
        }
        let routes = file.routes.iter().flatten().enumerate();
        let forbidding = routes.filter(|(_, route)| protected(route) && forbids(&route.cors));
        places.extend(forbidding.map(|(index, _)| KeyPath::of("routes").index(index)));
        for place in places {
            self.warn(
                &place.key("cors").key("allowed_headers"),
                "the list replaces the default and has no `Authorization`, so no script can send a token; add it",
            );
        }
    }

    /// Reads the names of header fields.
    fn fields(&mut self, at: &KeyPath, texts: &[String]) -> Option<Vec<HeaderName>> {
        self.no_repeats(at, texts);
        let mut names = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            // `*` would be a valid name, and means every header to a browser.
            let name = HeaderName::try_from(text).ok().filter(|_| text != "*");
            if name.is_none() {
                self.problem(
                    &at.index(index),
                    format!("`{text}` is not the name of a header; write one such as `ETag`"),
                );
            }
            names.push(name);
        }
        names.into_iter().collect()
    }
}

/// The end of a line of the summary: who may call from scripts.
pub(super) fn describe_cors(entry: Option<&file::Cors>) -> String {
    let Some(entry) = entry else { return String::new() };
    let origins = match entry.allowed_origins.as_deref().unwrap_or_default() {
        [] => "none".to_owned(),
        origins => origins.join(", "),
    };
    let credentials = if entry.allow_credentials == Some(true) { ", with credentials" } else { "" };
    format!("; cors: {origins}{credentials}")
}

const ALLOWED_HEADERS: [&str; 4] = ["Authorization", "DPoP", "Content-Type", "x-fapi-interaction-id"];
