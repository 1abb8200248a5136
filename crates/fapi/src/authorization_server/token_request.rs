//! The rules on a token request (FAPI 2.0 §5.3.2.1), and what they say of the answer.

use super::authentication::Authenticated;
use super::certificate::PeerCertificate;
use super::error::EndpointError;
use super::grant_type::{AUTHORIZATION_CODE, CIBA, REFRESH_TOKEN};
use super::parameters::Parameters;
use super::rules::Rules;
use super::token_answer::Binding;
use crate::UnixTime;
use crate::dpop::{DpopError, VerifiedProof};
use crate::sha256;
use crate::text::{is_unreserved, shown_text};

/// A token request that may be forwarded, and what it says of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// What the token has to be bound to.
    pub bound_to: Binding,
    /// The SHA-256 of the refresh token that was presented.
    pub refresh_token: Option<[u8; 32]>,
}

/// Judges a token request of this client.
///
/// | grant | needs |
/// | --- | --- |
/// | any | to be among those of the server and of the client; a proof, or a certificate, to bind the token to |
/// | `authorization_code` | `code`, and `code_verifier` of 43 to 128 unreserved characters (RFC 7636 §4.1) |
/// | `refresh_token` | `refresh_token` |
/// | CIBA | `auth_req_id` |
///
/// A client that has registered `dpop_bound_access_tokens` needs a proof (RFC 9449 §5.2), and one that has registered
/// `tls_client_certificate_bound_access_tokens` a certificate.
///
/// # Errors
/// [`EndpointError`].
pub fn judge(
    parameters: &Parameters<'_>,
    client: &Authenticated,
    certificate: &PeerCertificate<'_>,
    proof: Option<&VerifiedProof>,
    rules: &Rules,
    now: UnixTime,
) -> Result<TokenRequest, EndpointError> {
    let grant = parameters.get("grant_type").ok_or(EndpointError::ParameterMissing { name: "grant_type" })?;
    let refused = |expected| Err(EndpointError::GrantTypeRefused { found: shown_text(grant), expected });
    if !rules.grant_types.iter().any(|allowed| **allowed == *grant) {
        return refused("one of those that the server may have");
    }
    if client.client().is_some_and(|client| !client.grants(grant)) {
        return refused("one of those that the client has registered");
    }
    let needs = |name| parameters.get(name).map(|_| ()).ok_or(EndpointError::ParameterMissing { name });
    match grant {
        AUTHORIZATION_CODE => {
            needs("code")?;
            judge_verifier(parameters)?;
        }
        REFRESH_TOKEN => needs("refresh_token")?,
        CIBA => needs("auth_req_id")?,
        _ => {}
    }
    let refresh_token = (grant == REFRESH_TOKEN).then(|| parameters.get("refresh_token")).flatten();
    let refresh_token = refresh_token.map(|token| sha256(token.as_bytes()));
    Ok(TokenRequest { bound_to: binding(client, certificate, proof, now)?, refresh_token })
}

fn judge_verifier(parameters: &Parameters<'_>) -> Result<(), EndpointError> {
    let name = "code_verifier";
    let verifier = parameters.get(name).ok_or(EndpointError::PkceMissing)?;
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(is_unreserved) {
        let (found, expected) = ("not that".into(), "43 to 128 unreserved characters");
        return Err(EndpointError::ParameterMalformed { name, found, expected });
    }
    Ok(())
}

