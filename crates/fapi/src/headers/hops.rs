//! How many more proxies a request may pass (RFC 9110 §7.6.2).

use http::{HeaderMap, Method, header};

use crate::text::sole_value;

/// The value of `Max-Forwards`, if the method is OPTIONS and the field is one number. A number beyond 64 bits counts as
/// the largest one.
///
/// RFC 9110 §7.6.2: a recipient "MAY ignore a Max-Forwards header field received with any other request methods". TRACE,
/// the other method it is for, is refused.
pub fn max_forwards(method: &Method, headers: &HeaderMap) -> Option<u64> {
    if method != Method::OPTIONS {
        return None;
    }
    let number = sole_value(headers, header::MAX_FORWARDS)?.to_str().ok()?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_forwards_is_one_number_and_only_with_options() {
        let read = |method: Method, lines: &[&'static str]| {
            let values = lines.iter().map(|line| (header::MAX_FORWARDS, line.parse().unwrap()));
            max_forwards(&method, &values.collect())
        };
        for (line, number) in [("0", 0), ("00", 0), ("10", 10), ("99999999999999999999", u64::MAX)] {
            assert_eq!(read(Method::OPTIONS, &[line]), Some(number), "{line}");
            assert_eq!(read(Method::GET, &[line]), None, "{line}");
        }
        for lines in [&[][..], &[""], &["-1"], &["+0"], &["0 0"], &["0, 0"], &["zero"], &["0x0"]] {
            assert_eq!(read(Method::OPTIONS, lines), None, "{lines:?}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(header::MAX_FORWARDS, "0".parse().unwrap());
        }
        assert_eq!(max_forwards(&Method::OPTIONS, &twice), None);
    }
}
