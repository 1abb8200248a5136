//! Reads the lines of chains again, and finds what is not as it was written.
//!
//! Lines are taken in the order of the files. Those of several chains may be mixed, as they are where the output of several
//! replicas is collected; those of one chain have to be in their order.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::jose::json::parse_object;
use fapi::jose::keys::VerifyingKey;
use fapi::jose::public_key::jwk_of_spki;
use fapi::jose::thumbprint::KeyThumbprint;
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde_json::{Map, Value};

use super::checkpoint::SIGNATURE;
use super::signer::{TYP, signed};

/// The public keys that checkpoints may be signed with, by their thumbprints.
#[derive(Debug, Default)]
pub struct PublicKeys(BTreeMap<String, VerifyingKey>);

impl PublicKeys {
    /// Adds the keys of a file: public keys in PEM, or one JWK.
    ///
    /// # Errors
    /// What is wrong with the file; does not show a key.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.trim_ascii_start().starts_with(b"{") {
            return self.add_jwk(&parse_object(bytes).map_err(|_| "it is not a JWK".to_owned())?);
        }
        let mut found = false;
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            let (kind, der) = section.map_err(|_| "the PEM text is malformed".to_owned())?;
            if kind != SectionKind::PublicKey {
                return Err(format!("it has something else than public keys; {WAY_OUT}"));
            }
            self.add_jwk(&jwk_of_spki(&der).map_err(|error| error.to_string())?)?;
            found = true;
        }
        if found { Ok(()) } else { Err(format!("there is no public key in it; {WAY_OUT}")) }
    }

    fn add_jwk(&mut self, jwk: &Map<String, Value>) -> Result<(), String> {
        let key = VerifyingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
        let thumbprint = KeyThumbprint::of_jwk(jwk).ok_or("it is not a public key")?;
        self.0.insert(thumbprint.to_string(), key);
        Ok(())
    }

    /// Whether a line is a checkpoint that one of these keys has signed.
    fn have_signed(&self, line: &[u8], signature: &str) -> bool {
        let Some((header, sign)) = signature.split_once("..") else { return false };
        let Ok(decoded) = URL_SAFE_NO_PAD.decode(header) else { return false };
        let Ok(members) = parse_object(&decoded) else { return false };
        let Some(key) = members.get("kid").and_then(Value::as_str).and_then(|kid| self.0.get(kid)) else {
            return false;
        };
        let Some(content) = content(line, signature) else { return false };
        members.get("alg").and_then(Value::as_str) == Some(key.algorithm().as_str())
            && members.get("typ").and_then(Value::as_str) == Some(TYP)
            && key.verifies(signed(header, &content).as_bytes(), sign)
    }
}

/// What a signature of a line signs: all before it, and the closing brace.
fn content(line: &[u8], signature: &str) -> Option<Vec<u8>> {
    let before = line.strip_suffix(b"\"}")?.strip_suffix(signature.as_bytes())?.strip_suffix(SIGNATURE.as_bytes())?;
    Some([before, b"}"].concat())
}

/// Where a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it was found; `None` if there is no line at all.
    pub place: Option<Place>,
    /// What it is.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// How a chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With the checkpoint of its end.
    Sealed,
    /// Without; the next chain of the file has the hash of its last line.
    Continued,
    /// Without; nothing says that its last line was the last.
    Open,
}

/// A chain that was found.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its first line.
    pub first: (u64, Place),
    /// Its last line.
    pub last: (u64, Place),
    hash: [u8; 32],
    /// From which to which of all lines it goes.
    span: (u64, u64),
    /// Whether its beginning is not signed, as when its key did not sign then, and nothing signed after it says so.
    begins_unsigned: bool,
    /// The last line that a checkpoint covers.
    pub covered: Option<u64>,
    /// How many checkpoints are signed.
    pub checkpoints: u64,
    /// How many lines were lost before they were in the chain, as its last checkpoint says.
    pub lost: u64,
    /// How it ends.
    pub ended: Ended,
}

/// What was found.
#[derive(Debug)]
pub struct Findings {
    /// How many lines there are.
    pub lines: u64,
    /// What is not as it was written: the first hundred.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub fault_count: u64,
    /// The chains, by their IDs.
    pub chains: BTreeMap<String, Chain>,
}

/// Reads lines and keeps what was found.
pub struct Verifier {
    keys: PublicKeys,
    /// Whether chains may begin before the first line and end after the last one.
    partial: bool,
    findings: Findings,
    /// The hash of the last line.
    last: Option<[u8; 32]>,
    /// The hash of a line in a file before these, if the first chain goes on after one, and where that begins.
    elsewhere: Option<([u8; 32], Place)>,
    /// A line that is in no chain, and its hash. A chain that begins after it may have found it in its file.
    stray: Option<(Place, [u8; 32])>,
}

/// A line that is in a chain.
struct Linked {
    id: String,
    sequence: u64,
    previous: Option<[u8; 32]>,
    checkpoint: Option<Signed>,
}

/// What a checkpoint says.
struct Signed {
    reason: Option<String>,
    lost: u64,
    torn: Option<[u8; 32]>,
    /// Whether a known key has signed it.
    good: bool,
}

