//! The examples of the RFCs, each judged by the step that implements its section. The data is in `vectors/`, by RFC and
//! section; an example that FAPI forbids is included as a refusal.

use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fapi::UnixTime;
use fapi::code::{Code, OAuthError};
use fapi::credentials::{Credentials, CredentialsError, Scheme, form_has_token};
use fapi::dpop::{Freshness, Nonces, ProofContext, SignedProof, VerifiedProof};
use fapi::headers::{InteractionId, client_cert_chain};
use fapi::jose::keys::{Algorithm, KeyError, KeySet, VerifyingKey};
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::peer::ClientCertificate;
use fapi::policy::{IssuerIndex, NonceMode, Policy, PolicyError, ScopeRule};
use fapi::rejection::{Cause, Rejection, Seen};
use fapi::route::{Forward, OnExpiry, Origin, PathCharacters, Pattern, Requirement, Route, Target, UpstreamRef};
use fapi::sender::SenderError;
use fapi::text::Names;
use fapi::token::{
    AccessTokenForm, ActiveToken, Confirmation, ConfirmationError, Expected, TokenError, TokenHash, UnverifiedJws,
};
use fapi_gateway::replay::keys::KnownKeys;
use http::{HeaderMap, header};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use sandbox::tokens::{KeyKind, SigningKey, ath, jwks};
use serde_json::{Map, Value, json};

const RFC_6750: &str = include_str!("../vectors/rfc6750.json");
const RFC_7515: &str = include_str!("../vectors/rfc7515.json");
const RFC_7638: &str = include_str!("../vectors/rfc7638.json");
const RFC_8037: &str = include_str!("../vectors/rfc8037.json");
const RFC_8705: &str = include_str!("../vectors/rfc8705.json");
const RFC_9068: &str = include_str!("../vectors/rfc9068.json");
const RFC_9440: &str = include_str!("../vectors/rfc9440.json");
const RFC_9449: &str = include_str!("../vectors/rfc9449.json");

// --- RFC 6750

#[test]
fn rfc6750_2_1_token_in_the_authorization_field_is_taken() {
    let section = section(RFC_6750, "2.1");
    let headers = bearer(text(&section, "authorization"));
    let credentials = Credentials::from_request(&headers, None, &[Scheme::Bearer]).unwrap();
    assert_eq!(credentials.token().as_str(), "mF_9.B5f-4.1JqM");
}

#[test]
fn rfc6750_2_2_token_in_the_form_body_is_found_and_is_no_credential() {
    let section = section(RFC_6750, "2.2");
    let body = text(&section, "body");
    assert!(form_has_token(body.as_bytes()));
    assert!(!form_has_token(body.replace("access_token", "refresh_token").as_bytes())); // control
    assert_eq!(CredentialsError::FieldAndBody.code(), Code::CredentialsRepeated);
}

#[test]
fn rfc6750_2_3_token_in_the_query_is_refused() {
    let field = bearer(text(&section(RFC_6750, "2.1"), "authorization"));
    assert!(Credentials::from_request(&field, Some("p=q"), &[Scheme::Bearer]).is_ok()); // control
    for query in section(RFC_6750, "2.3")["query"].as_array().unwrap() {
        let refused = |headers: &HeaderMap| {
            Credentials::from_request(headers, query.as_str(), &[Scheme::Bearer]).unwrap_err().code()
        };
        assert_eq!(refused(&HeaderMap::new()), Code::CredentialsInQuery);
        assert_eq!(refused(&field), Code::CredentialsRepeated);
    }
}

/// BEAR-04, BEAR-05, BEAR-07, BEAR-08.
#[test]
fn rfc6750_3_our_challenges_have_the_shape_of_the_examples() {
    let section = section(RFC_6750, "3");
    let expired = TokenError::Expired { at: UnixTime(1), now: UnixTime(2) };
    for (example, ours) in
        [("no_credentials", challenge(CredentialsError::Missing, None)), ("expired", challenge(expired, None))]
    {
        let (scheme, printed) = parameters(text(&section, example));
        let (our_scheme, own) = parameters(&ours);
        assert_eq!(our_scheme, scheme, "{ours}");
        assert_eq!(names(&own), names(&printed), "{ours}");
        assert_eq!(value(&own, "error"), value(&printed, "error"), "{ours}");
    }
    // "the scope attribute is a space-delimited list of case-sensitive scope values indicating the required scope".
    let insufficient = PolicyError::ScopeInsufficient { found: Names::default(), needed: "all".into() };
    let ours = challenge(insufficient, Some(route(&["accounts", "Payments"])));
    let (_, own) = parameters(&ours);
    assert_eq!(names(&own), ["realm", "error", "error_description", "scope"]);
    assert_eq!(value(&own, "scope"), Some("accounts Payments"));
}

