//! How a refusal looks, and what another answer means.

use std::fmt;

use crate::exchange::{NoAnswer, Response};
use crate::report::Verdict;

/// The answers that refuse a call in the way that a standard names.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The statuses.
    pub statuses: &'static [u16],
    /// The `error` of one of the challenges; any or none if this is empty.
    pub errors: &'static [&'static str],
    /// Whether ending the handshake or the connection is a refusal too.
    pub closing: bool,
}

impl Refusal {
    /// RFC 6750 §3.1 for a token that is expired, revoked, malformed or invalid for other reasons.
    pub const TOKEN: Self = Self { statuses: &[401], errors: &["invalid_token"], closing: false };
    /// RFC 9449 §7.1 for a proof. The conformance suite takes 400 and 401.
    pub const PROOF: Self = Self {
        statuses: &[400, 401],
        errors: &["invalid_dpop_proof", "invalid_token", "invalid_request"],
        closing: false,
    };
    /// RFC 6750 §3.1 for a request that is malformed, or has more than one token.
    pub const REQUEST: Self = Self { statuses: &[400, 401], errors: &[], closing: false };
    /// RFC 6750 §3.1 for a token whose scope does not reach.
    pub const SCOPE: Self = Self { statuses: &[403], errors: &["insufficient_scope"], closing: false };
    /// A request without credentials, or with credentials where none are taken from.
    pub const NO_CREDENTIALS: Self = Self { statuses: &[400, 401, 414], errors: &[], closing: false };
    /// A message that can be read in two ways.
    pub const FRAMING: Self = Self { statuses: &[400, 408, 411, 413, 414, 421, 431, 501], errors: &[], closing: true };
    /// FAPI 2.0 HTTP Signatures, § Resource server: a request without a signature that holds.
    pub const SIGNATURE: Self = Self { statuses: &[401], errors: &[], closing: false };
    /// A field of the head that an ecosystem needs or gives a form to.
    pub const FIELD: Self = Self { statuses: &[400], errors: &[], closing: false };
    /// What is accepted in return is not what there is (RFC 9110 §15.5.7).
    pub const ACCEPT: Self = Self { statuses: &[406], errors: &[], closing: false };
    /// Content of a type that is not taken (RFC 9110 §15.5.16).
    pub const CONTENT_TYPE: Self = Self { statuses: &[415], errors: &[], closing: false };
    /// A client certificate that is not trusted or not the one of the token.
    pub const CERTIFICATE: Self = Self { statuses: &[400, 401, 403], errors: &[], closing: true };

    /// What an answer to a call means that had to be refused.
    pub fn judge(&self, answer: &Result<Response, NoAnswer>) -> Verdict {
        match answer {
            Err(error) if self.closing && error.is_refusal() => Verdict::Pass,
            Err(_) => Verdict::Inconclusive,
            Ok(response) if self.is_named(response) => Verdict::Pass,
            // It would have refused a good call too.
            Ok(response) if response.says_nothing() => Verdict::Inconclusive,
            Ok(response) if !response.status.is_client_error() => Verdict::Fail,
            Ok(_) => Verdict::Warning,
        }
    }

    fn is_named(&self, response: &Response) -> bool {
        let error = ["Bearer", "DPoP"].iter().find_map(|scheme| response.error(scheme));
        let errors = self.errors.is_empty() || error.is_some_and(|error| self.errors.contains(&error.as_str()));
        self.statuses.contains(&response.status.as_u16()) && errors
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statuses: Vec<String> = self.statuses.iter().map(u16::to_string).collect();
        formatter.write_str(&statuses.join(" or "))?;
        if !self.errors.is_empty() {
            write!(formatter, " ({})", self.errors.join(" or "))?;
        }
        if self.closing {
            formatter.write_str(", or the connection ends")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answer(status: u16, challenge: &str) -> Result<Response, NoAnswer> {
        let fields = vec![("www-authenticate".to_owned(), challenge.to_owned())];
        Ok(Response { status: StatusCode::from_u16(status).unwrap(), fields, body: Vec::new() })
    }

    #[test]
    fn only_a_refusal_of_the_client_passes() {
        let judge = |status, challenge| Refusal::TOKEN.judge(&answer(status, challenge));
        assert_eq!(judge(401, "Bearer error=\"invalid_token\""), Verdict::Pass);
        assert_eq!(judge(401, "Bearer realm=\"a\""), Verdict::Warning);
        assert_eq!(judge(403, "Bearer error=\"invalid_token\""), Verdict::Warning);
        assert_eq!(judge(429, "Bearer error=\"invalid_token\""), Verdict::Inconclusive);
        assert_eq!(judge(503, "Bearer error=\"invalid_token\""), Verdict::Inconclusive);
        for status in [200, 204, 302, 500] {
            assert_eq!(judge(status, "Bearer error=\"invalid_token\""), Verdict::Fail, "{status}");
        }
    }

    #[test]
    fn silence_is_no_refusal() {
        assert_eq!(Refusal::TOKEN.judge(&Err(NoAnswer::Closed)), Verdict::Inconclusive);
        assert_eq!(Refusal::FRAMING.judge(&Err(NoAnswer::TimedOut)), Verdict::Inconclusive);
        assert_eq!(Refusal::FRAMING.judge(&Err(NoAnswer::Closed)), Verdict::Pass); // control
    }
}
