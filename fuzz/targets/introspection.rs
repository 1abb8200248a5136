#![no_main]

use std::sync::LazyLock;

use fapi::UnixTime;
use fapi::credentials::{Credentials, Scheme};
use fapi::jose::json::parse_object;
use fapi::jose::keys::{Algorithm, KeySet};
use fapi::jose::statement::Signer;
use fapi::token::introspection::Answer;
use fapi::token::shared::Fact;
use fapi::token::{AccessTokenForm, ActiveToken, Differences, Expected, MissingAudience, ScopeForm, TokenIds};
use http::{HeaderMap, HeaderValue};

const NOW: UnixTime = UnixTime(1_800_000_000);

static EXPECTED: LazyLock<Expected> = LazyLock::new(|| Expected {
    name: "bank".into(),
    issuer: "https://as.example".into(),
    audiences: vec!["https://api.example".into()],
    algorithms: Algorithm::ALL.to_vec(),
    rs256: None,
    form: AccessTokenForm::default(),
});
// An issuer that writes scopes as a list.
static LISTED: LazyLock<Expected> = LazyLock::new(|| {
    let differences = Differences { scope_form: ScopeForm::List, ..Differences::NONE };
    Expected { form: AccessTokenForm::new(differences).expect("a form"), ..EXPECTED.clone() }
});
// The public key of RFC 7517 appendix A.1.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let document = br#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
    KeySet::parse(document).expect("a key")
});
static IDS: LazyLock<TokenIds> = LazyLock::new(|| {
    let field = (http::header::AUTHORIZATION, HeaderValue::from_static("Bearer opaque"));
    let headers = HeaderMap::from_iter([field]);
    let credentials = Credentials::from_request(&headers, None, &[Scheme::Bearer]).expect("a token");
    TokenIds::of(credentials.token())
});

// A good seed is {"active":true,"aud":"https://api.example","cnf":{"jkt":""},"exp":1800000060,"token_type":"DPoP"}.
libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let mut fact = body.to_vec();
    fact.resize(fact.len().next_multiple_of(256), 0);
    let _ = Fact::from_bytes(&fact).and_then(|fact| fact.age_at(NOW));
    if let Ok(Answer::Active(answer)) = Answer::from_json(body) {
        if let Some(bytes) = Fact::bytes_of(&answer, NOW) {
            assert!(Fact::from_bytes(&bytes).is_some(), "what is written is read");
        }
        for missing_audience in [MissingAudience::Refuse, MissingAudience::Accept] {
            let Ok(Answer::Active(answer)) = Answer::from_json(body) else { panic!("same bytes, different answer") };
            if let Ok(token) = ActiveToken::from_introspection(answer, *IDS, &EXPECTED, missing_audience, NOW) {
                assert!(token.claims_at(NOW).is_ok());
                let _ = token.size();
            }
            let Ok(Answer::Active(answer)) = Answer::from_json(body) else { panic!("same bytes, different answer") };
            let listed = ActiveToken::from_introspection(answer, *IDS, &LISTED, missing_audience, NOW);
            if let Ok(claims) = listed.as_ref().map(|token| token.claims_for_audit()) {
                let answer = parse_object(body).expect("it was read before");
                let list = answer.get("scope").and_then(|scope| scope.as_array()).cloned().unwrap_or_default();
                assert!(
                    claims.scopes().eq(list.iter().filter_map(|scope| scope.as_str())),
                    "each element is one scope"
                );
            }
        }
    }
    let audiences = ["gateway".into()];
    let signer = Signer { issuer: &EXPECTED.issuer, audiences: &audiences, algorithms: Algorithm::ALL };
    assert!(Answer::from_jwt(body, &signer, &KEYS, NOW).is_err(), "no input can be signed with this key");
});