/// BEAR-06.
#[test]
fn rfc6750_3_1_every_code_has_the_status_of_its_error() {
    let errors = section(RFC_6750, "3.1")["errors"].as_object().unwrap().clone();
    for error in [OAuthError::InvalidRequest, OAuthError::InvalidToken, OAuthError::InsufficientScope] {
        assert!(errors.contains_key(error.as_str()));
    }
    for code in Code::ALL {
        match code.oauth_error() {
            // RFC 9449 §7.1 and §9, and RFC 9470 §3, define errors of their own.
            Some(
                OAuthError::InvalidDpopProof | OAuthError::UseDpopNonce | OAuthError::InsufficientUserAuthentication,
            ) => assert_eq!(code.status(), 401, "{code}"),
            // Those of authorization servers have other statuses (RFC 6749 §5.2).
            Some(
                error @ (OAuthError::InvalidRequest
                | OAuthError::InvalidToken
                | OAuthError::InsufficientScope
                | OAuthError::InsufficientRights),
            ) => assert_eq!(errors[error.as_str()], code.status().as_u16(), "{code}"),
            Some(OAuthError::InvalidClient) => assert_eq!(code.status(), 401, "{code}"),
            Some(
                OAuthError::InvalidParameters
                | OAuthError::UnsupportedGrantType
                | OAuthError::UnsupportedResponseType
                | OAuthError::InvalidRequestObject
                | OAuthError::InvalidClientMetadata
                | OAuthError::InvalidRedirectUri
                | OAuthError::InvalidSoftwareStatement,
            ) => assert_eq!(code.status(), 400, "{code}"),
            None => {}
        }
    }
}

// --- RFC 7515

#[test]
fn rfc7515_a_1_hs256_is_refused() {
    let section = section(RFC_7515, "A.1");
    assert_eq!(algorithm(text(&section, "jws")), Err(Code::TokenAlgorithmRefused));
    assert_eq!(VerifyingKey::from_jwk(object(&section, "jwk")).unwrap_err(), KeyError::Private { member: "k" });
}

#[test]
fn rfc7515_a_3_es256_verifies_and_every_changed_part_does_not() {
    let section = section(RFC_7515, "A.3");
    let jws = text(&section, "jws");
    let key = VerifyingKey::from_jwk(&public(object(&section, "jwk"))).unwrap();
    assert_eq!(algorithm(jws), Ok(Algorithm::Es256));
    let claims = verify(jws, &key).unwrap();
    assert_eq!(Value::Object(claims), json!({"iss": "joe", "exp": 1_300_819_380, "http://example.com/is_root": true}));
    let (signed, signature) = jws.rsplit_once('.').unwrap();
    let other_payload = URL_SAFE_NO_PAD.encode(r#"{"iss":"joe","exp":1300819381}"#);
    let (header, _) = signed.split_once('.').unwrap();
    assert_eq!(verify(&format!("{header}.{other_payload}.{signature}"), &key), Err(Code::TokenSignatureInvalid));
    let flipped = signature.replacen('D', "E", 1);
    assert_eq!(verify(&format!("{signed}.{flipped}"), &key), Err(Code::TokenSignatureInvalid));
    let stranger = SigningKey::generate(KeyKind::Es256, "a").bare_jwk();
    let stranger = VerifyingKey::from_jwk(stranger.as_object().unwrap()).unwrap();
    assert_eq!(verify(jws, &stranger), Err(Code::TokenSignatureInvalid));
}

#[test]
fn rfc7515_a_3_the_private_key_is_no_verifying_key() {
    let section = section(RFC_7515, "A.3");
    let jwk = object(&section, "jwk");
    assert!(VerifyingKey::from_jwk(&public(jwk)).is_ok()); // control
    assert_eq!(VerifyingKey::from_jwk(jwk).unwrap_err(), KeyError::Private { member: "d" });
}

#[test]
fn rfc7515_a_4_es512_is_refused_and_so_is_its_key() {
    let section = section(RFC_7515, "A.4");
    // The payload is the word "Payload", so this is not a JWT.
    assert_eq!(algorithm(text(&section, "jws")), Err(Code::TokenMalformed));
    let header = text(&section, "jws").split('.').next().unwrap();
    let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"joe"}"#);
    assert_eq!(algorithm(&format!("{header}.{claims}.AAAA")), Err(Code::TokenAlgorithmRefused));
    assert_eq!(VerifyingKey::from_jwk(object(&section, "jwk")).unwrap_err(), KeyError::NotForVerifying);
}

