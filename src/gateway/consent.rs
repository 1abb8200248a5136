//! The consent of a request, on routes that require one: judged after the token and its binding.

use fapi::UnixTime;
use fapi::permit::{AwaitsConsent, Judged};
use fapi::policy::{ConsentAnswer, ConsentQuestion, PolicyError};
use fapi::rejection::Cause;

use super::Gateway;
use crate::trace;

impl Gateway {
    /// Checks that the consent of a request, if it uses one, was not revoked here since that was judged.
    ///
    /// # Errors
    /// [`PolicyError::ConsentRevoked`].
    pub fn consent_stands(&self, consent: Option<&ConsentQuestion>, now: UnixTime) -> Result<(), PolicyError> {
        let Some(consent) = consent else { return Ok(()) };
        match self.issuers.consent_revoked(consent.issuer.as_deref(), consent.id.as_str(), now) {
            true => Err(PolicyError::ConsentRevoked { status: "revoked here".into() }),
            false => Ok(()),
        }
    }

    /// Finds out in which state the consent is, and judges that. One that was revoked here is in no other state, whatever else is
    /// said of it, also while somebody is asked.
    pub(super) async fn judge_consent(&self, waiting: Box<AwaitsConsent>, now: UnixTime) -> Result<Judged, Cause> {
        let question = waiting.question();
        if self.issuers.consent_revoked(question.issuer.as_deref(), question.id.as_str(), now) {
            return Ok(waiting.judge(&ConsentAnswer::Notified)?);
        }
        let asks = question.asked.is_some();
        let mut span = asks.then(|| trace::child("consent", trace::Kind::Client));
        let answered = self.consents.answer(&waiting).await;
        let answer = match answered {
            Ok(answer) => answer,
            Err(cause) => {
                if let Some(span) = &mut span {
                    span.refused(cause.code());
                }
                return waiting.pass_unanswered(cause.code(), &cause).ok_or(cause);
            }
        };
        let question = waiting.question();
        if asks && self.issuers.consent_revoked(question.issuer.as_deref(), question.id.as_str(), now) {
            return Ok(waiting.judge(&ConsentAnswer::Notified)?);
        }
        Ok(waiting.judge(&answer)?)
    }
}
