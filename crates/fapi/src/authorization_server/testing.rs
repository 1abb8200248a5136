//! Clients and rules for the tests of this module.

use std::sync::Arc;

use serde_json::{Value, json};

use super::authentication::{Authenticated, Claim, ClientKeySet};
use super::certificate::PeerCertificate;
use super::client::{ClientKeys, RegisteredClient};
use super::grant_type::{AUTHORIZATION_CODE, CLIENT_CREDENTIALS, REFRESH_TOKEN};
use super::parameters::Parameters;
use super::rules::{OtherParameters, Rules, ServerProfile, UnknownClients};
use crate::UnixTime;
use crate::jose::keys::{Algorithm, KeySet};
use crate::peer::{NoCertificate, Peer};
use crate::testing::{SigningKey, jwks};

pub(super) const NOW: UnixTime = UnixTime(1_800_000_000);
pub(super) const ISSUER: &str = "https://as.example";
pub(super) const CLIENT: &str = "client-1";
pub(super) const CALLBACK: &str = "https://client.example/callback";
pub(super) const NOBODY: PeerCertificate<'static> =
    PeerCertificate { peer: &Peer::Anonymous(NoCertificate::NotPresented), verified_chain: false };

pub(crate) fn rules(profile: ServerProfile) -> Rules {
    Rules {
        server: 0,
        issuer: ISSUER.into(),
        profile,
        jwt_responses: true,
        unknown_clients: UnknownClients::Refused,
        other_parameters: OtherParameters::Refused,
        grant_types: [AUTHORIZATION_CODE, REFRESH_TOKEN, CLIENT_CREDENTIALS].map(Box::from).to_vec(),
        endpoint_audiences: vec!["https://as.example/token".into()],
        shadow: None,
        audience_waived: None,
        response_issuer_waived: None,
        access_token_lifetime: None,
        refresh_token_rotation: false,
    }
}

/// A client that authenticates with private_key_jwt.
pub(super) struct Client {
    pub(super) key: SigningKey,
    pub(super) registered: Arc<RegisteredClient>,
}

impl Client {
    pub(super) fn new() -> Self {
        Self::with(json!({}))
    }

    /// With more in its metadata.
    pub(super) fn with(more: Value) -> Self {
        let key = SigningKey::generate(Algorithm::Es256, "c");
        let mut document = json!({
            "client_id": CLIENT,
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": jwks(&[&key]),
            "redirect_uris": [CALLBACK],
            "grant_types": [AUTHORIZATION_CODE, REFRESH_TOKEN, CLIENT_CREDENTIALS],
        });
        for (name, value) in more.as_object().unwrap() {
            document[name] = value.clone();
        }
        let registered = Arc::new(RegisteredClient::parse(document.to_string().as_bytes()).unwrap());
        Self { key, registered }
    }

    pub(super) fn keys(&self) -> Arc<KeySet> {
        match self.registered.keys() {
            ClientKeys::Given(keys) => keys.clone(),
            ClientKeys::None | ClientKeys::At(_) => panic!("the client has keys"),
        }
    }

    pub(super) fn assertion(&self) -> String {
        let header = json!({ "typ": "JWT", "alg": self.key.algorithm(), "kid": "c" });
        let claims = json!({
            "iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "jti": "1", "iat": NOW.0, "exp": NOW.0 + 60
        });
        self.key.sign(&header, &claims)
    }

    pub(super) fn authenticated(&self) -> Authenticated {
        let form = format!(
            "client_assertion_type={}&client_assertion={}",
            "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
            self.assertion()
        );
        let (parameters, rules) = (Parameters::parse(form.as_bytes()).unwrap(), rules(ServerProfile::Fapi2Security));
        let keys = self.keys();
        let keys = ClientKeySet { keys: &keys, self_signed: None };
        Claim::of(&parameters).unwrap().prove(&self.registered, &keys, &NOBODY, &rules, NOW).unwrap()
    }
}

/// A form or query of these parameters.
pub(super) fn form(parameters: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        form.append_pair(name, value);
    }
    form.finish()
}

/// The same parameters, with one of them replaced, or left out by an empty value.
pub(super) fn changed<'p>(parameters: &[(&'p str, &'p str)], name: &'p str, value: &'p str) -> Vec<(&'p str, &'p str)> {
    let others = parameters.iter().copied().filter(|(other, _)| *other != name);
    others.chain((!value.is_empty()).then_some((name, value))).collect()
}
