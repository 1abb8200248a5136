//! A module: one rule, where it stands, and how it is looked at.

use crate::plan::Plan;
use crate::report::Severity;
use crate::session::{Session, Stop};

/// One rule and the calls that show whether it is kept.
#[derive(Clone, Copy)]
pub struct Module {
    /// The name, which never changes.
    pub name: &'static str,
    /// What it shows, in one sentence.
    pub purpose: &'static str,
    /// Where the rule stands.
    pub clause: &'static str,
    /// The modules of the OpenID conformance suite that look at the same.
    pub suite: &'static [&'static str],
    /// What it means if the rule is not kept.
    pub severity: Severity,
    /// The plans that it is part of.
    pub plans: Plans,
    /// Makes the calls.
    pub run: fn(&mut Session<'_>) -> Result<(), Stop>,
}

/// The plans that a module is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plans {
    /// Every plan that protects a resource.
    All,
    /// FAPI 2.0, with either binding.
    Fapi2,
    /// FAPI 2.0 with DPoP.
    Dpop,
    /// FAPI 2.0 and FAPI 1.0 Advanced with certificates.
    Certificate,
    /// FAPI 1.0 Advanced.
    Fapi1,
    /// Signed messages.
    Signatures,
    /// One or several ecosystems.
    Ecosystems(&'static [fapi::ecosystem::Ecosystem]),
}

impl Plans {
    /// Whether a plan has such modules.
    pub fn contain(self, plan: Plan) -> bool {
        let fapi2 = matches!(plan, Plan::Fapi2Security | Plan::Fapi2Dpop | Plan::Fapi2Mtls);
        match self {
            Self::All => fapi2 || plan == Plan::Fapi1Advanced,
            Self::Fapi2 => fapi2,
            Self::Dpop => matches!(plan, Plan::Fapi2Security | Plan::Fapi2Dpop),
            Self::Certificate => matches!(plan, Plan::Fapi2Security | Plan::Fapi2Mtls | Plan::Fapi1Advanced),
            Self::Fapi1 => plan == Plan::Fapi1Advanced,
            Self::Signatures => plan == Plan::MessageSigning,
            Self::Ecosystems(ecosystems) => {
                matches!(plan, Plan::Ecosystem(ecosystem) if ecosystems.contains(&ecosystem))
            }
        }
    }
}
