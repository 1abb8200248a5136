//! `issuers[].access_token`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the access tokens of an issuer differ from RFC 9068. With `tokens: introspection`, only `scope_form` is allowed.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AccessToken {
    /// The `typ` that they have, one or more. Default: `at+jwt`.
    #[schemars(length(min = 1))]
    pub(in crate::config) typ: Option<Vec<TokenType>>,
    /// What only access tokens of the issuer say of themselves; required with `jwt` or `absent`. Tokens with `typ: at+jwt`
    /// do not need it where other types are accepted too.
    pub(in crate::config) kind: Option<AccessTokenKind>,
    /// The claim that names the client. Default: `client_id`.
    pub(in crate::config) client_id: Option<String>,
    /// The claim that has the scopes. Default: `scope`.
    pub(in crate::config) scope: Option<String>,
    /// The form of the scopes, in introspection responses too.
    #[schemars(extend("default" = "string"))]
    pub(in crate::config) scope_form: Option<ScopeForm>,
    /// The claims that may be missing; tokens without them cannot be revoked by them. Default: none.
    #[schemars(length(min = 1))]
    pub(in crate::config) may_lack: Option<Vec<Dispensable>>,
}

/// A `typ` of access tokens; that of another kind of JWT, such as `logout+jwt`, is always refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum TokenType {
    /// That of RFC 9068.
    #[serde(rename = "at+jwt")]
    AtJwt,
    /// `JWT`, which other JWTs of the issuer have too.
    #[serde(rename = "jwt")]
    Jwt,
    /// None.
    #[serde(rename = "absent")]
    Absent,
}

/// A claim, and the values of it that only access tokens of the issuer have.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AccessTokenKind {
    /// The name of the claim.
    #[schemars(required)]
    pub(in crate::config) claim: Option<String>,
    /// Its values, from 1 to 8, compared exactly.
    #[schemars(required, length(min = 1, max = 8))]
    pub(in crate::config) is: Option<Vec<String>>,
}

/// The form of a claim with scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ScopeForm {
    /// One string in which spaces separate the scopes.
    String,
    /// A list with a string for each scope.
    List,
}

/// A claim that access tokens may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Dispensable {
    /// The subject.
    Sub,
    /// The identifier of the token.
    Jti,
}
