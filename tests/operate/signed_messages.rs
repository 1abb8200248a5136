//! `sign` and `verify` on captured messages: what is signed verifies, each change of one thing is found and named, and no
//! credential is printed.

use std::io::Write;
use std::process::{Command, Stdio};

use sandbox::tokens::{KeyKind, SigningKey, jwks};
use serde_json::Value;

use crate::support::Folder;

const TOKEN: &str = "a-token-that-nobody-may-see";
const PROOF: &str = "eyJh.a-proof-that-nobody-may-see.c2ln";
const AT: &str = "1798761600";

/// A folder with the keys of two clients and a request of one.
struct Scene {
    folder: Folder,
}

#[derive(Debug)]
struct Ended {
    exit: i32,
    text: String,
    errors: String,
}

impl Ended {
    /// The code that the text ends in, with the exit code.
    fn code(&self) -> (i32, &str) {
        let last = self.text.rsplit("\n\n").next().unwrap_or_default();
        (self.exit, last.split(':').next().unwrap_or_default())
    }
}

impl Scene {
    fn new() -> Self {
        let folder = Folder::new();
        let (own, other) = (SigningKey::generate(KeyKind::Es256, "own"), SigningKey::generate(KeyKind::EdDsa, "other"));
        folder.write("own.pem", &own.private_key_pem());
        folder.write("other.pem", &other.private_key_pem());
        folder.write("own-public.pem", &own.public_key_pem());
        folder.write("jwks.json", &jwks(&[&own, &other]).to_string());
        folder.write("request", &request());
        Self { folder }
    }

    fn run(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        // One that reads nothing may have ended by now.
        let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("the program ends");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let (exit, errors) = (output.status.code().expect("it exits"), text(output.stderr));
        Ended { exit, text: text(output.stdout), errors }
    }

    /// Signs a message that is not the request of the folder.
    fn sign(&self, message: &str, more: &[&str]) -> String {
        let fixed = ["sign", "--key", "own.pem", "--key-id", "own", "--created", AT];
        let ended = self.run(&[&fixed[..], more, &["-"]].concat(), message);
        assert_eq!((ended.exit, &*ended.errors), (0, ""));
        ended.text
    }

    fn signed(&self) -> String {
        self.sign(&request(), &[])
    }

    /// Verifies a message, and makes sure that no credential is printed.
    fn verify(&self, message: &str, more: &[&str]) -> Ended {
        let fixed = ["verify", "--keys", "jwks.json", "--at", AT];
        self.verify_with(&fixed, message, more)
    }

    fn verify_with(&self, fixed: &[&str], message: &str, more: &[&str]) -> Ended {
        let ended = self.run(&[fixed, more, &["-"]].concat(), message);
        for secret in [TOKEN, PROOF] {
            assert!(!ended.text.contains(secret) && !ended.errors.contains(secret), "{secret} is printed: {ended:?}");
        }
        ended
    }
}

fn request() -> String {
    let fields = format!("Host: api.bank.example\r\nAuthorization: DPoP {TOKEN}\r\nDPoP: {PROOF}\r\n");
    format!("POST /payments?a=1 HTTP/1.1\r\n{fields}Content-Type: application/json\r\n\r\n{{\"amount\": 1}}")
}

#[test]
fn hsig_03_what_is_signed_has_what_fapi_wants_and_verifies() {
    let scene = Scene::new();
    let signed = scene.signed();
    let covered = "(\"@method\" \"@target-uri\" \"authorization\" \"dpop\" \"content-digest\")";
    for line in [
        "Content-Digest: sha-256=:jDcGnGN7rRhu+dFVZBYG7f7A8TNnWf6Ozui76trAetc=:\r\n",
        &format!("Signature-Input: sig={covered};created={AT};keyid=\"own\";tag=\"fapi-2-request\"\r\n"),
    ] {
        assert!(signed.contains(line), "no {line} in {signed}");
    }
    let (before, rest) =
        (request().replace("\r\n\r\n{\"amount\": 1}", "\r\nContent-Digest"), "\r\n\r\n{\"amount\": 1}");
    assert!(signed.starts_with(&before) && signed.ends_with(rest), "the rest is as it was: {signed}");
    let good = scene.verify(&signed, &[]);
    assert_eq!(good.code(), (0, "ok"), "{good:?}");
    for line in [
        "    \"@method\": POST\n",
        "    \"@target-uri\": https://api.bank.example/payments?a=1\n",
        "    \"authorization\": (32 bytes, SHA-256 ",
        &format!("    \"dpop\": ({} bytes, SHA-256 ", PROOF.len()),
        &format!("    \"@signature-params\": {covered};created={AT};keyid=\"own\";tag=\"fapi-2-request\"\n"),
        "  keyid      \"own\" (known, EC P-256)\n",
    ] {
        assert!(good.text.contains(line), "no {line} in {}", good.text);
    }
    // With lines that end in LF, and nothing in it to hash.
    let get = "GET /accounts HTTP/1.1\nHost: api.bank.example\nAuthorization: Bearer x\n\n";
    let signed = scene.sign(get, &[]);
    assert!(!signed.contains('\r') && !signed.to_lowercase().contains("content-digest"), "{signed}");
    assert_eq!(scene.verify(&signed, &[]).code(), (0, "ok"));
}

