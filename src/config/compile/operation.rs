//! `log`, `reload` and `drain`: what the gateway says, how it notices changes, and how it stops.

use std::time::Duration;

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file::{File, LogFormat};
use crate::config::scalar;
use crate::connection::drain;
use crate::telemetry::filter::Filter;
use crate::telemetry::logging::{self, Format};

impl Build<'_> {
    pub(super) fn log(&mut self, file: &mut File) -> Option<logging::Settings> {
        let at = KeyPath::of("log").key("level");
        let entry = file.log.get_or_insert_default();
        let format = match entry.format.get_or_insert(LogFormat::Text) {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        };
        match entry.level.get_or_insert_with(|| Filter::default().to_string()).parse::<Filter>() {
            Ok(filter) => {
                for target in filter.unknown_targets() {
                    self.warn(&at, format!("no part of the program is called `{target}`, so it selects no line"));
                }
                Some(logging::Settings { format, filter })
            }
            Err(problem) => {
                self.problem(&at, problem.to_string());
                None
            }
        }
    }

    /// How often files are checked for changes; zero means never.
    pub(super) fn reload(&mut self, file: &mut File) -> Option<Duration> {
        let at = KeyPath::of("reload").key("watch");
        let entry = &mut file.reload.get_or_insert_default().watch;
        let watch = entry.get_or_insert(scalar::Duration(Duration::from_secs(5))).0;
        if !watch.is_zero() && !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&watch) {
            let problem = "the time must be from 100ms to 1h, or `0s` for never; the default is `5s`";
            self.problem(&at, problem);
            return None;
        }
        Some(watch)
    }

    pub(super) fn drain(&mut self, file: &mut File) -> Option<drain::Settings> {
        let at = KeyPath::of("drain");
        let entry = file.drain.get_or_insert_default();
        let minutes = |minutes: u64| Duration::ZERO..=Duration::from_secs(minutes * 60);
        // Together less than the 30 seconds that Kubernetes gives a pod by default.
        let (delay, timeout) = (Duration::from_secs(5), Duration::from_secs(20));
        let delay = self.time_within(&at.key("delay"), &mut entry.delay, delay, minutes(5));
        let timeout = self.time_within(&at.key("timeout"), &mut entry.timeout, timeout, minutes(60));
        Some(drain::Settings { delay: delay?, timeout: timeout? })
    }
}
