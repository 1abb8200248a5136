//! What the authorization server answered, judged before a client gets it.

use fapi::UnixTime;
use fapi::authorization_server::authorization_response::{self, ExpectedResponse, JarmKeys, Response, ResponseMode};
use fapi::authorization_server::client::Authentication;
use fapi::authorization_server::front_channel::Pushed;
use fapi::authorization_server::metadata_document::{self, Allowed, Endpoint as ServedEndpoint, RequestObjects};
use fapi::authorization_server::pushed_answer::{self, PushedAnswer};
use fapi::authorization_server::registration::Registration;
use fapi::authorization_server::registration_answer;
use fapi::authorization_server::token_answer::{self, ExpectedToken, RefreshRule, TokenAnswer};
use fapi::authorization_server::token_request::TokenRequest;
use fapi::authorization_server::{AnswerError, JudgedRequest, ServerProfile, UnknownClients};
use fapi::jose::keys::{Algorithm, KeySet};
use fapi::rejection::Cause;
use fapi::sha256;
use fapi::shadow::Shadow;
use fapi::text::sole_value;
use http::{HeaderMap, StatusCode, header};

use super::AuthorizationServer;
use crate::issuer::Issuers;
use crate::issuer::introspection::Asker;
use crate::issuer::jwks::Reread;

/// An answer: its status, its fields and its body.
type Answer<'a> = (StatusCode, &'a HeaderMap, &'a [u8]);

