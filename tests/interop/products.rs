//! Authorization servers as they are: for each product, what its metadata, keys, tokens and introspection responses look
//! like, which settings admit its access tokens, and what the gateway answers to everything else.
//!
//! The products are data, a file for each in products/. The settings are those of docs/authorization-servers.md, so that
//! what the page tells operators to write is what is tested. Keys, names and values are made here; a text `$name` stands
//! for one of them, see [`Facts`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use fapi_gateway::config::Config;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode};
use sandbox::authorization_server::{AuthorizationServer, Script};
use sandbox::https::{Answer, Recorded};
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::{DEADLINE, ORIGIN, Scene, World, dpop_request, remember, request};

const API: &str = AuthorizationServer::AUDIENCE;
/// Where the settings on the page say that the issuer is.
const SHOWN: &str = "https://as.bank.example";

/// An authorization server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    /// Its name, which is the title of its section on the page.
    product: String,
    /// The path of its issuer identifier.
    issuer: String,
    metadata: Metadata,
    /// What here was seen in no source; the page marks it.
    unconfirmed: Vec<String>,
    setups: Vec<Setup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    /// The paths it is served at; every other well-known path has none.
    at: Vec<String>,
    document: Map<String, Value>,
}

/// One way to configure the gateway for it, and what comes of each token then.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Setup {
    /// The name of the issuer in the settings on the page. Without it nothing can be admitted.
    settings: Option<String>,
    /// Where there are none: the settings that come closest.
    access_token: Option<String>,
    /// The form of responses, where it is not that of the settings.
    response: Option<String>,
    bindings: Vec<Binding>,
    /// The key set: for each the kind of the key, and members that differ. The first one signs.
    keys: Vec<Map<String, Value>>,
    /// The path of the introspection endpoint, where it is asked.
    introspection: Option<String>,
    tokens: Vec<Token>,
}

