//! `issuers`: what the tokens of an authorization server must satisfy (RFC 8414 §2, RFC 9068 §4).

use std::collections::BTreeSet;
use std::time::Duration;

use fapi::jose::keys::Algorithm;
use fapi::profile::{Period, Profile, RS256, Waivable};
use fapi::route::Routes;
use fapi::token::Expected;
use reqwest::Url;

use super::Build;
use super::access_token;
use super::url::shown;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::config::scalar;
use crate::{authorization_server, issuer};

impl Build<'_> {
    pub(super) fn issuers(&mut self, file: &mut File, profile: Option<Profile>) -> Option<Vec<issuer::Settings>> {
        let at = KeyPath::of("issuers");
        let Some(entries) = &mut file.issuers else {
            if file.routes.iter().flatten().any(|route| route.public != Some(true)) {
                self.problem(
                    &at,
                    "the key is missing, and there are routes that are not public; add the issuer of their tokens",
                );
            }
            return Some(Vec::new());
        };
        if entries.is_empty() {
            self.report.empty(&at, "the list is empty; add an issuer, or remove the key if every route is public");
        }
        let mut issuers = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for (index, entry) in entries.iter_mut().enumerate() {
            let at = at.index(index);
            let name = name_of(entry);
            if let Some(first) = names.iter().position(|other| *other == name && !name.is_empty()) {
                let first = self.shown_beside(&KeyPath::of("issuers").index(first), &at);
                self.problem(&at.key("name"), format!("{first} is named `{name}` too; choose another name"));
            }
            issuers.push(self.issuer(&at, entry, profile, &name));
            names.push(name);
        }
        issuers.into_iter().collect()
    }

    /// Warns of the issuers that nothing uses; readiness does not wait for them.
    pub(super) fn warn_of_unused_issuers(
        &mut self,
        issuers: &mut [issuer::Settings],
        routes: &Routes,
        servers: &[authorization_server::Settings],
    ) {
        let policies = routes.iter().filter_map(|route| route.policy());
        let used: BTreeSet<usize> = policies.flat_map(|policy| policy.issuers()).map(|index| index.0).collect();
        for (index, issuer) in issuers.iter_mut().enumerate() {
            // Its keys verify the responses of a server behind the gateway, or that is asked about its own tokens.
            let is_behind = servers.iter().any(|server| server.rules.issuer == issuer.expected.issuer);
            let answers = issuer.needs_keys() || issuer.introspection.is_some();
            let is_used = used.contains(&index) || issuer.security_events || is_behind && answers;
            if !is_used {
                self.warn(&KeyPath::of("issuers").index(index), "no route uses this issuer");
                issuer.required = false;
            }
        }
    }

    fn issuer(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Issuer,
        profile: Option<Profile>,
        name: &str,
    ) -> Option<issuer::Settings> {
        if entry.name.is_some() {
            self.name(&at.key("name"), entry.name.as_deref());
        }
        let issuer_at = at.key("issuer");
        let issuer =
            self.text(&issuer_at, entry.issuer.as_deref(), "write the exact `iss` of its tokens").map(str::to_owned);
        let url = issuer.as_deref().map(https_url);
        if let Some(Err(problem)) = &url {
            self.problem(&issuer_at, problem);
        }
        // RFC 8414 §2: "a URL that uses the "https" scheme and has no query or fragment components."
        if let Some(issuer) = &issuer
            && issuer.contains(['?', '#'])
        {
            self.problem(
                &issuer_at,
                format!("{} has a query or fragment, which no issuer may have; remove it", shown(issuer)),
            );
        }
        let audiences_at = at.key("audiences");
        let way_out = "name at least one value of `aud` that means this resource, such as `https://api.bank.example`";
        let audiences = self.audiences(&audiences_at, entry.audiences.as_deref(), way_out);
        let introspected = *entry.tokens.get_or_insert(file::Tokens::Jwt) == file::Tokens::Introspection;
        let introspection_at = at.key("introspection");
        let introspection = match &mut entry.introspection {
            Some(section) if introspected => {
                self.introspection(&introspection_at, section, profile, audiences.as_deref()).map(Some)
            }
            Some(section) => {
                let built = self.introspection(&introspection_at, section, profile, audiences.as_deref());
                self.warn(
                    &introspection_at,
                    "the issuer's tokens are verified with its keys, so this has no effect; write `tokens: introspection` to use it, or remove the key",
                );
                built.map(|_| None)
            }
            None if introspected => {
                let problem =
                    "the key is missing; write `client_id` and `authentication`, so that the issuer can be asked";
                self.problem(&introspection_at, problem);
                None
            }
            None => Some(None),
        };
        let algorithms = self.algorithms(&at.key("algorithms"), entry, profile, name);
        let form = self.access_token(&at.key("access_token"), entry.access_token.as_mut(), introspected);
        let jwks_uri = match entry.jwks_uri.as_deref() {
            None => Some(None),
            Some(url) => self.endpoint(&at.key("jwks_uri"), url).map(Some),
        };
        let jwks = self.jwks(&at.key("jwks"), entry.jwks.get_or_insert_default());
        let trust_anchors = self.anchors_of_servers(at, entry.trust_anchors.as_deref());
        let (issuer, audiences, (algorithms, rs256), _) = (issuer?, audiences?, algorithms?, url?.ok()?);
        entry.name.get_or_insert_with(|| name.to_owned());
        self.warn_of_audiences(&audiences_at, &issuer, &audiences);
        let settings = issuer::Settings {
            expected: Expected { name: name.into(), issuer: issuer.into(), audiences, algorithms, rs256, form: form? },
            jwks_uri: jwks_uri?,
            jwks: jwks?,
            trust_anchors: trust_anchors?,
            introspection: introspection?,
            sharing: None,
            required: *entry.required.get_or_insert(true),
            security_events: false,
        };
        self.summary.push(describe_issuer(&settings, entry));
        Some(settings)
    }

    /// Values of `aud`; none of them is empty or written twice.
    pub(super) fn audiences(
        &mut self,
        at: &KeyPath,
        written: Option<&[String]>,
        way_out: &str,
    ) -> Option<Vec<Box<str>>> {
        let written = self.distinct(at, written, way_out)?;
        for (index, _) in written.iter().enumerate().filter(|(_, audience)| audience.trim().is_empty()) {
            self.problem(&at.index(index), "the audience is empty; write it as the issuer does or remove it");
        }
        Some(written.iter().map(|audience| audience.as_str().into()).collect())
    }

    /// A URL of the issuer that the gateway sends requests to.
    pub(super) fn endpoint(&mut self, at: &KeyPath, text: &str) -> Option<Url> {
        let problem = match https_url(text) {
            Ok(url) if url.fragment().is_none() => return Some(url),
            Ok(_) => "the URL has a fragment, which is never sent; remove it".to_owned(),
            Err(problem) => problem,
        };
        self.problem(at, problem);
        None
    }

    /// Warns of values that tokens for other resources of an issuer have too.
    fn warn_of_audiences(&mut self, at: &KeyPath, issuer: &str, audiences: &[Box<str>]) {
        for (index, audience) in audiences.iter().enumerate() {
            let everywhere = match &**audience {
                "account" => "tokens for every resource at some issuers, whose account console is called so",
                audience if audience == issuer => {
                    "tokens for every resource at some issuers, since it is the issuer itself"
                }
                audience if audience.ends_with("/userinfo") => {
                    "tokens for every resource at some issuers, with the scope `openid`"
                }
                _ => continue,
            };
            let warning = format!(
                "`{audience}` is in {everywhere}; have the issuer write a value that means this resource alone"
            );
            self.warn(&at.index(index), warning);
        }
    }

    fn jwks(&mut self, at: &KeyPath, entry: &mut file::Jwks) -> Option<issuer::JwksSettings> {
        let default = issuer::JwksSettings::default();
        let range = Duration::from_secs(60)..=Duration::from_secs(60 * 60);
        let interval_at = at.key("refresh_interval");
        let interval = self.time_within(&interval_at, &mut entry.refresh_interval, default.refresh_interval, range);
        let written = entry.refresh_interval.unwrap_or(scalar::Duration(default.refresh_interval));
        let reads = ("refresh_interval", written, interval);
        let max_age = self.time_without_reads(&at.key("max_age"), &mut entry.max_age, reads);
        Some(issuer::JwksSettings { refresh_interval: interval?, max_age: max_age? })
    }

    /// The algorithms, and when RS256 is allowed beside them.
    fn algorithms(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Issuer,
        profile: Option<Profile>,
        name: &str,
    ) -> Option<(Vec<Algorithm>, Option<Period>)> {
        use file::IssuerAlgorithm::{EdDsa, Es256, Ps256};
        // FAPI 1.0 Advanced §8.6: "shall use PS256 or ES256 algorithms".
        let advanced = profile == Some(Profile::Fapi1Advanced);
        let default = || if advanced { vec![Ps256, Es256] } else { vec![Ps256, Es256, EdDsa] };
        let written = entry.algorithms.get_or_insert_with(default);
        if written.is_empty() {
            self.report.empty(
                at,
                "the list is empty, so no token could be accepted; name PS256, ES256 or EdDSA, or remove the key",
            );
            return None;
        }
        let (mut algorithms, mut rs256) = (Vec::new(), None);
        for (index, written) in written.iter().enumerate() {
            let at = at.index(index);
            let Some(algorithm) = fapi_algorithm(*written) else {
                rs256 = self.waived(RS256, Waivable::Issuer, Some(name));
                // A waiver with a problem of its own is reported there.
                let waivers = KeyPath::of("waivers");
                let broken = self.report.lost_under(&waivers)
                    || self.report.errors().iter().any(|error| error.path.starts_with(&waivers));
                if rs256.is_none() && !broken {
                    self.problem(&at, RS256_FORBIDDEN);
                }
                continue;
            };
            if advanced && algorithm == Algorithm::EdDsa {
                let problem = "`profile: fapi1-advanced` allows PS256 and ES256 only; remove it, or write `profile: fapi2-security`";
                self.problem(&at, problem);
            }
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        Some((algorithms, rs256))
    }
}

