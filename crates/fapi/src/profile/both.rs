//! The rules that both profiles have, word for word: each has one check, and a clause in each profile.

use super::rule::{Enforced, Rule, Setting, Waivable};
use crate::code::Code;

pub(super) const TLS_VERSION: Rule = Rule {
    id: "tls.version",
    clause: "",
    says: "Clients connect over TLS 1.3 or 1.2.",
    setting: Setting::Always,
    enforced: Enforced::ListenerTls,
    codes: &[],
    waivable: None,
};

pub(super) const ISSUER_TLS: Rule = Rule {
    id: "issuer.tls",
    clause: "",
    says: "The keys, the metadata and the introspection responses of issuers come over TLS, from servers whose certificates are verified.",
    setting: Setting::Key("issuers[].jwks_uri"),
    enforced: Enforced::Outbound,
    codes: &[],
    waivable: None,
};

pub(super) const CREDENTIALS_QUERY: Rule = Rule {
    id: "credentials.query",
    clause: "",
    says: "An access token in the query is not accepted.",
    setting: Setting::Always,
    enforced: Enforced::Credentials,
    codes: &[Code::CredentialsInQuery, Code::CredentialsRepeated],
    waivable: None,
};

pub(super) const TOKEN_ISSUER: Rule = Rule {
    id: "token.issuer",
    clause: "",
    says: "The issuer of an access token is one that the route accepts.",
    setting: Setting::Key("routes[].issuers"),
    enforced: Enforced::Token,
    codes: &[Code::TokenIssuerUnknown],
    waivable: None,
};

pub(super) const TOKEN_ALGORITHMS_RS256: Rule = Rule {
    id: "token.algorithms.rs256",
    clause: "",
    says: "Access tokens are not signed with RS256.",
    setting: Setting::Key("issuers[].algorithms"),
    enforced: Enforced::Token,
    codes: &[Code::TokenAlgorithmRefused],
    waivable: Some(Waivable::Issuer),
};

pub(super) const TOKEN_KEY_SIZE: Rule = Rule {
    id: "token.key_size",
    clause: "",
    says: "RSA keys of issuers have at least 2048 bits.",
    setting: Setting::Always,
    enforced: Enforced::Token,
    codes: &[Code::TokenKeyWeak],
    waivable: None,
};

pub(super) const TOKEN_SIGNATURE: Rule = Rule {
    id: "token.signature",
    clause: "",
    says: "The signature of a JWT access token verifies with a key of its issuer.",
    setting: Setting::Key("issuers[].tokens"),
    enforced: Enforced::Token,
    codes: &[Code::TokenMalformed, Code::TokenKeyUnknown, Code::TokenSignatureInvalid],
    waivable: None,
};

pub(super) const TOKEN_AUDIENCE: Rule = Rule {
    id: "token.audience",
    clause: "",
    says: "An access token is meant for this resource.",
    setting: Setting::Key("issuers[].audiences"),
    enforced: Enforced::Token,
    codes: &[Code::TokenAudienceMismatch],
    waivable: None,
};

pub(super) const TOKEN_EXPIRY: Rule = Rule {
    id: "token.expiry",
    clause: "",
    says: "An access token is not accepted once it has expired.",
    setting: Setting::Always,
    enforced: Enforced::Token,
    codes: &[Code::TokenExpired],
    waivable: None,
};

pub(super) const TOKEN_REVOCATION: Rule = Rule {
    id: "token.revocation",
    clause: "",
    says: "A token that was revoked at the gateway, or that its introspected issuer calls inactive, is not accepted.",
    setting: Setting::Key("issuers[].introspection.cache.max_age"),
    enforced: Enforced::Token,
    codes: &[Code::TokenRevoked, Code::TokenInactive],
    waivable: None,
};

pub(super) const BINDING_CERTIFICATE: Rule = Rule {
    id: "binding.certificate",
    clause: "",
    says: "Who sends a token that is bound to a certificate has that certificate.",
    setting: Setting::Always,
    enforced: Enforced::Binding,
    codes: &[Code::CertificateMissing, Code::CertificateExpired, Code::CertificateMismatch],
    waivable: None,
};

pub(super) const TOKEN_SCOPE: Rule = Rule {
    id: "token.scope",
    clause: "",
    says: "The scopes of an access token cover the request.",
    setting: Setting::Key("routes[].scopes"),
    enforced: Enforced::Policy,
    codes: &[Code::ScopeInsufficient],
    waivable: None,
};
