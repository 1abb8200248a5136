//! The list of participants of Open Finance Brasil: `OrganisationsExportOpenData` in the description of its directory, which other
//! ecosystems publish in the same form.

use serde::Deserialize;

use super::document::{Element, Kept, NotADirectory, Word};
use super::facts::{Directory, Standing};

/// Reads the list. What it says of authorization servers, which is nearly all of it, is passed over.
pub(super) fn read(document: &[u8]) -> Result<Directory, NotADirectory> {
    let Kept(organisations) = serde_json::from_slice::<Kept<Organisation>>(document)?;
    let mut directory = Directory::default();
    for Known { id, standing, roles } in organisations {
        directory.add_organisation(&id, standing, roles)?;
    }
    Ok(directory)
}

#[derive(Deserialize)]
struct Organisation {
    #[serde(rename = "OrganisationId", default)]
    id: Word,
    /// `Active`, `Pending` or `Withdrawn`.
    #[serde(rename = "Status", default)]
    status: Word,
    #[serde(rename = "OrgDomainRoleClaims", default)]
    roles: Kept<RoleClaim>,
}

struct Known {
    id: Box<str>,
    standing: Standing,
    roles: Vec<Box<str>>,
}

impl Element for Organisation {
    type Kept = Known;

    fn kept(self) -> Option<Known> {
        let Self { id, status, roles } = self;
        Some(Known { id: id.id()?, standing: status.standing("Active"), roles: roles.0 })
    }
}

#[derive(Deserialize)]
struct RoleClaim {
    #[serde(rename = "Role", default)]
    role: Word,
    #[serde(rename = "Status", default)]
    status: Word,
}

impl Element for RoleClaim {
    type Kept = Box<str>;

    fn kept(self) -> Option<Box<str>> {
        self.role.id().filter(|_| self.status.is("Active"))
    }
}
