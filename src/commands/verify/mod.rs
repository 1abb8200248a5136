//! `fapi-gateway verify`: verifies the signatures of a captured HTTP message (RFC 9421 §3.2), and says of each what it covers,
//! line by line, and what to look at if it does not hold.
//!
//! The steps are those of a running gateway. Credentials that are covered are not printed: see `shown`.

mod advice;
mod difference;
mod keys;
mod record;
mod report;
pub(super) mod shown;

use std::path::PathBuf;
use std::process::ExitCode;

use fapi::UnixTime;
use fapi::signature::base::line;
use fapi::signature::component::Component;
use fapi::signature::digest::{CONTENT_DIGEST, ClaimedDigest, DigestAlgorithm, MatchedContent, content_digest};
use fapi::signature::error::SignatureError;
use fapi::signature::input::{SignatureInput, SignatureParameters};
use fapi::signature::profile::Profile;
use fapi::signature::verify::verify_one;
use http::HeaderName;

use self::difference::{Base, Difference};
use self::keys::{KeyFile, Keys};
use self::shown::Line;
use super::captured::{MessageFile, ProfileName, Subject, any_time, anything};
use super::time::time_or_now;
use super::{Failure, NOT_GOOD, input};

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    message: MessageFile,
    #[command(flatten)]
    keys: KeyFile,
    /// What a signature has to be for; by default what FAPI 2.0 HTTP Signatures says for a request, or for a response: one
    /// signature with its tag has to hold. With `none`, every signature has to hold, and may cover anything.
    #[arg(long, value_enum)]
    profile: Option<ProfileName>,
    /// The time at which it is verified: seconds since 1970, or a time such as `2027-01-31T12:00:00Z`; by default now.
    #[arg(long, value_name = "TIME", conflicts_with = "any_time")]
    at: Option<String>,
    /// Whatever the time is: neither `created` nor `expires` is compared with it.
    #[arg(long)]
    any_time: bool,
    /// The signature base that the other side has signed: print the first line that differs. One line end at its end is ignored.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    base: Option<PathBuf>,
    /// Print one object of JSON.
    #[arg(long)]
    json: bool,
}

/// Verifies the message. The exit code is 0 if it is signed as the profile says, and 1 if it is not.
pub fn run(arguments: &Arguments) -> ExitCode {
    match verify(arguments).and_then(|(text, exit)| super::print(&text).map(|()| exit)) {
        Ok(exit) => ExitCode::from(exit),
        Err(failure) => failure.report("verify"),
    }
}

fn verify(arguments: &Arguments) -> Result<(String, u8), Failure> {
    let Arguments { message, keys, profile, at, base, .. } = arguments;
    let subject = message.read([keys.path(), base.as_ref()])?;
    let keys = keys.read()?;
    let name = ProfileName::of(*profile, &subject)?;
    let base = base.as_ref().map(|file| Ok(Base::of(&input(file)?))).transpose()?;
    let (rules, now) = match arguments.any_time {
        // Nothing has expired in 1970.
        true => (any_time(name.rules(&subject)), UnixTime(0)),
        false => (name.rules(&subject), time_or_now("--at", at.as_deref())?),
    };
    let terms = Terms { name, rules, keys, now, any_time: arguments.any_time };
    let examination = Examination::of(&subject, &terms, base.as_ref());
    let text = if arguments.json { record::json(&examination) } else { report::text(&examination, &terms) };
    Ok((text, if examination.outcome.is_ok() { 0 } else { NOT_GOOD }))
}

/// By what a message is judged.
struct Terms {
    name: ProfileName,
    rules: Profile,
    keys: Keys,
    now: UnixTime,
    /// Whether `now` means nothing.
    any_time: bool,
}

/// What was found in a message.
struct Examination {
    digest: Digest,
    /// In the order of the message.
    signatures: Vec<Examined>,
    /// Whether the message is signed as it should be, and if not, why.
    outcome: Result<(), SignatureError>,
}

/// The digest of the content that a message has, and that its content has.
struct Digest {
    field: Option<String>,
    computed: Vec<String>,
    /// `None` if there is neither a digest nor content.
    matched: Option<Result<MatchedContent, SignatureError>>,
}

/// What was found of one signature.
struct Examined {
    label: String,
    tag: Option<String>,
    parameters: Result<SignatureParameters, SignatureError>,
    /// The type of the key that it names.
    key: Option<&'static str>,
    /// The signature base as this side computes it, or why it cannot.
    lines: Result<Vec<Line>, SignatureError>,
    /// Whether the key made the signature over the message, whatever the profile says.
    holds: Result<(), SignatureError>,
    /// Whether it is what the profile wants; `None` if it is for something else, by its tag.
    verdict: Option<Result<(), SignatureError>>,
    difference: Option<Difference>,
}