#[test]
fn rfc7515_a_5_none_is_refused() {
    let jws = section(RFC_7515, "A.5");
    assert_eq!(algorithm(text(&jws, "jws")), Err(Code::TokenAlgorithmRefused));
}

// --- RFC 7638

#[test]
fn rfc7638_3_1_thumbprints_are_those_of_an_implementation_that_gives_the_example() {
    let section = section(RFC_7638, "3.1");
    let thumbprint =
        |jwk: Value| serde_json::from_value::<Jwk>(jwk).unwrap().thumbprint(ThumbprintHash::SHA256).unwrap();
    assert_eq!(thumbprint(section["jwk"].clone()), text(&section, "thumbprint"));
    for kind in KeyKind::ALL {
        let key = SigningKey::generate(kind, "2011-04-29");
        assert_eq!(key.thumbprint(), thumbprint(key.jwk()), "{kind:?}");
    }
}

#[test]
fn rfc7638_3_1_the_key_is_for_rs256_and_verifies_nothing() {
    let section = section(RFC_7638, "3.1");
    let mut jwk = object(&section, "jwk").clone();
    let found = jwk["alg"].to_string().into();
    assert_eq!(VerifyingKey::from_jwk(&jwk).unwrap_err(), KeyError::OtherPurpose { member: "alg", found });
    jwk.remove("alg");
    assert_eq!(VerifyingKey::from_jwk(&jwk).unwrap().algorithm(), Algorithm::Ps256); // control
}

// --- RFC 8037

#[test]
fn rfc8037_a_1_the_private_key_is_no_verifying_key() {
    let private = section(RFC_8037, "A.1");
    assert_eq!(VerifyingKey::from_jwk(object(&private, "jwk")).unwrap_err(), KeyError::Private { member: "d" });
}

