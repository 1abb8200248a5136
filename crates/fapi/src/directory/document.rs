//! What documents of directories are made of: values of which only some count, and lists of which only what counts is kept.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::facts::{Full, MAX_ENTRIES, Standing};
use crate::text::printable;

/// The largest document that is read. That of Open Finance Brasil has more than 10 MiB, most of it about authorization servers.
pub const MAX_DOCUMENT_BYTES: usize = 32 * 1024 * 1024;

/// Why a document is no directory; contains nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADirectory {
    /// Too many bytes.
    #[error("the document has more than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or a member that is needed has another form.
    #[error("the document is not a directory of this kind: {what} at line {line}, column {column}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Too many organisations, or too much software.
    #[error("the document names more than {MAX_ENTRIES} organisations, or as much software")]
    TooMany,
    /// It says that there is more elsewhere.
    #[error(
        "the document is a part of the directory: it says that there is more; have the directory send all of it at once"
    )]
    Partial,
    /// Nobody is in it.
    #[error("the document names no organisation")]
    Empty,
}

impl From<Full> for NotADirectory {
    fn from(_: Full) -> Self {
        Self::TooMany
    }
}

impl From<serde_json::Error> for NotADirectory {
    fn from(error: serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Data => "a member has another form, appears twice or is too long",
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Io | serde_json::error::Category::Syntax => "it is not JSON",
        };
        Self::Malformed { what, line: error.line(), column: error.column() }
    }
}

/// A value of which only a text or `true` counts; anything else is the same as nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Word {
    Text(Box<str>),
    True,
    #[default]
    Nothing,
}

impl Word {
    /// The id that it is. Nobody has an empty one, or one that is longer than any directory's.
    pub(super) fn id(self) -> Option<Box<str>> {
        match self {
            Self::Text(text) if !text.is_empty() && text.len() <= LONGEST_ID => Some(text),
            Self::Text(_) | Self::True | Self::Nothing => None,
        }
    }

    /// Whether it is exactly this text.
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self, Self::Text(own) if **own == *text)
    }

    /// Active, if it is exactly this text.
    pub(super) fn standing(&self, active: &str) -> Standing {
        match self {
            _ if self.is(active) => Standing::Active,
            Self::Text(text) => Standing::Inactive(printable(text)),
            Self::True | Self::Nothing => Standing::Inactive("of no status".into()),
        }
    }
}

/// More than any id of a directory has; they are UUIDs, or about as long.
const LONGEST_ID: usize = 256;

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
                Ok(Word::Text(text.into()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Word, E> {
                Ok(if value { Word::True } else { Word::Nothing })
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Word, E> {
                Ok(Word::Nothing)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Word, E> {
                Ok(Word::Nothing)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Word, E> {
                Ok(Word::Nothing)
            }

            fn visit_unit<E: Error>(self) -> Result<Word, E> {
                Ok(Word::Nothing)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Word, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Word::Nothing)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Word, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Word::Nothing)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// An element of a list, of which something is kept, or nothing.
pub(super) trait Element: for<'de> Deserialize<'de> {
    type Kept;

    fn kept(self) -> Option<Self::Kept>;
}

/// A list of which what counts is kept; an absent one is empty, and so is null. What does not count takes no memory, since a list may
/// have as many elements as the document has room for.
pub(super) struct Kept<E: Element>(pub(super) Vec<E::Kept>);

impl<E: Element> Default for Kept<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, E: Element> Deserialize<'de> for Kept<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<E>(PhantomData<E>);

        impl<'de, E: Element> Visitor<'de> for List<E> {
            type Value = Kept<E>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<N: Error>(self) -> Result<Kept<E>, N> {
                Ok(Kept::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kept<E>, A::Error> {
                let mut kept = Vec::new();
                while let Some(element) = list.next_element::<E>()? {
                    if kept.len() > MAX_ENTRIES {
                        return Err(A::Error::custom("the list is too long"));
                    }
                    kept.extend(element.kept());
                }
                Ok(Kept(kept))
            }
        }

        deserializer.deserialize_any(List(PhantomData))
    }
}

/// A name in a list of names.
impl Element for Word {
    type Kept = Box<str>;

    fn kept(self) -> Option<Box<str>> {
        self.id()
    }
}
