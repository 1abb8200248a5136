//! ConnectID of Australia.

use super::headers::{HeaderRule, INTERACTION_ID, Needed};
use crate::code::Code;
use crate::profile::{Enforced, Rule, Setting};

/// CID-01.
pub(super) const HEADERS: &[HeaderRule] = &[HeaderRule { needed: Needed::Always, ..INTERACTION_ID }];

pub(super) const RULES: &[Rule] = &[Rule {
    id: "connectid.request.interaction_id",
    clause: "ConnectID technical specification, § Headers",
    says: "A request has one x-fapi-interaction-id, a UUID.",
    setting: Setting::Key("profile.ecosystem"),
    enforced: Enforced::Request,
    codes: &[Code::HeaderMissing, Code::HeaderInvalid],
    waivable: None,
}];
