//! The table of codes: everything that a client or a dashboard sees of a refusal.
//!
//! A [`Code`] joins a stable, public name with its status and its OAuth error. The name appears in audit and metrics;
//! the client gets the OAuth error and a fixed sentence (RFC 6750 §3.1). Each step's error maps to a code, so this file
//! imports nothing else of this crate.

use std::fmt;

use http::StatusCode;

/// The OAuth errors of a resource server (RFC 6750 §3.1, RFC 9449 §7.1, §9) and of an authorization server (RFC 6749 §4.1.2.1,
/// §5.2, RFC 7591 §3.2.2, RFC 9101 §10.2); `None` in the table means no error parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthError {
    /// The request is malformed or uses more than one method to send a token.
    InvalidRequest,
    /// The token is not valid for this request.
    InvalidToken,
    /// The token's scope does not cover this request.
    InsufficientScope,
    /// The token does not have a right that this request needs, although its scope does (RFC 6750 §3.1: "higher privileges").
    InsufficientRights,
    /// The user's authentication is too weak or too old for this request (RFC 9470 §3).
    InsufficientUserAuthentication,
    /// The DPoP proof is not valid for this request (RFC 9449 §7.1).
    InvalidDpopProof,
    /// The DPoP proof needs a nonce (RFC 9449 §9).
    UseDpopNonce,
    /// A request to an authorization server is malformed, or breaks its profile (RFC 6749 §5.2).
    InvalidParameters,
    /// The client is unknown, or not authenticated as it must be (RFC 6749 §5.2).
    InvalidClient,
    /// The grant type is not for this client, or for nobody (RFC 6749 §5.2).
    UnsupportedGrantType,
    /// The response type is for nobody (RFC 6749 §4.1.2.1).
    UnsupportedResponseType,
    /// The request object does not count (RFC 9101 §10.2).
    InvalidRequestObject,
    /// A redirect URI is not one that a client may register (RFC 7591 §3.2.2).
    InvalidRedirectUri,
    /// The metadata is not that of a client that may be registered (RFC 7591 §3.2.2).
    InvalidClientMetadata,
    /// The software statement does not count (RFC 7591 §3.2.2).
    InvalidSoftwareStatement,
}

