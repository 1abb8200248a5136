//! `profile`, of all routes and of one, and what a profile means for a route.

use fapi::ecosystem::Ecosystem;
use fapi::policy::Fapi1;
use fapi::profile::{AUTH_DATE, CHARSET, CUSTOMER_IP_ADDRESS, Profile, Waivable};

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};

impl Build<'_> {
    pub(super) fn profile(&mut self, file: &File) -> Option<Profile> {
        let at = KeyPath::of("profile");
        match file.profile {
            None => {
                let problem = "the key is missing; write `profile: fapi2-security` or `profile: fapi1-advanced`";
                self.problem(&at, problem);
            }
            Some(file::Profiles::In(file::InEcosystem { base: None, .. })) => {
                self.problem(&at.key("base"), "the key is missing; write `fapi2-security` or `fapi1-advanced`");
            }
            Some(_) => {}
        }
        self.ecosystem(&at, file.profile);
        file.profile.and_then(file::Profiles::base)
    }

    /// The ecosystem of an entry, if it has one.
    pub(super) fn ecosystem(&mut self, at: &KeyPath, entry: Option<file::Profiles>) -> Option<Ecosystem> {
        if let Some(file::Profiles::In(file::InEcosystem { ecosystem: None, .. })) = entry {
            let problem = "the key is missing; name an ecosystem, such as `uk-obie-4.0`, or write the profile alone";
            self.problem(&at.key("ecosystem"), problem);
        }
        entry.and_then(file::Profiles::ecosystem)
    }

    /// The profile of a route, which is at least that of all routes.
    pub(super) fn route_profile(&mut self, at: &KeyPath, entry: &file::Route, all: Option<Profile>) -> Option<Profile> {
        let (Some(own), Some(all)) = (entry.profile.and_then(file::Profiles::base), all) else { return all };
        if own.is_at_least(all) {
            return Some(own);
        }
        let problem = format!(
            "`{}` allows what `profile: {}` of all routes forbids, and a route can only be stricter; remove the key",
            own.as_str(),
            all.as_str()
        );
        self.problem(at, problem);
        Some(all)
    }

    /// What FAPI 1.0 says of the requests and responses of a route, less what is waived for it.
    pub(super) fn fapi1(&self, entry: &file::Route) -> Fapi1 {
        let waived = |id| self.waived(id, Waivable::Route, entry.name.as_deref());
        Fapi1 {
            auth_date: waived(AUTH_DATE),
            customer_ip_address: waived(CUSTOMER_IP_ADDRESS),
            charset: waived(CHARSET),
        }
    }

    /// Reports the issuers of a route that may sign with EdDSA, if a profile of its own forbids that. For the profile of all
    /// routes, this is reported where the issuer says so.
    pub(super) fn refuse_eddsa<'n>(
        &mut self,
        at: &KeyPath,
        entry: &file::Route,
        signers: impl Iterator<Item = &'n str>,
    ) {
        if entry.profile.and_then(file::Profiles::base) != Some(Profile::Fapi1Advanced) {
            return;
        }
        for name in signers {
            let problem = format!(
                "the issuer `{name}` may sign with EdDSA, which this profile forbids; write `algorithms: [PS256, ES256]` for it, or name other `issuers` here"
            );
            self.problem(at, problem);
        }
    }
}

/// The profile of each route that needs a token, by its name.
pub(super) fn route_profiles(file: &File, all: Profile) -> Vec<(String, Profile)> {
    let protected = file.routes.iter().flatten().filter(|route| route.public != Some(true));
    let profile = |route: &file::Route| route.profile.and_then(file::Profiles::base).unwrap_or(all);
    protected.map(|route| (route.name.clone().unwrap_or_default(), profile(route))).collect()
}

/// The ecosystem of each route that is in one, by its name.
pub(super) fn route_ecosystems(file: &File) -> Vec<(String, Ecosystem)> {
    let protected = file.routes.iter().flatten().filter(|route| route.public != Some(true));
    let all = file.profile.and_then(file::Profiles::ecosystem);
    let ecosystem = |route: &file::Route| route.profile.and_then(file::Profiles::ecosystem).or(all);
    protected.filter_map(|route| Some((route.name.clone().unwrap_or_default(), ecosystem(route)?))).collect()
}
