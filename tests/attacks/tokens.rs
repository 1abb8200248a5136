//! Tokens that are almost right; rejects.rs, dpop/ and the unit tests have more of them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sandbox::pki::Authority;
use sandbox::tokens::{self, KeyKind, SigningKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{World, remember, request};

#[tokio::test(flavor = "multi_thread")]
async fn no_token_that_is_almost_right_passes() {
    let world = World::start().await;
    let (key, claims) = (world.issuer.key(KeyKind::Ps256), world.token().claims());
    let es256 = world.issuer.key(KeyKind::Es256);
    let head = |changes: Value| {
        let mut head = json!({"typ": "at+jwt", "alg": "PS256", "kid": key.kid()});
        for (name, value) in changes.as_object().expect("members") {
            head[name] = value.clone();
        }
        head
    };
    let signed = |changes: Value| key.sign(&head(changes), &claims);
    let hmac = |secret: &[u8]| tokens::hs256(secret, &head(json!({"alg": "HS256"})), &claims);
    let forger = SigningKey::generate(KeyKind::Ps256, key.kid());
    let good = world.sign(&world.token());
    let without = |name: &str| world.sign(&world.token().without(name));
    let (body, signature) = good.rsplit_once('.').unwrap();
    let inner = json!({"typ": "at+jwt", "alg": "PS256", "kid": key.kid(), "cty": "JWT"});
    let rows: Vec<(&str, String)> = vec![
        ("ATK-TK-01 none", tokens::unsigned(&head(json!({"alg": "none"})), &claims)),
        ("ATK-TK-01 None", tokens::unsigned(&head(json!({"alg": "None"})), &claims)),
        ("ATK-TK-01 NONE", tokens::unsigned(&head(json!({"alg": "NONE"})), &claims)),
        ("ATK-TK-01 empty signature", format!("{body}.")),
        ("ATK-TK-01 HS256 with the key", hmac(key.public_key_pem().as_bytes())),
        ("ATK-TK-01 HS256 with the JWK", hmac(key.jwk().to_string().as_bytes())),
        ("ATK-TK-01 RS256 for PS256", signed(json!({"alg": "RS256"}))),
        ("ATK-TK-01 PS256 for ES256", es256.sign(&head(json!({"kid": es256.kid()})), &claims)),
        ("ATK-TK-01 ES384", signed(json!({"alg": "ES384"}))),
        ("ATK-TK-02 jwk", forger.sign(&head(json!({"jwk": forger.jwk()})), &claims)),
        ("ATK-TK-02 x5c", forger.sign(&head(json!({"x5c": ["AA"]})), &claims)),
        ("ATK-TK-04 path", signed(json!({"kid": "../../../../dev/null"}))),
        ("ATK-TK-04 query", signed(json!({"kid": "x' OR '1'='1"}))),
        ("ATK-TK-04 address", signed(json!({"kid": "https://other.example/jwks#1"}))),
        ("ATK-TK-04 type", signed(json!({"kid": ["a"]}))),
        ("ATK-TK-05 text", world.sign(&world.token().claim("exp", "99999999999"))),
        ("ATK-TK-05 huge", world.sign(&world.token().claim("nbf", u64::MAX))),
        ("ATK-TK-05 beyond 64 bits", world.sign(&world.token().claim("nbf", 1e30))),
        ("ATK-TK-05 negative", world.sign(&world.token().claim("exp", i64::MIN))),
        ("ATK-TK-06 no exp", without("exp")),
        ("ATK-TK-06 exp null", world.sign(&world.token().claim("exp", Value::Null))),
        ("ATK-TK-07 JWE", "e30.AA.AA.AA.AA".to_owned()),
        ("ATK-TK-07 nested", key.sign_raw(inner.to_string().as_bytes(), good.as_bytes())),
        ("ATK-TK-08 ID token", signed(json!({"typ": "JWT"}))),
        ("ATK-TK-08 logout token", signed(json!({"typ": "logout+jwt"}))),
        ("ATK-TK-08 introspection", signed(json!({"typ": "token-introspection+jwt"}))),
        ("ATK-TK-08 proof", signed(json!({"typ": "dpop+jwt"}))),
        ("ATK-TK-15 padding", format!("{good}=")),
        ("ATK-TK-15 dots", format!("{good}.")),
        ("ATK-TK-15 trailing bits", respelled(&good)),
        ("ATK-TK-15 other alphabet", format!("{body}.{}+", &signature[..signature.len() - 1])),
        ("ATK-TK-17 members", key.sign_raw(head(json!({})).to_string().as_bytes(), &twice(&claims, "\"sub\""))),
        ("ATK-TK-17 escaped", key.sign_raw(head(json!({})).to_string().as_bytes(), &twice(&claims, "\"s\\u0075b\""))),
        ("ATK-TK-17 BOM", key.sign_raw(head(json!({})).to_string().as_bytes(), format!("\u{feff}{claims}").as_bytes())),
        ("ATK-TK-21 no client_id", without("client_id")),
        ("ATK-TK-21 no scope", without("scope")),
        ("ATK-TK-22 refresh token", "0123456789abcdef0123456789abcdef".to_owned()),
        ("ATK-TK-22 ID token", signed(json!({"typ": null}))),
    ];
    let before = world.accounts.server().heads();
    assert_eq!(world.judge(request("/accounts", &good)).await, (200, "ok".into()), "control");
    for (row, token) in rows {
        remember(token.clone());
        for client in [world.client().h1(), world.client().h2()] {
            let (status, code) = world.judge_from(&client, request("/accounts", &token)).await;
            let wanted = if row == "ATK-TK-21 no scope" { 403 } else { 401 };
            // A value that is not a b64token makes the request malformed (RFC 6750 §2.1).
            let spelling = row.starts_with("ATK-TK-15") && (status, code.as_str()) == (400, "credentials_malformed");
            // An unknown kid is nobody's fault while the key set must not be read again yet.
            let unread = row.starts_with("ATK-TK-04") && (status, code.as_str()) == (503, "keys_unavailable");
            assert!(status == wanted || spelling || unread, "{row}: {status} {code}");
        }
    }
    assert_eq!(world.judge(request("/accounts", &good)).await, (200, "ok".into()), "control, once more");
    assert_eq!(world.accounts.server().heads(), before + 2);
}

/// The claims with a member that they already have added again.
fn twice(claims: &Value, name: &str) -> Vec<u8> {
    claims.to_string().replacen('{', &format!("{{{name}:\"somebody else\","), 1).into_bytes()
}

/// The same bytes encoded differently: the last character of an RSA-2048 signature has four unused bits.
fn respelled(token: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let place = ALPHABET.iter().position(|byte| [*byte] == last.as_bytes()).expect("base64url");
    format!("{rest}{}", char::from(ALPHABET[place ^ 1]))
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_03_no_address_in_a_token_is_asked() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = trap.local_addr().unwrap();
    let world = World::start().await;
    let (key, claims) = (world.issuer.key(KeyKind::Ps256), world.token().claims());
    let forger = SigningKey::generate(KeyKind::Ps256, key.kid());
    for scheme in ["https", "http", "file"] {
        for name in ["jku", "x5u"] {
            let mut header = json!({"typ": "at+jwt", "alg": "PS256", "kid": key.kid()});
            header[name] = format!("{scheme}://{address}/jwks").into();
            let forged = remember(forger.sign(&header, &claims));
            assert_eq!(world.judge(request("/accounts", &forged)).await, (401, "token_key_supplied".into()), "{name}");
            let good = remember(key.sign(&header, &claims));
            assert_eq!(world.judge(request("/accounts", &good)).await, (200, "ok".into()), "control: {name}");
        }
        let token = world.sign(&world.token().claim("iss", format!("{scheme}://{address}")));
        assert_eq!(world.judge(request("/accounts", &token)).await, (401, "token_issuer_unknown".into()), "{scheme}");
    }
    // A connection made by the gateway would be accepted before this one.
    let own = tokio::net::TcpStream::connect(address).await.unwrap();
    assert_eq!(trap.accept().await.unwrap().1, own.local_addr().unwrap(), "the gateway has not connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_09_atk_tk_18_a_thumbprint_is_that_of_the_leaf_in_one_spelling() {
    let world = World::start().await;
    let digest = world.c1.thumbprint_sha256();
    let x5t = URL_SAFE_NO_PAD.encode(digest);
    let sha256 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(fapi::sha256(bytes));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let foreign = Authority::new("Other CA").client("client-1");
    let rows = [
        ("ATK-TK-09 hex", json!({"x5t#S256": hex})),
        ("ATK-TK-09 upper case hex", json!({"x5t#S256": hex.to_uppercase()})),
        ("ATK-TK-09 padded", json!({"x5t#S256": format!("{x5t}=")})),
        ("ATK-TK-09 SHA-1", json!({"x5t": &x5t[..27]})),
        ("ATK-TK-09 SHA-256 as x5t", json!({"x5t": x5t})),
        ("ATK-TK-09 of the PEM", json!({"x5t#S256": sha256(world.c1.certificate_pem().as_bytes())})),
        ("ATK-TK-09 cut", json!({"x5t#S256": &x5t[..42]})),
        ("ATK-TK-09 another case", json!({"X5T#S256": x5t})),
        ("ATK-TK-18 of the authority", json!({"x5t#S256": sha256(world.authority.der())})),
        (
            "ATK-TK-18 of the same name from another authority",
            json!({"x5t#S256": URL_SAFE_NO_PAD.encode(foreign.thumbprint_sha256())}),
        ),
    ];
    let with_chain = {
        let mut credential = world.c1.clone();
        credential.chain_der.push(world.authority.der().clone());
        world.anonymous().certificate(&credential)
    };
    for client in [world.client(), with_chain] {
        for (row, cnf) in &rows {
            let token = world.sign(&world.token().claim("cnf", cnf.clone()));
            assert_eq!(world.judge_from(&client, request("/accounts", &token)).await.0, 401, "{row}");
        }
        assert_eq!(world.judge_from(&client, world.request()).await, (200, "ok".into()), "control");
    }
}
