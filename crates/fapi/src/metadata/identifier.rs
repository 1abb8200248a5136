//! Identifiers of protected resources, and where their metadata is (RFC 9728 §1.2, §3).

use crate::route::{Origin, OriginError};

/// The path below which metadata is, put between the host and the path of a resource identifier (RFC 9728 §3).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The segments of [`WELL_KNOWN`].
pub(super) const WELL_KNOWN_SEGMENTS: [&str; 2] = [".well-known", "oauth-protected-resource"];

/// The identifier of a protected resource: an https URL as clients know it, without query and fragment.
///
/// Its resource is every URL at it or below it, but for what is below a longer identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceIdentifier {
    text: Box<str>,
    place: Origin,
}

impl ResourceIdentifier {
    /// Reads an identifier such as `https://api.bank.example/accounts`. A slash at the end is kept.
    ///
    /// # Errors
    /// [`ResourceIdentifierError`], also for a URL in another spelling than the usual one: clients compare identifiers
    /// character by character (RFC 9728 §6).
    pub fn parse(text: &str) -> Result<Self, ResourceIdentifierError> {
        let place = Origin::parse(text)?;
        if text.strip_suffix('/').unwrap_or(text) != place.as_str() {
            return Err(ResourceIdentifierError::OtherSpelling { text: text.into(), usual: place.as_str().into() });
        }
        Ok(Self { text: text.into(), place })
    }

    /// The identifier of everything at an origin.
    pub fn of_origin(origin: &Origin) -> Self {
        Self { text: origin.as_str().into(), place: origin.clone() }
    }

    /// The identifier as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host, without a port.
    pub fn host(&self) -> &str {
        self.place.host()
    }

    /// Whether requests for this origin can be for the resource: both have the same host and port.
    pub fn is_at(&self, origin: &Origin) -> bool {
        self.place.authority() == origin.authority()
    }

    /// Whether two identifiers differ in nothing but a slash at the end, so that their metadata is at one place.
    pub fn shares_place_with(&self, other: &Self) -> bool {
        self.place == other.place
    }

    /// The URL of its metadata.
    pub fn metadata_url(&self) -> String {
        let (authority, path) = (self.place.authority(), self.place.prefix());
        // RFC 9728 §3.1: "any terminating slash (/) following the host component MUST be removed".
        let slash = if !path.is_empty() && self.text.ends_with('/') { "/" } else { "" };
        format!("https://{authority}{WELL_KNOWN}{path}{slash}")
    }

    /// Whether its metadata is at this path, which begins with [`WELL_KNOWN`]; a slash at the end is ignored.
    pub(super) fn has_metadata_at(&self, path: &str) -> bool {
        let path = path.strip_suffix('/').unwrap_or(path);
        path.strip_prefix(WELL_KNOWN) == Some(self.place.prefix())
    }

    /// Whether a path at an origin is part of the resource, or of one below it.
    pub(super) fn covers(&self, origin: &Origin, path: &str) -> bool {
        let (own, outer) = (self.place.prefix(), origin.prefix());
        let covers = || match below(own, outer) {
            Some(beginning) => below(path, beginning).is_some(),
            None => below(outer, own).is_some(),
        };
        self.is_at(origin) && covers()
    }

    /// Whether it is below another identifier of the same host and port.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        let rest = self.is_at(&other.place).then(|| below(self.place.prefix(), other.place.prefix())).flatten();
        rest.is_some_and(|rest| !rest.is_empty())
    }

    /// The segments with which the paths of its requests begin at an origin, whose prefix they do not have; `None` if it has
    /// no requests there.
    pub(super) fn beginning_at(&self, origin: &Origin) -> Option<Vec<&str>> {
        if !self.is_at(origin) {
            return None;
        }
        match below(self.place.prefix(), origin.prefix()) {
            Some(rest) => Some(rest.split('/').skip(1).collect()),
            None => below(origin.prefix(), self.place.prefix()).map(|_| Vec::new()),
        }
    }

    /// How specific it is among those of one host.
    pub(super) fn depth(&self) -> usize {
        self.place.prefix().len()
    }
}

