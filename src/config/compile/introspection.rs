//! `issuers[].introspection`: how an issuer is asked about its tokens (RFC 7662, RFC 9701, FAPI 2.0 §5.3.3.1).

use std::time::Duration;

use fapi::jose::keys::Algorithm;
use fapi::jose::signing::PrivateKey;
use fapi::sha256;
use fapi::token::MissingAudience;
use rustls::pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use super::Build;
use super::encryption::Senders;
use super::issuers::algorithm;
use crate::certificate::Purpose;
use crate::config::error::KeyPath;
use crate::config::file;
use crate::config::{NamedFiles, Profile};
use crate::issuer::assertion::ClientKey;
use crate::issuer::introspection::{Authentication, CacheSettings, Response, Settings};
use crate::pkcs11::Opened;

impl Build<'_> {
    /// Compiles the section of an issuer whose tokens have these `audiences`.
    pub(super) fn introspection(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Introspection,
        profile: Option<Profile>,
        audiences: Option<&[Box<str>]>,
    ) -> Option<Settings> {
        let endpoint = match entry.endpoint.as_deref() {
            None => Some(None),
            Some(url) => self.endpoint(&at.key("endpoint"), url).map(Some),
        };
        let client_id = self.text(
            &at.key("client_id"),
            entry.client_id.as_deref(),
            "write the `client_id` that the issuer gave the gateway",
        );
        let client_id: Option<Box<str>> = client_id.map(Into::into);
        let authentication_at = at.key("authentication");
        let authentication = match &mut entry.authentication {
            Some(authentication) => self.authentication(&authentication_at, authentication, profile),
            None => {
                let problem =
                    "the key is missing; write `method` and `private_key`, so that the gateway can authenticate";
                self.problem(&authentication_at, problem);
                None
            }
        };
        let response = self.response(at, entry, client_id.as_deref(), audiences);
        let missing_audience = match entry.missing_audience.get_or_insert(file::MissingAudience::Refuse) {
            file::MissingAudience::Refuse => MissingAudience::Refuse,
            file::MissingAudience::Accept => MissingAudience::Accept,
        };
        let timeout = Duration::from_secs(2);
        let longest = Duration::from_millis(1)..=Duration::from_secs(30);
        let timeout = self.time_within(&at.key("timeout"), &mut entry.timeout, timeout, longest);
        let max_calls = self.number(&at.key("max_calls"), entry.max_calls.get_or_insert(64), 1..=1000);
        let max_waiting = self.room(at, &mut entry.max_waiting, &mut entry.max_waiting_per_client);
        let cache = self.introspection_cache(&at.key("cache"), entry.cache.get_or_insert_default());
        Some(Settings {
            endpoint: endpoint?,
            client_id: client_id?,
            authentication: authentication?,
            response: response?,
            missing_audience,
            timeout: timeout?,
            max_calls: max_calls?,
            max_waiting: max_waiting?,
            cache: cache?,
        })
    }

    fn authentication(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Authentication,
        profile: Option<Profile>,
    ) -> Option<Authentication> {
        use file::AuthenticationMethod::{PrivateKeyJwt, SelfSignedTlsClientAuth, TlsClientAuth};
        let way_out = "write `private_key_jwt`, `tls_client_auth` or `self_signed_tls_client_auth`";
        match self.needed(&at.key("method"), entry.method.as_ref(), way_out).copied() {
            Some(PrivateKeyJwt) => self.private_key_jwt(at, entry, profile),
            Some(TlsClientAuth | SelfSignedTlsClientAuth) => {
                let surplus = [("algorithm", entry.algorithm.is_some()), ("key_id", entry.key_id.is_some())];
                let fitting = self.refuse_written(at, &surplus, NOT_USED);
                let key = match &entry.private_key {
                    Some(file::PrivateKey::File(path)) => Some(path),
                    Some(file::PrivateKey::Token(_)) => {
                        let problem = "a key in a token signs assertions, not handshakes; name the PEM file of the certificate's key, or write `method: private_key_jwt`";
                        self.problem(&at.key("private_key"), problem);
                        return None;
                    }
                    None => None,
                };
                let certificate = entry.certificate.as_ref();
                let (chain, key) = self.identity(at, certificate, key, Purpose::Client)?;
                fitting.map(|()| Authentication::Certificate(chain, key))
            }
            None => {
                // Every method has a key.
                self.client_key(at, entry);
                None
            }
        }
    }

    /// The key that signs assertions, with what distinguishes it from others; `None` inside where files are not read.
    fn client_key(&mut self, at: &KeyPath, entry: &file::Authentication) -> Option<Option<Opened>> {
        let at = at.key("private_key");
        let path = match self.needed(&at, entry.private_key.as_ref(), "name the PEM file of the key")? {
            file::PrivateKey::File(path) => path,
            file::PrivateKey::Token(token) => return self.token_key(&at, token),
        };
        let der = Zeroizing::new(self.private_key(&at, path)?);
        if self.named_files == NamedFiles::Unread {
            return Some(None);
        }
        match PrivateKey::from_der(&der) {
            Ok(key) => Some(Some(Opened { key, identity: sha256(der.secret_der()) })),
            Err(error) => {
                self.problem(&at, format!("{error}; create another key, and register it at the issuer"));
                None
            }
        }
    }

    fn private_key_jwt(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Authentication,
        profile: Option<Profile>,
    ) -> Option<Authentication> {
        let key = self.client_key(at, entry);
        let fitting = self.refuse_written(at, &[("certificate", entry.certificate.is_some())], NOT_USED);
        // What is written is judged whether or not files are read.
        let of_key = key.as_ref().map(|key| key.as_ref().map(|opened| opened.key.algorithm()));
        let algorithm = self.key_algorithm(at, &mut entry.algorithm, profile, of_key.flatten());
        let key_id = match entry.key_id.as_deref() {
            None => Some(None),
            key_id => self.text(&at.key("key_id"), key_id, "write the `kid`, or remove the key").map(Some),
        };
        let (key, key_id, ..) = (key?, key_id?, fitting?, algorithm?);
        Some(match key {
            Some(Opened { key, identity }) => Authentication::PrivateKeyJwt(ClientKey::new(key, identity, key_id)),
            None => Authentication::Certificate(Vec::new(), PrivatePkcs8KeyDer::from(Vec::new()).into()),
        })
    }

    /// Checks `algorithm` beside a private key: the key determines it, so if it is written, it must be that of the key,
    /// where the key was read.
    pub(super) fn key_algorithm(
        &mut self,
        at: &KeyPath,
        written: &mut Option<file::Algorithm>,
        profile: Option<Profile>,
        of_key: Option<Algorithm>,
    ) -> Option<()> {
        let at = at.key("algorithm");
        let Some(algorithm) = written.map(algorithm).or(of_key) else { return Some(()) };
        if let Some(of_key) = of_key.filter(|of_key| *of_key != algorithm) {
            let name = of_key.as_str();
            self.problem(&at, format!("the key in `private_key` is for {name}; write `{name}`, or name another key"));
            return None;
        }
        written.get_or_insert(match algorithm {
            Algorithm::Ps256 => file::Algorithm::Ps256,
            Algorithm::Es256 => file::Algorithm::Es256,
            Algorithm::EdDsa => file::Algorithm::EdDsa,
        });
        // FAPI 1.0 Advanced §8.6: "shall use PS256 or ES256 algorithms".
        if profile == Some(Profile::Fapi1Advanced) && algorithm == Algorithm::EdDsa {
            let problem = "`profile: fapi1-advanced` allows PS256 and ES256 only; use an RSA or P-256 key";
            self.problem(&at, problem);
            return None;
        }
        Some(())
    }

    fn response(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Introspection,
        client_id: Option<&str>,
        audiences: Option<&[Box<str>]>,
    ) -> Option<Response> {
        let keys_at = at.key("decryption_keys");
        let keys = entry.decryption_keys.as_mut().map(|keys| self.decryption_keys(&keys_at, keys, Senders::Issuer));
        let at = at.key("audience");
        if *entry.response.get_or_insert(file::Response::Json) == file::Response::Json {
            if entry.audience.is_some() {
                let problem = "a plain JSON response names no audience; remove the key, or write `response: jwt`";
                self.problem(&at, problem);
            }
            if keys.is_some() {
                let problem = "a plain JSON response is not encrypted; remove the key, or write `response: jwt`";
                self.problem(&keys_at, problem);
            }
            return (entry.audience.is_none() && keys.is_none()).then_some(Response::Json);
        }
        if entry.audience.is_none() {
            let own = || client_id.into_iter().chain(audiences.into_iter().flatten().map(|audience| &**audience));
            entry.audience = Some(own().map(str::to_owned).collect());
        }
        let audiences = self.audiences(&at, entry.audience.as_deref(), "name a value of `aud`, or remove the key")?;
        let decryption_keys = match keys {
            None => None,
            Some(keys) => Some(keys?),
        };
        Some(Response::Jwt { audiences, decryption_keys })
    }

    fn introspection_cache(&mut self, at: &KeyPath, entry: &mut file::IntrospectionCache) -> Option<CacheSettings> {
        let max_entries = self.count(&at.key("max_entries"), entry.max_entries.get_or_insert(100_000));
        let max_bytes = self.memory(&at.key("max_bytes"), &mut entry.max_bytes);
        let (usual, longest) = (Duration::from_secs(30), Duration::ZERO..=Duration::from_secs(60 * 60));
        let max_age = self.time_within(&at.key("max_age"), &mut entry.max_age, usual, longest);
        let (usual, longest) = (Duration::from_secs(5), Duration::ZERO..=Duration::from_secs(5));
        let inactive_max_age =
            self.time_within(&at.key("inactive_max_age"), &mut entry.inactive_max_age, usual, longest);
        Some(CacheSettings {
            max_entries: max_entries?,
            max_bytes: max_bytes?,
            max_age: max_age?,
            inactive_max_age: inactive_max_age?,
        })
    }
}

const NOT_USED: &str = "the method does not use this; remove the key, or correct `method`";
