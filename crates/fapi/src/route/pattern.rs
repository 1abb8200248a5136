//! The paths that a route matches, in the syntax of the configuration.

use super::path::CanonicalPath;

/// A pattern for paths: literal segments, `*` for exactly one segment, `{name}` for one that requirements know by this
/// name, and `**` at the end for the rest, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    rest: bool,
    variables: Box<[Variable]>,
}

/// A segment with a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Variable {
    name: Box<str>,
    /// The index of the segment.
    index: usize,
}

impl Pattern {
    /// Reads a pattern such as `/accounts/*/balances`, `/accounts/{account_id}` or `/accounts/**`.
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
        let mut variables: Vec<Variable> = Vec::new();
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
                _ if segment.starts_with(['<', ':']) => {
                    return Err(PatternError::Placeholder { text: text.into(), segment: segment.into() });
                }
                _ if segment.contains(['{', '}']) => {
                    let name = variable_name(segment)
                        .ok_or_else(|| PatternError::Variable { text: text.into(), segment: segment.into() })?;
                    if variables.iter().any(|other| *other.name == *name) {
                        return Err(PatternError::VariableTwice { text: text.into(), name: name.into() });
                    }
                    variables.push(Variable { name: name.into(), index: segments.len() });
                    segments.push(Segment::Any);
                }
                _ if segment.contains('*') => return Err(PatternError::PartialWildcard { text: text.into() }),
                _ if segment.contains('%') => return Err(PatternError::Escape { text: text.into() }),
                _ => segments.push(Segment::Literal(segment.into())),
            }
        }
        let literals = text.split('/').map(|segment| if segment.starts_with('{') { "*" } else { segment });
        let literals = literals.collect::<Vec<_>>().join("/");
        CanonicalPath::read(&literals).map_err(|why| PatternError::Ambiguous { text: text.into(), why })?;
        Ok(Self { text: text.into(), segments: segments.into(), rest, variables: variables.into() })
    }

    /// The index of the segment with this name, for [`Target::segment`](super::Target::segment).
    pub fn variable(&self, name: &str) -> Option<usize> {
        self.variables.iter().find(|variable| *variable.name == *name).map(|variable| variable.index)
    }

    /// The names of its segments, from left to right.
    pub fn variables(&self) -> impl Iterator<Item = &str> + Clone {
        self.variables.iter().map(|variable| &*variable.name)
    }

    /// Its literal segments, from left to right.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(literal) => Some(&**literal),
            Segment::Any => None,
        })
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
    #[error(
        "{text:?} has the placeholder {segment:?}; write \"*\" for one segment, whatever it is, or its name in braces, such as \"{{id}}\""
    )]
    Placeholder {
        /// The text as it was written.
        text: Box<str>,
        /// The segment.
        segment: Box<str>,
    },
    /// A name in braces that is none, or not a whole segment.
    #[error(
        "{text:?} has the segment {segment:?}, which is not a variable; write a name in braces, such as \"{{id}}\": one letter, then letters, digits, \"_\" and \"-\", 64 at most"
    )]
    Variable {
        /// The text as it was written.
        text: Box<str>,
        /// The segment.
        segment: Box<str>,
    },
    /// Two segments with one name.
    #[error("{text:?} has two segments named {name:?}; choose another name for one of them")]
    VariableTwice {
        /// The text as it was written.
        text: Box<str>,
        /// The name.
        name: Box<str>,
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
    /// `*`, or a variable: the name makes no difference to what is matched.
    Any,
}

/// The name of a segment such as `{account_id}`.
fn variable_name(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && name.len() <= 64;
    is_name.then_some(name)
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
        for text in
            ["/", "/a", "/a/b.c/*", "/**", "/*", "/a/*/b/**", "/.well-known/x", "/a:b@c", "/{a}", "/a/{b-c}/{B_1}/**"]
        {
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
            (
                "/<id>",
                "\"/<id>\" has the placeholder \"<id>\"; write \"*\" for one segment, whatever it is, or its name in braces, such as \"{id}\"",
            ),
            (
                "/a/{1}",
                "\"/a/{1}\" has the segment \"{1}\", which is not a variable; write a name in braces, such as \"{id}\": one letter, then letters, digits, \"_\" and \"-\", 64 at most",
            ),
            ("/{id}/b/{id}", "\"/{id}/b/{id}\" has two segments named \"id\"; choose another name for one of them"),
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
        let long = format!("/{{{}}}", "a".repeat(64));
        assert!(Pattern::parse(&long).is_ok()); // control
        for text in
            ["/{", "/}", "/{}", "/{a", "/a}", "/a{b}", "/{a}b", "/{{a}}", "/{é}", "/{a b}", "/{a.b}", "/{-a}", "/{*}"]
                .map(str::to_owned)
                .into_iter()
                .chain([long.replace("a}", "aa}")])
        {
            assert!(matches!(Pattern::parse(&text), Err(PatternError::Variable { .. })), "{text}");
        }
        for text in ["/a b", "/é", "/a;b", "/a#b", "/a?b", "/a\\b", "/a."] {
            assert!(matches!(Pattern::parse(text), Err(PatternError::Ambiguous { .. })), "{text}");
        }
    }

    #[test]
    fn a_variable_is_known_by_its_name_and_its_place() {
        let pattern = Pattern::parse("/a/{first}/*/{second}/**").unwrap();
        assert_eq!(pattern.variables().collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!(
            ["first", "second", "First", "a"].map(|name| pattern.variable(name)),
            [Some(1), Some(3), None, None]
        );
        assert_eq!(Pattern::parse("/a/*").unwrap().variables().count(), 0);
    }
}
