//! All clients of an authorization server, as they are registered at one time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::client::RegisteredClient;
use super::redirect_uri::{RedirectUri, place};

/// The clients, by their identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    by_id: BTreeMap<Box<str>, Arc<RegisteredClient>>,
    /// Where their redirect URIs lead.
    places: HashSet<Box<str>>,
}

/// Two clients have one identifier, so that it is not clear which one a request is of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two clients have the client_id {id:?}; give one of them another, or remove it")]
pub struct DuplicateClient {
    /// The identifier.
    pub id: Box<str>,
}

impl Clients {
    /// Collects the clients.
    ///
    /// # Errors
    /// [`DuplicateClient`]. Identifiers are compared with case (RFC 6749 §1.9, §2.2).
    pub fn new(clients: Vec<RegisteredClient>) -> Result<Self, DuplicateClient> {
        let mut all = Self::default();
        for client in clients {
            let id = Box::from(client.id());
            all.places.extend(client.redirect_uris().iter().map(RedirectUri::place).map(Box::from));
            if let Some(other) = all.by_id.insert(id, client.into()) {
                return Err(DuplicateClient { id: other.id().into() });
            }
        }
        Ok(all)
    }

    /// The client with this identifier.
    pub fn get(&self, id: &str) -> Option<&Arc<RegisteredClient>> {
        self.by_id.get(id)
    }

    /// Whether a redirect leads to a place that some client has registered: the same scheme, host, port and path, whatever the
    /// query and the fragment, to which the authorization server adds its response.
    ///
    /// Does not check that it is the client that asked ([`RegisteredClient::registers`]), which the response does not say.
    pub fn redirects_to(&self, uri: &str) -> bool {
        place(uri).is_some_and(|place| self.places.contains(&*place))
    }

    /// Whether a redirect leads to a place that this client has registered, as in [`Self::redirects_to`].
    pub fn leads_to(&self, client: &str, uri: &str) -> bool {
        let Some((client, place)) = self.get(client).zip(place(uri)) else { return false };
        client.redirect_uris().iter().any(|registered| registered.place() == place)
    }

    /// All of them, ordered by their identifiers.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RegisteredClient>> {
        self.by_id.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client(id: &str, uris: &[&str]) -> RegisteredClient {
        let document = json!({
            "client_id": id,
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks_uri": "https://app.example/jwks",
            "application_type": "native",
            "redirect_uris": uris,
        });
        RegisteredClient::parse(document.to_string().as_bytes()).unwrap()
    }

    fn both() -> Clients {
        let native = ["http://127.0.0.1/cb", "com.example.app:/cb"];
        Clients::new(vec![client("b", &["https://app.example/cb?tenant=1"]), client("a", &native)]).unwrap()
    }

    #[test]
    fn a_client_is_found_by_its_exact_identifier() {
        let clients = both();
        assert_eq!(clients.get("a").map(|client| client.id()), Some("a")); // control
        for id in ["A", "a ", "c", ""] {
            assert!(clients.get(id).is_none(), "{id}");
        }
        assert_eq!(clients.iter().map(|client| client.id()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((clients.len(), clients.is_empty()), (2, false));
        let none = Clients::new(Vec::new()).unwrap();
        assert_eq!((none.len(), none.is_empty(), none.redirects_to("https://app.example/cb")), (0, true, false));
    }

    #[test]
    fn two_clients_do_not_have_one_identifier() {
        let uri = "https://app.example/cb";
        assert!(Clients::new(vec![client("a", &[uri]), client("A", &[uri])]).is_ok()); // control
        let duplicate = Clients::new(vec![client("a", &[uri]), client("b", &[uri]), client("a", &[uri])]);
        assert_eq!(duplicate, Err(DuplicateClient { id: "a".into() }));
    }

    #[test]
    fn fapi2_as_06_a_redirect_leads_to_what_some_client_has_registered() {
        let clients = both();
        for uri in [
            "https://app.example/cb?tenant=1&code=1&state=a%20b&iss=https%3A%2F%2Fas.example", // control
            "https://app.example/cb#response=a.b.c",
            "HTTPS://APP.example:443/cb",
            "http://127.0.0.1:51004/cb?code=1",
            "com.example.app:/cb?code=1",
        ] {
            assert!(clients.redirects_to(uri), "{uri}");
        }
        for (client, uri, expected) in [
            ("b", "https://APP.example/cb?code=1", true),
            ("a", "http://127.0.0.1:51004/cb", true),
            ("a", "https://app.example/cb?code=1", false),
            ("b", "https://app.example/other", false),
            ("c", "https://app.example/cb", false),
            ("b", "/cb", false),
        ] {
            assert_eq!(clients.leads_to(client, uri), expected, "{client} {uri}");
        }
        for uri in [
            "https://app.example/cb/?code=1",
            "https://app.example/CB?code=1",
            "https://app.example/?code=1",
            "https://app.example:8443/cb?code=1",
            "http://app.example/cb?code=1",
            "https://evil.example/cb?code=1",
            "https://app.example.evil.example/cb",
            "https://app.example@evil.example/cb",
            "https://evil.example\\@app.example/cb",
            "https://evil.example/?https://app.example/cb",
            "https://evil.example#https://app.example/cb",
            "http://localhost:51004/cb?code=1",
            "http://127.0.0.1:51004/other?code=1",
            "com.example.app://cb?code=1",
            "com.example.other:/cb?code=1",
            "//app.example/cb",
            "/cb",
            "",
        ] {
            assert!(!clients.redirects_to(uri), "{uri}");
        }
    }

    #[test]
    fn clients_differ_if_one_does() {
        let mut others = vec![client("a", &["http://127.0.0.1/cb", "com.example.app:/cb"])];
        others.push(client("b", &["https://app.example/cb?tenant=1"]));
        assert_eq!(Clients::new(others.clone()), Ok(both())); // control
        others[1] = client("b", &["https://app.example/cb?tenant=2"]);
        assert_ne!(Clients::new(others), Ok(both()));
    }
}
