//! What a directory says, and whether it has a participant.

use std::collections::HashMap;
use std::fmt;

use crate::text::shown_text;

/// The organisations and the software of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    organisations: HashMap<Box<str>, Organisation>,
    software: HashMap<Box<str>, Software>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Organisation {
    standing: Standing,
    roles: Vec<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Software {
    organisation: Box<str>,
    standing: Standing,
    /// Those that its organisation has given it; `None` if the directory says nothing of that.
    roles: Option<Vec<Box<str>>>,
}

/// Whether somebody is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    /// Why not, for operators: what stands where `Active` would.
    Inactive(Box<str>),
}

impl Standing {
    /// Active, if both are.
    pub(super) fn and(self, other: Self) -> Self {
        match self {
            Self::Active => other,
            Self::Inactive(_) => self,
        }
    }

    fn check(&self, what: Kind, id: &str) -> Result<(), ParticipantError> {
        match self {
            Self::Active => Ok(()),
            Self::Inactive(why) => Err(ParticipantError::Inactive { what, id: shown_text(id), standing: why.clone() }),
        }
    }
}

/// Whom a token names: an organisation, software, or both, of which the software has to be the organisation's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Participant<'p> {
    /// The id of the organisation.
    pub organisation: Option<&'p str>,
    /// The id of the software.
    pub software: Option<&'p str>,
}

/// What an id is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An organisation.
    Organisation,
    /// Software of an organisation.
    Software,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Organisation => "organisation",
            Self::Software => "software",
        })
    }
}

/// Roles, for operators: `"DADOS" or "PAGTO"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(pub Box<[Box<str>]>);

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.0.iter().map(|role| shown_text(role)).collect();
        f.write_str(&shown.join(" or "))
    }
}

/// Why a directory does not have a participant, or why that cannot be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParticipantError {
    /// The token names nobody.
    #[error("the token names no {0}")]
    Unnamed(Kind),
    /// The directory does not know the id.
    #[error("it has no {what} {id}")]
    Unknown {
        /// What the id is of.
        what: Kind,
        /// The id, as it may be printed.
        id: Box<str>,
    },
    /// The software is that of another organisation.
    #[error("its software {software} is not that of the organisation {organisation}")]
    Unrelated {
        /// The software, as it may be printed.
        software: Box<str>,
        /// The organisation, as it may be printed.
        organisation: Box<str>,
    },
    /// The directory knows it, and does not call it active.
    #[error("its {what} {id} is {standing}, not active")]
    Inactive {
        /// What the id is of.
        what: Kind,
        /// The id, as it may be printed.
        id: Box<str>,
        /// What the directory says, as it may be printed.
        standing: Box<str>,
    },
    /// It has none of the roles.
    #[error("its {what} {id} has no active role {needed}")]
    RoleMissing {
        /// What the id is of.
        what: Kind,
        /// The id, as it may be printed.
        id: Box<str>,
        /// The roles, one of which is needed.
        needed: Roles,
    },
    /// The directory has not been read since the start.
    #[error("it has not been read yet")]
    NeverRead,
    /// The directory was last read too long ago.
    #[error("it was last read {age} seconds ago, at most {keep} are allowed")]
    TooOld {
        /// Seconds since then.
        age: u64,
        /// The limit in seconds.
        keep: u64,
    },
}

/// The most organisations, and the most software, that a document may name.
pub const MAX_ENTRIES: usize = 100_000;

/// There is no room for another entry.
#[derive(Debug)]
pub(super) struct Full;

impl Directory {
    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.organisations.is_empty()
    }

    /// How many organisations it names, and how much software.
    pub fn len(&self) -> (usize, usize) {
        (self.organisations.len(), self.software.len())
    }

    /// Whether it has this participant, as an active one with one of these roles, or with any if none is named.
    ///
    /// # Errors
    /// [`ParticipantError`], but neither [`ParticipantError::NeverRead`] nor [`ParticipantError::TooOld`].
    pub fn check(&self, participant: &Participant<'_>, roles: &[Box<str>]) -> Result<(), ParticipantError> {
        let unknown = |what, id| ParticipantError::Unknown { what, id: shown_text(id) };
        let software = match participant.software {
            Some(id) => {
                let found = self.software.get(id).ok_or_else(|| unknown(Kind::Software, id))?;
                Some((id, found))
            }
            None => None,
        };
        let of_software = software.map(|(_, software)| &*software.organisation);
        if let (Some(organisation), Some(owner), Some((id, _))) = (participant.organisation, of_software, software)
            && organisation != owner
        {
            let (software, organisation) = (shown_text(id), shown_text(organisation));
            return Err(ParticipantError::Unrelated { software, organisation });
        }
        let id = participant.organisation.or(of_software);
        let id = id.ok_or(ParticipantError::Unnamed(Kind::Organisation))?;
        let organisation = self.organisations.get(id).ok_or_else(|| unknown(Kind::Organisation, id))?;
        organisation.standing.check(Kind::Organisation, id)?;
        has_role(&organisation.roles, roles, Kind::Organisation, id)?;
        if let Some((id, software)) = software {
            software.standing.check(Kind::Software, id)?;
            if let Some(own) = &software.roles {
                let of_both = own.iter().filter(|role| organisation.roles.contains(role)).cloned();
                has_role(&of_both.collect::<Vec<_>>(), roles, Kind::Software, id)?;
            }
        }
        Ok(())
    }

    /// Adds an organisation. One that is named twice is active if it is each time, with the roles that it has each time.
    pub(super) fn add_organisation(
        &mut self,
        id: &str,
        standing: Standing,
        mut roles: Vec<Box<str>>,
    ) -> Result<(), Full> {
        roles.sort_unstable();
        roles.dedup();
        if let Some(known) = self.organisations.get_mut(id) {
            known.standing = known.standing.clone().and(standing);
            known.roles.retain(|role| roles.contains(role));
            return Ok(());
        }
        if self.organisations.len() >= MAX_ENTRIES {
            return Err(Full);
        }
        self.organisations.insert(id.into(), Organisation { standing, roles });
        Ok(())
    }

    /// Adds software. Software that is named twice is active if it is each time, with the roles that it has each time; and not, if it
    /// is that of two organisations.
    pub(super) fn add_software(
        &mut self,
        id: &str,
        organisation: &str,
        standing: Standing,
        roles: Option<Vec<Box<str>>>,
    ) -> Result<(), Full> {
        if let Some(known) = self.software.get_mut(id) {
            let owners = match *known.organisation == *organisation {
                true => Standing::Active,
                false => Standing::Inactive("that of two organisations".into()),
            };
            known.standing = known.standing.clone().and(standing).and(owners);
            known.roles = match (known.roles.take(), roles) {
                (Some(known), Some(roles)) => Some(known.into_iter().filter(|role| roles.contains(role)).collect()),
                (known, roles) => known.or(roles),
            };
            return Ok(());
        }
        if self.software.len() >= MAX_ENTRIES {
            return Err(Full);
        }
        self.software.insert(id.into(), Software { organisation: organisation.into(), standing, roles });
        Ok(())
    }
}

fn has_role(own: &[Box<str>], needed: &[Box<str>], what: Kind, id: &str) -> Result<(), ParticipantError> {
    if needed.is_empty() || needed.iter().any(|role| own.contains(role)) {
        return Ok(());
    }
    Err(ParticipantError::RoleMissing { what, id: shown_text(id), needed: Roles(needed.into()) })
}
