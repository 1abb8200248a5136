//! The use of a signature, which is recorded like that of a proof (RFC 9421 §7.2.2).

use fapi::UnixTime;
use fapi::dpop::ProofId;
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::rejection::Cause;
use fapi::sha256;
use fapi::signature::error::SignatureError;
use fapi::signature::signed_request::SignatureUse;

use crate::replay::UsedOnce;

/// A signature of a client that is about to be used.
pub struct UsedSignature {
    signature: SignatureUse,
    share: KeyThumbprint,
}

impl UsedSignature {
    /// The signature of this client, whose share of the log it takes, whichever of its keys signed it.
    pub fn of(client_id: &str, signature: SignatureUse) -> Self {
        let share = KeyThumbprint::from_bytes(sha256(format!("signatures of {client_id}").as_bytes()));
        Self { signature, share }
    }
}

impl UsedOnce for UsedSignature {
    fn id(&self) -> ProofId {
        self.signature.id()
    }

    fn share(&self) -> &KeyThumbprint {
        &self.share
    }

    fn forget_after(&self) -> UnixTime {
        self.signature.forget_after()
    }

    fn check_still_good(&self, now: UnixTime) -> Result<(), Cause> {
        Ok(self.signature.check_still_fresh(now)?)
    }

    fn used_before(&self) -> Cause {
        SignatureError::Replayed.into()
    }
}
