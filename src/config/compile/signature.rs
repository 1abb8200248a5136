//! `routes[].signature` and `client_keys`: HTTP message signatures.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use fapi::authorization_server::client::RegisteredClient;
use fapi::jose::json::parse_object;
use fapi::jose::keys::KeySet;
use fapi::signature::component::{Component, Derived};
use fapi::signature::profile::REQUEST_TAG;
use fapi::signature::rules::{Covers, Presence, Replay, RequestRules, ResponseRules, SignatureRules};

use super::Build;
use super::MIB;
use crate::authorization_server;
use crate::config::NamedFiles;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::config::scalar::FilePath;
use crate::resource::Kind;
use crate::signatures::{Settings, Source};

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
            let trust_anchors = self.client_trust_anchors(at, entry.trust_anchors.as_deref());
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
    fn client_key_file(&mut self, at: &KeyPath, path: &FilePath) -> Option<HashMap<Box<str>, Arc<KeySet>>> {
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
            match KeySet::parse_with_ps512(set.to_string().as_bytes()) {
                Ok(set) => {
                    if let Some(keys) = &mut keys {
                        keys.insert(client.as_str().into(), Arc::new(set));
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
        let request = match entry.request {
            Some(presence) => self.signed_requests(at, presence, entry, client_keys).map(Some),
            None => {
                let surplus = [
                    ("profile", entry.profile.is_some()),
                    ("components", entry.components.is_some()),
                    ("tag", entry.tag.is_some()),
                    ("max_age", entry.max_age.is_some()),
                    ("replay", entry.replay.is_some()),
                    ("keys", entry.keys.is_some()),
                ];
                let problem = "nobody looks at the signatures of requests, so this has no effect; add `request: required`, or remove the key";
                self.refuse_written(at, &surplus, problem).map(|()| None)
            }
        };
        let response = self.signed_responses(at, entry);
        if entry.request.is_none() && entry.response.is_none() {
            let (request, response) = (at.key("request"), at.key("response"));
            let problem = "neither requests nor responses are signed; write `request`, `response` or both";
            self.report.problem_unless(&[request, response], at, problem);
            return None;
        }
        Some(Some(SignatureRules { request: request?, response: response? }))
    }

    fn signed_requests(
        &mut self,
        at: &KeyPath,
        presence: file::SignedRequests,
        entry: &mut file::Signature,
        client_keys: &BTreeMap<String, file::ClientKeys>,
    ) -> Option<RequestRules> {
        let profile = *entry.profile.get_or_insert_default();
        let components = self.components(&at.key("components"), entry.components.as_deref());
        let (covers, tag) = match profile {
            file::SignatureProfile::Fapi2 => {
                if entry.tag.is_some() {
                    let problem = format!("with `profile: fapi2` the tag is `{REQUEST_TAG}`; remove the key");
                    self.problem(&at.key("tag"), problem);
                }
                (Covers::Fapi2, Some(REQUEST_TAG.into()))
            }
            file::SignatureProfile::Custom => {
                if entry.components.is_none() {
                    let problem = "the key is missing; with `profile: custom` it says what a signature covers, such as `[\"@method\", \"@target-uri\"]`";
                    self.problem(&at.key("components"), problem);
                }
                let tag = entry.tag.as_deref();
                let tag = tag.map(|tag| self.tag(&at.key("tag"), tag));
                (Covers::Content, tag.flatten())
            }
        };
        let max_age = self.seconds(&at.key("max_age"), &mut entry.max_age, 60, 1..=300);
        let replay = match entry.replay.get_or_insert_default() {
            file::SignatureReplay::Remember => Replay::Remember,
            file::SignatureReplay::RememberAll => Replay::RememberAll,
            file::SignatureReplay::Ignore => Replay::Ignore,
        };
        let keys_at = at.key("keys");
        let name = self.text(&keys_at, entry.keys.as_deref(), "name one of `client_keys`");
        let keys = name.and_then(|name| {
            let known = client_keys.keys().map(String::as_str);
            let index = known.clone().position(|known| known == name);
            if index.is_none() {
                let broken = self.report.lost_under(&KeyPath::of("client_keys"));
                self.unknown(&keys_at, "entry of `client_keys` is named", name, known, broken);
            }
            index
        });
        let presence = match presence {
            file::SignedRequests::Required => Presence::Required,
            file::SignedRequests::WhenPresent => Presence::WhenPresent,
        };
        let (components, max_age, keys) = (components?, max_age?, keys?);
        Some(RequestRules { presence, covers, components, tag, max_age, clock_skew: 10, replay, keys })
    }

    /// RFC 9421 §2.3: a tag is a string, which is printable ASCII (RFC 8941 §3.3.3).
    fn tag(&mut self, at: &KeyPath, tag: &str) -> Option<Box<str>> {
        let tag = self.text(at, Some(tag), "write the tag, or remove the key")?;
        if !tag.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.problem(at, "a tag is printable ASCII; write another");
            return None;
        }
        Some(tag.into())
    }

    fn components(&mut self, at: &KeyPath, texts: Option<&[String]>) -> Option<Vec<Component>> {
        let Some(texts) = texts else { return Some(Vec::new()) };
        let way_out = "name a component such as `x-idempotency-key`, or remove the key";
        let texts = self.distinct(at, Some(texts), way_out)?;
        let mut components = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            // A name alone is an identifier without parameters.
            let whole = if text.starts_with('"') { text.clone() } else { format!("\"{text}\"") };
            let of_response =
                |component: &Component| component.is_of_request() || *component == Component::derived(Derived::Status);
            match Component::from_str(&whole) {
                Ok(component) if of_response(&component) => {
                    self.problem(&at.index(index), "the component is one of responses; remove it");
                    components.push(None);
                }
                Ok(component) => components.push(Some(component)),
                Err(error) => {
                    self.problem(&at.index(index), format!("{error}; {way_out}"));
                    components.push(None);
                }
            }
        }
        components.into_iter().collect()
    }

    fn signed_responses(&mut self, at: &KeyPath, entry: &mut file::Signature) -> Option<Option<ResponseRules>> {
        if entry.response.is_none() {
            let surplus = [("response_bytes", entry.response_bytes.is_some())];
            let problem = "responses are not signed, so this has no effect; add `response: sign`, or remove the key";
            return self.refuse_written(at, &surplus, problem).map(|()| None);
        }
        if !self.signing.is_written() {
            let problem = "there is no key to sign with; add the section `signing`, or remove this key";
            self.problem(&at.key("response"), problem);
        }
        let bytes_at = at.key("response_bytes");
        let content_bytes = self.size_within(&bytes_at, &mut entry.response_bytes, 10 * MIB, 1024..=64 * MIB);
        Some(Some(ResponseRules { content_bytes: content_bytes? }))
    }
}

/// For operators, what a route says of signatures.
pub(super) fn describe_signature(entry: &file::Signature) -> String {
    let keys = entry.keys.as_deref().unwrap_or_default();
    let request = entry.request.map(|presence| match presence {
        file::SignedRequests::Required => format!("requests signed by the keys of `{keys}`"),
        file::SignedRequests::WhenPresent => format!("signatures of requests verified with the keys of `{keys}`"),
    });
    let response = entry.response.map(|_| "responses signed".to_owned());
    request.into_iter().chain(response).collect::<Vec<_>>().join(", ")
}
