//! What was verified about a request, as a signed JWT for its upstream (RFC 7519, RFC 8725 §3.11).
//!
//! A header field says what the gateway knows only where nobody else can write to the upstream. A signature says it
//! everywhere, and to whom, and when.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::UnixTime;
use crate::jose::signing::NotSigned;
use crate::jose::signing_keys::JwtSigner;
use crate::token::{ActiveToken, Claims, Confirmation};

/// The type of these JWTs, so that no other JWT of the same key passes for one.
pub const TYPE: &str = "identity+jwt";

/// How long one is valid, in seconds: long enough for clocks that differ, and for the way to the upstream.
pub const LIFETIME: u64 = 60;

/// How the requests of one route are vouched for.
#[derive(Debug)]
pub struct IdentityJwt {
    field: HeaderName,
    signer: JwtSigner,
    issuer: Box<str>,
    audience: Arc<str>,
    issuers: Vec<(Box<str>, Box<str>)>,
}

/// What was verified about one request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The configured name of the route.
    pub route: &'a str,
    /// The token.
    pub token: &'a ActiveToken,
    /// Its claims, which were valid when the request was judged.
    pub claims: &'a Claims,
    /// What it is bound to, if that was proven: in [shadow](crate::shadow) a request passes without.
    pub confirmation: Option<&'a Confirmation>,
    /// The claims that the route forwards, each with its header field.
    pub forwarded: &'a [(Box<str>, HeaderName)],
    /// The id of the exchange.
    pub interaction: &'a str,
    /// The time.
    pub now: UnixTime,
}

impl IdentityJwt {
    /// Vouches in this field, as `issuer`, to the upstream that is named `audience`.
    ///
    /// `issuers` are those whose tokens the route accepts: the configured name of each, and its identifier.
    pub const fn new(
        field: HeaderName,
        signer: JwtSigner,
        issuer: Box<str>,
        audience: Arc<str>,
        issuers: Vec<(Box<str>, Box<str>)>,
    ) -> Self {
        Self { field, signer, issuer, audience, issuers }
    }

    /// The header field.
    pub const fn field(&self) -> &HeaderName {
        &self.field
    }

    /// Signs the facts about one request. The value is marked as sensitive, so that HTTP/2 does not index it.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn sign(&self, facts: &Facts<'_>) -> Result<HeaderValue, NotSigned> {
        let jwt = self.signer.sign(&Value::Object(self.claims(facts)))?;
        let mut value = HeaderValue::try_from(jwt).map_err(|_| NotSigned)?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn claims(&self, facts: &Facts<'_>) -> Map<String, Value> {
        let text = |name: &'static str| facts.claims.text(name).map(|text| (name, Value::from(text)));
        let number = |name: &'static str| {
            facts.claims.get(name).filter(|value| value.is_number()).map(|value| (name, value.clone()))
        };
        let mut claims = object([
            ("iss", Value::from(&*self.issuer)),
            ("aud", Value::from(&*self.audience)),
            ("iat", Value::from(facts.now.0)),
            ("exp", Value::from(facts.now.plus(LIFETIME).0)),
            ("route", Value::from(facts.route)),
            ("interaction_id", Value::from(facts.interaction)),
        ]);
        claims.extend(object(["sub", "client_id", "scope", "acr"].into_iter().filter_map(text)));
        claims.extend(object(number("auth_time")));
        // The gateway sends this JWT, not the client: what the client's token is bound to is a fact about that token, and
        // `cnf` outside of it would ask the gateway for the client's key (RFC 7800 §3).
        let mut token = object([("id", Value::from(facts.token.id().to_string()))]);
        token.extend(object(facts.confirmation.map(|confirmation| ("cnf", cnf(confirmation)))));
        let issuer = self.issuers.iter().find(|(name, _)| **name == **facts.token.issuer());
        token.extend(object(issuer.map(|(_, identifier)| ("iss", Value::from(&**identifier)))));
        token.extend(object(["iat", "exp"].into_iter().filter_map(number)));
        claims.extend(object([("token", Value::Object(token))]));
        let forwarded = facts.forwarded.iter().filter_map(|(claim, _)| {
            // Nothing that is signed says that a token is bound if that is not proven.
            let is_unproven = **claim == *"cnf" && facts.confirmation.is_none();
            let value = facts.claims.get(claim).filter(|value| !is_unproven && !value.is_null())?;
            Some((&**claim, value.clone()))
        });
        let forwarded = object(forwarded);
        if !forwarded.is_empty() {
            claims.extend(object([("claims", Value::Object(forwarded))]));
        }
        claims
    }
}

/// The confirmation of a token (RFC 8705 §3.1, RFC 9449 §6.1).
fn cnf(confirmation: &Confirmation) -> Value {
    let certificate = confirmation.certificate().map(|thumbprint| ("x5t#S256", Value::from(thumbprint.to_string())));
    let key = confirmation.key().map(|thumbprint| ("jkt", Value::from(thumbprint.to_string())));
    Value::Object(object(certificate.into_iter().chain(key)))
}

fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::jose::keys::Algorithm;
    use crate::jose::signing::PrivateKey;
    use crate::jose::signing_keys::{NamedKey, SigningKeys};
    use crate::jose::thumbprint::{CertificateThumbprint, KeyThumbprint};
    use crate::testing::introspected;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn keys() -> Arc<SigningKeys> {
        let key = PrivateKey::generate(Algorithm::Es256).unwrap();
        Arc::new(SigningKeys::new(NamedKey::new(key, Some("one")).unwrap(), &[]))
    }

    fn identity(keys: &Arc<SigningKeys>) -> IdentityJwt {
        let issuers =
            vec![("wallet".into(), "https://wallet.example".into()), ("bank".into(), "https://as.example".into())];
        let signer = JwtSigner::new(keys.clone(), TYPE);
        let field = HeaderName::from_static("x-verified-identity");
        IdentityJwt::new(field, signer, "https://api.example".into(), "accounts".into(), issuers)
    }

    /// The claims that another library verifies, for a token of which its issuer says this.
    fn signed(answer: &Value, confirmation: Option<&Confirmation>, forwarded: &[(Box<str>, HeaderName)]) -> Value {
        let keys = keys();
        let token = introspected(answer, NOW);
        let claims = token.claims_at(NOW).unwrap();
        let facts =
            Facts { route: "all", token: &token, claims, confirmation, forwarded, interaction: "an-id", now: NOW };
        let value = identity(&keys).sign(&facts).unwrap();
        assert!(value.is_sensitive());
        let set: JwkSet = serde_json::from_str(keys.key_set()).unwrap();
        let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
        validation.set_audience(&["accounts"]);
        validation.set_issuer(&["https://api.example"]);
        // The time of the test is not that of the library's clock.
        validation.validate_exp = false;
        let key = DecodingKey::from_jwk(set.find("one").unwrap()).unwrap();
        decode(value.to_str().unwrap(), &key, &validation).unwrap().claims
    }

    #[test]
    fn fwd_08_the_facts_are_those_of_the_token_and_for_one_upstream() {
        let answer = json!({
            "active": true, "sub": "customer-1", "client_id": "client-1", "scope": "accounts openid", "acr": "loa3",
            "auth_time": NOW.0 - 5, "iat": NOW.0 - 10, "exp": NOW.0 + 300, "consent": { "id": 7 }, "email": "a@b.example",
        });
        let both = Confirmation::Both(CertificateThumbprint::from_bytes([1; 32]), KeyThumbprint::from_bytes([2; 32]));
        let forwarded = ["consent", "absent"].map(|claim| (claim.into(), HeaderName::from_static("x-token-consent")));
        let token = introspected(&answer, NOW);
        assert_eq!(
            signed(&answer, Some(&both), &forwarded),
            json!({
                "iss": "https://api.example", "aud": "accounts", "iat": NOW.0, "exp": NOW.0 + 60,
                "route": "all", "interaction_id": "an-id",
                "sub": "customer-1", "client_id": "client-1", "scope": "accounts openid", "acr": "loa3",
                "auth_time": NOW.0 - 5,
                "token": {
                    "iss": "https://as.example", "id": token.id().to_string(), "iat": NOW.0 - 10, "exp": NOW.0 + 300,
                    "cnf": {
                        "x5t#S256": CertificateThumbprint::from_bytes([1; 32]).to_string(),
                        "jkt": KeyThumbprint::from_bytes([2; 32]).to_string(),
                    },
                },
                "claims": { "consent": { "id": 7 } },
            })
        );
    }

    #[test]
    fn what_a_token_does_not_have_is_left_out() {
        let key = Confirmation::Key(KeyThumbprint::from_bytes([2; 32]));
        let claims = signed(&json!({ "active": true }), Some(&key), &[]);
        let mut members: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["aud", "exp", "iat", "interaction_id", "iss", "route", "token"]);
        assert_eq!(claims["token"]["cnf"], json!({ "jkt": KeyThumbprint::from_bytes([2; 32]).to_string() }));
        assert_eq!(claims["token"].get("exp"), None);
    }

    #[test]
    fn what_a_token_is_bound_to_is_not_signed_if_that_is_not_proven() {
        let answer = json!({ "active": true, "cnf": { "jkt": KeyThumbprint::from_bytes([2; 32]).to_string() } });
        let key = Confirmation::Key(KeyThumbprint::from_bytes([2; 32]));
        let forwarded = [(Box::from("cnf"), HeaderName::from_static("x-token-cnf"))];
        let unproven = signed(&answer, None, &forwarded);
        assert!(unproven.get("claims").is_none() && unproven["token"].get("cnf").is_none(), "{unproven}");
        let proven = signed(&answer, Some(&key), &forwarded); // control
        assert!(proven["claims"]["cnf"].is_object() && proven["token"]["cnf"].is_object(), "{proven}");
    }

    proptest! {
        /// Whatever an issuer calls a claim, it does not become another statement of the gateway's.
        #[test]
        fn no_claim_of_a_token_takes_the_place_of_the_gateways(name in "iss|aud|iat|exp|route|interaction_id|token|claims|nbf|[a-z]{1,5}", text in "\\PC{0,20}") {
            let mut answer = json!({ "active": true, "client_id": "client-1" });
            let reserved = ["aud", "iat", "exp", "nbf", "active", "iss", "scope", "cnf", "sub", "client_id", "acr"];
            if !reserved.contains(&name.as_str()) {
                answer[&name] = json!(text);
            }
            let key = Confirmation::Key(KeyThumbprint::from_bytes([2; 32]));
            let forwarded = [(Box::from(name.as_str()), HeaderName::from_static("x-token-a"))];
            let claims = signed(&answer, Some(&key), &forwarded);
            prop_assert_eq!(&claims["iss"], "https://api.example");
            prop_assert_eq!(&claims["aud"], "accounts");
            prop_assert_eq!(&claims["exp"], NOW.0 + 60);
            prop_assert_eq!(&claims["route"], "all");
            prop_assert_eq!(&claims["token"]["iss"], "https://as.example");
            if !reserved.contains(&name.as_str()) {
                prop_assert_eq!(&claims["claims"][&name], &json!(text));
            }
        }
    }
}
