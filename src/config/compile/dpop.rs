//! `dpop` and `replay`: how long a proof is valid, how nonces are made, how many used proofs are remembered
//! (RFC 9449 §8, §11.1).

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::alphabet::{self, Alphabet};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use data_encoding::HEXLOWER_PERMISSIVE;
use fapi::credentials::Scheme;
use fapi::dpop::{Freshness, Nonces};
use fapi::policy::{NonceMode, Policy};
use fapi::profile::{Period, REPLAY_LOCAL};
use fapi::route::{Route, Routes};
use zeroize::Zeroizing;

use super::Build;
use super::stores::MEMORY;
use crate::config::error::{KeyPath, quoted};
use crate::config::file::{self, File, OnFailure};
use crate::config::scalar::{self, FilePath};
use crate::config::{NamedFiles, VirtualHost};
use crate::connection::tls::{ClientCertificates, Trust};
use crate::replay::memory::Capacity;

/// The record of used proofs.
pub(super) struct Replay {
    pub(super) capacity: Capacity,
    /// The store in which replicas share it.
    pub(super) store: Option<usize>,
    /// The routes on which a proof is accepted while that does not answer, and when.
    pub(super) alone: Vec<(Arc<str>, Period)>,
}

impl Build<'_> {
    pub(super) fn dpop(&mut self, file: &mut File) -> Option<Freshness> {
        let at = KeyPath::of("dpop");
        let (skew_at, key_at) = (at.key("clock_skew"), at.key("nonce_key"));
        let entry = file.dpop.get_or_insert_default();
        entry.nonce.get_or_insert_default();
        let max_age = self.seconds(&at.key("proof_max_age"), &mut entry.proof_max_age, 60, 1..=300);
        // FAPI 2.0 §5.3.2.1 (13): "shall accept JWTs with an iat or nbf timestamp between 0 and 10 seconds in the
        // future but shall reject JWTs with an iat or nbf timestamp greater than 60 seconds in the future".
        let clock_skew = self.seconds(&skew_at, &mut entry.clock_skew, 10, 0..=60);
        if clock_skew.is_some_and(|seconds| seconds < 10) {
            self.warn(&skew_at, "FAPI 2.0 requires that clocks up to 10s ahead are accepted; write at least `10s`");
        }
        let lifetime = self.seconds(&at.key("nonce_lifetime"), &mut entry.nonce_lifetime, 60, 10..=3600);
        let (keys, of_this_process) = match &entry.nonce_key {
            Some(path) => (self.symmetric_keys(&key_at, path), false),
            None => (self.key_of_process(&key_at).map(|key| Zeroizing::new(vec![key])), true),
        };
        let nonces = Nonces::new(&keys?, lifetime?).ok()?;
        let nonces = if of_this_process { nonces.of_this_process() } else { nonces };
        Some(Freshness { max_age: max_age?, clock_skew: clock_skew?, nonces })
    }

    pub(super) fn replay(&mut self, file: &mut File) -> Option<Replay> {
        let at = KeyPath::of("replay");
        let entry = file.replay.get_or_insert_default();
        let store = entry.store.get_or_insert_with(|| MEMORY.to_owned()).clone();
        let shared = self.store_named(&at.key("store"), &store, file.stores.as_ref());
        let alone = self.replay_alone(&at.key("on_failure"), entry, shared.is_some(), file.waivers.as_deref());
        self.summary.push(match (shared, &*alone) {
            (None, _) => "guarantee replay: local, in the memory of each process".to_owned(),
            (Some(_), []) => format!("guarantee replay: shared, in store {store}; refused while it does not answer"),
            (Some(_), routes) => {
                let routes = routes.iter().map(|(route, _)| &**route).collect::<Vec<_>>().join(", ");
                format!("guarantee replay: shared, in store {store}; degraded while it does not answer, for {routes}")
            }
        });
        let max_entries = *entry.max_entries.get_or_insert(1_000_000);
        if !(1000..=100_000_000).contains(&max_entries) {
            self.problem(&at.key("max_entries"), "the number must be from 1000 to 100000000; the default is `1000000`");
            return None;
        }
        let per_key = *entry.max_entries_per_key.get_or_insert(max_entries / 10);
        if !(100..=max_entries).contains(&per_key) {
            self.problem(
                &at.key("max_entries_per_key"),
                format!("the number must be from 100 to that of `max_entries`; the default is `{}`", max_entries / 10),
            );
            return None;
        }
        let capacity = Capacity { total: max_entries.try_into().ok()?, per_key: per_key.try_into().ok()? };
        Some(Replay { capacity, store: shared, alone })
    }

    /// The routes on which a proof is accepted while the store does not answer, and when.
    fn replay_alone(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Replay,
        shared: bool,
        waivers: Option<&[file::Waiver]>,
    ) -> Vec<(Arc<str>, Period)> {
        if *entry.on_failure.get_or_insert_default() == OnFailure::Refuse {
            return Vec::new();
        }
        let waivers = waivers.unwrap_or_default();
        let alone = self.waivers.iter().filter(|waiver| waiver.rule.id == REPLAY_LOCAL);
        let alone: Vec<_> = alone.map(|waiver| (waiver.name.as_str().into(), waiver.period)).collect();
        if !shared && entry.store.as_deref() == Some(MEMORY) {
            self.problem(
                at,
                "the memory of the process does not fail; remove the key, or name a store in `replay.store`",
            );
        } else if alone.is_empty() && !waivers.iter().any(|waiver| waiver.rule.as_deref() == Some(REPLAY_LOCAL)) {
            let problem = format!(
                "with `local`, a proof passes once at each replica while the store does not answer, which the profile forbids; write `refuse`, or name the routes that need it in `waivers` of `{REPLAY_LOCAL}`"
            );
            self.problem(at, problem);
        }
        alone
    }

    /// Warns of routes that no client can use, and of nonces that only this process can verify.
    pub(super) fn warn_of_senders(&mut self, file: &File, listeners: &[(SocketAddr, VirtualHost)], routes: &Routes) {
        let asks = |host: &VirtualHost| host.tls.client_certificates.are_requested();
        let serves =
            |host: &VirtualHost, route: &Route| host.origins.iter().any(|origin| route.answers_for(origin.host()));
        let needs_certificate =
            |route: &Route| route.policy().is_some_and(|policy| policy.schemes() == [Scheme::Bearer]);
        let unusable = |route: &Route| {
            needs_certificate(route) && !listeners.iter().any(|(_, host)| asks(host) && serves(host, route))
        };
        for (index, (_, host)) in listeners.iter().enumerate().filter(|(_, (_, host))| !asks(host)) {
            let unusable = routes.iter().filter(|route| serves(host, route) && unusable(route));
            let names = quoted(unusable.map(|route| &*route.name));
            if !names.is_empty() {
                let at = KeyPath::of("listeners").index(index).key("tls").key("client_certificates");
                let warning = "no client certificate is requested, so routes that accept only certificate-bound tokens refuse everyone";
                self.warn(&at, format!("{warning}: {names}"));
            }
        }
        let verifies = |host: &VirtualHost| match &host.trusted_proxy {
            Some(proxy) => matches!(proxy.trust, Trust::Chain { .. }),
            None => {
                matches!(host.tls.client_certificates, ClientCertificates::Requested { trust: Trust::Chain { .. }, .. })
            }
        };
        // The others do not help whoever comes to this one.
        for (index, (_, host)) in listeners.iter().enumerate().filter(|(_, (_, host))| !verifies(host)) {
            let reads_certificate = |route: &Route| route.policy().is_some_and(Policy::reads_certificate);
            let unreadable = routes.iter().filter(|route| serves(host, route) && reads_certificate(route));
            let names = quoted(unreadable.map(|route| &*route.name));
            if !names.is_empty() {
                let at = KeyPath::of("listeners").index(index).key("tls").key("client_certificates");
                let warning = "no chain of a client certificate is verified, so routes that ask what a certificate says refuse everyone who comes to this listener";
                self.warn(&at, format!("{warning}: {names}"));
            }
        }
        let given = file.dpop.as_ref().is_some_and(|dpop| dpop.nonce_key.is_some());
        let asks_for_nonce = |route: &Route| route.policy().is_some_and(|policy| policy.nonce() != NonceMode::Never);
        if !given && routes.iter().any(|route| asks_for_nonce(route)) {
            self.warn(
                &KeyPath::of("dpop").key("nonce_key"),
                "no key is configured, so replicas do not accept each other's nonces; with more than one replica, give all the same key",
            );
        }
    }

    /// Reads a time in whole seconds, the unit of `iat`.
    pub(super) fn seconds(
        &mut self,
        at: &KeyPath,
        entry: &mut Option<scalar::Duration>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let time = entry.get_or_insert(scalar::Duration(Duration::from_secs(default))).0;
        if time.subsec_nanos() != 0 || !range.contains(&time.as_secs()) {
            let (least, most) = range.into_inner();
            let problem = format!(
                "the time must be a whole number of seconds from {least}s to {most}s; the default is `{default}s`"
            );
            self.problem(at, problem);
            return None;
        }
        Some(time.as_secs())
    }

    /// The keys of a file: 32 random bytes for each.
    pub(super) fn symmetric_keys(&mut self, at: &KeyPath, path: &FilePath) -> Option<Zeroizing<Vec<[u8; 32]>>> {
        // A key that was written here by mistake must not appear in a log.
        if path.0.to_str().and_then(key_from_text).is_some() {
            self.problem(at, "this is a key, not a path; save it to a file and write the path here");
            return None;
        }
        if self.named_files == NamedFiles::Unread {
            return self.key_of_process(at).map(|key| Zeroizing::new(vec![key]));
        }
        let bytes = self.read_secret(at, path)?;
        match read_keys(&bytes) {
            Ok(keys) => Some(Zeroizing::new(keys)),
            Err(problem) => {
                self.problem(at, format!("`{}` {problem}", path.0.display()));
                None
            }
        }
    }

    /// The random key of this process; it survives a reload, so that nonces that clients already have stay valid.
    fn key_of_process(&mut self, at: &KeyPath) -> Option<[u8; 32]> {
        static KEY: OnceLock<[u8; 32]> = OnceLock::new();
        if let Some(key) = KEY.get() {
            return Some(*key);
        }
        let mut key = [0; 32];
        if aws_lc_rs::rand::fill(&mut key).is_err() {
            self.problem(at, "the operating system gave no random bytes for a key; name a file that has a key");
            return None;
        }
        Some(*KEY.get_or_init(|| key))
    }
}