/// A line of the summary.
fn describe_issuer(settings: &issuer::Settings, entry: &file::Issuer) -> String {
    let Expected { name, issuer, audiences, algorithms, rs256, .. } = &settings.expected;
    let from = |place: Option<&str>| place.unwrap_or("from its metadata").to_owned();
    let judged = match &settings.introspection {
        Some(introspection) => {
            let endpoint = from(entry.introspection.as_ref().and_then(|section| section.endpoint.as_deref()));
            let max_age = scalar::Duration(introspection.cache.max_age);
            format!("introspected: {endpoint}; a revocation is seen within {max_age}")
        }
        None => {
            let names = algorithms.iter().map(|algorithm| algorithm.as_str());
            let names: Vec<&str> = names.chain(rs256.map(|_| "RS256 (by a waiver)")).collect();
            format!("algorithms: {}; keys: {}", names.join(", "), from(entry.jwks_uri.as_deref()))
        }
    };
    let form = entry.access_token.as_ref().map(|entry| format!("; {}", access_token::summary(entry)));
    let (audiences, form) = (audiences.join(", "), form.unwrap_or_default());
    format!("issuer {name}: {issuer}; audiences: {audiences}; {judged}{form}")
}

const RS256_FORBIDDEN: &str = "`RS256` is forbidden: FAPI 2.0 Security Profile §5.4.1 allows PS256, ES256 and EdDSA only, FAPI 1.0 Advanced §8.6 PS256 and ES256 only; have the signer use one of these, and until it does, write a waiver of `token.algorithms.rs256` for the issuer";

