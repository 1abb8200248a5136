//! The tokens and proofs of policy tests, signed with keys that last for one run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fapi::UnixTime;
use fapi::client::proof::{self, ProofKey};
use fapi::jose::keys::Algorithm;
use fapi::jose::signing::PrivateKey;
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::peer::ClientCertificate;
use fapi::token::{Expected, ScopeForm, TokenType};
use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use crate::config::{Binding, Call, GivenToken};
use crate::issuer;

/// A key, a token or a proof that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the token or the proof of a test cannot be made")]
pub(super) struct Unable;

/// The issuers, each with a key of the first algorithm that it may sign with.
pub(super) struct Signers {
    issuers: Vec<Expected>,
    keys: BTreeMap<&'static str, PrivateKey>,
    made: AtomicU64,
}

impl Signers {
    pub(super) fn of(issuers: &[issuer::Settings]) -> Result<Self, Unable> {
        let issuers: Vec<Expected> = issuers.iter().map(|issuer| issuer.expected.clone()).collect();
        let mut keys = BTreeMap::new();
        for algorithm in issuers.iter().filter_map(algorithm) {
            if !keys.contains_key(algorithm.as_str()) {
                keys.insert(algorithm.as_str(), PrivateKey::generate(algorithm).map_err(|_| Unable)?);
            }
        }
        Ok(Self { issuers, keys, made: AtomicU64::new(0) })
    }

    /// The public keys, as each issuer publishes them.
    pub(super) fn jwks(&self) -> Vec<u8> {
        let jwk = |(kid, key): (&&str, &PrivateKey)| {
            let mut jwk = key.public_jwk().ok()?;
            jwk.extend(
                [("kid", *kid), ("alg", *kid), ("use", "sig")].map(|(name, text)| (name.to_owned(), text.into())),
            );
            Some(Value::Object(jwk))
        };
        let keys: Vec<Value> = self.keys.iter().filter_map(jwk).collect();
        json!({ "keys": keys }).to_string().into_bytes()
    }

    /// The token that the issuer makes at this time for a client with this certificate: with the claims of RFC 9068 §2.2, in the form
    /// that the issuer has.
    pub(super) fn token(
        &self,
        given: &GivenToken,
        clients: &Clients,
        certificate: &ClientCertificate,
        now: UnixTime,
    ) -> Result<String, Unable> {
        let issuer = self.issuers.get(given.issuer).ok_or(Unable)?;
        let algorithm = algorithm(issuer).ok_or(Unable)?;
        let key = self.keys.get(algorithm.as_str()).ok_or(Unable)?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let form = &issuer.form;
        let own_name = |claim: &str| match claim {
            "client_id" => form.client_claim().to_owned(),
            "scope" => form.scope_claim().to_owned(),
            claim => claim.to_owned(),
        };
        let usual = json!({
            "iss": &*issuer.issuer,
            "aud": issuer.audiences.first(),
            "sub": "customer-1",
            "client_id": "client-1",
            "iat": now.0,
            "exp": now.plus(300).0,
            "jti": format!("token-{number}"),
        });
        let mut claims = Map::new();
        if let Some((claim, kind)) = form.kind() {
            claims.insert(claim.to_owned(), kind.into());
        }
        let cnf = clients.cnf(given.binding, certificate);
        claims.extend(cnf.map(|cnf| ("cnf".to_owned(), cnf)));
        for (claim, value) in usual.as_object().into_iter().flatten() {
            if !given.without.contains(claim) {
                claims.insert(own_name(claim), value.clone());
            }
        }
        for (claim, value) in &given.claims {
            let value = match (claim.as_str(), value) {
                ("iat" | "nbf" | "exp" | "auth_time", Value::String(text)) => time(text, now).unwrap_or(value.clone()),
                ("scope", Value::String(scopes)) if form.scope_form() == ScopeForm::List => {
                    scopes.split(' ').filter(|scope| !scope.is_empty()).collect()
                }
                _ => value.clone(),
            };
            claims.insert(own_name(claim), value);
        }
        let mut header = json!({ "alg": algorithm.as_str(), "kid": algorithm.as_str() });
        let typ = match form.first_type() {
            Some(TokenType::AtJwt) | None => Some("at+jwt"),
            Some(TokenType::Jwt) => Some("JWT"),
            Some(TokenType::Absent) => None,
        };
        if let Some(typ) = typ {
            header["typ"] = typ.into();
        }
        key.sign_jws(&header, &claims.into()).map_err(|_| Unable)
    }
}

/// The algorithm that an issuer signs with: of those it may have, the one whose keys are made fastest.
fn algorithm(issuer: &Expected) -> Option<Algorithm> {
    let fastest = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Ps256];
    fastest.into_iter().find(|algorithm| issuer.algorithms.contains(algorithm))
}