/// Reads the keys of a file. The error says why there are none, and contains nothing of the file.
fn read_keys(bytes: &[u8]) -> Result<Vec<[u8; 32]>, String> {
    // 32 random bytes are practically never all printable, so a file of text is not read as raw keys: 32 letters are
    // not a key.
    let is_text = bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    let keys = match std::str::from_utf8(bytes) {
        Ok(text) if is_text => {
            let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
            let key = |(line, number): (&str, usize)| {
                let problem =
                    || format!("has no key of 32 bytes in hex, base64 or base64url on line {number}; {WAY_OUT}");
                key_from_text(line.trim()).ok_or_else(problem)
            };
            lines.map(key).collect::<Result<Vec<_>, String>>()?
        }
        Ok(_) | Err(_) => {
            let (keys, rest) = bytes.as_chunks::<32>();
            if !rest.is_empty() {
                return Err(format!("is not text, and its length is not a multiple of 32 bytes; {WAY_OUT}"));
            }
            keys.to_vec()
        }
    };
    if keys.is_empty() {
        return Err(format!("is empty; {WAY_OUT}"));
    }
    if keys.len() > MAX_KEYS {
        return Err(format!("has more than {MAX_KEYS} keys; remove the oldest, which are the last"));
    }
    let constant = |key: &[u8; 32]| key.iter().all(|byte| *byte == key[0]);
    match keys.iter().position(constant) {
        Some(place) => Err(format!("has a key that is one byte repeated, number {}; {WAY_OUT}", place + 1)),
        None => Ok(keys),
    }
}