#[test]
fn each_change_of_one_thing_is_found_and_named() {
    let scene = Scene::new();
    let signed = scene.signed();
    let changed = |from: &str, to: &str| {
        let message = signed.replace(from, to);
        assert_ne!(message, signed, "{from}");
        scene.verify(&message, &[])
    };
    assert_eq!(scene.verify(&signed, &[]).code(), (0, "ok")); // control
    for (from, to, code, said) in [
        ("POST", "PUT", "signature_invalid", "--base FILE"),
        ("a=1 HTTP", "a=2 HTTP", "signature_invalid", "--uri"),
        (TOKEN, "another", "signature_invalid", "--base FILE"),
        ("\": 1}", "\": 2}", "digest_mismatch", "captured is not the one that was hashed"),
        ("keyid=\"own\"", "keyid=\"none\"", "signature_key_unknown", "The keys of the file are \"own\", \"other\"."),
        ("keyid=\"own\"", "keyid=\"other\"", "signature_invalid", "another key"),
        (";keyid", ";alg=\"ed25519\";keyid", "signature_algorithm_refused", "ecdsa-p256-sha256"),
        ("created=1798761600", "created=1798761500", "signature_stale", "--any-time"),
        ("created=1798761600", "created=1798761611", "signature_stale", "--any-time"),
        ("created=1798761600;", "", "signature_component_missing", "no parameter created"),
        ("\"dpop\" ", "", "signature_component_missing", "component \"dpop\" has to be covered"),
        (
            "(\"@method\"",
            "(\"x\" \"@method\"",
            "signature_component_missing",
            "\"x\": none, component \"x\" is covered",
        ),
        ("(\"@method\"", "(\"@nope\" \"@method\"", "signature_malformed", "base       none, component"),
        ("(\"@method\"", "(\"@method\" \"@method\"", "signature_malformed", "Cover it once"),
        ("fapi-2-request", "mine", "signature_missing", "Set the parameter tag"),
        ("Signature-Input: ", "Signature-Output: ", "signature_missing", "something between may remove them"),
        ("Signature: sig", "Signature: other", "signature_malformed", "RFC 9421 §4"),
    ] {
        let ended = changed(from, to);
        assert_eq!(ended.code(), (1, code), "{from} {to}: {ended:?}");
        assert!(ended.text.contains(said), "no {said:?} in {}", ended.text);
    }
    // A signature that is there twice over: one that holds is enough, whatever the labels are.
    let twice = scene.sign(&signed.replace("tag=\"fapi-2-request\"", "tag=\"mine\""), &["--label", "second"]);
    assert_eq!(scene.verify(&twice, &[]).code(), (0, "ok"));
    assert_eq!(scene.verify(&twice, &["--profile", "none"]).code(), (1, "signature_invalid"));
}

#[test]
fn a_time_is_the_one_of_the_message_or_none() {
    let scene = Scene::new();
    let signed = scene.sign(&request(), &["--expires", "1798761620"]);
    let at = |arguments: &[&str]| {
        scene.verify_with(&[&["verify", "--keys", "jwks.json"], arguments].concat(), &signed, &[]).code().1.to_owned()
    };
    assert_eq!(at(&["--at", "2027-01-01T00:00:19Z"]), "ok"); // control
    assert_eq!(at(&["--at", "1798761620"]), "signature_stale", "it expires");
    assert_eq!(at(&["--at", "1798761589"]), "signature_stale", "it is of the future");
    assert_eq!(at(&["--any-time"]), "ok");
}

