//! Signatures over messages with independent implementations, by different authors in different languages: what they sign as
//! FAPI says, `verify` accepts, and what `sign` has signed, they accept, requests and responses alike.
//!
//! Needs node and npm, python3 with venv, and either the network or the caches of npm and pip for the packages; without them the
//! tests fail.

use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use http::Request;
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::{Value, json};

use crate::support::node::{Script, installed};
use crate::support::{Folder, ORIGIN, World, client, python};

const URL: &str = "https://api.bank.example/payments?a=1&b=%20c";
const TARGET: &str = "/payments?a=1&b=%20c";
const BODY: &str = "{\"amount\": 1}";
const OF_REQUEST: [&str; 5] = ["\"@method\"", "\"@target-uri\"", "\"authorization\"", "\"dpop\"", "\"content-digest\""];
const OF_RESPONSE: [&str; 7] = [
    "\"@status\"",
    "\"content-digest\"",
    "\"@method\";req",
    "\"@target-uri\";req",
    "\"content-digest\";req",
    "\"signature-input\";req",
    "\"signature\";req",
];

#[test]
fn a_library_for_node_and_this_program_accept_what_the_other_signs() {
    let folder = installed(source(), &["messages.mjs"]);
    let mut library = start_node(&folder);
    both_ways(&mut library, &folder);
    assert!(library.end().is_empty());
}