#[test]
fn rfc8037_a_2_the_public_key_verifies_eddsa() {
    let (private, public) = (section(RFC_8037, "A.1"), section(RFC_8037, "A.2"));
    let key = VerifyingKey::from_jwk(object(&public, "jwk")).unwrap();
    assert_eq!(key.algorithm(), Algorithm::EdDsa);
    let bytes = |jwk: &Value, name: &str| URL_SAFE_NO_PAD.decode(jwk["jwk"][name].as_str().unwrap()).unwrap();
    let pair = Ed25519KeyPair::from_seed_and_public_key(&bytes(&private, "d"), &bytes(&private, "x")).unwrap();
    let sign = |signed: &str| format!("{signed}.{}", URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())));
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for header in [r#"{"alg":"EdDSA"}"#, r#"{"alg":"Ed25519"}"#] {
        let jws = sign(&format!("{}.{}", encode(header), encode(r#"{"iss":"joe"}"#)));
        assert_eq!(algorithm(&jws), Ok(Algorithm::EdDsa));
        assert_eq!(verify(&jws, &key).map(Value::Object), Ok(json!({"iss": "joe"})));
        let moved = jws.replace(&encode(r#"{"iss":"joe"}"#), &encode(r#"{"iss":"jim"}"#));
        assert_eq!(verify(&moved, &key), Err(Code::TokenSignatureInvalid));
    }
    // A.4: the same key produces the example's signature, so the pair above is the RFC's.
    let example = section(RFC_8037, "A.4");
    let jws = text(&example, "jws");
    assert_eq!(sign(jws.rsplit_once('.').unwrap().0), jws);
}

#[test]
fn rfc8037_a_3_thumbprints_are_those_of_an_implementation_that_gives_the_example() {
    let jwk: Jwk = serde_json::from_value(section(RFC_8037, "A.2")["jwk"].clone()).unwrap();
    let example = section(RFC_8037, "A.3");
    assert_eq!(jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), text(&example, "thumbprint"));
    let key = SigningKey::generate(KeyKind::EdDsa, "a");
    let ours: Jwk = serde_json::from_value(key.jwk()).unwrap();
    assert_eq!(key.thumbprint(), ours.thumbprint(ThumbprintHash::SHA256).unwrap());
}

#[test]
fn rfc8037_a_4_a_payload_that_is_no_json_is_refused() {
    assert_eq!(algorithm(text(&section(RFC_8037, "A.4"), "jws")), Err(Code::TokenMalformed));
}

// --- RFC 8705

#[test]
fn rfc8705_3_1_cnf_is_read_but_its_example_has_bits_that_no_hash_has() {
    let section = section(RFC_8705, "3.1");
    let cnf = &section["claims"]["cnf"];
    let example = text(cnf, "x5t#S256");
    // 43 characters hold 258 bits; RFC 4648 §3.5 allows a decoder to reject non-zero bits in the last two.
    assert_eq!(confirmation(cnf), Err(Code::ConfirmationMalformed));
    let canonical = format!("{}0", example.strip_suffix('2').unwrap());
    assert_eq!(confirmation(&json!({"x5t#S256": canonical})), Ok(canonical.clone()));
    assert_eq!(URL_SAFE_NO_PAD.decode(&canonical).unwrap().len(), 32);
}

#[test]
fn rfc8705_a_the_certificate_has_the_thumbprint_of_the_cnf() {
    let section = section(RFC_8705, "A");
    let certificate = ClientCertificate::from_der(&der(&section)).unwrap();
    assert_eq!(certificate.thumbprint().to_string(), text(&section["cnf"], "x5t#S256"));
    let Ok(Confirmation::Certificate(thumbprint)) = Confirmation::from_claim(section.get("cnf")) else {
        panic!("the cnf of the appendix is refused");
    };
    assert_eq!(thumbprint, *certificate.thumbprint());
    assert_eq!(certificate.subject(), "CN=mtls");
    // 2018-10-18 12:37:09 to 2022-05-02 12:37:09
    assert!(certificate.valid_at(UnixTime(1_539_866_229)) && !certificate.valid_at(UnixTime(1_539_866_228)));
    assert!(certificate.valid_at(UnixTime(1_651_495_029)) && !certificate.valid_at(UnixTime(1_651_495_030)));
}

#[test]
fn rfc8705_a_another_certificate_has_another_thumbprint() {
    let certificate = ClientCertificate::from_der(&der(&section(RFC_9440, "A"))).unwrap();
    assert_ne!(certificate.thumbprint().to_string(), text(&section(RFC_8705, "A")["cnf"], "x5t#S256"));
}

// --- RFC 9068

#[test]
fn rfc9068_3_header_and_claims_are_accepted_with_an_algorithm_of_fapi() {
    let issuer = Issuer::new();
    let (header, claims) = issuer.example();
    let token = issuer.judge(&header, &claims).unwrap();
    let claims = token.claims_at(UnixTime(NOW)).unwrap();
    assert_eq!(claims.text("client_id"), Some("s6BhdRkqt3"));
    assert_eq!(claims.scopes().collect::<Vec<_>>(), ["openid", "profile", "reademail"]);
    assert_eq!(token.expires_at(), Some(UnixTime(1_639_528_912)));
    // It is bound to no key or certificate, so it grants no access.
    assert_eq!(token.confirmation().unwrap_err(), ConfirmationError::Unbound);
}

#[test]
fn rfc9068_3_the_example_as_printed_says_rs256_and_is_refused() {
    let issuer = Issuer::new();
    let (mut header, claims) = issuer.example();
    assert_eq!(issuer.code(&header, &claims), None); // control
    header["alg"] = section(RFC_9068, "3")["header"]["alg"].clone();
    assert_eq!(issuer.code(&header, &claims), Some(Code::TokenAlgorithmRefused));
}

#[test]
fn rfc9068_4_any_other_typ_is_refused() {
    let issuer = Issuer::new();
    let (mut header, claims) = issuer.example();
    for typ in ["at+JWT", "at+jwt", "application/at+jwt"] {
        header["typ"] = json!(typ);
        assert_eq!(issuer.code(&header, &claims), None, "{typ}"); // control
    }
    for typ in ["JWT", "jwt", "dpop+jwt", "logout+jwt", ""] {
        header["typ"] = json!(typ);
        assert_eq!(issuer.code(&header, &claims), Some(Code::TokenTypeWrong), "{typ}");
    }
    header.as_object_mut().unwrap().remove("typ");
    assert_eq!(issuer.code(&header, &claims), Some(Code::TokenTypeWrong));
}

#[test]
fn rfc9068_2_2_every_required_claim_is_missed() {
    let issuer = Issuer::new();
    let (header, claims) = issuer.example();
    for claim in section(RFC_9068, "2.2")["required"].as_array().unwrap() {
        let mut claims = claims.clone();
        assert!(claims.as_object_mut().unwrap().remove(claim.as_str().unwrap()).is_some());
        assert_eq!(issuer.code(&header, &claims), Some(Code::TokenClaimMissing), "{claim}");
    }
}

#[test]
fn rfc9068_4_issuer_audience_and_time_are_judged() {
    let issuer = Issuer::new();
    let (header, claims) = issuer.example();
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        issuer.code(&header, &claims)
    };
    assert_eq!(with("aud", json!(["https://other.example", "https://rs.example.com/"])), None); // control
    assert_eq!(with("iss", json!("https://authorization-server.example.com")), Some(Code::TokenIssuerUnknown));
    assert_eq!(with("aud", json!("https://rs.example.com")), Some(Code::TokenAudienceMismatch));
    assert_eq!(with("exp", json!(NOW)), Some(Code::TokenExpired));
    assert_eq!(with("iat", json!(NOW + 11)), Some(Code::TokenIssuedInFuture));
}

// --- RFC 9440

#[test]
fn rfc9440_a_client_cert_is_that_of_the_example() {
    let section = section(RFC_9440, "A");
    let certificate = ClientCertificate::from_der(&der(&section)).unwrap();
    assert_eq!(certificate.header_value().to_str().unwrap(), text(&section, "client_cert"));
    let chain = text(&section, "client_cert_chain");
    let above: Vec<_> = chain.split(", ").map(|item| STANDARD.decode(item.trim_matches(':')).unwrap()).collect();
    assert_eq!(client_cert_chain(&above).unwrap().to_str().unwrap(), chain);
}

// --- RFC 9449

/// Checks the request of RFC 9449 §7.1 with this proof, sent to that path at that time.
fn judge_proof(section: &Value, proof: &str, path: &str, now: u64) -> Result<VerifiedProof, Code> {
    let request = http::Request::get(path)
        .header("authorization", format!("DPoP {}", text(section, "access_token")))
        .header("dpop", proof)
        .body(())
        .unwrap();
    let (request, ()) = request.into_parts();
    let origin = Arc::new(Origin::parse(text(section, "origin")).unwrap());
    let target = Target::parse(&request, &origin).unwrap();
    let credentials = Credentials::from_request(&request.headers, None, &[Scheme::Dpop]).unwrap();
    let freshness = Freshness { max_age: 60, clock_skew: 10, nonces: Nonces::new(&[[1; 32]], 60).unwrap() };
    let context = ProofContext {
        target: &target,
        nonce: NonceMode::Never,
        freshness: &freshness,
        keys: &KnownKeys::new(10),
        replay_log_began: &|| UnixTime(0),
        now: UnixTime(now),
    };
    SignedProof::verify(credentials.proofs(), credentials.token(), &context)
        .and_then(|proof| proof.check_freshness(&context))
        .map_err(|error| error.code())
}

#[test]
fn rfc9449_7_1_the_proof_of_the_example_fits_its_request_and_no_other() {
    let section = section(RFC_9449, "7.1");
    let (proof, path) = (text(&section, "proof"), text(&section, "path"));
    let iat = section["iat"].as_u64().unwrap();
    let judge = |path: &str, now| judge_proof(&section, proof, path, now).map(|proof| proof.key().to_string());
    let jkt = text(&self::section(RFC_9449, "6.1"), "jkt").to_owned();
    assert_eq!(judge(path, iat), Ok(jkt.clone()));
    assert_eq!((judge(path, iat + 60), judge(path, iat - 10)), (Ok(jkt.clone()), Ok(jkt)));
    assert_eq!((judge(path, iat + 61), judge(path, iat - 11)), (Err(Code::DpopStale), Err(Code::DpopStale)));
    assert_eq!(judge("/another", iat), Err(Code::DpopUriMismatch));
    let mut other = section.clone();
    other["access_token"] = json!("another");
    assert_eq!(judge_proof(&other, proof, path, iat).err(), Some(Code::DpopAthMismatch));
}

#[test]
fn rfc9449_4_1_the_proof_for_the_token_endpoint_is_none_for_a_resource() {
    let (request, own) = (section(RFC_9449, "7.1"), section(RFC_9449, "4.1"));
    let iat = request["iat"].as_u64().unwrap();
    // Its signature is valid, so the next check is the one that refuses it.
    let refused = judge_proof(&request, text(&own, "proof"), text(&request, "path"), iat);
    assert_eq!(refused.err(), Some(Code::DpopMethodMismatch));
    let broken = text(&own, "proof").replace(".2-G", ".3-G");
    let refused = judge_proof(&request, &broken, text(&request, "path"), iat);
    assert_eq!(refused.err(), Some(Code::DpopSignatureInvalid));
}

#[test]
fn rfc9449_4_2_ath_is_that_of_the_example() {
    let section = section(RFC_9449, "7.1");
    assert_eq!(ath(text(&section, "access_token")), text(&section, "ath"));
    let payload = text(&section, "proof").split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!((&claims["ath"], &claims["htm"]), (&section["ath"], &section["method"]));
}

#[test]
fn rfc9449_6_1_jkt_is_the_thumbprint_of_the_proofs_key() {
    let section = section(RFC_9449, "6.1");
    let part = |jws: &str, place: usize| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jws.split('.').nth(place).unwrap()).unwrap()).unwrap()
    };
    let cnf = part(text(&section, "access_token"), 1)["cnf"].clone();
    assert_eq!(confirmation(&cnf).as_deref(), Ok(text(&section, "jkt")));
    let jwk = part(text(&self::section(RFC_9449, "4.1"), "proof"), 0)["jwk"].clone();
    let thumbprint = KeyThumbprint::of_jwk(jwk.as_object().unwrap()).unwrap();
    assert_eq!(thumbprint.to_string(), text(&section, "jkt"));
}

