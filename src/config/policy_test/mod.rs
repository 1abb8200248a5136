//! Files of policy tests: calls, and what the gateway has to decide on each of them.

mod written;

use std::collections::BTreeMap;
use std::path::Path;

use fapi::UnixTime;
use fapi::code::Code;
use fapi::participant::Role;
use fapi::route::Origins;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::written::{CertificateEntry, Entry, Given, Request, entries};
use super::error::{ConfigErrors, KeyPath, nearest, quoted};
use super::report::Report;
use crate::config::watch::Files;
use crate::consents::GivenConsent;

/// One call, and what the gateway has to decide on it.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    /// What it shows, for people.
    pub name: String,
    /// The line of the file on which it begins.
    pub line: usize,
    /// When the call is made; `None` for now.
    pub at: Option<UnixTime>,
    /// The request.
    pub call: Call,
    /// Its token; `None` if it has none.
    pub token: Option<GivenToken>,
    /// Whether its client signs it, where the route looks at that.
    pub signed: bool,
    /// What whoever is asked about its consent says; `None` for a state in which that can be used.
    pub consent: Option<GivenConsent>,
    /// What a directory says of its client, where the route asks for that.
    pub participant: GivenParticipant,
    /// What its client's certificate says, where the route asks for that.
    pub certificate: GivenCertificate,
    /// What has to be decided.
    pub expected: Decision,
    /// What would be decided, if the route were not in shadow.
    pub would_deny: Option<Code>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Call {
    /// The entry of [`Known::origins`] that it is for.
    pub host: usize,
    /// The method.
    pub method: Method,
    /// The target as a client writes it, without the query: what proofs are made for.
    pub url: String,
    /// The target as it reaches the gateway: without the prefix that an outer proxy removes.
    pub uri: Uri,
    /// The header fields, but for the credentials.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Vec<u8>>,
}

/// An access token, as its issuer would make it.
#[derive(Clone, Debug)]
pub struct GivenToken {
    /// The entry of [`Known::issuers`] that makes it.
    pub issuer: usize,
    /// The claims that are not the usual ones.
    pub claims: Map<String, Value>,
    /// The usual claims that it does not have.
    pub without: Vec<String>,
    /// What it is bound to, and what is proven.
    pub binding: Binding,
}

/// What is said of the certificate of a client; what is not is as the route asks for it.
#[derive(Clone, Debug, Default)]
pub struct GivenCertificate {
    /// Its roles as a payment service provider.
    pub roles: Option<Vec<Role>>,
    /// Its `organizationIdentifier`.
    pub organisation: Option<String>,
    /// Its `UID`.
    pub software: Option<String>,
}

/// What a token is bound to, and what its sender proves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// The client's certificate.
    #[default]
    Certificate,
    /// The key of the client's proof.
    Dpop,
    /// Both.
    Both,
    /// A certificate other than the client's.
    AnotherCertificate,
    /// A key other than that of the client's proof.
    AnotherKey,
    /// A certificate, and the client has none.
    MissingCertificate,
    /// A key, and there is no proof.
    MissingProof,
    /// Nothing; the client has a certificate.
    None,
}

/// What directories say of whom a token names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenParticipant {
    /// It is active, with every role.
    #[default]
    Active,
    /// It is there, and not active.
    Inactive,
    /// It is active, without a role that a route names.
    WithoutRole,
    /// It is not there.
    Unknown,
}

/// What the gateway decides on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is forwarded.
    Permit,
    /// It is a preflight, which is granted.
    Preflight,
    /// It is answered with the metadata of a resource.
    Metadata,
    /// It is refused.
    Refuse(Code),
}

impl Decision {
    /// The text of `expect`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Preflight => "preflight",
            Self::Metadata => "metadata",
            Self::Refuse(code) => code.as_str(),
        }
    }

    fn all() -> impl Iterator<Item = Self> + Clone {
        [Self::Permit, Self::Preflight, Self::Metadata]
            .into_iter()
            .chain(Code::ALL.iter().map(|code| Self::Refuse(*code)))
    }
}

/// What of a configuration the tests may name.
pub struct Known<'c> {
    /// The names of the issuers.
    pub issuers: Vec<&'c str>,
    /// The origins of each virtual host.
    pub origins: Vec<&'c Origins>,
}