impl Verifier {
    /// Without `partial`, every chain has to begin in the files and to end in them.
    pub fn new(keys: PublicKeys, partial: bool) -> Self {
        let findings = Findings { lines: 0, faults: Vec::new(), fault_count: 0, chains: BTreeMap::new() };
        Self { keys, partial, findings, last: None, elsewhere: None, stray: None }
    }

    /// Takes the next line, without its end; `ended` is whether it had one.
    pub fn line(&mut self, place: Place, bytes: &[u8], ended: bool) {
        self.findings.lines = self.findings.lines.saturating_add(1);
        let hash = fapi::sha256(bytes);
        let stray = self.stray.take();
        let line = self.linked(bytes);
        // Where a beginning is signed later, what was torn is not beside it.
        let first = line.as_ref().filter(|line| line.sequence == 0);
        let torn = first.and_then(|line| line.checkpoint.as_ref()).and_then(|checkpoint| checkpoint.torn);
        match stray {
            Some((_, hash)) if torn == Some(hash) => {}
            Some((stray, _)) => self.fault(stray, STRAY),
            None if torn.is_some() && !(self.partial && self.findings.lines == 1) => {
                self.fault(place.clone(), "what the file had of a line when this chain began was removed");
            }
            None => {}
        }
        match line {
            Some(line) => self.take(place.clone(), &line, hash),
            None => self.stray = Some((place.clone(), hash)),
        }
        if !ended {
            self.fault(place, "the line has no end: what comes after it was cut off");
        }
        self.last = Some(hash);
    }

    /// What was found, when there is no further line.
    pub fn finish(mut self) -> Findings {
        if let Some((stray, _)) = self.stray.take() {
            self.fault(stray, STRAY);
        }
        let chains = std::mem::take(&mut self.findings.chains);
        if let Some((hash, place)) = self.elsewhere.take()
            && let Some(chain) = chains.values().find(|chain| chain.hash == hash)
        {
            let (_, last) = &chain.last;
            self.fault(
                place,
                format!("the chain begins after a line that comes later, at {last}: one of them was moved"),
            );
        }
        if chains.is_empty() {
            self.fault(None::<Place>, "there is no line of a chain");
        }
        for (id, chain) in &chains {
            let (last, place) = &chain.last;
            if chain.first.0 == 0 && chain.begins_unsigned {
                let place = chain.first.1.clone();
                self.fault(place, "the chain begins without a checkpoint: its first line was changed or added");
            }
            if chain.checkpoints == 0 {
                self.fault(place.clone(), format!("no checkpoint of chain {id} is signed with the key"));
            } else if self.partial && !may_begin(chain, &chains) {
                let (first, place) = &chain.first;
                self.fault(place.clone(), missing_before(*first));
            } else if chain.ended == Ended::Open && !self.partial {
                let covered = chain.covered.unwrap_or_default();
                let what = format!(
                    "chain {id} has no end after line {last}: its process runs, or was killed, or what came after it was cut \
                     off; no signature covers what comes after line {covered}"
                );
                self.fault(place.clone(), what);
            }
        }
        self.findings.chains = chains;
        self.findings
    }

    /// Reads the place of a line in its chain; `None` if it is in none.
    fn linked(&self, bytes: &[u8]) -> Option<Linked> {
        let members = parse_object(bytes).ok()?;
        let link = members.get("chain")?.as_object()?;
        let checkpoint = (members.get("event").and_then(Value::as_str) == Some("checkpoint")).then(|| {
            let signature = members.get("signature").and_then(Value::as_str).unwrap_or_default();
            Signed {
                reason: members.get("reason").and_then(Value::as_str).map(str::to_owned),
                lost: members.get("lost").and_then(Value::as_u64).unwrap_or_default(),
                torn: members.get("torn").and_then(hash_of).flatten(),
                good: self.keys.have_signed(bytes, signature),
            }
        });
        Some(Linked {
            id: link.get("id")?.as_str().filter(|id| is_id(id))?.to_owned(),
            sequence: link.get("sequence")?.as_u64()?,
            previous: link.get("previous").and_then(hash_of)?,
            checkpoint,
        })
    }

