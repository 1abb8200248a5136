//! Public suites for JOSE, and for the header fields that contain certificates, judged by the code that verifies tokens and
//! reads forwarded certificates.
//!
//! The suites are not part of the repository. The argument, or `FAPI_GATEWAY_SUITES`, is a folder with `wycheproof`
//! (`testvectors_v1` of C2SP/wycheproof), `jose-cookbook` (ietf-jose/cookbook), `structured-fields`
//! (httpwg/structured-field-tests) and `rfc` (examples of RFCs as JSON); one that cannot be read is an error.
//! `tests/external/suites_page.py` compares what this finds with `docs/reference/suites.md`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a suite that cannot be read may panic")]

mod results;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::UnixTime;
use fapi::credentials::PresentedToken;
use fapi::headers::client_cert_chain;
use fapi::jose::jwe::{DecryptionKey, DecryptionKeys, decrypt};
use fapi::jose::keys::{Algorithm, KeySet, VerifyingKey};
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::peer::ClientCertificate;
use fapi::peer::forwarded::{Dialect, ForwardedError};
use fapi::signature::base::signature_base;
use fapi::signature::digest::{CONTENT_DIGEST, DigestAlgorithm, content_digest};
use fapi::signature::error::SignatureError;
use fapi::signature::input::{SIGNATURE, SIGNATURE_INPUT, SignatureInput};
use fapi::signature::message::{ExternalUri, Message, RequestView, ResponseView};
use fapi::signature::profile::{Content, Dpop, Profile};
use fapi::signature::verify::verify_one;
use fapi::token::{TokenError, UnverifiedJws};
use http::{HeaderMap, Method, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Map, Value, json};

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).or_else(|| std::env::var_os("FAPI_GATEWAY_SUITES"));
    let Some(folder) = folder.map(PathBuf::from) else {
        println!("the suites for JOSE are left out: neither an argument nor FAPI_GATEWAY_SUITES names their folder");
        return ExitCode::SUCCESS;
    };
    let wycheproof = |name: &str| read(&folder.join("wycheproof").join(format!("{name}_test.json")));
    let suites = [
        tokens("Wycheproof: JWS", &wycheproof("json_web_signature")),
        tokens("Wycheproof: JWK", &wycheproof("json_web_key")),
        tokens("Wycheproof: JWS and JWE together", &wycheproof("json_web_crypto")),
        tokens("Wycheproof: JWE", &wycheproof("json_web_encryption")),
        decrypted("Wycheproof: JWE, decrypted", &wycheproof("json_web_encryption")),
        signatures("Wycheproof: ES256 signatures", &wycheproof("ecdsa_secp256r1_sha256_p1363")),
        signatures("Wycheproof: Ed25519 signatures", &wycheproof("ed25519")),
        signatures("Wycheproof: PS256 signatures", &wycheproof("rsa_pss_2048_sha256_mgf1_32")),
        cookbook(&folder.join("jose-cookbook")),
        examples(&folder.join("rfc")),
        fields(&folder),
    ];
    let good = suites.iter().map(|suite| suite.report(EXPLAINED)).fold(true, |good, one| good && one);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// --- what the gateway makes of a suite

/// A suite and the verdicts of the gateway.
struct Suite {
    title: &'static str,
    version: &'static str,
    cases: usize,
    /// Where the gateway differs: the case, and why the gateway refuses it if it does.
    differs: Vec<(String, Option<String>)>,
}

/// Why the gateway differs: the suite, part of why it refuses (empty if it accepts), the beginning of the name of the
/// case, and the reason.
type Explained = &'static [(&'static str, &'static str, &'static str, &'static str)];

impl Suite {
    fn new(title: &'static str, version: &'static str) -> Self {
        Self { title, version, cases: 0, differs: Vec::new() }
    }

    /// Records what the gateway makes of a case that the suite expects to be accepted, or not.
    fn judge(&mut self, case: String, accept: bool, verdict: Result<(), String>) {
        self.cases += 1;
        if accept != verdict.is_ok() {
            self.differs.push((case, verdict.err()));
        }
    }

