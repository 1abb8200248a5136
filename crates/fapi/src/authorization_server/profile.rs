//! The rules that a profile has for an authorization server, as far as they are enforced in front of it.
//!
//! Like those of [resource servers](crate::profile): each with its clause, the setting that it limits, and its codes. What is left to
//! the server itself, such as how long a code lives, is in none of the tables.

use super::rules::ServerProfile;
use crate::code::Code;
use crate::profile::{CLIENT_ASSERTION_AUDIENCE, Enforced, RESPONSE_ISSUER, Rule, Setting, Waivable};

impl ServerProfile {
    /// The version of the specification that it stands for.
    pub const fn version(self) -> &'static str {
        match self {
            Self::Fapi2Security => "FAPI 2.0 Security Profile Final, authorization servers",
            Self::Fapi2MessageSigning => "FAPI 2.0 Message Signing Final, authorization servers",
            Self::Fapi1Advanced => "FAPI 1.0 Advanced Final, authorization servers",
        }
    }

    /// Its rules, in the order in which a client meets them.
    pub const fn rules(self) -> &'static [Rule] {
        match self {
            Self::Fapi2Security => FAPI2_SECURITY,
            Self::Fapi2MessageSigning => FAPI2_MESSAGE_SIGNING,
            Self::Fapi1Advanced => FAPI1_ADVANCED,
        }
    }

    /// The rule with this id, if it is one of the profile.
    pub fn rule(self, id: &str) -> Option<&'static Rule> {
        self.rules().iter().find(|rule| rule.id == id)
    }
}

const FAPI2_SECURITY: &[Rule] = &[
    METADATA,
    REGISTRATION,
    FORM,
    CLIENT_REGISTERED,
    CLIENT_AUTHENTICATION,
    ASSERTION_AUDIENCE,
    ASSERTION_TIME,
    ASSERTION_ONCE,
    RESPONSE_TYPE,
    RESPONSE_MODE,
    PKCE,
    REDIRECT_URI,
    DPOP_JKT,
    REQUEST_OBJECT_VERIFIED,
    REQUEST_URI_LIFETIME,
    PUSHED,
    REDIRECTS,
    ISSUER_IN_RESPONSE,
    BROWSER,
    GRANT_TYPE,
    VERIFIER,
    BINDING_REQUESTED,
    PROOF,
    TOKEN_BOUND,
    TOKEN_LIFETIME,
    TOKEN_ANSWER,
    REFRESH_TOKEN,
    CALLERS,
];

const FAPI2_MESSAGE_SIGNING: &[Rule] = &[
    METADATA,
    REGISTRATION,
    FORM,
    CLIENT_REGISTERED,
    CLIENT_AUTHENTICATION,
    ASSERTION_AUDIENCE,
    ASSERTION_TIME,
    ASSERTION_ONCE,
    RESPONSE_TYPE,
    RESPONSE_MODE_JWT,
    PKCE,
    REDIRECT_URI,
    DPOP_JKT,
    REQUEST_OBJECT,
    REQUEST_URI_LIFETIME,
    PUSHED,
    REDIRECTS,
    RESPONSE_JWT,
    BROWSER,
    GRANT_TYPE,
    VERIFIER,
    BINDING_REQUESTED,
    PROOF,
    TOKEN_BOUND,
    TOKEN_LIFETIME,
    TOKEN_ANSWER,
    REFRESH_TOKEN,
    CALLERS,
];

