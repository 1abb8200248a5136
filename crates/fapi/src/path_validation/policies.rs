//! Certificate policies, their mappings and constraints (RFC 5280 §6.1.3 (d) to (f), §6.1.4 (a), (b), (h) to (j),
//! §6.1.5 (a), (b), (g)).
//!
//! Every policy is acceptable to the gateway (`user-initial-policy-set` is any-policy), so of the valid policy tree only
//! the nodes of the current depth decide: the tree is NULL when there are none. They are kept merged by policy, as RFC
//! 9618 §3.1 says: a tree can grow exponentially with the length of the path.

use std::collections::{BTreeMap, BTreeSet};

use super::certificate::{Certificate, Mapping};
use super::fault::Fault;

/// The policy variables of RFC 5280 §6.1.2.
pub(super) struct Policies<'c> {
    /// The nodes of the current depth: `valid_policy` and its `expected_policy_set`.
    valid: BTreeMap<&'c [u8], BTreeSet<&'c [u8]>>,
    explicit_policy: u32,
    policy_mapping: u32,
    inhibit_any_policy: u32,
}

impl<'c> Policies<'c> {
    /// The state before the first of `length` certificates: nothing is required and nothing inhibited.
    pub(super) fn initial(length: usize) -> Self {
        let never = u32::try_from(length).unwrap_or(u32::MAX).saturating_add(1);
        let valid = BTreeMap::from([(ANY_POLICY, BTreeSet::from([ANY_POLICY]))]);
        Self { valid, explicit_policy: never, policy_mapping: never, inhibit_any_policy: never }
    }

    /// RFC 5280 §6.1.3 (d) to (f).
    pub(super) fn enter(&mut self, certificate: &'c Certificate<'_>, is_leaf: bool) -> Result<(), Fault> {
        let parents = std::mem::take(&mut self.valid);
        let expected: BTreeSet<&[u8]> = parents.values().flatten().copied().collect();
        // (e) without the extension, the tree becomes NULL.
        for policy in certificate.policies.iter().flatten() {
            let policy: &[u8] = policy;
            // (d) (1)
            if policy != ANY_POLICY && (expected.contains(policy) || parents.contains_key(ANY_POLICY)) {
                self.valid.insert(policy, BTreeSet::from([policy]));
            }
        }
        // (d) (2)
        let any = certificate.policies.iter().flatten().any(|policy| **policy == *ANY_POLICY);
        if any && (self.inhibit_any_policy > 0 || !is_leaf && certificate.is_self_issued()) {
            for policy in expected {
                self.valid.entry(policy).or_insert_with(|| BTreeSet::from([policy]));
            }
        }
        // (f)
        if self.explicit_policy == 0 && self.valid.is_empty() { Err(Fault::NoValidPolicy) } else { Ok(()) }
    }

    /// RFC 5280 §6.1.4 (a), (b), (h) to (j): prepares for what this authority issued.
    pub(super) fn leave(&mut self, authority: &'c Certificate<'_>) -> Result<(), Fault> {
        let mut mapped: BTreeMap<&[u8], BTreeSet<&[u8]>> = BTreeMap::new();
        for Mapping { issuer_domain, subject_domain } in &authority.policy_mappings {
            // (a)
            if **issuer_domain == *ANY_POLICY || **subject_domain == *ANY_POLICY {
                return Err(Fault::Malformed);
            }
            mapped.entry(issuer_domain).or_default().insert(subject_domain);
        }
        for (policy, expected) in mapped {
            // (b) (1)
            if self.policy_mapping > 0 {
                if self.valid.contains_key(policy) || self.valid.contains_key(ANY_POLICY) {
                    self.valid.insert(policy, expected);
                }
            // (b) (2)
            } else {
                self.valid.remove(policy);
            }
        }
        // (h)
        if !authority.is_self_issued() {
            for variable in [&mut self.explicit_policy, &mut self.policy_mapping, &mut self.inhibit_any_policy] {
                *variable = variable.saturating_sub(1);
            }
        }
        // (i), (j)
        let lower = |variable: &mut u32, limit: Option<u32>| *variable = limit.unwrap_or(u32::MAX).min(*variable);
        lower(&mut self.explicit_policy, authority.require_explicit_policy);
        lower(&mut self.policy_mapping, authority.inhibit_policy_mapping);
        lower(&mut self.inhibit_any_policy, authority.inhibit_any_policy);
        Ok(())
    }

    /// RFC 5280 §6.1.5 (a), (b), (g).
    pub(super) fn wrap_up(self, leaf: &Certificate<'_>) -> Result<(), Fault> {
        let explicit = self.explicit_policy <= 1 || leaf.require_explicit_policy == Some(0);
        if explicit && self.valid.is_empty() { Err(Fault::NoValidPolicy) } else { Ok(()) }
    }
}

/// 2.5.29.32.0
const ANY_POLICY: &[u8] = &[0x55, 0x1d, 0x20, 0];
