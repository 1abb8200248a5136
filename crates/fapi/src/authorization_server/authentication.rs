//! Which client sends a request, and whether it has proven that: by one method, of the two that FAPI has (FAPI 2.0 §5.3.2.1 (7)).
//!
//! First who the client says it is ([`Claim::of`]), so that its registration and its keys can be looked up; then whether it is
//! ([`Claim::prove`]). A certificate beside an assertion authenticates nobody: a token is bound to it.

use std::sync::Arc;

use super::certificate::{PeerCertificate, SelfSigned};
use super::client::{Authentication, RegisteredClient};
use super::client_assertion::{self, AssertingClient, Audiences, VerifiedAssertion};
use super::error::EndpointError;
use super::parameters::Parameters;
use super::rules::Rules;
use crate::UnixTime;
use crate::jose::keys::KeySet;
use crate::text::printable;

/// Who a client says it is, and with what it authenticates itself.
#[derive(Clone, Copy)]
pub struct Claim<'p> {
    /// `client_id`, if there is one.
    client_id: Option<&'p str>,
    assertion: Option<&'p str>,
}

impl<'p> Claim<'p> {
    /// Reads the claim of a request.
    ///
    /// # Errors
    /// [`EndpointError::MethodRefused`] for a secret, [`EndpointError::SeveralMethods`],
    /// [`EndpointError::Assertion`] for half an assertion, [`EndpointError::ClientMissing`].
    pub fn of(parameters: &'p Parameters<'_>) -> Result<Self, EndpointError> {
        let assertion = client_assertion::presented(parameters)?;
        match (parameters.get("client_secret"), assertion) {
            (Some(_), Some(_)) => {
                return Err(EndpointError::SeveralMethods { found: "a client_secret and a client assertion" });
            }
            (Some(_), None) => return Err(EndpointError::MethodRefused { found: "a client_secret" }),
            (None, _) => {}
        }
        let client_id = parameters.get("client_id");
        if client_id.is_none() && assertion.is_none() {
            return Err(EndpointError::ClientMissing);
        }
        Ok(Self { client_id, assertion })
    }

    /// The client's id, which is not verified: the parameter, or else what the assertion says.
    ///
    /// # Errors
    /// [`EndpointError::Assertion`], [`EndpointError::ClientMissing`].
    pub fn id(&self) -> Result<Box<str>, EndpointError> {
        if let Some(id) = self.client_id {
            return Ok(id.into());
        }
        let named = self.assertion.map(client_assertion::claimed_client).transpose()?;
        named.flatten().ok_or(EndpointError::ClientMissing)
    }

    /// Whether [`Self::prove`] looks at the key set of this client: for its assertion, or for the certificate that it made itself.
    pub fn needs_keys(&self, client: &RegisteredClient, certificate: &PeerCertificate<'_>) -> bool {
        match client.authentication() {
            Authentication::PrivateKeyJwt => self.assertion.is_some(),
            Authentication::SelfSignedTlsClientAuth => {
                self.assertion.is_none() && certificate.peer.certificate().is_some()
            }
            Authentication::TlsClientAuth(_) => false,
        }
    }

