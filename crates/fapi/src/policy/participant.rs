//! Whether the token's client is an active participant of its ecosystem, as a directory has it.

use super::claim_place::ClaimPlace;
use super::error::{InvalidPolicy, PolicyError};
use crate::directory::{DirectoryIndex, Kind, Participant, ParticipantError, Participants, Roles};
use crate::text::shown_text;
use crate::token::Claims;

/// A directory, whom it has to have as active, and the roles of which one is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantRule {
    directory: DirectoryIndex,
    /// The configured name of the directory.
    name: Box<str>,
    /// Which claims name them.
    organisation: Option<ClaimPlace>,
    software: Option<ClaimPlace>,
    roles: Vec<Box<str>>,
}

impl ParticipantRule {
    /// A rule for the organisation, the software or both, by the directory with this index and name; one of `roles` is needed, if any
    /// is named.
    ///
    /// # Errors
    /// [`InvalidPolicy::Participant`] if neither is named.
    pub fn new(
        (directory, name): (DirectoryIndex, &str),
        organisation: Option<ClaimPlace>,
        software: Option<ClaimPlace>,
        roles: Vec<Box<str>>,
    ) -> Result<Self, InvalidPolicy> {
        if organisation.is_none() && software.is_none() {
            return Err(InvalidPolicy::Participant);
        }
        Ok(Self { directory, name: name.into(), organisation, software, roles })
    }

    /// The directory.
    pub const fn directory(&self) -> DirectoryIndex {
        self.directory
    }

    /// What it requires, for operators.
    pub(super) fn shown(&self) -> String {
        let named = [(Kind::Organisation, &self.organisation), (Kind::Software, &self.software)];
        let named = named.into_iter().filter_map(|(what, by)| Some(format!("{what} {}", by.as_ref()?.as_str())));
        let named = named.collect::<Vec<_>>().join(" and ");
        let roles = Roles(self.roles.as_slice().into());
        let roles = if self.roles.is_empty() { String::new() } else { format!(", with the role {roles}") };
        format!("{named} active in the directory {}{roles}", shown_text(&self.name))
    }

