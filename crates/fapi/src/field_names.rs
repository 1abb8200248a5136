//! Names of header fields, compared as the most lenient server reads them.
//!
//! Names are compared by class: in lower case, with every character other than a letter or digit read as `-`, since
//! servers may read them so.

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A set of names, each of which stands for all of its class.
#[derive(Clone, Debug, Default)]
pub struct FieldNames(Box<[Box<str>]>);

impl FieldNames {
    /// The set of these names.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n HeaderName>) -> Self {
        let mut classes: Vec<Box<str>> = names.into_iter().map(|name| class_of(name.as_str()).into()).collect();
        classes.sort_unstable();
        classes.dedup();
        Self(classes.into())
    }

    /// Whether a field may be read as one of the set. `name` is in lower case.
    pub fn contain(&self, name: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        if is_odd(name) { self.contain_class(&class_of(name)) } else { self.contain_class(name) }
    }

    /// Whether the class of a name is in the set.
    pub(crate) fn contain_class(&self, class: &str) -> bool {
        self.0.binary_search_by(|own| (**own).cmp(class)).is_ok()
    }
}

/// The value of the one field that any server may read as `name`, which is in lower case; `None` if there is none or several, or if it
/// is for this hop alone (RFC 9110 §7.6.1), so that whoever is behind does not see it.
pub(crate) fn sole_of_class<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let class = class_of(name.as_str());
    let mut alike = headers.iter().filter(|(field, _)| *field == name || class_of(field.as_str()) == class);
    let (field, value) = alike.next()?;
    let options = headers.get_all(CONNECTION).iter().flat_map(|options| options.as_bytes().split(|byte| *byte == b','));
    let mut of_this_hop = options.filter(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()));
    (alike.next().is_none() && field == name && of_this_hop.next().is_none()).then_some(value)
}

/// Whether a name differs from its class, apart from case.
pub(crate) fn is_odd(name: &str) -> bool {
    name.bytes().any(|b| !(b.is_ascii_alphanumeric() || b == b'-'))
}

/// The class of a name: lower case, with `-` for everything but letters and digits.
pub(crate) fn class_of(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_all_that_may_be_read_as_it() {
        let names = FieldNames::new(&[HeaderName::from_static("x-api-key"), HeaderName::from_static("cookie")]);
        for name in ["cookie", "x-api-key", "x_api_key", "x.api-key"] {
            assert!(names.contain(name), "{name}");
            assert!(!FieldNames::default().contain(name), "control: {name}");
        }
        for name in ["cookies", "x-api", "x-api-key-2", "xapikey", "set-cookie"] {
            assert!(!names.contain(name), "{name}");
        }
    }
}
