//! How the access tokens of an issuer differ from RFC 9068.
//!
//! Many authorization servers issue JWTs of another `typ`, or name the client and the scopes in other claims. An
//! [`AccessTokenForm`] says so for one issuer. It is about names and kinds alone: signature, `iss`, `aud`, times and
//! `cnf` are judged in the same way whatever it says.
//!
//! RFC 8725 §3.11 and §3.12 ask for validation rules that tell the kinds of JWTs of one issuer apart; `typ` `at+jwt`
//! does. Where an issuer does not write it, something else has to: the claim of a [`TokenKind`], and the absence of what
//! only other kinds have.

use serde_json::{Map, Value};

use super::error::TokenError;
use super::kind::{FOREIGN, TokenKind, TokenType};
use crate::text::{is_scope_token, shown_value};

/// How the access tokens of an issuer differ from RFC 9068; by default, not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenForm {
    types: Vec<TokenType>,
    kind: Option<TokenKind>,
    client_claim: Box<str>,
    scope_claim: Box<str>,
    scope_form: ScopeForm,
    may_lack: Vec<Dispensable>,
}

/// What an [`AccessTokenForm`] is made of; by default that of RFC 9068.
#[derive(Clone, Copy, Debug)]
pub struct Differences<'d> {
    /// The `typ` that its access tokens have.
    pub types: &'d [TokenType],
    /// What only its access tokens say of themselves: a claim, and its values.
    pub kind: Option<(&'d str, &'d [String])>,
    /// The claim that names the client.
    pub client_claim: &'d str,
    /// The claim that has the scopes.
    pub scope_claim: &'d str,
    /// The form of the scopes.
    pub scope_form: ScopeForm,
    /// The claims that may be missing.
    pub may_lack: &'d [Dispensable],
}

/// The form of a claim with scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeForm {
    /// A string in which spaces separate the scopes (RFC 8693 §4.2, RFC 7662 §2.2).
    #[default]
    String,
    /// An array with a string for each scope.
    List,
}

/// A claim that RFC 9068 §2.2 requires and an issuer may leave out, because nothing that is decided depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispensable {
    /// `sub`: the token cannot be revoked by its subject.
    Subject,
    /// `jti`: the token cannot be revoked by its `jti`.
    TokenId,
}

/// Why [`Differences`] would accept more than access tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// No `typ` at all.
    #[error("no `typ` is named, so no token could be accepted")]
    TypesEmpty,
    /// A `typ` that other JWTs of the issuer have too, and nothing that tells them apart.
    #[error("with `jwt` or `absent`, other JWTs of the issuer have the same `typ`, such as ID tokens")]
    KindMissing,
    /// A claim that does not name the kind of a token.
    #[error("`{claim}` does not say what kind of token it is in")]
    KindClaimRefused {
        /// Its name.
        claim: Box<str>,
    },
    /// Too few values, or too many.
    #[error("{count} values are named, from 1 to {MAX_KINDS} are allowed")]
    KindCount {
        /// How many.
        count: usize,
    },
    /// A value that is empty.
    #[error("the value is empty")]
    KindEmpty {
        /// Its index.
        index: usize,
    },
    /// A claim that does not name the client.
    #[error("`{claim}` does not name the client")]
    ClientClaimRefused {
        /// Its name.
        claim: Box<str>,
    },
    /// A claim that does not have the scopes.
    #[error("`{claim}` does not have the scopes")]
    ScopeClaimRefused {
        /// Its name.
        claim: Box<str>,
    },
}