    /// Takes a line that is in a chain.
    fn take(&mut self, place: Place, line: &Linked, hash: [u8; 32]) {
        if line.checkpoint.as_ref().is_some_and(|checkpoint| !checkpoint.good) {
            self.fault(place.clone(), "the checkpoint is not signed with the key: it was changed, or is another's");
        }
        let Some(chain) = self.findings.chains.get(&line.id) else {
            self.begin(place, line, hash);
            return;
        };
        let (last, last_place, last_hash, was_sealed) =
            (chain.last.0, chain.last.1.clone(), chain.hash, chain.ended == Ended::Sealed);
        let expected = last.saturating_add(1);
        if line.sequence < expected {
            let what = format!("line {} of its chain comes after line {last}: it was repeated or moved", line.sequence);
            self.fault(place, what);
            return;
        }
        if was_sealed {
            self.fault(place.clone(), format!("the chain had ended, at {last_place}: the line was added"));
        }
        if line.sequence > expected {
            let missing = match line.sequence.saturating_sub(1) {
                last if last == expected => format!("line {expected} of its chain is"),
                last => format!("lines {expected} to {last} of its chain are"),
            };
            self.fault(place.clone(), format!("{missing} missing before this one, which is line {}", line.sequence));
        } else if line.previous != Some(last_hash) {
            let what =
                format!("line {last} of its chain was changed: it is not the one that {place} was written after");
            self.fault(last_place, what);
        }
        let begins = line.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.is(BEGIN));
        let mut begins_again = false;
        if let Some(chain) = self.findings.chains.get_mut(&line.id) {
            begins_again = begins && !std::mem::take(&mut chain.begins_unsigned);
            chain.extend(place.clone(), self.findings.lines, line, hash);
        }
        if begins_again {
            self.fault(place, "the chain begins a second time");
        }
    }

    /// Takes the first line of a chain.
    fn begin(&mut self, place: Place, line: &Linked, hash: [u8; 32]) {
        let is_first = self.findings.lines == 1;
        let begins = line.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.is(BEGIN));
        match line.sequence {
            0 => {
                let before = line.previous;
                let continued = self.findings.chains.values_mut().find(|chain| Some(chain.hash) == before);
                match (continued, before) {
                    (Some(chain), _) => chain.continued(),
                    (None, None) => {}
                    (None, Some(hash)) if self.partial && is_first => {
                        self.elsewhere = Some((hash, place.clone()));
                    }
                    (None, Some(_)) if self.last == before => {}
                    (None, Some(_)) => {
                        let what = "the chain begins after a line that is not there: the end of the chain before it was cut off, \
                                    or its file is not named before this one";
                        self.fault(place.clone(), what);
                    }
                }
            }
            _ if self.partial => {}
            sequence => self.fault(place.clone(), missing_before(sequence)),
        }
        if self.findings.chains.len() >= MOST_CHAINS {
            self.fault(place, "there are too many chains; verify fewer files at a time");
            return;
        }
        let mut chain = Chain {
            first: (line.sequence, place.clone()),
            last: (line.sequence, place.clone()),
            hash,
            span: (self.findings.lines, self.findings.lines),
            begins_unsigned: !begins,
            covered: None,
            checkpoints: 0,
            lost: 0,
            ended: Ended::Open,
        };
        chain.extend(place, self.findings.lines, line, hash);
        self.findings.chains.insert(line.id.clone(), chain);
    }

    fn fault(&mut self, place: impl Into<Option<Place>>, what: impl Into<String>) {
        self.findings.fault_count = self.findings.fault_count.saturating_add(1);
        if self.findings.faults.len() < MOST_FAULTS {
            self.findings.faults.push(Fault { place: place.into(), what: what.into() });
        }
    }
}

impl Signed {
    fn is(&self, reason: &str) -> bool {
        self.good && self.reason.as_deref() == Some(reason)
    }
}

impl Chain {
    fn extend(&mut self, place: Place, number: u64, line: &Linked, hash: [u8; 32]) {
        self.last = (line.sequence, place);
        self.span.1 = number;
        self.hash = hash;
        self.ended = Ended::Open;
        if let Some(checkpoint) = line.checkpoint.as_ref().filter(|checkpoint| checkpoint.good) {
            self.covered = Some(line.sequence);
            self.checkpoints = self.checkpoints.saturating_add(1);
            self.lost = checkpoint.lost;
            if checkpoint.is(END) {
                self.ended = Ended::Sealed;
            }
        }
    }

    /// The next chain has the hash of the last line, and a signature.
    fn continued(&mut self) {
        self.covered = Some(self.last.0);
        if self.ended == Ended::Open {
            self.ended = Ended::Continued;
        }
    }
}

/// Whether what is missing at the beginning of a chain can be from before the files: it begins with them, or another chain goes
/// on around its first line, as where lines of several processes are collected. After one that has ended, its beginning would be
/// there too.
fn may_begin(chain: &Chain, all: &BTreeMap<String, Chain>) -> bool {
    let (first, _) = chain.span;
    let around = |other: &Chain| other.span.0 < first && other.span.1 > first;
    chain.first.0 == 0 || first == 1 || all.values().any(around)
}

fn missing_before(sequence: u64) -> String {
    format!(
        "the {sequence} lines of its chain before this one are missing: they were removed, or their file is not named before this one"
    )
}

/// A hash in base64url; `None` inside if it is null.
fn hash_of(value: &Value) -> Option<Option<[u8; 32]>> {
    if value.is_null() {
        return Some(None);
    }
    Some(Some(URL_SAFE_NO_PAD.decode(value.as_str()?).ok()?.try_into().ok()?))
}

/// Whether a text can be the ID of a chain, and be printed.
fn is_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

const STRAY: &str = "the line is in no chain: it was added, or changed, or is what is left of another";
const BEGIN: &str = "begin";
const END: &str = "end";
const WAY_OUT: &str = "make one with `openssl pkey -in KEY -pubout`";
/// How many faults are kept.
const MOST_FAULTS: usize = 100;
/// How many chains are told apart.
const MOST_CHAINS: usize = 10_000;