const FAPI1_ADVANCED: &[Rule] = &[
    Rule { clause: "RFC 8414 §3.3, §2", ..METADATA },
    Rule { clause: "FAPI 1.0 Advanced §5.2.2 (14), RFC 7591 §3", ..REGISTRATION },
    FORM,
    Rule { clause: "FAPI 1.0 Advanced §5.2.2 (16)", ..CLIENT_REGISTERED },
    Rule { clause: "FAPI 1.0 Advanced §5.2.2 (14), RFC 6749 §2.3", ..CLIENT_AUTHENTICATION },
    Rule {
        clause: "RFC 7523 §3 (3)",
        says: "The audience of a client assertion is the issuer or one of its endpoints.",
        waivable: None,
        ..ASSERTION_AUDIENCE
    },
    Rule { clause: "RFC 7523 §3 (4), (5)", ..ASSERTION_TIME },
    ASSERTION_ONCE,
    Rule { clause: "FAPI 1.0 Advanced §5.2.2 (2)", ..RESPONSE_TYPE },
    Rule { clause: "FAPI 1.0 Advanced §5.2.2 (2)", ..RESPONSE_MODE_JWT },
    Rule { clause: "FAPI 1.0 Advanced §5.2.2 (18), RFC 7636 §4.3", ..PKCE },
    Rule { clause: "FAPI 1.0 Baseline §5.2.2 (8) to (10), (20)", ..REDIRECT_URI },
    DPOP_JKT,
    Rule { clause: "FAPI 1.0 Advanced §5.2.2 (1), (10), (13), (15), (17)", ..REQUEST_OBJECT },
    Rule { clause: "RFC 9126 §2.2", ..REQUEST_URI_LIFETIME },
    Rule { clause: "FAPI 1.0 Advanced §5.2.2 (10), RFC 9126 §2.2, §4", ..PUSHED },
    Rule { clause: "FAPI 1.0 Baseline §5.2.2 (10), RFC 9700 §4.11, §4.12", ..REDIRECTS },
    Rule { clause: "FAPI 1.0 Advanced §5.2.2.2, JARM §2.1, §2.4", ..RESPONSE_JWT },
    Rule { clause: "RFC 9700 §4.16, §2.6", ..BROWSER },
    Rule { clause: "FAPI 1.0 Advanced §5.2.2, RFC 9700 §2.4", ..GRANT_TYPE },
    Rule { clause: "RFC 7636 §4.5", ..VERIFIER },
    Rule { clause: "FAPI 1.0 Advanced §5.2.2 (5), (6)", ..BINDING_REQUESTED },
    PROOF,
    Rule { clause: "FAPI 1.0 Advanced §5.2.2 (5), (6), RFC 8705 §3", ..TOKEN_BOUND },
    Rule { clause: "FAPI 1.0 Baseline §5.2.2 (13)", ..TOKEN_LIFETIME },
    TOKEN_ANSWER,
    Rule { clause: "RFC 9700 §4.14.2", ..REFRESH_TOKEN },
    CALLERS,
];

/// What most rules are, but for their words.
const REQUEST: Rule = Rule {
    id: "",
    clause: "",
    says: "",
    setting: Setting::Always,
    enforced: Enforced::ServerRequest,
    codes: &[],
    waivable: None,
};

const ANSWER: Rule = Rule { enforced: Enforced::ServerAnswer, ..REQUEST };

const METADATA: Rule = Rule {
    id: "server.metadata",
    clause: "FAPI 2.0 §5.3.2.1 (1), RFC 8414 §3.3",
    says: "The metadata have the configured issuer, and name what is possible through the gateway and nothing else.",
    setting: Setting::Key("authorization_servers[].issuer"),
    codes: &[Code::MetadataMismatch],
    ..ANSWER
};

const REGISTRATION: Rule = Rule {
    id: "client.registration",
    clause: "FAPI 2.0 §5.3.2.1, RFC 7591 §3",
    says: "A client that registers itself is one that the profile allows, by its metadata and its software statement.",
    setting: Setting::Key("authorization_servers[].registration"),
    codes: &[Code::RegistrationRefused, Code::RegistrationRedirectRefused, Code::SoftwareStatementRefused],
    ..REQUEST
};

const FORM: Rule = Rule {
    id: "request.parameters",
    clause: "RFC 6749 §3.1, §3.2, RFC 9126 §2.1",
    says: "A request is one form, or one query, in which each parameter is there once and has one reading.",
    codes: &[Code::ParameterRepeated, Code::ParameterMalformed],
    ..REQUEST
};

const CLIENT_REGISTERED: Rule = Rule {
    id: "client.registered",
    clause: "FAPI 2.0 §5.3.2.1 (3)",
    says: "A client is known, and confidential.",
    setting: Setting::Key("authorization_servers[].clients"),
    codes: &[Code::ClientUnknown],
    ..REQUEST
};