#[test]
fn rfc7638_3_1_thumbprints_of_proof_keys_are_those_of_the_example() {
    let section = section(RFC_7638, "3.1");
    let thumbprint = |jwk: &Value| KeyThumbprint::of_jwk(jwk.as_object().unwrap()).map(|jkt| jkt.to_string());
    assert_eq!(thumbprint(&section["jwk"]).as_deref(), Some(text(&section, "thumbprint")));
    let okp = self::section(RFC_8037, "A.2");
    let expected = self::section(RFC_8037, "A.3");
    assert_eq!(thumbprint(&okp["jwk"]).as_deref(), Some(text(&expected, "thumbprint")));
}

// --- helpers

/// A moment at which the token of RFC 9068 §3 is valid.
const NOW: u64 = 1_618_354_091;

/// The authorization server of RFC 9068 §3, with a key of its own.
struct Issuer {
    key: SigningKey,
    keys: KeySet,
    expected: Expected,
}

impl Issuer {
    fn new() -> Self {
        let key = SigningKey::generate(KeyKind::Ps256, "RjEwOwOA");
        let keys = KeySet::parse(jwks(&[&key]).to_string().as_bytes()).unwrap();
        let expected = Expected {
            name: "example".into(),
            issuer: "https://authorization-server.example.com/".into(),
            audiences: vec!["https://rs.example.com/".into()],
            algorithms: Algorithm::ALL.to_vec(),
            rs256: None,
            form: AccessTokenForm::default(),
        };
        Self { key, keys, expected }
    }

