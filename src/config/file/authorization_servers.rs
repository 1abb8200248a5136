//! `authorization_servers`: the servers in front of which the gateway enforces FAPI.

use fapi::authorization_server::{Endpoint, ServerProfile as Named};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::{Duration, FilePath};
use super::enforce::Enforce;
use super::issuers::Algorithm;

/// An authorization server behind the gateway: what breaks the profile never reaches it, and what it must not answer never reaches a
/// client. Whatever is not an endpoint here is refused.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AuthorizationServer {
    /// Its name; those of its routes begin with it.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// Its issuer identifier, as its metadata has it: an https URL at an origin of the listeners.
    #[schemars(required)]
    pub(in crate::config) issuer: Option<String>,
    /// The profile that it has to follow.
    #[schemars(extend("default" = "fapi2-security"))]
    pub(in crate::config) profile: Option<ServerProfile>,
    /// The upstream that it is, by name.
    #[schemars(required)]
    pub(in crate::config) upstream: Option<String>,
    /// Another origin of the listeners at which the endpoints are that clients call with a certificate (RFC 8705 section 5).
    /// Default: none, and they call the same ones.
    pub(in crate::config) mtls_origin: Option<String>,
    /// File with a copy of its metadata (RFC 8414): endpoints that are not named are at the paths that it says. Introspection and
    /// registration are taken from it with `resource_servers` and `registration`. Default: none.
    pub(in crate::config) metadata: Option<FilePath>,
    /// The paths of its endpoints. Required without `metadata`.
    pub(in crate::config) endpoints: Option<Endpoints>,
    /// The paths of the pages behind its authorization endpoint, such as those of login and consent. Default: none.
    #[schemars(length(min = 1))]
    pub(in crate::config) browser_paths: Option<Vec<String>>,
    /// Its clients.
    #[schemars(required)]
    pub(in crate::config) clients: Option<Clients>,
    /// Where the requests that were pushed are remembered until a browser brings their names: `memory` is that of this process alone; any
    /// other is the name of one of `stores`, in which replicas share them.
    #[schemars(extend("default" = "memory"))]
    pub(in crate::config) store: Option<String>,
    /// The resource servers that may ask its introspection endpoint; a client never passes for one. Default: none.
    pub(in crate::config) resource_servers: Option<ResourceServers>,
    /// The grant types that its token endpoint may have: `authorization_code`, `refresh_token`, `client_credentials` or
    /// `urn:openid:params:grant-type:ciba`. Default: the first two.
    #[schemars(length(min = 1))]
    pub(in crate::config) grant_types: Option<Vec<String>>,
    /// What becomes of parameters beside `client_id` and `request_uri` at the authorization endpoint.
    #[schemars(extend("default" = "refuse"))]
    pub(in crate::config) other_parameters: Option<OtherParameters>,
    /// What clients are that register themselves; only with `endpoints.registration`.
    pub(in crate::config) registration: Option<Registration>,
    /// What its answers may be.
    pub(in crate::config) answers: Option<Answers>,
    /// From when on what the profile refuses is refused. Until then it reaches the server, is counted, and comes back as the server
    /// answers it. Default: at once.
    pub(in crate::config) enforce: Option<Enforce>,
}

/// A FAPI profile of an authorization server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum ServerProfile {
    /// FAPI 2.0 Security Profile.
    #[default]
    #[serde(rename = "fapi2-security")]
    Fapi2Security,
    /// FAPI 2.0 Message Signing on top: signed request objects, and responses as JWTs.
    #[serde(rename = "fapi2-message-signing")]
    Fapi2MessageSigning,
    /// FAPI 1.0 Advanced, with pushed requests.
    #[serde(rename = "fapi1-advanced")]
    Fapi1Advanced,
}

impl ServerProfile {
    /// The profile that is named so.
    pub(in crate::config) const fn named(self) -> Named {
        match self {
            Self::Fapi2Security => Named::Fapi2Security,
            Self::Fapi2MessageSigning => Named::Fapi2MessageSigning,
            Self::Fapi1Advanced => Named::Fapi1Advanced,
        }
    }
}

/// The paths of the endpoints of an authorization server; one that is not named here cannot be called.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Endpoints {
    /// Where clients push their authorization requests (RFC 9126). Required without `metadata`, as are the next two.
    pub(in crate::config) pushed_authorization_request: Option<String>,
    /// Where browsers bring the name of what was pushed.
    pub(in crate::config) authorization: Option<String>,
    /// Where clients get tokens.
    pub(in crate::config) token: Option<String>,
    /// Where resource servers ask about tokens (RFC 7662). Default: none.
    pub(in crate::config) introspection: Option<String>,
    /// Where clients revoke tokens (RFC 7009). Default: none.
    pub(in crate::config) revocation: Option<String>,
    /// Where clients register themselves (RFC 7591). Default: none.
    pub(in crate::config) registration: Option<String>,
    /// Where its keys are. Default: none.
    pub(in crate::config) jwks: Option<String>,
    /// Where clients ask about the user (OpenID Connect Core 1.0 section 5.3): the path of a route that needs a token, which the
    /// metadata name then. Default: none.
    pub(in crate::config) userinfo: Option<String>,
}

