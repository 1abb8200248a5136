//! A request to an endpoint that breaks no rule, and what its answer has to be.

use super::authentication::Authenticated;
use super::authorization_request::Asked;
use super::certificate::PeerCertificate;
use super::client_assertion::VerifiedAssertion;
use super::error::EndpointError;
use super::front_channel::{Pushed, PushedReference};
use super::parameters::Parameters;
use super::registration::Registration;
use super::rules::{Endpoint, Rules};
use super::token_request::{self, TokenRequest};
use super::{authorization_request, request_object};
use crate::UnixTime;
use crate::dpop::VerifiedProof;
use crate::jose::keys::KeySet;

/// A request of a client that is authenticated, as far as its endpoint asks for that.
#[derive(Clone, Debug)]
pub struct JudgedRequest {
    client: Box<str>,
    is_registered: bool,
    assertion: Option<VerifiedAssertion>,
    proof: Option<VerifiedProof>,
    token: Option<TokenRequest>,
    query: Option<Box<str>>,
    registration: Option<Registration>,
}

/// What a request at an endpoint consists of, once its client is authenticated.
pub struct FormRequest<'r> {
    /// The form.
    pub parameters: &'r Parameters<'r>,
    /// Who sends it.
    pub client: Authenticated,
    /// The keys of a client that is registered, if its request is signed.
    pub keys: Option<&'r KeySet>,
    /// The proof, if there is one.
    pub proof: Option<VerifiedProof>,
    /// The certificate of the client of the connection.
    pub certificate: PeerCertificate<'r>,
    /// The time of the request.
    pub now: UnixTime,
}

impl JudgedRequest {
    pub(crate) fn of_form(endpoint: Endpoint, rules: &Rules, request: FormRequest<'_>) -> Result<Self, EndpointError> {
        let FormRequest { parameters, client, keys, proof, certificate, now } = request;
        let mut token = None;
        match endpoint {
            Endpoint::PushedAuthorizationRequest => {
                judge_pushed(parameters, &client, keys, proof.as_ref(), rules, now)?;
            }
            Endpoint::Token => {
                token = Some(token_request::judge(parameters, &client, &certificate, proof.as_ref(), rules, now)?);
            }
            Endpoint::Introspection | Endpoint::Revocation => token_request::judge_token_parameter(parameters)?,
            Endpoint::Authorization | Endpoint::Page | Endpoint::Registration | Endpoint::Jwks | Endpoint::Metadata => {
            }
        }
        let (assertion, is_registered) = (client.assertion().copied(), client.client().is_some());
        Ok(Self { is_registered, assertion, proof, token, ..Self::of_client(client.id().into()) })
    }

    pub(crate) fn of_reference(
        reference: PushedReference,
        pushed: Option<&Pushed>,
        now: UnixTime,
    ) -> Result<Self, EndpointError> {
        let PushedReference { client_id, query, .. } = reference;
        match pushed {
            Some(pushed) if pushed.until <= now => Err(EndpointError::RequestUriUnknown { why: "has expired" }),
            // RFC 9126 §2.2: "the request URI MUST be bound to the client that posted the authorization request".
            Some(pushed) if *pushed.client_id != *client_id => {
                Err(EndpointError::RequestUriUnknown { why: "was given to another client" })
            }
            Some(pushed) if pushed.is_noted => {
                Err(EndpointError::RequestUriUnknown { why: "is of a request that broke a rule" })
            }
            Some(_) => Ok(Self { query, ..Self::of_client(client_id) }),
            None => Err(EndpointError::RequestUriUnknown { why: "was not given to a client by this server lately" }),
        }
    }

    /// A client that asks to be registered: it has no id yet, and authenticates itself in no way that is judged here.
    pub(crate) fn of_registration(registration: Registration) -> Self {
        Self { registration: Some(registration), ..Self::of_client(Box::default()) }
    }

    /// A request of whoever says that it is this client, which breaks a rule and passes all the same.
    pub(crate) fn not_judged(client: &str) -> Self {
        Self::of_client(client.into())
    }

    /// A request of a client of which nothing else is known.
    const fn of_client(client: Box<str>) -> Self {
        let (is_registered, assertion, proof, token, query, registration) = (false, None, None, None, None, None);
        Self { client, is_registered, assertion, proof, token, query, registration }
    }

    /// The client's id; empty for a client that asks to be registered.
    pub fn client_id(&self) -> &str {
        &self.client
    }

    /// Whether the gateway itself has authenticated the client, so that the server behind may be told of a certificate whose chain
    /// was not verified: it is what a token is bound to, and authenticates nobody whom it does not.
    pub const fn is_registered(&self) -> bool {
        self.is_registered
    }

    /// The assertion, whose use has to be recorded.
    pub const fn assertion(&self) -> Option<&VerifiedAssertion> {
        self.assertion.as_ref()
    }

    /// The proof, whose use has to be recorded.
    pub const fn proof(&self) -> Option<&VerifiedProof> {
        self.proof.as_ref()
    }

    /// What a token request says of its answer.
    pub const fn token(&self) -> Option<&TokenRequest> {
        self.token.as_ref()
    }

    /// What a client that asks to be registered says of itself.
    pub const fn registration(&self) -> Option<&Registration> {
        self.registration.as_ref()
    }

    /// What is forwarded instead of the query, if that had more than it may.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    pub(crate) fn forget_assertion(&mut self) {
        self.assertion = None;
    }
}

/// Judges an authorization request that is pushed, and the object that it is in, if it is signed.
fn judge_pushed(
    parameters: &Parameters<'_>,
    client: &Authenticated,
    keys: Option<&KeySet>,
    proof: Option<&VerifiedProof>,
    rules: &Rules,
    now: UnixTime,
) -> Result<(), EndpointError> {
    let Some(object) = request_object::presented(parameters, client, rules)? else {
        return authorization_request::judge(Asked::Form(parameters), client, proof, rules);
    };
    let members = match (client.client(), keys) {
        (Some(_), Some(keys)) => request_object::verify(object, parameters, client, keys, rules, now)?,
        (Some(_), None) => {
            let why = "is signed, and the client has registered no keys".into();
            return Err(EndpointError::RequestObjectInvalid { why });
        }
        (None, _) => request_object::check_unverified(object, parameters, client, rules, now)?,
    };
    authorization_request::judge(Asked::Object(&members), client, proof, rules)
}
