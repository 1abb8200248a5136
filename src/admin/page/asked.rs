//! What a request for the page asks of it: which decisions and routes it shows, and whether it is refreshed.

use std::borrow::Cow;

use form_urlencoded::Serializer;

use crate::admin::decisions::Question;

/// What a request for the page asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked<'q> {
    /// Which decisions.
    pub(super) decisions: Question<'q>,
    /// A text that the routes have in their name or requirements.
    pub(super) routes: Cow<'q, str>,
    /// After how many seconds the browser asks again.
    pub(super) refresh: Option<u16>,
}

/// Why a query asks for nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskedError {
    #[error("the query of the page may have refresh, {ROUTES}, and one value of each of: {}", SEARCHED.join(", "))]
    Unknown,
    #[error("the query has {0} more than once; name it once")]
    Repeated(&'static str),
    #[error("the value of {0} is longer than any that there is")]
    TooLong(&'static str),
    #[error("refresh is not a number of seconds from 5 to 3600")]
    Refresh,
}

impl<'q> Asked<'q> {
    /// Reads a query as forms send it, in which a field may be empty.
    pub(super) fn of(query: &'q str) -> Result<Self, AskedError> {
        let mut asked = Self::default();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = SEARCHED.iter().chain([&ROUTES, &REFRESH]).copied().find(|known| **known == *name);
            let name = known.ok_or(AskedError::Unknown)?;
            if seen.contains(&name) {
                return Err(AskedError::Repeated(name));
            }
            seen.push(name);
            if value.len() > LONGEST {
                return Err(AskedError::TooLong(name));
            }
            let value = trimmed(value);
            match name {
                _ if value.is_empty() => {}
                REFRESH => {
                    let seconds = value.parse().ok().filter(|seconds| (5..=3600).contains(seconds));
                    asked.refresh = Some(seconds.ok_or(AskedError::Refresh)?);
                }
                ROUTES => asked.routes = value,
                member => asked.decisions.members.push((member, value)),
            }
        }
        Ok(asked)
    }

    /// What is asked of this member of decisions; empty if nothing is.
    pub(super) fn member(&self, name: &str) -> &str {
        let asked = self.decisions.members.iter().find(|(member, _)| *member == name);
        asked.map(|(_, value)| &**value).unwrap_or_default()
    }

    /// The address of the same page, with another refresh.
    pub(super) fn link(&self, refresh: Option<u16>) -> String {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(&self.decisions.members);
        if !self.routes.is_empty() {
            query.append_pair(ROUTES, &self.routes);
        }
        if let Some(seconds) = refresh {
            query.append_pair(REFRESH, &seconds.to_string());
        }
        let query = query.finish();
        if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
    }
}

/// A value as it was pasted, without the space around it.
fn trimmed(value: Cow<'_, str>) -> Cow<'_, str> {
    match value {
        Cow::Borrowed(value) => Cow::Borrowed(value.trim()),
        Cow::Owned(value) => Cow::Owned(value.trim().to_owned()),
    }
}

/// The members by which decisions are searched.
pub(super) const SEARCHED: [&str; 5] = ["interaction_id", "code", "client_id", "route", "decision"];

/// The name of the field that filters routes.
pub(super) const ROUTES: &str = "routes";

const REFRESH: &str = "refresh";

/// No member of a line is longer.
const LONGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_asks_for_what_its_fields_have() {
        assert_eq!(Asked::of(""), Ok(Asked::default()));
        assert_eq!(Asked::of("code=&client_id=&decision="), Ok(Asked::default()));
        let asked = Asked::of("interaction_id=+abc%20&client_id=a+b%2B&routes=%2Faccounts&refresh=10").unwrap();
        assert_eq!(
            (asked.member("interaction_id"), asked.member("client_id"), asked.member("code")),
            ("abc", "a b+", "")
        );
        assert_eq!((&*asked.routes, asked.refresh), ("/accounts", Some(10)));
        assert_eq!(asked.link(None), "/?interaction_id=abc&client_id=a+b%2B&routes=%2Faccounts");
        assert_eq!(Asked::of(asked.link(Some(10)).trim_start_matches("/?")).as_ref(), Ok(&asked));
        assert_eq!(Asked::default().link(None), "/");
    }

    #[test]
    fn what_no_form_sends_is_refused() {
        for (query, error) in [
            ("token=x", AskedError::Unknown),
            ("Code=x", AskedError::Unknown),
            ("code=a&code=b", AskedError::Repeated("code")),
            ("code=&code=", AskedError::Repeated("code")),
            ("refresh=4", AskedError::Refresh),
            ("refresh=3601", AskedError::Refresh),
            ("refresh=often", AskedError::Refresh),
        ] {
            assert_eq!(Asked::of(query), Err(error), "{query}");
        }
        let long = |count| format!("code={}", "a".repeat(count));
        assert!(Asked::of(&long(LONGEST)).is_ok()); // control
        assert_eq!(Asked::of(&long(LONGEST + 1)), Err(AskedError::TooLong("code")));
    }
}