    /// Prints the result, writes it where `FAPI_GATEWAY_SUITE_RESULTS` says, and returns whether every difference is
    /// explained.
    fn report(&self, explained: Explained) -> bool {
        assert!(self.cases > 0, "{} has no cases", self.title);
        println!("{}: {} cases, {} right", self.title, self.cases, self.cases - self.differs.len());
        let mut good = true;
        let mut other: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (case, refusal) in &self.differs {
            let reason = explained.iter().find(|(title, refused, name, _)| {
                *title == self.title
                    && case.starts_with(name)
                    && refusal
                        .as_deref()
                        .map_or(refused.is_empty(), |refusal| !refused.is_empty() && refusal.contains(refused))
            });
            match reason {
                Some((.., why)) => other.entry(*why).or_default().push(case),
                None => {
                    println!("{}: {case}: not explained: {refusal:?}", self.title);
                    good = false;
                }
            }
        }
        for (title, refused, name, why) in explained.iter().filter(|(title, ..)| *title == self.title) {
            if !other.contains_key(why) {
                println!("{title}: nothing differs that begins with {name:?} and is refused as {refused:?}: {why}");
                good = false;
            }
        }
        results::write(self.title, &json!({ "version": self.version, "cases": self.cases, "other": other }));
        good
    }
}

// --- tokens

/// Why a case is refused.
type Refusal = String;

/// The cases of a Wycheproof file that has tokens in compact serialization, and the keys for them.
fn tokens(title: &'static str, file: &Value) -> Suite {
    let mut suite = Suite::new(title, "C2SP/wycheproof, testvectors_v1");
    for group in file["testGroups"].as_array().unwrap() {
        let keys = group.get("public").unwrap_or(&group["private"]);
        for test in group["tests"].as_array().unwrap() {
            let text = test.get("jws").or_else(|| test.get("jwe")).unwrap();
            let verdict = match text.as_str() {
                Some(text) => judge(text, keys),
                None => Err("not in compact serialization".to_owned()),
            };
            let name = format!("{} {}", test["tcId"], test["comment"].as_str().unwrap());
            suite.judge(name, test["result"] == "valid", verdict);
        }
    }
    suite
}

/// Verifies a token with the public parts of a key, or of a set of keys.
///
/// The payloads of the suites are not claims. Where this is the only fault, an empty set of claims takes the place of the
/// payload while the header is judged, and the signature is verified over the token as it is.
fn judge(text: &str, keys: &Value) -> Result<(), Refusal> {
    let set = if keys.get("keys").is_some() { keys.clone() } else { json!({ "keys": [keys] }) };
    let (header, payload, signature) = match text.split('.').collect::<Vec<_>>()[..] {
        [header, payload, signature] => (header, payload, signature),
        _ => return parse(text).map(|_| ()),
    };
    let claims = URL_SAFE_NO_PAD.encode("{}");
    let standing_in = format!("{header}.{claims}.{signature}");
    let jws = match parse(text) {
        Err(refusal) if refusal.contains("payload") && URL_SAFE_NO_PAD.decode(payload).is_ok() => parse(&standing_in)?,
        other => other?,
    };
    jws.check_header().map_err(told)?;
    let algorithm = jws.algorithm(Algorithm::ALL).map_err(told)?;
    let public: Vec<Value> = set["keys"].as_array().unwrap().iter().map(public_part).collect();
    let keys = KeySet::parse(json!({ "keys": public }).to_string().as_bytes()).map_err(|error| error.to_string())?;
    let signed = format!("{header}.{payload}");
    let mut candidates = keys.candidates(jws.key_id(), algorithm).peekable();
    if candidates.peek().is_none() {
        return Err("no key has its kid and algorithm".to_owned());
    }
    if candidates.any(|key| key.verifies(signed.as_bytes(), signature)) {
        return Ok(());
    }
    Err("the signature does not verify".to_owned())
}

fn parse(text: &str) -> Result<UnverifiedJws<'_>, Refusal> {
    let token = PresentedToken::parse(text).ok_or("not the syntax of a bearer token")?;
    UnverifiedJws::parse(token).map_err(told)
}

fn told(error: TokenError) -> Refusal {
    error.to_string()
}

