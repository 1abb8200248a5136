//! What can be done with a report that was written before.

use std::path::{Path, PathBuf};

use ::probe::report::Report;
use ::probe::report::compare::compare as difference;
use ::probe::report::read::read;
use ::probe::report::signed::{Trusted, transcript_matches, verify as verify_signed};
use ::probe::report::terminal::summary;

use super::super::{BAD_USAGE, Failure, INPUT_OUTPUT, NOT_GOOD, input};

/// The arguments of `probe verify`.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArguments {
    /// The signed report, or `-` for standard input.
    #[arg(allow_hyphen_values = true)]
    report: PathBuf,
    /// The public key that is trusted: PEM, a JWK, or a JWK set.
    #[arg(long, value_name = "FILE", required_unless_present = "thumbprint", conflicts_with = "thumbprint")]
    key: Option<PathBuf>,
    /// The thumbprint of the key that is trusted, as `fapi-gateway thumbprint` prints it.
    #[arg(long, value_name = "JKT", allow_hyphen_values = true)]
    thumbprint: Option<String>,
    /// The transcript of the run, to be compared with the hash in the report.
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
}

/// The arguments of `probe compare`.
#[derive(Debug, clap::Args)]
pub(super) struct CompareArguments {
    /// The earlier report: JSON, or signed, whose signature is not verified here.
    before: PathBuf,
    /// The later report.
    after: PathBuf,
    /// Print the comparison as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what a signed report says, if its signature is good.
pub(super) fn verify(arguments: &VerifyArguments) -> Result<(), Failure> {
    let trusted = match (&arguments.key, &arguments.thumbprint) {
        (Some(file), _) => Trusted::keys(&input(file)?).map_err(|error| Failure::io(file, &error))?,
        (None, Some(text)) => {
            Trusted::thumbprint(text).map_err(|error| Failure::new(BAD_USAGE, format!("--thumbprint: {error}")))?
        }
        (None, None) => return Err(Failure::new(BAD_USAGE, "name the key that is trusted: `--key` or `--thumbprint`")),
    };
    let file = &arguments.report;
    let text = text_of(file)?;
    let verified = verify_signed(text.trim(), &trusted).map_err(|error| Failure::of(NOT_GOOD, file, &error))?;
    let mut note = "no transcript was compared with it; `--transcript` does";
    if let Some(transcript) = &arguments.transcript {
        note = "the transcript is the one that it was made from";
        let bytes = std::fs::read(transcript).map_err(|error| Failure::io(transcript, &error))?;
        if !transcript_matches(&verified.report, &bytes) {
            return Err(Failure::of(NOT_GOOD, transcript, &"this is not the transcript that the report was made from"));
        }
    }
    let Report { program, started, finished, configuration_sha256, .. } = &verified.report;
    let head = format!(
        "signed by {}\nmade by {program}, {started} to {finished}\nconfiguration {configuration_sha256}\n{note}\n",
        verified.thumbprint
    );
    super::super::print(&format!("{head}\n{}", summary(&verified.report, false)))
}

/// Prints what differs between two reports; fails if something became worse.
pub(super) fn compare(arguments: &CompareArguments) -> Result<(), Failure> {
    super::super::one_from_standard_input([Some(&arguments.before), Some(&arguments.after)])?;
    let (before, after) = (report(&arguments.before)?, report(&arguments.after)?);
    let difference = difference(&before, &after);
    let text = match arguments.json {
        true => {
            serde_json::to_string_pretty(&difference).map_err(|error| Failure::new(NOT_GOOD, error.to_string()))? + "\n"
        }
        false => difference.to_string(),
    };
    super::super::print(&text)?;
    match difference.is_worse() {
        true => Err(Failure::new(NOT_GOOD, "something became worse")),
        false => Ok(()),
    }
}

/// A report as it was written: JSON, or the payload of a signed one.
fn report(file: &Path) -> Result<Report, Failure> {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let text = text_of(file)?;
    let payload = text.trim().split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let json = payload.unwrap_or_else(|| text.clone().into_bytes());
    read(&json).map_err(|error| Failure::of(INPUT_OUTPUT, file, &error))
}

/// Reports are larger than the other inputs of commands.
fn text_of(file: &Path) -> Result<String, Failure> {
    let text =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    text.map_err(|error| Failure::io(file, &error))
}