impl PolicyTest {
    /// Reads a file of tests.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every problem that was found.
    pub fn read(file: &Path, bytes: &[u8], known: &Known<'_>) -> Result<Vec<Self>, ConfigErrors> {
        let mut reader = Reader { report: Report::default(), known, calls: BTreeMap::new() };
        let tests = reader.tests(bytes);
        match reader.report.errors().is_empty() {
            true => Ok(tests),
            false => Err(ConfigErrors::new(file.to_owned(), reader.report.into_errors(), Files::default())),
        }
    }
}

struct Reader<'k> {
    report: Report,
    known: &'k Known<'k>,
    /// The calls of the tests so far, by the name of the test.
    calls: BTreeMap<String, Given>,
}

impl Reader<'_> {
    fn tests(&mut self, bytes: &[u8]) -> Vec<PolicyTest> {
        let root = KeyPath::default();
        let Some(entries) = entries(bytes, &mut self.report) else { return Vec::new() };
        if entries.is_empty() {
            self.report.empty(&root, EMPTY);
        }
        let places = (0..).map(|index| root.index(index));
        places.zip(entries).filter_map(|(at, entry)| self.test(&at, entry)).collect()
    }

    fn test(&mut self, at: &KeyPath, entry: Entry) -> Option<PolicyTest> {
        let Entry { name, like, given, expect, would_deny, at: time } = entry;
        let name = self.report.needed(&at.key("name"), name, "say in a few words what the test shows");
        let expected = self.report.needed(&at.key("expect"), expect, "write `permit`, or the code of the refusal");
        let expected = expected.and_then(|text| self.decision(&at.key("expect"), &text));
        let would_deny = match would_deny {
            None => Some(None),
            Some(code) => self.would_deny(&at.key("would_deny"), &code, expected).map(Some),
        };
        let time = match time {
            None => Some(None),
            Some(text) => self.time(&at.key("at"), &text).map(Some),
        };
        let given_at = at.key("given");
        self.refuse_contradictions(&given_at, given.as_ref());
        let given = match like {
            Some(like) => Some(self.like(&at.key("like"), &like)?.with(given.unwrap_or_default())),
            None => given,
        };
        let given = self.report.needed(&given_at, given, "write the call, with its `request`")?;
        if let Some(name) = &name
            && self.calls.insert(name.clone(), given.clone()).is_some()
        {
            self.report.problem(&at.key("name"), "a test before it has this name; choose another");
        }
        let Given { issuer, claims, without, binding, request, signed, consent, participant, certificate } = given;
        let participant = participant.unwrap_or_default();
        let consent = consent.as_deref().map(GivenConsent::read);
        let certificate = self.certificate(&given_at.key("certificate"), certificate.unwrap_or_default());
        let signed = signed.unwrap_or(true);
        let request = self.report.needed(&given_at.key("request"), request, "write `method` and `path`");
        let call = request.and_then(|request| self.call(&given_at.key("request"), request));
        let token = match claims {
            Some(claims) => self.token(&given_at, issuer, claims, without, binding).map(Some),
            None => {
                let surplus =
                    [("issuer", issuer.is_some()), ("without", without.is_some()), ("binding", binding.is_some())];
                for (key, _) in surplus.iter().filter(|(_, written)| *written) {
                    let problem = "there are no `claims`, so the call has no token; write `claims: {}` for a token with the usual ones";
                    self.report.problem(&given_at.key(key), problem);
                }
                Some(None)
            }
        };
        let line = self.report.error_to_come(at).line;
        let (name, expected, would_deny) = (name?, expected?, would_deny?);
        let (at, call, token, certificate) = (time?, call?, token?, certificate?);
        Some(PolicyTest {
            name,
            line,
            at,
            call,
            token,
            signed,
            consent,
            participant,
            certificate,
            expected,
            would_deny,
        })
    }

    /// The code with which a call that is permitted would have been refused.
    fn would_deny(&mut self, at: &KeyPath, text: &str, expected: Option<Decision>) -> Option<Code> {
        if expected.is_some_and(|expected| expected != Decision::Permit) {
            self.report
                .problem(at, "only a call that is permitted in shadow has it; write `expect: permit`, or remove it");
            return None;
        }
        match self.decision(at, text)? {
            Decision::Refuse(code) => Some(code),
            Decision::Permit | Decision::Preflight | Decision::Metadata => {
                self.report.problem(at, "expected a code of docs/reference/codes.md");
                None
            }
        }
    }

    /// The call of a test before this one.
    fn like(&mut self, at: &KeyPath, name: &str) -> Option<Given> {
        let found = self.calls.get(name).cloned();
        if found.is_none() {
            let way_out = match nearest(name, self.calls.keys().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "write the name of one".to_owned(),
            };
            self.report.problem(at, &format!("no test before this one is named `{name}`; {way_out}"));
        }
        found
    }

    fn refuse_contradictions(&mut self, at: &KeyPath, given: Option<&Given>) {
        let Some(Given { claims: Some(claims), without: Some(without), .. }) = given else { return };
        for (place, claim) in without.iter().enumerate().filter(|(_, claim)| claims.contains_key(*claim)) {
            let problem = format!("`{claim}` is in `claims` too; remove one of them");
            self.report.problem(&at.key("without").index(place), &problem);
        }
    }

    fn decision(&mut self, at: &KeyPath, text: &str) -> Option<Decision> {
        let found = Decision::all().find(|decision| decision.as_str() == text);
        if found.is_none() {
            let way_out = match nearest(text, Decision::all().map(Decision::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "write `permit`, `preflight`, `metadata`, or a code of docs/reference/codes.md".to_owned(),
            };
            self.report.problem(at, &format!("`{text}` is neither a decision nor a code; {way_out}"));
        }
        found
    }

    fn time(&mut self, at: &KeyPath, text: &str) -> Option<UnixTime> {
        let day = humantime::parse_rfc3339_weak(&format!("{text}T00:00:00Z"));
        let time = day.or_else(|_| humantime::parse_rfc3339_weak(text));
        let seconds = time.ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        if seconds.is_none() {
            let problem = "expected a time such as `2027-01-31T12:00:00Z`, or a day such as `2027-01-31`";
            self.report.problem(at, problem);
        }
        seconds.map(|seconds| UnixTime(seconds.as_secs()))
    }

    fn token(
        &mut self,
        at: &KeyPath,
        issuer: Option<String>,
        claims: Map<String, Value>,
        without: Option<Vec<String>>,
        binding: Option<Binding>,
    ) -> Option<GivenToken> {
        let known = &self.known.issuers;
        let index = match &issuer {
            Some(name) => known.iter().position(|known| known == name),
            None => (!known.is_empty()).then_some(0),
        };
        if index.is_none() {
            let names = quoted(known.iter().copied());
            let problem = match issuer {
                Some(name) => format!("no issuer is named `{name}`; the choices are {names}"),
                None => "the configuration has no issuer that could make the token; remove `claims`".to_owned(),
            };
            self.report.problem(&at.key("issuer"), &problem);
        }
        let (without, binding) = (without.unwrap_or_default(), binding.unwrap_or_default());
        Some(GivenToken { issuer: index?, claims, without, binding })
    }

    fn certificate(&mut self, at: &KeyPath, entry: CertificateEntry) -> Option<GivenCertificate> {
        let CertificateEntry { roles, organisation, software } = entry;
        let roles = match roles {
            None => Some(None),
            Some(names) => {
                let places = (0..).map(|index| at.key("roles").index(index));
                let roles: Vec<_> = places.zip(names).map(|(at, name)| self.role(&at, &name)).collect();
                roles.into_iter().collect::<Option<Vec<Role>>>().map(Some)
            }
        };
        Some(GivenCertificate { roles: roles?, organisation, software })
    }

    fn role(&mut self, at: &KeyPath, name: &str) -> Option<Role> {
        let found = Role::ALL.iter().copied().find(|role| role.as_str() == name);
        if found.is_none() {
            let names = quoted(Role::ALL.iter().map(|role| role.as_str()));
            self.report.problem(at, &format!("`{name}` is not a role; the choices are {names}"));
        }
        found
    }

    fn call(&mut self, at: &KeyPath, request: Request) -> Option<Call> {
        let Request { method, path, url, query, headers, body } = request;
        let method = self.report.needed(&at.key("method"), method, "write it in upper case, such as `GET`");
        let method = method.and_then(|text| {
            let method = Method::from_bytes(text.as_bytes()).ok();
            if method.is_none() {
                self.report.problem(&at.key("method"), "this is not a method; write one such as `GET`");
            }
            method
        });
        let target = match (path, url) {
            (Some(path), None) => self.path(&at.key("path"), &path, query.as_deref()),
            (None, Some(url)) => self.url(&at.key("url"), &url, query.as_deref()),
            (Some(_), Some(_)) => {
                self.report.problem(&at.key("url"), "there is a `path` too; remove one of them");
                None
            }
            (None, None) => {
                self.report
                    .problem(&at.key("path"), "the key is missing; write a path such as `/accounts/1`, or `url`");
                None
            }
        };
        let body = body.map(|body| match body {
            Value::String(text) => text.into_bytes(),
            json @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                json.to_string().into_bytes()
            }
        });
        let headers = self.headers(&at.key("headers"), headers.unwrap_or_default(), body.as_deref());
        let (host, url, uri) = target?;
        Some(Call { host, method: method?, url, uri, headers: headers?, body })
    }

    /// The target at the first origin.
    fn path(&mut self, at: &KeyPath, path: &str, query: Option<&str>) -> Option<(usize, String, Uri)> {
        if !path.starts_with('/') || path.contains(['?', '#']) {
            self.report.problem(at, "expected a path that begins with `/`, without a query, which is a key of its own");
            return None;
        }
        let Some(origin) = self.known.origins.first().and_then(|origins| origins.iter().next()) else {
            self.report.problem(at, "the configuration has no origin; write `url`");
            return None;
        };
        let (url, authority) = (format!("{}{path}", origin.as_str()), origin.authority().to_owned());
        Some((0, url, self.uri(at, &authority, path, query)?))
    }

    /// The target at the origin that it names; at the first host, if it is no origin's.
    fn url(&mut self, at: &KeyPath, url: &str, query: Option<&str>) -> Option<(usize, String, Uri)> {
        let parsed = url.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("https") && uri.query().is_none());
        let authority = parsed.as_ref().and_then(Uri::authority).filter(|authority| !authority.as_str().contains('@'));
        let (Some(uri), Some(authority)) = (&parsed, authority) else {
            self.report.problem(at, "expected `https://HOST/PATH`, without a query, which is a key of its own");
            return None;
        };
        let of =
            |origins: &&Origins| origins.find(&authority.host().to_ascii_lowercase(), authority.port_u16()).cloned();
        let found = self.known.origins.iter().enumerate().find_map(|(host, origins)| Some((host, of(origins)?)));
        let prefix = found.as_ref().map_or("", |(_, origin)| origin.prefix());
        let path = uri.path();
        let inner = path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let host = found.as_ref().map_or(0, |(host, _)| *host);
        Some((host, url.to_owned(), self.uri(at, authority.as_str(), inner, query)?))
    }

    fn uri(&mut self, at: &KeyPath, authority: &str, path: &str, query: Option<&str>) -> Option<Uri> {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let uri = format!("https://{authority}{path}{query}").parse().ok();
        if uri.is_none() {
            self.report.problem(at, "no client can send this; percent-encode spaces and the like");
        }
        uri
    }

    fn headers(&mut self, at: &KeyPath, fields: BTreeMap<String, String>, body: Option<&[u8]>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        let mut complete = true;
        for (name, value) in fields {
            match (HeaderName::try_from(&name), HeaderValue::try_from(&value)) {
                (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
                (Ok(_) | Err(_), _) => {
                    self.report.problem(&at.key(&name), "this is not a header field that a client can send");
                    complete = false;
                }
            }
        }
        if let Some(body) = body {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            headers.entry(header::CONTENT_LENGTH).or_insert(body.len().into());
        }
        complete.then_some(headers)
    }
}

const EMPTY: &str = "the file has no tests; docs/operate/policy-tests.md shows how to write one";
