//! The roles of payment service providers (ETSI TS 119 495 §5.2.2).

use std::fmt;

/// A role that an authority has given to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `Unspecified`: none that could be compared with anything.
    Unspecified,
    /// `PSP_AS`: account servicing.
    AccountServicing,
    /// `PSP_PI`: payment initiation.
    PaymentInitiation,
    /// `PSP_AI`: account information.
    AccountInformation,
    /// `PSP_IC`: issuing of card-based payment instruments.
    CardIssuing,
    /// `PSP_CB`: an international central bank.
    CentralBank,
    /// `PSP_PA`: an international public authority.
    PublicAuthority,
    /// `VOP_RS`, of the verification of payees.
    VopRs,
    /// `VOP_VS`, of the verification of payees.
    VopVs,
}

impl Role {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Unspecified,
        Self::AccountServicing,
        Self::PaymentInitiation,
        Self::AccountInformation,
        Self::CardIssuing,
        Self::CentralBank,
        Self::PublicAuthority,
        Self::VopRs,
        Self::VopVs,
    ];

    /// Its `roleOfPspName`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "Unspecified",
            Self::AccountServicing => "PSP_AS",
            Self::PaymentInitiation => "PSP_PI",
            Self::AccountInformation => "PSP_AI",
            Self::CardIssuing => "PSP_IC",
            Self::CentralBank => "PSP_CB",
            Self::PublicAuthority => "PSP_PA",
            Self::VopRs => "VOP_RS",
            Self::VopVs => "VOP_VS",
        }
    }

    /// The last number of its `roleOfPspOid`, which begins with 0.4.0.19495.1.
    pub const fn number(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::AccountServicing => 1,
            Self::PaymentInitiation => 2,
            Self::AccountInformation => 3,
            Self::CardIssuing => 4,
            Self::CentralBank => 5,
            Self::PublicAuthority => 6,
            Self::VopRs => 51,
            Self::VopVs => 52,
        }
    }

    /// The role with this identifier.
    pub(super) fn of(oid: &[u8]) -> Option<Self> {
        let [number] = oid.strip_prefix(ARC)? else { return None };
        Self::ALL.iter().copied().find(|role| role.number() == *number)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// 0.4.0.19495.1
const ARC: &[u8] = &[4, 0, 0x81, 0x98, 0x27, 1];