#[test]
fn the_first_line_in_which_the_bases_differ_is_printed() {
    let scene = Scene::new();
    let signed = scene.signed();
    let base = |text: &str| {
        scene.folder.write("base", text);
        scene.verify(&signed, &["--base", "base"])
    };
    let params = signed.lines().find_map(|line| line.strip_prefix("Signature-Input: sig=")).expect("it is signed");
    let digest = "\"content-digest\": sha-256=:jDcGnGN7rRhu+dFVZBYG7f7A8TNnWf6Ozui76trAetc=:";
    let uri = "\"@target-uri\": https://api.bank.example/payments?a=1";
    let good = format!(
        "\"@method\": POST\n{uri}\n\"authorization\": DPoP {TOKEN}\n\"dpop\": {PROOF}\n{digest}\n\"@signature-params\": {params}"
    );
    let same = base(&good);
    assert!(same.exit == 0 && same.text.contains("the base of the other side is the same"), "{same:?}"); // control
    for (from, to, said) in [
        (
            "payments?a=1",
            "payments",
            "differs in line 2 from character 49\n    there    \"@target-uri\": https://api.bank.example/payments\n",
        ),
        (
            "DPoP a-",
            "Bearer a-",
            "differs in line 3 from character 18\n    there    \"authorization\": (34 bytes, SHA-256 ",
        ),
        ("\"authorization\": DPoP ", "", "differs in line 3 from character 1\n    there    (27 bytes, SHA-256 "),
        ("POST\n", "POST\r\n", "differs in line 1 from character 16\n    there    \"@method\": POST\\r\n"),
        ("\n\"@signature-params\"", "\nx\n\"@signature-params\"", "differs in line 6"),
    ] {
        let ended = base(&good.replace(from, to));
        assert!(ended.text.contains(said), "no {said:?} in {}", ended.text);
    }
}

#[test]
fn hsig_16_a_response_is_signed_with_its_request() {
    let scene = Scene::new();
    let request = scene.signed();
    scene.folder.write("request", &request);
    scene.folder.write("another", &request.replace("POST", "PUT"));
    let response = "HTTP/1.1 201 Created\nContent-Type: application/json\n\n{\"id\": 7}";
    let signed = scene.sign(response, &["--request", "request"]);
    let covered = "(\"@status\" \"content-digest\" \"@method\";req \"@target-uri\";req \"content-digest\";req \
                   \"signature-input\";req \"signature\";req)";
    assert!(signed.contains(&format!("{covered};created={AT};keyid=\"own\";tag=\"fapi-2-response\"")), "{signed}");
    let judge = |message: &str, request| scene.verify(message, &["--request", request]).code().1.to_owned();
    assert_eq!(judge(&signed, "request"), "ok"); // control
    assert_eq!(judge(&signed.replace("201 Created", "200 OK"), "request"), "signature_invalid");
    assert_eq!(judge(&signed, "another"), "signature_invalid");
    assert_eq!(scene.verify(&signed, &[]).exit, 2, "the request is needed");
    assert_eq!(scene.verify(&request, &["--request", "request"]).exit, 2, "a request answers none");
    scene.folder.write("response", response);
    assert_eq!(scene.verify(&signed, &["--request", "response"]).exit, 74);
}

#[test]
fn hsig_12_the_uri_is_the_one_that_the_client_knows() {
    let scene = Scene::new();
    let inside = request().replace("Host: api.bank.example", "Host: payments.internal:8080");
    let public = ["--uri", "https://api.bank.example/payments?a=1"];
    let signed = scene.sign(&inside, &public);
    assert_eq!(scene.verify(&signed, &public).code(), (0, "ok")); // control
    assert_eq!(scene.verify(&signed, &[]).code(), (1, "signature_invalid"));
    let without = signed.replace("Host: payments.internal:8080\r\n", "");
    assert_eq!(scene.verify(&without, &public).code(), (0, "ok"));
    assert_eq!(scene.verify(&without, &[]).exit, 2, "it is not known");
    let absolute = signed.replace("/payments?a=1 HTTP", "https://api.bank.example/payments?a=1 HTTP");
    assert_eq!(scene.verify(&absolute, &[]).code(), (0, "ok"), "the target of the request line is a URL");
    for uri in ["/payments", "https://a:b@api.bank.example/", "api.bank.example"] {
        let ended = scene.verify(&signed, &["--uri", uri]);
        assert!(ended.exit == 2 && !ended.errors.contains("a:b"), "{ended:?}");
    }
}

#[test]
fn one_key_verifies_under_any_name_and_a_name_is_a_thumbprint_by_default() {
    let scene = Scene::new();
    let one = ["verify", "--key", "own-public.pem", "--at", AT];
    assert_eq!(scene.verify_with(&one, &scene.signed(), &[]).code(), (0, "ok"));
    let default = scene.run(&["sign", "--key", "own.pem", "--created", AT, "request"], "").text;
    let jkt = scene.run(&["thumbprint", "own.pem"], "").text;
    let jkt = jkt.split(' ').nth(1).expect("a thumbprint");
    assert!(default.contains(&format!(";keyid=\"{jkt}\";")), "{default}");
    assert_eq!(scene.verify_with(&one, &default, &[]).code(), (0, "ok"));
    assert_eq!(scene.verify(&default, &[]).code(), (1, "signature_key_unknown"), "the set has other names");
    let others = scene.run(&["sign", "--key", "other.pem", "--created", AT, "request"], "").text;
    assert_eq!(scene.verify_with(&one, &others, &[]).code(), (1, "signature_invalid"));
}