impl Differences<'_> {
    /// Those of RFC 9068: none.
    pub const NONE: Self = Self {
        types: &[TokenType::AtJwt],
        kind: None,
        client_claim: CLIENT_ID,
        scope_claim: SCOPE,
        scope_form: ScopeForm::String,
        may_lack: &[],
    };

    /// Everything about them that would accept more than access tokens, or no token at all.
    fn problems(&self) -> Vec<FormError> {
        let mut problems = Vec::new();
        if self.types.is_empty() {
            problems.push(FormError::TypesEmpty);
        }
        if self.kind.is_none() && self.types.iter().any(|name| *name != TokenType::AtJwt) {
            problems.push(FormError::KindMissing);
        }
        if let Some((claim, values)) = self.kind {
            let named = [CLIENT_ID, SCOPE, self.client_claim, self.scope_claim];
            let elsewhere = |names: &[&str]| names.contains(&claim);
            if claim.is_empty()
                || elsewhere(&REGISTERED)
                || elsewhere(&FOREIGN)
                || elsewhere(&SHARED)
                || elsewhere(&named)
            {
                problems.push(FormError::KindClaimRefused { claim: claim.into() });
            }
            if !(1..=MAX_KINDS).contains(&values.len()) {
                problems.push(FormError::KindCount { count: values.len() });
            }
            let empty = values.iter().enumerate().filter(|(_, value)| value.is_empty());
            problems.extend(empty.map(|(index, _)| FormError::KindEmpty { index }));
        }
        let refused = |claim: &str, other: &str| {
            claim.is_empty() || REGISTERED.contains(&claim) || FOREIGN.contains(&claim) || claim == other
        };
        if refused(self.client_claim, SCOPE) {
            problems.push(FormError::ClientClaimRefused { claim: self.client_claim.into() });
        }
        if refused(self.scope_claim, CLIENT_ID) || self.scope_claim == self.client_claim {
            problems.push(FormError::ScopeClaimRefused { claim: self.scope_claim.into() });
        }
        problems
    }
}

impl Default for AccessTokenForm {
    /// That of RFC 9068.
    fn default() -> Self {
        Self::of(Differences::NONE)
    }
}

impl AccessTokenForm {
    /// The form with these differences.
    ///
    /// # Errors
    /// Every [`FormError`] about them.
    pub fn new(differences: Differences<'_>) -> Result<Self, Vec<FormError>> {
        let problems = differences.problems();
        if problems.is_empty() { Ok(Self::of(differences)) } else { Err(problems) }
    }

    fn of(differences: Differences<'_>) -> Self {
        let Differences { types, kind, client_claim, scope_claim, scope_form, may_lack } = differences;
        Self {
            types: types.to_vec(),
            kind: kind.map(|(claim, values)| TokenKind::new(claim, values)),
            client_claim: client_claim.into(),
            scope_claim: scope_claim.into(),
            scope_form,
            may_lack: may_lack.to_vec(),
        }
    }

    /// The `typ` that is named first.
    pub fn first_type(&self) -> Option<TokenType> {
        self.types.first().copied()
    }

    /// The claim that says what kind of token it is, with a value that it has in access tokens, if one has to.
    pub fn kind(&self) -> Option<(&str, &str)> {
        self.kind.as_ref().and_then(TokenKind::example)
    }

    /// The claim that says what kind of token it is, if one has to.
    pub fn kind_claim(&self) -> Option<&str> {
        self.kind.as_ref().map(TokenKind::claim)
    }

    /// The claim that names the client.
    pub const fn client_claim(&self) -> &str {
        &self.client_claim
    }

    /// The claim that has the scopes.
    pub const fn scope_claim(&self) -> &str {
        &self.scope_claim
    }

    /// The form of the scopes.
    pub const fn scope_form(&self) -> ScopeForm {
        self.scope_form
    }

    /// Checks the `typ` of a header: it is one of those of the issuer's access tokens, and nothing else.
    ///
    /// # Errors
    /// [`TokenError::TypeWrong`].
    pub(super) fn check_type(&self, header: &Map<String, Value>) -> Result<TokenType, TokenError> {
        let typ = header.get("typ");
        let found = self.types.iter().copied().find(|name| name.is_of(typ));
        found.ok_or_else(|| TokenError::TypeWrong {
            found: shown_value(typ),
            expected: TokenType::list(&self.types).into(),
        })
    }

