//! Why a request has no route.

use crate::code::Code;
use crate::cors::NotGranted;

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
    /// The same for a preflight, which no rule grants.
    #[error("the route has only the methods {allow:?}, and the preflight is not granted: {why}")]
    PreflightNotGranted {
        /// The methods of the pattern, as a value of `Allow` (RFC 9110 §10.2.1).
        allow: Box<str>,
        /// Why it is not granted.
        why: NotGranted,
    },
}

impl RouteError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::PathAmbiguous { .. } => Code::PathAmbiguous,
            Self::NotFound => Code::RouteNotFound,
            Self::MethodNotAllowed { .. } | Self::PreflightNotGranted { .. } => Code::MethodNotAllowed,
        }
    }

    /// The same error of a preflight that is not granted.
    #[must_use]
    pub fn of_preflight(self, why: NotGranted) -> Self {
        match self {
            Self::MethodNotAllowed { allow } => Self::PreflightNotGranted { allow, why },
            Self::PathAmbiguous { .. } | Self::NotFound | Self::PreflightNotGranted { .. } => self,
        }
    }
}
