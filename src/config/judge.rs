//! What loads and fails all the same: certificates that everybody refuses, and an audit file that cannot be written.
//!
//! `run` and a reload find it themselves, and do what is best for those who are served; `check` refuses it.

use std::path::Path;

use fapi::UnixTime;
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::error::ConfigError;
use super::{Config, ConfigErrors};
use crate::certificate::Severity;
use crate::telemetry::audit::Destination;

impl Config {
    /// Judges the certificates and the waivers at this time, and whether the audit can be written; returns a line for each
    /// certificate that some refuse, or soon will.
    ///
    /// # Errors
    /// [`ConfigErrors`] with the certificates that everybody refuses, the waivers that are over or end more than a year from
    /// now, and the audit's file if it cannot be written.
    pub fn judge(&self, now: UnixTime) -> Result<Vec<String>, ConfigErrors> {
        let (mut errors, mut warnings) = (self.problems_of_waivers(now, &[]), Vec::new());
        for file in &self.certificate_files {
            for problem in file.problems(now) {
                match problem.severity {
                    Severity::Error => {
                        let problem = format!("`{}`: {problem}", file.name);
                        errors.push(ConfigError { problem, ..file.place.clone() });
                    }
                    Severity::Warning => warnings.push(file.line(&problem)),
                }
            }
        }
        if let Destination::File(path, rotation) = &self.audit.destination
            && let Some(problem) = unwritable(path, rotation.is_some())
        {
            errors.push(ConfigError { problem, ..self.audit_place.clone() });
        }
        match errors.is_empty() {
            true => Ok(warnings),
            false => Err(ConfigErrors::new(self.file.clone(), errors, self.files.clone())),
        }
    }
}

/// The directory that a file is in; `.` for a mere name.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Why a file cannot be written, or not be renamed if it is rotated. Nothing is created or opened: a check leaves no trace, and
/// opening a pipe waits for its reader.
fn unwritable(path: &Path, is_rotated: bool) -> Option<String> {
    let (file, directory) = ((path, "the file"), (directory_of(path), "its directory"));
    let places = [path.exists().then_some(file), (is_rotated || !path.exists()).then_some(directory)];
    let refused = |(place, what)| access(place, Access::WRITE_OK).err().map(|why| (why, what));
    let (why, what) = places.into_iter().flatten().find_map(refused)?;
    let why = match why {
        Errno::ROFS => "is on a file system that is read-only; choose a path on another, or mount a volume there",
        _ => {
            "may not be written by the user of this process; change its owner or its permissions, or choose another path"
        }
    };
    Some(format!("`{}` cannot be written: {what} {why}", path.display()))
}
