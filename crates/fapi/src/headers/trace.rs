//! The trace that a request belongs to (W3C Trace Context).

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue};

use crate::text::sole_value;

/// The trace a request belongs to (W3C Trace Context §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    traceparent: HeaderValue,
    trace_id: Box<str>,
    continued: bool,
}

impl TraceContext {
    /// Continues the client's trace, if it sent a well-formed one.
    pub fn from_request(headers: &HeaderMap) -> Option<Self> {
        let value = sole_value(headers, "traceparent")?;
        let text = value.to_str().ok()?;
        let mut parts = text.split('-');
        let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
        };
        let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
        let well_formed = version == "00"
            && parts.next().is_none()
            && hex(trace_id, 32)
            && nonzero(trace_id)
            && hex(parent_id, 16)
            && nonzero(parent_id)
            && hex(flags, 2);
        well_formed.then(|| Self { traceparent: value.clone(), trace_id: trace_id.into(), continued: true })
    }

    /// Starts a trace that is not sampled, with 16 random bytes for its id and 8 for the parent id.
    pub fn start(random: [u8; 24]) -> Self {
        let (trace_id, parent_id) = random.split_at(16);
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        HEXLOWER.encode_append(trace_id, &mut text);
        text.push('-');
        HEXLOWER.encode_append(parent_id, &mut text);
        text.push_str("-00");
        let trace_id = text.get(3..35).unwrap_or_default().into();
        let traceparent = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { traceparent, trace_id, continued: false }
    }

    /// Whether it continues the client's trace.
    pub(super) const fn is_continued(&self) -> bool {
        self.continued
    }

    pub(super) const fn header_value(&self) -> &HeaderValue {
        &self.traceparent
    }

    /// The trace id: 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn a_traceparent_is_continued_only_when_well_formed() {
        let continued = |text: &str| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static("traceparent"), text.parse().unwrap())]);
            TraceContext::from_request(&headers).map(|trace| trace.trace_id().to_owned())
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(continued(good).as_deref(), Some("0af7651916cd43dd8448eb211c80319c")); // control
        for bad in [
            good.replace("00-0a", "01-0a"),
            good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            good.replace("b7ad6b7169203331", &"0".repeat(16)),
            good.to_uppercase(),
            format!("{good}-x"),
            String::new(),
        ] {
            assert_eq!(continued(&bad), None, "{bad}");
        }
    }
}
