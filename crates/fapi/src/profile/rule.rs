//! One rule of a profile.

use std::fmt;

use crate::code::Code;

/// One rule of a profile, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its stable name.
    pub id: &'static str,
    /// The clauses that it comes from.
    pub clause: &'static str,
    /// What it says, in one sentence.
    pub says: &'static str,
    /// The setting of gateway.yaml that is held to it.
    pub setting: Setting,
    /// Where it is enforced.
    pub enforced: Enforced,
    /// The codes with which a request is refused that breaks it.
    pub codes: &'static [Code],
    /// For what a waiver can suspend it; `None` if nothing can.
    pub waivable: Option<Waivable>,
}

/// The setting that is held to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// There is none: the rule always holds.
    Always,
    /// The key with this path; `[]` stands for each entry of a list.
    Key(&'static str),
}

/// The path of the key, or `always`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Key(path) => f.write_str(path),
        }
    }
}

/// Where a rule is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// In the TLS of listeners.
    ListenerTls,
    /// In the gateway's own requests to issuers.
    Outbound,
    /// Where the access token is found in the request.
    Credentials,
    /// Where the access token is verified.
    Token,
    /// Where the client proves what the token is bound to.
    Binding,
    /// Where a DPoP proof is verified.
    Proof,
    /// Where the record of used proofs is asked.
    Replay,
    /// Where the token is compared with what the route requires.
    Policy,
    /// In other header fields of the request.
    Request,
    /// In the response of the upstream.
    Response,
    /// In the header section that the client gets.
    Answer,
    /// In what goes to an authorization server.
    ServerRequest,
    /// In what an authorization server answers.
    ServerAnswer,
}

impl Enforced {
    /// Its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListenerTls => "TLS of listeners",
            Self::Outbound => "requests to issuers",
            Self::Credentials => "credentials",
            Self::Token => "token",
            Self::Binding => "binding",
            Self::Proof => "proof",
            Self::Replay => "replay",
            Self::Policy => "policy",
            Self::Request => "request header",
            Self::Response => "response of the upstream",
            Self::Answer => "response header",
            Self::ServerRequest => "request to the authorization server",
            Self::ServerAnswer => "answer of the authorization server",
        }
    }
}

/// For what a waiver can suspend a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waivable {
    /// For the tokens of one issuer.
    Issuer,
    /// For the requests of one route.
    Route,
    /// For what goes to one authorization server, and what comes from it.
    AuthorizationServer,
}

impl Waivable {
    /// The key of a waiver that names it, in words.
    pub const fn as_words(self) -> &'static str {
        match self {
            Self::AuthorizationServer => "authorization server",
            Self::Issuer | Self::Route => self.as_str(),
        }
    }

    /// The key of a waiver that names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Route => "route",
            Self::AuthorizationServer => "authorization_server",
        }
    }
}
