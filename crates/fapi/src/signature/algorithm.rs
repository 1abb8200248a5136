//! The algorithms of signatures over messages: one for each type of key (RFC 9421 §3.3, HSIG-09).

use crate::jose::keys::Algorithm;

/// The registered name of the algorithm that a key of this kind signs messages with.
///
/// A message need not name it: then the key alone determines the algorithm, by that of its JWK (§3.3.7), which for an RSA key is
/// RSASSA-PSS with SHA-256 (PS256) or SHA-512 (PS512). Only the latter has a name here (§3.3.1). `rsa-v1_5-sha256` and
/// `hmac-sha256` are the name of none.
pub const fn registered_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ps256 => "rsa-pss-sha512",
        Algorithm::Es256 => "ecdsa-p256-sha256",
        Algorithm::EdDsa => "ed25519",
    }
}
