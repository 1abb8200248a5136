//! The plans: which modules belong together.

use std::fmt;

use fapi::ecosystem::Ecosystem;

/// What a target is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// FAPI 2.0 Security Profile §5.3.4, with whichever binding the target claims.
    Fapi2Security,
    /// The same with DPoP (RFC 9449).
    Fapi2Dpop,
    /// The same with certificates (RFC 8705).
    Fapi2Mtls,
    /// FAPI 1.0 Advanced §6 and Baseline §6.2.1.
    Fapi1Advanced,
    /// FAPI 2.0 HTTP Signatures (RFC 9421).
    MessageSigning,
    /// What an ecosystem adds.
    Ecosystem(Ecosystem),
}

impl Plan {
    /// Every plan.
    pub fn all() -> impl Iterator<Item = Self> {
        let general =
            [Self::Fapi2Security, Self::Fapi2Dpop, Self::Fapi2Mtls, Self::Fapi1Advanced, Self::MessageSigning];
        general.into_iter().chain(Ecosystem::ALL.iter().copied().map(Self::Ecosystem))
    }

    /// The name, as it stands in configurations and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fapi2Security => "fapi2-rs-security",
            Self::Fapi2Dpop => "fapi2-rs-dpop",
            Self::Fapi2Mtls => "fapi2-rs-mtls",
            Self::Fapi1Advanced => "fapi1-rs-advanced",
            Self::MessageSigning => "message-signing",
            Self::Ecosystem(ecosystem) => ecosystem.as_str(),
        }
    }

    /// The plan of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|plan| plan.name() == name)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}
