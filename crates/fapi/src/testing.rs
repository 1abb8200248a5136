//! What the tests of several steps need: keys to sign with, forged JWTs, tokens of an issuer that was asked, client
//! certificates and routes.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use crate::UnixTime;
use crate::credentials::PresentedToken;
use crate::dpop::{Freshness, Nonces};
use crate::error_format::ErrorFormat;
use crate::jose::keys::Algorithm;
use crate::jose::signing::PrivateKey;
use crate::peer::ClientCertificate;
use crate::route::{Forward, Limits, OnExpiry, PathCharacters, Pattern, Requirement, Route, UpstreamRef};
use crate::token::introspection::Answer;
use crate::token::{AccessTokenForm, ActiveToken, Expected, MissingAudience, TokenIds};

/// An object with some members replaced, or removed by `null`.
pub(crate) fn with_members(mut object: Value, members: &Value) -> Value {
    let known = object.as_object_mut().unwrap();
    known.extend(members.as_object().unwrap().clone());
    known.retain(|name, value| !(value.is_null() && members.get(name).is_some()));
    object
}

/// The token `token` for this resource, of which its issuer says this too.
pub(crate) fn introspected(answer: &Value, now: UnixTime) -> ActiveToken {
    let mut answer = answer.clone();
    answer["aud"] = json!("https://rs.example");
    let Ok(Answer::Active(answer)) = Answer::from_json(answer.to_string().as_bytes()) else {
        panic!("the token is active")
    };
    let ids = TokenIds::of(PresentedToken::unparsed("token"));
    ActiveToken::from_introspection(answer, ids, &expected(), MissingAudience::Refuse, now).unwrap()
}

/// What is expected of the tokens of `https://as.example` for `https://rs.example`, those of RFC 9068.
pub(crate) fn expected() -> Expected {
    Expected {
        name: "bank".into(),
        issuer: "https://as.example".into(),
        audiences: vec!["https://rs.example".into()],
        algorithms: Algorithm::ALL.to_vec(),
        rs256: None,
        form: AccessTokenForm::default(),
    }
}

/// A self-signed client certificate that is valid from 1975 to 4096.
pub(crate) fn certificate() -> ClientCertificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let der = rcgen::CertificateParams::new(vec!["client.example".into()]).unwrap().self_signed(&key).unwrap();
    ClientCertificate::from_der(der.der()).unwrap()
}

/// Proofs of at most 60 seconds, by a clock that may be 10 ahead, and nonces that are replaced after 60.
pub(crate) fn freshness() -> Freshness {
    Freshness { max_age: 60, clock_skew: 10, nonces: Nonces::new(&[[1; 32]], 60).unwrap() }
}

/// A route for GET on every host.
pub(crate) fn route(name: &str, pattern: &str, requirement: Requirement) -> Route {
    Route {
        name: name.into(),
        pattern: Pattern::parse(pattern).unwrap(),
        path_characters: PathCharacters::Strict,
        hosts: vec![],
        methods: vec![Method::GET],
        requirement,
        upstream: UpstreamRef { name: "accounts".into(), index: 0 },
        forward: Forward::default(),
        limits: Limits::default(),
        on_expiry: OnExpiry::default(),
        errors: ErrorFormat::default(),
        cors: None,
    }
}

/// An issuer's key with its `kid`.
pub(crate) struct SigningKey {
    key: PrivateKey,
    kid: &'static str,
}

impl SigningKey {
    pub(crate) fn generate(algorithm: Algorithm, kid: &'static str) -> Self {
        Self { key: PrivateKey::generate(algorithm).unwrap(), kid }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        self.key.algorithm().as_str()
    }

    pub(crate) fn kid(&self) -> &str {
        self.kid
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.key.sign_jws(header, claims).unwrap()
    }

    /// Signs with RS256, which no profile allows; only for an RSA key.
    pub(crate) fn sign_rs256(&self, header: &Value, claims: &Value) -> String {
        let PrivateKey::Rsa(key) = &self.key else { panic!("not an RSA key") };
        let input = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The signature of what is not built from values, in base64url.
    pub(crate) fn signature(&self, signed: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).unwrap())
    }

    /// The public key as the issuer publishes it.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = self.key.public_jwk().unwrap();
        jwk.extend([("kid".to_owned(), json!(self.kid)), ("use".to_owned(), json!("sig"))]);
        Value::Object(jwk)
    }
}

pub(crate) fn jwks(keys: &[&SigningKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

/// An unsecured JWS (RFC 7515 appendix A.5).
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.", part(header), part(claims))
}

/// A JWS authenticated with HMAC SHA-256.
pub(crate) fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let input = format!("{}.{}", part(header), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