impl OAuthError {
    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope | Self::InsufficientRights => "insufficient_scope",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InvalidParameters => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidSoftwareStatement => "invalid_software_statement",
        }
    }

    /// The only explanation that a client gets; which check failed appears in the audit alone.
    pub const fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is malformed or carries its credentials more than once",
            Self::InvalidToken => "The access token is not valid for this request",
            Self::InsufficientScope => "The request needs a scope that the access token does not have",
            Self::InsufficientRights => "The request needs a right that the access token does not have",
            Self::InsufficientUserAuthentication => {
                "The request needs a stronger or more recent authentication of the user"
            }
            Self::InvalidDpopProof => "The DPoP proof is not valid for this request",
            Self::UseDpopNonce => "The DPoP proof must carry the nonce that comes with this answer",
            Self::InvalidParameters => "The request is malformed, or not one that the profile allows",
            Self::InvalidClient => "The client is not authenticated",
            Self::UnsupportedGrantType => "The grant type is not available",
            Self::UnsupportedResponseType => "The response type is not available",
            Self::InvalidRequestObject => "The request object is not valid",
            Self::InvalidRedirectUri => "A redirect URI is not one that may be registered",
            Self::InvalidClientMetadata => "The client metadata are not those that the profile allows",
            Self::InvalidSoftwareStatement => "The software statement is not valid for this request",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $status:ident, $oauth:expr;)*) => {
        /// A stable, public name for each reason to refuse; never renamed and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in audit and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The status that the client sees.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The error in challenge and body, if the standard requires one.
            pub const fn oauth_error(self) -> Option<OAuthError> {
                match self { $(Self::$name => $oauth,)* }
            }

            /// What it means, in one sentence for the operator.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

use OAuthError::{
    InsufficientRights, InsufficientScope, InsufficientUserAuthentication, InvalidClient, InvalidClientMetadata,
    InvalidDpopProof, InvalidParameters, InvalidRedirectUri, InvalidRequest, InvalidRequestObject,
    InvalidSoftwareStatement, InvalidToken, UnsupportedGrantType, UnsupportedResponseType, UseDpopNonce,
};

codes! {
    /// Content-Length and Transfer-Encoding contradict each other, are repeated or are malformed (RFC 9112 §6).
    FramingAmbiguous = "framing_ambiguous", BAD_REQUEST, None;
    /// A line ending, field name or field value that another parser may read differently (RFC 9112 §2.2, §5).
    HeaderMalformed = "header_malformed", BAD_REQUEST, None;
    /// The header section is larger than `limits.header_bytes` or has more than `limits.header_count` fields (RFC 6585 §5).
    HeaderTooLarge = "header_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, None;
    /// The request target alone is larger than `limits.header_bytes` (RFC 9110 §15.5.15).
    TargetTooLong = "target_too_long", URI_TOO_LONG, None;
    /// The body is larger than `limits.body_bytes` (RFC 9110 §15.5.14).
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, None;
    /// The header section did not arrive within `limits.header_timeout` (RFC 9110 §15.5.9).
    HeaderTimeout = "header_timeout", REQUEST_TIMEOUT, None;
    /// The body did not arrive within `limits.body_timeout`, or more slowly than `limits.body_min_rate` (RFC 9110 §15.5.9).
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, None;
    /// The client broke off its body, or framed it wrongly, while it was forwarded.
    BodyMalformed = "body_malformed", BAD_REQUEST, None;
    /// The client closed the connection before it had its response, so nobody saw a status.
    ClientGone = "client_gone", BAD_REQUEST, None;
    /// The client read nothing, or next to nothing, of its response for `limits.idle_timeout`; it was cut.
    ClientStalled = "client_stalled", REQUEST_TIMEOUT, None;
    /// The exchange had not ended within `limits.exchange_timeout`; it was cut (RFC 9110 §15.6.5).
    ExchangeTimeout = "exchange_timeout", GATEWAY_TIMEOUT, None;
    /// No Host field, or more than one (RFC 9112 §3.2).
    HostMissing = "host_missing", BAD_REQUEST, None;
    /// Host, `:authority` and the target's authority contradict each other, or one of them is not a host (RFC 9110 §7.2).
    HostMalformed = "host_malformed", BAD_REQUEST, None;
    /// The host is not an origin of this listener, or not the name that the TLS handshake asked for (RFC 9110 §15.5.20).
    HostUnknown = "host_unknown", MISDIRECTED_REQUEST, None;
    /// A handshake would refuse this connection now: its certificate is required and no longer trusted, or its name is no longer served (RFC 9110 §15.5.20).
    ConnectionOutdated = "connection_outdated", MISDIRECTED_REQUEST, None;
    /// CONNECT, TRACE and methods that are not tokens are never forwarded (RFC 9110 §9.3.6, §9.3.8).
    MethodRefused = "method_refused", METHOD_NOT_ALLOWED, None;
    /// A trusted proxy sent more than one client certificate, and nothing says which is the client's (RFC 9440 §2.4).
    ForwardedCertificateRepeated = "forwarded_certificate_repeated", BAD_REQUEST, None;
    /// What a trusted proxy sent as the client's certificate is not one in the dialect of the listener (RFC 9440 §2.1).
    ForwardedCertificateMalformed = "forwarded_certificate_malformed", BAD_REQUEST, None;
    /// The path can be read in more than one way (RFC 3986 §6).
    PathAmbiguous = "path_ambiguous", BAD_REQUEST, None;
    /// No route matches host and path; what no route names is refused.
    RouteNotFound = "route_not_found", NOT_FOUND, None;
    /// The route does not have this method (RFC 9110 §15.5.6).
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, None;
    /// The request has no access token (RFC 6750 §3).
    CredentialsMissing = "credentials_missing", UNAUTHORIZED, None;
    /// The only access token is in the query, which FAPI forbids (FAPI 2.0 §5.3.4 (2)).
    CredentialsInQuery = "credentials_in_query", UNAUTHORIZED, None;
    /// More than one Authorization field, or a token sent by more than one method (RFC 6750 §3.1).
    CredentialsRepeated = "credentials_repeated", BAD_REQUEST, Some(InvalidRequest);
    /// Authorization is not one scheme and one token68 (RFC 6750 §2.1).
    CredentialsMalformed = "credentials_malformed", BAD_REQUEST, Some(InvalidRequest);
    /// The route does not accept this authentication scheme (RFC 9110 §11.6.1).
    SchemeUnsupported = "scheme_unsupported", UNAUTHORIZED, None;
    /// The access token is larger than `limits.token_bytes`.
    TokenTooLarge = "token_too_large", UNAUTHORIZED, Some(InvalidToken);
    /// Not a compact JWS: parts, base64url, JSON grammar, duplicate members, depth (RFC 7515 §7.1, RFC 8725 §3).
    TokenMalformed = "token_malformed", UNAUTHORIZED, Some(InvalidToken);
    /// The token is encrypted (JWE); only signed ones are accepted (RFC 8725 §3.11).
    TokenEncrypted = "token_encrypted", UNAUTHORIZED, Some(InvalidToken);
    /// The header names an extension that must be understood, `crit` or `b64` (RFC 7515 §4.1.11).
    TokenCriticalHeader = "token_critical_header", UNAUTHORIZED, Some(InvalidToken);
    /// No key of the issuer verifies the signature; the header supplies another key (`jwk`, `jku`, `x5u` or `x5c`), which is
    /// never used (RFC 8725 §3.10, FAPI 2.0 §5.4.2).
    TokenKeySupplied = "token_key_supplied", UNAUTHORIZED, Some(InvalidToken);
    /// `alg` is not one of the issuer's `algorithms`, which are among PS256, ES256 and EdDSA (FAPI 2.0 §5.4.1); or it is RS256,
    /// and no waiver of `token.algorithms.rs256` holds for the issuer now.
    TokenAlgorithmRefused = "token_algorithm_refused", UNAUTHORIZED, Some(InvalidToken);
    /// `typ` is not `at+jwt` (RFC 9068 §4), nor another that the issuer's access tokens have; or the claims are those of another
    /// kind of token (RFC 8725 §3.12); or an introspected `token_type` is neither Bearer nor DPoP (RFC 7662 §2.2).
    TokenTypeWrong = "token_type_wrong", UNAUTHORIZED, Some(InvalidToken);
    /// `iss` is not an issuer that this route accepts (RFC 9068 §4).
    TokenIssuerUnknown = "token_issuer_unknown", UNAUTHORIZED, Some(InvalidToken);
    /// The issuer's key set has no key for this `kid` and algorithm.
    TokenKeyUnknown = "token_key_unknown", UNAUTHORIZED, Some(InvalidToken);
    /// The issuer's key is too small to be trusted: RSA below 2048 bits (FAPI 2.0 §5.4.1).
    TokenKeyWeak = "token_key_weak", UNAUTHORIZED, Some(InvalidToken);
    /// The signature is not valid.
    TokenSignatureInvalid = "token_signature_invalid", UNAUTHORIZED, Some(InvalidToken);
    /// A claim that RFC 9068 §2.2 requires is missing, or the one that `access_token` names in its place, or `aud` in an
    /// introspection response (`missing_audience`).
    TokenClaimMissing = "token_claim_missing", UNAUTHORIZED, Some(InvalidToken);
    /// A claim has the wrong JSON type or an impossible value (RFC 7519 §4.1).
    TokenClaimMalformed = "token_claim_malformed", UNAUTHORIZED, Some(InvalidToken);
    /// `aud` does not name this resource (RFC 9068 §4).
    TokenAudienceMismatch = "token_audience_mismatch", UNAUTHORIZED, Some(InvalidToken);
    /// `exp` has passed (RFC 9068 §4).
    TokenExpired = "token_expired", UNAUTHORIZED, Some(InvalidToken);
    /// `nbf` is more than 10 seconds ahead (FAPI 2.0 §5.3.2.1 (13)).
    TokenNotYetValid = "token_not_yet_valid", UNAUTHORIZED, Some(InvalidToken);
    /// `iat` is more than 10 seconds ahead (FAPI 2.0 §5.3.2.1 (13)).
    TokenIssuedInFuture = "token_issued_in_future", UNAUTHORIZED, Some(InvalidToken);
    /// The issuer says that the token is not active: unknown, expired or revoked (RFC 7662 §2.2).
    TokenInactive = "token_inactive", UNAUTHORIZED, Some(InvalidToken);
    /// The token was revoked at the gateway's `/revocations`: itself, its subject, client or session (FAPI 2.0 §5.3.4 (3)).
    TokenRevoked = "token_revoked", UNAUTHORIZED, Some(InvalidToken);
    /// The token has no `cnf`: anyone could send it (FAPI 2.0 §5.3.4 (5)).
    TokenUnbound = "token_unbound", UNAUTHORIZED, Some(InvalidToken);
    /// `cnf` is an empty object.
    ConfirmationEmpty = "confirmation_empty", UNAUTHORIZED, Some(InvalidToken);
    /// `cnf` has only the SHA-1 thumbprint `x5t` (RFC 8705 §3.1 wants `x5t#S256`).
    ConfirmationSha1 = "confirmation_sha1", UNAUTHORIZED, Some(InvalidToken);
    /// `x5t#S256` is written in hexadecimal (RFC 8705 §3.1 wants base64url).
    ConfirmationHex = "confirmation_hex", UNAUTHORIZED, Some(InvalidToken);
    /// `x5t#S256` is padded with `=` (RFC 7515 §2 omits padding).
    ConfirmationPadded = "confirmation_padded", UNAUTHORIZED, Some(InvalidToken);
    /// `x5t#S256` uses the `+` and `/` of standard base64 (RFC 7515 §2 wants base64url).
    ConfirmationStandardBase64 = "confirmation_standard_base64", UNAUTHORIZED, Some(InvalidToken);
    /// `cnf` or its thumbprint is of the wrong type or length (RFC 7800 §3.1).
    ConfirmationMalformed = "confirmation_malformed", UNAUTHORIZED, Some(InvalidToken);
    /// `cnf` names only methods that are not understood here (RFC 7800 §3.1).
    ConfirmationUnsupported = "confirmation_unsupported", UNAUTHORIZED, Some(InvalidToken);
    /// A token that is bound to a key came with scheme Bearer (RFC 9449 §7.2).
    DpopTokenAsBearer = "dpop_token_as_bearer", UNAUTHORIZED, Some(InvalidToken);
    /// A token that is not bound to a key came with scheme DPoP (RFC 9449 §7.1).
    DpopTokenUnbound = "dpop_token_unbound", UNAUTHORIZED, Some(InvalidToken);
    /// The client has no trusted certificate, and the token is bound to one or the route accepts nothing else (RFC 8705 §3).
    CertificateMissing = "certificate_missing", UNAUTHORIZED, Some(InvalidToken);
    /// The client's certificate has expired or is not valid yet (RFC 5280 §4.1.2.5).
    CertificateExpired = "certificate_expired", UNAUTHORIZED, Some(InvalidToken);
    /// The token is bound to another certificate than the client's (RFC 8705 §3).
    CertificateMismatch = "certificate_mismatch", UNAUTHORIZED, Some(InvalidToken);
    /// Scheme DPoP without a proof (RFC 9449 §7.1).
    DpopMissing = "dpop_missing", UNAUTHORIZED, Some(InvalidDpopProof);
    /// More than one DPoP field (RFC 9449 §4.3 (1)).
    DpopRepeated = "dpop_repeated", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof is not a compact JWS with one reading, or over 8 KiB (RFC 9449 §4.3 (2)).
    DpopMalformed = "dpop_malformed", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof's `typ` is not `dpop+jwt` (RFC 9449 §4.3 (4)).
    DpopTypeWrong = "dpop_type_wrong", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof's `alg` is not PS256, ES256 or EdDSA, or not its key's (RFC 9449 §4.3 (5)).
    DpopAlgorithmRefused = "dpop_algorithm_refused", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof's `jwk` holds private members (RFC 9449 §4.3 (7)).
    DpopKeyPrivate = "dpop_key_private", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof's `jwk` is malformed, too small, too large or of another type (RFC 9449 §4.3 (6)).
    DpopKeyRefused = "dpop_key_refused", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof's signature is not valid under its `jwk` (RFC 9449 §4.3 (6)).
    DpopSignatureInvalid = "dpop_signature_invalid", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof lacks a claim or header that is required (RFC 9449 §4.3 (3)).
    DpopClaimMissing = "dpop_claim_missing", UNAUTHORIZED, Some(InvalidDpopProof);
    /// A claim or header of the proof has the wrong JSON type or an impossible value (RFC 9449 §4.2).
    DpopClaimMalformed = "dpop_claim_malformed", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof was made for another method (RFC 9449 §4.3 (8)).
    DpopMethodMismatch = "dpop_method_mismatch", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof was made for another URI (RFC 9449 §4.3 (9)).
    DpopUriMismatch = "dpop_uri_mismatch", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof has no nonce, or one that is no longer valid (RFC 9449 §4.3 (10), §9).
    DpopNonceRequired = "dpop_nonce_required", UNAUTHORIZED, Some(UseDpopNonce);
    /// The proof's `iat` is outside the window, or its own `exp` or `nbf` says that it is not valid now (RFC 9449 §4.3 (11)).
    DpopStale = "dpop_stale", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof was made for another token (RFC 9449 §4.3 (12)).
    DpopAthMismatch = "dpop_ath_mismatch", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof is by another key than the token is bound to (RFC 9449 §4.3 (12)).
    DpopKeyMismatch = "dpop_key_mismatch", UNAUTHORIZED, Some(InvalidToken);
    /// The proof was used before (RFC 9449 §11.1).
    DpopReplayed = "dpop_replayed", UNAUTHORIZED, Some(InvalidDpopProof);
    /// With `profile: fapi1-advanced`, `x-fapi-auth-date` is not one HTTP-date (FAPI 1.0 Baseline §6.2.2).
    AuthDateMalformed = "auth_date_malformed", BAD_REQUEST, None;
    /// With `profile: fapi1-advanced`, `x-fapi-customer-ip-address` is not one IPv4 or IPv6 address (FAPI 1.0 Baseline §6.2.2).
    CustomerIpAddressMalformed = "customer_ip_address_malformed", BAD_REQUEST, None;
    /// A header field is missing that the route or its ecosystem requires.
    HeaderMissing = "header_missing", BAD_REQUEST, None;
    /// A header field is not once there in the form that the route or its ecosystem requires.
    HeaderInvalid = "header_invalid", BAD_REQUEST, None;
    /// The version that the request names is no positive number.
    VersionInvalid = "version_invalid", BAD_REQUEST, None;
    /// None of the route's `versions` is one that the request understands.
    VersionUnsupported = "version_unsupported", NOT_ACCEPTABLE, None;
    /// The content is not of a media type that the route or its ecosystem takes (RFC 9110 §15.5.16).
    MediaTypeUnsupported = "media_type_unsupported", UNSUPPORTED_MEDIA_TYPE, None;
    /// `Accept` admits no media type that the route or its ecosystem answers with (RFC 9110 §15.5.7).
    NotAcceptable = "not_acceptable", NOT_ACCEPTABLE, None;
    /// The client used the same idempotency key for another request (draft-ietf-httpapi-idempotency-key-header §2.7).
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, None;
    /// The client's certificate is not of the kind that the ecosystem of the route asks for, or has more than one reading, or its chain
    /// is not verified. In the ecosystem of the Berlin Group, this and the next two are answered with 401.
    CertificateKindRefused = "certificate_kind_refused", FORBIDDEN, None;
    /// The client's certificate gives it none of the roles of the route (`require.certificate.roles`).
    CertificateRoleRefused = "certificate_role_refused", FORBIDDEN, None;
    /// The client's certificate is of another organisation, or for another software, than the token (`require.certificate`).
    CertificateOrganisationRefused = "certificate_organisation_refused", FORBIDDEN, None;
    /// The token's scope does not cover the route (RFC 6750 §3.1).
    ScopeInsufficient = "scope_insufficient", FORBIDDEN, Some(InsufficientScope);
    /// The route is not for this client (`require.clients`).
    ClientRefused = "client_refused", FORBIDDEN, Some(InsufficientRights);
    /// The token names nobody whom the directory of the route knows (`require.participant`), or software of another organisation.
    ParticipantUnknown = "participant_unknown", FORBIDDEN, Some(InsufficientRights);
    /// The directory of the route does not call the token's organisation or software active (`require.participant`).
    ParticipantInactive = "participant_inactive", FORBIDDEN, Some(InsufficientRights);
    /// The directory of the route has none of the roles that the route needs for the token's organisation or software
    /// (`require.participant.roles`).
    ParticipantRoleMissing = "participant_role_missing", FORBIDDEN, Some(InsufficientRights);
    /// The token stands for nobody but the client itself (`require.subject`, RFC 9700 §4.15).
    SubjectMissing = "subject_missing", FORBIDDEN, Some(InsufficientRights);
    /// The token stands for somebody other than the client, and the route is for clients that act for themselves (`require.subject`).
    SubjectRefused = "subject_refused", FORBIDDEN, Some(InsufficientRights);
    /// The time from `iat` to `exp` is longer than `require.token_lifetime`, or unknown (FAPI 2.0 §6.1).
    TokenLifetimeExceeded = "token_lifetime_exceeded", UNAUTHORIZED, Some(InvalidToken);
    /// A claim is missing or not what `require.claims` says.
    ClaimRefused = "claim_refused", FORBIDDEN, Some(InsufficientRights);
    /// No element of `authorization_details` has all that an entry of `require.authorization_details` says (RFC 9396 §9).
    AuthorizationDetailsInsufficient = "authorization_details_insufficient", FORBIDDEN, Some(InsufficientRights);
    /// The token, or the request, does not name one consent where `require.consent` says.
    ConsentMissing = "consent_missing", FORBIDDEN, Some(InsufficientRights);
    /// The request is not for the consent of its token, or the consent is another client's (`require.consent`).
    ConsentMismatch = "consent_mismatch", FORBIDDEN, Some(InsufficientRights);
    /// Whoever is asked about consents knows no such consent.
    ConsentUnknown = "consent_unknown", FORBIDDEN, Some(InsufficientRights);
    /// The time of the consent is over.
    ConsentExpired = "consent_expired", FORBIDDEN, Some(InsufficientRights);
    /// The consent was taken back.
    ConsentRevoked = "consent_revoked", FORBIDDEN, Some(InsufficientRights);
    /// The consent is in another state than those of `require.consent`.
    ConsentRefused = "consent_refused", FORBIDDEN, Some(InsufficientRights);
    /// The route compares the body with the token, and it is not declared as JSON in UTF-8, or it has a `Content-Encoding` (RFC
    /// 9110 §15.5.16).
    BodyTypeUnsupported = "body_type_unsupported", UNSUPPORTED_MEDIA_TYPE, None;
    /// The route compares the body with the token, and it is not one JSON object with one reading (RFC 8259 §4).
    BodyUnreadable = "body_unreadable", BAD_REQUEST, None;
    /// `acr` is none of those in `require.authentication` (RFC 9470 §3).
    AcrInsufficient = "acr_insufficient", UNAUTHORIZED, Some(InsufficientUserAuthentication);
    /// `auth_time` is longer ago than `require.authentication` allows, or unknown (RFC 9470 §3).
    AuthenticationTooOld = "authentication_too_old", UNAUTHORIZED, Some(InsufficientUserAuthentication);
    /// The request has no signature that is for this resource, and the route's `signature` requires one (FAPI 2.0 HTTP Signatures;
    /// RFC 9421 §3.2).
    SignatureMissing = "signature_missing", UNAUTHORIZED, None;
    /// A signature, or what says what it is over, cannot be read, or could be read in two ways (RFC 9421 §4, RFC 7515 §5.2).
    SignatureMalformed = "signature_malformed", UNAUTHORIZED, None;
    /// The signature does not cover what it has to, or covers what the request does not have (RFC 9421 §2, §3.2).
    SignatureComponentMissing = "signature_component_missing", UNAUTHORIZED, None;
    /// No key of the token's client has the name that the signature says (RFC 9421 §3.2).
    SignatureKeyUnknown = "signature_key_unknown", UNAUTHORIZED, None;
    /// The signature's algorithm is not that of the key, or one that nobody may sign with (RFC 9421 §3.2, FAPI 2.0 §5.4.1).
    SignatureAlgorithmRefused = "signature_algorithm_refused", UNAUTHORIZED, None;
    /// The signature was made too long ago, is of the future, or has expired (RFC 9421 §3.2.1).
    SignatureStale = "signature_stale", UNAUTHORIZED, None;
    /// The signature is not one of the key over this request (RFC 9421 §3.2).
    SignatureInvalid = "signature_invalid", UNAUTHORIZED, None;
    /// The signature does not say of its maker, of whom it is for, or of when it was made what it has to.
    SignatureClaimMissing = "signature_claim_missing", UNAUTHORIZED, None;
    /// What the signature says of its maker or of whom it is for is not what it has to be.
    SignatureClaimRefused = "signature_claim_refused", UNAUTHORIZED, None;
    /// The certificate that a signature came with is not one that seals, not trusted, or not of the client.
    SignatureCertificateRefused = "signature_certificate_refused", UNAUTHORIZED, None;
    /// The same signature was accepted before (RFC 9421 §7.2.2).
    SignatureReplayed = "signature_replayed", UNAUTHORIZED, None;
    /// The content is not encrypted for a key of this resource, as the route's `signature` requires (RFC 7516 §5.2).
    ContentNotDecrypted = "content_not_decrypted", UNAUTHORIZED, None;
    /// The request has content and no digest of it that counts (RFC 9530 §2, §5).
    DigestMissing = "digest_missing", UNAUTHORIZED, None;
    /// A digest is not that of the content as it was received (RFC 9530 §2).
    DigestMismatch = "digest_mismatch", UNAUTHORIZED, None;
    /// The issuer's keys were never read, or not again within `jwks.max_age` (our fault or the issuer's: no challenge).
    KeysUnavailable = "keys_unavailable", SERVICE_UNAVAILABLE, None;
    /// The issuer could not be asked about the token, or did not answer as it must (our fault or the issuer's: no challenge).
    IntrospectionUnavailable = "introspection_unavailable", SERVICE_UNAVAILABLE, None;
    /// The revocations of all replicas were not read within `revocations.max_age`, or not since the start.
    RevocationsStale = "revocations_stale", SERVICE_UNAVAILABLE, None;
    /// The directory of the route was never read, or not again within `keep` (our fault or the directory's: no challenge).
    DirectoryUnavailable = "directory_unavailable", SERVICE_UNAVAILABLE, None;
    /// No list says whether the certificate of a signature is revoked, or one that is past its `nextUpdate` (RFC 5280 §6.3.3).
    RevocationStatusUnknown = "revocation_status_unknown", SERVICE_UNAVAILABLE, None;
    /// Whoever is asked about consents did not answer as it must (our fault or the bank's: no challenge).
    ConsentUnavailable = "consent_unavailable", SERVICE_UNAVAILABLE, None;
    /// Too many requests of this client are waiting to be told about consents, `consents.*.max_waiting_per_client` (RFC 6585 §4).
    ConsentShareExceeded = "consent_share_exceeded", TOO_MANY_REQUESTS, None;
    /// Too many requests of this client are waiting for the issuer, `introspection.max_waiting_per_client` (RFC 6585 §4).
    IntrospectionShareExceeded = "introspection_share_exceeded", TOO_MANY_REQUESTS, None;
    /// The key of the proof has used `replay.max_entries_per_key` other proofs that are still remembered (RFC 6585 §4).
    ReplayShareExceeded = "replay_share_exceeded", TOO_MANY_REQUESTS, None;
    /// The client has used as many idempotency keys that are still remembered as `replay.max_entries_per_key` allows (RFC 6585 §4).
    IdempotencyShareExceeded = "idempotency_share_exceeded", TOO_MANY_REQUESTS, None;
    /// As many exchanges of this client are in progress as `limits.exchanges_per_client` allows (RFC 6585 §4).
    ShareExceeded = "share_exceeded", TOO_MANY_REQUESTS, None;
    /// As many exchanges of this client are in progress or waiting as `upstreams.*.limits.exchanges_per_client` allows (RFC 6585
    /// §4).
    UpstreamShareExceeded = "upstream_share_exceeded", TOO_MANY_REQUESTS, None;
    /// Requests come faster than an entry of the route's `rate_limits` allows (RFC 6585 §4).
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, None;
    /// The replay log is full or cannot tell whether a proof was used before.
    ReplayLogUnavailable = "replay_log_unavailable", SERVICE_UNAVAILABLE, None;
    /// As many idempotency keys are remembered as may be, or nobody can tell whether one was used before.
    IdempotencyKeysUnavailable = "idempotency_keys_unavailable", SERVICE_UNAVAILABLE, None;
    /// As many exchanges are in progress as `limits.exchanges` allows.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, None;
    /// As many exchanges of the upstream are in progress, and as many wait, as its `limits` allow.
    UpstreamOverloaded = "upstream_overloaded", SERVICE_UNAVAILABLE, None;
    /// The audit cannot be written as fast as requests come, and `audit.on_overflow` is `block` or `refuse`.
    AuditUnavailable = "audit_unavailable", SERVICE_UNAVAILABLE, None;
    /// The gateway stopped before the exchange had ended: at the end of `drain.timeout`, or at a second signal.
    GatewayStopped = "gateway_stopped", SERVICE_UNAVAILABLE, None;
    /// The upstream refuses connections, breaks them, or its certificate is not trusted.
    UpstreamUnreachable = "upstream_unreachable", BAD_GATEWAY, None;
    /// The upstream did not connect or answer in time.
    UpstreamTimeout = "upstream_timeout", GATEWAY_TIMEOUT, None;
    /// The upstream's response is not a valid HTTP message (RFC 9110 §15.6.3).
    UpstreamInvalid = "upstream_invalid", BAD_GATEWAY, None;
    /// At an endpoint of an authorization server, a parameter occurs more than once (RFC 6749 §3.1, §3.2).
    ParameterRepeated = "parameter_repeated", BAD_REQUEST, Some(InvalidParameters);
    /// At an endpoint of an authorization server, the request is not the form that it has to be, or a parameter is missing,
    /// malformed, too long, or written so that servers read it differently (RFC 6749 §3.2, RFC 9126 §2.1).
    ParameterMalformed = "parameter_malformed", BAD_REQUEST, Some(InvalidParameters);
    /// A parameter is beside those that count: beside `client_id` and `request_uri` at the authorization endpoint (FAPI 2.0
    /// §5.3.3.2), or beside a request object (RFC 9101 §6.3).
    ParameterRefused = "parameter_refused", BAD_REQUEST, Some(InvalidParameters);
    /// An authorization request that was not pushed (FAPI 2.0 §5.3.2.2).
    ParRequired = "par_required", BAD_REQUEST, Some(InvalidParameters);
    /// A request that needs an authenticated client has neither an assertion nor a certificate (FAPI 2.0 §5.3.2.2).
    ParUnauthenticated = "par_unauthenticated", UNAUTHORIZED, Some(InvalidClient);
    /// The request names no client, or one that is not registered (RFC 6749 §5.2).
    ClientUnknown = "client_unknown", UNAUTHORIZED, Some(InvalidClient);
    /// The client authenticates by a secret or by another method than its own, or its assertion or certificate does not prove
    /// who it is (FAPI 2.0 §5.3.2.1 (7), RFC 7523 §3, RFC 8705 §2).
    ClientAuthenticationRefused = "client_authentication_refused", UNAUTHORIZED, Some(InvalidClient);
    /// The client authenticates by several methods at once (RFC 6749 §2.3).
    ClientAuthenticationRepeated = "client_authentication_repeated", BAD_REQUEST, Some(InvalidParameters);
    /// `aud` of the client assertion is not the issuer as a string (FAPI 2.0 §5.3.2.1 (8)).
    ClientAssertionAudience = "client_assertion_audience", UNAUTHORIZED, Some(InvalidClient);
    /// The client assertion has expired, expires more than an hour from now, or is not valid yet (RFC 7523 §3 (4), (5)).
    ClientAssertionStale = "client_assertion_stale", UNAUTHORIZED, Some(InvalidClient);
    /// The client assertion was used before (RFC 7523 §3 (7)).
    ClientAssertionReplayed = "client_assertion_replayed", UNAUTHORIZED, Some(InvalidClient);
    /// `response_type` is not `code` (FAPI 2.0 §5.3.2.2).
    ResponseTypeRefused = "response_type_refused", BAD_REQUEST, Some(UnsupportedResponseType);
    /// `response_mode` would bring the response back in another way than the profile has.
    ResponseModeRefused = "response_mode_refused", BAD_REQUEST, Some(InvalidParameters);
    /// `code_challenge` or `code_verifier` is missing (FAPI 2.0 §5.3.2.2, RFC 7636 §4.3, §4.5).
    PkceMissing = "pkce_missing", BAD_REQUEST, Some(InvalidParameters);
    /// `code_challenge_method` is not S256 (FAPI 2.0 §5.3.2.2).
    PkcePlain = "pkce_plain", BAD_REQUEST, Some(InvalidParameters);
    /// `redirect_uri` is missing, not registered, or neither https nor a native client's (FAPI 2.0 §5.3.2.2).
    RedirectUriRefused = "redirect_uri_refused", BAD_REQUEST, Some(InvalidParameters);
    /// A pushed request has a `request_uri` (RFC 9126 §2.1).
    RequestUriRefused = "request_uri_refused", BAD_REQUEST, Some(InvalidParameters);
    /// No request of this client was pushed under this `request_uri`, or not lately (RFC 9126 §2.2, §4).
    RequestUriUnknown = "request_uri_unknown", BAD_REQUEST, Some(InvalidParameters);
    /// The request object is missing where the profile or the client's registration needs one (FAPI 2.0 Message Signing §5.3.1).
    RequestObjectRequired = "request_object_required", BAD_REQUEST, Some(InvalidParameters);
    /// The request object is not signed by the client for this server, or not valid now (RFC 9101 §6).
    RequestObjectInvalid = "request_object_invalid", BAD_REQUEST, Some(InvalidRequestObject);
    /// `dpop_jkt` is another key than that of the proof (RFC 9449 §10.1).
    JktMismatch = "jkt_mismatch", BAD_REQUEST, Some(InvalidParameters);
    /// A token request has neither a proof nor a certificate, so that its token would be bound to nothing (FAPI 2.0 §5.3.2.1 (5)).
    SenderConstraintMissing = "sender_constraint_missing", BAD_REQUEST, Some(InvalidParameters);
    /// `grant_type` is not one of the server's, or of the client's (FAPI 2.0 §5.3.2.1 (2), RFC 6749 §5.2).
    GrantTypeRefused = "grant_type_refused", BAD_REQUEST, Some(UnsupportedGrantType);
    /// A client asks to be registered otherwise than the profile allows (RFC 7591 §3.2.2).
    RegistrationRefused = "registration_refused", BAD_REQUEST, Some(InvalidClientMetadata);
    /// A client asks to be registered with a redirect URI that is not allowed, or not in its software statement (RFC 7591 §3.2.2).
    RegistrationRedirectRefused = "registration_redirect_refused", BAD_REQUEST, Some(InvalidRedirectUri);
    /// The software statement is missing, is not the directory's, is too old, or says something else than the request and the
    /// client's certificate do (RFC 7591 §2.3).
    SoftwareStatementRefused = "software_statement_refused", BAD_REQUEST, Some(InvalidSoftwareStatement);
    /// A `request_uri` may have been given at another replica, and the store that they share does not answer.
    PushedRequestsUnavailable = "pushed_requests_unavailable", SERVICE_UNAVAILABLE, None;
    /// The authorization server answered with a token that is not bound to its client; it was withheld.
    AnswerUnbound = "answer_unbound", BAD_GATEWAY, None;
    /// The authorization server answered with something that lives longer than it may; it was withheld.
    AnswerTooLongLived = "answer_too_long_lived", BAD_GATEWAY, None;
    /// The authorization server's answer is not what its endpoint answers, or leads where it must not; it was withheld.
    AnswerMalformed = "answer_malformed", BAD_GATEWAY, None;
    /// The authorization server's metadata is not that of the configured issuer, or allows nothing that the profile does.
    MetadataMismatch = "metadata_mismatch", BAD_GATEWAY, None;
    /// The response could not be signed, or is larger than what is signed; it was withheld.
    ResponseNotSigned = "response_not_signed", INTERNAL_SERVER_ERROR, None;
    /// A fault of the gateway itself; nothing was forwarded unchecked.
    Internal = "internal", INTERNAL_SERVER_ERROR, None;
}

impl Code {
    /// Whether what a certificate says is refused, and not that it is the client's; these codes stand together in the table.
    pub fn is_about_certificates(self) -> bool {
        (Self::CertificateKindRefused..=Self::CertificateOrganisationRefused).contains(&self)
    }

    /// Whether a consent does not let the request pass, and not that nobody knows; these codes stand together in the table.
    pub(crate) fn is_about_consents(self) -> bool {
        (Self::ConsentMissing..=Self::ConsentRefused).contains(&self)
    }

    /// Whether a message was not signed, or not encrypted, as its route requires; these codes stand together in the table.
    pub fn is_about_signatures(self) -> bool {
        (Self::SignatureMissing..=Self::DigestMismatch).contains(&self)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_snake_case_and_distinct() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(
            names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn server_faults_carry_no_oauth_error() {
        for code in Code::ALL {
            assert!(!(code.status().is_server_error() && code.oauth_error().is_some()), "{code}");
        }
    }
}
