//! `/decisions`: the last lines of the audit, so that the question why a request was refused has an answer at once.

use std::borrow::Cow;
use std::sync::Arc;

use fapi::text::percent_decoded;
use http::{Method, Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde_json::Value;

use super::{Admin, Entrance, JSON, TEXT, allow, plain};

/// Which decisions are asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Question<'q> {
    /// Members and the text that each has to be.
    pub(super) members: Vec<(&'static str, Cow<'q, str>)>,
    limit: Option<usize>,
}

/// Why a query asks for nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum QuestionError {
    #[error("the query may have limit, and one value of each of: {}", MEMBERS.join(", "))]
    Unknown,
    #[error("the query has {0} more than once; name it once")]
    Repeated(&'static str),
    #[error("the value of {0} cannot be decoded; write each byte that is not a letter or digit as in %2B")]
    Malformed(&'static str),
    #[error("limit is not a whole number")]
    Limit,
}

impl<'q> Question<'q> {
    /// Reads a query, of which each part is one question with one answer.
    fn of(query: &'q str) -> Result<Self, QuestionError> {
        let mut question = Self::default();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(QuestionError::Unknown)?;
            let name = percent_decoded(name).ok_or(QuestionError::Unknown)?;
            let is_known = |known: &&'static str| **known == *name;
            let name = MEMBERS.iter().chain([&LIMIT]).copied().find(is_known).ok_or(QuestionError::Unknown)?;
            let value = percent_decoded(value).ok_or(QuestionError::Malformed(name))?;
            let is_repeated = if name == LIMIT {
                question.limit.replace(value.parse().map_err(|_| QuestionError::Limit)?).is_some()
            } else {
                let is_repeated = question.members.iter().any(|(other, _)| *other == name);
                question.members.push((name, value));
                is_repeated
            };
            if is_repeated {
                return Err(QuestionError::Repeated(name));
            }
        }
        Ok(question)
    }

    pub(super) fn wants(&self, decision: &Value) -> bool {
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
        if let Err(refusal) = self.reader(session, &generation) {
            return plain(StatusCode::FORBIDDEN, TEXT, format!("{refusal}\n").into_bytes());
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
        let question = match Question::of(query) {
            Ok(question) => question,
            Err(error) => return plain(StatusCode::BAD_REQUEST, TEXT, format!("{error}\n").into_bytes()),
        };
        let limit = question.limit.unwrap_or(USUAL);
        let wanted = self.decisions().filter(|(decision, _)| question.wants(decision)).take(limit);
        let lines: Vec<_> = wanted.map(|(_, line)| line).collect();
        let lines: Vec<&[u8]> = lines.iter().map(|line| &line[..]).collect();
        plain(StatusCode::OK, JSON, [b"[", &lines.join(&b",\n"[..])[..], b"]\n"].concat())
    }

    /// The decisions, the last one first: the audit without the handshakes that failed.
    pub(super) fn decisions(&self) -> impl Iterator<Item = (Value, Arc<[u8]>)> {
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

const PATH: &str = "/decisions";
const LIMIT: &str = "limit";
/// What can be asked for beside one decision.
const MEMBERS: &[&str] = &[
    "route",
    "decision",
    "code",
    "step",
    "would_deny",
    "issuer",
    "client_id",
    "subject",
    "client_address",
    "token_id",
    "status",
];
/// How many decisions are shown if nobody says how many.
const USUAL: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_of_known_members() {
        let read = |query| Question::of(query).map(|question| (question.members, question.limit));
        assert_eq!(read(""), Ok((vec![], None)));
        assert_eq!(read("code=token_expired&limit=5"), Ok((vec![("code", "token_expired".into())], Some(5))));
        for query in ["code", "password=1", "code=a&x=b", "Code=a", "co%zze=a"] {
            assert_eq!(read(query), Err(QuestionError::Unknown), "{query}");
        }
        for query in ["limit=x", "limit=-1", "limit="] {
            assert_eq!(read(query), Err(QuestionError::Limit), "{query}");
        }
    }

    #[test]
    fn a_question_is_decoded_and_names_a_member_once() {
        let subject = |query| Question::of(query).map(|question| question.members);
        let is = |text: &'static str| Ok(vec![("subject", text.into())]);
        assert_eq!(subject("subject=anna"), is("anna")); // control
        assert_eq!(subject("subject=a%40b.example%26c"), is("a@b.example&c"));
        assert_eq!(subject("s%75bject=a%3Db=c"), is("a=b=c"));
        assert_eq!(subject("subject=a+b"), is("a+b"), "not a form");
        for query in ["subject=%", "subject=%4", "subject=%zz", "subject=%E9", "subject=%00"] {
            assert_eq!(subject(query), Err(QuestionError::Malformed("subject")), "{query}");
        }
        assert!(subject("subject=a&limit=1&status=200").is_ok()); // control
        for (query, name) in [
            ("limit=1&limit=2", "limit"),
            ("limit=1&limit=1", "limit"),
            ("subject=a&status=200&subject=b", "subject"),
            ("subject=a&s%75bject=a", "subject"),
        ] {
            assert_eq!(subject(query), Err(QuestionError::Repeated(name)), "{query}");
        }
    }
}