/// A JWT, a text, or a token that the issuer is asked about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    kind: Kind,
    what: String,
    /// What the gateway makes of it.
    #[serde(default = "ok")]
    code: String,
    because: Option<String>,
    /// The binding with which this is seen; by default each of the setup.
    binding: Option<Binding>,
    header: Option<Value>,
    claims: Option<Value>,
    text: Option<String>,
    answer: Option<Value>,
    signed: Option<Signed>,
    /// How it differs from the first token of the setup; what is null is not there.
    changes: Option<Changes>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Changes {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    answer: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    header: Value,
    claims: Value,
    /// The media type, where it is not that of RFC 9701.
    r#type: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Access,
    Id,
    Refresh,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Binding {
    Certificate,
    Dpop,
}

fn ok() -> String {
    "ok".to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_page_admit_access_tokens_of_each_product_and_nothing_else_it_issues() {
    let settings = settings(&page());
    let mut used = Vec::new();
    for product in products() {
        for setup in &product.setups {
            let world = setup.world(&product, &settings).await;
            used.extend(setup.settings.clone());
            for token in &setup.tokens {
                let bindings = token.binding.as_ref().map_or(&*setup.bindings, std::slice::from_ref);
                for binding in bindings {
                    let name = setup.settings.as_deref().unwrap_or("no settings");
                    let what = format!("{}, {name}, {binding:?}: {}", product.product, token.what);
                    Case { world: &world, product: &product, setup, token, binding: *binding, what }.judge().await;
                }
            }
        }
    }
    used.sort();
    used.dedup();
    assert_eq!(used, settings.keys().cloned().collect::<Vec<_>>(), "every example on the page is tested");
}

#[test]
fn each_product_has_what_makes_its_test_one() {
    for product in products() {
        for setup in &product.setups {
            let of = |kind: Kind, permitted: bool| {
                setup.tokens.iter().filter(|token| token.kind == kind && (token.code == "ok") == permitted).count()
            };
            let what = format!("{} {:?}", product.product, setup.settings);
            if setup.settings.is_some() && setup.response.is_none() {
                assert!(of(Kind::Access, true) > 0, "{what} admits nothing");
                assert!(of(Kind::Id, false) > 0 && of(Kind::Refresh, false) > 0, "{what} refuses nothing else");
            } else {
                assert_eq!(of(Kind::Access, true), 0, "{what} needs no settings");
            }
            assert_eq!(of(Kind::Id, true) + of(Kind::Refresh, true) + of(Kind::Other, true), 0, "{what}");
            for token in &setup.tokens {
                assert_eq!(token.because.is_some(), token.code != "ok", "{what}: {}", token.what);
            }
        }
    }
}

/// `FAPI_GATEWAY_WRITE_DOCS=1` rewrites the tables and what follows them from the data.
#[test]
fn the_page_says_of_each_product_what_the_gateway_answers() {
    let (mut page, mut titles) = (page(), Vec::new());
    for product in products() {
        let title = format!("\n## {}\n", product.product);
        let (before, rest) = page.split_once(&title).unwrap_or_else(|| panic!("the page has no section{title}"));
        let (section, after) = rest.split_once("\n## ").unwrap_or((rest, ""));
        let (text, made) = section.split_once(HEAD).unwrap_or_else(|| panic!("no table in the section{title}"));
        assert_eq!(text.contains('†'), !product.unconfirmed.is_empty(), "{}: †", product.product);
        let expected = format!("{}{}", product.rows(), product.examples());
        if std::env::var_os("FAPI_GATEWAY_WRITE_DOCS").is_some() {
            let after = if after.is_empty() { String::new() } else { format!("\n## {after}") };
            page = format!("{before}{title}{text}{HEAD}{expected}{after}");
            std::fs::write(root().join(PAGE), &page).expect("the page is written");
        } else {
            assert_eq!(made, expected, "{}", product.product);
        }
        titles.push(product.product);
    }
    let sections: Vec<&str> = page.split("\n## ").skip(1).filter_map(|section| section.lines().next()).collect();
    let unknown: Vec<_> = sections.iter().filter(|name| !titles.iter().any(|title| title == **name)).collect();
    assert_eq!(unknown, GENERAL.iter().collect::<Vec<_>>(), "sections without a product");
}

const PAGE: &str = "docs/authorization-servers.md";
/// Its sections that are about no product.
const GENERAL: [&str; 4] = ["At a glance", "What every server has to do", "See that it works", "Others"];
const HEAD: &str = "| with | token | the gateway says | because |\n| --- | --- | --- | --- |\n";

impl Product {
    /// The rows of its table on the page.
    fn rows(&self) -> String {
        let rows = self.setups.iter().flat_map(|setup| {
            let with = match (&setup.settings, &setup.access_token, &setup.response) {
                (Some(name), _, None) => format!("`{name}`"),
                (Some(name), _, Some(response)) => format!("`{name}`, `response: {response}`"),
                (None, Some(form), _) => format!("`{form}`"),
                (None, None, _) if setup.introspection.is_some() => "introspection".to_owned(),
                (None, None, _) => "no `access_token`".to_owned(),
            };
            setup.tokens.iter().map(move |token| {
                let says = if token.code == "ok" { "admitted".to_owned() } else { format!("`{}`", token.code) };
                let because = token.because.as_deref().unwrap_or_default();
                format!("| {with} | {} | {says} | {because} |\n", token.what).replace("|  |", "| |")
            })
        });
        rows.collect()
    }

    /// For each of its settings, what a token or an answer that is admitted looks like.
    fn examples(&self) -> String {
        let facts = Facts::shown(&self.issuer);
        let examples = self.setups.iter().filter_map(|setup| {
            let (name, token) = (setup.settings.as_ref()?, setup.tokens.iter().find(|token| token.code == "ok")?);
            let cnf = match setup.bindings[0] {
                Binding::Certificate => json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" }),
                Binding::Dpop => json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
            };
            let written = |value: &Value| {
                let mut value = facts.fill(value);
                if let Some(members) = value.as_object_mut().filter(|members| members.contains_key("cnf")) {
                    members.insert("cnf".to_owned(), cnf.clone());
                }
                lines_of(&value)
            };
            let (what, parts) = match (&token.header, &token.claims, &token.answer, &token.signed) {
                (Some(header), Some(claims), ..) => ("a token", vec![header, claims]),
                (_, _, Some(answer), _) => ("an answer", vec![answer]),
                (.., Some(Signed { header, claims, .. })) => ("an answer", vec![header, claims]),
                _ => return None,
            };
            let parts: Vec<String> = parts.into_iter().map(written).collect();
            Some(format!("\nWith `{name}`, {what} like this is admitted:\n\n```text\n{}\n```\n", parts.join("\n")))
        });
        examples.collect()
    }
}

/// An object with as many members on a line as are easily read.
fn lines_of(value: &Value) -> String {
    let mut text = String::from("{");
    let mut line = 0;
    for (name, value) in value.as_object().expect("an object") {
        let member = format!(" {}: {value},", json!(name));
        if text.len() - line + member.len() > 136 {
            text.push_str("\n ");
            line = text.len();
        }
        text.push_str(&member);
    }
    format!("{} }}", text.trim_end_matches(','))
}

impl Setup {
    /// A gateway with these settings in front of an issuer like this product.
    async fn world(&self, product: &Product, settings: &BTreeMap<String, String>) -> World {
        let authority = Authority::new("Test CA");
        let server = AuthorizationServer::start(&authority).expect("the authorization server starts");
        let origin = server.issuer().to_owned();
        let issuer = format!("{origin}{}", product.issuer);
        let facts = Facts::new([("issuer", json!(issuer)), ("origin", json!(origin))]);
        let document = facts.fill(&Value::Object(product.metadata.document.clone()));
        for path in [AuthorizationServer::METADATA, AuthorizationServer::OPENID_CONFIGURATION] {
            server.script(path, Answer::status(StatusCode::NOT_FOUND));
        }
        for path in &product.metadata.at {
            server.script(path, Answer::json(StatusCode::OK, document.clone()));
        }
        let keys: Vec<Value> = self.keys.iter().map(|key| published(&server, key)).collect();
        let jwks =
            document["jwks_uri"].as_str().and_then(|uri| uri.strip_prefix(&*origin)).expect("jwks_uri").to_owned();
        server.script(&jwks, Answer::json(StatusCode::OK, json!({ "keys": keys })));
        let section = self.section(&issuer, &origin, settings);
        let unusable = self.tokens.iter().any(|token| token.code == "keys_unavailable");
        let adjust = |scene: Scene| {
            let issuer = scene.issuer().to_owned();
            let usual = format!(
                "  - name: bank\n    issuer: {issuer}\n    audiences: [\"{API}\"]\n    tokens: jwt\n    \
                 trust_anchors: [ca.pem]\n"
            );
            let scene = scene.replace(&usual, &section);
            if unusable { scene.never_ready() } else { scene }
        };
        let world = World::around(authority, server, adjust).await;
        let loaded = Config::load(&world.gateway.folder().path().join("gateway.yaml")).expect("it was loaded");
        // Of audiences that tokens for every resource have; the keys of tests have the modes of tests.
        let about = |warning: &&String| ["audiences", "access_token"].iter().any(|key| warning.contains(key));
        let warnings: Vec<_> = loaded.warnings.iter().filter(about).collect();
        assert_eq!(warnings, Vec::<&String>::new(), "{}: {:?}", product.product, self.settings);
        if unusable {
            world.issuer.wait_for(&jwks, 1, DEADLINE).await.expect("the gateway reads the keys");
        }
        world
    }

    /// The item of `issuers`.
    fn section(&self, issuer: &str, origin: &str, settings: &BTreeMap<String, String>) -> String {
        let mut section = match (&self.settings, &self.introspection) {
            (Some(name), _) => settings.get(name).unwrap_or_else(|| panic!("the page has no {name}")).clone(),
            (None, Some(_)) => format!(
                "  - name: bank\n    issuer: {issuer}\n    audiences: [\"{API}\"]\n    tokens: introspection\n    \
                 introspection: {{ client_id: gateway, authentication: {{ method: private_key_jwt, private_key: \
                 gateway.pem }} }}\n"
            ),
            (None, None) => format!("  - name: bank\n    issuer: {issuer}\n    audiences: [\"{API}\"]\n"),
        };
        if self.settings.is_some() {
            let shown = section.replace(SHOWN, origin);
            assert!(shown.contains(&format!("    issuer: {issuer}\n")), "another issuer on the page: {section}");
            section = shown;
        }
        if let Some(form) = &self.access_token {
            section.push_str(&format!("    access_token: {form}\n"));
        }
        if let Some(response) = &self.response {
            assert!(section.contains("      response: json\n"), "{section}");
            section = section.replace("      response: json\n", &format!("      response: {response}\n"));
        }
        section.push_str("    trust_anchors: [ca.pem]\n");
        section
    }

    fn signing_key<'w>(&self, server: &'w AuthorizationServer) -> &'w SigningKey {
        server.key(kind(&self.keys[0]))
    }
}

