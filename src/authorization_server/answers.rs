//! What the authorization server answered, judged before a client gets it.

use fapi::UnixTime;
use fapi::authorization_server::authorization_response::{self, ExpectedResponse, Response, ResponseMode};
use fapi::authorization_server::metadata_document::{self, Allowed, Endpoint as ServedEndpoint, RequestObjects};
use fapi::authorization_server::pushed_answer::{self, PushedAnswer};
use fapi::authorization_server::token_answer::{self, ExpectedToken, RefreshRule, TokenAnswer};
use fapi::authorization_server::token_request::TokenRequest;
use fapi::authorization_server::{AnswerError, Endpoint, ServerProfile, UnknownClients};
use fapi::jose::keys::Algorithm;
use http::{HeaderMap, StatusCode};

use super::AuthorizationServer;

/// An answer: its status, its fields and its body.
type Answer<'a> = (StatusCode, &'a HeaderMap, &'a [u8]);

impl AuthorizationServer {
    /// Judges the answer to a request that this client pushed, and remembers what was pushed.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn judge_pushed(
        &self,
        client_id: &str,
        (status, headers, body): Answer<'_>,
        now: UnixTime,
    ) -> Result<(), AnswerError> {
        match pushed_answer::judge(status, headers, body)? {
            PushedAnswer::Accepted { request_uri, expires_in } => {
                self.remember(client_id, &request_uri, now.plus(expires_in), now);
            }
            PushedAnswer::Refused => {}
        }
        Ok(())
    }

    /// Judges the answer to a token request.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn judge_token(
        &self,
        request: &TokenRequest,
        (status, headers, body): Answer<'_>,
        now: UnixTime,
    ) -> Result<(), AnswerError> {
        let rules = &self.settings().rules;
        let refresh = match request.refresh_token {
            Some(presented) if !rules.refresh_token_rotation => RefreshRule::NotRotated { presented },
            Some(_) | None => RefreshRule::Any,
        };
        let expected = ExpectedToken {
            bound_to: &request.bound_to,
            lifetime: rules.access_token_lifetime,
            refresh,
            may_introspect: false,
        };
        match token_answer::judge(status, headers, body, &expected, now)? {
            // Nobody is asked about it.
            TokenAnswer::Good | TokenAnswer::Introspect { .. } | TokenAnswer::Refused => Ok(()),
        }
    }

    /// Makes the metadata those of what is really allowed; `None` for an answer that has none.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn metadata(&self, status: StatusCode, body: &[u8]) -> Result<Option<Vec<u8>>, AnswerError> {
        if !status.is_success() {
            return Ok(None);
        }
        self.rewritten(body).map(Some)
    }

    /// Judges where an answer leads a browser.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn judge_browser(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<Response, AnswerError> {
        let settings = self.settings();
        let unknown = settings.rules.unknown_clients;
        let expected = ExpectedResponse {
            issuer: &settings.rules.issuer,
            own_origin: &settings.origin,
            // Of a client that is not registered here, nobody here knows where it may be.
            redirects_to: &|uri| unknown == UnknownClients::JudgedWithoutKeys || settings.clients.redirects_to(uri),
            mode: ResponseMode::Query,
            now,
        };
        authorization_response::judge(status, headers, &expected)
    }

    /// Its metadata, with its own endpoints.
    fn rewritten(&self, document: &[u8]) -> Result<Vec<u8>, AnswerError> {
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
                response_modes: &["query"],
                grant_types: &grant_types,
                authentication_methods: &["private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"],
                algorithms: Algorithm::ALL,
                request_objects: match settings.rules.profile {
                    ServerProfile::Fapi2Security => RequestObjects::Allowed,
                    ServerProfile::Fapi2MessageSigning | ServerProfile::Fapi1Advanced => RequestObjects::Required,
                },
                certificate_bound_access_tokens: true,
            },
        )
    }
}

/// The endpoints that metadata names.
fn served(urls: &[(Endpoint, Box<str>)]) -> Vec<ServedEndpoint<'_>> {
    urls.iter().filter_map(|(endpoint, url)| Some(ServedEndpoint { member: member(*endpoint)?, url })).collect()
}

/// The member of the metadata that names an endpoint.
const fn member(endpoint: Endpoint) -> Option<&'static str> {
    match endpoint {
        Endpoint::PushedAuthorizationRequest => Some("pushed_authorization_request_endpoint"),
        Endpoint::Authorization => Some("authorization_endpoint"),
        Endpoint::Token => Some("token_endpoint"),
        Endpoint::Introspection => Some("introspection_endpoint"),
        Endpoint::Revocation => Some("revocation_endpoint"),
        Endpoint::Jwks => Some("jwks_uri"),
        Endpoint::Page | Endpoint::Metadata => None,
    }
}
