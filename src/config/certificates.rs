//! The files with certificates, and what is wrong with what they contain.

use fapi::UnixTime;

use super::error::ConfigError;
use crate::certificate::{Holder, Judgement, Problem};

/// A file with certificates, in one place of gateway.yaml.
#[derive(Clone, Debug)]
pub struct CertificateFile {
    /// Its path, as gateway.yaml writes it.
    pub name: String,
    /// The key that names it, for a problem that is found later.
    pub(super) place: ConfigError,
    pub(super) judgement: Judgement,
}

impl CertificateFile {
    /// What is wrong with its certificates at this time.
    pub fn problems(&self, now: UnixTime) -> Vec<Problem> {
        self.judgement.problems(now)
    }

    /// Whom its certificates name, in the order of the file.
    pub fn holders(&self) -> &[Holder] {
        self.judgement.holders()
    }

    /// The key that names it.
    pub fn key(&self) -> String {
        self.place.path.to_string()
    }

    /// A problem in one line, with the key that names the file.
    pub fn line(&self, problem: &Problem) -> String {
        let of = self.place.file.as_ref().map(|file| format!(" in {}", file.display())).unwrap_or_default();
        format!("{}{of}: `{}`: {problem}", self.place.path, self.name)
    }
}
