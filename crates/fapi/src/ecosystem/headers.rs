//! What an ecosystem says of the header fields of requests, as data, and the one function that compares.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use httpdate::parse_http_date;

use crate::text::{canonical_uuid, sole_value};

/// What is said of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Its name, in lower case.
    pub name: &'static str,
    /// When it has to be there.
    pub needed: Needed,
    /// What its value is.
    pub form: Form,
}

/// Whether a field has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// It need not; if it is, it has its form.
    No,
    /// In each request.
    Always,
    /// In each request that has the other field.
    Beside(&'static str),
}

/// What the value of a field is. Each field is there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A UUID with hyphens.
    Uuid,
    /// An HTTP-date (RFC 9110 §5.6.7).
    HttpDate,
    /// The same, which may end in `UTC` in place of `GMT`.
    HttpDateOrUtc,
    /// An IPv4 or IPv6 address.
    Address,
    /// Something in base64.
    Base64,
    /// From one to so many visible characters.
    Text(usize),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A version: a positive number without leading zeros.
    Version,
}

/// Why a field is refused. `Display` is for operators, and does not show its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It has to be there.
    #[error("the request has no field {name}, which the ecosystem of the route requires")]
    Missing {
        /// Its name, in lower case.
        name: &'static str,
    },
    /// It is not one field of the form that it has to have.
    #[error("{name} is not {expected}")]
    Invalid {
        /// Its name, in lower case.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// It is no version.
    #[error("{name} is not a positive number")]
    InvalidVersion {
        /// Its name, in lower case.
        name: &'static str,
    },
    /// The resource has none of the versions that the request understands.
    #[error("the route has no version between x-min-v and x-v")]
    UnsupportedVersion,
}

/// Compares a request with each rule, in their order.
pub(super) fn check(rules: &[HeaderRule], headers: &HeaderMap) -> Result<(), HeaderError> {
    rules.iter().try_for_each(|rule| rule.check(headers))
}

impl HeaderRule {
    fn check(&self, headers: &HeaderMap) -> Result<(), HeaderError> {
        let name = self.name;
        if !headers.contains_key(name) {
            let is_needed = match self.needed {
                Needed::No => false,
                Needed::Always => true,
                Needed::Beside(other) => headers.contains_key(other),
            };
            return if is_needed { Err(HeaderError::Missing { name }) } else { Ok(()) };
        }
        let value = sole_value(headers, name).map(HeaderValue::to_str).and_then(Result::ok);
        if value.is_some_and(|value| self.form.fits(value)) {
            return Ok(());
        }
        Err(if self.form == Form::Version {
            HeaderError::InvalidVersion { name }
        } else {
            HeaderError::Invalid { name, expected: self.form.in_words() }
        })
    }
}

impl Form {
    /// Its values, if there are only some.
    pub const fn values(self) -> Option<&'static [&'static str]> {
        match self {
            Self::OneOf(values) => Some(values),
            Self::Uuid
            | Self::HttpDate
            | Self::HttpDateOrUtc
            | Self::Address
            | Self::Base64
            | Self::Text(_)
            | Self::Version => None,
        }
    }

    fn fits(self, value: &str) -> bool {
        match self {
            Self::Uuid => canonical_uuid(value).is_some(),
            Self::HttpDate => parse_http_date(value).is_ok(),
            Self::HttpDateOrUtc => {
                let in_gmt = value.strip_suffix(" UTC").map(|date| format!("{date} GMT"));
                parse_http_date(in_gmt.as_deref().unwrap_or(value)).is_ok()
            }
            Self::Address => value.parse::<IpAddr>().is_ok(),
            Self::Base64 => !value.is_empty() && STANDARD.decode(value).is_ok(),
            Self::Text(most) => (1..=most).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic()),
            Self::OneOf(values) => values.contains(&value),
            // As many digits as any version may have; what is larger is none.
            Self::Version => value.parse::<u32>().is_ok_and(|version| version > 0 && version.to_string() == value),
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Uuid => "one UUID",
            Self::HttpDate | Self::HttpDateOrUtc => "one HTTP-date",
            Self::Address => "one IPv4 or IPv6 address",
            Self::Base64 => "base64",
            Self::Text(_) => "a text of a length that is allowed, without white space",
            Self::OneOf(_) => "one of the values that are allowed",
            Self::Version => "a positive number",
        }
    }
}