/// A key as its issuer publishes it. The symmetric key has no public part and stays as it is.
fn public_part(key: &Value) -> Value {
    let mut key = key.clone();
    if key["kty"] != "oct" {
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            key.as_object_mut().unwrap().remove(member);
        }
    }
    key
}

// --- encryption

/// The cases of a Wycheproof file that has JWEs, decrypted as an introspection response is.
fn decrypted(title: &'static str, file: &Value) -> Suite {
    let mut suite = Suite::new(title, "C2SP/wycheproof, testvectors_v1");
    for group in file["testGroups"].as_array().unwrap() {
        let keys = decryption_keys(&group["private"]);
        for test in group["tests"].as_array().unwrap() {
            let verdict = match test["jwe"].as_str() {
                Some(text) => match decrypt(text, &keys, 64 * 1024) {
                    Ok(found) if test["pt"] != data_encoding::HEXLOWER.encode(found.plaintext()) => {
                        Err("another plaintext".to_owned())
                    }
                    other => other.map(|_| ()).map_err(|error| error.to_string()),
                },
                None => Err("not in compact serialization".to_owned()),
            };
            let name = format!("{} {}", test["tcId"], test["comment"].as_str().unwrap());
            suite.judge(name, test["result"] == "valid", verdict);
        }
    }
    suite
}

/// The private keys of a group that are for one of our algorithms.
fn decryption_keys(jwk: &Value) -> DecryptionKeys {
    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let key_id = jwk["kid"].as_str();
    let pkcs8 = match (jwk["kty"].as_str(), jwk["crv"].as_str()) {
        (Some("EC"), Some("P-256")) => {
            let point = [vec![4], number("x"), number("y")].concat();
            let key =
                EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &number("d"), &point);
            key.unwrap().to_pkcs8v1().unwrap().as_ref().to_vec()
        }
        (Some("RSA"), _) => {
            let components = rsa::KeyPairComponents {
                public_key: rsa::PublicKeyComponents { n: number("n"), e: number("e") },
                d: number("d"),
                p: number("p"),
                q: number("q"),
                dP: number("dp"),
                dQ: number("dq"),
                qInv: number("qi"),
            };
            let key = rsa::KeyPair::from_components(&components).unwrap();
            let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
            der.as_ref().to_vec()
        }
        _ => return DecryptionKeys::new(Vec::new()),
    };
    DecryptionKeys::new(vec![DecryptionKey::from_der(&PrivatePkcs8KeyDer::from(pkcs8).into(), key_id).unwrap()])
}

// --- signatures

