//! `issuers[].introspection.decryption_keys`, the keys that an issuer encrypts its responses for (RFC 9701 §5), and
//! `routes[].signature.decryption_keys`, those that clients encrypt content for.

use fapi::jose::jwe::{DecryptionKey, DecryptionKeys};
use zeroize::Zeroizing;

use super::Build;
use super::signing::P_256;
use crate::config::NamedFiles;
use crate::config::error::KeyPath;
use crate::config::file;

impl Build<'_> {
    /// The keys of a list; where files are not read, one that nobody else has in place of them.
    pub(super) fn decryption_keys(
        &mut self,
        at: &KeyPath,
        entries: &mut [file::DecryptionKey],
        senders: Senders,
    ) -> Option<DecryptionKeys> {
        let way_out = "add a key, such as `private_key: keys/encryption.pem`, or remove the list";
        let entries = self.entries(at, Some(entries), way_out)?;
        if entries.len() > MOST {
            let count = entries.len();
            self.problem(
                at,
                format!("there are {count} keys, and at most {MOST} are tried; remove those that are old"),
            );
            return None;
        }
        let all = entries.len();
        let mut keys: Vec<Option<DecryptionKey>> = Vec::new();
        let mut ids: Vec<Option<&str>> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let here = at.index(index);
            let key = self.decryption_key(&here, entry);
            let same = keys.iter().position(|other| match (other, &key) {
                (Some(other), Some(key)) => other.thumbprint() == key.thumbprint(),
                (None, _) | (_, None) => false,
            });
            let id = entry.key_id.as_deref();
            if senders == Senders::Anybody && all > 1 && id.is_none() {
                let problem = "the key is missing; with several keys, clients name the one that they encrypt for, so that nothing costs more than one decryption";
                self.problem(&here.key("key_id"), problem);
            }
            let namesake = ids.iter().position(|other| id.is_some() && *other == id);
            if let Some(place) = same {
                let first = at.index(place);
                let problem = format!("{first} is the same key; name the file of another key, or remove the entry");
                self.problem(&here.key("private_key"), problem);
            } else if let (Some(place), Some(id)) = (namesake, id) {
                let first = at.index(place);
                let problem = format!("{first} is named `{id}` too; choose another name, which tells the two apart");
                self.problem(&here.key("key_id"), problem);
            }
            keys.push(key);
            ids.push(id);
        }
        if self.named_files == NamedFiles::Unread {
            return Some(DecryptionKeys::new(DecryptionKey::generate(None).into_iter().collect()));
        }
        keys.into_iter().collect::<Option<Vec<_>>>().map(match senders {
            Senders::Issuer => DecryptionKeys::new,
            Senders::Anybody => DecryptionKeys::by_name,
        })
    }

    /// One key; `None` where files are not read.
    fn decryption_key(&mut self, at: &KeyPath, entry: &file::DecryptionKey) -> Option<DecryptionKey> {
        let key_at = at.key("private_key");
        let path = self.needed(&key_at, entry.private_key.as_ref(), "name the PEM file of the key");
        let der = path.and_then(|path| self.private_key(&key_at, path)).map(Zeroizing::new);
        let key_id = match entry.key_id.as_deref() {
            None => None,
            key_id => {
                Some(self.text(&at.key("key_id"), key_id, "write the `kid` that is registered, or remove the key")?)
            }
        };
        if self.named_files == NamedFiles::Unread {
            return None;
        }
        match DecryptionKey::from_der(&*der?, key_id) {
            Ok(key) => Some(key),
            Err(error) => {
                self.problem(&key_at, format!("{error}; create another key: {P_256}"));
                None
            }
        }
    }
}

/// Who encrypts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Senders {
    /// An issuer, which may have names of its own for the keys.
    Issuer,
    /// Any client.
    Anybody,
}

/// How many keys there are at most: what names none of them costs one decryption with each.
const MOST: usize = 8;