impl Examination {
    fn of(subject: &Subject, terms: &Terms, base: Option<&Base>) -> Self {
        let digest = Digest::of(subject);
        let inputs = SignatureInput::read(subject.captured().headers());
        let signatures: Vec<Examined> = match &inputs {
            Ok(inputs) => inputs.iter().map(|input| Examined::of(input, subject, terms, &digest, base)).collect(),
            Err(_) => Vec::new(),
        };
        let outcome = inputs.map(|_| ()).and_then(|()| outcome(&signatures, subject, terms));
        Self { digest, signatures, outcome }
    }
}

/// One signature with the tag of the profile has to hold; without a profile, each has to.
fn outcome(signatures: &[Examined], subject: &Subject, terms: &Terms) -> Result<(), SignatureError> {
    let mut failures = signatures.iter().filter_map(Examined::refusal);
    let holds = |signature: &Examined| matches!(signature.verdict, Some(Ok(())));
    match failures.next() {
        Some(failure) if terms.name == ProfileName::None || !signatures.iter().any(holds) => Err(failure.clone()),
        Some(_) => Ok(()),
        None if signatures.iter().any(holds) => Ok(()),
        // None has the tag, and the gateway says so.
        None => terms.keys.verify_all(subject, &terms.rules, terms.now),
    }
}

impl Digest {
    fn of(subject: &Subject) -> Self {
        let message = subject.captured();
        let lines: Vec<String> = message
            .headers()
            .get_all(CONTENT_DIGEST)
            .iter()
            .map(|line| shown::printable(&String::from_utf8_lossy(line.as_bytes())))
            .collect();
        let field = if lines.is_empty() { None } else { Some(lines.join(", ")) };
        let named = |algorithm: DigestAlgorithm| match &field {
            Some(field) => field.contains(algorithm.as_str()),
            None => algorithm == DigestAlgorithm::Sha256,
        };
        let matched = || {
            let mut hasher = ClaimedDigest::read(message.headers())?.hasher();
            hasher.update(message.content());
            hasher.finish().map_err(SignatureError::from)
        };
        let is_there = field.is_some() || !message.content().is_empty();
        let algorithms = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512].into_iter();
        let computed = algorithms.filter(|algorithm| is_there && named(*algorithm));
        let computed = computed.map(|algorithm| content_digest(algorithm, message.content())).collect();
        Self { field, computed, matched: is_there.then(matched) }
    }
}

impl Examined {
    fn of(input: &SignatureInput, subject: &Subject, terms: &Terms, digest: &Digest, base: Option<&Base>) -> Self {
        let (message, parameters) = (subject.view(), input.parameters());
        let key_id = parameters.as_ref().ok().and_then(|parameters| parameters.key_id.as_deref());
        let keys = terms.keys.for_name(key_id.unwrap_or_default());
        let components = input.components();
        let lines = components.clone().and_then(|components| {
            let all = components.iter().map(|component| Line::of(component, line(&message, component)));
            let last = input.serialized()?;
            Ok(all.chain([Line::last(&last)]).collect::<Vec<_>>())
        });
        let whatever = anything(terms.rules.clone());
        let holds = verify_one(input, &message, &whatever, &keys, UnixTime(0)).map(|_| ());
        let is_for_another = terms.name.tag().is_some_and(|tag| input.tag() != Some(tag));
        let judge = || {
            let signed = verify_one(input, &message, &terms.rules, &keys, terms.now)?;
            let field = Component::field(HeaderName::from_static(CONTENT_DIGEST));
            match &digest.matched {
                Some(matched) if components.is_ok_and(|components| components.contains(&field)) => {
                    matched.clone().and_then(|matched| signed.with_content(&matched))
                }
                // The profile wants a digest to be covered wherever there is content.
                Some(_) | None => signed.without_content(),
            }
        };
        Self {
            label: input.label().to_owned(),
            tag: input.tag().map(str::to_owned),
            key: key_id.and_then(|key_id| terms.keys.type_of(key_id)),
            difference: base.zip(lines.as_ref().ok()).map(|(base, lines)| base.compare(lines)),
            holds,
            verdict: if is_for_another { None } else { Some(judge().map(|_| ())) },
            parameters,
            lines,
        }
    }

    /// Why it is not what the profile wants.
    fn refusal(&self) -> Option<&SignatureError> {
        self.verdict.as_ref()?.as_ref().err()
    }
}
