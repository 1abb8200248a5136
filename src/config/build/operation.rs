//! `drain`: how the gateway ends.

use std::time::Duration;

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file::File;
use crate::drain;

impl Build<'_> {
    pub(super) fn drain(&mut self, file: &mut File) -> Option<drain::Settings> {
        let at = KeyPath::of("drain");
        let entry = file.drain.get_or_insert_default();
        let minutes = |minutes: u64| Duration::ZERO..=Duration::from_secs(minutes * 60);
        // Together less than the 30 seconds that Kubernetes gives a pod that does not say otherwise.
        let (delay, timeout) = (Duration::from_secs(5), Duration::from_secs(20));
        let delay = self.time_within(&at.key("delay"), &mut entry.delay, delay, minutes(5));
        let timeout = self.time_within(&at.key("timeout"), &mut entry.timeout, timeout, minutes(60));
        Some(drain::Settings { delay: delay?, timeout: timeout? })
    }
}
