//! The list of third party providers of Open Banking in the UK: SCIM resources (RFC 7643) with extensions of its own.

use serde::Deserialize;

use super::document::{Element, Kept, NotADirectory, Word};
use super::facts::{Directory, Standing};

/// Reads the list, which has to be whole (RFC 7644 §3.4.2).
pub(super) fn read(document: &[u8]) -> Result<Directory, NotADirectory> {
    let List { total, resources } = serde_json::from_slice(document)?;
    if total.is_some_and(|total| total > resources.0.len() as u64) {
        return Err(NotADirectory::Partial);
    }
    let mut directory = Directory::default();
    for Known { id, standing, roles, software } in resources.0.into_iter().flatten() {
        for Statement { id: software, standing, roles } in software {
            directory.add_software(&software, &id, standing, roles)?;
        }
        directory.add_organisation(&id, standing, roles)?;
    }
    Ok(directory)
}

#[derive(Deserialize)]
struct List {
    #[serde(rename = "totalResults")]
    total: Option<u64>,
    #[serde(rename = "Resources")]
    resources: Kept<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "urn:openbanking:organisation:1.0", default)]
    organisation: Option<Organisation>,
    #[serde(rename = "urn:openbanking:competentauthorityclaims:1.0", default)]
    claims: Option<Claims>,
    #[serde(rename = "urn:openbanking:softwarestatement:1.0", default)]
    software: Option<Software>,
}

#[derive(Deserialize)]
struct Organisation {
    #[serde(rename = "OBOrganisationId", default)]
    id: Word,
    #[serde(rename = "status", alias = "Status", default)]
    status: Word,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "Authorisations", default)]
    authorisations: Kept<Authorisation>,
}

#[derive(Deserialize)]
struct Software {
    #[serde(rename = "SoftwareStatements", default)]
    statements: Kept<SoftwareStatement>,
}

struct Known {
    id: Box<str>,
    standing: Standing,
    roles: Vec<Box<str>>,
    software: Vec<Statement>,
}

/// Each resource counts against the total, also one without an organisation.
impl Element for Resource {
    type Kept = Option<Known>;

    fn kept(self) -> Option<Option<Known>> {
        let known = self.organisation.and_then(|Organisation { id, status }| {
            let roles = self.claims.map(|claims| claims.authorisations.0).unwrap_or_default();
            let software = self.software.map(|software| software.statements.0).unwrap_or_default();
            Some(Known { id: id.id()?, standing: status.standing("Active"), roles, software })
        });
        Some(known)
    }
}

#[derive(Deserialize)]
struct Authorisation {
    #[serde(rename = "Psd2Role", default)]
    role: Word,
    #[serde(rename = "MemberState", default)]
    state: Word,
    #[serde(rename = "Active")]
    active: Option<Word>,
    #[serde(rename = "Status")]
    status: Option<Word>,
}

/// A role counts where it is held in the UK; a provider may have it elsewhere, and no longer here.
impl Element for Authorisation {
    type Kept = Box<str>;

    fn kept(self) -> Option<Box<str>> {
        let is_here = self.state.is("GB") || self.state.is("GBR");
        // It says so with one of two members, or with both.
        let said = [self.active.map(|active| active == Word::True), self.status.map(|status| status.is("Active"))];
        let is_active = said.contains(&Some(true)) && !said.contains(&Some(false));
        self.role.id().filter(|_| is_here && is_active)
    }
}

struct Statement {
    id: Box<str>,
    standing: Standing,
    roles: Option<Vec<Box<str>>>,
}

#[derive(Deserialize)]
struct SoftwareStatement {
    #[serde(rename = "Id", default)]
    id: Word,
    #[serde(rename = "Active", default)]
    active: Word,
    #[serde(rename = "Roles")]
    roles: Option<Kept<Word>>,
}

impl Element for SoftwareStatement {
    type Kept = Statement;

    fn kept(self) -> Option<Statement> {
        let standing = match self.active {
            Word::True => Standing::Active,
            Word::Text(_) | Word::Nothing => Standing::Inactive("inactive".into()),
        };
        Some(Statement { id: self.id.id()?, standing, roles: self.roles.map(|roles| roles.0) })
    }
}
