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

use http::HeaderMap;

use crate::credentials::is_form;
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

    /// Whether the body has to be read before the request is forwarded: a form may hold a second token, which is one too many
    /// beside that in the header (RFC 6750 §2). On a public route no token is judged, so none is looked for.
    pub fn wants_body_read(&self, headers: &HeaderMap) -> bool {
        self.token.is_some() && is_form(headers)
    }

    /// The token, unless the route is public.
    pub const fn token(&self) -> Option<&BoundToken> {
        self.token.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, Request, header};
    use serde_json::json;

    use super::*;
    use crate::UnixTime;
    use crate::code::Code;
    use crate::credentials::{Credentials, Scheme};
    use crate::dpop::{Freshness, NoProofKeys, Nonces, ProofContext};
    use crate::peer::{ClientCertificate, Peer};
    use crate::policy::{IssuerIndex, NonceMode, ScopeRule};
    use crate::route::{Forward, Origin, Pattern, Routes, Target};
    use crate::token::introspection::Answer;
    use crate::token::{ActiveToken, Expected, MissingAudience, TokenHash};

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn routes() -> Routes {
        let scopes = ScopeRule::All(vec!["accounts".into()]);
        let policy = Policy::new(scopes, vec![IssuerIndex(0)], vec![Scheme::Bearer], NonceMode::Never).unwrap();
        let route = |name: &str, requirement| Route {
            name: name.into(),
            pattern: Pattern::parse(&format!("/{name}")).unwrap(),
            hosts: vec![],
            methods: vec![Method::GET],
            requirement,
            upstream: UpstreamRef { name: "accounts".into(), index: 0 },
            forward: Forward::default(),
        };
        let (protected, open) = (route("p", Requirement::Protected(policy.into())), route("o", Requirement::Public));
        assert_eq!(protected.policy().map(Policy::scope_text), Some("accounts"));
        assert!(open.policy().is_none());
        Routes::new(vec![protected, open]).unwrap()
    }

    #[test]
    fn fwd_01_the_requirement_decides_the_admission() {
        let routes = routes();
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

    #[test]
    fn a_guard_judges_by_its_policy() {
        let authorize = |scope: &str| {
            let Admission::Protected(guard) = admission("/p") else { panic!("the route is protected") };
            assert_eq!(guard.policy().scope_text(), "accounts");
            guard.authorize(bound(scope)).err().map(|error| error.code())
        };
        assert_eq!((authorize("accounts"), authorize("openid accounts")), (None, None)); // control
        for scope in ["", "account", "accounts.read", "ACCOUNTS"] {
            assert_eq!(authorize(scope), Some(Code::ScopeInsufficient), "{scope:?}");
        }
    }

    #[test]
    fn a_form_is_read_where_a_token_came_in_the_header() {
        let content =
            |kind: &'static str| HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let (form, json) = (content("application/x-www-form-urlencoded"), content("application/json"));
        let Admission::Protected(guard) = admission("/p") else { panic!("the route is protected") };
        let permit = guard.authorize(bound("accounts")).unwrap().redeem(None).unwrap();
        assert!(!permit.wants_body_read(&json) && !permit.wants_body_read(&HeaderMap::new())); // control
        assert!(permit.wants_body_read(&form));
        let Admission::Public(permit) = admission("/o") else { panic!("the route is public") };
        assert!(!permit.wants_body_read(&form));
    }

    /// What the route of this path asks: `/p` for a token with scope `accounts`, `/o` for nothing.
    fn admission(path: &str) -> Admission {
        let (request, ()) = Request::get(path).body(()).unwrap().into_parts();
        let origin = Arc::new(Origin::parse("https://api.example").unwrap());
        Admission::to(routes().find(&Target::parse(&request, &origin).unwrap()).unwrap())
    }

    /// A token with this scope, and the proof that it belongs to the certificate it came with.
    fn bound(scope: &str) -> BoundToken {
        let key = rcgen::KeyPair::generate().unwrap();
        let der = rcgen::CertificateParams::new(vec!["client.example".into()]).unwrap().self_signed(&key).unwrap();
        let certificate = ClientCertificate::from_der(der.der()).unwrap();
        let cnf = json!({ "x5t#S256": certificate.thumbprint().to_string() });
        let answer = json!({ "active": true, "scope": scope, "cnf": cnf }).to_string();
        let Ok(Answer::Active(answer)) = Answer::from_json(answer.as_bytes()) else { panic!("the token is active") };
        let (mut request, ()) = Request::get("/p").body(()).unwrap().into_parts();
        request.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer token"));
        let origin = Arc::new(Origin::parse("https://api.example").unwrap());
        let target = Target::parse(&request, &origin).unwrap();
        let credentials = Credentials::from_request(&request.headers, None, &[Scheme::Bearer]).unwrap();
        let hash = TokenHash::of(credentials.token());
        let (name, issuer) = ("bank".into(), "https://as.example".into());
        let expected = Expected { name, issuer, audiences: vec![], algorithms: vec![] };
        let token = ActiveToken::from_introspection(answer, &hash, &expected, MissingAudience::Accept, NOW).unwrap();
        let context = ProofContext {
            target: &target,
            token: credentials.token(),
            nonce: NonceMode::Never,
            freshness: &Freshness { max_age: 60, clock_skew: 10, nonces: Nonces::new(&[[1; 32]], 60).unwrap() },
            keys: &NoProofKeys,
            began: UnixTime(0),
            now: NOW,
        };
        BoundToken::prove(Arc::new(token), &credentials, &Peer::Certificate(Arc::new(certificate)), &context).unwrap()
    }
}
