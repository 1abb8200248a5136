//! Why a request has no route.

use crate::code::Code;

/// Why a request has no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The path has more than one reading.
    #[error("the path can be read in more than one way: {why}")]
    PathAmbiguous {
        /// What the other reading comes from.
        why: &'static str,
    },
    /// No configured route matches.
    #[error("no route matches host and path")]
    NotFound,
    /// The matching pattern has no route for the method.
    #[error("the route has only the methods {allow:?}")]
    MethodNotAllowed {
        /// The methods of the pattern, as a value of `Allow` (RFC 9110 §10.2.1).
        allow: Box<str>,
    },
}

impl RouteError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::PathAmbiguous { .. } => Code::PathAmbiguous,
            Self::NotFound => Code::RouteNotFound,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
        }
    }
}