const CLIENT_AUTHENTICATION: Rule = Rule {
    id: "client.authentication",
    clause: "FAPI 2.0 §5.3.2.1 (6), §5.3.2.2, RFC 6749 §2.3",
    says: "A client authenticates in the way that it has registered, private_key_jwt or mutual TLS, and in no other beside it.",
    setting: Setting::Key("authorization_servers[].clients"),
    codes: &[Code::ParUnauthenticated, Code::ClientAuthenticationRefused, Code::ClientAuthenticationRepeated],
    ..REQUEST
};

const ASSERTION_AUDIENCE: Rule = Rule {
    id: CLIENT_ASSERTION_AUDIENCE,
    clause: "FAPI 2.0 §5.3.2.1 (8)",
    says: "The audience of a client assertion is the issuer alone, as a string.",
    codes: &[Code::ClientAssertionAudience],
    waivable: Some(Waivable::AuthorizationServer),
    ..REQUEST
};

const ASSERTION_TIME: Rule = Rule {
    id: "client.assertion_time",
    clause: "FAPI 2.0 §5.3.2.1 (13), RFC 7523 §3 (4), (5)",
    says: "A client assertion has not expired, ends within an hour, and has no iat or nbf that is more than 10 seconds ahead.",
    codes: &[Code::ClientAssertionStale],
    ..REQUEST
};

const ASSERTION_ONCE: Rule = Rule {
    id: "client.assertion_replay",
    clause: "RFC 7523 §3 (7)",
    says: "A client assertion works once.",
    setting: Setting::Key("replay.store"),
    codes: &[Code::ClientAssertionReplayed],
    ..REQUEST
};

const RESPONSE_TYPE: Rule = Rule {
    id: "authorization.response_type",
    clause: "FAPI 2.0 §5.3.2.2",
    says: "The response type is code.",
    codes: &[Code::ResponseTypeRefused],
    ..REQUEST
};

const RESPONSE_MODE: Rule = Rule {
    id: "authorization.response_mode",
    clause: "FAPI 2.0 §5.3.2.2, RFC 9700 §4.3.1",
    says: "The response comes back in the query, or as a JWT if the keys of the server are known.",
    codes: &[Code::ResponseModeRefused],
    ..REQUEST
};

const RESPONSE_MODE_JWT: Rule = Rule {
    clause: "FAPI 2.0 Message Signing §5.4.1, JARM §2.3",
    says: "The response comes back as a JWT in the query.",
    ..RESPONSE_MODE
};

const PKCE: Rule = Rule {
    id: "authorization.pkce",
    clause: "FAPI 2.0 §5.3.2.2, RFC 7636 §4.3",
    says: "An authorization request has a code challenge with S256.",
    codes: &[Code::PkceMissing, Code::PkcePlain],
    ..REQUEST
};

const REDIRECT_URI: Rule = Rule {
    id: "authorization.redirect_uri",
    clause: "FAPI 2.0 §5.3.2.2",
    says: "An authorization request has a redirect URI that its client has registered, and that is https, or leads back to a native application.",
    setting: Setting::Key("authorization_servers[].clients"),
    codes: &[Code::RedirectUriRefused],
    ..REQUEST
};

const DPOP_JKT: Rule = Rule {
    id: "authorization.dpop_jkt",
    clause: "RFC 9449 §10.1",
    says: "The key that a code is to be bound to is that of the proof beside it.",
    codes: &[Code::JktMismatch],
    ..REQUEST
};

const REQUEST_OBJECT_VERIFIED: Rule = Rule {
    id: "authorization.request_object",
    clause: "RFC 9101 §6, §10.5",
    says: "A request object, where there is one, is signed by its client for this server, and nothing beside it counts.",
    codes: &[Code::RequestObjectInvalid, Code::RequestObjectRequired],
    ..REQUEST
};

const REQUEST_OBJECT: Rule = Rule {
    clause: "FAPI 2.0 Message Signing §5.3.1, RFC 9101 §6",
    says: "An authorization request is a request object that its client has signed for this server, within the last hour, and nothing beside it counts.",
    ..REQUEST_OBJECT_VERIFIED
};