    /// Header and claims of the example, with `alg` replaced by one that FAPI allows.
    fn example(&self) -> (Value, Value) {
        let section = section(RFC_9068, "3");
        let mut header = section["header"].clone();
        header["alg"] = json!(self.key.kind().algorithm());
        (header, section["claims"].clone())
    }

    fn judge(&self, header: &Value, claims: &Value) -> Result<ActiveToken, TokenError> {
        let headers = bearer(&format!("Bearer {}", self.key.sign(header, claims)));
        let token = Credentials::from_request(&headers, None, &[Scheme::Bearer]).unwrap().token();
        let jws = UnverifiedJws::parse(token)?;
        Ok(ActiveToken::from_jws(jws, &TokenHash::of(token), &self.expected, &self.keys, UnixTime(NOW))?)
    }

    fn code(&self, header: &Value, claims: &Value) -> Option<Code> {
        self.judge(header, claims).err().map(|error| error.code())
    }
}

fn section(rfc: &str, section: &str) -> Value {
    let rfc: Value = serde_json::from_str(rfc).unwrap();
    assert!(rfc[section]["title"].is_string(), "{} has no section {section}", rfc["source"]);
    rfc[section].clone()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no string {name:?}"))
}

fn object<'v>(value: &'v Value, name: &str) -> &'v Map<String, Value> {
    value[name].as_object().unwrap_or_else(|| panic!("no object {name:?}"))
}

