//! Which versions of a resource there are, for a request that names those that it understands (AU-05).

use http::{HeaderMap, HeaderValue};

use super::headers::HeaderError;
use crate::text::sole_value;

/// The versions of a resource; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions(Box<[u32]>);

impl Versions {
    /// These versions; `None` if there are none, or if one is 0.
    pub fn new(versions: Vec<u32>) -> Option<Self> {
        (!versions.is_empty() && !versions.contains(&0)).then(|| Self(versions.into()))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// Compares them with `x-v` and `x-min-v`, whose forms were checked before.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), HeaderError> {
        let named = |name: &'static str| {
            let value = sole_value(headers, name).map(HeaderValue::to_str).and_then(Result::ok);
            value.and_then(|value| value.parse::<u32>().ok())
        };
        let most = named(X_V).ok_or(HeaderError::InvalidVersion { name: X_V })?;
        // "If all versions requested are not supported then the data holder MUST respond with a 406", and x-min-v "if higher than or
        // equal to x-v then the x-min-v header should be treated as absent" (Consumer Data Standards, § HTTP Headers).
        let least = named(X_MIN_V).filter(|least| *least < most).unwrap_or(most);
        let is_served = self.0.iter().any(|version| (least..=most).contains(version));
        if is_served { Ok(()) } else { Err(HeaderError::UnsupportedVersion) }
    }
}

/// The version that a client asks for.
pub(super) const X_V: &str = "x-v";
/// The least version that it understands.
pub(super) const X_MIN_V: &str = "x-min-v";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn au_05_one_of_the_versions_is_between_the_two_that_are_named() {
        let judge = |served: &[u32], most: &'static str, least: Option<&'static str>| {
            let fields = [(X_V, Some(most)), (X_MIN_V, least)];
            let field = |(name, value): (&str, Option<&'static str>)| {
                Some((name.parse().unwrap(), HeaderValue::from_static(value?)))
            };
            let headers = fields.into_iter().filter_map(field).collect();
            Versions::new(served.to_vec()).unwrap().check(&headers).is_ok()
        };
        for (served, most, least, good) in [
            (&[3, 4][..], "3", None, true),
            (&[3, 4], "4", None, true),
            (&[3, 4], "5", None, false),
            (&[3, 4], "2", None, false),
            (&[3, 4], "5", Some("4"), true),
            (&[3, 4], "9", Some("1"), true),
            (&[3, 4], "2", Some("1"), false),
            (&[3, 4], "9", Some("5"), false),
            // As if it were absent.
            (&[3, 4], "4", Some("4"), true),
            (&[3, 4], "3", Some("9"), true),
            (&[3, 4], "2", Some("4"), false),
            (&[4294967295], "4294967295", Some("1"), true),
        ] {
            assert_eq!(judge(served, most, least), good, "{served:?} {most} {least:?}");
        }
    }

    #[test]
    fn there_is_a_version_and_none_is_0() {
        assert!(Versions::new(vec![1]).is_some(), "control");
        assert!(Versions::new(vec![]).is_none() && Versions::new(vec![1, 0]).is_none());
    }
}
