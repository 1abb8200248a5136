//! How the directory of an ecosystem names a client: who has to have signed what comes from it.

use serde_json::{Map, Value};

/// The names of a client in a directory of participants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryName {
    /// Its organisation: `organisationId` in Brazil, `org_id` in the UK.
    pub org_id: Option<Box<str>>,
    /// Its software statement.
    pub software_id: Option<Box<str>>,
}

/// A name is something else than a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{member} is not a text with something in it")]
pub struct NotAName {
    /// The member.
    pub member: &'static str,
}

impl DirectoryName {
    /// The names of the members.
    pub const MEMBERS: [&str; 2] = ["org_id", "software_id"];

    /// Reads the members `org_id` and `software_id` of a client, either of which may be absent or null.
    ///
    /// # Errors
    /// [`NotAName`].
    pub fn read(members: &Map<String, Value>) -> Result<Self, NotAName> {
        let [org_id, software_id] = Self::MEMBERS;
        Ok(Self { org_id: name(members, org_id)?, software_id: name(members, software_id)? })
    }
}

fn name(members: &Map<String, Value>, member: &'static str) -> Result<Option<Box<str>>, NotAName> {
    let Some(value) = members.get(member).filter(|value| !value.is_null()) else { return Ok(None) };
    let text = value.as_str().filter(|text| !text.is_empty()).ok_or(NotAName { member })?;
    Ok(Some(text.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_texts_or_absent() {
        let read = |members: Value| DirectoryName::read(members.as_object().unwrap());
        let both = DirectoryName { org_id: Some("o".into()), software_id: Some("s".into()) };
        assert_eq!(read(json!({ "org_id": "o", "software_id": "s" })), Ok(both));
        assert_eq!(read(json!({ "org_id": null, "keys": [] })), Ok(DirectoryName::default()));
        for bad in [json!(1), json!(""), json!(["o"])] {
            assert_eq!(read(json!({ "software_id": bad })), Err(NotAName { member: "software_id" }));
        }
    }
}
