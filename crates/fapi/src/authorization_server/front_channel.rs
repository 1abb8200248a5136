//! What a browser brings to the authorization endpoint: the name of what was pushed, and nothing else (FAPI 2.0 §5.3.2.2,
//! RFC 9126 §4).

use super::error::EndpointError;
use super::parameters::Parameters;
use super::rules::{OtherParameters, Rules};
use crate::UnixTime;
use crate::text::printable;

/// A request at the authorization endpoint that names what was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedReference {
    /// The client that is said to have pushed it.
    pub client_id: Box<str>,
    /// The name that the server gave it.
    pub request_uri: Box<str>,
    /// What is forwarded instead of the query, if that has more.
    pub query: Option<Box<str>>,
}

/// A request that was pushed, as what remembers it knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The client that pushed it.
    pub client_id: Box<str>,
    /// When its name expires.
    pub until: UnixTime,
    /// Whether it broke a rule, and reached the server in shadow: it is known whose it is, and it counts for nothing else.
    pub is_noted: bool,
}

/// Reads the query of an authorization request. Whether this client pushed it is not judged here.
///
/// # Errors
/// [`EndpointError::NotPushed`], [`EndpointError::ParameterMissing`], [`EndpointError::ParameterBeside`],
/// [`EndpointError::Parameters`].
pub fn read(query: Option<&str>, rules: &Rules) -> Result<PushedReference, EndpointError> {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes())?;
    if parameters.get("request").is_some() {
        return Err(EndpointError::NotPushed { why: "it has a request object, which belongs in a pushed request" });
    }
    let Some(request_uri) = parameters.get("request_uri") else {
        return Err(EndpointError::NotPushed { why: "it has no request_uri" });
    };
    // What is fetched from a client's address is not what was pushed (RFC 9101 §10.4).
    if request_uri.len() > MAX_REQUEST_URI {
        return Err(EndpointError::RequestUriUnknown { why: "is longer than those of pushed requests" });
    }
    let client_id = parameters.get("client_id").ok_or(EndpointError::ParameterMissing { name: "client_id" })?;
    let other = parameters.iter().find(|(name, _)| !matches!(*name, "client_id" | "request_uri"));
    let query = match (other, rules.other_parameters) {
        (None, _) => None,
        (Some((name, _)), OtherParameters::Refused) => {
            return Err(EndpointError::ParameterBeside { name: printable(name) });
        }
        (Some(_), OtherParameters::Dropped) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            let _ = query.append_pair("client_id", client_id).append_pair("request_uri", request_uri);
            Some(query.finish().into())
        }
    };
    Ok(PushedReference { client_id: client_id.into(), request_uri: request_uri.into(), query })
}

/// The longest `request_uri` that a server may give.
pub const MAX_REQUEST_URI: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::rules::ServerProfile;
    use super::super::testing::{CLIENT, form, rules};
    use super::*;
    use crate::code::Code;

    const URI: &str = "urn:ietf:params:oauth:request_uri:1";
    const GOOD: &[(&str, &str)] = &[("client_id", CLIENT), ("request_uri", URI)];

    fn judged(query: &str, other_parameters: OtherParameters) -> Result<PushedReference, EndpointError> {
        read(Some(query), &Rules { other_parameters, ..rules(ServerProfile::Fapi2Security) })
    }

    #[test]
    fn fapi2_as_30_only_the_name_of_what_was_pushed_comes_in_front() {
        let refused = |query: &str| judged(query, OtherParameters::Refused).map_err(|error| error.code());
        let good = PushedReference { client_id: CLIENT.into(), request_uri: URI.into(), query: None };
        assert_eq!(refused(&form(GOOD)), Ok(good.clone()), "control");
        // RFC 6749 §3.1: what has no value is omitted, and is how some servers mark that their own pages lead back.
        assert_eq!(refused(&format!("{}&marked", form(GOOD))), Ok(good.clone()));
        let more = form(&[GOOD, &[("scope", "openid"), ("redirect_uri", "https://attacker.example")]].concat());
        assert_eq!(refused(&more), Err(Code::ParameterRefused));
        let dropped = judged(&more, OtherParameters::Dropped).unwrap();
        assert_eq!(dropped, PushedReference { query: Some(form(GOOD).into()), ..good });
        let long = format!("urn:{}", "x".repeat(MAX_REQUEST_URI));
        for (query, expected) in [
            // FAPI2-AS-16
            ("response_type=code&client_id=client-1".to_owned(), Code::ParRequired),
            (String::new(), Code::ParRequired),
            // MS-07
            (form(&[GOOD, &[("request", "a.b.c")]].concat()), Code::ParRequired),
            (form(&[("request_uri", URI)]), Code::ParameterMalformed),
            (form(&[("client_id", CLIENT), ("request_uri", &long)]), Code::RequestUriUnknown),
            // FAPI2-AS-31
            (form(&[GOOD, &[("client_id", CLIENT)]].concat()), Code::ParameterRepeated),
            (format!("{}&Request_Uri=urn:x", form(GOOD)), Code::ParameterRepeated),
            (format!("{}&client.id=x", form(&[("request_uri", URI)])), Code::ParameterMalformed),
        ] {
            assert_eq!(refused(&query), Err(expected), "{query}");
        }
    }
}
