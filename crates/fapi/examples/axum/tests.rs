//! What the documentation shows holds.

use fapi::client::proof::{self, ProofKey};
use fapi::jose::signing::PrivateKey;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use super::*;

const NOW: UnixTime = UnixTime(1_800_000_000);

/// The service, and a way to sign tokens that it accepts.
fn staged() -> (Api, impl Fn(Value) -> String) {
    let key = PrivateKey::generate(Algorithm::Es256).unwrap();
    let jwks = json!({ "keys": [key.public_jwk().unwrap()] }).to_string();
    let api = api(jwks.as_bytes(), [7; 32], UnixTime(NOW.0 - 3600)).unwrap();
    let token = move |cnf: Value| {
        let claims = json!({
            "iss": "https://as.example", "aud": "https://api.example", "sub": "alice", "client_id": "app", "jti": "1",
            "iat": NOW.0, "exp": NOW.0 + 300, "scope": "accounts", "cnf": cnf,
        });
        key.sign_jws(&json!({ "alg": "ES256", "typ": "at+jwt" }), &claims).unwrap()
    };
    (api, token)
}

/// The status and the challenges that a request without a client certificate gets; nothing if it is let through.
fn refused(api: &Api, fields: &[(&'static str, &str)]) -> Option<(u16, Vec<String>)> {
    let request =
        fields.iter().fold(http::Request::get("/accounts"), |request, (name, value)| request.header(*name, *value));
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let mut seen = Seen::default();
    let judged = api.judge(&parts, &Peer::Anonymous(NoCertificate::NotPresented), NOW, &mut seen);
    let authorized = judged.map(|judged| match judged {
        Judged::Authorized(authorized) => authorized,
        Judged::AwaitsForm(_)
        | Judged::AwaitsBody(_)
        | Judged::AwaitsSignature(_)
        | Judged::AwaitsConsent(_)
        | Judged::AwaitsParameters(_) => {
            panic!("the request has no body")
        }
    });
    let cause = authorized.and_then(|authorized| api.redeem(authorized, NOW)).err()?;
    let response = Rejection::new(cause, seen).response(&InteractionId::from_uuid(uuid::Uuid::nil()));
    let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
    Some((response.status().as_u16(), challenges.map(|value| value.to_str().unwrap().to_owned()).collect()))
}

#[test]
fn a_request_without_a_token_is_challenged_for_both_schemes() {
    let (status, challenges) = refused(&staged().0, &[]).unwrap();
    assert_eq!(status, 401);
    let expected =
        [r#"DPoP realm="https://api.example", algs="PS256 ES256 EdDSA""#, r#"Bearer realm="https://api.example""#];
    assert_eq!(challenges, expected);
}

#[test]
fn a_bound_token_passes_once_with_each_proof() {
    let (api, token) = staged();
    let key = PrivateKey::generate(Algorithm::Es256).unwrap();
    let thumbprint = fapi::jose::thumbprint::KeyThumbprint::of_jwk(&key.public_jwk().unwrap()).unwrap();
    let (token, key) = (token(json!({ "jkt": thumbprint.to_string() })), ProofKey::new(key).unwrap());
    let request =
        proof::Request { method: "GET", url: "https://api.example/accounts", access_token: Some(&token), nonce: None };
    let proof = key.prove(&request, "1", NOW).unwrap();
    let fields = [(AUTHORIZATION.as_str(), &*format!("DPoP {token}")), ("dpop", &*proof)];
    assert_eq!(refused(&api, &fields), None);
    let (status, challenges) = refused(&api, &fields).unwrap();
    assert!(status == 401 && challenges[0].contains("error=\"invalid_dpop_proof\""), "{challenges:?}");
    let stolen = [(AUTHORIZATION.as_str(), &*format!("Bearer {token}"))];
    assert_eq!(refused(&api, &stolen).unwrap().0, 401);
}
