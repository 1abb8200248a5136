//! From a route and a bound token to the permit that names the upstream.
//!
//! The last types of the line: an [`Admission`] is what a matched route asks for; a [`Guard`] stands before a protected one
//! and turns a [`BoundToken`] into [`Authorized`]; redeeming that gives a [`Permit`], the only thing from which an upstream
//! can be learnt. No code outside this file can make one:
//!
//! ```compile_fail
//! use fapi::{permit::Permit, route::Route};
//! fn forge(route: std::sync::Arc<Route>) -> Permit {
//!     Permit { route, token: None } // the fields are private
//! }
//! ```
//!
//! ```compile_fail
//! use fapi::{permit::Permit, route::Route};
//! fn forge(route: std::sync::Arc<Route>) -> Permit {
//!     Permit::public(route) // and so is the constructor
//! }
//! ```

use std::sync::Arc;

use crate::dpop::{DpopError, FirstUse, VerifiedProof};
use crate::policy::{Policy, PolicyError};
use crate::route::{Matched, Requirement, Route, UpstreamRef};
use crate::sender::BoundToken;

/// How a request may go on: at once, or past a guard.
#[derive(Clone, Debug)]
pub enum Admission {
    /// The route is public.
    Public(Permit),
    /// The route is protected.
    Protected(Guard),
}

impl Admission {
    /// What the route asks of a request decides.
    pub fn to(route: Matched) -> Self {
        let route = route.into_route();
        match &route.requirement {
            Requirement::Public => Self::Public(Permit::public(route)),
            Requirement::Protected(policy) => {
                let policy = Arc::clone(policy);
                Self::Protected(Guard { route, policy })
            }
        }
    }
}

/// Stands before a protected route.
#[derive(Clone, Debug)]
pub struct Guard {
    route: Arc<Route>,
    policy: Arc<Policy>,
}

impl Guard {
    /// What it stands for.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Judges what the token may do on this route.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn authorize(self, token: BoundToken) -> Result<Authorized, PolicyError> {
        self.policy.check(token.claims())?;
        Ok(Authorized { route: self.route, token })
    }
}

/// A request that passed every check that changes nothing.
#[must_use]
#[derive(Debug)]
pub struct Authorized {
    route: Arc<Route>,
    token: BoundToken,
}

impl Authorized {
    /// The proof that has to be used up before a permit can be had.
    pub const fn proof(&self) -> Option<&VerifiedProof> {
        self.token.proof()
    }

    /// Gives the permit. What changes state comes last of these checks, so that nobody can use up a proof that is not good; a
    /// certificate uses up nothing.
    ///
    /// # Errors
    /// [`DpopError::Replayed`] if there is a proof and `first_use` does not speak of it.
    pub fn redeem(self, first_use: Option<FirstUse>) -> Result<Permit, DpopError> {
        match (self.token.proof(), first_use) {
            (None, _) => {}
            (Some(proof), Some(first_use)) if first_use.is_of(proof.id()) => {}
            (Some(_), _) => return Err(DpopError::Replayed),
        }
        Ok(Permit { route: self.route, token: Some(self.token) })
    }
}

/// The right to forward one request; the only thing that can name an upstream.
#[must_use]
#[derive(Clone, Debug)]
pub struct Permit {
    route: Arc<Route>,
    token: Option<BoundToken>,
}

impl Permit {
    const fn public(route: Arc<Route>) -> Self {
        Self { route, token: None }
    }

    /// Where the request may go.
    pub fn upstream(&self) -> &UpstreamRef {
        &self.route.upstream
    }

    /// The route it was given for.
    pub const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The token, unless the route is public.
    pub const fn token(&self) -> Option<&BoundToken> {
        self.token.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};

    use super::*;
    use crate::credentials::Scheme;
    use crate::policy::{IssuerIndex, NonceMode, ScopeRule};
    use crate::route::{Forward, Origin, Pattern, Routes, Target};

    #[test]
    fn fwd_01_the_requirement_decides_the_admission() {
        let policy = || {
            Policy::new(
                ScopeRule::All(vec!["accounts".into()]),
                vec![IssuerIndex(0)],
                vec![Scheme::Bearer],
                NonceMode::Never,
            )
            .unwrap()
        };
        let route = |name: &str, requirement| Route {
            name: name.into(),
            pattern: Pattern::parse(&format!("/{name}")).unwrap(),
            hosts: vec![],
            methods: vec![Method::GET],
            requirement,
            upstream: UpstreamRef { name: "accounts".into(), index: 0 },
            forward: Forward::default(),
        };
        let protected = route("p", Requirement::Protected(policy().into()));
        assert_eq!(protected.policy().map(Policy::scope_text), Some("accounts"));
        let open = route("o", Requirement::Public);
        assert!(open.policy().is_none());
        let routes = Routes::new(vec![protected, open]).unwrap();
        let public = |path| {
            let (request, ()) = Request::get(path).body(()).unwrap().into_parts();
            let origin = Arc::new(Origin::parse("https://api.example").unwrap());
            let matched = routes.find(&Target::parse(&request, &origin).unwrap()).unwrap();
            let route = Arc::clone(matched.route());
            match Admission::to(matched) {
                Admission::Public(permit) => (Arc::ptr_eq(permit.route(), &route), true),
                Admission::Protected(_) => (true, false),
            }
        };
        assert_eq!(public("/o"), (true, true));
        assert_eq!(public("/p"), (true, false));
    }
}
