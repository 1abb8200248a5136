//! What a value of a token has to be, in itself or beside what the request has.

use serde_json::Value;

use super::amount::Amount;
use super::error::InvalidPolicy;
use super::request::{BodyMember, Operand, Part};
use super::value::{Scalar, list};

/// What a claim, or a member of an element of `authorization_details`, has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// This value.
    Equals(Operand),
    /// One of these values, of which there is at least one.
    OneOf(Vec<Scalar>),
    /// A list that contains this value.
    Contains(Operand),
    /// An amount in the currency of this one, and at least as much.
    Covers(BodyMember),
}

impl Comparison {
    /// The comparison, if a value can meet it.
    ///
    /// # Errors
    /// [`InvalidPolicy::ClaimValues`].
    pub(super) fn checked(self) -> Result<Self, InvalidPolicy> {
        match &self {
            Self::OneOf(values) if values.is_empty() => Err(InvalidPolicy::ClaimValues),
            Self::OneOf(_) | Self::Equals(_) | Self::Contains(_) | Self::Covers(_) => Ok(self),
        }
    }

    /// What it requires of the value with this name, for operators.
    pub(super) fn shown(&self, name: &str) -> String {
        match self {
            Self::Equals(Operand::Value(value)) => format!("{name} {value}"),
            Self::Equals(operand) => format!("{name} equal to {}", operand.shown()),
            Self::OneOf(values) => format!("{name} one of [{}]", list(values)),
            Self::Contains(operand) => format!("{name} with {}", operand.shown()),
            Self::Covers(amount) => format!("{name} of at least {}", amount.shown()),
        }
    }

    /// Whether its other side is in the body.
    pub(super) const fn compares_body(&self) -> bool {
        match self {
            Self::Equals(operand) | Self::Contains(operand) => matches!(operand, Operand::Body(_)),
            Self::OneOf(_) => false,
            Self::Covers(_) => true,
        }
    }

    /// `None` if the request does not have what the value is compared with.
    pub(super) fn is_met_by(&self, value: &Value, part: Part<'_>) -> Option<bool> {
        Some(match self {
            Self::Equals(operand) => operand.of(part)?.is(value),
            Self::OneOf(values) => values.iter().any(|wanted| wanted.is(value)),
            Self::Contains(operand) => {
                let wanted = operand.of(part)?;
                value.as_array().is_some_and(|values| values.iter().any(|one| wanted.is(one)))
            }
            Self::Covers(amount) => {
                let wanted = match part {
                    Part::Body(body) => Amount::read(amount.find(body)?)?,
                    Part::Head(_) => return None,
                };
                Amount::read(value).is_some_and(|granted| granted.covers(wanted))
            }
        })
    }

    /// What the request does not have, for operators.
    pub(super) fn lack_of_request(&self) -> String {
        match self {
            Self::Equals(operand) | Self::Contains(operand) => {
                format!("{} is missing or has more than one reading", operand.shown())
            }
            Self::Covers(amount) => format!("{} is not an amount", amount.shown()),
            Self::OneOf(values) => format!("nothing is one of [{}]", list(values)),
        }
    }
}
