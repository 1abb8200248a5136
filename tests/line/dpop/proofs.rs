//! A single proof: its form, header, key, claims and time (RFC 9449 §4.2, §4.3 (1) to (8), (11), (12)).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Request;
use sandbox::tokens::{KeyKind, SigningKey, ath, hs256, unsigned};
use serde_json::{Value, json};

use super::{Stage, lines, ok, refused};
use crate::support::{Holder, ORIGIN, dpop_request};

#[tokio::test(flavor = "multi_thread")]
async fn dpop_01_dpop_53_more_than_one_proof_is_refused_over_both_protocols() {
    let stage = Stage::start().await;
    let sign = || stage.proof().sign(&stage.holder.key);
    for client in [stage.client().h1(), stage.client().h2()] {
        let judge = async |proofs: &[String]| {
            let mut request = Request::get(format!("{ORIGIN}/accounts"))
                .header("authorization", format!("DPoP {}", stage.holder.token));
            for proof in proofs {
                request = request.header("dpop", proof);
            }
            stage.world.judge_from(&client, request.body(Bytes::new()).unwrap()).await
        };
        assert_eq!(judge(&[sign()]).await, ok(), "control");
        let one = sign();
        for proofs in [
            vec![one.clone(), one.clone()],
            vec![sign(), sign()],
            vec![format!("{}, {}", sign(), sign())],
            vec![format!("{one},")],
            vec![String::new(), sign()],
        ] {
            assert_eq!(judge(&proofs).await, refused("dpop_repeated"), "{} lines", proofs.len());
        }
        assert_eq!(judge(&[one]).await, ok(), "DPOP-41: a proof in a refused request is not used up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_02_conf_dp_01_field_name_and_scheme_are_case_insensitive() {
    let stage = Stage::start().await;
    for (field, scheme) in [("DPoP", "DPoP"), ("dpop", "dpop"), ("DPOP", "DPOP"), ("dPoP", "dPOP")] {
        let raw = format!(
            "GET /accounts HTTP/1.1\r\nHost: localhost\r\nAuthorization: {scheme} {}\r\n{field}: {}\r\nConnection: close\r\n\r\n",
            stage.holder.token,
            stage.proof().sign(&stage.holder.key),
        );
        let answer = stage.client().raw(raw.as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{field}: {}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_03_conf_dp_03_only_one_well_formed_compact_jws_is_read() {
    let stage = Stage::start().await;
    let good = stage.proof().sign(&stage.holder.key);
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let cases = [
        ("two parts", format!("{header}.{payload}")),
        ("no signature", format!("{header}.{payload}.")),
        ("four parts", format!("{good}.{signature}")),
        ("five parts", format!("{good}.{signature}.{signature}")),
        ("empty", String::new()),
        ("a space inside", format!("{header}. {payload}.{signature}")),
        ("padded", format!("{header}=.{payload}.{signature}")),
        ("JSON", format!("{{\"payload\":\"{payload}\"}}")),
        ("a payload that is not an object", stage.holder.key.sign_raw(&decoded(header), b"[]")),
        (
            "a member twice",
            stage
                .holder
                .key
                .sign_raw(&decoded(header), br#"{"jti":"a","jti":"b","htm":"GET","htu":"x","iat":1,"ath":"x"}"#),
        ),
        ("20 KiB", format!("{good}{}", "A".repeat(20 * 1024))),
        ("ATK-SZ-08 depth", stage.holder.key.sign_raw(&decoded(header), nested(200).as_bytes())),
    ];
    for (what, proof) in cases {
        let (status, code) = stage.judge_text(&proof).await;
        let expected = if what == "no signature" { "dpop_signature_invalid" } else { "dpop_malformed" };
        assert_eq!((status, code.as_str()), (401, expected), "{what}");
    }
    assert_eq!(stage.judge_text(&good).await, ok(), "control");
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

fn nested(depth: usize) -> String {
    format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_08_a_proof_of_100_kilobytes_has_a_fixed_answer() {
    let stage = Stage::start().await;
    for (client, proof, what) in
        [(stage.client().h1(), "A".repeat(100_000), "HTTP/1.1"), (stage.client().h2(), "A".repeat(100_000), "HTTP/2")]
    {
        let response = client.send(dpop_request("/accounts", &stage.holder.token, &proof)).await.expect(what);
        assert_eq!(response.status(), 431, "{what}");
        assert!(response.body().len() < 300, "{what}: the request is not echoed");
    }
    stage.passes("control", &stage.proof()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_04_conf_dp_04_every_required_member_is_missed() {
    let stage = Stage::start().await;
    stage.passes("control", &stage.proof()).await;
    for (member, code) in [("typ", "dpop_type_wrong"), ("alg", "dpop_algorithm_refused"), ("jwk", "dpop_claim_missing")]
    {
        stage.refuses(code, member, &stage.proof().without_header(member)).await;
    }
    for member in ["jti", "htm", "htu", "iat", "ath"] {
        stage.refuses("dpop_claim_missing", member, &stage.proof().without(member)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_05_members_of_another_type_are_refused() {
    let stage = Stage::start().await;
    let now = stage.now();
    stage.passes("control", &stage.proof().claim("iat", now)).await;
    for (member, value) in [
        ("iat", json!(now.to_string())),
        ("iat", json!(-1)),
        ("iat", json!(null)),
        ("iat", json!(1e300)),
        ("iat", json!(u64::MAX)),
        ("jti", json!(5)),
        ("jti", json!("")),
        ("htm", json!(["GET"])),
        ("htu", json!(7)),
        ("ath", json!(null)),
        ("nonce", json!(5)),
        ("exp", json!("soon")),
        ("nbf", json!([])),
    ] {
        stage.refuses("dpop_claim_malformed", &format!("{member} {value}"), &stage.proof().claim(member, value)).await;
    }
    for value in [json!("key"), json!([]), json!(null)] {
        stage.refuses("dpop_claim_malformed", "jwk", &stage.proof().header("jwk", value)).await;
    }
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": stage.holder.key.bare_jwk()}).to_string();
    let huge = stage.holder.key.sign_raw(header.as_bytes(), br#"{"jti":"a","htm":"GET","htu":"x","iat":1e400}"#);
    stage.refuses_text("dpop_malformed", "1e400", &huge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_06_conf_dp_05_typ_is_dpop_jwt_as_a_media_type() {
    let stage = Stage::start().await;
    for typ in ["dpop+jwt", "DPoP+JWT", "application/dpop+jwt"] {
        stage.passes(typ, &stage.proof().header("typ", typ)).await;
    }
    for typ in ["JWT", "dpop+jwt+wrongyousee", "at+jwt", "dpop", "", "text/dpop+jwt", "dpop+jwt;v=1"] {
        stage.refuses("dpop_type_wrong", typ, &stage.proof().header("typ", typ)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_07_conf_dp_06_algorithms_are_those_of_fapi() {
    let stage = Stage::start().await;
    for kind in KeyKind::ALL {
        let key = SigningKey::generate(kind, "proof");
        let token = stage.world.sign(&stage.world.issuer.token(stage.now()).bound_to_key(key.thumbprint()));
        let holder = Holder { key, token };
        let proof = holder.proof("/accounts", stage.now());
        assert_eq!(stage.judge_request(holder.request("/accounts", &proof)).await, ok(), "{kind:?}");
        let other = match kind {
            KeyKind::Ps256 => "RS256",
            KeyKind::Es256 => "ES512",
            KeyKind::EdDsa => "Ed448",
        };
        for algorithm in [other, "none", "HS256", "es256", "PS384", ""] {
            let proof = holder.proof("/accounts", stage.now()).header("alg", algorithm);
            stage.refuses_request("dpop_algorithm_refused", algorithm, holder.request("/accounts", &proof)).await;
        }
    }
    let claims = json!({"jti": "a", "htm": "GET", "htu": format!("{ORIGIN}/accounts"), "iat": stage.now(), "ath": ath(&stage.holder.token)});
    let jwk = stage.holder.key.bare_jwk();
    let none = unsigned(&json!({"typ": "dpop+jwt", "alg": "none", "jwk": jwk}), &claims);
    stage.refuses_text("dpop_algorithm_refused", "alg none", &none).await;
    let secret = json!({"kty": "oct", "k": "c2VjcmV0"});
    let shared = hs256(b"secret", &json!({"typ": "dpop+jwt", "alg": "HS256", "jwk": secret}), &claims);
    stage.refuses_text("dpop_algorithm_refused", "HS256 with oct", &shared).await;
    let confused = hs256(b"secret", &json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": secret}), &claims);
    stage.refuses_text("dpop_key_private", "ES256 with oct", &confused).await;
}

/// FAPI2-CR-04.
#[tokio::test(flavor = "multi_thread")]
async fn dpop_08_the_signature_holds_under_the_jwk_and_alg_fits_it() {
    let stage = Stage::start().await;
    let good = stage.proof().sign(&stage.holder.key);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut flipped = decoded(signature);
    flipped[20] ^= 1;
    let flipped = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&flipped));
    stage.refuses_text("dpop_signature_invalid", "a flipped bit", &flipped).await;
    stage.refuses_text("dpop_signature_invalid", "no bytes", &format!("{signed}.AA")).await;
    let zero = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64]));
    stage.refuses_text("dpop_signature_invalid", "r and s are zero", &zero).await;
    let stranger = SigningKey::generate(KeyKind::Es256, "stranger");
    let borrowed = stage.proof().header("jwk", stranger.bare_jwk());
    stage.refuses("dpop_signature_invalid", "another's jwk", &borrowed).await;
    let borrowed = stage.proof().header("jwk", stage.holder.key.bare_jwk()).sign(&stranger);
    stage.refuses_text("dpop_signature_invalid", "ours, signed by another", &borrowed).await;
    for kind in [KeyKind::Ps256, KeyKind::EdDsa] {
        let other = SigningKey::generate(kind, "other");
        let proof = stage.proof().header("alg", "ES256").sign(&other);
        stage.refuses_text("dpop_algorithm_refused", &format!("ES256 with {kind:?}"), &proof).await;
    }
    for (kty, crv) in [("EC", "P-384"), ("EC", "P-521"), ("EC", "secp256k1"), ("OKP", "X25519"), ("XYZ", "P-256")] {
        let mut jwk = stage.holder.key.bare_jwk();
        (jwk["kty"], jwk["crv"]) = (json!(kty), json!(crv));
        stage.refuses("dpop_key_refused", crv, &stage.proof().header("jwk", jwk)).await;
    }
    assert_eq!(stage.judge_text(&good).await, ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_09_atk_tk_11_conf_dp_07_a_private_key_is_refused() {
    let stage = Stage::start().await;
    for kind in KeyKind::ALL {
        let key = SigningKey::generate(kind, "proof");
        let token = stage.world.sign(&stage.world.issuer.token(stage.now()).bound_to_key(key.thumbprint()));
        let holder = Holder { key, token };
        // The key was accepted before; its cached form must not hide what the new header contains.
        let proof = holder.proof("/accounts", stage.now());
        assert_eq!(stage.judge_request(holder.request("/accounts", &proof)).await, ok(), "control");
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            let mut jwk = holder.key.bare_jwk();
            jwk[member] = json!("AQ");
            let proof = holder.proof("/accounts", stage.now()).header("jwk", jwk);
            stage.refuses_request("dpop_key_private", member, holder.request("/accounts", &proof)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_10_conf_dp_08_htm_is_the_method_that_the_client_sent() {
    let stage = Stage::start().await;
    for method in ["PUT", "get", "POST", "HEAD", " GET"] {
        stage.refuses("dpop_method_mismatch", method, &stage.proof().claim("htm", method)).await;
    }
    let overridden = |proof| {
        let mut request = stage.holder.request("/accounts", &proof);
        request.headers_mut().insert("x-http-method-override", "POST".parse().unwrap());
        request
    };
    let lying = overridden(stage.proof().claim("htm", "POST"));
    stage.refuses_request("dpop_method_mismatch", "ATK-HD", lying).await;
    assert_eq!(stage.judge_request(overridden(stage.proof())).await, ok(), "control");
}

/// FAPI2-RS-08.
#[tokio::test(flavor = "multi_thread")]
async fn dpop_19_dpop_44_conf_dp_11_conf_dp_20_iat_lies_in_its_window() {
    let stage = Stage::start().await;
    let now = stage.now();
    for iat in [now - 60, now - 10, now, now + 8, now + 10] {
        stage.passes(&format!("{iat} at {now}"), &stage.proof().claim("iat", iat)).await;
    }
    for iat in [now - 3600, now - 61, now + 11, now + 3600, 0, 1 << 53] {
        stage.refuses("dpop_stale", &format!("{iat} at {now}"), &stage.proof().claim("iat", iat)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_52_fractions_of_a_second_are_read() {
    let stage = Stage::start().await;
    let now = u32::try_from(stage.now()).unwrap();
    stage.passes("half a second", &stage.proof().claim("iat", f64::from(now) - 0.5)).await;
    stage.passes("the last half second", &stage.proof().claim("iat", f64::from(now) + 10.5)).await;
    stage.refuses("dpop_stale", "one more", &stage.proof().claim("iat", f64::from(now) + 11.5)).await;
    stage.refuses("dpop_stale", "too old", &stage.proof().claim("iat", f64::from(now) - 60.5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_20_conf_dp_13_ath_is_the_hash_of_this_token_in_one_spelling() {
    let stage = Stage::start().await;
    let good = ath(&stage.holder.token);
    stage.passes("control", &stage.proof().claim("ath", good.as_str())).await;
    let hex: String = decoded(&good).iter().map(|byte| format!("{byte:02x}")).collect();
    for (what, value) in [
        ("wrong", ath("another token")),
        ("padded", format!("{good}=")),
        ("of the scheme too", ath(&format!("DPoP {}", stage.holder.token))),
        ("hex", hex),
        ("cut", good[..42].to_owned()),
    ] {
        stage.refuses("dpop_ath_mismatch", what, &stage.proof().claim("ath", value)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_22_conf_dp_15_dpop_46_other_members_change_nothing() {
    let stage = Stage::start().await;
    let with = |members: Value| {
        let mut jwk = stage.holder.key.bare_jwk();
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        stage.proof().header("jwk", jwk)
    };
    for members in [
        json!({"kid": "a", "alg": "ES256", "use": "sig"}),
        json!({"x5c": ["AA"], "x5u": "https://localhost:1/", "key_ops": ["verify"], "unknown": {"a": [1]}}),
        json!({"ext": true, "key_ops": []}), // as WebCrypto exports a public key
        json!({"use": "enc"}),
        json!({"alg": "RS256"}),
        json!({"key_ops": ["sign"]}),
    ] {
        stage.passes(&members.to_string(), &with(members)).await;
    }
    let odd = stage
        .proof()
        .header("kid", "another")
        .header("jku", "https://localhost:1/jwks")
        .header("x5u", "https://localhost:1/")
        .header("x5c", json!(["AA"]))
        .claim("unknown", json!({"a": 1}))
        .claim("iss", "x");
    stage.passes("nothing is fetched, nothing else is used", &odd).await;
    stage.refuses("dpop_malformed", "crit", &stage.proof().header("crit", json!(["exp"]))).await;
    stage.refuses("dpop_malformed", "b64", &stage.proof().header("b64", false)).await;
    let rsa = SigningKey::generate(KeyKind::Ps256, "proof");
    let token = stage.world.sign(&stage.world.issuer.token(stage.now()).bound_to_key(rsa.thumbprint()));
    let holder = Holder { key: rsa, token };
    for crv in [json!(""), json!("P-256"), json!(null)] {
        let mut jwk = holder.key.bare_jwk();
        jwk["crv"] = crv.clone();
        let proof = holder.proof("/accounts", stage.now()).header("jwk", jwk);
        assert_eq!(stage.judge_request(holder.request("/accounts", &proof)).await, ok(), "crv of an RSA key: {crv}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_23_second_spellings_of_a_key_are_refused() {
    let stage = Stage::start().await;
    stage.passes("control", &stage.proof()).await;
    let x = decoded(stage.holder.key.bare_jwk()["x"].as_str().unwrap());
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let last = encoded(&x).pop().unwrap();
    let position = ALPHABET.find(last).unwrap();
    let trailing = format!("{}{}", &encoded(&x)[..42], &ALPHABET[position + 1..position + 2]);
    for (what, value) in [
        ("31 bytes", encoded(&x[1..])),
        ("33 bytes", encoded(&[&[0], &x[..]].concat())),
        ("padded", format!("{}=", encoded(&x))),
        ("trailing bits", trailing),
        ("empty", String::new()),
        ("off the curve", encoded(&[7; 32])),
    ] {
        let mut jwk = stage.holder.key.bare_jwk();
        jwk["x"] = json!(value);
        stage.refuses("dpop_key_refused", what, &stage.proof().header("jwk", jwk)).await;
    }
    let other = SigningKey::generate(KeyKind::Es256, "proof").bare_jwk();
    stage.refuses("dpop_signature_invalid", "another point", &stage.proof().header("jwk", other)).await;
    let rsa = SigningKey::generate(KeyKind::Ps256, "proof");
    let token = stage.world.sign(&stage.world.issuer.token(stage.now()).bound_to_key(rsa.thumbprint()));
    let holder = Holder { key: rsa, token };
    for member in ["n", "e"] {
        let mut jwk = holder.key.bare_jwk();
        let bytes = decoded(jwk[member].as_str().unwrap());
        jwk[member] = json!(encoded(&[&[0], &bytes[..]].concat()));
        let proof = holder.proof("/accounts", stage.now()).header("jwk", jwk);
        stage.refuses_request("dpop_key_refused", member, holder.request("/accounts", &proof)).await;
    }
    let proof = holder.proof("/accounts", stage.now());
    assert_eq!(stage.judge_request(holder.request("/accounts", &proof)).await, ok(), "control");
}

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[tokio::test(flavor = "multi_thread")]
async fn dpop_51_atk_sz_08_keys_that_cost_too_much_or_too_little_are_refused() {
    let stage = Stage::start().await;
    let key = SigningKey::generate(KeyKind::Ps256, "proof");
    let modulus = |bits: usize| URL_SAFE_NO_PAD.encode([&[0xc1], &vec![0x55; bits / 8 - 1][..]].concat());
    for bits in [1024, 4104, 8192, 16384] {
        let jwk = json!({"kty": "RSA", "e": "AQAB", "n": modulus(bits)});
        let proof = stage.proof().header("jwk", jwk).sign(&key);
        stage.refuses_text("dpop_key_refused", &format!("{bits} bits"), &proof).await;
    }
    for (what, exponent) in
        [("1", &[1_u8][..]), ("2", &[2]), ("even", &[1, 0, 0]), ("40 bits", &[1, 0, 0, 0, 1]), ("none", &[])]
    {
        let jwk = json!({"kty": "RSA", "e": URL_SAFE_NO_PAD.encode(exponent), "n": key.bare_jwk()["n"]});
        let proof = stage.proof().header("jwk", jwk).sign(&key);
        stage.refuses_text("dpop_key_refused", &format!("exponent {what}"), &proof).await;
    }
    let jwk = json!({"kty": "RSA", "e": "AQAB", "n": modulus(4096)});
    let proof = stage.proof().header("jwk", jwk).sign(&key);
    stage.refuses_text("dpop_signature_invalid", "control: 4096 bits are looked at", &proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_45_conf_dp_21_exp_and_nbf_count_when_they_say_it_is_over() {
    let stage = Stage::start().await;
    let now = stage.now();
    stage.passes("as the suite sends it", &stage.proof().claim("nbf", now).claim("exp", now + 300)).await;
    stage.passes("the last second", &stage.proof().claim("exp", now + 1)).await;
    stage.refuses("dpop_stale", "exp", &stage.proof().claim("exp", now)).await;
    stage.passes("a clock that is ahead", &stage.proof().claim("nbf", now + 10)).await;
    stage.refuses("dpop_stale", "nbf", &stage.proof().claim("nbf", now + 11)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_42_a_long_jti_costs_no_more_than_a_short_one() {
    let stage = Stage::start().await;
    let long = "x".repeat(4000);
    let proof = stage.proof().claim("jti", long.as_str());
    stage.passes("it is hashed", &proof).await;
    stage.refuses("dpop_replayed", "its use is recorded", &proof).await;
    let other = stage.proof().claim("jti", format!("{long}y"));
    stage.passes("to its last character", &other).await;
    stage.refuses("dpop_malformed", "8 KiB", &stage.proof().claim("jti", "x".repeat(8192))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_54_query_and_body_are_not_covered() {
    let stage = Stage::start().await;
    assert_eq!(stage.judge_request(stage.holder.request("/accounts?amount=1", &stage.proof())).await, ok());
    let mut post =
        stage.holder.request("/payments", &stage.holder.proof("/payments", stage.now()).claim("htm", "POST"));
    *post.method_mut() = http::Method::POST;
    *post.body_mut() = Bytes::from_static(b"amount=2");
    assert_eq!(stage.judge_request(post).await, (201, "ok".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn conf_dp_19_a_good_proof_passes_after_many_bad_ones() {
    let stage = Stage::start().await;
    for _ in 0..40 {
        stage.refuses("dpop_ath_mismatch", "bad", &stage.proof().claim("ath", "x")).await;
    }
    let response = stage.send(stage.holder.request("/accounts", &stage.proof())).await;
    assert_eq!(response.status(), 200);
    assert!(lines(&response, "dpop-nonce").is_empty(), "no nonce where none is required");
}
