//! What the authorization endpoint, and the pages of its login, answer to a browser: a page, a step to another page, or the
//! authorization response (RFC 6749 §4.1.2, RFC 9207, JARM).
//!
//! Everything that an attacker wants of a browser at this server is in where it is sent, and with what. Both are in `Location`.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::answer::AnswerError;
use super::parameters::Parameters;
use crate::UnixTime;
use crate::headers::{HeaderEdits, cors_fields};
use crate::jose::claims::{CLOCK_SKEW, audiences, numeric_date};
use crate::jose::jws::Jws;
use crate::jose::keys::{Algorithm, KeySet};
use crate::jose::statement::{StatementError, verified_claims};
use crate::text::{Names, is_scheme, shown_text, shown_value, sole_value};

/// The longest JWT of an authorization response, in bytes.
pub const MAX_RESPONSE: usize = 16 * 1024;
/// How far ahead such a JWT may expire, in seconds (JARM §2.1).
pub const MAX_LIFETIME: u64 = 10 * 60;

/// What a browser may be sent to, and with what.
#[derive(Clone, Copy)]
pub struct ExpectedResponse<'e> {
    /// The issuer, as `iss` has it.
    pub issuer: &'e str,
    /// The origin of the guarded server as browsers know it: `https://host`, with the port if it is not 443.
    pub own_origin: &'e str,
    /// Whether a URI, without query and fragment, is a redirect URI of a client.
    pub redirects_to: &'e dyn Fn(&str) -> bool,
    /// How responses are sent.
    pub mode: ResponseMode<'e>,
    /// Whether parameters may be without `iss` (RFC 9207 §2); another issuer than this one is never accepted.
    pub may_lack_issuer: bool,
    /// The time.
    pub now: UnixTime,
}

impl fmt::Debug for ExpectedResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpectedResponse")
            .field("issuer", &self.issuer)
            .field("own_origin", &self.own_origin)
            .field("mode", &self.mode)
            .field("may_lack_issuer", &self.may_lack_issuer)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// How authorization responses are sent.
#[derive(Clone, Copy, Debug)]
pub enum ResponseMode<'e> {
    /// As parameters of the redirect URI.
    Query,
    /// As one JWT in the parameter `response` (JARM §2.3.1), which these keys verify.
    Jwt(JarmKeys<'e>),
    /// In either way, as each client asks for it.
    Either(JarmKeys<'e>),
}

/// Who signs authorization responses, and for whom.
#[derive(Clone, Copy)]
pub struct JarmKeys<'e> {
    /// The keys of the server.
    pub keys: &'e KeySet,
    /// The algorithms that it may sign with.
    pub algorithms: &'e [Algorithm],
    /// Whether the client with this id has this redirect URI, which is without query and fragment.
    pub is_of_client: &'e dyn Fn(&str, &str) -> bool,
}

impl fmt::Debug for JarmKeys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JarmKeys").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

/// An answer that may reach the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// It leads nowhere by itself.
    Page,
    /// It leads to another page of this server.
    Step,
    /// It is the authorization response, and leads to a client.
    Authorization,
}

/// Judges the status and the header section of an answer to a browser.
///
/// A browser may be sent to this server or to a registered redirect URI (FAPI 2.0 §5.3.2.1 (7)), with 303 or 302 (§5.3.2.2), and to this server with 301 too. What
/// goes to a redirect URI, even at this server, is an authorization response: a code or an error, and `iss`, or all of it in one JWT
/// (JARM). `Location` has to be written so that all browsers read it alike, that is in printable ASCII, without `\`, and with the
/// host after `//`, if it has one.
///
/// Does not check `state` and `code`, which are for the client, nor the `typ` of a JWT, for which JARM has none. Does not resolve a
/// path: a redirect URI at this server is known by one that is written like it, from its first slash on. Does not read the body,
/// where a page can have a form or a script that leads elsewhere, and cannot decrypt a JWT: an encrypted one is refused.
///
/// # Errors
/// [`AnswerError`], for the first check that fails.
pub fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    expected: &ExpectedResponse<'_>,
) -> Result<Response, AnswerError> {
    if headers.contains_key(header::REFRESH) {
        return Err(AnswerError::Refresh);
    }
    // 304 has no content and leads nowhere (RFC 9110 §15.4.5).
    if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
        return Ok(Response::Page);
    }
    let location = Location::parse(headers)?;
    // What frameworks answer for a slash that is missing takes nothing with it but the request for another page.
    if !matches!(status, StatusCode::SEE_OTHER | StatusCode::FOUND | StatusCode::MOVED_PERMANENTLY) {
        return Err(AnswerError::RedirectStatusWrong { found: status });
    }
    let uri = location.uri(expected.own_origin);
    if let Some(uri) = uri.as_deref().filter(|uri| (expected.redirects_to)(uri)) {
        if status == StatusCode::MOVED_PERMANENTLY {
            return Err(AnswerError::RedirectStatusWrong { found: status });
        }
        judge_authorization(&location, uri, expected)?;
        return Ok(Response::Authorization);
    }
    if let Some(uri) = uri.filter(|uri| !is_at(uri, expected.own_origin)) {
        return Err(AnswerError::RedirectElsewhere { place: place_of(&uri) });
    }
    location.check_step()?;
    Ok(Response::Step)
}

