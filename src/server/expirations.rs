//! When the certificates and revocation lists of a configuration expire, and what is wrong with the certificates.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use fapi::UnixTime;

use crate::certificate::{Fault, Severity};
use crate::config::{CertificateFile, Config};
use crate::telemetry::metrics::Metrics;

/// When the contents of the files expire.
pub(super) struct Expirations {
    certificates: Vec<(String, UnixTime)>,
    certificate_files: Vec<CertificateFile>,
    revocation_lists: Vec<(String, UnixTime)>,
    /// What the log has said.
    said: Mutex<BTreeSet<String>>,
}

impl Expirations {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            certificates: config.certificates.clone(),
            certificate_files: config.certificate_files.clone(),
            revocation_lists: config.revocation_lists.clone(),
            said: Mutex::default(),
        }
    }

    /// Updates the metrics, and logs what is wrong by now and was not when this was last called: revocation lists that have
    /// expired, and certificates that have, soon will, or are refused for another reason.
    pub(super) fn note(&self, metrics: &Metrics, now: UnixTime) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.certificates(&self.certificates);
        metrics.revocation_lists(&self.revocation_lists);
        let mut faults = BTreeSet::new();
        for file in &self.certificate_files {
            for problem in file.problems(now) {
                faults.insert((file.name.clone(), problem.fault.as_str()));
                let line = file.line(&problem);
                // The number of days that are left changes, which is no news.
                let news = if problem.fault == Fault::ExpiresSoon {
                    format!("{} expires soon", file.name)
                } else {
                    line.clone()
                };
                if said.insert(news) {
                    tracing::warn!("{line}");
                }
            }
        }
        metrics.certificate_problems(&faults);
        for (file, next_update) in &self.revocation_lists {
            if *next_update <= now && said.insert(format!("{file} {next_update}")) {
                tracing::warn!(file, %next_update, "a revocation list is past its nextUpdate");
            }
        }
    }

    /// Why everybody would refuse a certificate at this time that is not in force in `before` with the same fault: it has
    /// expired, or is not valid yet.
    pub(super) fn refused_unlike(&self, before: &Self, now: UnixTime) -> Option<(Fault, String)> {
        let faults = |expirations: &Self| {
            let mut faults = Vec::new();
            for file in &expirations.certificate_files {
                for problem in file.problems(now) {
                    if problem.severity == Severity::Error
                        && matches!(problem.fault, Fault::Expired | Fault::NotYetValid)
                    {
                        faults.push((file.name.clone(), problem.fault, file.line(&problem)));
                    }
                }
            }
            faults
        };
        let known = faults(before);
        let is_known = |name: &str, fault| known.iter().any(|(other, same, _)| other == name && *same == fault);
        faults(self).into_iter().find(|(name, fault, _)| !is_known(name, *fault)).map(|(_, fault, line)| (fault, line))
    }
}