/// A time before or after the call, such as `-10m` or `+1h`.
fn time(text: &str, now: UnixTime) -> Option<Value> {
    let (is_later, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (true, rest),
        ("-", rest) => (false, rest),
        _ => return None,
    };
    let seconds = humantime::parse_duration(rest).ok()?.as_secs();
    Some(if is_later { now.0.saturating_add(seconds) } else { now.0.saturating_sub(seconds) }.into())
}

/// The client of every call, and another whose tokens it could have stolen.
pub(super) struct Clients {
    own: Client,
    another: Client,
    anchor: CertificateDer<'static>,
    made: AtomicU64,
}

struct Client {
    certificate: Arc<ClientCertificate>,
    key: ProofKey,
    thumbprint: KeyThumbprint,
}

impl Client {
    /// A client with this certificate and a new key.
    fn with(der: &CertificateDer<'_>) -> Result<Self, Unable> {
        let certificate = ClientCertificate::from_der(der).map_err(|_| Unable)?.into();
        let key = PrivateKey::generate(Algorithm::EdDsa).map_err(|_| Unable)?;
        let thumbprint = key.public_jwk().ok().and_then(|jwk| KeyThumbprint::of_jwk(&jwk)).ok_or(Unable)?;
        Ok(Self { certificate, key: ProofKey::new(key).map_err(|_| Unable)?, thumbprint })
    }
}

impl Clients {
    pub(super) fn new() -> Result<Self, Unable> {
        let der = |pem: &[u8]| CertificateDer::from_pem_slice(pem).map_err(|_| Unable);
        let (own, another) = (der(CLIENT)?, der(ANOTHER_CLIENT)?);
        let (of_own, of_another) = (Client::with(&own)?, Client::with(&another)?);
        Ok(Self { own: of_own, another: of_another, anchor: own, made: AtomicU64::new(0) })
    }

    /// The certificate of the client.
    pub(super) const fn certificate(&self) -> &Arc<ClientCertificate> {
        &self.own.certificate
    }

    /// An authority for connections that are never made.
    pub(super) fn anchor(&self) -> CertificateDer<'static> {
        self.anchor.clone()
    }

    /// What the token of a client with this certificate is bound to.
    fn cnf(&self, binding: Binding, certificate: &ClientCertificate) -> Option<Value> {
        let (own, another) = (&self.own, &self.another);
        let x5t = |certificate: &ClientCertificate| certificate.thumbprint().to_string();
        let jkt = |client: &Client| client.thumbprint.to_string();
        Some(match binding {
            Binding::Certificate | Binding::MissingCertificate => json!({ "x5t#S256": x5t(certificate) }),
            Binding::AnotherCertificate => json!({ "x5t#S256": x5t(&another.certificate) }),
            Binding::Dpop | Binding::MissingProof => json!({ "jkt": jkt(own) }),
            Binding::AnotherKey => json!({ "jkt": jkt(another) }),
            Binding::Both => json!({ "x5t#S256": x5t(certificate), "jkt": jkt(own) }),
            Binding::None => return None,
        })
    }

    /// A proof of the client for this call and token (RFC 9449 §4.2).
    pub(super) fn proof(
        &self,
        call: &Call,
        token: &str,
        nonce: Option<&HeaderValue>,
        now: UnixTime,
    ) -> Result<String, Unable> {
        let nonce = nonce.map(|nonce| nonce.to_str().map_err(|_| Unable)).transpose()?;
        let request = proof::Request { method: call.method.as_str(), url: &call.url, access_token: Some(token), nonce };
        let jti = format!("proof-{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.own.key.prove(&request, &jti, now).map_err(|_| Unable)
    }
}

/// Certificates whose keys nobody has: only their thumbprints are compared, in no handshake.
const CLIENT: &[u8] = include_bytes!("client.pem");
const ANOTHER_CLIENT: &[u8] = include_bytes!("another_client.pem");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_before_or_after_the_call() {
        let at = |text| time(text, UnixTime(1000)).and_then(|value| value.as_u64());
        assert_eq!((at("-10m"), at("+1h"), at("-0s")), (Some(400), Some(4600), Some(1000)));
        for text in ["", "10m", "+", "-x", "2027-01-31"] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn the_certificates_of_the_clients_are_valid_whenever_a_call_is_made() {
        let clients = Clients::new().unwrap();
        assert_ne!(clients.own.certificate.thumbprint(), clients.another.certificate.thumbprint());
        for client in [&clients.own, &clients.another] {
            let valid = |at| client.certificate.valid_at(UnixTime(at));
            assert!(valid(0) && valid(1_800_000_000) && valid(200_000_000_000));
        }
    }
}