/// A token, presented in one way.
struct Case<'c> {
    world: &'c World,
    product: &'c Product,
    setup: &'c Setup,
    token: &'c Token,
    binding: Binding,
    what: String,
}

impl Case<'_> {
    async fn judge(&self) {
        let holder = SigningKey::generate(KeyKind::Es256, "proof");
        let facts = self.facts(&holder);
        let presented = self.present(&facts);
        let what = &self.what;
        assert_eq!(self.code(&presented, Some(&holder)).await, self.token.code, "{what}");
        if self.token.code == "ok" {
            let seen = self.world.accounts.requests().pop().expect("it was forwarded");
            assert_eq!(seen.header("x-token-client-id"), Some("client-1"), "{what}");
            let scope = seen.header("x-token-scope").unwrap_or_default();
            assert!(scope.split(' ').any(|scope| scope == "accounts"), "{what}: {scope}");
            // Without the certificate, or with another key, it is worth nothing.
            let stolen = if self.binding == Binding::Dpop { "dpop_key_mismatch" } else { "certificate_missing" };
            assert_eq!(self.code(&presented, None).await, stolen, "{what}, stolen");
        }
        // Nor does another kind of JWT pass if it is bound, and has what else an access token needs.
        let good = self.setup.tokens.iter().find(|token| token.code == "ok").and_then(|token| token.claims.as_ref());
        if self.token.kind != Kind::Access
            && let (Some(header), Some(Value::Object(claims)), Some(good)) =
                (&self.token.header, &self.token.claims, good)
        {
            let mut claims = claims.clone();
            for claim in ["cnf", "scope", "scp", "client_id", "azp", "cid", "sub", "jti", "iat", "exp"] {
                if let Some(value) = good.get(claim) {
                    claims.entry(claim).or_insert_with(|| value.clone());
                }
            }
            let token = self.sign(&facts.fill(header), &facts.fill(&Value::Object(claims)));
            assert_eq!(self.code(&token, Some(&holder)).await, self.token.code, "{what}, bound");
        }
    }

    fn facts(&self, holder: &SigningKey) -> Facts {
        let world = self.world;
        let (now, origin) = (world.clock.now(), world.issuer.issuer());
        let (cnf, token_type) = match self.binding {
            Binding::Certificate => (json!({ "x5t#S256": world.c1.x5t_s256() }), "Bearer"),
            Binding::Dpop => (json!({ "jkt": holder.thumbprint() }), "DPoP"),
        };
        let encrypted = json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "api" }).to_string();
        let part = URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes());
        Facts::new([
            ("issuer", json!(format!("{origin}{}", self.product.issuer))),
            ("origin", json!(origin)),
            ("api", json!(API)),
            ("client", json!("client-1")),
            ("kid", json!(self.setup.signing_key(&world.issuer).kid())),
            ("now", json!(now)),
            ("now_ms", json!(now * 1000)),
            ("exp", json!(now + 300)),
            ("jti", json!(Uuid::new_v4().to_string())),
            ("cnf", cnf),
            ("x5t", json!(world.c1.x5t_s256())),
            ("other_jkt", json!(SigningKey::generate(KeyKind::Es256, "other").thumbprint())),
            ("token_type", json!(token_type)),
            ("opaque", json!(Uuid::new_v4().to_string())),
            ("jwe", json!(format!("{}.{part}.{part}.{part}.{part}", URL_SAFE_NO_PAD.encode(encrypted)))),
        ])
    }

    /// The token as its client sends it; the issuer knows it, where it is asked.
    fn present(&self, facts: &Facts) -> String {
        let Token { header, claims, text, answer, signed, .. } = self.token;
        match (text, header, claims) {
            (Some(text), None, None) => {
                let text = facts.fill(&json!(text));
                return remember(text.as_str().expect("text").to_owned());
            }
            (None, Some(header), Some(claims)) => return self.sign(&facts.fill(header), &facts.fill(claims)),
            _ => {}
        }
        let known = match (answer, signed) {
            (Some(answer), None) => Answer::json(StatusCode::OK, facts.fill(answer)),
            (None, Some(Signed { header, claims, r#type })) => {
                let body = self.sign(&facts.fill(header), &facts.fill(claims));
                let media = r#type.as_deref().unwrap_or("application/token-introspection+jwt");
                let media = HeaderValue::from_str(media).expect("a media type");
                Answer::status(StatusCode::OK).header(CONTENT_TYPE, media).body(body)
            }
            _ => panic!("{} is neither a JWT nor a text nor an answer", self.what),
        };
        let token = remember(format!("opaque-{}", Uuid::new_v4().simple()));
        let path = self.setup.introspection.as_ref().expect("an introspection endpoint");
        let issuer = format!("{}{}", self.world.issuer.issuer(), self.product.issuer);
        let answers = Arc::new(Mutex::new(HashMap::from([(token.clone(), known)])));
        let script = move |request: &Recorded| answer_of(request, &issuer, &answers.lock().expect("no panic"));
        self.world.issuer.script(path, Script::Function(Box::new(script)));
        token
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        remember(self.setup.signing_key(&self.world.issuer).sign(header, claims))
    }

    /// The code for the token, from its holder or from a thief; nothing that is refused reaches the upstream.
    async fn code(&self, token: &str, holder: Option<&SigningKey>) -> String {
        let world = self.world;
        let (client, call): (_, Request<Bytes>) = match (self.binding, holder) {
            (Binding::Certificate, Some(_)) => (world.client(), request("/accounts", token)),
            (Binding::Certificate, None) => (world.anonymous(), request("/accounts", token)),
            (Binding::Dpop, holder) => {
                let thief = SigningKey::generate(KeyKind::Es256, "thief");
                let url = format!("{ORIGIN}/accounts");
                let proof = Proof::new("GET", &url, world.clock.now()).for_token(token).sign(holder.unwrap_or(&thief));
                (world.anonymous(), dpop_request("/accounts", token, &proof))
            }
        };
        let before = world.accounts.server().heads();
        let (status, code) = world.judge_from(&client, call).await;
        let permitted = code == "ok";
        assert_eq!(status == 200, permitted, "{}: {status} {code}", self.what);
        assert_eq!(world.accounts.server().heads() - before, usize::from(permitted), "{}: {code}", self.what);
        code
    }
}

/// What the issuer answers to the gateway, and only to it.
fn answer_of(request: &Recorded, issuer: &str, answers: &HashMap<String, Answer>) -> Answer {
    let form: HashMap<_, _> = form_urlencoded::parse(&request.body).into_owned().collect();
    let assertion = form.get("client_assertion").and_then(|assertion| {
        let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?;
        serde_json::from_slice::<Value>(&claims).ok()
    });
    if !assertion.is_some_and(|claims| claims["aud"] == issuer && claims["sub"] == "gateway") {
        return Answer::json(StatusCode::UNAUTHORIZED, json!({ "error": "invalid_client" }));
    }
    let known = form.get("token").and_then(|token| answers.get(token));
    known.cloned().unwrap_or_else(|| Answer::json(StatusCode::OK, json!({ "active": false })))
}

/// The values that stand for `$name` in the data: as they are where they are the whole text, as text within one.
struct Facts(Vec<(String, Value)>);

impl Facts {
    fn new<const N: usize>(values: [(&str, Value); N]) -> Self {
        let mut values: Vec<_> = values.map(|(name, value)| (format!("${name}"), value)).into();
        // The longest first, since one name may begin with another.
        values.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Self(values)
    }

    /// Those of the examples on the page.
    fn shown(path: &str) -> Self {
        Self::new([
            ("issuer", json!(format!("{SHOWN}{path}"))),
            ("origin", json!(SHOWN)),
            ("api", json!(API)),
            ("client", json!("app")),
            ("kid", json!("2026-11")),
            ("now", json!(1_795_910_400)),
            ("exp", json!(1_795_910_700)),
            ("jti", json!("d1f4c0de")),
            ("token_type", json!("Bearer")),
            ("cnf", json!(null)),
        ])
    }

    fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match self.0.iter().find(|(name, _)| name == text) {
                Some((_, value)) => value.clone(),
                None => {
                    let named = self.0.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
                    let text = named.fold(text.clone(), |text, (name, value)| text.replace(&**name, value));
                    assert!(!text.contains('$'), "nothing is called {text:?}");
                    json!(text)
                }
            },
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(members) => {
                let filled = members.iter().map(|(name, value)| (name.clone(), self.fill(value)));
                Value::Object(filled.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

fn kind(key: &Map<String, Value>) -> KeyKind {
    let name = key["key"].as_str().expect("the kind of a key");
    KeyKind::ALL.into_iter().find(|kind| kind.algorithm() == name).unwrap_or_else(|| panic!("no kind of key is {name}"))
}

/// A key as the product publishes it: a member that is null is not there.
fn published(server: &AuthorizationServer, key: &Map<String, Value>) -> Value {
    let mut differences = key.clone();
    differences.remove("key");
    changed(&server.key(kind(key)).jwk(), &differences)
}

/// An object with other members; those that are null are removed.
fn changed(object: &Value, differences: &Map<String, Value>) -> Value {
    let mut members = object.as_object().expect("an object").clone();
    members.extend(differences.clone());
    members.retain(|name, value| !(value.is_null() && differences.contains_key(name)));
    Value::Object(members)
}

/// The examples of the page, by the name of the issuer.
fn settings(page: &str) -> BTreeMap<String, String> {
    let blocks = page.split("```yaml\nissuers:\n").skip(1);
    let named = blocks.map(|block| {
        let (section, _) = block.split_once("```").expect("a block ends");
        let name = section.strip_prefix("  - name: ").and_then(|rest| rest.lines().next()).expect("a name");
        (name.to_owned(), section.to_owned())
    });
    let settings: Vec<_> = named.collect();
    let by_name: BTreeMap<_, _> = settings.iter().cloned().collect();
    assert_eq!(by_name.len(), settings.len(), "two examples have one name");
    by_name
}

fn products() -> Vec<Product> {
    let folder = root().join("tests/interop/products");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the products")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let products: Vec<Product> = paths.iter().map(|path| read(path)).collect();
    assert!(products.len() > 20, "there are {}", products.len());
    products
}

fn read(path: &Path) -> Product {
    let text = std::fs::read(path).expect("a product");
    let mut product: Product =
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for setup in &mut product.setups {
        let (first, others) = setup.tokens.split_first_mut().expect("a token");
        for token in others {
            let Some(changes) = token.changes.take() else { continue };
            token.header = first.header.as_ref().map(|header| changed(header, &changes.header));
            token.claims = first.claims.as_ref().map(|claims| changed(claims, &changes.claims));
            token.answer = first.answer.as_ref().map(|answer| changed(answer, &changes.answer));
        }
    }
    product
}

fn page() -> String {
    std::fs::read_to_string(root().join(PAGE)).expect("the page")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