    /// Checks that the claims are those of an access token, as far as `typ` does not say so.
    ///
    /// # Errors
    /// [`TokenError::KindWrong`], [`TokenError::ClaimForeign`].
    pub(super) fn check_kind(&self, typ: TokenType, claims: &Map<String, Value>) -> Result<(), TokenError> {
        // A token that is at+jwt says what it is, so that an issuer can begin to write it at any time. Where all of its
        // tokens have to be at+jwt, the kind can only be meant to tell these apart.
        let needed = typ != TokenType::AtJwt || self.types.iter().all(|name| *name == TokenType::AtJwt);
        if let Some(kind) = self.kind.as_ref().filter(|_| needed) {
            kind.check(claims)?;
        }
        match FOREIGN.into_iter().find(|claim| typ != TokenType::AtJwt && claims.contains_key(*claim)) {
            Some(claim) => Err(TokenError::ClaimForeign { claim }),
            None => Ok(()),
        }
    }

    /// The value that does not count in `aud`: the client that the claims name, unless `typ` says that the token is an
    /// access token.
    ///
    /// OpenID Connect Core §2: an ID token's `aud` "MUST contain the OAuth 2.0 client_id of the Relying Party"; that of
    /// an access token is a resource (RFC 9068 §2.2).
    pub(super) fn excluded_audience<'m>(&self, typ: TokenType, claims: &'m Map<String, Value>) -> Option<&'m str> {
        if typ == TokenType::AtJwt {
            return None;
        }
        claims.get(&*self.client_claim).and_then(Value::as_str)
    }

    /// Whether a claim may be missing.
    pub(super) fn may_lack(&self, claim: Dispensable) -> bool {
        self.may_lack.contains(&claim)
    }

    /// Writes the client into `client_id`, so that whatever reads that claim reads the client.
    ///
    /// # Errors
    /// [`TokenError::ClientAmbiguous`] if `client_id` is there and is another.
    pub(super) fn rename_client(&self, claims: &mut Map<String, Value>) -> Result<(), TokenError> {
        if &*self.client_claim == CLIENT_ID {
            return Ok(());
        }
        let Some(named) = claims.get(&*self.client_claim).cloned() else { return Ok(()) };
        if let Some(other) = claims.get(CLIENT_ID).filter(|other| **other != named) {
            return Err(TokenError::ClientAmbiguous {
                client_id: shown_value(Some(other)),
                claim: self.client_claim.clone(),
                found: shown_value(Some(&named)),
            });
        }
        claims.insert(CLIENT_ID.to_owned(), named);
        Ok(())
    }

    /// Writes the scopes into `scope`, as a string, so that whatever reads that claim reads the scopes that count. A
    /// `scope` that does not have them is removed.
    ///
    /// # Errors
    /// [`TokenError::ClaimMalformed`] if they are not in the form.
    pub(super) fn rename_scope(&self, claims: &mut Map<String, Value>) -> Result<(), TokenError> {
        if &*self.scope_claim == SCOPE && self.scope_form == ScopeForm::String {
            return Ok(());
        }
        let Some(value) = claims.get(&*self.scope_claim) else {
            claims.remove(SCOPE);
            return Ok(());
        };
        let scopes = self.scope_form.read(value).ok_or_else(|| TokenError::ClaimMalformed {
            claim: self.scope_claim.clone(),
            expected: self.scope_form.text(),
        })?;
        claims.insert(SCOPE.to_owned(), Value::String(scopes));
        Ok(())
    }
}

impl ScopeForm {
    /// The scopes as one string; `None` if the value does not have this form.
    ///
    /// An element of a list with a space in it would be one scope to whoever wrote it, and several to whoever reads the
    /// string, so it is none.
    fn read(self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::String, Value::String(text)) => Some(text.clone()),
            (Self::List, Value::Array(scopes)) => {
                let scopes = scopes.iter().map(|scope| scope.as_str().filter(|scope| is_scope_token(scope)));
                Some(scopes.collect::<Option<Vec<_>>>()?.join(" "))
            }
            (Self::String | Self::List, _) => None,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::List => "a list of scopes, each a string without spaces",
        }
    }
}

const CLIENT_ID: &str = "client_id";
const SCOPE: &str = "scope";

/// The claims with a meaning of their own for every token (RFC 7519 §4.1, RFC 7800 §3.1).
const REGISTERED: [&str; 8] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf"];

