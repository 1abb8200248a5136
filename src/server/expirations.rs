//! When the certificates, revocation lists and waivers of a configuration end, and what is wrong with the certificates.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use fapi::UnixTime;

use crate::certificate::{Fault, Severity};
use crate::config::waivers::{Standing, Waiver};
use crate::config::{CertificateFile, Config};
use crate::telemetry::metrics::Metrics;

/// When the contents of the files expire.
pub(super) struct Expirations {
    certificates: Vec<(String, UnixTime)>,
    certificate_files: Vec<CertificateFile>,
    revocation_lists: Vec<(String, UnixTime)>,
    waivers: Vec<Waiver>,
    /// What the log has said.
    said: Mutex<BTreeSet<String>>,
}

impl Expirations {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            certificates: config.certificates.clone(),
            certificate_files: config.certificate_files.clone(),
            revocation_lists: config.revocation_lists.clone(),
            waivers: config.waivers.clone(),
            said: Mutex::default(),
        }
    }

    /// The rules of the profile that are suspended for a while.
    pub(super) fn waivers(&self) -> &[Waiver] {
        &self.waivers
    }

    /// Updates the metrics, and logs what is so by now and was not when this was last called: waivers that count, and those
    /// that no longer do; revocation lists that have expired; and certificates that have, soon will, or are refused for another
    /// reason.
    pub(super) fn note(&self, metrics: &Metrics, now: UnixTime) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.certificates(&self.certificates);
        metrics.revocation_lists(&self.revocation_lists);
        metrics.waivers(self.waivers.iter().map(|waiver| (waiver.labels(), waiver.period.until)));
        for waiver in &self.waivers {
            let standing = waiver.standing(now);
            if !said.insert(format!("{waiver} {}", standing.as_str())) {
                continue;
            }
            let (rule, of, name) = (waiver.rule.id, waiver.of.as_str(), &waiver.name);
            let (until, reason) = (waiver.until(), &waiver.reason);
            match standing {
                Standing::Pending => {}
                Standing::Active => tracing::warn!(rule, of, name, until, reason, "a rule of the profile is waived"),
                Standing::Over => {
                    tracing::warn!(rule, of, name, until, reason, "a waiver is over, and its rule holds again")
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::certificate::SOON;

    /// Since 1970, the end of the certificate: 2027-01-15.
    const END: u64 = 1_799_971_200;

    /// A configuration whose server certificate ends at [`END`], in a folder of its own.
    fn expirations(name: &str) -> (PathBuf, Expirations) {
        let folder = std::env::temp_dir().join(format!("fapi-gateway-expirations-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["api.bank.example".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2027, 1, 15);
        std::fs::write(folder.join("server.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(folder.join("server-key.pem"), key.serialize_pem()).unwrap();
        let text = r#"profile: fapi2-security
listeners:
  - address: 127.0.0.1:8443
    origins: ["https://api.bank.example"]
    tls: { certificate: server.pem, private_key: server-key.pem, client_certificates: { mode: none } }
upstreams:
  accounts: { servers: ["http://127.0.0.1:8080"] }
routes:
  - { name: health, path: /health, methods: [GET], public: true, upstream: accounts }
"#;
        std::fs::write(folder.join("gateway.yaml"), text).unwrap();
        let config = Config::load(&folder.join("gateway.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
        let expirations = Expirations::of(&config);
        (folder, expirations)
    }

    #[test]
    fn what_expires_while_no_file_changes_is_said_once() {
        let (folder, expirations) = expirations("said");
        let metrics = Metrics::new().unwrap();
        let mut lines = Vec::new();
        for now in [END - SOON - 1, END - SOON + 1, END - SOON / 2, END, END + 1, END + 2] {
            expirations.note(&metrics, UnixTime(now));
            lines.push(expirations.said.lock().unwrap().len());
        }
        assert_eq!(lines, [0, 1, 1, 1, 2, 2]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_what_is_worse_than_before_keeps_a_reload_from_coming_into_force() {
        let (folder, before) = expirations("before");
        let (other, after) = expirations("after");
        let refused = |now| after.refused_unlike(&before, UnixTime(now)).map(|(fault, _)| fault);
        assert_eq!((refused(END), refused(END + 1)), (None, None), "it is as bad as the one before");
        let nothing = Expirations {
            certificates: Vec::new(),
            certificate_files: Vec::new(),
            revocation_lists: Vec::new(),
            waivers: Vec::new(),
            said: Mutex::default(),
        };
        let refused = |now| after.refused_unlike(&nothing, UnixTime(now)).map(|(fault, _)| fault);
        assert_eq!((refused(END), refused(END + 1)), (None, Some(Fault::Expired)));
        for folder in [folder, other] {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}