    /// Proves that the request is of this client, which is registered by the [claimed](Self::id) id.
    ///
    /// `keys` are those of the client. A use of the assertion still has to be recorded.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn prove(
        &self,
        client: &Arc<RegisteredClient>,
        keys: &ClientKeySet<'_>,
        certificate: &PeerCertificate<'_>,
        rules: &Rules,
        now: UnixTime,
    ) -> Result<Authenticated, EndpointError> {
        let assertion = match (client.authentication(), self.assertion) {
            (Authentication::PrivateKeyJwt, Some(assertion)) => {
                let of = AssertingClient { id: client.id(), keys: keys.keys, algorithms: client.algorithms() };
                let audiences = Audiences::of(rules, now);
                Some(client_assertion::verify(assertion, &of, self.client_id, &audiences, now)?)
            }
            (Authentication::PrivateKeyJwt, None) if certificate.peer.certificate().is_none() => {
                return Err(EndpointError::Unauthenticated { id: printable(client.id()) });
            }
            (Authentication::PrivateKeyJwt, None) => {
                let (id, found, expected) = (client.id().into(), "its certificate", "private_key_jwt");
                return Err(EndpointError::MethodMismatch { id, found, expected });
            }
            (method, Some(_)) => {
                let (id, found, expected) = (client.id().into(), "private_key_jwt", method.as_str());
                return Err(EndpointError::MethodMismatch { id, found, expected });
            }
            (Authentication::TlsClientAuth(_) | Authentication::SelfSignedTlsClientAuth, None) => {
                let PeerCertificate { peer, verified_chain } = *certificate;
                let _ = client.authenticate_by_certificate(peer, verified_chain, keys.self_signed, now)?;
                None
            }
        };
        Ok(Authenticated { id: client.id().into(), client: Some(client.clone()), assertion })
    }

    /// Judges what can be judged of a client that is not registered here: the server behind authenticates it.
    ///
    /// The use of an assertion that is not verified is not recorded, or anyone could use up what another has not sent yet.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn pass_without_keys(
        &self,
        certificate: &PeerCertificate<'_>,
        rules: &Rules,
        now: UnixTime,
    ) -> Result<Authenticated, EndpointError> {
        let id = self.id()?;
        // One that nobody vouches for is not shown to the server, which would see nothing that authenticates the client.
        let own = certificate.peer.certificate().filter(|own| certificate.verified_chain && own.valid_at(now));
        match self.assertion {
            Some(assertion) => {
                client_assertion::check_unverified(assertion, &id, self.client_id, &Audiences::of(rules, now), now)?;
            }
            None if own.is_none() => return Err(EndpointError::Unauthenticated { id: printable(&id) }),
            None => {}
        }
        Ok(Authenticated { id, client: None, assertion: None })
    }
}

/// The keys of a client, as far as its method needs them.
#[derive(Clone, Copy)]
pub struct ClientKeySet<'k> {
    /// Those that verify what it signs.
    pub keys: &'k KeySet,
    /// The certificates that it made itself, if they are not in its registration.
    pub self_signed: Option<&'k SelfSigned>,
}

/// A client that is who it says, as far as the registration allows to tell.
#[derive(Clone, Debug)]
pub struct Authenticated {
    id: Box<str>,
    client: Option<Arc<RegisteredClient>>,
    assertion: Option<VerifiedAssertion>,
}

impl Authenticated {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its registration; `None` if it is judged without.
    pub fn client(&self) -> Option<&Arc<RegisteredClient>> {
        self.client.as_ref()
    }

