//! `routes[].signature` and `client_keys`: signatures of messages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fapi::authorization_server::client::RegisteredClient;
use fapi::jose::json::parse_object;
use fapi::jose::keys::KeySet;
use fapi::signature::form::Form;
use fapi::signature::rules::{Presence, Replay, RequestRules, SignatureRules};
use fapi::signed_body::directory::DirectoryName;

use super::Build;
use crate::authorization_server;
use crate::config::NamedFiles;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::config::scalar::FilePath;
use crate::resource::Kind;
use crate::signatures::{Listed, Settings, Source};

impl Build<'_> {
    /// The sets of keys, in the order of their names.
    pub(super) fn client_keys(
        &mut self,
        file: &File,
        servers: Option<&[authorization_server::Settings]>,
    ) -> Option<Vec<Settings>> {
        let at = KeyPath::of("client_keys");
        let mut sets = Vec::new();
        for (name, entry) in file.client_keys.iter().flatten() {
            let at = at.key(name);
            let name = self.name(&at, Some(name)).map(Arc::from);
            let source = self.client_key_source(&at, entry, servers);
            let mut used = file.routes.iter().flatten().filter_map(|route| route.signature.as_ref()?.keys.as_ref());
            if let Some(name) = &name
                && !used.any(|used| *used == **name)
            {
                self.warn(&at, "no route names these keys in its `signature.keys`");
            }
            sets.push(name.zip(source).map(|(name, source)| Settings { name, source }));
        }
        sets.into_iter().collect()
    }

    fn client_key_source(
        &mut self,
        at: &KeyPath,
        entry: &file::ClientKeys,
        servers: Option<&[authorization_server::Settings]>,
    ) -> Option<Source> {
        let written = [entry.directory.is_some(), entry.file.is_some(), entry.authorization_server.is_some()]
            .iter()
            .filter(|is| **is)
            .count();
        if written != 1 {
            let problem = "the entry names the keys in one place; write `directory`, `file` or `authorization_server`, and no other of them";
            self.problem(at, problem);
            return None;
        }
        if entry.directory.is_none() && entry.trust_anchors.is_some() {
            let problem = "only clients of a `directory` publish keys at other hosts; remove the key";
            self.problem(&at.key("trust_anchors"), problem);
        }
        if entry.directory.is_some() {
            let trust_anchors = self.anchors_of_servers(at, entry.trust_anchors.as_deref());
            let clients = self.clients(&at.key("directory"), entry.directory.as_ref(), RegisteredClient::parse_keys);
            return Some(Source::Clients { clients: clients?, trust_anchors: trust_anchors? });
        }
        if let Some(path) = &entry.file {
            return self.client_key_file(&at.key("file"), path).map(Source::File);
        }
        let name = entry.authorization_server.as_deref()?;
        let known = servers.into_iter().flatten().map(|server| &*server.name);
        let index = known.clone().position(|known| known == name);
        if index.is_none() {
            self.unknown(
                &at.key("authorization_server"),
                "authorization server is named",
                name,
                known,
                servers.is_none(),
            );
        }
        index.map(Source::AuthorizationServer)
    }

    /// The JWK Set of each client in a file.
    fn client_key_file(&mut self, at: &KeyPath, path: &FilePath) -> Option<HashMap<Box<str>, Arc<Listed>>> {
        if self.named_files == NamedFiles::Unread {
            return Some(HashMap::new());
        }
        let document = self.read(at, path, Kind::Client)?;
        let shown = path.0.display();
        let Ok(members) = parse_object(&document) else {
            let problem = format!(
                "`{shown}` is not a JSON object in which each member appears once; write `{{\"<client_id>\": {{\"keys\": [...]}}}}`"
            );
            self.problem(at, problem);
            return None;
        };
        if members.is_empty() {
            self.problem(at, format!("`{shown}` names no client, so that no signature would hold; add one"));
            return None;
        }
        let mut keys = Some(HashMap::new());
        for (client, set) in &members {
            let listed = KeySet::parse_with_ps512(set.to_string().as_bytes()).map_err(|error| error.to_string());
            let name = set.as_object().map_or(Ok(DirectoryName::default()), DirectoryName::read);
            match listed.and_then(|keys| name.map(|name| (keys, name)).map_err(|error| error.to_string())) {
                Ok((set, name)) => {
                    if let Some(keys) = &mut keys {
                        keys.insert(client.as_str().into(), Listed { keys: Arc::new(set), name }.into());
                    }
                }
                Err(error) => {
                    self.problem(at, format!("`{shown}`: the keys of the client {client:?}: {error}"));
                    keys = None;
                }
            }
        }
        keys
    }

    /// What a route says of signatures; nothing without the section.
    pub(super) fn signature(
        &mut self,
        at: &KeyPath,
        entry: Option<&mut file::Signature>,
        client_keys: &BTreeMap<String, file::ClientKeys>,
    ) -> Option<Option<SignatureRules>> {
        let Some(entry) = entry else { return Some(None) };
        let profile = entry.profile.unwrap_or_default();
        let fitting = self.refuse_keys_of_others(at, profile, entry);
        // The name of the client in the directory is needed for its answers too.
        let keys = match (profile, entry.request, entry.response) {
            (file::SignatureProfile::BerlinGroup, _, _) => Some(None),
            (file::SignatureProfile::Brazil, _, Some(_)) | (_, Some(_), _) => {
                self.keys_of_signers(at, entry, client_keys).map(Some)
            }
            (_, None, _) => Some(None),
        };
        let form = self.signed_form(at, profile, entry);
        let request = match entry.request {
            Some(presence) => self.signed_requests(at, presence, entry, form, keys).map(Some),
            None => {
                let surplus = [
                    ("components", entry.components.is_some()),
                    ("tag", entry.tag.is_some()),
                    ("max_age", entry.max_age.is_some()),
                    ("replay", entry.replay.is_some()),
                    ("seal_trust_anchors", entry.seal_trust_anchors.is_some()),
                    ("seal_revocation_lists", entry.seal_revocation_lists.is_some()),
                    ("forward", entry.forward.is_some()),
                    ("decryption_keys", entry.decryption_keys.is_some()),
                    ("profile", entry.profile.is_some() && (profile.is_of_fields() || entry.response.is_none())),
                    ("keys", entry.keys.is_some() && keys.is_some_and(|keys| keys.is_none())),
                ];
                let problem = "nobody looks at the signatures of requests, so this has no effect; add `request: required`, or remove the key";
                self.refuse_written(at, &surplus, problem).map(|()| None)
            }
        };
        let response = self.signed_responses(at, profile, entry, keys);
        if entry.request.is_none() && entry.response.is_none() {
            let (request, response) = (at.key("request"), at.key("response"));
            let problem = "neither requests nor responses are signed; write `request`, `response` or both";
            self.report.problem_unless(&[request, response], at, problem);
            return None;
        }
        fitting?;
        Some(Some(SignatureRules { request: request?, response: response? }))
    }

    fn signed_requests(
        &mut self,
        at: &KeyPath,
        presence: file::SignedRequests,
        entry: &mut file::Signature,
        form: Option<Form>,
        keys: Option<Option<usize>>,
    ) -> Option<RequestRules> {
        entry.profile.get_or_insert_default();
        let max_age = self.seconds(&at.key("max_age"), &mut entry.max_age, 60, 1..=300);
        let replay = match entry.replay.get_or_insert_default() {
            file::SignatureReplay::Remember => Replay::Remember,
            file::SignatureReplay::RememberAll => Replay::RememberAll,
            file::SignatureReplay::Ignore => Replay::Ignore,
        };
        let presence = match presence {
            file::SignedRequests::Required => Presence::Required,
            file::SignedRequests::WhenPresent => Presence::WhenPresent,
        };
        let (form, max_age, keys) = (form?, max_age?, keys?);
        Some(RequestRules { presence, form, max_age, clock_skew: 10, replay, keys })
    }

    /// The set of keys that a route names.
    fn keys_of_signers(
        &mut self,
        at: &KeyPath,
        entry: &file::Signature,
        client_keys: &BTreeMap<String, file::ClientKeys>,
    ) -> Option<usize> {
        let keys_at = at.key("keys");
        let name = self.text(&keys_at, entry.keys.as_deref(), "name one of `client_keys`")?;
        let known = client_keys.keys().map(String::as_str);
        let index = known.clone().position(|known| known == name);
        if index.is_none() {
            let broken = self.report.lost_under(&KeyPath::of("client_keys"));
            self.unknown(&keys_at, "entry of `client_keys` is named", name, known, broken);
        }
        index
    }
}

/// For operators, what a route says of signatures.
pub(super) fn describe_signature(entry: &file::Signature) -> String {
    let keys = entry.keys.as_deref().unwrap_or_default();
    let profile = entry.profile.unwrap_or_default();
    let of = if profile.is_of_fields() { String::new() } else { format!(" ({})", profile.as_str()) };
    let request = entry.request.map(|presence| match (presence, profile) {
        (file::SignedRequests::Required, file::SignatureProfile::BerlinGroup) => format!("requests sealed{of}"),
        (file::SignedRequests::WhenPresent, file::SignatureProfile::BerlinGroup) => {
            format!("seals of requests verified{of}")
        }
        (file::SignedRequests::Required, _) => format!("requests signed by the keys of `{keys}`{of}"),
        (file::SignedRequests::WhenPresent, _) => {
            format!("signatures of requests verified with the keys of `{keys}`{of}")
        }
    });
    let response = entry.response.map(|_| format!("responses signed{of}"));
    request.into_iter().chain(response).collect::<Vec<_>>().join(", ")
}