/// When the customer last logged in with the client (FAPI 1.0 Baseline §6.2.2).
pub(super) const AUTH_DATE: HeaderRule =
    HeaderRule { name: "x-fapi-auth-date", needed: Needed::No, form: Form::HttpDate };
/// The address that the customer uses, which is there if the customer is (FAPI 1.0 Baseline §6.2.2).
pub(super) const CUSTOMER_IP_ADDRESS: HeaderRule =
    HeaderRule { name: "x-fapi-customer-ip-address", needed: Needed::No, form: Form::Address };
/// The id of the exchange (FAPI 1.0 Baseline §6.2.1 (11)).
pub(super) const INTERACTION_ID: HeaderRule =
    HeaderRule { name: "x-fapi-interaction-id", needed: Needed::No, form: Form::Uuid };
/// The name of a request that counts once.
pub(super) const IDEMPOTENCY_KEY: HeaderRule =
    HeaderRule { name: "x-idempotency-key", needed: Needed::No, form: Form::Text(40) };

#[cfg(test)]
mod tests {
    use super::*;

    fn of(form: Form, values: &[&'static str]) -> Result<(), HeaderError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x", HeaderValue::from_static(value));
        }
        check(&[HeaderRule { name: "x", needed: Needed::Always, form }], &headers)
    }

    #[test]
    fn each_form_has_values_that_fit_and_others_that_do_not() {
        for (form, good, bad) in [
            (Form::Uuid, "c770aef3-6784-41f7-8e0e-ff5f97bddb3a", "c770aef3678441f78e0eff5f97bddb3a"),
            (Form::HttpDate, "Tue, 11 Sep 2012 19:43:31 GMT", "Tue, 11 Sep 2012 19:43:31 UTC"),
            (Form::HttpDateOrUtc, "Tue, 11 Sep 2012 19:43:31 UTC", "Tue, 11 Sep 2012 19:43:31 CET"),
            (Form::HttpDateOrUtc, "Tue, 11 Sep 2012 19:43:31 GMT", "2012-09-11T19:43:31Z"),
            (Form::Address, "2001:db8::1893:25c8:1946", "[2001:db8::1]"),
            (Form::Base64, "TW96aWxsYQ==", "TW96aWxsYQ"),
            (Form::Text(4), "abcd", "abcde"),
            (Form::Text(4), "a", "a b"),
            (Form::OneOf(&["USER", "BATCH"]), "BATCH", "ROBOT"),
        ] {
            assert_eq!(of(form, &[good]), Ok(()), "{form:?} {good}");
            let expected = form.in_words();
            assert_eq!(of(form, &[bad]), Err(HeaderError::Invalid { name: "x", expected }), "{form:?} {bad}");
            assert_eq!(of(form, &[""]), Err(HeaderError::Invalid { name: "x", expected }), "{form:?}");
            assert_eq!(of(form, &[good, good]), Err(HeaderError::Invalid { name: "x", expected }), "{form:?}");
        }
        for good in ["1", "12", "4294967295"] {
            assert_eq!(of(Form::Version, &[good]), Ok(()), "{good}");
        }
        for bad in ["0", "01", "1.0", "-1", "+1", "foo", "", "4294967296", " 1"] {
            assert_eq!(of(Form::Version, &[bad]), Err(HeaderError::InvalidVersion { name: "x" }), "{bad}");
        }
    }

    #[test]
    fn a_field_is_needed_always_or_beside_another_or_not() {
        let missing = Err(HeaderError::Missing { name: "x" });
        let judge = |needed, others: &[&'static str]| {
            let headers = others.iter().map(|name| (name.parse().unwrap(), HeaderValue::from_static("1"))).collect();
            check(&[HeaderRule { name: "x", needed, form: Form::Version }], &headers)
        };
        assert_eq!(judge(Needed::No, &[]), Ok(()));
        assert_eq!(judge(Needed::Always, &[]), missing);
        assert_eq!(judge(Needed::Always, &["x"]), Ok(()));
        assert_eq!(judge(Needed::Beside("y"), &[]), Ok(()));
        assert_eq!(judge(Needed::Beside("y"), &["y"]), missing);
        assert_eq!(judge(Needed::Beside("y"), &["x", "y"]), Ok(()));
    }
}