#[test]
fn other_components_are_added_and_other_signatures_stay() {
    let scene = Scene::new();
    let more = ["--component", "content-type", "--component", "@query-param;name=\"a\"", "--component", "@method"];
    let signed = scene.sign(&request(), &more);
    assert!(signed.contains("\"content-digest\" \"content-type\" \"@query-param\";name=\"a\");"), "{signed}");
    let twice = scene.sign(&signed, &["--label", "second", "--component", "signature;key=\"sig\""]);
    let judged = scene.verify(&twice, &["--profile", "none"]);
    assert_eq!(judged.code(), (0, "ok"), "{judged:?}");
    assert!(judged.text.contains("signature sig  ok") && judged.text.contains("signature second  ok"), "{judged:?}");
    let refused = |message: &str, more: &[&str]| {
        let ended = scene.run(&[&["sign", "--key", "own.pem"], more, &["-"]].concat(), message);
        assert_eq!(ended.text, "", "{ended:?}");
        ended.exit
    };
    assert_eq!(refused(&signed, &[]), 1, "the label is taken");
    assert_eq!(refused(&signed, &["--label", "b", "--component", "signature"]), 1, "the field is added to");
    assert_eq!(refused(&signed, &["--label", "B"]), 1, "no label");
    assert_eq!(refused(&request(), &["--component", "x-nope"]), 1, "absent");
    assert_eq!(refused(&request(), &["--component", "@nope"]), 2);
    assert_eq!(refused(&request(), &["--profile", "fapi2-response"]), 2);
    assert_eq!(refused(&request().replace("Authorization", "X"), &[]), 1, "nothing to cover");
    assert_eq!(refused(&signed.replace("\": 1}", "\": 2}"), &["--label", "b"]), 1, "of other content");
    let anything = scene.sign("GET / HTTP/1.1\nHost: a.example\n\n", &["--profile", "none", "--tag", "mine"]);
    assert!(
        anything.contains(&format!("Signature-Input: sig=();created={AT};keyid=\"own\";tag=\"mine\"\n")),
        "{anything}"
    );
}

#[test]
fn machines_read_the_same_as_people() {
    let scene = Scene::new();
    let signed = scene.signed();
    let read = |message: &str| -> (i32, Value) {
        let ended = scene.verify(message, &["--json"]);
        (ended.exit, serde_json::from_str(&ended.text).expect("one object"))
    };
    let (exit, good) = read(&signed);
    assert_eq!((exit, &good["ok"], &good["content_digest"]["ok"]), (0, &Value::Bool(true), &Value::Bool(true)));
    let signature = &good["signatures"][0];
    assert_eq!(signature["base"][0], serde_json::json!({ "component": "\"@method\"", "value": "POST" }));
    assert_eq!(signature["base"][2]["bytes"], 32);
    assert_eq!((&signature["key_id"], &signature["made_by_key"]), (&"own".into(), &Value::Bool(true)));
    let (exit, bad) = read(&signed.replace("POST", "PUT"));
    assert_eq!((exit, &bad["ok"], &bad["error"]["code"]), (1, &Value::Bool(false), &"signature_invalid".into()));
    assert_eq!(bad["signatures"][0]["made_by_key"], Value::Bool(false));
}

#[test]
fn what_cannot_be_read_has_its_own_exit_code() {
    let scene = Scene::new();
    let signed = scene.signed();
    assert_eq!(scene.verify(&signed, &[]).exit, 0); // control
    assert_eq!(scene.verify("no message", &[]).exit, 74);
    assert_eq!(scene.verify(&signed.replace("\r\n\r\n", "\r\nContent-Length: 99\r\n\r\n"), &[]).exit, 74);
    let exit = |arguments: &[&str]| scene.run(arguments, &signed).exit;
    assert_eq!(exit(&["verify", "-"]), 2, "no keys");
    assert_eq!(exit(&["verify", "--keys", "jwks.json", "--key", "own-public.pem", "-"]), 2);
    assert_eq!(exit(&["verify", "--keys", "-", "-"]), 2, "one standard input");
    assert_eq!(exit(&["verify", "--keys", "jwks.json", "--at", "noon", "-"]), 2);
    assert_eq!(exit(&["verify", "--keys", "nowhere", "-"]), 74);
    assert_eq!(exit(&["verify", "--keys", "own-public.pem", "-"]), 74);
    assert_eq!(exit(&["verify", "--key", "own.pem", "-"]), 74, "a private key");
    assert_eq!(exit(&["verify", "--keys", "jwks.json", "nowhere"]), 74);
    assert_eq!(exit(&["sign", "--key", "own-public.pem", "-"]), 74);
    assert_eq!(exit(&["sign", "--key", "own.pem", "--created", "noon", "request"]), 2);
}