    /// What a token has in its place.
    pub(super) fn found(&self, claims: &Claims) -> String {
        let named = [&self.organisation, &self.software];
        named.into_iter().flatten().map(|by| by.found(claims)).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn check(&self, claims: &Claims, participants: &dyn Participants) -> Result<(), PolicyError> {
        // An id is a text with something in it.
        let id = |by: &ClaimPlace| by.find(claims)?.as_str().filter(|id| !id.is_empty());
        let named = |what, by: &Option<ClaimPlace>| match by {
            Some(by) => id(by).map(Some).ok_or(ParticipantError::Unnamed(what)),
            None => Ok(None),
        };
        let check = || {
            let organisation = named(Kind::Organisation, &self.organisation)?;
            let software = named(Kind::Software, &self.software)?;
            participants.check(self.directory, &Participant { organisation, software }, &self.roles)
        };
        check().map_err(|error| PolicyError::Participant { directory: self.name.clone(), error })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::UnixTime;
    use crate::code::Code;
    use crate::directory::{Directory, Format};
    use crate::testing::introspected;

    /// One directory, the second of the configuration.
    struct InForce(Directory);

    impl Participants for InForce {
        fn check(
            &self,
            directory: DirectoryIndex,
            participant: &Participant<'_>,
            roles: &[Box<str>],
        ) -> Result<(), ParticipantError> {
            if directory == DirectoryIndex(1) {
                self.0.check(participant, roles)
            } else {
                Err(ParticipantError::NeverRead)
            }
        }
    }

    fn register() -> InForce {
        let product = |id: &str, status: &str| json!({ "softwareProductId": id, "status": status });
        let document = json!({ "data": [{
            "legalEntityId": "o", "status": "ACTIVE",
            "dataRecipientBrands": [{ "status": "ACTIVE", "softwareProducts": [product("s", "ACTIVE"), product("r", "REMOVED")] }],
        }]});
        InForce(Format::Cdr.parse(document.to_string().as_bytes()).unwrap())
    }

    fn rule(directory: usize, organisation: Option<&str>, software: Option<&str>, roles: &[&str]) -> ParticipantRule {
        let by = |pointer: Option<&str>| pointer.map(|pointer| ClaimPlace::new(pointer).unwrap());
        let roles = roles.iter().map(|role| (*role).into()).collect();
        ParticipantRule::new((DirectoryIndex(directory), "register"), by(organisation), by(software), roles).unwrap()
    }

    fn judge(rule: &ParticipantRule, claims: Value) -> Option<Code> {
        let mut answer = json!({ "active": true });
        answer.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let token = introspected(&answer, UnixTime(0));
        rule.check(token.claims_for_audit(), &register()).err().map(|error| error.code())
    }

    #[test]
    fn au_13_the_participant_that_the_token_names_has_to_be_active() {
        let both = rule(1, Some("/org/id"), Some("/software_id"), &[]);
        let token =
            |organisation: Value, software: Value| json!({ "org": { "id": organisation }, "software_id": software });
        for (organisation, software, expected) in [
            (json!("o"), json!("s"), None), // control
            (json!("x"), json!("s"), Some(Code::ParticipantUnknown)),
            (json!("o"), json!("x"), Some(Code::ParticipantUnknown)),
            (json!("o"), json!("r"), Some(Code::ParticipantInactive)),
            (json!("o"), Value::Null, Some(Code::ParticipantUnknown)),
            (json!("o"), json!(""), Some(Code::ParticipantUnknown)),
            (json!("o"), json!(["s"]), Some(Code::ParticipantUnknown)),
            (json!(7), json!("s"), Some(Code::ParticipantUnknown)),
        ] {
            assert_eq!(
                judge(&both, token(organisation.clone(), software.clone())),
                expected,
                "{organisation} {software}"
            );
        }
        let software = rule(1, None, Some("/software_id"), &[]);
        assert_eq!(judge(&software, json!({ "software_id": "s" })), None, "control");
        assert_eq!(judge(&software, json!({ "software_id": "r" })), Some(Code::ParticipantInactive));
        assert_eq!(judge(&software, json!({})), Some(Code::ParticipantUnknown));
        let role = rule(1, None, Some("/software_id"), &["AISP"]);
        assert_eq!(judge(&role, json!({ "software_id": "s" })), Some(Code::ParticipantRoleMissing));
    }

    #[test]
    fn without_its_directory_nobody_passes() {
        let named = json!({ "software_id": "s" });
        assert_eq!(judge(&rule(1, None, Some("/software_id"), &[]), named.clone()), None, "control");
        assert_eq!(judge(&rule(0, None, Some("/software_id"), &[]), named), Some(Code::DirectoryUnavailable));
    }

    #[test]
    fn a_rule_says_what_it_needs_and_a_token_what_it_has() {
        let both = rule(1, Some("/org_id"), Some("/software_id"), &["DADOS", "PAGTO"]);
        let shown = "organisation /org_id and software /software_id active in the directory \"register\", with the role \"DADOS\" or \"PAGTO\"";
        assert_eq!(both.shown(), shown);
        let token = introspected(&json!({ "active": true, "org_id": "o" }), UnixTime(0));
        assert_eq!(both.found(token.claims_for_audit()), "/org_id \"o\", /software_id missing");
        assert_eq!(
            rule(1, Some("/org_id"), None, &[]).shown(),
            "organisation /org_id active in the directory \"register\""
        );
    }

    #[test]
    fn a_rule_that_names_nobody_does_not_exist() {
        let new =
            |by: Option<ClaimPlace>| ParticipantRule::new((DirectoryIndex(0), "a"), by, None, Vec::new()).map(drop);
        assert_eq!(new(Some(ClaimPlace::new("/org_id").unwrap())), Ok(())); // control
        assert_eq!(new(None), Err(InvalidPolicy::Participant));
        assert_eq!(ClaimPlace::new("org_id"), Err(InvalidPolicy::Pointer));
    }
}
