//! The grant types that can be judged.

/// RFC 6749 §4.1.3.
pub const AUTHORIZATION_CODE: &str = "authorization_code";
/// RFC 6749 §6.
pub const REFRESH_TOKEN: &str = "refresh_token";
/// RFC 6749 §4.4.
pub const CLIENT_CREDENTIALS: &str = "client_credentials";
/// OpenID CIBA Core §10.1.
pub const CIBA: &str = "urn:openid:params:grant-type:ciba";