impl Endpoints {
    /// The path of each endpoint that is judged.
    pub(in crate::config) const fn each(&mut self) -> [(Endpoint, &mut Option<String>); 7] {
        [
            (Endpoint::PushedAuthorizationRequest, &mut self.pushed_authorization_request),
            (Endpoint::Authorization, &mut self.authorization),
            (Endpoint::Token, &mut self.token),
            (Endpoint::Introspection, &mut self.introspection),
            (Endpoint::Revocation, &mut self.revocation),
            (Endpoint::Registration, &mut self.registration),
            (Endpoint::Jwks, &mut self.jwks),
        ]
    }
}

/// The clients of an authorization server.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Clients {
    /// Folder with a document of client metadata for each, in files that end with `.json` (RFC 7591 section 2, with `client_id`).
    #[schemars(required)]
    pub(in crate::config) directory: Option<FilePath>,
    /// What becomes of others: `refuse`, or `judge_without_keys` for whatever needs no registration, while the server behind
    /// verifies the rest.
    #[schemars(extend("default" = "refuse"))]
    pub(in crate::config) unknown: Option<UnknownClients>,
    /// PEM files with the authorities of the hosts at which clients and resource servers publish their keys, which is their
    /// `jwks_uri`. Default: the system's.
    #[schemars(length(min = 1))]
    pub(in crate::config) trust_anchors: Option<Vec<FilePath>>,
}

/// What becomes of clients that are not registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum UnknownClients {
    /// They are refused.
    #[default]
    Refuse,
    /// What needs no registration is judged.
    JudgeWithoutKeys,
}

/// The resource servers that may ask about tokens.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ResourceServers {
    /// Folder with a document for each, as for clients.
    #[schemars(required)]
    pub(in crate::config) directory: Option<FilePath>,
}

/// What becomes of parameters that were not pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OtherParameters {
    /// The request is refused.
    #[default]
    Refuse,
    /// They are not forwarded.
    Drop,
}

/// What the answers of an authorization server may be.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Answers {
    /// How long an access token may live, from 1s to 24h. Default: as long as the server says.
    pub(in crate::config) access_token_lifetime: Option<Duration>,
    /// Whether a refresh may come back with another refresh token, which FAPI 2.0 has as an exception.
    #[schemars(extend("default" = false))]
    pub(in crate::config) refresh_token_rotation: Option<bool>,
}

/// What clients are that register themselves, beyond what the profile says.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Registration {
    /// Whether a client has to have `dpop_bound_access_tokens` or `tls_client_certificate_bound_access_tokens`: `required`, or
    /// `optional` for clients that do not know these members.
    #[schemars(extend("default" = "required"))]
    pub(in crate::config) sender_constrained: Option<SenderConstrained>,
    /// The directory whose software statements count. Default: none, and a request that has a statement is refused.
    pub(in crate::config) software_statements: Option<SoftwareStatements>,
    /// The organisation of the statement, which is that of the client's certificate too. Default: it is not compared.
    pub(in crate::config) organisation: Option<Organisation>,
    /// The software of the statement, which is that of the client's certificate too. Default: it is not compared.
    pub(in crate::config) software: Option<Software>,
}

/// Whether the metadata of a client binds its access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum SenderConstrained {
    /// It has to.
    #[default]
    Required,
    /// It need not.
    Optional,
}

/// How software statements are verified (RFC 7591 section 2.3).
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SoftwareStatements {
    /// The `iss` of the directory, exactly as its statements have it.
    #[schemars(required)]
    pub(in crate::config) issuer: Option<String>,
    /// File with the JWK Set of the directory.
    #[schemars(required)]
    pub(in crate::config) jwks: Option<FilePath>,
    /// The algorithms that the directory may sign with. Default: PS256, ES256 and EdDSA.
    #[schemars(length(min = 1))]
    pub(in crate::config) algorithms: Option<Vec<Algorithm>>,
    /// How long ago a statement may have been issued, from 1s to 24h.
    #[schemars(extend("default" = "300s"))]
    pub(in crate::config) max_age: Option<Duration>,
    /// Whether every request has a statement. Without one, `organisation` and `software` are not compared.
    #[schemars(extend("default" = true))]
    pub(in crate::config) required: Option<bool>,
}

/// Where the organisation of a client is named.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Organisation {
    /// The claim of the statement.
    #[schemars(extend("default" = "org_id"))]
    pub(in crate::config) claim: Option<String>,
    /// The attribute of the certificate's subject.
    #[schemars(required)]
    pub(in crate::config) certificate: Option<OrganisationAttribute>,
    /// What is before the value of the claim in the attribute, such as `OFBBR-`. Default: nothing.
    pub(in crate::config) prefix: Option<String>,
}

/// An attribute of a subject that names an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum OrganisationAttribute {
    /// `organizationIdentifier`, 2.5.4.97.
    #[serde(rename = "organizationIdentifier")]
    OrganizationIdentifier,
    /// `OU`.
    #[serde(rename = "OU")]
    OrganizationalUnit,
}

/// Where the software of a client is named.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Software {
    /// The claim of the statement.
    #[schemars(extend("default" = "software_id"))]
    pub(in crate::config) claim: Option<String>,
    /// The attribute of the certificate's subject.
    #[schemars(required)]
    pub(in crate::config) certificate: Option<SoftwareAttribute>,
}

/// An attribute of a subject that names software.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum SoftwareAttribute {
    /// `CN`.
    #[serde(rename = "CN")]
    CommonName,
    /// `UID`.
    #[serde(rename = "UID")]
    UserId,
}
