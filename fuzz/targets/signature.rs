#![no_main]

use std::sync::LazyLock;

use fapi::UnixTime;
use fapi::jose::keys::KeySet;
use fapi::signature::base::signature_base;
use fapi::signature::component::Component;
use fapi::signature::digest::ClaimedDigest;
use fapi::signature::input::SignatureInput;
use fapi::signature::message::{ExternalUri, Message, RequestView, ResponseView};
use fapi::signature::profile::{Content, Dpop, Profile};
use fapi::signature::verify::verify;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

// The keys that signed the good seeds.
const KEYS: &[u8] = br#"{"keys":[
{"kid":"ed","kty":"OKP","crv":"Ed25519","x":"kQnZ2jZy71F44Niel4mNC4XwBJCQTQ9wq2aWeLDGpOE"},
{"kid":"ec","kty":"EC","crv":"P-256","x":"saUkFtpQwtAoiJ1s2FwYfamLyPs_MChPj7zSaJhYnmQ","y":"33A42YXcGG25ZY8DITm06X6g4t92jx0SHoItlFhWtAQ"}
]}"#;
static SET: LazyLock<KeySet> = LazyLock::new(|| KeySet::parse(KEYS).expect("two keys"));
const NOW: UnixTime = UnixTime(1_800_000_000);

// Three lines, Signature-Input, Signature and Content-Digest, and then the content.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(4, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in ["signature-input", "signature", "content-digest"] {
        let Some(Ok(value)) = parts.next().map(HeaderValue::from_bytes) else { return };
        headers.append(name, value);
    }
    for (name, value) in [("authorization", "DPoP a.token"), ("dpop", "a.b.c"), ("priority", "u=1, i")] {
        headers.append(name, HeaderValue::from_static(value));
    }
    let content = parts.next().unwrap_or_default();
    let uri =
        ExternalUri { scheme: "https", authority: "api.bank.example", path: "/payments", query: Some("a=1&b=%20c") };
    let request = RequestView { method: &Method::POST, uri, target: "/payments?a=1&b=%20c", headers: &headers };
    let response = ResponseView { status: StatusCode::CREATED, headers: &headers, request };
    let digest = ClaimedDigest::read(&headers).and_then(|claimed| {
        let mut hasher = claimed.hasher();
        hasher.update(content);
        Ok(hasher.finish()?)
    });
    for message in [Message::Request(request), Message::Response(response)] {
        for read in SignatureInput::read(&headers).unwrap_or_default() {
            let Ok(serialized) = read.serialized() else { continue };
            let Ok(components) = read.components() else { continue };
            let _ = (read.parameters().is_ok(), signature_base(&message, &components, &serialized).is_ok());
            // What is written is read as what it was.
            for component in &components {
                let again: Result<Component, _> = component.to_string().parse();
                assert!(again.is_ok_and(|again| again == *component), "{component}");
            }
        }
        let profile = match message {
            Message::Request(_) => Profile::fapi2_request(Dpop::Present, Content::Present),
            Message::Response(_) => Profile::fapi2_response(&headers, Content::Present),
        };
        if let Ok(signed) = verify(&message, &profile, &SET, NOW) {
            let verified = digest.as_ref().ok().map(|matched| signed.with_content(matched));
            assert!(verified.is_none_or(|verified| verified.is_ok()), "the digest is one of what has to be covered");
        }
    }
});
