//! The algorithms of signatures over messages: one for each type of key (RFC 9421 §3.3, HSIG-09).

use crate::jose::keys::Algorithm;

/// The registered name of the algorithm that a key of this kind signs messages with.
///
/// RSA keys sign with RSASSA-PSS and SHA-512 here (§3.3.1), and with SHA-256 in JWTs, whether their JWK says `PS256` or nothing:
/// the algorithms of JWS (§3.3.7) are not offered. `rsa-v1_5-sha256` and `hmac-sha256` are the name of none.
pub const fn registered_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ps256 => "rsa-pss-sha512",
        Algorithm::Es256 => "ecdsa-p256-sha256",
        Algorithm::EdDsa => "ed25519",
    }
}
