//! Why a key in a token cannot be used, and the way out.

use std::fmt;

/// Why a key in a token cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The program has no code for it.
    #[error(
        "this program was built without the feature `pkcs11`; name the PEM file of a key, or build it with that feature"
    )]
    NotBuilt,
    /// Each module has a thread, for as long as the process lives.
    #[error("this process has loaded too many modules since its start; restart it")]
    TooManyModules,
    /// The library.
    #[error(
        "it cannot be loaded as a module of PKCS#11 ({0}); name the library that came with the token, and install what it needs"
    )]
    NotLoaded(String),
    /// The library is there, and its beginning failed: with many, what they reach over a network is away.
    #[error(
        "the module did not begin ({0}); see whether what it connects to can be reached, and what its own settings and log say"
    )]
    NotBegun(String),
    /// It hangs, or is busy with others.
    #[error("the module does not answer; see whether the token can be reached")]
    NoAnswer,
    /// It does one thing after another, and does not come to all.
    #[error("more is asked of the module than it does in time; have a faster token, or ask less of it")]
    Crowded,
    /// Any other fault that it reports.
    #[error("the token failed ({0}); see what its maker says of that")]
    Failed(String),
    /// No slot has a token of that label.
    #[error("there is no token of that label; {0}")]
    NoToken(Names),
    /// More than one slot does.
    #[error("{0} tokens have that label; give each a label of its own")]
    SeveralTokens(usize),
    /// The token has just refused it.
    #[error(
        "the token refused the PIN; write the right one. It is not tried again before the file changes, since a few wrong ones lock a token"
    )]
    WrongPin,
    /// The token has refused it before.
    #[error(
        "the token has refused this PIN before, or a login with it failed, and it is not tried again before the file changes; write the right one, or `touch` the file"
    )]
    RefusedPin,
    /// A login ended with something that says neither that the PIN is wrong nor that the token was away.
    #[error(
        "the login failed ({0}); see what the token's maker says of that, then write the right PIN, or `touch` the file. It is not tried again before, since the token may count it as a wrong one"
    )]
    LoginFailed(String),
    /// The token says so.
    #[error("one more wrong PIN locks the token, so it is not tried; log in with the token's own tool first")]
    LastTry,
    /// The token says so.
    #[error("the PIN of the token's user is locked, after too many wrong ones; unlock it with the token's own tool")]
    LockedPin,
    /// The token has no user, or wants another PIN first.
    #[error("the PIN of the token's user is not set, or has expired; set it with the token's own tool")]
    UnsetPin,
    /// No private key has that label.
    #[error("the token has no private key of that label; {0}")]
    NoObject(Names),
    /// More than one does.
    #[error("{0} private keys have that label; give each a label of its own")]
    SeveralObjects(usize),
    /// It is of a kind that does not sign here.
    #[error("the key cannot be used: {0}; create another one: EC P-256, Ed25519, or RSA from 2048 to 8192 bits")]
    Unusable(&'static str),
    /// The token does not have what the key needs.
    #[error("the token has no mechanism {0}, which the key needs; create a key of another kind")]
    NoMechanism(&'static str),
    /// Nothing says what its signatures are verified with.
    #[error("there is no public key that fits; store it in the token under the same label or ID as the private key")]
    NoPublicKey,
    /// The key that had that label is not there any more.
    #[error("another key has that label by now; reload the configuration")]
    Replaced,
}

/// Which part of the configuration a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole of it.
    Whole,
    /// The module.
    Module,
    /// The token.
    Token,
    /// The key in it.
    Object,
    /// The PIN.
    Pin,
}

impl Problem {
    /// Which part of the configuration it is about.
    pub const fn part(&self) -> Part {
        match self {
            Self::NotBuilt => Part::Whole,
            Self::TooManyModules | Self::NotLoaded(_) | Self::NotBegun(_) | Self::NoAnswer | Self::Crowded => {
                Part::Module
            }
            Self::Failed(_) | Self::NoToken(_) | Self::SeveralTokens(_) => Part::Token,
            Self::WrongPin
            | Self::RefusedPin
            | Self::LoginFailed(_)
            | Self::LastTry
            | Self::LockedPin
            | Self::UnsetPin => Part::Pin,
            Self::NoObject(_)
            | Self::SeveralObjects(_)
            | Self::Unusable(_)
            | Self::NoMechanism(_)
            | Self::NoPublicKey
            | Self::Replaced => Part::Object,
        }
    }

    /// Whether it may disappear although no file changes: the token was away. What is wrong with a PIN never does, so that
    /// nothing tries it again by itself.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::NotBegun(_) | Self::NoAnswer | Self::Crowded | Self::Failed(_) | Self::NoToken(_))
    }
}

/// The labels that there are instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// Labels, which somebody else chose: what is not printable is left out, and what is long is cut.
    pub fn of(labels: impl IntoIterator<Item = String>) -> Self {
        let short = |label: String| label.chars().filter(|character| !character.is_control()).take(32).collect();
        let mut labels: Vec<String> = labels.into_iter().map(short).collect();
        labels.sort();
        labels.dedup();
        Self(labels)
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().take(SHOWN).map(|label| format!("`{label}`")).collect();
        match (shown.len(), self.0.len()) {
            (0, _) => f.write_str("there is none at all"),
            (shown_count, count) if shown_count < count => {
                write!(f, "there are {}, and {} more", shown.join(", "), count.saturating_sub(shown_count))
            }
            (1, _) => write!(f, "there is {}", shown.join(", ")),
            (_, _) => write!(f, "there are {}", shown.join(", ")),
        }
    }
}

/// How many labels are shown.
const SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_few_and_printable() {
        let shown = |labels: &[&str]| Names::of(labels.iter().map(|label| (*label).to_owned())).to_string();
        assert_eq!(shown(&[]), "there is none at all");
        assert_eq!(shown(&["a"]), "there is `a`");
        assert_eq!(shown(&["b", "a\u{1b}[2J", "b"]), "there are `a[2J`, `b`");
        let many: Vec<String> = (10..20).map(|number| number.to_string()).collect();
        let said = Names::of(many).to_string();
        assert!(said.ends_with("`17`, and 2 more"), "{said}");
    }

    #[test]
    fn what_is_wrong_with_a_pin_never_passes_by_itself() {
        for problem in [
            Problem::WrongPin,
            Problem::RefusedPin,
            Problem::LoginFailed("C_Login: GeneralError".to_owned()),
            Problem::LastTry,
            Problem::LockedPin,
            Problem::UnsetPin,
        ] {
            assert_eq!((problem.part(), problem.may_pass()), (Part::Pin, false), "{problem}");
        }
        assert!(Problem::NoToken(Names::default()).may_pass(), "control");
    }

    #[test]
    fn a_module_that_does_not_begin_may_do_so_later_and_a_file_that_is_no_module_does_not() {
        let why = || "C_Initialize: DeviceError".to_owned();
        for (problem, passes) in [(Problem::NotBegun(why()), true), (Problem::NotLoaded(why()), false)] {
            assert_eq!((problem.part(), problem.may_pass()), (Part::Module, passes), "{problem}");
        }
    }
}
