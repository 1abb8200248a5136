//! The trace that a request belongs to, and which part of it is its parent (W3C Trace Context).

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue};

use crate::text::sole_value;

/// The trace a request belongs to, as `traceparent` has it (W3C Trace Context §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Of version 00, so that each part has its place.
    traceparent: HeaderValue,
    continued: bool,
}

/// The id of a trace, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of a span in a trace, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl SpanId {
    /// An id of random bytes.
    pub fn from_random(bytes: [u8; 8]) -> Self {
        Self(nonzero(bytes))
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl TraceContext {
    /// Continues the client's trace, if it sent a well-formed one.
    pub fn from_request(headers: &HeaderMap) -> Option<Self> {
        let value = sole_value(headers, "traceparent")?;
        let text = value.to_str().ok()?;
        let parts = Parts::of(text)?;
        if parts.version == "00" {
            return (text.len() == LENGTH).then(|| Self { traceparent: value.clone(), continued: true });
        }
        // §3.2.4: "If a higher version is detected, the implementation SHOULD try to parse it", and write "the highest version of
        // the specification known to the implementation".
        let flags = parts.flags & (SAMPLED | RANDOM);
        let text = format!("00-{}-{}-{flags:02x}", parts.trace_id, parts.parent_id);
        Some(Self { traceparent: HeaderValue::try_from(text).ok()?, continued: true })
    }

    /// Starts a trace that is not sampled, with 16 random bytes for its id and 8 for the parent id.
    pub fn start(random: [u8; 24]) -> Self {
        let (trace_id, parent_id) = random.split_at(16);
        let trace_id: [u8; 16] = trace_id.try_into().unwrap_or_default();
        let parent_id = SpanId::from_random(parent_id.try_into().unwrap_or_default());
        Self { traceparent: written(&HEXLOWER.encode(&nonzero(trace_id)), parent_id, 0), continued: false }
    }

    /// The same trace with this span of it as the parent of what follows, and whether what follows is sampled.
    ///
    /// §3.2.2.5.1: the flag "can only be mutated when parent-id is updated".
    #[must_use]
    pub fn through(&self, span: SpanId, sampled: bool) -> Self {
        let flags = (self.flags() & RANDOM) | if sampled { SAMPLED } else { 0 };
        Self { traceparent: written(self.trace_id(), span, flags), continued: self.continued }
    }

    /// Whether it continues the client's trace.
    pub const fn is_continued(&self) -> bool {
        self.continued
    }

    /// Whether the parent may have been recorded, as it says itself.
    pub fn is_sampled(&self) -> bool {
        self.flags() & SAMPLED != 0
    }

    /// The trace id: 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.text().get(TRACE_ID).unwrap_or_default()
    }

    /// The trace id.
    pub fn id(&self) -> TraceId {
        TraceId(decoded(self.trace_id()))
    }

    /// The client's span, if the trace continues the client's.
    pub fn parent(&self) -> Option<SpanId> {
        self.continued.then(|| SpanId(decoded(self.text().get(PARENT_ID).unwrap_or_default())))
    }

    pub(super) const fn header_value(&self) -> &HeaderValue {
        &self.traceparent
    }

    fn flags(&self) -> u8 {
        self.text().get(FLAGS).and_then(|flags| u8::from_str_radix(flags, 16).ok()).unwrap_or(0)
    }

    fn text(&self) -> &str {
        self.traceparent.to_str().unwrap_or_default()
    }
}

/// The parts of a well-formed `traceparent` of version 00 or a later one.
struct Parts<'t> {
    version: &'t str,
    trace_id: &'t str,
    parent_id: &'t str,
    flags: u8,
}

impl<'t> Parts<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let hex = |part: &&str| part.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        let nonzero = |part: &&str| part.bytes().any(|b| b != b'0');
        let [first, second, third] = [2, 35, 52].map(|at| text.get(at..=at) == Some("-"));
        // §3.2.4: "the 2 characters are either at the end of the string or followed by a dash".
        let ends = matches!(text.get(LENGTH..=LENGTH), None | Some("-"));
        if !(first && second && third && ends) {
            return None;
        }
        let version = text.get(VERSION).filter(hex).filter(|version| *version != "ff")?;
        let trace_id = text.get(TRACE_ID).filter(hex).filter(nonzero)?;
        let parent_id = text.get(PARENT_ID).filter(hex).filter(nonzero)?;
        let flags = text.get(FLAGS).filter(hex)?;
        Some(Self { version, trace_id, parent_id, flags: u8::from_str_radix(flags, 16).ok()? })
    }
}