fn key_from_text(text: &str) -> Option<[u8; 32]> {
    if text.len() == 64 {
        return HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok();
    }
    let decode = |alphabet: &Alphabet| {
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        GeneralPurpose::new(alphabet, config).decode(text).ok()?.try_into().ok()
    };
    decode(&alphabet::STANDARD).or_else(|| decode(&alphabet::URL_SAFE))
}

const WAY_OUT: &str = "make one with `openssl rand -out FILE 32`";

/// The most keys in a file; a nonce that the gateway did not issue is tried with all of them.
const MAX_KEYS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=";

    fn key() -> [u8; 32] {
        let mut key: [u8; 32] = std::array::from_fn(|place| place.try_into().unwrap());
        key[31] = 0xff;
        key
    }

    #[test]
    fn reads_keys_in_every_form() {
        let other: [u8; 32] = std::array::from_fn(|place| 255 - u8::try_from(place).unwrap());
        let url_safe = BASE64.replace('/', "_").replace('+', "-");
        for text in
            [HEX, &HEX.to_uppercase(), BASE64, BASE64.trim_end_matches('='), &url_safe, url_safe.trim_end_matches('=')]
        {
            assert_eq!(read_keys(text.as_bytes()).unwrap(), [key()], "{text}");
            assert_eq!(read_keys(format!("\n  {text} \r\n{HEX}").as_bytes()).unwrap(), [key(), key()], "{text}");
        }
        assert_eq!(read_keys(&key()).unwrap(), [key()]);
        assert_eq!(read_keys(&[other, key()].concat()).unwrap(), [other, key()]);
        assert_eq!(read_keys(&[key(); MAX_KEYS].concat()).unwrap().len(), MAX_KEYS);
    }

    #[test]
    fn refuses_what_is_no_key_without_a_word_of_it() {
        let lines = |count| format!("{HEX}\n").repeat(count).into_bytes();
        for (bytes, wanted) in [
            (Vec::new(), "is empty"),
            (b" \n\r\n".to_vec(), "is empty"),
            (key()[..31].to_vec(), "not a multiple of 32 bytes"),
            ([&key()[..], b"\n"].concat(), "not a multiple of 32 bytes"),
            (vec![0; 32], "one byte repeated, number 1"),
            ([key(), [0xff; 32]].concat(), "one byte repeated, number 2"),
            ("ab".repeat(32).into_bytes(), "one byte repeated, number 1"),
            ([key(); MAX_KEYS + 1].concat(), "more than 8 keys"),
            (lines(MAX_KEYS + 1), "more than 8 keys"),
            (b"correct-horse-battery-staple-now".to_vec(), "on line 1"), // 32 bytes, but not random
            (HEX[..32].into(), "on line 1"),
            (format!("{HEX}\n{}", &HEX[..62]).into(), "on line 2"),
            (format!("{HEX}{HEX}").into(), "on line 1"),
            (format!("{HEX} # the first").into(), "on line 1"),
            (BASE64.replace('8', "9").into(), "on line 1"), // bits after the last byte
        ] {
            let problem = read_keys(&bytes).unwrap_err();
            assert!(problem.contains(wanted), "{bytes:?}: {problem}");
            assert!(!problem.contains("0001") && !problem.contains("horse"), "{problem}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reads_back_what_is_written_in_any_form(key: [u8; 32]) {
            proptest::prop_assume!(key.iter().any(|byte| *byte != key[0]));
            let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            let standard = base64::engine::general_purpose::STANDARD.encode(key);
            let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key);
            for text in [hex, standard, url_safe] {
                proptest::prop_assert_eq!(key_from_text(&text), Some(key));
            }
        }

        #[test]
        fn never_panics(bytes: Vec<u8>, text: String) {
            let _ = read_keys(&bytes);
            let _ = read_keys(text.as_bytes());
        }
    }
}
