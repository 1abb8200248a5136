//! Why a path is not valid, and which extension is to blame.

use std::fmt;

use x509_parser::der_parser::oid::Oid;

/// Why there is no valid path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Fault {
    /// Certificates that are not shown or not trusted are missing.
    #[error("no chain leads to a trust anchor")]
    NoPath,
    /// A key did not make a signature.
    #[error("a certificate was not signed by its issuer")]
    BadSignature,
    /// Too many certificates could be in the path.
    #[error("the chain takes too much work to validate")]
    TooMuchWork,
    /// A certificate violates RFC 5280 §4.
    #[error("a certificate is malformed")]
    Malformed,
    /// A certificate is of version 1 or 2.
    #[error("a certificate is not of version 3")]
    OldVersion,
    /// An issuer may not issue certificates, or the client's certificate may.
    #[error("an issuer is not an authority, or the client is one")]
    NotAnAuthority,
    /// There are more authorities than one allows.
    #[error("the path is longer than an authority allows")]
    PathTooLong,
    /// An extended key usage is for something else.
    #[error("a certificate is not valid for client authentication")]
    WrongPurpose,
    /// A name is outside the subtrees of an authority.
    #[error("a name is not among those that an authority may certify")]
    NameNotPermitted,
    /// An authority requires a policy, and none is valid for the whole path.
    #[error("no certificate policy is valid for the whole path")]
    NoValidPolicy,
    /// It cannot be decided what an extension means for this path.
    #[error("the extension {0} has something that is not supported")]
    Unsupported(Extension),
    /// A certificate is not valid yet.
    #[error("a certificate is not valid yet")]
    NotValidYet,
    /// A certificate has expired.
    #[error("a certificate has expired")]
    Expired,
    /// No revocation list covers a certificate.
    #[error("no revocation list covers a certificate")]
    UnknownStatus,
    /// A revocation list is past its `nextUpdate`.
    #[error("a revocation list is past its nextUpdate")]
    ExpiredList,
    /// A certificate was revoked.
    #[error("a certificate was revoked")]
    Revoked,
}

/// An extension, by its name in RFC 5280 §4.2 if it is one of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extension {
    name: &'static str,
    unsupported: &'static str,
}

macro_rules! extension {
    ($name:literal) => {
        Extension { name: $name, unsupported: concat!("its extension ", $name, " has something that is not supported") }
    };
}

impl Extension {
    pub(super) const NAME_CONSTRAINTS: Self = extension!("nameConstraints");
    pub(super) const CERTIFICATE_POLICIES: Self = extension!("certificatePolicies");
    const UNKNOWN: Self = Self { name: "(unknown)", unsupported: "it has a critical extension that is not known" };

    /// Returns the extension of this identifier.
    pub fn of(oid: &Oid<'_>) -> Self {
        // id-ce
        let [0x55, 0x1d, number] = oid.as_bytes() else { return Self::UNKNOWN };
        match number {
            9 => extension!("subjectDirectoryAttributes"),
            14 => extension!("subjectKeyIdentifier"),
            15 => extension!("keyUsage"),
            17 => extension!("subjectAltName"),
            18 => extension!("issuerAltName"),
            19 => extension!("basicConstraints"),
            30 => Self::NAME_CONSTRAINTS,
            31 => extension!("cRLDistributionPoints"),
            32 => Self::CERTIFICATE_POLICIES,
            33 => extension!("policyMappings"),
            35 => extension!("authorityKeyIdentifier"),
            36 => extension!("policyConstraints"),
            37 => extension!("extKeyUsage"),
            46 => extension!("freshestCRL"),
            54 => extension!("inhibitAnyPolicy"),
            _ => Self::UNKNOWN,
        }
    }

    /// Whether this module has read everything that the extension can say.
    pub(super) fn is_processed(self) -> bool {
        const PROCESSED: [&str; 9] = [
            "keyUsage",
            "subjectAltName",
            "basicConstraints",
            "nameConstraints",
            "certificatePolicies",
            "policyMappings",
            "policyConstraints",
            "extKeyUsage",
            "inhibitAnyPolicy",
        ];
        PROCESSED.contains(&self.name)
    }

    /// Why a certificate is refused in which it is not supported.
    pub const fn refusal(self) -> &'static str {
        self.unsupported
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
