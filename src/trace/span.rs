//! What is recorded: spans with their attributes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use fapi::headers::{SpanId, TraceId};

/// The spans of one exchange.
#[derive(Debug)]
pub struct Record {
    /// The trace that they belong to.
    pub trace: TraceId,
    /// The spans; the exchange itself is the last.
    pub spans: Vec<Span>,
}

/// Something that took time.
#[derive(Debug)]
pub struct Span {
    /// Its id.
    pub id: SpanId,
    /// The span that it is a part of.
    pub parent: Option<SpanId>,
    /// Whether that is another's.
    pub parent_is_remote: bool,
    /// What it is called; one of few names.
    pub name: Cow<'static, str>,
    /// Which side of a call it is.
    pub kind: Kind,
    /// When it began, since 1970.
    pub began: Duration,
    /// When it ended, since 1970.
    pub ended: Duration,
    /// What is known of it, by names of [`names`](super::names), each once.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed.
    pub failed: bool,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None: work of the gateway's own.
    Internal,
    /// A request that was received.
    Server,
    /// A request that was sent.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One of few words.
    Word(&'static str),
    /// A text from the configuration, or that was judged to be harmless.
    Text(Arc<str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
