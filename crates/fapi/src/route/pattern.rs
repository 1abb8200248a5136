//! The paths that a route matches, in the syntax of the configuration.

use super::path::CanonicalPath;

/// A pattern for paths: literal segments, `*` for exactly one segment, and `**` at the end for the rest, which may be
/// empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    rest: bool,
}

impl Pattern {
    /// Reads a pattern such as `/accounts/*/balances` or `/accounts/**`.
    ///
    /// Literals follow the rules for paths of requests, so that each pattern can be reached.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let Some(body) = text.strip_prefix('/') else {
            return Err(PatternError::NoSlash { text: text.into() });
        };
        let mut segments = Vec::new();
        let mut rest = false;
        for segment in body.split('/').filter(|_| !body.is_empty()) {
            if rest {
                return Err(PatternError::RestNotLast { text: text.into() });
            }
            match segment {
                "**" => rest = true,
                "*" => segments.push(Segment::Any),
                "" if body.ends_with('/') && !text.contains("//") => {
                    return Err(PatternError::TrailingSlash { text: text.into() });
                }
                "" => return Err(PatternError::EmptySegment { text: text.into() }),
                _ if segment.starts_with(['{', '<', ':']) => {
                    return Err(PatternError::Placeholder { text: text.into(), segment: segment.into() });
                }
                _ if segment.contains('*') => return Err(PatternError::PartialWildcard { text: text.into() }),
                _ if segment.contains('%') => return Err(PatternError::Escape { text: text.into() }),
                _ => segments.push(Segment::Literal(segment.into())),
            }
        }
        CanonicalPath::read(text).map_err(|why| PatternError::Ambiguous { text: text.into(), why })?;
        Ok(Self { text: text.into(), segments: segments.into(), rest })
    }

    /// Its segments, without the `**` at the end.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it ends in `**`.
    pub(super) const fn has_rest(&self) -> bool {
        self.rest
    }

    /// Whether a path that it matches can begin with these segments.
    pub(crate) fn leads_to(&self, beginning: &[&str]) -> bool {
        let fits = |(segment, wanted): (&Segment, &&str)| match segment {
            Segment::Literal(literal) => **literal == **wanted,
            Segment::Any => true,
        };
        (self.rest || self.segments.len() >= beginning.len()) && self.segments.iter().zip(beginning).all(fits)
    }

    /// Whether every path that it matches begins with these segments, if it begins with the first `known` of them.
    pub(crate) fn leads_only_to(&self, beginning: &[&str], known: usize) -> bool {
        let is = |place, wanted: &str| matches!(self.segments.get(place), Some(Segment::Literal(literal)) if **literal == *wanted);
        beginning.iter().enumerate().skip(known).all(|(place, wanted)| is(place, wanted))
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It does not begin with a slash.
    #[error("{text:?} does not begin with a slash; put one in front")]
    NoSlash {
        /// The text as it was written.
        text: Box<str>,
    },
    /// It ends in a slash.
    #[error("{text:?} ends in a slash; leave it out, a request may have it or not")]
    TrailingSlash {
        /// The text as it was written.
        text: Box<str>,
    },
    /// Two slashes in a row.
    #[error("{text:?} has an empty segment, which no request may have; write one slash between segments")]
    EmptySegment {
        /// The text as it was written.
        text: Box<str>,
    },
    /// A named placeholder, as other products write it.
    #[error("{text:?} has the placeholder {segment:?}; write \"*\" for one segment, whatever it is")]
    Placeholder {
        /// The text as it was written.
        text: Box<str>,
        /// The segment.
        segment: Box<str>,
    },
    /// `*` or `**` next to other characters in a segment.
    #[error("{text:?} has \"*\" inside a segment; \"*\" stands for one whole segment, \"**\" at the end for the rest")]
    PartialWildcard {
        /// The text as it was written.
        text: Box<str>,
    },
    /// `**` before the end.
    #[error("{text:?} continues after \"**\"; write \"*\" for each single segment, \"**\" only at the end")]
    RestNotLast {
        /// The text as it was written.
        text: Box<str>,
    },
    /// A percent-encoded literal.
    #[error(
        "{text:?} has a percent-encoding; write the character itself, or \"*\" where a path cannot have it unencoded"
    )]
    Escape {
        /// The text as it was written.
        text: Box<str>,
    },
    /// A literal that no request may have.
    #[error("{text:?} can be read in more than one way: {why}; write the path that the upstream will see")]
    Ambiguous {
        /// The text as it was written.
        text: Box<str>,
        /// What the other reading comes from.
        why: &'static str,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    Literal(Box<str>),
    Any,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_leads_to_beginnings_and_to_some_alone() {
        for (pattern, beginning, leads, only) in [
            ("/accounts/**", &["accounts"][..], true, true),
            ("/accounts/*", &["accounts"], true, true),
            ("/accounts", &["accounts"], true, true),
            ("/accounts", &["accounts", "1"], false, false),
            ("/accounts/**", &["accounts", "1"], true, false),
            ("/accounts/*", &["accounts", "1"], true, false),
            ("/accounts/**", &["payments"], false, false),
            ("/*/1", &["accounts"], true, false),
            ("/*/1", &["accounts", "2"], false, false),
            ("/**", &["accounts"], true, false),
            ("/**", &[], true, true),
            ("/", &[], true, true),
            ("/", &["accounts"], false, false),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!((parsed.leads_to(beginning), parsed.leads_only_to(beginning, 0)), (leads, only), "{pattern}");
        }
        // Of the paths that begin with `accounts`.
        let only = |pattern, beginning: &[&str]| Pattern::parse(pattern).unwrap().leads_only_to(beginning, 1);
        assert!(only("/*/1", &["accounts", "1"]) && !only("/*/*", &["accounts", "1"]));
    }

    #[test]
    fn pattern_is_refused_with_the_way_out() {
        for text in ["/", "/a", "/a/b.c/*", "/**", "/*", "/a/*/b/**", "/.well-known/x", "/a:b@c"] {
            assert_eq!(Pattern::parse(text).unwrap().as_str(), text); // control
        }
        let cases = [
            ("a", "\"a\" does not begin with a slash; put one in front"),
            ("", "\"\" does not begin with a slash; put one in front"),
            ("/a/", "\"/a/\" ends in a slash; leave it out, a request may have it or not"),
            ("/a/*/", "\"/a/*/\" ends in a slash; leave it out, a request may have it or not"),
            ("/a//b", "\"/a//b\" has an empty segment, which no request may have; write one slash between segments"),
            ("//", "\"//\" has an empty segment, which no request may have; write one slash between segments"),
            (
                "/a*",
                "\"/a*\" has \"*\" inside a segment; \"*\" stands for one whole segment, \"**\" at the end for the rest",
            ),
            (
                "/***",
                "\"/***\" has \"*\" inside a segment; \"*\" stands for one whole segment, \"**\" at the end for the rest",
            ),
            ("/a/{id}/b", "\"/a/{id}/b\" has the placeholder \"{id}\"; write \"*\" for one segment, whatever it is"),
            ("/<id>", "\"/<id>\" has the placeholder \"<id>\"; write \"*\" for one segment, whatever it is"),
            ("/**/a", "\"/**/a\" continues after \"**\"; write \"*\" for each single segment, \"**\" only at the end"),
            (
                "/a%20b",
                "\"/a%20b\" has a percent-encoding; write the character itself, or \"*\" where a path cannot have it unencoded",
            ),
            (
                "/a/../b",
                "\"/a/../b\" can be read in more than one way: a segment is, or ends in, a dot; write the path that the upstream will see",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(Pattern::parse(text).unwrap_err().to_string(), message);
        }
        for text in ["/a b", "/é", "/a;b", "/a#b", "/a?b", "/a\\b", "/a."] {
            assert!(matches!(Pattern::parse(text), Err(PatternError::Ambiguous { .. })), "{text}");
        }
    }
}
