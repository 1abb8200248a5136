//! The directories of policy tests: whoever a token names is there, as the test says.

use std::sync::{Mutex, PoisonError};

use fapi::directory::{DirectoryIndex, Kind, Participant, ParticipantError, Participants, Roles};
use fapi::text::shown_text;

use crate::config::GivenParticipant;

/// Directories that say the same of everybody.
#[derive(Default)]
pub(super) struct Directories(Mutex<GivenParticipant>);

impl Directories {
    /// Says this from now on.
    pub(super) fn say(&self, given: GivenParticipant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = given;
    }
}

impl Participants for Directories {
    fn check(
        &self,
        _: DirectoryIndex,
        participant: &Participant<'_>,
        roles: &[Box<str>],
    ) -> Result<(), ParticipantError> {
        let (what, id) = match *participant {
            Participant { software: Some(id), .. } => (Kind::Software, id),
            Participant { software: None, organisation } => (Kind::Organisation, organisation.unwrap_or_default()),
        };
        let id = shown_text(id);
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            GivenParticipant::Unknown => Err(ParticipantError::Unknown { what, id }),
            GivenParticipant::Inactive => Err(ParticipantError::Inactive { what, id, standing: "inactive".into() }),
            GivenParticipant::WithoutRole if !roles.is_empty() => {
                Err(ParticipantError::RoleMissing { what, id, needed: Roles(roles.into()) })
            }
            GivenParticipant::WithoutRole | GivenParticipant::Active => Ok(()),
        }
    }
}