/// The algorithm that a name stands for, if FAPI allows it.
const fn fapi_algorithm(written: file::IssuerAlgorithm) -> Option<Algorithm> {
    match written {
        file::IssuerAlgorithm::Ps256 => Some(Algorithm::Ps256),
        file::IssuerAlgorithm::Es256 => Some(Algorithm::Es256),
        file::IssuerAlgorithm::EdDsa | file::IssuerAlgorithm::Ed25519 => Some(Algorithm::EdDsa),
        file::IssuerAlgorithm::Rs256 => None,
    }
}

/// The algorithm that a name stands for; Ed25519 has two.
pub(super) const fn algorithm(written: file::Algorithm) -> Algorithm {
    match written {
        file::Algorithm::Ps256 => Algorithm::Ps256,
        file::Algorithm::Es256 => Algorithm::Es256,
        file::Algorithm::EdDsa | file::Algorithm::Ed25519 => Algorithm::EdDsa,
    }
}

/// The configured name of an issuer, or else its host.
pub(super) fn name_of(issuer: &file::Issuer) -> String {
    let host = || Some(https_url(issuer.issuer.as_deref()?).ok()?.host_str()?.to_owned());
    issuer.name.clone().or_else(host).unwrap_or_default()
}

/// An absolute https URL without user information and without characters that URL parsers silently drop.
fn https_url(text: &str) -> Result<Url, String> {
    if !text.starts_with("https://") {
        return Err(format!(
            "{} is not an https URL; write it with `https://`, since plain http is not used",
            shown(text)
        ));
    }
    let problem = || format!("{} is not a URL with a host; correct it", shown(text));
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return Err(problem());
    }
    let url = Url::parse(text).map_err(|_| problem())?;
    if !url.username().is_empty() || url.password().is_some() {
        // The text is not shown, since it may contain a password.
        return Err("the URL has user information; remove it".to_owned());
    }
    Ok(url)
}