#[test]
fn a_library_for_python_and_this_program_accept_what_the_other_signs() {
    let folder = Folder::new();
    let mut library = start_python(&folder);
    both_ways(&mut library, &folder);
    assert!(library.end().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_and_a_library_for_node_accept_what_the_other_signs() {
    let folder = installed(source(), &["messages.mjs"]);
    let mut library = start_node(&folder);
    through_a_gateway(&mut library).await;
    assert!(library.end().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_and_a_library_for_python_accept_what_the_other_signs() {
    let folder = Folder::new();
    let mut library = start_python(&folder);
    through_a_gateway(&mut library).await;
    assert!(library.end().is_empty());
}

#[test]
fn rsa_signatures_with_another_salt_are_refused() {
    // RFC 9421 §3.3.1: "salt length (sLen): 64". The signer of the library for Node takes the longest that fits.
    let folder = installed(source(), &["messages.mjs"]);
    let mut library = start_node(&folder);
    let key = Key::write(KeyKind::Ps256, &folder);
    let mut judged = |own_salt: bool| {
        let mut question = key.question("sign", &OF_REQUEST);
        question["own_salt"] = json!(own_salt);
        let signed = library.ask(&question);
        verify(&folder, &raw(&format!("POST {TARGET} HTTP/1.1"), &signed["headers"], BODY), &[]).1
    };
    assert_eq!(judged(false), "ok"); // control
    assert_eq!(judged(true), "signature_invalid");
}

/// Requests and responses, signed by either and verified by the other, with each algorithm.
fn both_ways(library: &mut Script, folder: &Folder) {
    for kind in KeyKind::ALL {
        let key = Key::write(kind, folder);
        theirs(library, folder, &key);
        for named in [true, false] {
            // An RSA key has two algorithms, of which only one has a name.
            if named || kind != KeyKind::Ps256 {
                ours(library, folder, &key, named);
            }
        }
    }
}

/// Requests that the library signs with each algorithm, and the responses to them, which a gateway signs.
async fn through_a_gateway(library: &mut Script) {
    let own = SigningKey::generate(KeyKind::Es256, "own");
    let keys = KeyKind::ALL.map(|kind| (kind, SigningKey::generate(kind, algorithm(kind))));
    let jwks: Vec<Value> = keys.iter().map(|(_, key)| key.jwk()).collect();
    let world = World::with(|scene| {
        scene
            .file("tpps.json", &json!({ "client-1": { "keys": jwks } }).to_string())
            .file("signing.pem", &own.private_key_pem())
            .replace(
                "    scopes: { any: [payments, accounts] }\n",
                "    signature: { request: required, response: sign, keys: tpps }\n    scopes: { any: [payments, accounts] }\n",
            )
            .replace(
                "upstreams:\n",
                "client_keys: { tpps: { file: tpps.json } }\nsigning: { keys: [{ private_key: signing.pem, key_id: own }] }\nupstreams:\n",
            )
    })
    .await;
    let url = format!("{ORIGIN}/payments?a=1&b=%20c");
    let ahead = world.clock.now().saturating_sub(client::now());
    let message = |what: &str, key: &str, key_id: &str, algorithm: &str| {
        let mut message = json!({ "do": what, "key": key, "key_id": key_id, "algorithm": algorithm, "ahead": ahead });
        message["name_algorithm"] = json!(true);
        message["body"] = json!(BODY);
        message
    };
    for (kind, key) in &keys {
        let token = world.sign(&world.token());
        let mut question = message("sign", &key.private_key_pem(), algorithm(*kind), algorithm(*kind));
        question["components"] = json!(["\"@method\"", "\"@target-uri\"", "\"authorization\"", "\"content-digest\""]);
        question["tag"] = json!("fapi-2-request");
        question["method"] = json!("POST");
        question["url"] = json!(url);
        question["headers"] =
            json!([["Authorization", format!("Bearer {token}")], ["Content-Type", "application/json"]]);
        let signed = library.ask(&question)["headers"].clone();
        let request = |body: &'static str| {
            let mut request = Request::post(&url);
            for pair in signed.as_array().unwrap_or_else(|| panic!("{signed}")) {
                request = request.header(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
            }
            request.body(Bytes::from(body)).unwrap()
        };
        assert_eq!(world.judge(request("{}")).await, (401, "digest_mismatch".to_owned()));
        let response = world.client().send(request(BODY)).await.unwrap();
        assert_eq!(response.status(), 201, "{kind:?}: {}", world.gateway.record_of(&response));
        let fields = response.headers().iter().map(|(name, value)| json!([name.as_str(), value.to_str().unwrap()]));
        let mut question = message("verify", &own.public_key_pem(), "own", algorithm(KeyKind::Es256));
        question["components"] = json!(OF_RESPONSE);
        question["tag"] = json!("fapi-2-response");
        question["status"] = json!(201);
        question["headers"] = fields.collect();
        question["body"] = json!(std::str::from_utf8(response.body()).unwrap());
        question["request"] = json!({ "method": "POST", "url": url, "headers": signed });
        assert_eq!(library.ask(&question), json!({ "ok": true }), "{response:?}"); // control
        question["request"]["method"] = json!("PUT");
        assert_eq!(library.ask(&question)["ok"], json!(false));
    }
}

/// What the library signs.
fn theirs(library: &mut Script, folder: &Folder, key: &Key) {
    let line = format!("POST {TARGET} HTTP/1.1");
    let request = library.ask(&key.question("sign", &OF_REQUEST));
    let signed = raw(&line, &request["headers"], BODY);
    let judge = |message: &str| verify(folder, message, &[]);
    assert_eq!(judge(&signed), (0, "ok".to_owned()), "{request}"); // control
    assert_eq!(judge(&signed.replace("POST", "PUT")), (1, "signature_invalid".to_owned()));
    assert_eq!(judge(&signed.replace("\": 1}", "\": 2}")), (1, "digest_mismatch".to_owned()));

    folder.write("request", &signed);
    let response = library.ask(&key.response("sign", &request["headers"]));
    let signed = raw("HTTP/1.1 201 Created", &response["headers"], BODY);
    let judge = |message: &str| verify(folder, message, &["--request", "request"]);
    assert_eq!(judge(&signed), (0, "ok".to_owned()), "{response}"); // control
    assert_eq!(judge(&signed.replace("201 Created", "200 OK")), (1, "signature_invalid".to_owned()));
}

/// What this program signs.
fn ours(library: &mut Script, folder: &Folder, key: &Key, named: bool) {
    let named: &[&str] = if named { &["--name-algorithm"] } else { &[] };
    let arguments = [&["sign", "--key", "key.pem", "--key-id", "k"], named].concat();
    let unsigned = raw(&format!("POST {TARGET} HTTP/1.1"), &headers(), BODY);
    let request = run(folder, &[&arguments[..], &["-"]].concat(), &unsigned).1;
    let fields = fields(&request);
    let mut question = key.question("verify", &OF_REQUEST);
    question["headers"] = fields.clone();
    assert_eq!(library.ask(&question), json!({ "ok": true }), "{request}"); // control
    question["method"] = json!("PUT");
    assert_eq!(library.ask(&question)["ok"], json!(false));

    folder.write("request", &request);
    let unsigned = raw("HTTP/1.1 201 Created", &json!([["Content-Type", "application/json"]]), BODY);
    let response = run(folder, &[&arguments[..], &["--request", "request", "-"]].concat(), &unsigned).1;
    let mut question = key.response("verify", &fields);
    question["headers"] = self::fields(&response);
    assert_eq!(library.ask(&question), json!({ "ok": true }), "{response}"); // control
    question["status"] = json!(200);
    assert_eq!(library.ask(&question)["ok"], json!(false));
}

/// A key under the name `k`, of which files have the private and the public part.
struct Key {
    algorithm: &'static str,
    private: String,
    public: String,
}

impl Key {
    fn write(kind: KeyKind, folder: &Folder) -> Self {
        let key = SigningKey::generate(kind, "k");
        let (private, public) = (key.private_key_pem(), key.public_key_pem());
        folder.write("key.pem", &private);
        folder.write("jwks.json", &json!({ "keys": [key.jwk()] }).to_string());
        Self { algorithm: algorithm(kind), private, public }
    }

    fn question(&self, what: &str, components: &[&str]) -> Value {
        json!({
            "do": what,
            "algorithm": self.algorithm,
            "key": if what == "sign" { &self.private } else { &self.public },
            "key_id": "k",
            "tag": "fapi-2-request",
            "name_algorithm": true,
            "components": components,
            "method": "POST",
            "url": URL,
            "headers": headers(),
            "body": BODY,
        })
    }

    /// A response to a request with these fields.
    fn response(&self, what: &str, request: &Value) -> Value {
        let mut question = self.question(what, &OF_RESPONSE);
        let members = question.as_object_mut().expect("an object");
        members.remove("method");
        members.remove("url");
        members.insert("status".to_owned(), json!(201));
        members.insert("tag".to_owned(), json!("fapi-2-response"));
        members.insert("headers".to_owned(), json!([["Content-Type", "application/json"]]));
        members.insert("request".to_owned(), json!({ "method": "POST", "url": URL, "headers": request }));
        question
    }
}

/// Its name in RFC 9421 §3.3.
const fn algorithm(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Es256 => "ecdsa-p256-sha256",
        KeyKind::Ps256 => "rsa-pss-sha512",
        KeyKind::EdDsa => "ed25519",
    }
}

fn headers() -> Value {
    json!([["Host", "api.bank.example"], ["Authorization", "DPoP a-token"], ["DPoP", "a.proof.here"]])
}

fn raw(line: &str, headers: &Value, body: &str) -> String {
    let headers = headers.as_array().unwrap_or_else(|| panic!("no fields but {headers}"));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let fields: String = headers.iter().map(|pair| format!("{}: {}\r\n", text(&pair[0]), text(&pair[1]))).collect();
    format!("{line}\r\n{fields}\r\n{body}")
}

/// The fields of a message.
fn fields(message: &str) -> Value {
    let (head, _) = message.split_once("\r\n\r\n").expect("a head");
    let pairs = head.split("\r\n").skip(1).map(|line| line.split_once(": ").expect("a field"));
    pairs.map(|(name, value)| json!([name, value])).collect()
}

/// The exit code, and the code that the text ends in.
fn verify(folder: &Folder, message: &str, more: &[&str]) -> (i32, String) {
    let arguments = [&["verify", "--keys", "jwks.json"], more, &["-"]].concat();
    let (exit, text) = run(folder, &arguments, message);
    let last = text.rsplit("\n\n").next().unwrap_or_default();
    (exit, last.split(':').next().unwrap_or_default().to_owned())
}

fn run(folder: &Folder, arguments: &[&str], input: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    command.args(arguments).current_dir(folder.path()).env_remove("RUST_LOG");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program runs");
    let written = std::io::Write::write_all(&mut child.stdin.take().expect("it is piped"), input.as_bytes());
    written.expect("it reads");
    let output = child.wait_with_output().expect("the program ends");
    (output.status.code().expect("it exits"), String::from_utf8(output.stdout).expect("text"))
}

/// Starts the script for Node; it connects to nobody.
fn start_node(folder: &Folder) -> Script {
    folder.write("ca.pem", &Authority::new("Nobody").pem());
    Script::start(folder, "messages.mjs", &[], &folder.path().join("ca.pem"))
}

/// Starts the script for Python.
fn start_python(folder: &Folder) -> Script {
    let interpreter = python::installed(folder, &source().join("requirements.txt"));
    let mut command = Command::new(interpreter);
    command.arg(source().join("messages.py"));
    Script::run(command)
}

fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/message_signatures"))
}
