//! What FAPI 1.0 says of the header fields of requests and responses, on routes that hold it.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};
use httpdate::parse_http_date;

use super::error::PolicyError;
use crate::UnixTime;
use crate::profile::Period;
use crate::text::{is_json_type, names_only_utf8, sole_value};

/// When each rule is waived; a rule without such a time always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fapi1 {
    /// [`AUTH_DATE`](crate::profile::AUTH_DATE).
    pub auth_date: Option<Period>,
    /// [`CUSTOMER_IP_ADDRESS`](crate::profile::CUSTOMER_IP_ADDRESS).
    pub customer_ip_address: Option<Period>,
    /// [`CHARSET`](crate::profile::CHARSET).
    pub charset: Option<Period>,
}

impl Fapi1 {
    /// Checks what a client says of its customer, where it says something.
    ///
    /// # Errors
    /// [`PolicyError::AuthDateMalformed`], [`PolicyError::CustomerIpAddressMalformed`].
    pub(super) fn check(&self, headers: &HeaderMap, now: UnixTime) -> Result<(), PolicyError> {
        // FAPI 1.0 Baseline §6.2.2: "the value is supplied as an HTTP-date".
        if is_malformed(headers, X_FAPI_AUTH_DATE, |text| parse_http_date(text).is_ok()) && holds(self.auth_date, now) {
            return Err(PolicyError::AuthDateMalformed);
        }
        // FAPI 1.0 Baseline §6.2.1 (13): "shall not reject requests with a x-fapi-customer-ip-address header containing a
        // valid IPv4 or IPv6 address".
        if is_malformed(headers, X_FAPI_CUSTOMER_IP_ADDRESS, |text| text.parse::<IpAddr>().is_ok())
            && holds(self.customer_ip_address, now)
        {
            return Err(PolicyError::CustomerIpAddressMalformed);
        }
        Ok(())
    }

    /// Whether a response with these fields is refused, since it is JSON in another character set than UTF-8.
    pub fn refuses_charset(&self, response: &HeaderMap, now: UnixTime) -> bool {
        // FAPI 1.0 Baseline §6.2.1 (8): "shall encode the response in UTF-8 if applicable".
        let types = response.get_all(header::CONTENT_TYPE).iter();
        let mut types = types.map(|value| String::from_utf8_lossy(value.as_bytes()));
        types.any(|content_type| is_json_type(&content_type) && !names_only_utf8(&content_type))
            && holds(self.charset, now)
    }
}

/// Whether the field is there, and not once with a value that fits.
fn is_malformed(headers: &HeaderMap, name: HeaderName, fits: impl FnOnce(&str) -> bool) -> bool {
    headers.contains_key(&name) && !sole_value(headers, name).and_then(|value| value.to_str().ok()).is_some_and(fits)
}

fn holds(waived: Option<Period>, now: UnixTime) -> bool {
    !Period::suspends(waived, now)
}

