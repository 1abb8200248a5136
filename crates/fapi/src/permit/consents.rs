//! What a request on a route that requires a consent has to pass, after all else in its header section.

use std::fmt;
use std::sync::Arc;

use super::{AwaitsConsent, Judged};
use crate::code::Code;
use crate::policy::{ConsentAnswer, ConsentQuestion, ConsentRule, Policy, PolicyError};
use crate::shadow::{InShadow, WouldDeny};

impl AwaitsConsent {
    /// What is to be found out.
    pub const fn question(&self) -> &ConsentQuestion {
        &self.question
    }

    /// A state in which its consent could be used.
    pub fn usual_status(&self) -> &str {
        self.policy.requirements().consent.as_ref().map_or("", ConsentRule::usual_status)
    }

    /// Judges what was found out. In shadow, what would be refused is noted.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn judge(self, answer: &ConsentAnswer) -> Result<Judged, PolicyError> {
        let judged = match &self.policy.requirements().consent {
            Some(rule) => rule.judge(&self.question, answer),
            None => Err(PolicyError::ConsentUnknown),
        };
        match (judged, self.shadow) {
            (Ok(()), None) => Ok(self.rest.using(self.question)),
            (Ok(()), Some(_)) => Ok(self.rest),
            (Err(error), None) => Err(error),
            (Err(error), Some(shadow)) => Ok(self.rest.noting(WouldDeny::by_policy(error.code(), &error, shadow))),
        }
    }

    /// The same of a request about whose consent nobody says anything, for this reason, if the route is in shadow.
    pub fn pass_unanswered(self, code: Code, why: &dyn fmt::Display) -> Option<Judged> {
        let noted = WouldDeny::instead_of(code, why, self.shadow?)?;
        Some(self.rest.noting(noted))
    }
}

impl Judged {
    /// Nothing passes a route that requires a consent before that is known.
    pub(super) fn beside_consent(
        self,
        question: Option<ConsentQuestion>,
        policy: Arc<Policy>,
        shadow: Option<InShadow>,
    ) -> Self {
        match question {
            Some(question) => Self::AwaitsConsent(AwaitsConsent { rest: self, policy, question, shadow }.into()),
            None => self,
        }
    }

    /// What remains beside a consent.
    ///
    /// # Errors
    /// The request itself, if its consent is to be judged first.
    pub fn without_consent(self) -> Result<Self, Box<AwaitsConsent>> {
        match self {
            Self::AwaitsConsent(waiting) => Err(waiting),
            other @ (Self::Authorized(_)
            | Self::AwaitsForm(_)
            | Self::AwaitsBody(_)
            | Self::AwaitsSignature(_)
            | Self::AwaitsParameters(_)) => Ok(other),
        }
    }
}
