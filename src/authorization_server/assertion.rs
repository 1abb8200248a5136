//! The use of a client assertion, which is recorded like that of a proof (RFC 7523 §3 (7)).

use fapi::UnixTime;
use fapi::authorization_server::EndpointError;
use fapi::authorization_server::client_assertion::VerifiedAssertion;
use fapi::dpop::ProofId;
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::rejection::Cause;
use fapi::sha256;

use crate::replay::UsedOnce;

/// An assertion of a client that is about to be used.
pub struct UsedAssertion {
    assertion: VerifiedAssertion,
    share: KeyThumbprint,
}

impl UsedAssertion {
    /// The assertion of this client, whose share of the log it takes, whichever of its keys signed it.
    pub fn of(client_id: &str, assertion: VerifiedAssertion) -> Self {
        let share = KeyThumbprint::from_bytes(sha256(format!("client {client_id}").as_bytes()));
        Self { assertion, share }
    }

    /// Checks that it cannot have been used before the log knows every use.
    ///
    /// # Errors
    /// [`EndpointError::AssertionBeforeLog`]: the log's fault, and none of the client, who makes another one for the next request.
    pub fn check_still_known(&self, since: UnixTime) -> Result<(), EndpointError> {
        let at = self.assertion.made_at();
        if at > since { Ok(()) } else { Err(EndpointError::AssertionBeforeLog { at, since }) }
    }
}

impl UsedOnce for UsedAssertion {
    fn id(&self) -> ProofId {
        self.assertion.id()
    }

    fn share(&self) -> &KeyThumbprint {
        &self.share
    }

    fn forget_after(&self) -> UnixTime {
        self.assertion.forget_after()
    }

    fn check_still_good(&self, now: UnixTime) -> Result<(), Cause> {
        Ok(self.assertion.check_still_valid(now).map_err(EndpointError::from)?)
    }

    fn used_before(&self) -> Cause {
        EndpointError::AssertionReplayed.into()
    }
}
