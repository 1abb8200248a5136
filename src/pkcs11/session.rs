//! Sessions with a token whose user is logged in.
//!
//! A token knows one login for the whole process (PKCS #11 v2.40 base specification, C_Login): whoever is logged in is so in
//! every session, and another PIN is judged only after a logout.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::worker::{failed, in_words};
use super::{Names, Pin, Problem};

/// A session that is closed only by [`Session::close`]: what a token that is gone says of that is of no interest.
pub(super) struct Session(pub(super) cryptoki::session::Session, pub(super) Slot);

impl Session {
    pub(super) fn close(self) {
        let _ = self.0.close();
    }
}

/// The PINs that tokens have taken, and those that are not tried again.
#[derive(Default)]
pub(super) struct Pins {
    /// The last one that each token took, by its label.
    taken: BTreeMap<String, Arc<Pin>>,
    /// Those that were refused, or with which a login failed, the latest last.
    refused: VecDeque<Refused>,
}

/// A PIN that a token has refused.
#[derive(PartialEq, Eq)]
struct Refused {
    token: String,
    digest: [u8; 32],
    written: Option<SystemTime>,
}

impl Refused {
    fn new(token: &str, pin: &Pin) -> Self {
        Self { token: token.to_owned(), digest: pin.digest, written: pin.written }
    }
}

impl Pins {
    /// The PIN that a token took last.
    pub(super) fn of(&self, token: &str) -> Option<Arc<Pin>> {
        self.taken.get(token).cloned()
    }

    fn has_refused(&self, token: &str, pin: &Pin) -> bool {
        self.refused.contains(&Refused::new(token, pin))
    }

    fn took(&mut self, token: &str, pin: &Arc<Pin>) {
        self.refused.retain(|refused| refused.token != token || refused.digest != pin.digest);
        self.taken.insert(token.to_owned(), pin.clone());
    }

    fn refuse(&mut self, token: &str, pin: &Pin) {
        if self.taken.get(token).is_some_and(|taken| taken.digest == pin.digest) {
            self.taken.remove(token);
        }
        if self.refused.len() >= MOST_REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back(Refused::new(token, pin));
    }
}

/// Opens a session with a token, in which its user is logged in with this PIN. `close_others` is called before a logout, with
/// the token's label.
pub(super) fn session(
    library: &Pkcs11,
    token: &str,
    pin: &Arc<Pin>,
    pins: &mut Pins,
    close_others: impl FnOnce(&str),
) -> Result<Session, Problem> {
    let (slot, info) = slot(library, token)?;
    let session = Session(library.open_ro_session_no_drop(slot).map_err(failed)?, slot);
    let outcome = match info.login_required() {
        true => log_in(library, &session, token, pin, pins, close_others),
        false => {
            pins.took(token, pin);
            Ok(())
        }
    };
    match outcome {
        Ok(()) => Ok(session),
        Err(problem) => {
            session.close();
            Err(problem)
        }
    }
}

/// The slot of the token with this label.
fn slot(library: &Pkcs11, token: &str) -> Result<(Slot, TokenInfo), Problem> {
    let slots = library.get_slots_with_token().map_err(failed)?;
    let infos = slots.into_iter().filter_map(|slot| Some((slot, library.get_token_info(slot).ok()?)));
    let tokens: Vec<(Slot, TokenInfo)> = infos.filter(|(_, info)| info.token_initialized()).collect();
    let mut named = tokens.iter().filter(|(_, info)| info.label().trim_end() == token);
    match (named.next(), named.count()) {
        (Some((slot, info)), 0) => Ok((*slot, info.clone())),
        (Some(_), more) => Err(Problem::SeveralTokens(more.saturating_add(1))),
        (None, _) => {
            let labels = tokens.iter().map(|(_, info)| info.label().trim_end().to_owned());
            Err(Problem::NoToken(Names::of(labels)))
        }
    }
}