fn der(section: &Value) -> Vec<u8> {
    STANDARD.decode(text(section, "certificate")).unwrap()
}

/// A key without its private member.
fn public(jwk: &Map<String, Value>) -> Map<String, Value> {
    let mut jwk = jwk.clone();
    assert!(jwk.remove("d").is_some());
    jwk
}

fn bearer(field: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, field.parse().unwrap())])
}

/// Parses a JWS and returns its algorithm, with all of FAPI's allowed.
fn algorithm(jws: &str) -> Result<Algorithm, Code> {
    let headers = bearer(&format!("Bearer {jws}"));
    let token = Credentials::from_request(&headers, None, &[Scheme::Bearer]).unwrap().token();
    UnverifiedJws::parse(token).and_then(|jws| jws.algorithm(Algorithm::ALL)).map_err(|error| error.code())
}

fn verify(jws: &str, key: &VerifyingKey) -> Result<Map<String, Value>, Code> {
    let headers = bearer(&format!("Bearer {jws}"));
    let token = Credentials::from_request(&headers, None, &[Scheme::Bearer]).unwrap().token();
    let verified = UnverifiedJws::parse(token).and_then(|jws| jws.verify(std::iter::once(key)));
    verified.map(|verified| verified.into_payload()).map_err(|error| error.code())
}

fn confirmation(claim: &Value) -> Result<String, Code> {
    match Confirmation::from_claim(Some(claim)) {
        Ok(Confirmation::Certificate(thumbprint)) => Ok(thumbprint.to_string()),
        Ok(Confirmation::Key(thumbprint) | Confirmation::Both(_, thumbprint)) => Ok(thumbprint.to_string()),
        Err(error) => Err(SenderError::from(error).code()),
    }
}

/// The single challenge of a refusal.
fn challenge(cause: impl Into<Cause>, route: Option<Route>) -> String {
    let seen = Seen { route: route.map(Arc::new), ..Seen::default() };
    let response = Rejection::new(cause, seen).response(&InteractionId::from_uuid(uuid::Uuid::nil()));
    let mut challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
    let challenge = challenges.next().unwrap().to_str().unwrap().to_owned();
    assert!(challenges.next().is_none());
    challenge
}

fn route(scopes: &[&str]) -> Route {
    let scopes = ScopeRule::All(scopes.iter().map(|scope| (*scope).into()).collect());
    Route {
        name: "example".into(),
        pattern: Pattern::parse("/resource").unwrap(),
        path_characters: PathCharacters::Strict,
        hosts: Vec::new(),
        methods: vec![http::Method::GET],
        requirement: Requirement::Protected(
            Policy::new(scopes, vec![IssuerIndex(0)], vec![Scheme::Bearer], NonceMode::Never).unwrap().into(),
        ),
        upstream: UpstreamRef { name: "example".into(), index: 0 },
        forward: Forward::default(),
        limits: fapi::route::Limits::default(),
        on_expiry: OnExpiry::default(),
        errors: fapi::error_format::ErrorFormat::default(),
        cors: None,
    }
}

/// Parses RFC 9110 §11.6.1, as far as the examples need it: a scheme, and parameters with quoted values.
fn parameters(challenge: &str) -> (String, Vec<(String, String)>) {
    let (scheme, mut rest) = challenge.split_once(' ').unwrap();
    let mut parameters = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap();
        let (value, after) = after.split_once('"').unwrap();
        parameters.push((name.to_owned(), value.to_owned()));
        rest = after.strip_prefix(", ").unwrap_or(after);
    }
    (scheme.to_owned(), parameters)
}

fn names(parameters: &[(String, String)]) -> Vec<&str> {
    parameters.iter().map(|(name, _)| name.as_str()).collect()
}

fn value<'p>(parameters: &'p [(String, String)], wanted: &str) -> Option<&'p str> {
    parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}