/// The cases of a Wycheproof file that has bare signatures.
fn signatures(title: &'static str, file: &Value) -> Suite {
    let mut suite = Suite::new(title, "C2SP/wycheproof, testvectors_v1");
    for group in file["testGroups"].as_array().unwrap() {
        let key = match group.get("publicKeyJwk") {
            Some(jwk) => VerifyingKey::from_jwk(jwk.as_object().unwrap()),
            None => VerifyingKey::from_jwk(&point(group["publicKey"]["uncompressed"].as_str().unwrap())),
        };
        for test in group["tests"].as_array().unwrap() {
            let bytes = |name: &str| data_encoding::HEXLOWER.decode(test[name].as_str().unwrap().as_bytes()).unwrap();
            let signature = URL_SAFE_NO_PAD.encode(bytes("sig"));
            let verdict = match &key {
                Ok(key) if key.verifies(&bytes("msg"), &signature) => Ok(()),
                Ok(_) => Err("the signature does not verify".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            let name = format!("{} {}", test["tcId"], test["comment"].as_str().unwrap());
            suite.judge(name, test["result"] == "valid", verdict);
        }
    }
    suite
}

/// The JWK of a point in uncompressed form.
fn point(uncompressed: &str) -> Map<String, Value> {
    let bytes = data_encoding::HEXLOWER.decode(uncompressed.as_bytes()).unwrap();
    let [x, y] = [&bytes[1..33], &bytes[33..]].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
    jwk.as_object().unwrap().clone()
}

// --- the cookbook

/// The examples of RFC 7520, 7797 and 8037: every signature is valid, and a key that is published holds no secret.
fn cookbook(folder: &Path) -> Suite {
    let mut suite = Suite::new("jose-cookbook", "ietf-jose/cookbook");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    for path in files {
        let (name, file) = (path.file_stem().unwrap().to_string_lossy().into_owned(), read(&path));
        if name.starts_with("jwk.") {
            let verdict = VerifyingKey::from_jwk(file.as_object().unwrap());
            let verdict = verdict.map(|_| ()).map_err(|error| error.to_string());
            suite.judge(name.clone(), name.ends_with("public_key"), verdict);
        } else {
            let verdict = match file["output"]["compact"].as_str() {
                Some(text) => judge(text, &file["input"]["key"]),
                None => parse(&file["output"].to_string()).map(|_| ()),
            };
            suite.judge(name, true, verdict);
        }
    }
    suite
}

// --- examples of RFCs

fn examples(folder: &Path) -> Suite {
    let mut suite = Suite::new("Examples of RFCs", "RFC 7638, 8705, 9421, 9440, 9449");
    let file = |name: &str| read(&folder.join(format!("{name}.json")));
    let same = |ours: Option<String>, theirs: &Value| match ours {
        Some(ours) if *theirs == ours => Ok(()),
        ours => Err(format!("{ours:?} and not {theirs}")),
    };
    let thumbprint = |jwk: &Value| KeyThumbprint::of_jwk(jwk.as_object().unwrap()).map(|key| key.to_string());
    let der = |pem: &Value| CertificateDer::from_pem_slice(pem.as_str().unwrap().as_bytes()).unwrap();
    let certificate = |pem: &Value| ClientCertificate::from_der(&der(pem)).unwrap();

    let rfc7638 = file("rfc7638");
    suite.judge("RFC 7638 3.1 thumbprint".into(), true, same(thumbprint(&rfc7638["jwk"]), &rfc7638["thumbprint"]));

    let rfc8705 = file("rfc8705");
    let ours = certificate(&rfc8705["certificate"]).thumbprint().to_string();
    suite.judge("RFC 8705 A thumbprint".into(), true, same(Some(ours), &rfc8705["x5t#S256"]));

    let rfc9440 = file("rfc9440");
    let chain = rfc9440["chain"].as_array().unwrap();
    let ours = certificate(&chain[0]).header_value().to_str().unwrap().to_owned();
    suite.judge("RFC 9440 2 Client-Cert".into(), true, same(Some(ours), &rfc9440["Client-Cert"]));
    let authorities: Vec<_> = chain[1..].iter().map(der).collect();
    let ours = client_cert_chain(&authorities).map(|value| value.to_str().unwrap().to_owned());
    suite.judge("RFC 9440 2 Client-Cert-Chain".into(), true, same(ours, &rfc9440["Client-Cert-Chain"]));
    let fields = [("client-cert", &rfc9440["Client-Cert"]), ("client-cert-chain", &rfc9440["Client-Cert-Chain"])];
    let fields = fields.map(|(name, value)| (name.parse().unwrap(), value.as_str().unwrap().parse().unwrap()));
    let read_back = chain_of(&HeaderMap::from_iter(fields)).map_err(|error| error.to_string());
    let whole: Vec<_> = chain.iter().map(|pem| der(pem).to_vec()).collect();
    let verdict = read_back.and_then(|read| if read == whole { Ok(()) } else { Err("another chain".into()) });
    suite.judge("RFC 9440 2 both read".into(), true, verdict);

    let rfc9449 = file("rfc9449");
    let proofs = rfc9449["proofs"].as_array().unwrap().iter();
    let of_requests = rfc9449["protected_resource_requests"].as_array().unwrap().iter().map(|one| &one["proof"]);
    for (place, proof) in proofs.chain(of_requests).enumerate() {
        let proof = proof.as_str().unwrap();
        let header = URL_SAFE_NO_PAD.decode(proof.split('.').next().unwrap()).unwrap();
        let jwk = serde_json::from_slice::<Value>(&header).unwrap()["jwk"].clone();
        suite.judge(format!("RFC 9449 signature of proof {place}"), true, judge(proof, &jwk));
        suite.judge(format!("RFC 9449 key of proof {place}"), true, same(thumbprint(&jwk), &rfc9449["jkt"]));
    }

    let rfc9421 = file("rfc9421");
    for case in rfc9421["cases"].as_array().unwrap() {
        suite.judge(
            format!("RFC 9421 B.2 {}", case["title"].as_str().unwrap()),
            true,
            message_signature(&rfc9421, case),
        );
    }
    suite
}

/// A signature over the request or the response of RFC 9421 appendix B.2, at any time: the base is the printed one, and the key
/// of that name verifies it.
fn message_signature(file: &Value, case: &Value) -> Result<(), Refusal> {
    let text = |member: &str| case[member].as_str().unwrap();
    let told = |error: SignatureError| error.to_string();
    let (of_request, of_response) = (message(&file["test-request"]), message(&file["test-response"]));
    let is_request = text("message") == "request";
    let mut headers = if is_request { of_request.clone() } else { of_response };
    for (name, member) in [(SIGNATURE_INPUT, "signature_input"), (SIGNATURE, "signature")] {
        headers.insert(name, text(member).parse().unwrap());
    }
    let (path, query) = ("/foo", Some("param=Value&Pet=dog"));
    let uri = ExternalUri { scheme: "https", authority: "example.com", path, query };
    let target = "/foo?param=Value&Pet=dog";
    let of_client = |headers| RequestView { method: &Method::POST, uri, target, headers };
    let message = match is_request {
        true => Message::Request(of_client(&headers)),
        false => {
            let request = of_client(&of_request);
            Message::Response(ResponseView { status: StatusCode::OK, headers: &headers, request })
        }
    };
    let input = SignatureInput::read(&headers).map_err(told)?.remove(0);
    let base = input.components().and_then(|all| signature_base(&message, &all, &input.serialized()?)).map_err(told)?;
    if base != text("base") {
        return Err(format!("another base: {base}"));
    }
    let public: Vec<Value> = file["keys"].as_array().unwrap().iter().map(public_part).collect();
    let keys = KeySet::parse(json!({ "keys": public }).to_string().as_bytes()).map_err(|error| error.to_string())?;
    let profile =
        Profile { required: Vec::new(), max_age: u64::MAX, ..Profile::fapi2_request(Dpop::Absent, Content::Absent) };
    verify_one(&input, &message, &profile, &keys, UnixTime(1_618_884_473)).map(|_| ()).map_err(told)
}

/// The fields of a message, with the digest of its content: the response has one of other content, and what is signed is this.
fn message(text: &Value) -> HeaderMap {
    let (head, content) = text.as_str().unwrap().split_once("\n\n").unwrap();
    let fields = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
    let mut headers: HeaderMap = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let digest = content_digest(DigestAlgorithm::Sha512, content.trim_end().as_bytes());
    headers.insert(CONTENT_DIGEST, digest.parse().unwrap());
    headers
}

// --- structured fields

/// Byte sequences as the value of `Client-Cert`, and lists as that of `Client-Cert-Chain`, where a certificate takes the
/// place of each number. A byte sequence has been read if all that is wrong with it is that it is not a certificate. What
/// one contains is also written, as the value of `Client-Cert-Chain`.
fn fields(folder: &Path) -> Suite {
    let mut suite = Suite::new("Structured fields: binary and list", "httpwg/structured-field-tests");
    let certificate = read(&folder.join("rfc/rfc9440.json"))["Client-Cert"].as_str().unwrap().to_owned();
    for name in ["binary", "list"] {
        for case in read(&folder.join("structured-fields").join(format!("{name}.json"))).as_array().unwrap() {
            let mut headers = HeaderMap::new();
            for line in case["raw"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()) {
                if name == "list" {
                    let line = line.replace("42", "1").replace("43", "1").replace('1', &certificate);
                    headers.append("client-cert-chain", line.parse().unwrap());
                } else {
                    headers.append("client-cert", line.parse().unwrap());
                }
            }
            if name == "list" {
                headers.insert("client-cert", certificate.parse().unwrap());
            }
            let verdict = match chain_of(&headers) {
                Err(ForwardedError::Malformed { why }) if why.contains("X.509") => Ok(()),
                // The client's own certificate is not of the list.
                Ok(chain) if name == "list" && case["expected"].as_array().map(Vec::len) != Some(chain.len() - 1) => {
                    Err(format!("{} items", chain.len() - 1))
                }
                other => other.map(|_| ()).map_err(|error| error.to_string()),
            };
            if let (true, Some(encoded)) = (name == "binary", case["expected"][0]["value"].as_str()) {
                let content = data_encoding::BASE32.decode(encoded.as_bytes()).unwrap();
                let canonical = case.get("canonical").unwrap_or(&case["raw"])[0].as_str().unwrap();
                let ours = client_cert_chain(&[content]).unwrap();
                let verdict = if ours == canonical { Ok(()) } else { Err(format!("{ours:?} is written")) };
                suite.judge(format!("binary, written: {}", case["name"].as_str().unwrap()), true, verdict);
            }
            let must_fail = case["must_fail"] == true;
            // What a parser may refuse is right either way.
            let either = case["can_fail"] == true;
            suite.judge(
                format!("{name}: {}", case["name"].as_str().unwrap()),
                !must_fail && (!either || verdict.is_ok()),
                verdict,
            );
        }
    }
    suite
}

fn chain_of(headers: &HeaderMap) -> Result<Vec<Vec<u8>>, ForwardedError> {
    let sent = Dialect::ClientCert.find(headers)?;
    let sent = sent.ok_or(ForwardedError::Malformed { why: "there is no field" })?;
    Ok(sent.read()?.der().to_vec())
}

/// Why the gateway differs from a suite, by the suite, by what it makes of the case, and by the beginning of its name; the
/// first that fits counts.
const EXPLAINED: Explained = &[
    ("Wycheproof: JWS", "alg is", "", OTHER_ALGORITHM),
    ("Wycheproof: JWS", "syntax of a bearer token", "37", NOT_BASE64URL),
    ("Wycheproof: JWK", "alg is", "", OTHER_ALGORITHM),
    ("Wycheproof: JWS and JWE together", "alg is", "", OTHER_ALGORITHM),
    ("Wycheproof: JWS and JWE together", "encrypted", "", ENCRYPTED),
    ("Wycheproof: JWE", "encrypted", "", ENCRYPTED),
    ("Wycheproof: JWE, decrypted", "alg is", "", OTHER_KEY_MANAGEMENT),
    ("Wycheproof: JWE, decrypted", "enc is", "", OTHER_CONTENT_ENCRYPTION),
    ("Wycheproof: JWE, decrypted", "compressed", "135", COMPRESSED),
    ("jose-cookbook", "alg is", "jws", OTHER_ALGORITHM),
    ("jose-cookbook", "not for PS256", "jwk.3_1", "no algorithm of FAPI has keys on P-521"),
    ("jose-cookbook", "syntax of a bearer token", "", JSON_SERIALIZATION),
    ("Examples of RFCs", "no key of the client", "RFC 9421 B.2 Signing a Request using hmac-sha256", SHARED_SECRET),
    ("Structured fields: binary and list", "byte sequence", "binary: empty", "a certificate has at least one byte"),
    ("Structured fields: binary and list", "byte sequence", "list: empty", EMPTY_LIST),
];

const OTHER_ALGORITHM: &str = "FAPI 2.0 §5.4.1 allows PS256, ES256 and EdDSA, and no other algorithm";
const ENCRYPTED: &str = "an access token is never encrypted for the gateway: every JWE is refused";
const OTHER_KEY_MANAGEMENT: &str =
    "an introspection response is encrypted with RSA-OAEP-256 or ECDH-ES, and no other algorithm";
const OTHER_CONTENT_ENCRYPTION: &str = "an introspection response is encrypted with A256GCM, and nothing else";
const COMPRESSED: &str = "what is compressed has no bound, and may reveal what was encrypted (RFC 8725 §3.6)";
const NOT_BASE64URL: &str = "the suite lets a decoder skip characters; RFC 7515 §2 has base64url \"without the inclusion of any line breaks, whitespace, or other additional characters\"";
const JSON_SERIALIZATION: &str = "an access token is a JWS in compact serialization (RFC 9068 §2)";
const SHARED_SECRET: &str =
    "hmac-sha256 needs a secret that both sides have, and FAPI 2.0 §5.4.1 has none for signatures";
const EMPTY_LIST: &str = "an empty list is sent by leaving out the field (RFC 9651 §3.1)";