fn log_in(
    library: &Pkcs11,
    session: &Session,
    token: &str,
    pin: &Arc<Pin>,
    pins: &mut Pins,
    close_others: impl FnOnce(&str),
) -> Result<(), Problem> {
    let state = session.0.get_session_info().map_err(failed)?.session_state();
    let is_logged_in = matches!(state, SessionState::RoUser | SessionState::RwUser);
    let before = pins.of(token);
    if is_logged_in && before.as_ref().is_some_and(|before| before.digest == pin.digest) {
        return Ok(());
    }
    if pins.has_refused(token, pin) {
        return Err(Problem::RefusedPin);
    }
    judge(&library.get_token_info(session.1).map_err(failed)?)?;
    if is_logged_in {
        close_others(token);
        session.0.logout().map_err(failed)?;
    }
    let outcome = try_pin(session, token, pin, pins);
    if let (Err(_), true, Some(before)) = (&outcome, is_logged_in, before) {
        // What is in force goes on, unless that could lock the token.
        let is_safe = library.get_token_info(session.1).is_ok_and(|info| judge(&info).is_ok());
        if !is_safe {
            tracing::error!(
                token,
                "nobody logs in with the PIN that was in force, since one more wrong one could lock the token"
            );
        } else if let Err(problem) = try_pin(session, token, &before, pins) {
            tracing::error!(token, %problem, "nobody is logged in with the PIN that was in force");
        }
    }
    outcome
}

/// Whether a PIN may be tried.
fn judge(info: &TokenInfo) -> Result<(), Problem> {
    match () {
        () if info.user_pin_locked() => Err(Problem::LockedPin),
        () if info.user_pin_final_try() => Err(Problem::LastTry),
        () if !info.user_pin_initialized() => Err(Problem::UnsetPin),
        () => Ok(()),
    }
}

fn try_pin(session: &Session, token: &str, pin: &Arc<Pin>, pins: &mut Pins) -> Result<(), Problem> {
    match session.0.login(UserType::User, Some(&AuthPin::from(pin.text.as_str()))) {
        Ok(()) => {
            pins.took(token, pin);
            Ok(())
        }
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            pins.refuse(token, pin);
            Err(Problem::WrongPin)
        }
        Err(Error::Pkcs11(RvError::PinLocked, _)) => {
            pins.refuse(token, pin);
            Err(Problem::LockedPin)
        }
        Err(Error::Pkcs11(RvError::PinExpired | RvError::UserPinNotInitialized, _)) => Err(Problem::UnsetPin),
        Err(error) if has_judged_no_pin(&error) => Err(failed(error)),
        Err(error) => {
            pins.refuse(token, pin);
            Err(Problem::LoginFailed(in_words(&error)))
        }
    }
}

/// Whether a login clearly ended before anybody looked at the PIN. A module that says no more than that it failed may have counted
/// it as a wrong one.
const fn has_judged_no_pin(error: &Error) -> bool {
    match error {
        Error::Pkcs11(value, _) => matches!(
            value,
            RvError::CryptokiNotInitialized
                | RvError::DeviceError
                | RvError::DeviceMemory
                | RvError::DeviceRemoved
                | RvError::HostMemory
                | RvError::SessionClosed
                | RvError::SessionHandleInvalid
                | RvError::TokenNotPresent
                | RvError::TokenNotRecognized
                | RvError::UserAlreadyLoggedIn
                | RvError::UserAnotherAlreadyLoggedIn
                | RvError::UserTooManyTypes
        ),
        // None of these is of the module.
        Error::LibraryLoading(_)
        | Error::NotSupported
        | Error::TryFromInt(_)
        | Error::TryFromSlice(_)
        | Error::ParseInt(_)
        | Error::Utf8(_)
        | Error::NulError(_)
        | Error::NullFunctionPointer
        | Error::MissingSymbol(_)
        | Error::InvalidValue
        | Error::PinNotSet => true,
    }
}

/// How many refused PINs are remembered.
const MOST_REFUSED: usize = 64;

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_refused_pin_is_remembered_until_its_file_changes() {
        let pin = |text: &str, written| Arc::new(Pin::new(Zeroizing::new(text.to_owned()), written));
        let (old, new) =
            (Some(SystemTime::UNIX_EPOCH), SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(1)));
        let mut pins = Pins::default();
        pins.took("a", &pin("1111", old));
        pins.refuse("a", &pin("2222", old));
        for (token, text, written, refused) in
            [("a", "2222", old, true), ("a", "2222", new, false), ("a", "1111", old, false), ("b", "2222", old, false)]
        {
            assert_eq!(pins.has_refused(token, &pin(text, written)), refused, "{token} {text} {written:?}");
        }
        assert!(pins.of("a").is_some(), "control");
        pins.refuse("a", &pin("1111", new));
        assert!(pins.of("a").is_none(), "what was taken and is refused by now");
        pins.took("a", &pin("2222", new));
        assert!(!pins.has_refused("a", &pin("2222", old)), "it is right by now");
        for number in 0..1000 {
            pins.refuse("c", &pin(&number.to_string(), old));
        }
        assert_eq!(pins.refused.len(), MOST_REFUSED);
    }
}
