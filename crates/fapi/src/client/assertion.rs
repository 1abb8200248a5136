//! `private_key_jwt`: how a client authenticates to an authorization server (RFC 7523 §2.2, FAPI 2.0 §5.3.3.1).

use serde_json::json;

use crate::UnixTime;
use crate::jose::signing::{NotSigned, PrivateKey};

/// The lifetime of an assertion in seconds, which is short since it is used at once.
pub const LIFETIME: u64 = 60;

/// Makes an assertion for one call from `client_id` to `issuer`, valid from `now` for [`LIFETIME`].
///
/// `key_id` is the `kid` of the key at the issuer, if it requires one. `jti` must be unique to the assertion.
///
/// # Errors
/// [`NotSigned`].
pub fn assertion(
    key: &PrivateKey,
    key_id: Option<&str>,
    client_id: &str,
    issuer: &str,
    jti: &str,
    now: UnixTime,
) -> Result<String, NotSigned> {
    let mut header = json!({ "alg": key.algorithm().as_str(), "typ": "JWT" });
    if let (Some(key_id), Some(header)) = (key_id, header.as_object_mut()) {
        header.insert("kid".to_owned(), key_id.into());
    }
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        // FAPI 2.0 §5.3.3.1: the issuer identifier "as a string, not as an item in an array".
        "aud": issuer,
        "jti": jti,
        "iat": now.0,
        "exp": now.plus(LIFETIME).0,
    });
    key.sign_jws(&header, &claims)
}
