//! What an upstream is told over a signature, verified with another library and the key set of the admin listener; and what of
//! a request it is told or not, as the route says.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::{Value, json};

use super::{asked, field, sent};
use crate::support::client::Client;
use crate::support::{ORIGIN, Scene, World, dpop_request, free_port, http_client, request};

const IDENTITY: &str = "x-verified-identity";
const SECTION: &str =
    "signing: { issuer: \"https://gateway.example\", keys: [{ private_key: one.pem, key_id: one }] }\n";

/// Waits until a reload was attempted, after this text has been replaced in gateway.yaml.
async fn reloaded(world: &World, number: usize, from: &str, to: &str) {
    world.edit(|text| {
        assert!(text.contains(from), "{from:?}");
        text.replace(from, to)
    });
    world.attempt_reload(number).await;
}

/// A gateway with a key, of which another is beside it in the folder, and one route that has an identity JWT.
async fn world(adjust: impl FnOnce(Scene) -> Scene) -> World {
    World::with(|scene| {
        adjust(signing(scene).replace(
            "      client_certificate: true\n",
            "      client_certificate: true\n      identity_jwt: X-Verified-Identity\n",
        ))
    })
    .await
}

fn signing(scene: Scene) -> Scene {
    let key = || SigningKey::generate(KeyKind::Es256, "").private_key_pem();
    scene.file("one.pem", &key()).file("two.pem", &key()).replace("upstreams:\n", &format!("{SECTION}upstreams:\n"))
}

/// The answer of the admin listener about its keys.
async fn key_set(world: &World) -> JwkSet {
    let url = format!("http://{}/jwks.json", world.gateway.admin_address());
    let response = http_client().get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/jwk-set+json");
    assert_eq!(response.headers()["cache-control"], "max-age=300");
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// How an upstream verifies that it is meant.
fn expected_by(upstream: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[upstream]);
    validation.set_issuer(&["https://gateway.example"]);
    validation.set_required_spec_claims(&["iss", "aud", "exp"]);
    validation
}

/// The claims of a JWT, if an upstream with these keys can verify it.
fn verified(jwt: &str, keys: &JwkSet, expected: &Validation) -> Option<Value> {
    let header = decode_header(jwt).ok()?;
    assert_eq!(header.typ.as_deref(), Some("identity+jwt"));
    let key = DecodingKey::from_jwk(keys.find(&header.kid?)?).ok()?;
    decode(jwt, &key, expected).ok().map(|decoded| decoded.claims)
}