/// Where a redirect leads.
struct Location<'h> {
    /// Without query and fragment.
    place: &'h str,
    query: Option<&'h str>,
    fragment: Option<&'h str>,
}

impl<'h> Location<'h> {
    fn parse(headers: &'h HeaderMap) -> Result<Self, AnswerError> {
        let malformed = |why| AnswerError::LocationMalformed { why };
        let location = sole_value(headers, header::LOCATION).ok_or_else(|| malformed("is missing or there twice"))?;
        let location = location.to_str().map_err(|_| malformed("has other characters than those of a URI"))?;
        if location.is_empty() {
            return Err(malformed("is empty"));
        }
        // Browsers read `\` as `/`, and remove white space (URL standard §4.4).
        if location.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\') {
            return Err(malformed("has other characters than those of a URI"));
        }
        let (rest, fragment) = split(location, '#');
        let (place, query) = split(rest, '?');
        let location = Self { place, query, fragment };
        if location.place.starts_with("//") {
            return Err(malformed("has a host and no scheme"));
        }
        // With these schemes, browsers take any number of slashes before the host, and none for a path.
        let is_web = |scheme: &str| ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
        if let Some((_, rest)) = location.scheme().filter(|(scheme, _)| is_web(scheme)) {
            let host = rest.strip_prefix("//").filter(|host| !host.is_empty() && !host.starts_with('/'));
            host.ok_or_else(|| malformed("has a scheme and no host after it"))?;
        }
        Ok(location)
    }

    /// The scheme and what comes after it.
    fn scheme(&self) -> Option<(&'h str, &'h str)> {
        let (scheme, rest) = self.place.split_once(':')?;
        is_scheme(scheme).then_some((scheme, rest))
    }

    /// The whole URI without query and fragment; `None` if it is a path that begins at that of the request.
    fn uri(&self, own_origin: &str) -> Option<Cow<'h, str>> {
        if self.scheme().is_some() {
            return Some(self.place.into());
        }
        self.place.starts_with('/').then(|| format!("{own_origin}{}", self.place).into())
    }

    /// Checks that no token is in the URL of a step, whatever reads it there.
    fn check_step(&self) -> Result<(), AnswerError> {
        for parameter in [self.query, self.fragment].into_iter().flatten().flat_map(|all| all.split(['&', ';', '?'])) {
            let name = parameter.split('=').next().unwrap_or_default();
            let name = percent_decode_str(name).decode_utf8_lossy();
            if let Some(name) = TOKENS.iter().find(|token| name.eq_ignore_ascii_case(token)) {
                return Err(AnswerError::TokenInUrl { name });
            }
        }
        Ok(())
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Whether a URI is at an origin (RFC 6454 §5).
fn is_at(uri: &str, origin: &str) -> bool {
    let parts = |text: &str| {
        let (scheme, rest) = text.split_once("://")?;
        let (scheme, host) = (scheme.to_ascii_lowercase(), rest.split('/').next()?.to_ascii_lowercase());
        let default = match scheme.as_str() {
            "https" => ":443",
            _ => ":80",
        };
        let host = host.strip_suffix(default).unwrap_or(&host).to_owned();
        Some((scheme, host))
    };
    parts(uri).is_some_and(|place| parts(origin) == Some(place))
}

/// Scheme and host of a URI, as they may be logged.
fn place_of(uri: &str) -> Box<str> {
    let (scheme, rest) = split(uri, ':');
    let host = rest.and_then(|rest| rest.strip_prefix("//")).and_then(|rest| rest.split('/').next());
    // What is before `@` may be a password.
    let host = host.and_then(|host| host.rsplit('@').next());
    shown_text(&host.map_or_else(|| format!("{scheme}:"), |host| format!("{scheme}://{host}")))
}

/// Judges what is sent to a redirect URI.
fn judge_authorization(location: &Location<'_>, uri: &str, expected: &ExpectedResponse<'_>) -> Result<(), AnswerError> {
    // RFC 6749 §3.1.2: the redirect URI "MUST NOT include a fragment component", and the code flow adds none.
    if location.fragment.is_some() {
        return Err(AnswerError::ResponseMalformed { why: "has a fragment" });
    }
    let parameters = Parameters::parse(location.query.unwrap_or_default().as_bytes())?;
    let keys = match expected.mode {
        ResponseMode::Query => None,
        ResponseMode::Jwt(keys) => Some(keys),
        ResponseMode::Either(keys) => Some(keys).filter(|_| parameters.get("response").is_some()),
    };
    let never = if keys.is_some() { NOT_BESIDE_JWT } else { &["response"] };
    if let Some(name) = never.iter().find(|name| parameters.get(name).is_some()) {
        return Err(AnswerError::ResponseParameter { name });
    }
    match keys {
        None => {
            check_content(|name| parameters.get(name).is_some())?;
            match parameters.get("iss") {
                None if expected.may_lack_issuer => Ok(()),
                found => check_issuer(found, expected.issuer),
            }
        }
        Some(keys) => {
            let response = parameters.get("response");
            let response = response.ok_or(AnswerError::ResponseMalformed { why: "has no parameter response" })?;
            judge_jwt(response, uri, keys, expected)
        }
    }
}

/// Verifies the JWT of a response (JARM §2.4): signature, `iss`, `aud`, `exp`, and what it says.
fn judge_jwt(
    response: &str,
    uri: &str,
    keys: JarmKeys<'_>,
    expected: &ExpectedResponse<'_>,
) -> Result<(), AnswerError> {
    let jws = Jws::parse(response, MAX_RESPONSE).map_err(StatementError::from)?;
    let claims = verified_claims(jws, keys.algorithms, keys.keys)?;
    let text = |name| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if text("iss") != Some(expected.issuer) {
        let found = shown_value(claims.get("iss"));
        return Err(AnswerError::ResponseIssuer { found, expected: expected.issuer.into() });
    }
    check_audience(&claims, |client| (keys.is_of_client)(client, uri))?;
    let malformed = AnswerError::ResponseMalformed { why: "has no exp that is a number of seconds" };
    let at = numeric_date(&claims, "exp", f64::floor).ok().flatten().ok_or(malformed)?;
    let now = expected.now;
    if at.plus(CLOCK_SKEW) <= now {
        return Err(AnswerError::ResponseExpired { at, now });
    }
    if at > now.plus(MAX_LIFETIME).plus(CLOCK_SKEW) {
        return Err(AnswerError::ResponseTooLongLived { at, now });
    }
    check_content(|name| claims.contains_key(name))?;
    let is_text = text("code").or_else(|| text("error")).is_some();
    if is_text { Ok(()) } else { Err(AnswerError::ResponseMalformed { why: "has a code or an error that is no text" }) }
}

/// Checks that a response is for one client, the one that it goes to.
fn check_audience(claims: &Map<String, Value>, is_client: impl Fn(&str) -> bool) -> Result<(), AnswerError> {
    let audiences = audiences(claims);
    match &audiences {
        Ok(Some(all)) if matches!(all.as_slice(), [client] if is_client(client)) => Ok(()),
        Ok(Some(all)) => Err(AnswerError::ResponseAudience { found: Names::of(all).to_string().into() }),
        Ok(None) | Err(_) => Err(AnswerError::ResponseAudience { found: shown_value(claims.get("aud")) }),
    }
}

/// RFC 6749 §4.1.2, §4.1.2.1: a code or an error, and nothing of other flows.
fn check_content(has: impl Fn(&str) -> bool) -> Result<(), AnswerError> {
    if let Some(name) = OTHER_FLOWS.iter().find(|name| has(name)) {
        return Err(AnswerError::ResponseParameter { name });
    }
    match (has("code"), has("error")) {
        (true, false) | (false, true) => Ok(()),
        (true, true) => Err(AnswerError::ResponseMalformed { why: "has both code and error" }),
        (false, false) => Err(AnswerError::ResponseMalformed { why: "has neither code nor error" }),
    }
}

/// RFC 9207 §2: "Authorization servers supporting this specification MUST indicate their identity by adding the iss parameter", also
/// to error responses.
fn check_issuer(found: Option<&str>, expected: &str) -> Result<(), AnswerError> {
    if found == Some(expected) {
        return Ok(());
    }
    let found = found.map_or_else(|| "missing".into(), shown_text);
    Err(AnswerError::ResponseIssuer { found, expected: expected.into() })
}

/// What no URL has (RFC 9700 §2.1.2).
const TOKENS: &[&str] = &["access_token", "id_token"];

/// What no response of the code flow has.
const OTHER_FLOWS: &[&str] = &["access_token", "id_token", "token_type"];

/// What is not beside the JWT of a response, if there is one (JARM §2.3.1).
const NOT_BESIDE_JWT: &[&str] =
    &["access_token", "code", "error", "error_description", "error_uri", "id_token", "iss", "state", "token_type"];

/// The fields of every answer to a browser (RFC 9700 §4.2.4, §4.16): nobody frames it, learns its URL, stores it, or reads it from a
/// script of another origin (FAPI 2.0 §5.2.3).
///
/// A server that says itself who may frame its pages, and does not say everybody, is left to it: browsers that know `frame-ancestors`
/// ignore `X-Frame-Options`. URLs stay within the origin; `no-referrer`, which is left if the server says it, would take the `Origin` of
/// its own forms (Fetch standard §3.2), which frameworks check.
pub fn browser_edits(received: &HeaderMap) -> HeaderEdits {
    let mut set = vec![
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    if sole_value(received, header::REFERRER_POLICY).is_none_or(|policy| policy != "no-referrer") {
        set.push((header::REFERRER_POLICY, HeaderValue::from_static("same-origin")));
    }
    if let Some(policies) = with_frame_ancestors(received) {
        set.push((header::CONTENT_SECURITY_POLICY, policies));
    }
    HeaderEdits { remove: cors_fields(received).cloned().collect(), set }
}

/// The policies of an answer and one that nobody frames it; `None` if there is one about frames already.
///
/// CSP level 3 §3.1: the field is a list of policies, all of which apply.
fn with_frame_ancestors(received: &HeaderMap) -> Option<HeaderValue> {
    const NOBODY: &str = "frame-ancestors 'none'";
    let lines: Vec<&[u8]> =
        received.get_all(header::CONTENT_SECURITY_POLICY).iter().map(HeaderValue::as_bytes).collect();
    let mut policies = lines.iter().flat_map(|line| line.split(|&byte| byte == b','));
    if policies.any(restricts_frames) {
        return None;
    }
    let all: Vec<&[u8]> = lines.iter().copied().filter(|line| !line.is_empty()).chain([NOBODY.as_bytes()]).collect();
    Some(HeaderValue::from_bytes(&all.join(&b", "[..])).unwrap_or(HeaderValue::from_static(NOBODY)))
}

/// Whether a policy says who may frame a page, and does not say every host: of two directives of a name, the first counts.
fn restricts_frames(policy: &[u8]) -> bool {
    let policy = String::from_utf8_lossy(policy).to_ascii_lowercase();
    let mut directives = policy.split(';').map(str::split_ascii_whitespace);
    let sources = directives.find_map(|mut words| (words.next() == Some("frame-ancestors")).then_some(words));
    // `*`, `https:`, `https://*` and `*:443` are all of them, or all of a scheme.
    let is_every_host = |source: &str| {
        let host = source.split_once("://").map_or(source, |(_, host)| host);
        source.ends_with(':') || host == "*" || host.starts_with("*:")
    };
    sources.is_some_and(|mut sources| !sources.any(is_every_host))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::authorization_server::parameters::ParametersError;
    use crate::code::Code;
    use crate::testing::{SigningKey, hs256, jwks, unsigned, with_members};

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const ISSUER: &str = "https://as.example/realm";
    const CALLBACK: &str = "https://client.example/cb";

    type Judged = Result<Response, AnswerError>;

    fn is_registered(uri: &str) -> bool {
        [CALLBACK, "com.example.app:/cb", "https://as.example/demo/cb", "http://127.0.0.1:4000/cb"].contains(&uri)
    }

    fn expected(mode: ResponseMode<'_>) -> ExpectedResponse<'_> {
        let own_origin = "https://as.example";
        ExpectedResponse {
            issuer: ISSUER,
            own_origin,
            redirects_to: &is_registered,
            mode,
            may_lack_issuer: false,
            now: NOW,
        }
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn redirected(status: u16, location: &str) -> Judged {
        let status = StatusCode::from_u16(status).unwrap();
        judge(status, &headers(&[("location", location)]), &expected(ResponseMode::Query))
    }

    fn sent(query: &str) -> Judged {
        redirected(303, &format!("{CALLBACK}{query}"))
    }

    const GOOD: &str = "?code=c&state=s&iss=https%3A%2F%2Fas.example%2Frealm";

    #[test]
    fn fapi2_as_23_bcp_07_a_redirect_has_303_or_302() {
        let good = format!("{CALLBACK}{GOOD}");
        for (location, outcome) in [(good.as_str(), Response::Authorization), ("/login", Response::Step)] {
            for status in [302, 303] {
                assert_eq!(redirected(status, location), Ok(outcome), "{status} {location}"); // control
            }
            for status in [300, 305, 306, 307, 308, 399] {
                let found = StatusCode::from_u16(status).unwrap();
                let answer = redirected(status, location);
                assert_eq!(answer, Err(AnswerError::RedirectStatusWrong { found }), "{status} {location}");
            }
        }
        // What a framework answers for a page whose slash is missing, but no authorization response.
        assert_eq!(redirected(301, "/login/"), Ok(Response::Step));
        let found = StatusCode::MOVED_PERMANENTLY;
        assert_eq!(redirected(301, &good), Err(AnswerError::RedirectStatusWrong { found }));
        for status in [200, 304, 400, 401, 403, 500] {
            assert_eq!(redirected(status, "https://evil.example/"), Ok(Response::Page), "{status}: browsers stay");
        }
    }

    #[test]
    fn fapi2_as_06_a_redirect_has_one_location() {
        let judged = |fields: &[(&'static str, &str)]| {
            judge(StatusCode::SEE_OTHER, &headers(fields), &expected(ResponseMode::Query))
        };
        assert_eq!(judged(&[("location", "/login")]), Ok(Response::Step)); // control
        let malformed = |answer: Judged| matches!(answer, Err(AnswerError::LocationMalformed { .. }));
        assert!(malformed(judged(&[])));
        assert!(malformed(judged(&[("location", "/login"), ("location", "/login")])));
        for status in [StatusCode::OK, StatusCode::SEE_OTHER] {
            let fields = headers(&[("location", "/login"), ("refresh", "0;url=https://evil.example/")]);
            assert_eq!(judge(status, &fields, &expected(ResponseMode::Query)), Err(AnswerError::Refresh));
        }
    }

    #[test]
    fn fapi2_as_06_a_browser_is_sent_to_this_server_or_to_a_client() {
        for own in [
            "/login",
            "/",
            "login?x=1",
            "?x=1",
            "#top",
            "../login",
            "/login?next=https://evil.example/",
            "https://as.example/login",
            "https://as.example",
            "HTTPS://AS.example:443/login?code=c",
            "/broker/callback?code=c&state=s",
            "/demo/other",
        ] {
            assert_eq!(redirected(303, own), Ok(Response::Step), "{own}"); // control
        }
        for (elsewhere, place) in [
            ("https://evil.example/?code=c", "https://evil.example"),
            ("https://client.example/cb/../other", "https://client.example"),
            ("https://client.example/cb/", "https://client.example"),
            ("http://client.example/cb", "http://client.example"),
            ("http://as.example/login", "http://as.example"),
            ("https://as.example:8443/login", "https://as.example:8443"),
            ("https://as.example.evil.example/", "https://as.example.evil.example"),
            ("https://as.example@evil.example/", "https://evil.example"),
            ("https://secret@as.example/", "https://as.example"),
            ("https://as.example.:443/", "https://as.example.:443"),
            ("javascript:alert(1)", "javascript:"),
            ("data:text/html,x", "data:"),
            ("com.example.app:/other", "com.example.app:"),
        ] {
            let place = shown_text(place);
            assert_eq!(redirected(303, elsewhere), Err(AnswerError::RedirectElsewhere { place }), "{elsewhere}");
        }
        for ambiguous in [
            "",
            "//evil.example/",
            "//as.example/login",
            "///evil.example/",
            "/\\evil.example/",
            "\\\\evil.example/",
            "https:evil.example",
            "https:/evil.example",
            "https:///evil.example",
            "https://",
            "HTTP:/evil.example",
            " /login",
            "/log in",
            "/login\t",
            "/l\u{f6}gin",
        ] {
            let answer = redirected(303, ambiguous);
            assert!(matches!(answer, Err(AnswerError::LocationMalformed { .. })), "{ambiguous:?}: {answer:?}");
        }
    }

    #[test]
    fn rfc6454_4_an_origin_is_scheme_host_and_port() {
        for (uri, origin, is_same) in [
            ("https://as.example:443/x", "https://as.example", true),
            ("https://as.example/x", "https://as.example:443", true),
            ("http://localhost:80/x", "http://localhost", true),
            ("https://as.example:8443/x", "https://as.example:8443", true),
            ("https://as.example:80/x", "https://as.example", false),
            ("http://localhost:443/x", "http://localhost", false),
            ("http://as.example/x", "https://as.example", false),
            ("https:as.example/x", "https://as.example", false),
        ] {
            assert_eq!(is_at(uri, origin), is_same, "{uri} {origin}");
        }
    }

    #[test]
    fn rfc9700_2_1_2_no_token_is_in_a_url() {
        for good in ["/login?id_token_hint=t", "/login?x=access_token", "/login#a=b", "/login?access_tokens=t"] {
            assert_eq!(redirected(303, good), Ok(Response::Step), "{good}"); // control
        }
        for (location, name) in [
            ("/login?access_token=t", "access_token"),
            ("/login?x=1&id_token=t", "id_token"),
            ("/login#id_token=t", "id_token"),
            ("/login?a#x&access_token=t", "access_token"),
            ("login?access%5Ftoken=t", "access_token"),
            ("https://as.example/?ID_TOKEN", "id_token"),
            ("/login?x=1;id_token=t", "id_token"),
        ] {
            assert_eq!(redirected(303, location), Err(AnswerError::TokenInUrl { name }), "{location}");
        }
    }

    #[test]
    fn fapi2_as_20_a_response_is_a_code_or_an_error_and_names_the_issuer() {
        let iss = "iss=https%3A%2F%2Fas.example%2Frealm";
        for good in [GOOD, &format!("?error=access_denied&state=s&{iss}"), &format!("?own=1&code=c&{iss}")] {
            assert_eq!(sent(good), Ok(Response::Authorization), "{good}"); // control
        }
        for registered in ["com.example.app:/cb", "/demo/cb", "https://as.example/demo/cb", "http://127.0.0.1:4000/cb"]
        {
            assert_eq!(redirected(302, &format!("{registered}{GOOD}")), Ok(Response::Authorization), "{registered}");
            let without = redirected(302, &format!("{registered}?code=c"));
            assert!(matches!(without, Err(AnswerError::ResponseIssuer { .. })), "{registered}");
        }
        for other in [
            "",
            "&iss=",
            "&iss=https%3A%2F%2Fas.example",
            "&iss=https%3A%2F%2Fas.example%2Frealm%2F",
            "&iss=HTTPS%3A%2F%2Fas.example%2Frealm",
            "&iss=https%3A%2F%2Fevil.example",
        ] {
            for content in ["?code=c", "?error=access_denied"] {
                let answer = sent(&format!("{content}{other}"));
                assert!(matches!(answer, Err(AnswerError::ResponseIssuer { .. })), "{content} {other}");
                assert_eq!(answer.unwrap_err().code(), Code::AnswerMalformed);
            }
        }
        let malformed = |why| Err(AnswerError::ResponseMalformed { why });
        assert_eq!(sent(&format!("?code=c&error=e&{iss}")), malformed("has both code and error"));
        for nothing in ["", "?", &format!("?{iss}"), &format!("?code=&{iss}"), &format!("?state=s&{iss}")] {
            assert_eq!(sent(nothing), malformed("has neither code nor error"), "{nothing}");
        }
        for fragment in ["#", "#code=c", "#_=_"] {
            assert_eq!(sent(&format!("{GOOD}{fragment}")), malformed("has a fragment"));
        }
        for name in ["access_token", "id_token", "token_type", "response"] {
            assert_eq!(sent(&format!("{GOOD}&{name}=t")), Err(AnswerError::ResponseParameter { name }));
        }
        for (twice, name) in [("code=d", "code"), ("iss=https%3A%2F%2Fevil.example", "iss"), ("ISS=x", "ISS")] {
            let repeated = Err(AnswerError::Parameters(ParametersError::Repeated { name: name.into() }));
            assert_eq!(sent(&format!("{GOOD}&{twice}")), repeated, "{twice}");
        }
    }

    #[test]
    fn fapi2_as_20_while_that_is_waived_a_response_may_lack_the_issuer_and_have_no_other() {
        let sent = |query: &str, may_lack_issuer| {
            let headers = headers(&[("location", &format!("{CALLBACK}{query}"))]);
            judge(
                StatusCode::SEE_OTHER,
                &headers,
                &ExpectedResponse { may_lack_issuer, ..expected(ResponseMode::Query) },
            )
        };
        for content in ["?code=c&state=s", "?error=access_denied"] {
            assert_eq!(sent(content, true), Ok(Response::Authorization), "{content}");
            assert!(matches!(sent(content, false), Err(AnswerError::ResponseIssuer { .. })), "{content}"); // control
            let other = format!("{content}&iss=https%3A%2F%2Fevil.example");
            assert!(matches!(sent(&other, true), Err(AnswerError::ResponseIssuer { .. })), "{content}");
            let disguised = format!("{content}&Iss=https%3A%2F%2Fevil.example");
            assert!(matches!(sent(&disguised, true), Err(AnswerError::Parameters(_))), "{content}");
        }
        assert!(matches!(sent("?state=s", true), Err(AnswerError::ResponseMalformed { .. })));
    }

    struct Stage {
        key: SigningKey,
        keys: KeySet,
    }

    impl Stage {
        fn new(kind: Algorithm) -> Self {
            let key = SigningKey::generate(kind, "a");
            let keys = KeySet::parse(jwks(&[&key]).to_string().as_bytes()).unwrap();
            Self { key, keys }
        }

        fn header(&self) -> Value {
            json!({ "alg": self.key.algorithm(), "kid": "a" })
        }

        fn judge(&self, query: &str) -> Judged {
            self.judge_as(query, only_jwt)
        }

        fn judge_as(&self, query: &str, mode: for<'k> fn(JarmKeys<'k>) -> ResponseMode<'k>) -> Judged {
            let is_of_client = |client: &str, uri: &str| (client, uri) == ("client-1", CALLBACK);
            let keys = JarmKeys { keys: &self.keys, algorithms: Algorithm::ALL, is_of_client: &is_of_client };
            let headers = headers(&[("location", &format!("{CALLBACK}{query}"))]);
            judge(StatusCode::SEE_OTHER, &headers, &expected(mode(keys)))
        }

        /// Judges the good response with one claim replaced, or removed by `null`.
        fn with(&self, claim: &str, value: Value) -> Judged {
            let claims = with_members(good(), &json!({ claim: value }));
            self.judge(&format!("?response={}", self.key.sign(&self.header(), &claims)))
        }
    }

    fn only_jwt(keys: JarmKeys<'_>) -> ResponseMode<'_> {
        ResponseMode::Jwt(keys)
    }

    fn either(keys: JarmKeys<'_>) -> ResponseMode<'_> {
        ResponseMode::Either(keys)
    }

    fn good() -> Value {
        json!({ "iss": ISSUER, "aud": "client-1", "exp": NOW.0 + 60, "code": "c", "state": "s" })
    }

    #[test]
    fn ms_08_with_jarm_everything_is_in_the_jwt() {
        let stage = Stage::new(Algorithm::Es256);
        let response = format!("?response={}", stage.key.sign(&stage.header(), &good()));
        assert_eq!(stage.judge(&response), Ok(Response::Authorization)); // control
        assert_eq!(stage.judge(&format!("{response}&own=1")), Ok(Response::Authorization));
        for name in NOT_BESIDE_JWT {
            let answer = stage.judge(&format!("{response}&{name}=x"));
            assert_eq!(answer, Err(AnswerError::ResponseParameter { name }));
        }
        let without = AnswerError::ResponseMalformed { why: "has no parameter response" };
        assert_eq!(stage.judge("?own=1"), Err(without));
        assert_eq!(stage.judge(GOOD), Err(AnswerError::ResponseParameter { name: "code" }));
        let fragment = AnswerError::ResponseMalformed { why: "has a fragment" };
        assert_eq!(stage.judge(&format!("#{}", &response[1..])), Err(fragment));
        assert_eq!(sent(&response), Err(AnswerError::ResponseParameter { name: "response" }));
    }

    #[test]
    fn either_way_is_one_of_both_and_no_mixture() {
        let (stage, other) = (Stage::new(Algorithm::Es256), Stage::new(Algorithm::Es256));
        let judged = |query: &str| stage.judge_as(query, either);
        let response = format!("?response={}", stage.key.sign(&stage.header(), &good()));
        assert_eq!(judged(&response), Ok(Response::Authorization)); // control
        assert_eq!(judged(GOOD), Ok(Response::Authorization)); // control
        assert_eq!(judged("?code=c&state=s"), sent("?code=c&state=s"));
        assert_eq!(judged(&format!("{response}&code=c")), Err(AnswerError::ResponseParameter { name: "code" }));
        assert_eq!(judged(&format!("{GOOD}&{}", &response[1..])), Err(AnswerError::ResponseParameter { name: "code" }));
        let forged = format!("?response={}", other.key.sign(&other.header(), &good()));
        assert_eq!(judged(&forged), Err(AnswerError::ResponseJwt(StatementError::SignatureInvalid)));
    }

    #[test]
    fn ms_09_the_jwt_is_signed_by_this_server() {
        for kind in Algorithm::ALL {
            let stage = Stage::new(*kind);
            let judged = |jwt: &str| stage.judge(&format!("?response={jwt}"));
            assert_eq!(judged(&stage.key.sign(&stage.header(), &good())), Ok(Response::Authorization)); // control
            let other = SigningKey::generate(*kind, "a");
            let forged = judged(&other.sign(&stage.header(), &good())).unwrap_err();
            assert_eq!(forged, AnswerError::ResponseJwt(StatementError::SignatureInvalid));
            assert!(forged.depends_on_keys());
            let unknown = stage.key.sign(&json!({ "alg": stage.key.algorithm(), "kid": "b" }), &good());
            let unknown = judged(&unknown).unwrap_err();
            assert!(matches!(unknown, AnswerError::ResponseJwt(StatementError::KeyUnknown { .. })));
        }
        let stage = Stage::new(Algorithm::Ps256);
        let judged = |jwt: String| stage.judge(&format!("?response={jwt}"));
        for refused in [
            unsigned(&json!({ "alg": "none" }), &good()),
            hs256(b"secret", &json!({ "alg": "HS256", "kid": "a" }), &good()),
            stage.key.sign_rs256(&json!({ "alg": "RS256", "kid": "a" }), &good()),
        ] {
            let answer = judged(refused);
            assert!(matches!(answer, Err(AnswerError::ResponseJwt(StatementError::AlgorithmRefused { .. }))));
        }
        let malformed = judged("a.b.c".to_owned()).unwrap_err();
        assert!(matches!(malformed, AnswerError::ResponseJwt(StatementError::Malformed(_))));
        let encrypted = judged("a.b.c.d.e".to_owned()).unwrap_err();
        assert_eq!(encrypted, AnswerError::ResponseJwt(StatementError::Encrypted));
        let long = stage.key.sign(&stage.header(), &json!({ "state": "s".repeat(MAX_RESPONSE) }));
        assert!(matches!(judged(long), Err(AnswerError::ResponseJwt(StatementError::Malformed(_)))));
    }

    #[test]
    fn ms_09_the_jwt_is_of_this_issuer_for_this_client_and_short_lived() {
        let stage = Stage::new(Algorithm::EdDsa);
        assert_eq!(stage.with("aud", json!(["client-1"])), Ok(Response::Authorization)); // control
        for issuer in [json!("https://as.example"), json!([ISSUER]), json!(""), json!(null)] {
            let answer = stage.with("iss", issuer.clone());
            assert!(matches!(answer, Err(AnswerError::ResponseIssuer { .. })), "{issuer}");
        }
        for audience in [json!("client-2"), json!(["client-1", "client-2"]), json!([]), json!(7), json!(null)] {
            let answer = stage.with("aud", audience.clone());
            assert!(matches!(answer, Err(AnswerError::ResponseAudience { .. })), "{audience}");
        }
        for seconds in [NOW.0 - 9, NOW.0, NOW.0 + 600, NOW.0 + 610] {
            assert_eq!(stage.with("exp", json!(seconds)), Ok(Response::Authorization), "{seconds}"); // control
        }
        let (at, now) = (UnixTime(NOW.0 - 10), NOW);
        assert_eq!(stage.with("exp", json!(at.0)), Err(AnswerError::ResponseExpired { at, now }));
        let at = NOW.plus(611);
        let too_long = stage.with("exp", json!(at.0));
        assert_eq!(too_long, Err(AnswerError::ResponseTooLongLived { at, now }));
        assert_eq!(too_long.unwrap_err().code(), Code::AnswerTooLongLived);
        for value in [json!(null), json!("1800000060"), json!(-1)] {
            let answer = stage.with("exp", value.clone());
            assert!(matches!(answer, Err(AnswerError::ResponseMalformed { .. })), "{value}");
        }
        let malformed = |answer| matches!(answer, Err(AnswerError::ResponseMalformed { .. }));
        for value in [json!(null), json!(""), json!(7), json!(["c"])] {
            assert!(malformed(stage.with("code", value.clone())), "{value}");
        }
        assert!(malformed(stage.with("error", json!("access_denied"))));
        for name in OTHER_FLOWS {
            assert_eq!(stage.with(name, json!("t")), Err(AnswerError::ResponseParameter { name }));
        }
    }

    #[test]
    fn what_is_logged_of_a_refusal_has_no_code() {
        for location in [
            "https://evil.example/?code=secret",
            "https://secret@evil.example/#secret",
            "https:secret",
            "/?access_token=secret",
            &format!("{CALLBACK}?code=secret"),
            &format!("{CALLBACK}{GOOD}&code=secret"),
            &format!("{CALLBACK}{GOOD}&id_token=secret"),
        ] {
            let error = redirected(303, location).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{location}: {error}");
        }
    }

    fn edited(fields: &[(&'static str, &str)]) -> Vec<(String, String)> {
        let edits = browser_edits(&headers(fields));
        let removed = edits.remove.iter().map(|name| (name.to_string(), String::new()));
        let set = edits.set.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let mut all: Vec<_> = removed.chain(set).collect();
        all.sort();
        all
    }

    #[test]
    fn fapi2_as_46_a_page_is_neither_framed_nor_stored_nor_told_to_others() {
        let of = |all: &[(&str, &str)]| {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let all = [
            ("cache-control", "no-store"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("referrer-policy", "same-origin"),
            ("x-frame-options", "DENY"),
        ];
        assert_eq!(edited(&[]), of(&all));
        let received = [
            ("cache-control", "max-age=60"),
            ("referrer-policy", "unsafe-url"),
            ("x-frame-options", "ALLOWALL"),
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
        ];
        let mut removed = of(&[("access-control-allow-credentials", ""), ("access-control-allow-origin", "")]);
        removed.extend(of(&all));
        assert_eq!(edited(&received), removed);
        let own = edited(&[("referrer-policy", "no-referrer")]);
        assert_eq!(own, of(&[all[0], all[1], all[3]]));
        let twice = edited(&[("referrer-policy", "no-referrer"), ("referrer-policy", "unsafe-url")]);
        assert_eq!(twice, of(&all));
    }

    #[test]
    fn fapi2_as_46_a_policy_about_frames_is_added_unless_there_is_one() {
        let policy = |lines: &[&str]| {
            let fields: Vec<_> = lines.iter().map(|line| ("content-security-policy", *line)).collect();
            let edits = edited(&fields);
            edits.into_iter().find(|(name, _)| name == "content-security-policy").map(|(_, value)| value)
        };
        for own in [
            &["frame-ancestors 'self'"][..],
            &["default-src 'self'; Frame-Ancestors 'none'"],
            &["default-src 'self', frame-ancestors https://portal.example"],
            &["default-src 'self'", "frame-ancestors"],
            &["frame-ancestors *", "frame-ancestors https://*.example"],
        ] {
            assert_eq!(policy(own), None, "{own:?}"); // control
        }
        for (lines, whole) in [
            (&[][..], "frame-ancestors 'none'"),
            (&[""], "frame-ancestors 'none'"),
            (&["default-src 'self'"], "default-src 'self', frame-ancestors 'none'"),
            (&["default-src 'self'", "img-src *"], "default-src 'self', img-src *, frame-ancestors 'none'"),
            (&["x-frame-ancestors 'self'"], "x-frame-ancestors 'self', frame-ancestors 'none'"),
            (&["frame-ancestors *"], "frame-ancestors *, frame-ancestors 'none'"),
            (&["frame-ancestors https:"], "frame-ancestors https:, frame-ancestors 'none'"),
            (&["frame-ancestors https://*"], "frame-ancestors https://*, frame-ancestors 'none'"),
            (&["frame-ancestors *:443"], "frame-ancestors *:443, frame-ancestors 'none'"),
            (
                &["frame-ancestors *; frame-ancestors 'self'"],
                "frame-ancestors *; frame-ancestors 'self', frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(policy(lines).as_deref(), Some(whole), "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_step_has_a_host_of_its_own(location in "[a-z:/?#@.%&=\\\\ -]{0,40}") {
            if redirected(303, &location) == Ok(Response::Step) {
                let place = location.split(['?', '#']).next().unwrap_or_default();
                prop_assert!(!place.starts_with("//") && !place.contains(['\\', ' ']), "{}", location);
                let first = place.split('/').next().unwrap_or_default();
                let scheme = first.split_once(':').map(|(scheme, _)| scheme.starts_with(|c: char| c.is_ascii_alphabetic()));
                prop_assert!(scheme != Some(true) || first.contains(['@', '%', '&', '=']), "{}", location);
            }
        }
    }
}
