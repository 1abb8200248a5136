//! Encrypted responses (RFC 9701 §5): with `decryption_keys` every response is a nested JWT, signed and then encrypted.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::jose::jwe::{EncryptionKey, encrypt};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::{Value, json};

use super::signed::{Stage, signed_answer};
use super::{INTROSPECTION, counted, good, judge, judge_new, merged, ok, part, refused, unavailable};
use crate::support::request;

/// A key of the gateway, by the type that KeyKind says.
fn key(kind: KeyKind) -> SigningKey {
    SigningKey::generate(kind, "encryption")
}

/// Its public half, as the issuer knows it.
fn public(key: &SigningKey, key_id: Option<&str>) -> EncryptionKey {
    EncryptionKey::from_spki_pem(key.public_key_pem().as_bytes(), key_id).unwrap()
}

/// What the issuer makes of a signed response.
fn encrypted(signed: &str, key: &SigningKey) -> String {
    encrypt(signed.as_bytes(), &public(key, None), Some("JWT")).unwrap()
}

/// A stage whose gateway has these keys, the first one without a `key_id` and the others with their place for one.
async fn stage(keys: &[&SigningKey]) -> Stage {
    let name = |place: usize| format!("encryption-{place}.pem");
    let files: Vec<(String, String)> =
        keys.iter().enumerate().map(|(place, key)| (name(place), key.private_key_pem())).collect();
    let entry = |place: usize| match place {
        0 => format!("{{ private_key: {} }}", name(place)),
        _ => format!("{{ private_key: {}, key_id: key-{place} }}", name(place)),
    };
    let entries: Vec<String> = (0..keys.len()).map(entry).collect();
    let files: Vec<(&str, String)> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    Stage::with_files(&format!(", decryption_keys: [{}]", entries.join(", ")), &files).await
}

