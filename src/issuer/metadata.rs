//! Finds an issuer's keys and endpoints in its metadata (RFC 8414 §3, OpenID Connect Discovery 1.0 §4).
//!
//! The document must name the configured issuer as its own; only the requested address is read from it.

use fapi::jose::json::parse_object;
use reqwest::Url;
use serde_json::{Map, Value};

use super::http::{Client, FetchError};

/// The two URLs where one issuer's metadata may be.
#[derive(Clone, Debug)]
pub struct Discovery {
    issuer: Box<str>,
    authorization_server: Url,
    openid: Url,
}

/// The address that is looked up in the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// The issuer's keys: `jwks_uri`.
    Keys,
    /// `introspection_endpoint`.
    Introspection,
    /// The same for a client that authenticates with a certificate: its alias in `mtls_endpoint_aliases`, if there is
    /// one (RFC 8705 §5).
    IntrospectionByCertificate,
}

impl Sought {
    /// The member that contains it.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Keys => "jwks_uri",
            Self::Introspection | Self::IntrospectionByCertificate => "introspection_endpoint",
        }
    }

    fn in_document(self, document: &Map<String, Value>) -> Option<&str> {
        let plain = document.get(self.member());
        let alias = match self {
            Self::IntrospectionByCertificate => {
                document.get("mtls_endpoint_aliases").and_then(|aliases| aliases.get(self.member()))
            }
            Self::Keys | Self::Introspection => None,
        };
        alias.or(plain).and_then(Value::as_str)
    }
}

/// The issuer identifier does not determine where its metadata is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not an https URL without query and fragment, so its metadata cannot be found; configure jwks_uri, and introspection.endpoint for introspection"
)]
pub struct NotDiscoverable;

impl Discovery {
    /// The metadata URLs of `issuer`.
    ///
    /// # Errors
    /// [`NotDiscoverable`].
    pub fn new(issuer: &str) -> Result<Self, NotDiscoverable> {
        // RFC 8414 §2: "a URL that uses the "https" scheme and has no query or fragment components".
        let url = Url::parse(issuer).map_err(|_| NotDiscoverable)?;
        if url.scheme() != "https" || url.query().is_some() || url.fragment().is_some() {
            return Err(NotDiscoverable);
        }
        // RFC 8414 §3.1: "any terminating "/" MUST be removed before inserting "/.well-known/" and the well-known URI
        // suffix between the host component and the path component."
        let path = url.path().strip_suffix('/').unwrap_or(url.path());
        let mut authorization_server = url.clone();
        authorization_server.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
        let mut openid = url.clone();
        openid.set_path(&format!("{path}/.well-known/openid-configuration"));
        Ok(Self { issuer: issuer.into(), authorization_server, openid })
    }

    /// The host that is called.
    pub fn host(&self) -> Box<str> {
        super::http::host(&self.openid)
    }

    /// An address in the issuer's metadata: from the URL of RFC 8414 or, if there is no usable document, from OpenID's.
    ///
    /// # Errors
    /// [`MetadataError`]. A document of another issuer ends the search, since someone else controls that URL.
    pub async fn find(&self, client: &Client, sought: Sought) -> Result<Url, MetadataError> {
        let first = match self.read(client, &self.authorization_server, sought).await {
            Err(error) if !error.ends_the_search() => error,
            decided => return decided,
        };
        self.read(client, &self.openid, sought).await.map_err(|second| self.neither(first, second))
    }

    /// The whole metadata, for people: for requests, only [`Discovery::find`] is used.
    ///
    /// # Errors
    /// Like [`Discovery::find`].
    pub async fn document(&self, client: &Client) -> Result<Map<String, Value>, MetadataError> {
        let first = match self.read_document(client, &self.authorization_server).await {
            Err(error) if !error.ends_the_search() => error,
            decided => return decided,
        };
        self.read_document(client, &self.openid).await.map_err(|second| self.neither(first, second))
    }

    /// The error at the second URL, after another at the first.
    fn neither(&self, first: MetadataError, second: MetadataError) -> MetadataError {
        if second.ends_the_search() {
            return second;
        }
        let urls = Box::new((self.authorization_server.clone(), self.openid.clone()));
        MetadataError::Neither { urls, authorization_server: Box::new(first), openid: Box::new(second) }
    }