/// What a token can be bound to, and has to be.
fn binding(
    client: &Authenticated,
    certificate: &PeerCertificate<'_>,
    proof: Option<&VerifiedProof>,
    now: UnixTime,
) -> Result<Binding, EndpointError> {
    // The server behind is not told of a certificate that nobody vouches for.
    let PeerCertificate { peer, verified_chain } = *certificate;
    let certificate = peer.certificate().filter(|_| verified_chain || client.client().is_some());
    let certificate = certificate.filter(|certificate| certificate.valid_at(now));
    let certificate = certificate.map(|certificate| *certificate.thumbprint());
    let key = proof.map(|proof| *proof.key());
    let by_key = client.client().is_some_and(|client| client.dpop_bound_access_tokens());
    let by_certificate = client.client().is_some_and(|client| client.certificate_bound_access_tokens());
    match (key, certificate) {
        (None, _) if by_key => Err(DpopError::Missing.into()),
        (_, None) if by_certificate => Err(EndpointError::NothingToBindTo),
        (Some(key), _) if by_key && !by_certificate => Ok(Binding::Key(key)),
        (_, Some(certificate)) if by_certificate && !by_key => Ok(Binding::Certificate(certificate)),
        (Some(key), Some(certificate)) => Ok(Binding::Either { key, certificate }),
        (Some(key), None) => Ok(Binding::Key(key)),
        (None, Some(certificate)) => Ok(Binding::Certificate(certificate)),
        (None, None) => Err(EndpointError::NothingToBindTo),
    }
}