/// When the customer last logged in with the client (FAPI 1.0 Baseline §6.2.2).
const X_FAPI_AUTH_DATE: HeaderName = HeaderName::from_static("x-fapi-auth-date");
/// The address that the customer uses (FAPI 1.0 Baseline §6.2.2).
const X_FAPI_CUSTOMER_IP_ADDRESS: HeaderName = HeaderName::from_static("x-fapi-customer-ip-address");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::code::Code;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn fields(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn judge(rules: Fapi1, name: &HeaderName, values: &[&str]) -> Option<Code> {
        rules.check(&fields(name, values), NOW).err().map(|error| error.code())
    }

    #[test]
    fn f1_rs_15_an_auth_date_is_one_http_date() {
        let of = |values: &[&str]| judge(Fapi1::default(), &X_FAPI_AUTH_DATE, values);
        for good in [
            &["Tue, 11 Sep 2012 19:43:31 GMT"][..],
            &[],
            &["Tuesday, 11-Sep-12 19:43:31 GMT"],
            &["Tue Sep 11 19:43:31 2012"],
        ] {
            assert_eq!(of(good), None, "control: {good:?}");
        }
        for bad in ["", "yesterday", "2012-09-11T19:43:31Z", "Tue, 11 Sep 2012 19:43:31 UTC", "1347392611", "\u{e9}"] {
            assert_eq!(of(&[bad]), Some(Code::AuthDateMalformed), "{bad:?}");
        }
        assert_eq!(of(&["Tue, 11 Sep 2012 19:43:31 GMT"; 2]), Some(Code::AuthDateMalformed));
    }

    #[test]
    fn f1_rs_13_a_customers_address_is_one_ipv4_or_ipv6_address() {
        let of = |values: &[&str]| judge(Fapi1::default(), &X_FAPI_CUSTOMER_IP_ADDRESS, values);
        for good in [&["198.51.100.7"][..], &[], &["2001:db8::1893:25c8:1946"], &["::ffff:198.51.100.7"]] {
            assert_eq!(of(good), None, "control: {good:?}");
        }
        for bad in ["", "not-an-ip", "198.51.100", "198.51.100.7:443", "[2001:db8::1]", "198.51.100.7, 198.51.100.8"] {
            assert_eq!(of(&[bad]), Some(Code::CustomerIpAddressMalformed), "{bad:?}");
        }
        assert_eq!(of(&["198.51.100.7"; 2]), Some(Code::CustomerIpAddressMalformed));
    }

    #[test]
    fn f1_rs_08_json_that_names_another_character_set_is_refused() {
        let refused = |values: &[&str]| Fapi1::default().refuses_charset(&fields(&header::CONTENT_TYPE, values), NOW);
        for good in [
            &["application/json"][..],
            &[],
            &["application/json; charset=utf-8"],
            &["application/json;charset=\"UTF-8\""],
            &["application/problem+json"],
            &["text/csv; charset=iso-8859-1"],
            &["application/octet-stream"],
        ] {
            assert!(!refused(good), "control: {good:?}");
        }
        for bad in [
            "application/json; charset=iso-8859-1",
            "application/json;charset=UTF-16",
            "application/problem+json; charset=us-ascii",
        ] {
            assert!(refused(&[bad]), "{bad:?}");
        }
    }

    #[test]
    fn each_rule_is_waived_by_itself_and_for_its_time_alone() {
        let period = |since: u64, until: u64| Some(Period { since: UnixTime(since), until: UnixTime(until) });
        let over = [period(0, NOW.0), period(NOW.0 + 1, NOW.0 + 2), None];
        let now = period(NOW.0, NOW.0 + 1);
        let utf16 = fields(&header::CONTENT_TYPE, &["application/json; charset=utf-16"]);
        for waived in over {
            let rules = Fapi1 { auth_date: waived, customer_ip_address: waived, charset: waived };
            assert_eq!(judge(rules, &X_FAPI_AUTH_DATE, &["x"]), Some(Code::AuthDateMalformed), "{waived:?}");
            let address = judge(rules, &X_FAPI_CUSTOMER_IP_ADDRESS, &["x"]);
            assert_eq!(address, Some(Code::CustomerIpAddressMalformed), "{waived:?}");
            assert!(rules.refuses_charset(&utf16, NOW), "{waived:?}");
        }
        let rules = Fapi1 { auth_date: now, ..Fapi1::default() };
        assert_eq!(judge(rules, &X_FAPI_AUTH_DATE, &["x"]), None);
        assert!(judge(rules, &X_FAPI_CUSTOMER_IP_ADDRESS, &["x"]).is_some() && rules.refuses_charset(&utf16, NOW));
        let rules = Fapi1 { customer_ip_address: now, ..Fapi1::default() };
        assert_eq!(judge(rules, &X_FAPI_CUSTOMER_IP_ADDRESS, &["x"]), None);
        assert!(judge(rules, &X_FAPI_AUTH_DATE, &["x"]).is_some() && rules.refuses_charset(&utf16, NOW));
        let rules = Fapi1 { charset: now, ..Fapi1::default() };
        assert!(!rules.refuses_charset(&utf16, NOW));
        assert!(judge(rules, &X_FAPI_AUTH_DATE, &["x"]).is_some());
    }
}