    async fn read_document(&self, client: &Client, url: &Url) -> Result<Map<String, Value>, MetadataError> {
        let document = client.get_json_bytes(url).await?;
        let document = parse_object(&document).map_err(|_| MetadataError::Malformed)?;
        // RFC 8414 §3.3: "The "issuer" value returned MUST be identical to the authorization server's issuer identifier
        // value into which the well-known URI string was inserted … If these values are not identical, the data
        // contained in the response MUST NOT be used."
        let issuer = document.get("issuer").and_then(Value::as_str).ok_or(MetadataError::IssuerMissing)?;
        if issuer != &*self.issuer {
            return Err(MetadataError::IssuerMismatch { found: short(issuer), expected: self.issuer.clone() });
        }
        Ok(document)
    }

    async fn read(&self, client: &Client, url: &Url, sought: Sought) -> Result<Url, MetadataError> {
        let document = self.read_document(client, url).await?;
        let member = sought.member();
        let found = sought.in_document(&document).ok_or(MetadataError::Missing { member })?;
        // RFC 8414 §2 on jwks_uri: "This URL MUST use the "https" scheme."; no token is sent to an endpoint without
        // TLS.
        match Url::parse(found) {
            Ok(url) if url.scheme() == "https" => Ok(url),
            Ok(_) | Err(_) => Err(MetadataError::NotHttps { member, found: short(found) }),
        }
    }
}

/// Why an address could not be read from the metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The document could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Not an unambiguous JSON object.
    #[error("the metadata is not an unambiguous JSON object")]
    Malformed,
    /// No `issuer`, or one that is not a string.
    #[error("the metadata has no issuer")]
    IssuerMissing,
    /// The metadata of another issuer.
    #[error("the metadata is for issuer {found:?}, expected {expected:?}")]
    IssuerMismatch {
        /// The document's `issuer`, truncated.
        found: Box<str>,
        /// The configured one.
        expected: Box<str>,
    },
    /// The address is missing, or is not a string.
    #[error("the metadata has no {member}")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// An address without TLS.
    #[error("the metadata's {member} is {found:?}, expected an https URL")]
    NotHttps {
        /// Its name.
        member: &'static str,
        /// Its value, truncated.
        found: Box<str>,
    },
    /// Neither URL has a usable document.
    #[error(
        "no usable metadata by RFC 8414 at {} ({authorization_server}) or by OpenID Connect Discovery at {} ({openid})",
        urls.0, urls.1
    )]
    Neither {
        /// Both URLs.
        urls: Box<(Url, Url)>,
        /// What was wrong at the first URL.
        authorization_server: Box<Self>,
        /// What was wrong at the second.
        openid: Box<Self>,
    },
}

impl MetadataError {
    /// A document of another issuer: someone else controls the URL.
    const fn ends_the_search(&self) -> bool {
        matches!(self, Self::IssuerMismatch { .. })
    }
}

/// Text from the issuer, truncated for one line; it is always shown quoted and escaped.
fn short(text: &str) -> Box<str> {
    text.chars().take(200).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8414_3_1_the_well_known_part_stands_between_host_and_path() {
        for (issuer, authorization_server, openid) in [
            (
                "https://as.example",
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration",
            ),
            (
                "https://as.example:8443/",
                "https://as.example:8443/.well-known/oauth-authorization-server",
                "https://as.example:8443/.well-known/openid-configuration",
            ),
            (
                "https://as.example/tenant/1/",
                "https://as.example/.well-known/oauth-authorization-server/tenant/1",
                "https://as.example/tenant/1/.well-known/openid-configuration",
            ),
        ] {
            let discovery = Discovery::new(issuer).unwrap();
            assert_eq!(discovery.authorization_server.as_str(), authorization_server);
            assert_eq!(discovery.openid.as_str(), openid);
        }
    }

    #[test]
    fn fapi2_rs_13_an_issuer_without_tls_is_not_asked() {
        assert!(Discovery::new("https://as.example/a").is_ok()); // control
        for issuer in ["http://as.example/a", "https://as.example/a?b", "https://as.example/a#b", "as.example", ""] {
            assert_eq!(Discovery::new(issuer).unwrap_err(), NotDiscoverable, "{issuer}");
        }
    }
}
