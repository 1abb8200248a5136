//! What a request to an endpoint of an authorization server has to pass.

use std::fmt;

use super::{Authorized, EndpointGuard};
use crate::UnixTime;
use crate::authorization_server::front_channel::{Pushed, PushedReference};
use crate::authorization_server::registration::{Registration, RegistrationRequest, RegistrationRules};
use crate::authorization_server::{Endpoint, EndpointError, FormRequest, JudgedRequest};
use crate::code::Code;
use crate::shadow::{InShadow, WouldDeny};

impl EndpointGuard {
    /// Whether the server is in shadow at `now`, for some client at least.
    pub fn shadow(&self, now: UnixTime) -> Option<InShadow> {
        self.rules.shadow.as_ref()?.at(now)
    }

    /// Whether it is for a client that calls itself so.
    fn shadow_of(&self, client: Option<&str>, now: UnixTime) -> Option<InShadow> {
        let shadow = self.rules.shadow.as_ref().filter(|shadow| shadow.is_for_client(client))?;
        shadow.at(now)
    }

    /// Lets a request pass whose answer alone is judged.
    ///
    /// # Errors
    /// The guard itself, if there are rules on what the request says.
    pub fn without_rules(self, now: UnixTime) -> Result<Authorized, Self> {
        match self.endpoint {
            // Whose answer it is shows in the answer.
            Endpoint::Page | Endpoint::Jwks | Endpoint::Metadata => {
                Ok(Authorized { shadow: self.shadow(now), ..Authorized::open(self.matched) })
            }
            Endpoint::PushedAuthorizationRequest
            | Endpoint::Authorization
            | Endpoint::Token
            | Endpoint::Introspection
            | Endpoint::Revocation
            | Endpoint::Registration => Err(self),
        }
    }

    /// Judges the form of a client that is authenticated.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn authorize_form(self, request: FormRequest<'_>) -> Result<Authorized, EndpointError> {
        let now = request.now;
        let asked = JudgedRequest::of_form(self.endpoint, &self.rules, request)?;
        Ok(self.authorized(asked, now))
    }

    /// Judges a client that asks to be registered.
    ///
    /// # Errors
    /// [`EndpointError::Registration`].
    pub fn authorize_registration(
        self,
        request: &RegistrationRequest<'_>,
        rules: &RegistrationRules,
    ) -> Result<Authorized, EndpointError> {
        let asked = JudgedRequest::of_registration(Registration::judge(request, &self.rules, rules)?);
        Ok(self.authorized(asked, request.now))
    }

    /// Judges what a browser brings: the name of what was `pushed`, if anything was under it.
    ///
    /// # Errors
    /// [`EndpointError::RequestUriUnknown`].
    pub fn authorize_reference(
        self,
        reference: PushedReference,
        pushed: Option<&Pushed>,
        now: UnixTime,
    ) -> Result<Authorized, EndpointError> {
        let asked = JudgedRequest::of_reference(reference, pushed, now)?;
        Ok(self.authorized(asked, now))
    }

    fn authorized(self, asked: JudgedRequest, now: UnixTime) -> Authorized {
        let shadow = self.shadow_of(Some(asked.client_id()), now);
        Authorized { asked: Some(asked.into()), shadow, ..Authorized::open(self.matched) }
    }

    /// Lets a request pass that would be refused for this reason, if the server is in shadow for the `client` that it says it is
    /// of: the server judges it alone, as it did without the gateway.
    pub fn pass_in_shadow(
        self,
        client: Option<&str>,
        code: Code,
        why: &dyn fmt::Display,
        now: UnixTime,
    ) -> Option<Authorized> {
        let shadow = self.shadow_of(client, now)?;
        let would_deny = WouldDeny::at_server(code, why, shadow)?;
        let asked = JudgedRequest::not_judged(client.unwrap_or_default());
        let would_deny = Some(would_deny.into());
        Some(Authorized {
            shadow: Some(shadow),
            would_deny,
            asked: Some(asked.into()),
            ..Authorized::open(self.matched)
        })
    }
}