fn written(trace_id: &str, parent: SpanId, flags: u8) -> HeaderValue {
    let mut text = String::with_capacity(LENGTH);
    text.push_str("00-");
    text.push_str(trace_id);
    text.push('-');
    HEXLOWER.encode_append(parent.as_bytes(), &mut text);
    text.push('-');
    HEXLOWER.encode_append(&[flags], &mut text);
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Bytes that are not all zero, which would be no id.
fn nonzero<const LENGTH: usize>(mut bytes: [u8; LENGTH]) -> [u8; LENGTH] {
    if bytes.iter().all(|byte| *byte == 0)
        && let Some(last) = bytes.last_mut()
    {
        *last = 1;
    }
    bytes
}

/// The bytes of hexadecimal digits that were found well-formed.
fn decoded<const LENGTH: usize>(digits: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    // An error means another length, which no well-formed id has.
    let _ = HEXLOWER.decode_mut(digits.as_bytes(), &mut bytes);
    nonzero(bytes)
}

/// The length of a `traceparent` of version 00, and where its parts are.
const LENGTH: usize = 55;
const VERSION: std::ops::Range<usize> = 0..2;
const TRACE_ID: std::ops::Range<usize> = 3..35;
const PARENT_ID: std::ops::Range<usize> = 36..52;
const FLAGS: std::ops::Range<usize> = 53..LENGTH;

/// The flag of §3.2.2.5.1: the caller may have recorded the trace.
const SAMPLED: u8 = 0x01;
/// The flag of Level 2: the id of the trace is random.
const RANDOM: u8 = 0x02;

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn continued(text: &str) -> Option<TraceContext> {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("traceparent"), text.parse().ok()?)]);
        TraceContext::from_request(&headers)
    }

    fn header(trace: &TraceContext) -> &str {
        trace.header_value().to_str().unwrap()
    }

    #[test]
    fn a_traceparent_is_continued_only_when_well_formed() {
        let trace = continued(GOOD).unwrap(); // control
        assert_eq!((trace.trace_id(), header(&trace)), ("0af7651916cd43dd8448eb211c80319c", GOOD));
        assert!(trace.is_sampled() && trace.is_continued());
        assert_eq!(trace.parent().unwrap().as_bytes(), &[0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!(trace.id().as_bytes()[..3], [0x0a, 0xf7, 0x65]);
        for bad in [
            GOOD.replace("00-0a", "ff-0a"),
            GOOD.replace("00-0a", "0-0a"),
            GOOD.replace("00-0a", "0x-0a"),
            GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            GOOD.replace("-b7ad", "_b7ad"),
            GOOD.replace("-01", "-0g"),
            GOOD.replace("-01", "-1"),
            GOOD.replace("-01", "-001"),
            GOOD.to_uppercase(),
            format!("{GOOD}-x"),
            format!("{GOOD}x"),
            format!(" {GOOD}"),
            String::new(),
        ] {
            assert_eq!(continued(&bad), None, "{bad}");
        }
        let mut twice = HeaderMap::new();
        twice.append("traceparent", GOOD.parse().unwrap());
        assert!(TraceContext::from_request(&twice).is_some(), "control");
        twice.append("traceparent", GOOD.parse().unwrap());
        assert_eq!(TraceContext::from_request(&twice), None);
    }

    #[test]
    fn a_later_version_is_continued_as_far_as_it_is_known() {
        for later in [GOOD.replace("00-0a", "01-0a"), format!("{}-more-of-it", GOOD.replace("00-0a", "cc-0a"))] {
            assert_eq!(continued(&later).as_ref().map(header), Some(GOOD), "{later}");
        }
        let flags = continued(&GOOD.replace("00-0a", "01-0a").replace("-01", "-fe")).unwrap();
        assert_eq!((header(&flags).get(53..), flags.is_sampled()), (Some("02"), false));
        assert_eq!(continued(&format!("{}+", GOOD.replace("00-0a", "01-0a"))), None);
    }

    #[test]
    fn what_follows_has_the_given_span_as_its_parent_in_the_same_trace() {
        let span = SpanId::from_random([9; 8]);
        let received = continued(&GOOD.replace("-01", "-03")).unwrap();
        let (sampled, not) = (received.through(span, true), received.through(span, false));
        assert_eq!(header(&sampled), "00-0af7651916cd43dd8448eb211c80319c-0909090909090909-03");
        assert_eq!(header(&not), "00-0af7651916cd43dd8448eb211c80319c-0909090909090909-02");
        assert!(not.is_continued() && !not.is_sampled());
        let own = TraceContext::start([7; 24]);
        assert_eq!((own.parent(), own.is_sampled()), (None, false));
        assert_eq!(header(&own.through(span, true)), "00-07070707070707070707070707070707-0909090909090909-01");
    }

    #[test]
    fn an_id_is_never_zero_even_if_nothing_is_random() {
        let trace = TraceContext::start([0; 24]);
        assert_eq!(continued(header(&trace)).unwrap().id(), trace.id());
        assert_eq!(SpanId::from_random([0; 8]).as_bytes(), &[0, 0, 0, 0, 0, 0, 0, 1]);
    }

    proptest! {
        #[test]
        fn what_is_continued_is_well_formed_itself(text in "\\PC{0,60}|[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,9})?") {
            if let Some(trace) = continued(&text) {
                prop_assert_eq!(continued(header(&trace)), Some(trace));
            }
        }
    }
}
