//! Directories of participants: which organisations and software an ecosystem knows, which of them are active, and the roles
//! that they have.
//!
//! A directory is a document that others publish. [`Format::parse`] reads one into facts ([`Directory`]), strictly as far as they
//! are needed: what is not said to be active is not. Whoever reads it, and how old it may become, is up to the caller, which
//! answers the questions of a policy ([`Participants`]) from the document that is in force.
//!
//! Written after the public descriptions of the documents, which are named at each [`Format`].

mod document;
mod facts;
mod participants;
mod register;
mod scim;

pub use document::{MAX_DOCUMENT_BYTES, NotADirectory};
pub use facts::{Directory, Kind, MAX_ENTRIES, Participant, ParticipantError, Roles};

/// The index of a directory in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirectoryIndex(pub usize);

/// Answers for the directories that are in force.
pub trait Participants: Send + Sync {
    /// Whether a directory has this participant, as an active one with one of these roles, or with any if none is named.
    ///
    /// # Errors
    /// [`ParticipantError`], also if the directory was never read, or too long ago.
    fn check(
        &self,
        directory: DirectoryIndex,
        participant: &Participant<'_>,
        roles: &[Box<str>],
    ) -> Result<(), ParticipantError>;
}

/// No directory was ever read.
impl Participants for () {
    fn check(&self, _: DirectoryIndex, _: &Participant<'_>, _: &[Box<str>]) -> Result<(), ParticipantError> {
        Err(ParticipantError::NeverRead)
    }
}

/// The form of a directory's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Open Banking in the UK: the list of SCIM resources, with `urn:openbanking:organisation:1.0` and its siblings; or, if it is a
    /// list by itself, the one that [`Self::Brazil`] has.
    Uk,
    /// Open Finance Brasil, `/participants`: a list of organisations with `OrgDomainRoleClaims`. Software has no part in it.
    Brazil,
    /// The register of the Consumer Data Right, `/cdr-register/v1/all/data-recipients`: legal entities, their brands and the software
    /// products of these. There are no roles.
    Cdr,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Uk, Self::Brazil, Self::Cdr];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uk => "uk",
            Self::Brazil => "brazil",
            Self::Cdr => "cdr",
        }
    }

    /// Whether it may say anything of software.
    pub const fn names_software(self) -> bool {
        match self {
            Self::Uk | Self::Cdr => true,
            Self::Brazil => false,
        }
    }

    /// Whether it says anything of roles.
    pub const fn names_roles(self) -> bool {
        match self {
            Self::Uk | Self::Brazil => true,
            Self::Cdr => false,
        }
    }

    /// Reads a document of at most [`MAX_DOCUMENT_BYTES`].
    ///
    /// # Errors
    /// [`NotADirectory`], also for a document that is not whole or names nobody: neither says that a participant has left.
    pub fn parse(self, document: &[u8]) -> Result<Directory, NotADirectory> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(NotADirectory::TooLarge);
        }
        let is_list = document.trim_ascii_start().starts_with(b"[");
        let directory = match self {
            Self::Uk if !is_list => scim::read(document)?,
            Self::Uk | Self::Brazil => participants::read(document)?,
            Self::Cdr => register::read(document)?,
        };
        if directory.is_empty() { Err(NotADirectory::Empty) } else { Ok(directory) }
    }
}

#[cfg(test)]
mod tests;