/// What of a path comes after another one at its beginning: nothing, or something that begins with a slash.
pub(super) fn below<'p>(path: &'p str, above: &str) -> Option<&'p str> {
    path.strip_prefix(above).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Why a text is not the identifier of a protected resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceIdentifierError {
    /// It is not an https URL, or has a part that it must not have.
    #[error(transparent)]
    Url(#[from] OriginError),
    /// It is not spelled as clients spell it.
    #[error(
        "{text:?} is another spelling of `{usual}`, and clients compare character by character; write it like that"
    )]
    OtherSpelling {
        /// The text as it was written.
        text: Box<str>,
        /// The usual spelling.
        usual: Box<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier(text: &str) -> ResourceIdentifier {
        ResourceIdentifier::parse(text).unwrap()
    }

    #[test]
    fn prm_01_the_well_known_path_is_put_between_host_and_path() {
        for (text, url) in [
            // RFC 9728 §3.1
            ("https://resource.example.com", "https://resource.example.com/.well-known/oauth-protected-resource"),
            (
                "https://resource.example.com/resource1",
                "https://resource.example.com/.well-known/oauth-protected-resource/resource1",
            ),
            ("https://api.example/", "https://api.example/.well-known/oauth-protected-resource"),
            ("https://api.example:8443/a/b", "https://api.example:8443/.well-known/oauth-protected-resource/a/b"),
            ("https://api.example/a/", "https://api.example/.well-known/oauth-protected-resource/a/"),
            ("https://[::1]:8443/a", "https://[::1]:8443/.well-known/oauth-protected-resource/a"),
        ] {
            let identifier = identifier(text);
            assert_eq!((identifier.as_str(), &*identifier.metadata_url()), (text, url));
            let path = url.split_at(url.find("/.well-known").unwrap()).1;
            assert!(identifier.has_metadata_at(path) && !identifier.has_metadata_at(&format!("{path}/x")), "{text}");
        }
    }

    #[test]
    fn an_identifier_is_written_as_clients_write_it() {
        assert!(ResourceIdentifier::parse("https://api.example/v1").is_ok()); // control
        for (text, usual) in [
            ("https://API.example/v1", "https://api.example/v1"),
            ("https://api.example:443/v1", "https://api.example/v1"),
            ("HTTPS://api.example/v1", "https://api.example/v1"),
            ("https://api.example./v1", "https://api.example/v1"),
        ] {
            let error = ResourceIdentifierError::OtherSpelling { text: text.into(), usual: usual.into() };
            assert_eq!(ResourceIdentifier::parse(text), Err(error));
        }
        for text in [
            "http://api.example/v1",
            "api.example",
            "https://",
            "https://api.example/v1?x=1",
            "https://api.example/v1#x",
            "https://u@api.example",
            "https://api.example/a//b",
            "https://api.example/../b",
            "https://api.example/\"x",
            "urn:bank:api",
        ] {
            assert!(matches!(ResourceIdentifier::parse(text), Err(ResourceIdentifierError::Url(_))), "{text}");
        }
    }

    #[test]
    fn a_resource_is_what_is_at_its_identifier_and_below() {
        let origin = |text| Origin::parse(text).unwrap();
        let plain = origin("https://api.example");
        let behind = origin("https://api.example/bank");
        for (text, at, path, covers, beginning) in [
            ("https://api.example", &plain, "/accounts/1", true, Some(vec![])),
            ("https://api.example/accounts", &plain, "/accounts/1", true, Some(vec!["accounts"])),
            ("https://api.example/accounts", &plain, "/accounts", true, Some(vec!["accounts"])),
            ("https://api.example/accounts", &plain, "/accountsx", false, Some(vec!["accounts"])),
            ("https://api.example/accounts", &plain, "/payments", false, Some(vec!["accounts"])),
            ("https://api.example/bank/accounts", &behind, "/accounts/1", true, Some(vec!["accounts"])),
            ("https://api.example/bank", &behind, "/accounts/1", true, Some(vec![])),
            ("https://api.example", &behind, "/accounts/1", true, Some(vec![])),
            ("https://api.example/accounts", &behind, "/accounts/1", false, None),
            ("https://api.example:8443/accounts", &plain, "/accounts/1", false, None),
            ("https://other.example/accounts", &plain, "/accounts/1", false, None),
        ] {
            let identifier = identifier(text);
            assert_eq!(
                (identifier.covers(at, path), identifier.beginning_at(at)),
                (covers, beginning),
                "{text} {path}"
            );
        }
        let (wide, narrow) = (identifier("https://api.example/a"), identifier("https://api.example/a/b"));
        assert!(narrow.is_below(&wide) && !wide.is_below(&narrow) && !wide.is_below(&wide));
        assert!(!identifier("https://api.example/ab").is_below(&wide));
        assert!(!identifier("https://b.example/a/b").is_below(&wide));
    }
}
