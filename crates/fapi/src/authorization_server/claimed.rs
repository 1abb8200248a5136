//! Who a request says that it is of, before anything is proven: whom a [shadow](crate::shadow) is for.

use super::client_assertion::MAX_BYTES;
use super::parameters::Parameters;
use crate::jose::jws::Jws;

/// The client that these parameters name, if all of them name the same: `client_id`, a client assertion and a request object. Another
/// server may go by any of the three.
///
/// Nothing is verified.
pub fn client(parameters: &Parameters<'_>) -> Option<Box<str>> {
    let mut names: Vec<Box<str>> = parameters.get("client_id").map(Box::from).into_iter().collect();
    for (parameter, claims) in [("client_assertion", ["iss", "sub"]), ("request", ["iss", "client_id"])] {
        let Some(text) = parameters.get(parameter) else { continue };
        let jws = Jws::parse(text, MAX_BYTES).ok()?;
        for claim in claims.into_iter().filter(|claim| jws.states(claim)) {
            names.push(jws.claimed(claim)?.into());
        }
    }
    let first = names.pop()?;
    names.iter().all(|name| *name == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::form;
    use super::*;
    use crate::testing::unsigned;

    fn named(parameters: &[(&str, &str)]) -> Option<Box<str>> {
        client(&Parameters::parse(form(parameters).as_bytes()).unwrap())
    }

    #[test]
    fn whoever_names_two_names_nobody() {
        let jws = |claims: &Value| unsigned(&json!({ "alg": "ES256" }), claims) + "c2ln";
        let assertion = |iss: Value, sub: Value| jws(&json!({ "iss": iss, "sub": sub }));
        let own = assertion(json!("a"), json!("a"));
        let object = |id: &str| jws(&json!({ "client_id": id }));
        for good in [
            &[("client_id", "a")][..],
            &[("client_assertion", &own)],
            &[("client_id", "a"), ("client_assertion", &own)],
            &[("client_id", "a"), ("request", &object("a"))],
            &[("client_id", "a"), ("request", &jws(&json!({ "scope": "x" })))],
        ] {
            assert_eq!(named(good).as_deref(), Some("a"), "{good:?}"); // control
        }
        for bad in [
            &[("scope", "x")][..],
            &[("client_id", "b"), ("client_assertion", &own)],
            &[("client_id", "a"), ("client_assertion", &assertion(json!("a"), json!("b")))],
            &[("client_id", "a"), ("client_assertion", &assertion(json!("b"), json!("a")))],
            &[("client_id", "a"), ("client_assertion", &assertion(json!(["a"]), json!("a")))],
            &[("client_id", "a"), ("client_assertion", "no JWS")],
            &[("client_id", "a"), ("request", &object("b"))],
            &[("client_id", "a"), ("request", "an.encrypted.one.of.five")],
        ] {
            assert_eq!(named(bad), None, "{bad:?}");
        }
    }
}
