//! The files that a report is written to.

use std::path::PathBuf;

use ::probe::report::Report;
use ::probe::report::html::html;
use ::probe::report::junit::junit;
use ::probe::report::sarif::sarif;
use ::probe::report::signed::sign;
use fapi::jose::signing::PrivateKey;

use super::super::{Failure, NOT_GOOD, input};
use super::write;

/// Where a report is written to, and in which forms.
#[derive(Debug, clap::Args)]
pub(super) struct Outputs {
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write it as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write it as SARIF 2.1.0.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Write it as one page of HTML that needs nothing else and prints well.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write it signed, as a compact JWS, which `probe verify` reads.
    #[arg(long, value_name = "FILE", requires = "signing_key", conflicts_with = "dry_run")]
    signed: Option<PathBuf>,
    /// The private key that signs it, PEM.
    #[arg(long, value_name = "FILE", requires = "signed", allow_hyphen_values = true)]
    signing_key: Option<PathBuf>,
}

impl Outputs {
    /// Finds what would go wrong, before anything is sent: each file can be written, and the key can be read.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let files = [&self.json, &self.junit, &self.sarif, &self.html, &self.signed];
        for file in files.into_iter().flatten() {
            let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
            opened.map_err(|error| Failure::io(file, &error))?;
        }
        self.key().map(drop)
    }

    /// Writes the report to every file that is named.
    pub(super) fn write(&self, report: &Report) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(NOT_GOOD, error.to_string());
        if let Some(file) = &self.json {
            let json = serde_json::to_string_pretty(report).map_err(|error| failed(&error))?;
            write(file, &format!("{json}\n"))?;
        }
        if let Some(file) = &self.junit {
            write(file, &junit(report))?;
        }
        if let Some(file) = &self.sarif {
            write(file, &format!("{:#}\n", sarif(report)))?;
        }
        if let Some(file) = &self.html {
            write(file, &html(report))?;
        }
        if let (Some(file), Some(key)) = (&self.signed, self.key()?) {
            write(file, &format!("{}\n", sign(report, &key).map_err(|error| failed(&error))?))?;
        }
        Ok(())
    }

    fn key(&self) -> Result<Option<PrivateKey>, Failure> {
        let Some(file) = &self.signing_key else { return Ok(None) };
        let key = PrivateKey::from_pem(&input(file)?).map_err(|error| Failure::io(file, &error))?;
        Ok(Some(key))
    }
}
