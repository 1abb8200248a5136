//! `signing`: the gateway's own keys, and who it says it is to its upstreams.

use std::sync::Arc;

use fapi::jose::signing::PrivateKey;
use fapi::jose::signing_keys::{JwtSigner, NamedKey, SigningKeys};
use reqwest::Url;
use zeroize::Zeroizing;

use super::Build;
use super::url::shown;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::config::{NamedFiles, Profile};

/// What other sections sign with.
#[derive(Default)]
pub(super) struct Signing {
    /// Whether there is such a section, good or bad.
    written: bool,
    /// Whether it has an issuer, good or bad.
    has_issuer: bool,
    issuer: Option<Box<str>>,
    /// Whether the first key is in a token.
    in_token: bool,
    keys: Option<Arc<SigningKeys>>,
}

impl Signing {
    /// The keys; none without the section, and where files are not read.
    pub(super) fn keys(&self) -> Option<Arc<SigningKeys>> {
        self.keys.clone()
    }

    /// Whether there is such a section, good or bad.
    pub(super) const fn is_written(&self) -> bool {
        self.written
    }
}

impl Build<'_> {
    pub(super) fn signing(&mut self, file: &mut File, profile: Option<Profile>) -> Signing {
        let at = KeyPath::of("signing");
        let Some(entry) = &mut file.signing else {
            return Signing { written: self.report.lost_under(&at), ..Signing::default() };
        };
        let first = entry.keys.iter().flatten().next().and_then(|first| first.private_key.as_ref());
        let in_token = matches!(first, Some(file::PrivateKey::Token(_)));
        let issuer = entry.issuer.as_deref().map(|issuer| self.own_issuer(&at.key("issuer"), issuer));
        let keys = self.signing_keys(&at.key("keys"), entry.keys.as_deref_mut(), profile);
        if let Some((signer, others)) = keys.as_deref().and_then(|keys| keys.split_first()) {
            let shown = |key: &NamedKey| format!("{} ({})", key.key_id(), key.algorithm().as_str());
            let others: Vec<String> = others.iter().map(shown).collect();
            let others =
                if others.is_empty() { String::new() } else { format!("; published beside it: {}", others.join(", ")) };
            self.summary.push(format!("signing: {} signs{others}", shown(signer)));
        }
        let keys = keys.filter(|_| self.named_files == NamedFiles::Read).and_then(|mut keys| {
            let others = keys.split_off(keys.len().min(1));
            Some(Arc::new(SigningKeys::new(keys.pop()?, &others)))
        });
        if keys.is_some() && file.admin.is_none() {
            self.warn(&at.key("keys"), "nobody can read the key set; add `admin`, which has it at `/jwks.json`");
        }
        Signing { written: true, has_issuer: issuer.is_some(), issuer: issuer.flatten(), in_token, keys }
    }

    /// What signs JWTs of this type for the key at `at`; `None` if the section has a problem, and where files are not read.
    pub(super) fn jwt_signer(&mut self, at: &KeyPath, typ: &str) -> Option<JwtSigner> {
        if !self.signing.written {
            self.problem(at, "there is no key to sign with; add the section `signing`, or remove this key");
        }
        if self.signing.in_token {
            let problem =
                "the first key of `signing` is in a token, which takes too long for this; put a key in a file first";
            self.problem(at, problem);
        }
        Some(JwtSigner::new(self.signing.keys.clone()?, typ))
    }

    /// Who the gateway says it is to its upstreams; `None` if the section has a problem.
    pub(super) fn signing_issuer(&mut self) -> Option<Box<str>> {
        if self.signing.written && !self.signing.has_issuer {
            let problem = "the key is missing, and `forward.identity_jwt` needs it; write how upstreams know the gateway, such as `https://api.bank.example`";
            self.problem(&KeyPath::of("signing").key("issuer"), problem);
        }
        self.signing.issuer.clone()
    }

    /// Who signs responses; `None` if the section has a problem, which is reported where it is.
    pub(super) fn response_issuer(&mut self, profile: &str) -> Option<Box<str>> {
        if self.signing.written && !self.signing.has_issuer {
            let problem = format!(
                "the key is missing, and signed responses with `profile: {profile}` need it; write how clients know the gateway, which is how the directory names its operator"
            );
            self.problem(&KeyPath::of("signing").key("issuer"), problem);
        }
        self.signing.issuer.clone()
    }

    /// RFC 7519 §2: a StringOrURI is any text, and a URI if it has a colon.
    fn own_issuer(&mut self, at: &KeyPath, issuer: &str) -> Option<Box<str>> {
        let way_out = "write a URL such as `https://api.bank.example`, or a name";
        let issuer = self.text(at, Some(issuer), way_out)?;
        if !issuer.bytes().all(|b| b.is_ascii_graphic()) || (issuer.contains(':') && Url::parse(issuer).is_err()) {
            self.problem(
                at,
                format!("{} is neither a URL nor a name without a colon and spaces; {way_out}", shown(issuer)),
            );
            return None;
        }
        Some(issuer.into())
    }

    fn signing_keys(
        &mut self,
        at: &KeyPath,
        entries: Option<&mut [file::SigningKey]>,
        profile: Option<Profile>,
    ) -> Option<Vec<NamedKey>> {
        let entries = self.entries(at, entries, "add a key, such as `private_key: keys/signing.pem`")?;
        let mut keys: Vec<Option<NamedKey>> = Vec::new();
        let mut ids: Vec<Option<String>> = Vec::new();
        for (index, entry) in entries.iter_mut().enumerate() {
            let here = at.index(index);
            let key = self.signing_key(&here, entry, profile);
            let same = keys.iter().position(|other| match (other, &key) {
                (Some(other), Some(key)) => other.thumbprint() == key.thumbprint(),
                (None, _) | (_, None) => false,
            });
            let id = entry.key_id.clone();
            let namesake = ids.iter().position(|other| id.is_some() && *other == id);
            if let Some(place) = same {
                let first = at.index(place);
                let problem = format!("{first} is the same key; name the file of another key, or remove the entry");
                self.problem(&here.key("private_key"), problem);
            } else if let (Some(place), Some(id)) = (namesake, &id) {
                let first = at.index(place);
                let problem = format!("{first} is named `{id}` too; choose another name, which tells the two apart");
                self.problem(&here.key("key_id"), problem);
            }
            keys.push(key);
            ids.push(id);
        }
        keys.into_iter().collect()
    }

    /// One key, whose `kid` becomes part of the entry; `None` where files are not read.
    fn signing_key(
        &mut self,
        at: &KeyPath,
        entry: &mut file::SigningKey,
        profile: Option<Profile>,
    ) -> Option<NamedKey> {
        let key_at = at.key("private_key");
        let written = self.needed(&key_at, entry.private_key.as_ref(), "name the PEM file of the key");
        let key = match written {
            Some(file::PrivateKey::File(path)) => {
                let der = self.private_key(&key_at, path).map(Zeroizing::new);
                der.map(|der| (self.named_files == NamedFiles::Read).then(|| PrivateKey::from_der(&der)))
            }
            Some(file::PrivateKey::Token(token)) => {
                let opened = self.token_key(&key_at, token);
                opened.map(|opened| opened.map(|opened| Ok(opened.key)))
            }
            None => None,
        };
        let key_id = match entry.key_id.as_deref() {
            None => Some(None),
            key_id => self.text(&at.key("key_id"), key_id, "write the `kid`, or remove the key").map(Some),
        };
        let key_id = key_id.map(|key_id| key_id.map(str::to_owned));
        if self.named_files == NamedFiles::Unread {
            self.key_algorithm(at, &mut entry.algorithm, profile, None)?;
            return None;
        }
        let key = match key?? {
            Ok(PrivateKey::Rsa(key)) if key.public_modulus_len() > LARGEST_RSA => {
                Err("an RSA key of more than 4096 bits takes too long to sign with".to_owned())
            }
            Ok(key) => {
                self.key_algorithm(at, &mut entry.algorithm, profile, Some(key.algorithm()))?;
                NamedKey::new(key, key_id?.as_deref()).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match key {
            Ok(key) => {
                entry.key_id.get_or_insert_with(|| key.key_id().to_owned());
                Some(key)
            }
            Err(problem) => {
                self.problem(&key_at, format!("{problem}; create another key: {P_256}"));
                None
            }
        }
    }
}

/// How a good key is made.
pub(super) const P_256: &str = "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`";

/// The largest RSA modulus, in bytes: a signature takes several times as long as with half of it, and keeps a thread busy.
const LARGEST_RSA: usize = 512;