    /// The assertion that proved it, whose use has to be recorded.
    pub const fn assertion(&self) -> Option<&VerifiedAssertion> {
        self.assertion.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rules::ServerProfile;
    use super::super::testing::{CLIENT, Client, ISSUER, NOBODY, NOW, changed, form, rules};
    use super::*;
    use crate::code::Code;
    use crate::peer::Peer;
    use crate::profile::Period;
    use crate::testing::certificate;

    const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

    /// The code for a form of a client that is registered so, which sends its usual assertion where the value is `@`.
    fn code(client: &Client, parameters: &[(&str, &str)], peer: &PeerCertificate<'_>) -> Option<Code> {
        let assertion = client.assertion();
        let filled: Vec<_> =
            parameters.iter().map(|(name, value)| (*name, if *value == "@" { &*assertion } else { *value })).collect();
        let form = form(&filled);
        let (parameters, rules) = (Parameters::parse(form.as_bytes()).unwrap(), rules(ServerProfile::Fapi2Security));
        let keys = client.keys();
        let keys = ClientKeySet { keys: &keys, self_signed: None };
        let proven = Claim::of(&parameters)
            .and_then(|claim| claim.id().map(|_| claim))
            .and_then(|claim| claim.prove(&client.registered, &keys, peer, &rules, NOW));
        proven.err().map(|error| error.code())
    }

    #[test]
    fn fapi2_as_05_a_client_authenticates_with_its_own_method_and_no_other() {
        let client = Client::new();
        let good: &[(&str, &str)] =
            &[("client_id", CLIENT), ("client_assertion_type", TYPE), ("client_assertion", "@")];
        assert_eq!(code(&client, good, &NOBODY), None, "control");
        // RFC 7521 §4.2: `client_id` is unnecessary.
        assert_eq!(code(&client, &changed(good, "client_id", ""), &NOBODY), None, "control");
        let peer = Peer::Certificate(Arc::new(certificate()));
        let presented = PeerCertificate { peer: &peer, verified_chain: false };
        assert_eq!(code(&client, good, &presented), None, "control: a certificate to bind tokens to");
        let refused = Some(Code::ClientAuthenticationRefused);
        for (parameters, peer, expected) in [
            // FAPI2-AS-03, FAPI2-AS-17
            (vec![("client_id", CLIENT)], &NOBODY, Some(Code::ParUnauthenticated)),
            (vec![], &NOBODY, Some(Code::ClientUnknown)),
            (vec![("client_id", CLIENT)], &presented, refused),
            (vec![("client_id", CLIENT), ("client_secret", "s")], &NOBODY, refused),
            ([good, &[("client_secret", "s")]].concat(), &NOBODY, Some(Code::ClientAuthenticationRepeated)),
            (changed(good, "client_id", "client-2"), &NOBODY, refused),
            (changed(good, "client_assertion_type", "urn:x"), &NOBODY, refused),
            (changed(good, "client_assertion_type", ""), &NOBODY, refused),
            (changed(good, "client_assertion", ""), &NOBODY, refused),
            (changed(good, "client_assertion", "a.b.c"), &NOBODY, refused),
        ] {
            assert_eq!(code(&client, &parameters, peer), expected, "{parameters:?}");
        }
        let by_certificate = Client::with(json!({
            "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "client.example",
        }));
        let verified = PeerCertificate { verified_chain: true, ..presented };
        let id = [("client_id", CLIENT)];
        assert_eq!(code(&by_certificate, &id, &verified), None, "control");
        assert_eq!(code(&by_certificate, &id, &presented), refused, "its chain was not verified");
        assert_eq!(code(&by_certificate, &id, &NOBODY), refused);
        assert_eq!(code(&by_certificate, good, &verified), refused, "it has registered another method");
        // FAPI2-AS-37
        assert_eq!(code(&by_certificate, &[], &verified), Some(Code::ClientUnknown));
    }

    #[test]
    fn keys_are_needed_for_what_they_verify() {
        let peer = Peer::Certificate(Arc::new(certificate()));
        let presented = PeerCertificate { peer: &peer, verified_chain: false };
        let assertion = form(&[("client_assertion_type", TYPE), ("client_assertion", "a.b.c")]);
        let registered = |method: Option<&str>| match method {
            None => Client::new(),
            Some("tls_client_auth") => Client::with(json!({
                "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "client.example",
            })),
            Some(method) => Client::with(json!({
                "token_endpoint_auth_method": method, "jwks": null, "jwks_uri": "https://client.example/jwks",
            })),
        };
        for (method, text, peer, expected) in [
            (None, &*assertion, &NOBODY, true),
            (None, "client_id=client-1", &presented, false),
            (Some("self_signed_tls_client_auth"), "client_id=client-1", &presented, true),
            (Some("self_signed_tls_client_auth"), "client_id=client-1", &NOBODY, false),
            (Some("self_signed_tls_client_auth"), &*assertion, &presented, false),
            (Some("tls_client_auth"), "client_id=client-1", &presented, false),
        ] {
            let parameters = Parameters::parse(text.as_bytes()).unwrap();
            let needed = Claim::of(&parameters).unwrap().needs_keys(&registered(method).registered, peer);
            assert_eq!(needed, expected, "{method:?} {text}");
        }
    }

    #[test]
    fn fapi2_as_07_fapi_1_and_a_waiver_have_more_audiences() {
        let client = Client::new();
        let endpoint = "https://as.example/token";
        let waived = Rules {
            audience_waived: Some(Period { since: NOW, until: NOW.plus(1) }),
            ..rules(ServerProfile::Fapi2Security)
        };
        let over = Rules {
            audience_waived: Some(Period { since: UnixTime(0), until: NOW }),
            ..rules(ServerProfile::Fapi2Security)
        };
        let proven = |rules: &Rules, audience: serde_json::Value| {
            let header = json!({ "alg": client.key.algorithm(), "kid": "c" });
            let claims = json!({ "iss": CLIENT, "sub": CLIENT, "aud": audience, "jti": "1", "exp": NOW.0 + 60 });
            let assertion = client.key.sign(&header, &claims);
            let form = form(&[("client_assertion_type", TYPE), ("client_assertion", &assertion)]);
            let parameters = Parameters::parse(form.as_bytes()).unwrap();
            let keys = client.keys();
            let keys = ClientKeySet { keys: &keys, self_signed: None };
            let claim = Claim::of(&parameters).unwrap();
            let proven = claim.prove(&client.registered, &keys, &NOBODY, rules, NOW).err();
            let unknown = claim.pass_without_keys(&NOBODY, rules, NOW).err();
            assert_eq!(proven, unknown, "without keys, the same is judged");
            proven.map(|error| error.code())
        };
        let wrong = Some(Code::ClientAssertionAudience);
        for (audience, fapi2, fapi1) in [
            (json!(ISSUER), None, None),
            (json!(endpoint), wrong, None),
            (json!([ISSUER, endpoint]), wrong, None),
            (json!(["https://other.example", endpoint]), wrong, None),
            (json!("https://other.example"), wrong, wrong),
            (json!(["https://other.example"]), wrong, wrong),
            (json!(1), wrong, wrong),
        ] {
            for (rules, expected) in [
                (&rules(ServerProfile::Fapi2Security), fapi2),
                (&rules(ServerProfile::Fapi1Advanced), fapi1),
                (&waived, fapi1),
                (&over, fapi2),
            ] {
                assert_eq!(proven(rules, audience.clone()), expected, "{audience} {:?}", rules.audience_waived);
            }
        }
    }

    #[test]
    fn a_client_that_is_not_registered_is_judged_by_what_it_shows() {
        let client = Client::new();
        let judged = |parameters: &[(&str, &str)], peer: &PeerCertificate<'_>| {
            let form = form(parameters);
            let (parameters, rules) =
                (Parameters::parse(form.as_bytes()).unwrap(), rules(ServerProfile::Fapi2Security));
            let claim = Claim::of(&parameters).map_err(|error| error.code())?;
            let client = claim.pass_without_keys(peer, &rules, NOW).map_err(|error| error.code())?;
            assert!(client.client().is_none() && client.assertion().is_none());
            Ok(client.id().to_owned())
        };
        let assertion = client.assertion();
        let good = [("client_assertion_type", TYPE), ("client_assertion", &*assertion)];
        assert_eq!(judged(&good, &NOBODY), Ok(CLIENT.to_owned()), "control");
        let peer = Peer::Certificate(Arc::new(certificate()));
        let presented = PeerCertificate { peer: &peer, verified_chain: true };
        assert_eq!(judged(&[("client_id", "x")], &presented), Ok("x".to_owned()), "control");
        let own = PeerCertificate { verified_chain: false, ..presented };
        assert_eq!(judged(&[("client_id", "x")], &own), Err(Code::ParUnauthenticated), "anybody makes one");
        assert_eq!(judged(&[("client_id", "x")], &NOBODY), Err(Code::ParUnauthenticated));
        assert_eq!(judged(&[("client_id", "x"), good[0], good[1]], &NOBODY), Err(Code::ClientAuthenticationRefused));
        assert_eq!(
            judged(&[("client_id", "x"), ("client_secret", "s")], &NOBODY),
            Err(Code::ClientAuthenticationRefused)
        );
    }
}