impl AuthorizationServer {
    /// Judges the answer to a request that this client pushed, and remembers what was pushed.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub async fn judge_pushed(
        &self,
        client_id: &str,
        (status, headers, body): Answer<'_>,
        now: UnixTime,
    ) -> Result<(), AnswerError> {
        match pushed_answer::judge(status, headers, body)? {
            PushedAnswer::Accepted { request_uri, expires_in } => {
                let pushed = Pushed { client_id: client_id.into(), until: now.plus(expires_in), is_noted: false };
                self.remember(&request_uri, pushed, now).await;
            }
            PushedAnswer::Refused => {}
        }
        Ok(())
    }

    /// Remembers whose request it is that was pushed against a rule, if the server is in shadow for this client and not for all: a
    /// browser may bring it, and for nobody else.
    pub async fn note_pushed(&self, client_id: &str, body: &[u8], now: UnixTime) {
        let clients = self.settings().rules.shadow.as_ref().map(Shadow::clients).unwrap_or_default();
        let is_listed = clients.iter().any(|client| **client == *client_id);
        if let Some(request_uri) = pushed_answer::named(body).filter(|_| is_listed) {
            let until = now.plus(pushed_answer::BELOW);
            let pushed = Pushed { client_id: client_id.into(), until, is_noted: true };
            self.remember(&request_uri, pushed, now).await;
        }
    }

    /// Judges the answer to a token request. The server itself is asked about a token that cannot be read, if it is one of the
    /// `issuers` that are asked about tokens.
    ///
    /// # Errors
    /// [`AnswerError`]; [`Unavailable`](fapi::rejection::Unavailable) and [`ShareExceeded`](fapi::rejection::ShareExceeded), if
    /// the server does not say what it has issued.
    pub async fn judge_token(
        &self,
        issuers: &Issuers,
        asked: &JudgedRequest,
        request: &TokenRequest,
        (status, headers, body): Answer<'_>,
        now: UnixTime,
    ) -> Result<(), Cause> {
        let rules = &self.settings().rules;
        let refresh = match request.refresh_token {
            Some(presented) if !rules.refresh_token_rotation => RefreshRule::NotRotated { presented },
            Some(_) | None => RefreshRule::Any,
        };
        let introspector = issuers.introspector_of(&rules.issuer);
        let expected = ExpectedToken {
            bound_to: &request.bound_to,
            lifetime: rules.access_token_lifetime,
            refresh,
            may_introspect: introspector.is_some(),
        };
        match (token_answer::judge(status, headers, body, &expected, now)?, introspector) {
            (TokenAnswer::Introspect { token, by_key }, Some(introspector)) => {
                let asker = match asked.is_registered() {
                    true => Asker::Client(sha256(asked.client_id().as_bytes())),
                    false => Asker::Unknown,
                };
                let said = introspector.describe(&token, asker, now).await?.ok_or(AnswerError::Inactive)?;
                Ok(token_answer::judge_introspected(said.claims(), by_key, &expected, now)?)
            }
            (TokenAnswer::Introspect { .. }, None) => Err(AnswerError::Opaque.into()),
            (TokenAnswer::Good | TokenAnswer::Refused, _) => Ok(()),
        }
    }

    /// Judges the answer to a client that asked to be registered.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn judge_registered(
        &self,
        asked: &Registration,
        (status, headers, body): Answer<'_>,
    ) -> Result<(), AnswerError> {
        registration_answer::judge(status, headers, body, asked)
    }

    /// Makes the metadata those of what is really allowed; nothing of an answer that is an error.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn metadata(&self, status: StatusCode, body: &[u8], now: UnixTime) -> Result<Vec<u8>, AnswerError> {
        if status.is_client_error() || status.is_server_error() {
            return Ok(Vec::new());
        }
        if status != StatusCode::OK {
            return Err(AnswerError::StatusWrong { found: status, expected: "200, or that of an error" });
        }
        self.rewritten(body, now)
    }

    /// Judges where an answer leads a browser. The keys that verify a response in a JWT are those of the issuer of the same name, which
    /// are read again if they do not.
    ///
    /// # Errors
    /// [`AnswerError`]; [`Unavailable`](fapi::rejection::Unavailable), if the keys are not known.
    pub async fn judge_browser(
        &self,
        issuers: &Issuers,
        status: StatusCode,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<Response, Cause> {
        let rules = &self.settings().rules;
        let source = issuers.keys_of(&rules.issuer).filter(|_| rules.jwt_responses);
        let Some(source) = source else { return Ok(self.judge_response(None, status, headers, now)?) };
        let in_force = source.in_force();
        let none = KeySet::default();
        let keys = in_force.as_ref().map_or(&none, |snapshot| &*snapshot.keys);
        let judged = self.judge_response(Some(keys), status, headers, now);
        let error = match judged {
            Ok(response) => return Ok(response),
            Err(error) if !error.depends_on_keys() => return Err(error.into()),
            Err(error) => error,
        };
        match source.refresh_for_token(in_force?.generation).await {
            Reread::Newer(newer) => Ok(self.judge_response(Some(&newer.keys), status, headers, now)?),
            // The response may be good: whoever loads the page again will see.
            Reread::NotRead if error.lacks_key() => Err(source.not_read().into()),
            Reread::Same | Reread::NotRead => Err(error.into()),
        }
    }

    /// Whether the server is in shadow for a client that an answer leads to, or for all.
    pub fn is_shadow_of(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let settings = self.settings();
        let Some(shadow) = &settings.rules.shadow else { return false };
        // What leads elsewhere too is nobody's.
        let is_redirect = status.is_redirection() && !headers.contains_key(header::REFRESH);
        let location = sole_value(headers, header::LOCATION).filter(|_| is_redirect);
        let location = location.and_then(|location| location.to_str().ok());
        let uri = location.and_then(|location| location.split(['?', '#']).next()).unwrap_or_default();
        shadow.clients().is_empty() || shadow.clients().iter().any(|client| settings.clients.leads_to(client, uri))
    }

    fn judge_response(
        &self,
        keys: Option<&KeySet>,
        status: StatusCode,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<Response, AnswerError> {
        let settings = self.settings();
        // Of a client that is not registered here, nobody here knows where it may be.
        let judges_unknown = settings.rules.unknown_clients == UnknownClients::JudgedWithoutKeys;
        let is_of_client = |client: &str, uri: &str| {
            settings.clients.leads_to(client, uri) || judges_unknown && settings.clients.get(client).is_none()
        };
        let none = KeySet::default();
        let jarm = JarmKeys { keys: keys.unwrap_or(&none), algorithms: Algorithm::ALL, is_of_client: &is_of_client };
        let mode = match (settings.rules.profile, keys) {
            (ServerProfile::Fapi2Security, None) => ResponseMode::Query,
            (ServerProfile::Fapi2Security, Some(_)) => ResponseMode::Either(jarm),
            (ServerProfile::Fapi2MessageSigning | ServerProfile::Fapi1Advanced, _) => ResponseMode::Jwt(jarm),
        };
        let expected = ExpectedResponse {
            issuer: &settings.rules.issuer,
            own_origin: &settings.origin,
            redirects_to: &|uri| {
                let is_elsewhere = || !uri.strip_prefix(&*settings.origin).is_some_and(|rest| rest.starts_with('/'));
                settings.clients.redirects_to(uri) || judges_unknown && is_elsewhere()
            },
            mode,
            may_lack_issuer: settings.rules.may_lack_issuer(now),
            now,
        };
        authorization_response::judge(status, headers, &expected)
    }

    /// Its metadata, with its own endpoints.
    fn rewritten(&self, document: &[u8], now: UnixTime) -> Result<Vec<u8>, AnswerError> {
        let settings = self.settings();
        let endpoints = served(&settings.endpoint_urls);
        let aliases = served(&settings.aliases);
        let grant_types: Vec<&str> = settings.rules.grant_types.iter().map(|grant| &**grant).collect();
        metadata_document::rewrite(
            document,
            &Allowed {
                issuer: &settings.rules.issuer,
                endpoints: &endpoints,
                mtls_endpoint_aliases: &aliases,
                response_modes: match settings.rules.profile {
                    ServerProfile::Fapi2Security if settings.rules.jwt_responses => &["query", "jwt", "query.jwt"],
                    ServerProfile::Fapi2Security => &["query"],
                    ServerProfile::Fapi2MessageSigning | ServerProfile::Fapi1Advanced => &["jwt", "query.jwt"],
                },
                may_lack_issuer: settings.rules.may_lack_issuer(now),
                grant_types: &grant_types,
                authentication_methods: &Authentication::NAMES,
                algorithms: Algorithm::ALL,
                request_objects: match settings.rules.needs_request_object() {
                    true => RequestObjects::Required,
                    false => RequestObjects::Allowed,
                },
                certificate_bound_access_tokens: true,
            },
        )
    }
}

/// The endpoints that metadata names.
fn served<'u>(urls: &'u [(&'static str, Box<str>)]) -> Vec<ServedEndpoint<'u>> {
    urls.iter().map(|(member, url)| ServedEndpoint { member, url }).collect()
}