const REQUEST_URI_LIFETIME: Rule = Rule {
    id: "authorization.request_uri_lifetime",
    clause: "FAPI 2.0 §5.3.2.2, RFC 9126 §2.2",
    says: "A request URI expires in less than 600 seconds.",
    codes: &[Code::AnswerTooLongLived],
    ..ANSWER
};

const PUSHED: Rule = Rule {
    id: "authorization.pushed",
    clause: "FAPI 2.0 §5.3.2.2, §5.3.3.2, RFC 9126 §2.2, §4",
    says: "A browser brings what its client has pushed through the gateway, before it expires, and nothing beside it.",
    setting: Setting::Key("authorization_servers[].other_parameters"),
    codes: &[Code::ParRequired, Code::RequestUriRefused, Code::RequestUriUnknown, Code::ParameterRefused],
    ..REQUEST
};

const REDIRECTS: Rule = Rule {
    id: "response.redirect",
    clause: "FAPI 2.0 §5.3.2.1 (7), §5.3.2.2, RFC 9700 §4.11, §4.12",
    says: "A browser is led to pages of the server or to a registered redirect URI, by 302 or 303, with a code or an error.",
    setting: Setting::Key("authorization_servers[].browser_paths"),
    codes: &[Code::AnswerMalformed],
    ..ANSWER
};

const ISSUER_IN_RESPONSE: Rule = Rule {
    id: RESPONSE_ISSUER,
    clause: "FAPI 2.0 §5.3.2.2, RFC 9207 §2",
    says: "An authorization response names its issuer in iss.",
    codes: &[Code::AnswerMalformed],
    waivable: Some(Waivable::AuthorizationServer),
    ..ANSWER
};

const RESPONSE_JWT: Rule = Rule {
    id: "response.jwt",
    clause: "FAPI 2.0 Message Signing §5.4.1, JARM §2.1, §2.4",
    says: "An authorization response is a JWT of this issuer for this client, signed with its keys, that expires within ten minutes.",
    setting: Setting::Key("issuers[].jwks_uri"),
    codes: &[Code::AnswerMalformed, Code::AnswerTooLongLived],
    ..ANSWER
};

const BROWSER: Rule = Rule {
    id: "response.browser",
    clause: "FAPI 2.0 §5.2.3, RFC 9700 §4.16, §2.6",
    says: "Pages cannot be framed, kept or read from other origins, and their URLs are told to nobody.",
    enforced: Enforced::Answer,
    ..REQUEST
};

const GRANT_TYPE: Rule = Rule {
    id: "token.grant_type",
    clause: "FAPI 2.0 §5.3.2.1 (2)",
    says: "The grant type is one of the server's and one of the client's, and never password.",
    setting: Setting::Key("authorization_servers[].grant_types"),
    codes: &[Code::GrantTypeRefused],
    ..REQUEST
};

const VERIFIER: Rule = Rule {
    id: "token.pkce",
    clause: "FAPI 2.0 §5.3.2.2, RFC 7636 §4.5",
    says: "A code is redeemed with a verifier.",
    codes: &[Code::PkceMissing, Code::ParameterMalformed],
    ..REQUEST
};

const BINDING_REQUESTED: Rule = Rule {
    id: "token.binding",
    clause: "FAPI 2.0 §5.3.2.1 (4), (5)",
    says: "A token request has a DPoP proof or a client certificate to bind the token to.",
    codes: &[Code::SenderConstraintMissing, Code::DpopMissing],
    ..REQUEST
};

const PROOF: Rule = Rule {
    id: "token.proof",
    clause: "RFC 9449 §5, §4.3",
    says: "A DPoP proof is signed for the method and the URI that the client called, fresh, and works once.",
    codes: &[
        Code::DpopRepeated,
        Code::DpopMalformed,
        Code::DpopTypeWrong,
        Code::DpopAlgorithmRefused,
        Code::DpopKeyPrivate,
        Code::DpopKeyRefused,
        Code::DpopSignatureInvalid,
        Code::DpopClaimMissing,
        Code::DpopClaimMalformed,
        Code::DpopMethodMismatch,
        Code::DpopUriMismatch,
        Code::DpopStale,
        Code::DpopReplayed,
    ],
    ..REQUEST
};

