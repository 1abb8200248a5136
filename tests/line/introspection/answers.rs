//! Plain responses (RFC 7662 §2.2): only an unambiguous one is accepted, and its members are checked like the claims of
//! a JWT.

use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::{Value, json};

use super::{
    INTROSPECTION, asked, good, judge, judge_answer, judge_new, judge_text, merged, ok, plain, refused, unavailable,
};
use crate::support::{ORIGIN, World, dpop_request, request};

async fn world() -> World {
    World::with(|scene| scene.introspected("")).await
}

async fn judge_json(world: &World, answer: &Value) -> (u16, String) {
    judge_text(world, answer.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn int_02_only_the_boolean_true_is_active() {
    let world = world().await;
    assert_eq!(judge_json(&world, &good(&world)).await, ok(), "control");
    let with = |active: Value| {
        let mut answer = good(&world);
        answer["active"] = active;
        answer
    };
    assert_eq!(judge_json(&world, &with(json!(false))).await, refused("token_inactive"));
    for active in [
        json!("true"),
        json!("TRUE"),
        json!(1),
        json!(0),
        json!(1.0),
        json!(null),
        json!([true]),
        json!({"active": true}),
        json!("false"),
    ] {
        assert_eq!(judge_json(&world, &with(active.clone())).await, unavailable(), "{active}");
    }
    for name in [None, Some("Active"), Some("ACTIVE"), Some("is_active"), Some(" active")] {
        let mut answer = good(&world);
        answer.as_object_mut().unwrap().remove("active");
        if let Some(name) = name {
            answer[name] = json!(true);
        }
        assert_eq!(judge_json(&world, &answer).await, unavailable(), "{name:?}");
    }
    let nested = json!({ "token_introspection": good(&world) });
    assert_eq!(judge_json(&world, &nested).await, unavailable(), "nested");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_02_an_answer_with_two_readings_says_nothing() {
    let world = world().await;
    let text = good(&world).to_string();
    assert_eq!(judge_text(&world, format!(" {text}\r\n")).await, ok(), "control");
    for (what, odd) in [
        ("trailing bytes", format!("{text}x")),
        ("a second answer", format!("{text}{{\"active\":false}}")),
        ("a byte order mark", format!("\u{feff}{text}")),
        ("an array", format!("[{text}]")),
        ("a string", json!(text).to_string()),
        ("true alone", "true".into()),
        ("a comment", format!("{text}/**/")),
        ("a comma at the end", format!("{},}}", text.strip_suffix('}').unwrap())),
        ("NaN", text.replacen("\"sub\":\"customer-1\"", "\"sub\":NaN", 1)),
        ("nothing", String::new()),
        ("depth", text.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(40), "]".repeat(40)), 1)),
    ] {
        assert_ne!(odd, text, "{what}");
        assert_eq!(judge_text(&world, odd).await, unavailable(), "{what}");
    }
    let latin = [text.replacen("customer-1", "\u{1}", 1).into_bytes(), b"{\"active\":true,\"sub\":\"\xff\"}".to_vec()];
    for odd in latin {
        assert_eq!(judge_text(&world, odd).await, unavailable());
    }
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(judge_text(&world, utf16).await, unavailable());
}

#[tokio::test(flavor = "multi_thread")]
async fn int_21_unknown_members_are_ignored_and_repeated_ones_refused() {
    let world = world().await;
    let text = good(&world).to_string();
    let with = |members: &str| text.replacen('{', &format!("{{{members},"), 1);
    for more in [
        r#""username":"x","extra":{"a":[1,2,{"b":null}]}"#,
        r#""Active":false"#,
        r#""token_introspection":{"active":false}"#,
    ] {
        assert_eq!(judge_text(&world, with(more)).await, ok(), "{more}");
    }
    for more in [
        r#""active":true"#,
        r#""active":false"#,
        r#""\u0061ctive":true"#,
        r#""scope":"accounts""#,
        r#""cnf":{}"#,
        r#""x":{"a":1,"a":1}"#,
        r#""x":[{"a":1,"\u0061":1}]"#,
    ] {
        assert_eq!(judge_text(&world, with(more)).await, unavailable(), "{more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_names_the_issuer_of_a_refused_token_and_its_client_as_far_as_the_answer_does() {
    let world = world().await;
    let claims = world.token().claims();
    let both = [json!("bank"), claims["client_id"].clone(), claims["sub"].clone()];
    let issuer_alone = [json!("bank"), Value::Null, Value::Null];
    let with = |changes: Value| merged(&good(&world), changes);
    let long = "x".repeat(257);
    for (answer, code, first, again) in [
        (good(&world), "ok", &both, &both), // control
        (json!({ "active": false, "client_id": "client-1" }), "token_inactive", &issuer_alone, &issuer_alone),
        (with(json!({ "aud": "https://other.example" })), "token_audience_mismatch", &both, &both),
        (with(json!({ "exp": world.clock.now() })), "token_expired", &both, &both),
        (
            with(json!({ "aud": "https://other.example", "client_id": long, "sub": long })),
            "token_audience_mismatch",
            &[json!("bank"), json!(long), json!(long)],
            &issuer_alone,
        ),
    ] {
        world.issuer.script(INTROSPECTION, plain(answer.to_string()));
        let token = world.opaque(&world.token());
        let before = asked(&world).len();
        // The second answer is one that was cached.
        for names in [first, again] {
            let response = world.client().send(request("/accounts", &token)).await.unwrap();
            let record = world.gateway.record_of(&response);
            assert_eq!(record["code"], code, "{record}");
            assert_eq!(
                &[&record["issuer"], &record["client_id"], &record["subject"]].map(Clone::clone),
                names,
                "{record}"
            );
        }
        assert_eq!(asked(&world).len(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_03_every_claim_of_an_active_token_is_judged_again() {
    let world = world().await;
    let now = world.clock.now();
    let k1 = SigningKey::generate(KeyKind::Es256, "proof").thumbprint();
    let absent = Value::Null;
    let rows = [
        ("exp", json!(now), "token_expired"),
        ("exp", json!(now - 1), "token_expired"),
        ("exp", json!(0), "token_expired"),
        ("exp", json!("soon"), "token_claim_malformed"),
        ("exp", json!((now + 60).to_string()), "token_claim_malformed"),
        ("exp", json!(-1), "token_claim_malformed"),
        ("exp", json!(1e300), "token_claim_malformed"),
        ("nbf", json!(now + 11), "token_not_yet_valid"),
        ("nbf", json!(true), "token_claim_malformed"),
        ("iat", json!(now + 11), "token_issued_in_future"),
        ("iat", json!([now]), "token_claim_malformed"),
        ("aud", json!("https://other.example"), "token_audience_mismatch"),
        ("aud", json!(["https://other.example"]), "token_audience_mismatch"),
        ("aud", json!("https://api.bank.example/"), "token_audience_mismatch"),
        ("aud", json!([]), "token_claim_missing"),
        ("aud", json!({}), "token_claim_malformed"),
        ("aud", json!(["https://api.bank.example", 1]), "token_claim_malformed"),
        ("aud", absent.clone(), "token_claim_missing"),
        ("iss", json!("https://other.example"), "token_issuer_unknown"),
        ("iss", json!(format!("{}/", world.issuer.issuer())), "token_issuer_unknown"),
        ("iss", json!([world.issuer.issuer()]), "token_claim_malformed"),
        ("iss", json!(""), "token_claim_malformed"),
        ("sub", json!(1), "token_claim_malformed"),
        ("sub", json!(""), "token_claim_malformed"),
        ("client_id", json!(["client-1"]), "token_claim_malformed"),
        ("jti", json!(7), "token_claim_malformed"),
        ("cnf", absent.clone(), "token_unbound"),
        ("cnf", json!({}), "confirmation_empty"),
        ("cnf", json!("x5t#S256"), "confirmation_malformed"),
        ("cnf", json!({ "x5t#S256": world.c2.x5t_s256() }), "certificate_mismatch"),
        ("cnf", json!({ "jkt": k1 }), "dpop_token_as_bearer"),
        ("cnf", json!({ "kid": "x" }), "confirmation_unsupported"),
        ("token_type", json!("DPoP"), "token_type_wrong"),
        ("token_type", json!("refresh_token"), "token_type_wrong"),
        ("token_type", json!("N_A"), "token_type_wrong"),
        ("token_type", json!("urn:ietf:params:oauth:token-type:id_token"), "token_type_wrong"),
        ("token_type", json!(""), "token_type_wrong"),
        ("token_type", json!(1), "token_claim_malformed"),
        ("scope", json!(["accounts"]), "token_claim_malformed"),
        ("scope", json!(1), "token_claim_malformed"),
    ];
    for (claim, value, code) in rows {
        let answer = merged(&good(&world), json!({ claim: value }));
        assert_eq!(judge_json(&world, &answer).await, refused(code), "{claim}: {value}");
    }
    for (claim, value) in [
        ("exp", json!(now + 1)),
        ("exp", json!(f64::from(u32::try_from(now).unwrap()) + 1.5)),
        ("exp", absent.clone()),
        ("nbf", json!(now + 10)),
        ("iat", json!(now + 10)),
        ("iat", absent.clone()),
        ("aud", json!(["https://other.example", "https://api.bank.example"])),
        ("iss", absent.clone()),
        ("iss", json!(world.issuer.issuer())),
        ("sub", absent.clone()),
        ("client_id", absent.clone()),
        ("jti", absent.clone()),
        ("token_type", json!("Bearer")),
        ("token_type", json!("bearer")),
        ("scope", json!("openid accounts")),
    ] {
        let answer = merged(&good(&world), json!({ claim: value }));
        assert_eq!(judge_json(&world, &answer).await, ok(), "control: {claim}: {value}");
    }
    for scope in [absent, json!(""), json!("account"), json!("Accounts"), json!("accounts2")] {
        let answer = merged(&good(&world), json!({ "scope": scope }));
        assert_eq!(judge_json(&world, &answer).await, (403, "scope_insufficient".into()), "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_03_an_answer_without_aud_counts_only_where_that_is_configured() {
    for (setting, missing) in [
        ("", refused("token_claim_missing")),
        (", missing_audience: refuse", refused("token_claim_missing")),
        (", missing_audience: accept", ok()),
    ] {
        let world = World::with(|scene| scene.introspected(setting)).await;
        assert_eq!(judge_json(&world, &good(&world)).await, ok(), "control");
        let mut answer = merged(&good(&world), json!({ "aud": null }));
        assert_eq!(judge_json(&world, &answer).await, refused("token_claim_missing"), "{setting}");
        // RFC 8705 §4 binds refresh tokens to certificates too; without `aud`, something else says that it is none.
        answer["token_type"] = json!("Refresh");
        let refresh = if missing == ok() { refused("token_type_wrong") } else { missing.clone() };
        assert_eq!(judge_json(&world, &answer).await, refresh, "{setting}");
        answer["token_type"] = json!("Bearer");
        assert_eq!(judge_json(&world, &answer).await, missing.clone(), "{setting}");
        for (audience, expected) in [
            (json!("https://other.example"), refused("token_audience_mismatch")),
            (json!([""]), refused("token_audience_mismatch")),
            (json!({}), refused("token_claim_malformed")),
            (json!([]), missing.clone()),
            (json!(null), missing.clone()),
        ] {
            answer["aud"] = audience;
            assert_eq!(judge_json(&world, &answer).await, expected, "{setting}: {}", answer["aud"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_04_an_active_token_that_is_bound_to_nothing_is_refused() {
    let world = world().await;
    let unbound = world.opaque(&world.token().without("cnf"));
    assert_eq!(judge(&world, &unbound).await, refused("token_unbound"));
    assert_eq!(judge_new(&world).await, ok(), "control");
    // Confirmation is read at the top level of the response and nowhere else.
    for place in ["token", "access_token", "ext", "token_introspection"] {
        let mut answer = good(&world);
        let cnf = answer.as_object_mut().unwrap().remove("cnf").unwrap();
        answer[place] = json!({ "cnf": cnf });
        assert_eq!(judge_json(&world, &answer).await, refused("token_unbound"), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_08_the_confirmation_of_an_answer_is_checked_against_the_connection() {
    let world = world().await;
    let token = world.opaque(&world.token());
    assert_eq!(judge(&world, &token).await, ok(), "control");
    for (client, code) in
        [(world.anonymous().certificate(&world.c2), "certificate_mismatch"), (world.anonymous(), "certificate_missing")]
    {
        // A token that has been introspected before, and a new one.
        for token in [token.clone(), world.opaque(&world.token())] {
            assert_eq!(world.judge_from(&client, request("/accounts", &token)).await, refused(code));
        }
    }
}

/// DPOP-24.
#[tokio::test(flavor = "multi_thread")]
async fn int_03_a_key_bound_token_needs_its_proof_and_may_be_called_dpop() {
    let world = world().await;
    let (key, other) = (SigningKey::generate(KeyKind::Es256, "a"), SigningKey::generate(KeyKind::Es256, "b"));
    let proof = |token: &str, key: &SigningKey| {
        Proof::new("GET", &format!("{ORIGIN}/accounts"), world.clock.now()).for_token(token).sign(key)
    };
    let bound = world.issuer.token(world.clock.now()).bound_to_key(key.thumbprint());
    let judge = async |request| world.judge_from(&world.anonymous(), request).await;
    let bearer = world.opaque(&bound.clone().claim("token_type", "Bearer"));
    let with_proof = dpop_request("/accounts", &bearer, &proof(&bearer, &key));
    assert_eq!(judge(with_proof).await, refused("token_type_wrong"), "RFC 9449 §6.2");
    for token_type in ["DPoP", "dpop"] {
        let token = world.opaque(&bound.clone().claim("token_type", token_type));
        assert_eq!(judge(dpop_request("/accounts", &token, &proof(&token, &key))).await, ok(), "control: {token_type}");
        assert_eq!(
            judge(dpop_request("/accounts", &token, &proof(&token, &other))).await,
            refused("dpop_key_mismatch"),
            "{token_type}"
        );
        assert_eq!(judge(request("/accounts", &token)).await, refused("dpop_token_as_bearer"), "{token_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_11_members_that_are_not_mapped_stay_here() {
    let world = world().await;
    let token = world.opaque(&world.token().claim("username", "secret-name").claim("email", "secret@example.com"));
    let response = world.client().send(request("/accounts", &token)).await.unwrap();
    assert_eq!(response.status(), 200);
    let seen = &world.accounts.requests()[0];
    assert_eq!(seen.header("x-token-subject"), Some("customer-1"), "control");
    assert!(!format!("{:?}", seen.headers).contains("secret"), "{:?}", seen.headers);
    let record = world.gateway.record_of(&response);
    assert!(!record.to_string().contains("secret"), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_02_inactive_says_nothing_else_whatever_stands_beside_it() {
    let world = world().await;
    let mut answer = good(&world);
    answer["active"] = json!(false);
    world.issuer.script(INTROSPECTION, plain(answer.to_string()));
    let response = world.client().send(request("/accounts", &world.opaque(&world.token()))).await.unwrap();
    assert_eq!(response.status(), 401);
    let mut challenges = response.headers().get_all("www-authenticate").iter().map(|value| value.to_str().unwrap());
    assert!(challenges.any(|challenge| challenge.contains("error=\"invalid_token\"")), "{:?}", response.headers());
    let record = world.gateway.record_of(&response);
    assert_eq!((&record["code"], &record["client_id"]), (&json!("token_inactive"), &Value::Null));
    assert_eq!(asked(&world).len(), 1);
    let control = judge_answer(&world, plain(good(&world).to_string())).await;
    assert_eq!(control, ok(), "control");
}
