//! The files with certificates, and what is wrong with what they contain.

use fapi::UnixTime;

use super::error::ConfigError;
use super::{Config, ConfigErrors};
use crate::certificate::{Judgement, Problem, Severity};

/// A file with certificates, in one place of gateway.yaml.
#[derive(Clone, Debug)]
pub struct CertificateFile {
    /// Its path, as gateway.yaml writes it.
    pub name: String,
    /// The key that names it, without a problem.
    pub(super) place: ConfigError,
    pub(super) judgement: Judgement,
}

impl CertificateFile {
    /// What is wrong with its certificates at this time.
    pub fn problems(&self, now: UnixTime) -> Vec<Problem> {
        self.judgement.problems(now)
    }

    /// A problem in one line, with the key that names the file.
    pub fn line(&self, problem: &Problem) -> String {
        let of = self.place.file.as_ref().map(|file| format!(" in {}", file.display())).unwrap_or_default();
        format!("{}{of}: `{}`: {problem}", self.place.path, self.name)
    }
}

impl Config {
    /// Judges all certificates at this time: the lines of those that some refuse, or soon will.
    ///
    /// # Errors
    /// [`ConfigErrors`] with the certificates that everybody refuses.
    pub fn judge_certificates(&self, now: UnixTime) -> Result<Vec<String>, ConfigErrors> {
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
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
        if errors.is_empty() {
            Ok(warnings)
        } else {
            Err(ConfigErrors::new(self.file.clone(), errors, self.files.clone()))
        }
    }
}