const TOKEN_BOUND: Rule = Rule {
    id: "answer.binding",
    clause: "FAPI 2.0 §5.3.2.1 (4), (5), RFC 9449 §5, RFC 8705 §3",
    says: "An access token is bound to the key or the certificate of whoever asked for it.",
    codes: &[Code::AnswerUnbound],
    ..ANSWER
};

const TOKEN_LIFETIME: Rule = Rule {
    id: "answer.lifetime",
    clause: "RFC 9700 §2.2",
    says: "An access token lives no longer than is configured, if that is.",
    setting: Setting::Key("authorization_servers[].answers.access_token_lifetime"),
    codes: &[Code::AnswerTooLongLived],
    ..ANSWER
};

const TOKEN_ANSWER: Rule = Rule {
    id: "answer.form",
    clause: "RFC 6749 §5.1, §5.2",
    says: "An answer is one JSON object that is a success or an error, and is kept by nobody.",
    codes: &[Code::AnswerMalformed],
    ..ANSWER
};

const REFRESH_TOKEN: Rule = Rule {
    id: "answer.refresh_token",
    clause: "FAPI 2.0 §5.3.2.1 (9)",
    says: "Refreshing a token comes back with no other refresh token, unless that is configured.",
    setting: Setting::Key("authorization_servers[].answers.refresh_token_rotation"),
    codes: &[Code::AnswerMalformed],
    ..ANSWER
};

const CALLERS: Rule = Rule {
    id: "introspection.callers",
    clause: "RFC 7662 §2.1, §4, RFC 7009 §2.1",
    says: "Resource servers that authenticate introspect tokens, and clients that authenticate revoke them.",
    setting: Setting::Key("authorization_servers[].resource_servers"),
    codes: &[Code::ClientUnknown, Code::ParUnauthenticated],
    ..REQUEST
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::profile::Profile;

    fn each() -> impl Iterator<Item = (ServerProfile, &'static Rule)> {
        ServerProfile::ALL.iter().flat_map(|profile| profile.rules().iter().map(|rule| (*profile, rule)))
    }

    #[test]
    fn each_rule_is_one_sentence_under_an_id_of_its_own() {
        for profile in ServerProfile::ALL {
            let ids: BTreeSet<&str> = profile.rules().iter().map(|rule| rule.id).collect();
            assert_eq!(ids.len(), profile.rules().len(), "{profile:?}");
        }
        for (profile, rule) in each() {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_');
            assert!(rule.id.bytes().all(plain) && rule.id.contains('.'), "{}", rule.id);
            assert!(rule.says.ends_with('.') && !rule.says.contains(['|', '\n']), "{}", rule.id);
            assert!(rule.clause.contains('§'), "{}: {}", rule.id, rule.clause);
            assert_eq!(profile.rule(rule.id), Some(rule));
            // A waiver names the one or the other, and the report has both.
            if rule.waivable.is_some() {
                assert!(Profile::ALL.iter().all(|other| other.rule(rule.id).is_none()), "{}", rule.id);
            }
        }
        assert_eq!(ServerProfile::Fapi2Security.rule("token.nothing"), None);
    }

    #[test]
    fn what_is_enforced_has_a_code_unless_it_is_done_to_the_answer() {
        for (_, rule) in each() {
            assert_eq!(rule.codes.is_empty(), rule.enforced == Enforced::Answer, "{}", rule.id);
        }
    }

    #[test]
    fn what_can_be_waived_is_a_closed_list() {
        let waivable = |profile: ServerProfile| {
            let rules = profile.rules().iter().filter(|rule| rule.waivable.is_some());
            rules.map(|rule| (rule.id, rule.waivable)).collect::<Vec<_>>()
        };
        let of_server = Some(Waivable::AuthorizationServer);
        let both = vec![(CLIENT_ASSERTION_AUDIENCE, of_server), (RESPONSE_ISSUER, of_server)];
        assert_eq!(waivable(ServerProfile::Fapi2Security), both);
        assert_eq!(waivable(ServerProfile::Fapi2MessageSigning), both[..1]);
        assert_eq!(waivable(ServerProfile::Fapi1Advanced), []);
    }
}