/// The JWT that the upstream got with the last request, which is then forgotten.
fn received(world: &World) -> String {
    let seen = world.accounts.requests().pop().expect("a request");
    world.accounts.clear();
    seen.header(IDENTITY).expect("an identity").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_08_an_upstream_verifies_who_calls_with_the_key_set_of_the_admin_listener() {
    let world = world(|scene| scene).await;
    let keys = key_set(&world).await;
    let holder = world.holder();
    let mut jwts = Vec::new();
    for client in [world.client().h1(), world.client().h2()] {
        let bound = world.token().claim("acr", "loa3").claim("auth_time", world.clock.now() - 5);
        let bound = request("/accounts", &world.sign(&bound));
        let proof = holder.proof("/accounts", world.clock.now());
        for (request, confirmation) in [
            (bound, json!({ "x5t#S256": world.c1.x5t_s256() })),
            (holder.request("/accounts", &proof), json!({ "jkt": holder.key.thumbprint() })),
        ] {
            let response = sent(&client, request).await;
            assert_eq!(response.status(), 200, "{response:?}");
            let jwt = received(&world);
            let claims = verified(&jwt, &keys, &expected_by("accounts")).expect("it verifies");
            let record = world.gateway.record_of(&response);
            let now = world.clock.now();
            assert_eq!((&claims["iat"], &claims["exp"]), (&json!(now), &json!(now + 60)));
            assert_eq!(claims["interaction_id"], field(&response, "x-fapi-interaction-id"));
            assert_eq!((&claims["route"], &claims["sub"]), (&json!("accounts"), &json!("customer-1")));
            assert_eq!((&claims["client_id"], &claims["scope"]), (&json!("client-1"), &json!("accounts")));
            let token = &claims["token"];
            assert_eq!((&token["iss"], &token["id"]), (&json!(world.issuer.issuer()), &record["token_id"]));
            assert_eq!((&token["cnf"], &claims["cnf"]), (&confirmation, &Value::Null));
            // The claims that the route forwards as headers, by their own names.
            assert_eq!(claims["claims"]["iss"], world.issuer.issuer());
            let strong = confirmation["jkt"].is_null();
            assert_eq!((claims["acr"] == "loa3", claims["auth_time"].is_u64()), (strong, strong));
            assert_eq!(verified(&jwt, &keys, &expected_by("payments")), None, "control: it is for one upstream");
            jwts.push(jwt);
        }
    }
    jwts.sort();
    jwts.dedup();
    assert_eq!(jwts.len(), 4, "each request has its own");
    // The key set of another gateway verifies none of them.
    let other = self::world(|scene| scene).await;
    let others = key_set(&other).await;
    assert!(jwts.iter().all(|jwt| verified(jwt, &others, &expected_by("accounts")).is_none()), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_08_an_identity_ends_after_a_minute() {
    let world = world(|scene| scene).await;
    let keys = key_set(&world).await;
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    assert!(verified(&received(&world), &keys, &expected_by("accounts")).is_some()); // control
    // The library allows clocks to differ by a minute more.
    world.clock.set_back(120 + 130);
    let token = world.sign(&world.token());
    assert_eq!(world.judge(request("/accounts", &token)).await, (200, "ok".into()));
    let jwt = received(&world);
    assert_eq!(verified(&jwt, &keys, &expected_by("accounts")), None);
    let mut at_any_time = expected_by("accounts");
    at_any_time.validate_exp = false;
    assert!(verified(&jwt, &keys, &at_any_time).is_some(), "control: its age alone is the reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn cc_10_no_client_says_who_it_is_in_the_gateways_place() {
    let world = world(|scene| scene).await;
    let keys = key_set(&world).await;
    let forged = [(IDENTITY, "forged"), ("x_verified_identity", "forged"), ("x-verified-identities", "own")];
    for client in [world.client().h1(), world.client().h2()] {
        for (method, path, token, own) in
            [("GET", "/accounts", true, true), ("POST", "/payments", true, false), ("GET", "/health", false, false)]
        {
            let mut request = asked(method, path, &forged);
            request.headers_mut().append(IDENTITY, HeaderValue::from_static("forged too"));
            if token {
                let token = format!("Bearer {}", world.sign(&world.token()));
                request.headers_mut().insert("authorization", token.parse().unwrap());
            }
            let response = sent(&client, request).await;
            assert!(response.status().is_success(), "{path}: {response:?}");
            let seen = world.accounts.requests().pop().unwrap();
            assert_eq!(seen.header("x-verified-identities"), Some("own"), "control");
            assert_eq!(seen.header("x_verified_identity"), None);
            let identity = seen.header(IDENTITY);
            assert_eq!(identity.is_some(), own, "{path}: {identity:?}");
            assert!(
                identity.is_none_or(|jwt| verified(jwt, &keys, &expected_by("accounts")).is_some()),
                "{identity:?}"
            );
            assert!(!format!("{seen:?}").contains("forged"), "{seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_published_before_it_signs_and_until_nobody_needs_it() {
    let world = world(|scene| scene).await;
    let named =
        |keys: &JwkSet| keys.keys.iter().map(|key| key.common.key_id.clone().unwrap()).collect::<Vec<_>>().join(" ");
    let identity = async || {
        assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
        received(&world)
    };
    let (one, two) = ("{ private_key: one.pem, key_id: one }", "{ private_key: two.pem, key_id: two }");
    let keys = |entries: &[&str]| format!("keys: [{}]", entries.join(", "));
    let expected = expected_by("accounts");
    let (first, before) = (key_set(&world).await, identity().await);
    assert_eq!(named(&first), "one");
    reloaded(&world, 1, &keys(&[one]), &keys(&[one, two])).await;
    let (both, meanwhile) = (key_set(&world).await, identity().await);
    assert_eq!(named(&both), "one two");
    assert!(verified(&meanwhile, &first, &expected).is_some(), "who has the old key set can go on");
    reloaded(&world, 2, &keys(&[one, two]), &keys(&[two, one])).await;
    let after = identity().await;
    assert_eq!(named(&key_set(&world).await), "two one");
    assert!(verified(&after, &both, &expected).is_some(), "the new key was known before it signed");
    assert!(verified(&before, &both, &expected).is_some(), "the old one is known while its JWTs are in use");
    assert_eq!(verified(&after, &first, &expected), None, "control: another key signs");
    reloaded(&world, 3, &keys(&[two, one]), &keys(&[two])).await;
    let last = key_set(&world).await;
    assert_eq!((verified(&before, &last, &expected), named(&last)), (None, "two".to_owned()));
    // A reload that cannot read a key leaves the old one in force.
    std::fs::remove_file(world.gateway.folder().path().join("two.pem")).unwrap();
    reloaded(&world, 4, "header_bytes: 32KiB", "header_bytes: 33KiB").await;
    assert!(verified(&identity().await, &last, &expected).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_set_is_there_where_there_are_keys() {
    let without = World::start().await;
    let (status, body) = without.gateway.admin("/jwks.json").await;
    assert_eq!(status, 404, "{body}");
    let with = World::with(signing).await;
    let url = format!("http://{}/jwks.json", with.gateway.admin_address());
    let client = http_client();
    let head = client.head(&url).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), head.headers()["content-type"].to_str().unwrap()),
        (200, "application/jwk-set+json")
    );
    let post = client.post(&url).send().await.unwrap();
    assert_eq!((post.status().as_u16(), post.headers()["allow"].to_str().unwrap()), (405, "GET, HEAD"));
    // The data listener does not have it.
    assert_eq!(with.judge(asked(Method::GET, "/jwks.json", &[])).await, (404, "route_not_found".into()));
    let keys = client.get(&url).send().await.unwrap().text().await.unwrap();
    assert!(keys.contains("\"kid\":\"one\"") && !keys.contains("\"d\""), "{keys}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_route_can_publish_the_key_set_of_the_admin_listener() {
    let admin = free_port();
    let world = World::with(|scene| {
        signing(scene)
            .replace("admin: { address: \"127.0.0.1:0\" }", &format!("admin: {{ address: \"127.0.0.1:{admin}\" }}"))
            .replace("routes:\n", &format!("  keys: {{ servers: [\"http://127.0.0.1:{admin}\"] }}\nroutes:\n"))
            .append("  - { name: keys, path: /jwks.json, methods: [GET, HEAD], public: true, upstream: keys }\n")
    })
    .await;
    let response = sent(&world.anonymous(), asked(Method::GET, "/jwks.json", &[])).await;
    let keys: JwkSet = serde_json::from_slice(response.body()).unwrap_or_else(|_| panic!("{response:?}"));
    assert_eq!((response.status().as_u16(), keys), (200, key_set(&world).await));
    assert_eq!(field(&response, "content-type"), "application/jwk-set+json");
}

#[tokio::test(flavor = "multi_thread")]
async fn prm_11_a_client_verifies_the_metadata_with_the_keys_that_it_points_to() {
    const DOCUMENT: &str = "/.well-known/oauth-protected-resource";
    let uri = format!("{ORIGIN}/keys.json");
    let section = format!("metadata: {{ signed: true, jwks_uri: \"{uri}\" }}\nupstreams:\n");
    let world = World::with(|scene| signing(scene).replace("upstreams:\n", &section)).await;
    let keys = key_set(&world).await;
    let document = async || {
        let response = sent(&world.anonymous(), asked(Method::GET, DOCUMENT, &[])).await;
        let members: Value = serde_json::from_slice(response.body()).unwrap();
        (members, field(&response, "etag").to_owned())
    };
    let claims = |members: &Value| {
        let jwt = members["signed_metadata"].as_str().expect("a JWT");
        let header = decode_header(jwt).unwrap();
        assert_eq!((header.typ.as_deref(), header.kid.as_deref()), (Some("JWT"), Some("one")));
        let mut expected = Validation::new(Algorithm::ES256);
        expected.set_issuer(&[ORIGIN]);
        expected.set_required_spec_claims(&["iss"]);
        (expected.validate_aud, expected.validate_exp) = (false, false);
        let key = DecodingKey::from_jwk(keys.find("one").unwrap()).unwrap();
        decode::<Value>(jwt, &key, &expected).expect("it verifies").claims
    };
    let (members, etag) = document().await;
    let mut signed = claims(&members);
    let now = world.clock.now();
    assert_eq!((&signed["iss"], &signed["jwks_uri"]), (&members["resource"], &json!(uri)));
    assert_eq!((&signed["iat"], &signed["exp"]), (&json!(now), &json!(now + 86_400)));
    let mut plain = members.clone();
    plain.as_object_mut().unwrap().remove("signed_metadata");
    for name in ["iss", "iat", "exp"] {
        signed.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(signed, plain, "what is signed is what is said");
    // PRM-15: it is the same for all until it is signed again, long before it ends.
    world.clock.advance(3600);
    let known = sent(&world.anonymous(), asked(Method::GET, DOCUMENT, &[("if-none-match", &*etag)])).await;
    assert_eq!((known.status().as_u16(), document().await), (304, (members, etag.clone())));
    world.clock.advance(43_200 - 3600);
    let (renewed, other) = document().await;
    assert_eq!((&claims(&renewed)["iat"], other == etag), (&json!(now + 43_200), false));
}

/// What the upstream saw of the last request.
fn seen(world: &World) -> HeaderMap {
    let seen = world.accounts.requests().pop().expect("a request");
    world.accounts.clear();
    seen.headers
}

/// What the upstream sees of this request, whatever it answers.
async fn forwards(world: &World, client: &Client, request: Request<Bytes>) -> HeaderMap {
    sent(client, request).await;
    seen(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_07_a_proof_is_kept_with_its_token_for_an_upstream_that_verifies_both() {
    let kept =
        World::with(|scene| scene.replace("client_certificate: true", "access_token: true\n      dpop: keep")).await;
    let removed = World::with(|scene| scene.replace("client_certificate: true", "access_token: true")).await;
    for (world, keeps) in [(&kept, true), (&removed, false)] {
        for client in [world.anonymous().h1(), world.anonymous().h2()] {
            let holder = world.holder();
            let proof = holder.proof("/accounts", world.clock.now()).sign(&holder.key);
            let headers = forwards(world, &client, dpop_request("/accounts", &holder.token, &proof)).await;
            assert_eq!(headers["authorization"], format!("DPoP {}", holder.token));
            let found: Vec<&HeaderValue> = headers.get_all("dpop").iter().collect();
            assert_eq!(found, if keeps { vec![&*proof] } else { Vec::new() });
            // What the upstream compares `htu` with: the URL of the client, from `Host` and the path.
            let mut any = Validation::new(Algorithm::ES256);
            (any.validate_exp, any.validate_aud) = (false, false);
            any.required_spec_claims.clear();
            let key = DecodingKey::from_jwk(&serde_json::from_value(holder.key.jwk()).unwrap()).unwrap();
            let claims = decode::<Value>(&proof, &key, &any).unwrap().claims;
            assert_eq!(claims["htu"], format!("https://{}/accounts", headers["host"].to_str().unwrap()));
        }
    }
    // A proof that was not judged goes nowhere: beside a bearer token it is refused, and a public route has no proofs.
    let mut bound = kept.request();
    bound.headers_mut().insert("dpop", HeaderValue::from_static("unjudged"));
    assert_eq!(kept.judge(bound).await.0, 400);
    let headers = forwards(&kept, &kept.client(), asked(Method::GET, "/health", &[("dpop", "unjudged")])).await;
    assert_eq!(headers.get("dpop"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_07_cookies_and_api_keys_that_a_route_names_do_not_reach_the_upstream() {
    let world = World::with(|scene| {
        scene
            .replace("      client_certificate: true\n", "      client_certificate: true\n      strip: [Cookie, X-Api-Key]\n")
            .append("  - { name: open, path: /open, methods: [GET], public: true, upstream: accounts, forward: { strip: [Cookie] } }\n")
    })
    .await;
    let fields =
        [("cookie", "a=1"), ("x-api-key", "k"), ("x_api_key", "k"), ("x-api-keys", "k"), ("accept", "text/plain")];
    for client in [world.client().h1(), world.client().h2()] {
        let mut token = world.request();
        for (name, value) in fields {
            token.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        token.headers_mut().append("cookie", HeaderValue::from_static("b=2"));
        let left = |headers: &HeaderMap| {
            fields.iter().filter(|(name, _)| headers.contains_key(*name)).map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let headers = forwards(&world, &client, token).await;
        assert_eq!(left(&headers), ["x-api-keys", "accept"]);
        let headers = forwards(&world, &client, asked(Method::GET, "/open", &fields)).await;
        assert_eq!(left(&headers), ["x-api-key", "x_api_key", "x-api-keys", "accept"]);
        let headers = forwards(&world, &client, asked(Method::GET, "/health", &fields)).await;
        assert_eq!(left(&headers), ["cookie", "x-api-key", "x_api_key", "x-api-keys", "accept"], "control");
    }
}