/// Judges an introspection or revocation request: it names one token (RFC 7662 §2.1, RFC 7009 §2.1).
///
/// # Errors
/// [`EndpointError::ParameterMissing`].
pub fn judge_token_parameter(parameters: &Parameters<'_>) -> Result<(), EndpointError> {
    parameters.get("token").map(|_| ()).ok_or(EndpointError::ParameterMissing { name: "token" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::grant_type::CLIENT_CREDENTIALS;
    use super::super::rules::ServerProfile;
    use super::super::testing::{Client, NOBODY, NOW, changed, form, rules};
    use super::*;
    use crate::client::proof::{ProofKey, Request};
    use crate::code::Code;
    use crate::credentials::Proofs;
    use crate::dpop::{NoProofKeys, ProofContext, SignedProof};
    use crate::jose::keys::Algorithm;
    use crate::jose::signing::PrivateKey;
    use crate::peer::Peer;
    use crate::policy::NonceMode;
    use crate::route::{Origin, Target};
    use crate::testing::{certificate, freshness};

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CODE: &[(&str, &str)] = &[("grant_type", AUTHORIZATION_CODE), ("code", "c"), ("code_verifier", VERIFIER)];

    fn proof() -> VerifiedProof {
        let key = ProofKey::new(PrivateKey::generate(Algorithm::Es256).unwrap()).unwrap();
        let asked = Request { method: "POST", url: "https://as.example/token", access_token: None, nonce: None };
        let proof = key.prove(&asked, "jti", NOW).unwrap();
        let (request, ()) = http::Request::post("/token").body(()).unwrap().into_parts();
        let origin = Arc::new(Origin::parse("https://as.example").unwrap());
        let target = Target::parse(&request, &origin).unwrap();
        let freshness = freshness();
        let context = ProofContext {
            target: &target,
            nonce: NonceMode::Never,
            freshness: &freshness,
            keys: &NoProofKeys,
            replay_log_began: &|| UnixTime(0),
            now: NOW,
        };
        SignedProof::verify_without_token(Proofs::One(&proof), &context).unwrap().check_freshness(&context).unwrap()
    }

    fn judged(
        client: &Client,
        parameters: &[(&str, &str)],
        certificate: &PeerCertificate<'_>,
        proof: Option<&VerifiedProof>,
    ) -> Result<TokenRequest, Code> {
        let form = form(parameters);
        let (parameters, rules) = (Parameters::parse(form.as_bytes()).unwrap(), rules(ServerProfile::Fapi2Security));
        judge(&parameters, &client.authenticated(), certificate, proof, &rules, NOW).map_err(|error| error.code())
    }

    #[test]
    fn a_token_request_has_what_its_grant_needs() {
        let (client, proof) = (Client::new(), proof());
        let code = |parameters: &[(&str, &str)]| judged(&client, parameters, &NOBODY, Some(&proof)).err();
        let refresh = &[("grant_type", REFRESH_TOKEN), ("refresh_token", "r")];
        let (long, too_long) = ("v".repeat(128), "v".repeat(129));
        for good in [CODE, refresh, &[("grant_type", CLIENT_CREDENTIALS)], &changed(CODE, "code_verifier", &long)] {
            assert_eq!(code(good), None, "control: {good:?}");
        }
        for (name, value, expected) in [
            ("grant_type", "", Code::ParameterMalformed),
            // FAPI2-AS-02
            ("grant_type", "password", Code::GrantTypeRefused),
            ("grant_type", "implicit", Code::GrantTypeRefused),
            ("grant_type", CIBA, Code::GrantTypeRefused),
            ("grant_type", "Authorization_Code", Code::GrantTypeRefused),
            ("code", "", Code::ParameterMalformed),
            // FAPI2-AS-18
            ("code_verifier", "", Code::PkceMissing),
            ("code_verifier", "short", Code::ParameterMalformed),
            ("code_verifier", &too_long, Code::ParameterMalformed),
            ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r wW1gFWFOEjXk", Code::ParameterMalformed),
        ] {
            assert_eq!(code(&changed(CODE, name, value)), Some(expected), "{name}={value}");
        }
        assert_eq!(code(&changed(refresh, "refresh_token", "")), Some(Code::ParameterMalformed));
        let only_code = Client::with(json!({ "grant_types": [AUTHORIZATION_CODE] }));
        let other = judged(&only_code, refresh, &NOBODY, Some(&proof));
        assert_eq!(other.err(), Some(Code::GrantTypeRefused));
        assert!(judged(&only_code, CODE, &NOBODY, Some(&proof)).is_ok(), "control");
        let presented = judged(&client, refresh, &NOBODY, Some(&proof)).unwrap().refresh_token;
        assert_eq!(
            (presented, judged(&client, CODE, &NOBODY, Some(&proof)).unwrap().refresh_token),
            (Some(sha256(b"r")), None)
        );
    }

    #[test]
    fn fapi2_as_04_there_is_something_to_bind_a_token_to() {
        let (client, proof, own) = (Client::new(), proof(), Arc::new(certificate()));
        let (thumbprint, key) = (*own.thumbprint(), *proof.key());
        let peer = Peer::Certificate(own);
        let presented = PeerCertificate { peer: &peer, verified_chain: false };
        let bound = |client: &Client, certificate: &PeerCertificate<'_>, proof: Option<&VerifiedProof>| {
            judged(client, CODE, certificate, proof).map(|request| request.bound_to)
        };
        assert_eq!(bound(&client, &NOBODY, Some(&proof)), Ok(Binding::Key(key)));
        assert_eq!(bound(&client, &presented, None), Ok(Binding::Certificate(thumbprint)));
        let both = Ok(Binding::Either { key, certificate: thumbprint });
        assert_eq!(bound(&client, &presented, Some(&proof)), both);
        assert_eq!(bound(&client, &NOBODY, None), Err(Code::SenderConstraintMissing));
        // FAPI2-AS-48
        let by_key = Client::with(json!({ "dpop_bound_access_tokens": true }));
        assert_eq!(bound(&by_key, &presented, None), Err(Code::DpopMissing));
        assert_eq!(bound(&by_key, &presented, Some(&proof)), Ok(Binding::Key(key)));
        let by_certificate = Client::with(json!({ "tls_client_certificate_bound_access_tokens": true }));
        assert_eq!(bound(&by_certificate, &NOBODY, Some(&proof)), Err(Code::SenderConstraintMissing));
        assert_eq!(bound(&by_certificate, &presented, Some(&proof)), Ok(Binding::Certificate(thumbprint)));
    }

    #[test]
    fn fapi2_as_42_a_question_about_a_token_names_it() {
        let code = |form: &str| {
            judge_token_parameter(&Parameters::parse(form.as_bytes()).unwrap()).err().map(|error| error.code())
        };
        assert_eq!((code("token=t"), code("token_type_hint=t")), (None, Some(Code::ParameterMalformed)));
    }
}
