//! `directories`: where it is published who takes part in an ecosystem.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fapi::directory::{DirectoryIndex, Format};
use fapi::policy::{ClaimPlace, InvalidPolicy, ParticipantRule};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::config::scalar;
use crate::directory::Settings;

impl Build<'_> {
    /// The directories, in the order of their names.
    pub(super) fn directories(&mut self, file: &mut File) -> Option<Vec<Settings>> {
        let at = KeyPath::of("directories");
        let named = |route: &file::Route| route.require.as_ref()?.participant.as_ref()?.directory.clone();
        let used: Vec<String> = file.routes.iter().flatten().filter_map(named).collect();
        let mut directories = Vec::new();
        for (name, entry) in file.directories.iter_mut().flatten() {
            let at = at.key(name);
            let is_used = used.contains(name);
            if !is_used {
                self.warn(&at, "no route names this directory in its `require.participant`");
            }
            directories.push(self.directory(&at, name, entry, is_used));
        }
        directories.into_iter().collect()
    }

    fn directory(&mut self, at: &KeyPath, name: &str, entry: &mut file::Directory, required: bool) -> Option<Settings> {
        let name = self.name(at, Some(name)).map(Arc::from);
        let kind = self.needed(&at.key("kind"), entry.kind.as_ref(), "write `uk`, `brazil` or `cdr`").copied();
        let url_at = at.key("url");
        let url = self.text(&url_at, entry.url.as_deref(), "write the https URL of its document").map(str::to_owned);
        let url = url.map(|url| self.endpoint(&url_at, &url));
        let headers = self.directory_headers(at, entry);
        let trust_anchors = self.anchors_of_servers(at, entry.trust_anchors.as_deref());
        let seconds = Duration::from_secs;
        let refresh = self.time_within(&at.key("refresh"), &mut entry.refresh, REFRESH, seconds(60)..=seconds(3600));
        let written = entry.refresh.unwrap_or(scalar::Duration(REFRESH));
        let keep = self.time_without_reads(&at.key("keep"), &mut entry.keep, ("refresh", written, refresh));
        let timeout = self.time_within(&at.key("timeout"), &mut entry.timeout, TIMEOUT, seconds(1)..=seconds(60));
        let settings = Settings {
            name: name?,
            format: format(kind?),
            url: url??,
            headers: headers?,
            trust_anchors: trust_anchors?,
            refresh: refresh?,
            keep: keep?,
            timeout: timeout?,
            required,
        };
        let Settings { name, format, refresh, keep, .. } = &settings;
        let (refresh, keep) = (scalar::Duration(*refresh), scalar::Duration(*keep));
        // A query may have a secret.
        let (host, path) = (crate::issuer::http::host(&settings.url), settings.url.path());
        let place = format!("https://{host}{path}");
        self.summary.push(format!(
            "directory {name}: {} at {place}; read every {refresh}; used for {keep} without being read",
            format.as_str()
        ));
        Some(settings)
    }

    /// The header fields of a request for the document.
    fn directory_headers(&mut self, at: &KeyPath, entry: &mut file::Directory) -> Option<HeaderMap> {
        let is_cdr = entry.kind == Some(file::DirectoryKind::Cdr);
        let written = entry.headers.get_or_insert_default();
        // Consumer Data Standards, Get Data Recipients: `x-v` is mandatory, and this is the version that is read.
        if is_cdr && !written.keys().any(|name| name.eq_ignore_ascii_case("x-v")) {
            written.insert("x-v".to_owned(), "3".to_owned());
        }
        let at_headers = at.key("headers");
        let (mut headers, mut whole) = (HeaderMap::new(), true);
        for (name, value) in &*written {
            let at = at_headers.key(name);
            match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                (Ok(name), _) if OWN.contains(&name) => {
                    let problem = "the gateway writes this field itself; remove the key. What authorizes the gateway is in a file, which `authorization_file` names";
                    self.problem(&at, problem);
                    whole = false;
                }
                (Ok(name), Ok(value)) if !headers.contains_key(&name) => drop(headers.insert(name, value)),
                (Ok(_), Ok(_)) => {
                    self.problem(&at, "the field is named twice; keep one");
                    whole = false;
                }
                (Err(_), _) => {
                    self.problem(&at, "this is not the name of a header field; correct it");
                    whole = false;
                }
                (_, Err(_)) => {
                    self.problem(&at, "the value has characters that no header field may have; correct it");
                    whole = false;
                }
            }
        }
        let authorization_at = at.key("authorization_file");
        if let Some(secret) = self.secret(&authorization_at, entry.authorization_file.as_ref())? {
            let Ok(mut value) = HeaderValue::from_str(&secret) else {
                self.problem(&authorization_at, "the file has characters that no header field may have; correct it");
                return None;
            };
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        whole.then_some(headers)
    }

    /// What a route says of the participant.
    pub(super) fn required_participant(
        &mut self,
        at: &KeyPath,
        entry: &file::RequiredParticipant,
        directories: &BTreeMap<String, file::Directory>,
    ) -> Option<ParticipantRule> {
        let directory_at = at.key("directory");
        let name = self.text(&directory_at, entry.directory.as_deref(), "name one of `directories`");
        let known = directories.keys().map(String::as_str);
        let index = name.and_then(|name| known.clone().position(|known| known == name));
        if let (Some(name), None) = (name, index) {
            let broken = self.report.lost_under(&KeyPath::of("directories"));
            self.unknown(&directory_at, "directory is named", name, known, broken);
        }
        let format = name.and_then(|name| directories.get(name)?.kind).map(format);
        if let (Some(_), Some(false)) = (&entry.software, format.map(Format::names_software)) {
            let problem =
                "a directory of this kind has no software, so nobody would pass; name the `organisation` alone";
            self.problem(&at.key("software"), problem);
        }
        let roles = match &entry.roles {
            None => Some(Vec::new()),
            Some(roles) => self.distinct(&at.key("roles"), Some(roles), "name a role, or remove the key").map(boxed),
        };
        if let (Some(_), Some(false)) = (&entry.roles, format.map(Format::names_roles)) {
            let problem = "a directory of this kind has no roles, so nobody would pass; remove the key";
            self.problem(&at.key("roles"), problem);
        }
        let organisation = self.named_by(&at.key("organisation"), entry.organisation.as_ref());
        let software = self.named_by(&at.key("software"), entry.software.as_ref());
        let directory = (DirectoryIndex(index?), name?);
        match ParticipantRule::new(directory, organisation?, software?, roles?) {
            Err(error @ InvalidPolicy::Participant) => {
                // One whose value cannot be read is not missing.
                let written = ["organisation", "software"].map(|key| at.key(key));
                self.report.problem_unless(&written, at, &error.to_string());
                None
            }
            rule => self.valid(at, rule),
        }
    }

    fn named_by(&mut self, at: &KeyPath, entry: Option<&file::NamedBy>) -> Option<Option<ClaimPlace>> {
        let Some(entry) = entry else { return Some(None) };
        self.claim_place(at, entry.claim.as_deref(), "write a JSON pointer, such as `/org_id`").map(Some)
    }
}

const fn format(kind: file::DirectoryKind) -> Format {
    match kind {
        file::DirectoryKind::Uk => Format::Uk,
        file::DirectoryKind::Brazil => Format::Brazil,
        file::DirectoryKind::Cdr => Format::Cdr,
    }
}

fn boxed(names: &[String]) -> Vec<Box<str>> {
    names.iter().map(|name| name.as_str().into()).collect()
}

/// The fields of a request that are not an operator's to write.
const OWN: [HeaderName; 12] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::HOST,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::RANGE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const REFRESH: Duration = Duration::from_secs(300);
const TIMEOUT: Duration = Duration::from_secs(30);
