//! The target of a request (RFC 9112 §3.2), and its `htu` (RFC 9449 §4.2).

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use http::request::Parts;

use super::error::RouteError;
use super::origin::Origin;
use super::path::{PathCharacters, ReceivedPath};
use crate::policy::RequestValues;

/// The target of a request: method, path and query, at a known origin.
///
/// Its path is a [`CanonicalPath`](super::CanonicalPath), unless it was read with [`PathCharacters::Uri`]; then
/// [`Routes::find`](super::Routes::find) has to say whether a route takes it.
#[derive(Clone, Debug)]
pub struct Target<'r> {
    method: &'r Method,
    path: ReceivedPath<'r>,
    query: Option<&'r str>,
    origin: Arc<Origin>,
}

impl<'r> Target<'r> {
    /// Reads the method and target of `request`, whose host must be that of `origin`.
    ///
    /// The query is not checked, since no route depends on it.
    ///
    /// # Errors
    /// [`RouteError::PathAmbiguous`], as from [`CanonicalPath::parse`](super::CanonicalPath::parse), also for a target
    /// without a path and for `*`.
    pub fn parse(request: &'r Parts, origin: &Arc<Origin>) -> Result<Self, RouteError> {
        Self::parse_with(request, origin, PathCharacters::Strict)
    }

    /// Does the same as [`parse`](Self::parse), with a path of these characters.
    ///
    /// # Errors
    /// [`RouteError::PathAmbiguous`] for a path of which a segment could become another one in some reading.
    pub fn parse_with(
        request: &'r Parts,
        origin: &Arc<Origin>,
        characters: PathCharacters,
    ) -> Result<Self, RouteError> {
        let target = request.uri.path_and_query().ok_or(RouteError::PathAmbiguous { why: "there is none" })?;
        // `path()` of "?x" is "/", but what is forwarded begins with the question mark: check the whole target.
        if !target.as_str().starts_with('/') {
            return Err(RouteError::PathAmbiguous { why: "it does not begin with a slash" });
        }
        let path = ReceivedPath::parse(target.path(), characters)?;
        Ok(Self { method: &request.method, path, query: target.query(), origin: Arc::clone(origin) })
    }

    /// The method.
    pub const fn method(&self) -> &'r Method {
        self.method
    }

    /// The same target with another method.
    #[must_use]
    pub fn with_method<'m>(&self, method: &'m Method) -> Target<'m>
    where
        'r: 'm,
    {
        Target { method, path: self.path, query: self.query, origin: Arc::clone(&self.origin) }
    }

    /// The path as received.
    pub const fn path(&self) -> &'r str {
        self.path.as_str()
    }

    pub(super) const fn received_path(&self) -> ReceivedPath<'r> {
        self.path
    }

    /// The segment of the path with this index, decoded once, such as that of a [variable](super::Pattern::variable);
    /// `None` if there is none, or if it has more than one reading.
    pub fn segment(&self, index: usize) -> Option<Cow<'r, str>> {
        self.path.segment(index)
    }

    /// The query as received, without its question mark.
    pub const fn query(&self) -> Option<&'r str> {
        self.query
    }

    /// The origin.
    pub const fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// The `htu` of a proof for this request: the HTTP target URI "without query and fragment parts"
    /// (RFC 9449 §4.2).
    pub fn htu(&self) -> String {
        format!("{}{}", self.origin.as_str(), self.path.as_str())
    }
}

impl RequestValues for Target<'_> {
    fn method(&self) -> &str {
        self.method.as_str()
    }

    fn segment(&self, index: usize) -> Option<Cow<'_, str>> {
        self.path.segment(index)
    }

    fn query(&self) -> Option<&str> {
        self.query
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Uri, uri};

    use super::super::path::CanonicalPath;
    use super::*;
    use crate::code::Code;

    fn origin(text: &str) -> Arc<Origin> {
        Arc::new(Origin::parse(text).unwrap())
    }

    fn get(target: &str) -> Parts {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from(uri::PathAndQuery::try_from(target).unwrap());
        request.into_parts().0
    }

    #[test]
    fn atk_pt_13_refuses_targets_that_are_not_paths() {
        let code = |uri: &'static str| {
            let request = Request::builder().uri(Uri::from_static(uri)).body(()).unwrap().into_parts().0;
            Target::parse(&request, &origin("https://api.example"))
                .map(|target| target.path().to_owned())
                .map_err(|e| e.code())
        };
        assert_eq!(code("/a?x"), Ok("/a".into())); // control
        assert_eq!(code("https://api.example/a"), Ok("/a".into())); // control
        for uri in ["*", "api.example:443"] {
            assert_eq!(code(uri), Err(Code::PathAmbiguous), "{uri}");
        }
        let query_only = uri::PathAndQuery::try_from("?x").map(Uri::from).unwrap_or(Uri::from_static("*"));
        let request = Request::builder().uri(query_only).body(()).unwrap().into_parts().0;
        assert!(Target::parse(&request, &origin("https://api.example")).is_err());
        let code = |path| CanonicalPath::parse(path).err().map(|error| error.code());
        assert_eq!(code("/"), None); // control
        for path in ["", "*", "a", "a/b"] {
            assert_eq!(code(path), Some(Code::PathAmbiguous), "{path:?}");
        }
    }

    #[test]
    fn htu_is_origin_prefix_and_path_without_query() {
        let request = get("/accounts/a%20b/?page=2");
        let htu = |text| Target::parse(&request, &origin(text)).unwrap().htu();
        assert_eq!(htu("https://API.bank.example:443/"), "https://api.bank.example/accounts/a%20b/");
        assert_eq!(htu("https://api.bank.example:8443/bank/"), "https://api.bank.example:8443/bank/accounts/a%20b/");
        let target = Target::parse(&request, &origin("https://api.bank.example")).unwrap();
        assert_eq!(target.origin().as_str(), "https://api.bank.example");
    }

    #[test]
    fn a_segment_is_decoded_once_if_it_has_one_reading() {
        let segments = |target: &str| {
            let request = get(target);
            let target = Target::parse_with(&request, &origin("https://api.example"), PathCharacters::Uri).unwrap();
            [0, 1, 2].map(|index| target.segment(index).map(Cow::into_owned))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(segments("/a/1001"), [some("a"), some("1001"), None]);
        assert_eq!(segments("/a/1001/?x=/y"), [some("a"), some("1001"), None]);
        assert_eq!(segments("/a/caf%C3%A9/"), [some("a"), some("caf\u{e9}"), None]);
        assert_eq!(segments("/a/x%20y/B"), [some("a"), some("x y"), some("B")]);
        assert_eq!(segments("/"), [None, None, None]);
        // Data: one upstream reads another text than the next.
        for segment in ["1001;v=1", "100%2531", "%31001", "1001%20", "1001%3Fx"] {
            assert_eq!(segments(&format!("/a/{segment}/c")), [some("a"), None, some("c")], "{segment}");
        }
    }
}
