//! DPoP proofs (RFC 9449 §4.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::jose::signing::{NotSigned, PrivateKey, Unsupported};
use crate::{UnixTime, sha256};

/// A private key and its public JWK, which is part of every proof. `Debug` does not show the private key.
#[derive(Debug)]
pub struct ProofKey {
    key: PrivateKey,
    jwk: Map<String, Value>,
}

/// The request that a proof is for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// `htm`: the method, as it will be sent.
    pub method: &'r str,
    /// `htu`: the URL, without query and fragment.
    pub url: &'r str,
    /// The access token of the request, which `ath` hashes; none for a token endpoint.
    pub access_token: Option<&'r str>,
    /// The nonce that the server sent in `DPoP-Nonce`.
    pub nonce: Option<&'r str>,
}

impl ProofKey {
    /// A key for proofs.
    ///
    /// # Errors
    /// [`Unsupported`] if the public key cannot be encoded.
    pub fn new(key: PrivateKey) -> Result<Self, Unsupported> {
        let jwk = key.public_jwk()?;
        Ok(Self { key, jwk })
    }

    /// Makes a proof for one request at `now`. `jti` must be unique to the proof.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn prove(&self, request: &Request<'_>, jti: &str, now: UnixTime) -> Result<String, NotSigned> {
        let header = json!({ "typ": "dpop+jwt", "alg": self.key.algorithm().as_str(), "jwk": self.jwk });
        let mut claims = json!({ "jti": jti, "htm": request.method, "htu": request.url, "iat": now.0 });
        let optional = [("ath", request.access_token.map(ath)), ("nonce", request.nonce.map(str::to_owned))];
        if let Some(claims) = claims.as_object_mut() {
            let given = optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
            claims.extend(given);
        }
        self.key.sign_jws(&header, &claims)
    }
}

/// RFC 9449 §4.2: the base64url-encoded SHA-256 hash of the access token's ASCII encoding.
pub fn ath(access_token: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(access_token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    #[test]
    fn a_proof_carries_the_public_key_and_the_claims_of_rfc_9449() {
        for algorithm in crate::jose::keys::Algorithm::ALL {
            let key = ProofKey::new(PrivateKey::generate(*algorithm).unwrap()).unwrap();
            let mut request = Request {
                method: "GET",
                url: "https://api.example/accounts",
                access_token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
                nonce: Some("n"),
            };
            let jwk = serde_json::from_value(Value::Object(key.jwk.clone())).unwrap();
            let mut validation = Validation::new(algorithm.as_str().parse::<Algorithm>().unwrap());
            validation.required_spec_claims.clear();
            let read =
                |proof: &str| decode::<Value>(proof, &DecodingKey::from_jwk(&jwk).unwrap(), &validation).unwrap();
            let proof = read(&key.prove(&request, "one", NOW).unwrap());
            assert_eq!(proof.header.typ.as_deref(), Some("dpop+jwt"));
            assert_eq!(serde_json::to_value(proof.header.jwk.unwrap()).unwrap()["kty"], key.jwk["kty"]);
            let expected = json!({
                "htm": "GET", "htu": "https://api.example/accounts", "iat": NOW.0, "jti": "one", "nonce": "n",
                // The example of RFC 9449 §7.1.
                "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo",
            });
            assert_eq!(proof.claims, expected);
            request.access_token = None;
            request.nonce = None;
            let bare = read(&key.prove(&request, "one", NOW).unwrap()).claims;
            assert_eq!((bare.get("ath"), bare.get("nonce")), (None, None));
        }
    }
}
