//! `/jwks.json`: the public keys of what the gateway signs (RFC 7517 §5), for the upstreams that verify it.

use http::{Method, Response, StatusCode, header};

use super::{Admin, TEXT, allow, plain};

impl Admin {
    /// Serves the key set to everybody who can reach the listener: nothing in it is secret.
    pub(super) fn serve_key_set(&self, method: &Method) -> Response<Vec<u8>> {
        if *method != Method::GET && *method != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, Vec::new());
            allow("GET, HEAD", &mut response);
            return response;
        }
        let generation = self.generation.load();
        let mut response = match &generation.signing {
            Some(keys) => {
                let mut response = plain(StatusCode::OK, KEY_SET, keys.key_set().as_bytes().to_vec());
                response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static(FRESH));
                response
            }
            None => plain(StatusCode::NOT_FOUND, TEXT, NO_KEYS.to_vec()),
        };
        if *method == Method::HEAD {
            response.body_mut().clear();
        }
        response
    }
}

/// How long a recipient may keep the keys: a key has to be published for longer before it signs.
const FRESH: &str = "max-age=300";

/// RFC 7517 §8.5.2.
const KEY_SET: &str = "application/jwk-set+json";

const NO_KEYS: &[u8] = b"the configuration has no section `signing`, so there are no keys\n";