/// The claims of ID tokens (OpenID Connect Core §2, Front-Channel Logout §3) that access tokens can have too, with the
/// same values: RFC 9068 §2.2.1 takes `auth_time`, `acr` and `amr` from there.
const SHARED: [&str; 5] = ["azp", "sid", "auth_time", "acr", "amr"];

/// How many values may name the kind of a token.
const MAX_KINDS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn members(value: Value) -> Map<String, Value> {
        let Value::Object(members) = value else { panic!("an object") };
        members
    }

    fn form(differences: Differences<'_>) -> AccessTokenForm {
        AccessTokenForm::new(differences).unwrap()
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn no_differences_are_rfc_9068() {
        assert_eq!(AccessTokenForm::new(Differences::NONE), Ok(AccessTokenForm::default()));
    }

    #[test]
    fn a_typ_that_others_have_needs_a_kind() {
        use TokenType::{Absent, AtJwt, Jwt};
        let access = texts(&["access"]);
        for (types, missing) in [
            (&[AtJwt][..], false), // control
            (&[Jwt], true),
            (&[Absent], true),
            (&[AtJwt, Jwt], true),
            (&[AtJwt, Absent], true),
            (&[Jwt, Absent], true),
        ] {
            let none = Differences { types, ..Differences::NONE };
            let expected = if missing { Err(vec![FormError::KindMissing]) } else { Ok(()) };
            assert_eq!(AccessTokenForm::new(none).map(drop), expected, "{types:?}");
            let some = Differences { kind: Some(("token_use", &access)), ..none };
            assert_eq!(AccessTokenForm::new(some).map(drop), Ok(()), "{types:?}"); // control
        }
        let none = Differences { types: &[], ..Differences::NONE };
        assert_eq!(AccessTokenForm::new(none), Err(vec![FormError::TypesEmpty]));
    }

    #[test]
    fn a_kind_is_from_one_to_eight_exact_values_of_a_claim_that_has_no_other_meaning() {
        let judged = |claim: &str, values: &[&str]| {
            let values = texts(values);
            let kind = Some((claim, &*values));
            let differences = Differences { kind, client_claim: "cid", scope_claim: "scp", ..Differences::NONE };
            AccessTokenForm::new(differences).map(drop)
        };
        for claim in ["typ", "token_use", "aut", "tokenName", "purpose"] {
            assert_eq!(judged(claim, &["a"]), Ok(()), "{claim}"); // control
        }
        let others = ["", "cid", "scp", "client_id", "scope"];
        for claim in REGISTERED.into_iter().chain(FOREIGN).chain(SHARED).chain(others) {
            assert_eq!(
                judged(claim, &["a"]),
                Err(vec![FormError::KindClaimRefused { claim: claim.into() }]),
                "{claim}"
            );
        }
        assert_eq!(judged("typ", &["a"; 8]), Ok(())); // control
        assert_eq!(judged("typ", &[]), Err(vec![FormError::KindCount { count: 0 }]));
        assert_eq!(judged("typ", &["a"; 9]), Err(vec![FormError::KindCount { count: 9 }]));
        assert_eq!(judged("typ", &["a", ""]), Err(vec![FormError::KindEmpty { index: 1 }]));
    }

    #[test]
    fn client_and_scopes_are_in_claims_of_their_own() {
        let judged = |client_claim: &str, scope_claim: &str| {
            AccessTokenForm::new(Differences { client_claim, scope_claim, ..Differences::NONE }).map(drop)
        };
        let client = |claim: &str| FormError::ClientClaimRefused { claim: claim.into() };
        let scope = |claim: &str| FormError::ScopeClaimRefused { claim: claim.into() };
        for (client, scope) in [("azp", "scp"), ("cid", "scope"), ("client_id", "scp"), ("appid", "roles")] {
            assert_eq!(judged(client, scope), Ok(()), "{client} {scope}"); // control
        }
        for claim in REGISTERED.into_iter().chain(FOREIGN).chain([""]) {
            assert_eq!(judged(claim, "scope"), Err(vec![client(claim)]), "{claim}");
            assert_eq!(judged("client_id", claim), Err(vec![scope(claim)]), "{claim}");
        }
        assert_eq!(judged("azp", "client_id"), Err(vec![scope("client_id")]));
        assert_eq!(judged("azp", "azp"), Err(vec![scope("azp")]));
        assert_eq!(judged("scope", "scp"), Err(vec![client("scope")]));
    }

    #[test]
    fn the_client_has_one_name() {
        let form = form(Differences { client_claim: "azp", ..Differences::NONE });
        let renamed = |claims: Value| {
            let mut claims = members(claims);
            form.rename_client(&mut claims).map(|()| claims.remove("client_id"))
        };
        for (claims, expected) in [
            (json!({ "azp": "a" }), Some(json!("a"))),
            (json!({ "azp": "a", "client_id": "a" }), Some(json!("a"))),
            (json!({ "azp": "" }), Some(json!(""))),
            (json!({}), None),
        ] {
            assert_eq!(renamed(claims.clone()), Ok(expected), "{claims}"); // control
        }
        for other in [json!("b"), json!("A"), json!(""), json!(null), json!(1), json!(["a"])] {
            let judged = renamed(json!({ "azp": "a", "client_id": other }));
            assert!(matches!(judged, Err(TokenError::ClientAmbiguous { .. })), "{other}");
        }
    }

    #[test]
    fn the_scopes_have_one_form() {
        let renamed = |scope_claim: &str, scope_form, claims: Value| {
            let mut claims = members(claims);
            let form = form(Differences { scope_claim, scope_form, ..Differences::NONE });
            form.rename_scope(&mut claims).map(|()| claims.remove("scope")).map_err(|_| ())
        };
        let list = |value: Value| renamed("scope", ScopeForm::List, json!({ "scope": value }));
        for (value, expected) in [
            (json!(["a"]), "a"),
            (json!(["a", "b.c", "https://x/y"]), "a b.c https://x/y"),
            (json!(["a", "a"]), "a a"),
            (json!([]), ""),
        ] {
            assert_eq!(list(value.clone()), Ok(Some(json!(expected))), "{value}"); // control
        }
        for value in [
            json!("a"),
            json!(""),
            json!(null),
            json!(1),
            json!({ "a": "b" }),
            json!([""]),
            json!(["a b"]),
            json!(["a", " "]),
            json!(["a", 1]),
            json!(["a", null]),
            json!([["a"]]),
            json!(["a\"b"]),
            json!(["a\\b"]),
            json!(["a\tb"]),
            json!(["\u{e9}"]),
        ] {
            assert_eq!(list(value.clone()), Err(()), "{value}");
        }
        assert_eq!(renamed("scope", ScopeForm::List, json!({})), Ok(None));

        let string = |claims: Value| renamed("scp", ScopeForm::String, claims);
        assert_eq!(string(json!({ "scp": "a b" })), Ok(Some(json!("a b")))); // control
        assert_eq!(string(json!({ "scp": "a", "scope": "b" })), Ok(Some(json!("a"))), "the other counts for nothing");
        assert_eq!(string(json!({ "scope": "b" })), Ok(None), "and is no substitute");
        for value in [json!(["a"]), json!(null), json!(1)] {
            assert_eq!(string(json!({ "scp": value })), Err(()), "{value}");
        }
        // What is read as RFC 9068 has it stays as it is.
        let claims = json!({ "scope": ["a"] });
        assert_eq!(renamed("scope", ScopeForm::String, claims), Ok(Some(json!(["a"]))));
    }

    proptest! {
        #[test]
        fn each_element_of_a_list_is_one_scope_or_the_list_is_refused(
            scopes in proptest::collection::vec("[a-z.]{1,3}|[ -~]{0,3}|\\PC{0,2}", 0..5),
        ) {
            let read = ScopeForm::List.read(&json!(scopes));
            prop_assert_eq!(read.is_some(), scopes.iter().all(|scope| is_scope_token(scope)));
            if let Some(text) = read {
                let found: Vec<&str> = text.split(' ').filter(|scope| !scope.is_empty()).collect();
                prop_assert_eq!(found, scopes);
            }
        }
    }
}