/// Why the last request of this stage was refused.
async fn detail(stage: &Stage, jwt: &str) -> String {
    stage.world.issuer.script(INTROSPECTION, signed_answer(jwt));
    let token = stage.world.opaque(&stage.world.token());
    let response = stage.world.client().send(request("/accounts", &token)).await.unwrap();
    assert_eq!(response.status(), 503);
    let record = stage.world.gateway.record_of(&response);
    assert_eq!(record["code"], "introspection_unavailable");
    record["detail"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_09_a_signed_answer_within_an_encrypted_one_passes_with_both_algorithms() {
    let (ec, rsa) = (key(KeyKind::Es256), key(KeyKind::Ps256));
    let stage = stage(&[&ec, &rsa]).await;
    for (algorithm, key, key_id) in [
        ("ECDH-ES", &ec, None),
        ("ECDH-ES", &ec, Some("x")),
        ("RSA-OAEP-256", &rsa, Some("key-1")),
        ("RSA-OAEP-256", &rsa, None),
    ] {
        stage.world.issuer.encrypt_for(Some(public(key, key_id)));
        assert_eq!(judge_new(&stage.world).await, ok(), "{algorithm} {key_id:?}");
        let signed = stage.signed(json!({}), json!({}));
        let made = encrypt(signed.as_bytes(), &public(key, key_id), None).unwrap();
        assert_eq!(part(&made, 0)["alg"], algorithm);
        assert_eq!(stage.judge(made).await, ok(), "{algorithm}: without cty");
        stage.world.issuer.unscript(INTROSPECTION);
    }
    let token = stage.world.opaque(&stage.world.token());
    stage.world.issuer.revoke(&token);
    assert_eq!(judge(&stage.world, &token).await, refused("token_inactive"));
    let unknown = encrypt(b"a.b.c", &public(&rsa, Some("key-9")), None).unwrap();
    let detail = detail(&stage, &unknown).await;
    assert!(detail.contains(r#"no key with kid "key-9" for RSA-OAEP-256"#), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_09_an_answer_that_is_signed_only_is_a_downgrade() {
    let ec = key(KeyKind::Es256);
    let stage = stage(&[&ec]).await;
    let signed = stage.signed(json!({}), json!({}));
    assert_eq!(stage.judge(encrypted(&signed, &ec)).await, ok(), "control");
    assert_eq!(stage.judge(signed.clone()).await, unavailable());
    let detail = detail(&stage, &signed).await;
    assert!(detail.contains("signed only") && detail.contains("introspection.decryption_keys"), "{detail}");
    stage.world.issuer.script(INTROSPECTION, super::plain(good(&stage.world).to_string()));
    assert_eq!(judge_new(&stage.world).await, unavailable(), "plain JSON");
    assert_eq!((counted(&stage.world, "active").await, counted(&stage.world, "invalid").await), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_09_other_algorithms_are_refused_however_well_they_decrypt() {
    let (rsa, ec) = (key(KeyKind::Ps256), key(KeyKind::Es256));
    let stage = stage(&[&rsa, &ec]).await;
    let signed = stage.signed(json!({}), json!({}));
    let content_key = [7; 32];
    let with = |alg: &str, encrypted_key: &[u8]| {
        let header = json!({ "alg": alg, "enc": "A256GCM", "cty": "JWT" });
        made(&header, encrypted_key, &content_key, signed.as_bytes())
    };
    let oaep = |algorithm| {
        let key = OaepPublicEncryptingKey::new(public_rsa(&rsa)).unwrap();
        let mut encrypted = vec![0; key.ciphertext_size()];
        key.encrypt(algorithm, &content_key, &mut encrypted, None).unwrap();
        encrypted
    };
    let pkcs1 = {
        let key = Pkcs1PublicEncryptingKey::new(public_rsa(&rsa)).unwrap();
        let mut encrypted = vec![0; key.ciphertext_size()];
        key.encrypt(&content_key, &mut encrypted).unwrap();
        encrypted
    };
    let (sha256, sha1) = (oaep(&OAEP_SHA256_MGF1SHA256), oaep(&OAEP_SHA1_MGF1SHA1));
    assert_eq!(stage.judge(with("RSA-OAEP-256", &sha256)).await, ok(), "control");
    for (alg, encrypted_key) in [("RSA1_5", &pkcs1[..]), ("RSA-OAEP", &sha1), ("dir", &[])] {
        let jwe = with(alg, encrypted_key);
        assert_eq!(stage.judge(jwe.clone()).await, unavailable(), "{alg}");
        let detail = detail(&stage, &jwe).await;
        assert!(detail.contains(&format!("its alg is {alg:?}, expected")), "{detail}");
    }
    for (alg, encrypted_key) in [("RSA-OAEP-256", &pkcs1[..]), ("RSA-OAEP-256", &sha1), ("RSA-OAEP-256", &[])] {
        assert_eq!(stage.judge(with(alg, encrypted_key)).await, unavailable(), "{alg} with another encryption");
    }
    for changes in [
        json!({ "enc": "A128CBC-HS256" }),
        json!({ "enc": "A128GCM" }),
        json!({ "zip": "DEF" }),
        json!({ "crit": ["x"], "x": 1 }),
        json!({ "cty": "application/json" }),
        json!({ "alg": "PBES2-HS256+A128KW", "p2c": 2_147_483_647, "p2s": "AAAA" }),
    ] {
        let header = merged(&json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM" }), changes.clone());
        let jwe = made(&header, &sha256, &content_key, signed.as_bytes());
        assert_eq!(stage.judge(jwe).await, unavailable(), "{changes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_09_an_answer_for_another_key_and_a_changed_one_are_refused_alike() {
    for kind in [KeyKind::Es256, KeyKind::Ps256] {
        let own = key(kind);
        let stage = stage(&[&own]).await;
        let signed = stage.signed(json!({}), json!({}));
        let jwe = encrypted(&signed, &own);
        assert_eq!(stage.judge(jwe.clone()).await, ok(), "control: {kind:?}");
        let reason = detail(&stage, &encrypted(&signed, &key(kind))).await;
        assert!(reason.contains("cannot be decrypted with the recipient's keys"), "{reason}");
        let parts: Vec<&str> = jwe.split('.').collect();
        // That of an ECDH-ES response is empty.
        for place in (1..5).filter(|place| !parts[*place].is_empty()) {
            let mut bytes = URL_SAFE_NO_PAD.decode(parts[place]).unwrap();
            bytes[0] ^= 1;
            let mut changed = parts.clone();
            let changed_part = URL_SAFE_NO_PAD.encode(bytes);
            changed[place] = &changed_part;
            assert_eq!(detail(&stage, &changed.join(".")).await, reason, "{kind:?}: part {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_12_there_is_one_level_of_nesting_and_a_signature_within() {
    let ec = key(KeyKind::Es256);
    let stage = stage(&[&ec]).await;
    let signed = stage.signed(json!({}), json!({}));
    let once = encrypted(&signed, &ec);
    assert_eq!(stage.judge(once.clone()).await, ok(), "control");
    let twice = encrypted(&once, &ec);
    assert_eq!(stage.judge(encrypted(&twice, &ec)).await, unavailable(), "three levels");
    assert_eq!(stage.judge(twice).await, unavailable(), "two levels");
    let foreign = SigningKey::generate(KeyKind::Ps256, stage.key(KeyKind::Ps256).kid());
    for (what, inside) in [
        ("unsigned claims", stage.claims.to_string()),
        ("alg none", sandbox::tokens::unsigned(&merged(&stage.header, json!({ "alg": "none" })), &stage.claims)),
        ("a foreign key", foreign.sign(&stage.header, &stage.claims)),
        ("RS256", stage.key(KeyKind::Ps256).sign(&merged(&stage.header, json!({ "alg": "RS256" })), &stage.claims)),
        ("another typ", stage.signed(json!({ "typ": "at+jwt" }), json!({}))),
        ("another audience", stage.signed(json!({}), json!({ "aud": "another-gateway" }))),
        ("an old one", stage.signed(json!({}), json!({ "iat": stage.world.clock.now() - 61 }))),
        ("a line after it", format!("{signed}\n")),
        ("nothing", String::new()),
    ] {
        assert_eq!(stage.judge(encrypted(&inside, &ec)).await, unavailable(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_09_while_the_key_changes_the_old_and_the_new_one_are_accepted() {
    for kind in [KeyKind::Es256, KeyKind::Ps256] {
        let (old, new) = (key(kind), key(kind));
        let (both, after) = (stage(&[&new, &old]).await, stage(&[&new]).await);
        for (name, used, later) in [("old", &old, unavailable()), ("new", &new, ok())] {
            assert_eq!(both.judge(encrypted(&both.signed(json!({}), json!({})), used)).await, ok(), "{kind:?} {name}");
            let signed = after.signed(json!({}), json!({}));
            assert_eq!(after.judge(encrypted(&signed, used)).await, later, "{kind:?} {name}, after");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_05_a_new_key_of_the_issuer_works_on_its_first_use_within_an_encrypted_answer() {
    let ec = key(KeyKind::Es256);
    let mut stage = stage(&[&ec]).await;
    stage.world.issuer.encrypt_for(Some(public(&ec, None)));
    assert_eq!(judge_new(&stage.world).await, ok(), "control");
    stage.world.issuer.rotate(KeyKind::Ps256);
    assert_eq!(judge_new(&stage.world).await, ok());
}

/// The public half of an RSA key, for any encryption.
fn public_rsa(key: &SigningKey) -> PublicEncryptingKey {
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(key.public_key_pem().as_bytes()).unwrap();
    PublicEncryptingKey::from_der(&spki).unwrap()
}

/// A JWE with this header and content encryption key, whatever they are.
fn made(header: &Value, encrypted_key: &[u8], content_key: &[u8; 32], plaintext: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let header = part(header.to_string().as_bytes());
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, content_key).unwrap());
    let mut sealed = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key([7; 12]);
    key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut sealed).unwrap();
    let (ciphertext, tag) = sealed.split_at(plaintext.len());
    format!("{header}.{}.{}.{}.{}", part(encrypted_key), part(&[7; 12]), part(ciphertext), part(tag))
}
