//! The FAPI profiles as data: each rule with its clause, the setting that it limits, and where it is enforced.
//!
//! The tables have the rules that the other modules, or the gateway around them, enforce, and no others. A profile is a
//! floor: settings may be stricter, and what is less strict needs a waiver that ends.

mod both;
mod fapi1_advanced;
mod fapi2_security;
mod period;
mod rule;

pub use period::Period;
pub use rule::{Enforced, Rule, Setting, Waivable};

/// A FAPI profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// FAPI 2.0 Security Profile.
    Fapi2Security,
    /// FAPI 1.0 Security Profile, part 2: Advanced.
    Fapi1Advanced,
}

impl Profile {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Fapi2Security, Self::Fapi1Advanced];

    /// Its name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fapi2Security => "fapi2-security",
            Self::Fapi1Advanced => "fapi1-advanced",
        }
    }

    /// The version of the specification that it stands for.
    pub const fn version(self) -> &'static str {
        match self {
            Self::Fapi2Security => "FAPI 2.0 Security Profile Final",
            Self::Fapi1Advanced => "FAPI 1.0 Advanced Final",
        }
    }

    /// Its rules, in the order in which a request meets them.
    pub const fn rules(self) -> &'static [Rule] {
        match self {
            Self::Fapi2Security => fapi2_security::RULES,
            Self::Fapi1Advanced => fapi1_advanced::RULES,
        }
    }

    /// The rule with this id, if it is one of the profile.
    pub fn rule(self, id: &str) -> Option<&'static Rule> {
        self.rules().iter().find(|rule| rule.id == id)
    }

    /// Whether it forbids everything that `other` forbids, as far as it is enforced per route.
    pub const fn is_at_least(self, other: Self) -> bool {
        matches!((self, other), (Self::Fapi1Advanced, _) | (Self::Fapi2Security, Self::Fapi2Security))
    }
}

/// The id of the rule that access tokens are not signed with RS256.
pub const RS256: &str = "token.algorithms.rs256";
/// The id of the rule that no proof is accepted while the record that replicas share cannot be asked.
pub const REPLAY_LOCAL: &str = "replay.on_failure.local";
/// The id of the rule about `x-fapi-auth-date`.
pub const AUTH_DATE: &str = "request.auth_date";
/// The id of the rule about `x-fapi-customer-ip-address`.
pub const CUSTOMER_IP_ADDRESS: &str = "request.customer_ip_address";
/// The id of the rule about the character set of responses.
pub const CHARSET: &str = "response.charset";
/// The id of the rule about the audience of client assertions.
pub const CLIENT_ASSERTION_AUDIENCE: &str = "client.assertion_audience";
/// The id of the rule about `iss` in authorization responses.
pub const RESPONSE_ISSUER: &str = "response.issuer";

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn each() -> impl Iterator<Item = (Profile, &'static Rule)> {
        Profile::ALL.iter().flat_map(|profile| profile.rules().iter().map(|rule| (*profile, rule)))
    }

    #[test]
    fn each_rule_is_one_sentence_under_an_id_of_its_own() {
        for profile in Profile::ALL {
            let ids: BTreeSet<&str> = profile.rules().iter().map(|rule| rule.id).collect();
            assert_eq!(ids.len(), profile.rules().len(), "{profile:?}");
        }
        for (profile, rule) in each() {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_');
            assert!(rule.id.bytes().all(plain) && rule.id.contains('.'), "{}", rule.id);
            assert!(rule.says.ends_with('.') && !rule.says.contains('|') && !rule.says.contains('\n'), "{}", rule.id);
            assert!(rule.clause.contains('§'), "{}: {}", rule.id, rule.clause);
            assert_eq!(profile.rule(rule.id), Some(rule));
        }
        assert_eq!(Profile::Fapi2Security.rule("token.nothing"), None);
    }

    #[test]
    fn what_is_enforced_on_requests_has_a_code_and_what_is_enforced_elsewhere_has_none() {
        for (_, rule) in each() {
            let elsewhere = matches!(rule.enforced, Enforced::ListenerTls | Enforced::Outbound | Enforced::Answer);
            assert_eq!(rule.codes.is_empty(), elsewhere, "{}", rule.id);
        }
    }

    #[test]
    fn what_can_be_waived_is_a_closed_list() {
        let mut waivable: BTreeMap<&str, Waivable> = BTreeMap::new();
        for (_, rule) in each() {
            waivable.extend(rule.waivable.map(|of| (rule.id, of)));
        }
        let wanted = [
            (AUTH_DATE, Waivable::Route),
            (CUSTOMER_IP_ADDRESS, Waivable::Route),
            (CHARSET, Waivable::Route),
            (REPLAY_LOCAL, Waivable::Route),
            (RS256, Waivable::Issuer),
        ];
        assert_eq!(waivable, BTreeMap::from(wanted));
        for never in ["binding.required", "token.signature", "token.audience", "token.algorithms", "credentials.query"]
        {
            for profile in Profile::ALL {
                assert_eq!(profile.rule(never).map(|rule| rule.waivable), Some(None), "{never}");
            }
        }
    }

    #[test]
    fn fapi1_is_stricter_for_a_route_and_fapi2_is_not() {
        let (fapi1, fapi2) = (Profile::Fapi1Advanced, Profile::Fapi2Security);
        assert!(fapi1.is_at_least(fapi2) && fapi1.is_at_least(fapi1) && fapi2.is_at_least(fapi2));
        assert!(!fapi2.is_at_least(fapi1));
    }
}
