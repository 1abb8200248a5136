//! `/decisions`: the last lines of the audit, so that the question why a request was refused has an answer at once.

use std::net::IpAddr;
use std::sync::Arc;

use http::uri::Authority;
use http::{Method, Response, StatusCode, header};
use pingora::protocols::http::ServerSession;
use serde_json::Value;

use super::{Admin, Entrance, JSON, TEXT, UNAUTHENTICATED, allow, plain};

/// Which decisions are asked for.
#[derive(Debug, PartialEq, Eq)]
struct Question<'q> {
    /// Members and the text that each has to be.
    members: Vec<(&'q str, &'q str)>,
    limit: usize,
}

impl<'q> Question<'q> {
    /// Reads a query; `None` if it has anything that cannot be asked for.
    fn of(query: &'q str) -> Option<Self> {
        let mut question = Self { members: Vec::new(), limit: USUAL };
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=')? {
                ("limit", number) => question.limit = number.parse().ok()?,
                (name, text) if MEMBERS.contains(&name) => question.members.push((name, text)),
                _ => return None,
            }
        }
        Some(question)
    }

    fn wants(&self, decision: &Value) -> bool {
        self.members.iter().all(|(name, text)| match &decision[name] {
            Value::String(found) => found == text,
            Value::Number(found) => found.to_string() == *text,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        })
    }
}

impl Admin {
    /// Handles a request to `/decisions`, or to one below it.
    pub(super) fn serve_decisions(&self, session: &ServerSession) -> Response<Vec<u8>> {
        let generation = self.generation.load_full();
        if self.entrance == Entrance::Network || generation.decisions == 0 {
            return plain(StatusCode::NOT_FOUND, TEXT, Vec::new());
        }
        let request = session.req_header();
        if request.method != Method::GET {
            let why = b"the method of this path is GET\n";
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, why.to_vec());
            allow("GET", &mut response);
            return response;
        }
        // A page whose name leads to this machine could read it otherwise.
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if request.headers.contains_key(header::ORIGIN) || (self.entrance == Entrance::Loopback && !is_local(host)) {
            let why = b"the request is a browser's, or its Host is neither localhost nor an address\n";
            return plain(StatusCode::FORBIDDEN, TEXT, why.to_vec());
        }
        if !self.entrance.admits(session, &generation, self.clock.unix_time()) {
            return plain(StatusCode::FORBIDDEN, TEXT, format!("{UNAUTHENTICATED}\n").into_bytes());
        }
        let below = below_decisions(request.uri.path()).unwrap_or_default();
        match below.strip_prefix('/').filter(|id| !id.is_empty()) {
            Some(id) => self.one(id),
            None => self.several(request.uri.query().unwrap_or_default()),
        }
    }

    fn one(&self, id: &str) -> Response<Vec<u8>> {
        let found = self.decisions().find(|(decision, _)| decision["interaction_id"] == id);
        match found {
            Some((_, line)) => plain(StatusCode::OK, JSON, [&line[..], b"\n"].concat()),
            None => {
                let why = b"none of the decisions that are kept has this interaction ID; the audit may have it\n";
                plain(StatusCode::NOT_FOUND, TEXT, why.to_vec())
            }
        }
    }

    fn several(&self, query: &str) -> Response<Vec<u8>> {
        let Some(question) = Question::of(query) else {
            let why = format!("the query may have limit, and one value of each of: {}\n", MEMBERS.join(", "));
            return plain(StatusCode::BAD_REQUEST, TEXT, why.into_bytes());
        };
        let wanted = self.decisions().filter(|(decision, _)| question.wants(decision)).take(question.limit);
        let lines: Vec<_> = wanted.map(|(_, line)| line).collect();
        let lines: Vec<&[u8]> = lines.iter().map(|line| &line[..]).collect();
        plain(StatusCode::OK, JSON, [b"[", &lines.join(&b",\n"[..])[..], b"]\n"].concat())
    }

    /// The decisions, the last one first: the audit without the handshakes that failed.
    fn decisions(&self) -> impl Iterator<Item = (Value, Arc<[u8]>)> {
        let lines = self.recent.lines().into_iter();
        lines
            .filter_map(|line| Some((serde_json::from_slice::<Value>(&line).ok()?, line)))
            .filter(|(value, _)| value.get("decision").is_some())
    }
}

/// What comes after the path of decisions: nothing, or a slash and an interaction ID.
pub(super) fn below_decisions(path: &str) -> Option<&str> {
    path.strip_prefix(PATH).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a Host names this machine without a name that others could make lead to it.
fn is_local(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

const PATH: &str = "/decisions";
/// What can be asked for beside one decision.
const MEMBERS: &[&str] =
    &["route", "decision", "code", "issuer", "client_id", "subject", "client_address", "token_id", "status"];
/// How many decisions are shown if nobody says how many.
const USUAL: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_of_known_members() {
        let read = |query| Question::of(query).map(|question| (question.members, question.limit));
        assert_eq!(read(""), Some((vec![], USUAL)));
        assert_eq!(read("code=token_expired&limit=5"), Some((vec![("code", "token_expired")], 5)));
        for query in ["limit=x", "limit=-1", "code", "password=1", "code=a&x=b"] {
            assert_eq!(read(query), None, "{query}");
        }
    }

    #[test]
    fn a_host_is_local_by_address_or_as_localhost() {
        for host in ["localhost", "LOCALHOST:9464", "127.0.0.1:9464", "[::1]:9464", "10.0.0.1"] {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["", "attacker.example", "attacker.example:9464", "localhost.attacker.example", "127.0.0.1.nip.example"]
        {
            assert!(!is_local(host), "{host}");
        }
    }
}
