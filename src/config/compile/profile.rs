//! `profile`, of all routes and of one, and what a profile means for a route.

use fapi::ecosystem::Ecosystem;
use fapi::policy::Fapi1;
use fapi::profile::{AUTH_DATE, CHARSET, CUSTOMER_IP_ADDRESS, Profile, Waivable};
use fapi::route::Origin;

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

    /// Gives each protected route that does not say otherwise the profile of the listeners that serve it, so that whoever reads
    /// routes after this finds it there.
    pub(super) fn profiles_of_listeners(&mut self, file: &mut File, all: Option<Profile>) {
        let at = KeyPath::of("listeners");
        let mut profiles = Vec::new();
        for (index, listener) in file.listeners.iter().flatten().enumerate() {
            let at = at.index(index).key("profile");
            self.ecosystem(&at, listener.profile);
            let base = listener.profile.and_then(file::Profiles::base);
            if let (Some(own), Some(all)) = (base, all)
                && !own.is_at_least(all)
            {
                let problem = format!(
                    "`{}` allows what `profile: {}` of all routes forbids, and a listener can only be stricter; remove the key",
                    own.as_str(),
                    all.as_str()
                );
                self.problem(&at, problem);
            }
            let origins = listener.origins.iter().flatten().filter_map(|origin| Origin::parse(origin).ok());
            profiles.push((origins.map(|origin| origin.host().to_owned()).collect::<Vec<_>>(), listener.profile));
        }
        if profiles.iter().all(|(_, profile)| profile.is_none()) {
            return;
        }
        let of_all = file.profile.map_or((None, None), file::Profiles::parts);
        for (index, route) in file.routes.iter_mut().flatten().enumerate() {
            if route.public == Some(true) {
                continue;
            }
            let is_served = |hosts: &[String]| match &route.hosts {
                None => true,
                Some(own) => own.iter().any(|own| hosts.iter().any(|host| host.eq_ignore_ascii_case(own))),
            };
            let serving = profiles.iter().filter(|(hosts, _)| is_served(hosts));
            let own = route.profile.map_or((None, None), file::Profiles::parts);
            let mut said = Vec::new();
            for (_, profile) in serving {
                let (base, ecosystem) = profile.map_or((None, None), file::Profiles::parts);
                // What a route says counts for it, wherever it is served.
                let effective = (own.0.or(base).or(of_all.0), own.1.or(ecosystem).or(of_all.1));
                if !said.contains(&effective) {
                    said.push(effective);
                }
            }
            let at = KeyPath::of("routes").index(index);
            match *said.as_slice() {
                [] => {}
                [(base, ecosystem)] => {
                    route.profile = match (base, ecosystem) {
                        (Some(base), None) => Some(file::Profiles::Alone(base)),
                        (None, None) => None,
                        (base, ecosystem) => Some(file::Profiles::In(file::InEcosystem { base, ecosystem })),
                    };
                }
                _ => self.problem(
                    &at,
                    "the listeners that serve the route have different profiles; name `hosts` of one of them, or write `profile` here",
                ),
            }
            let base = route.profile.and_then(file::Profiles::base);
            let stricter = profiles.iter().filter(|(hosts, _)| is_served(hosts));
            let stricter = stricter.filter_map(|(_, profile)| profile.and_then(file::Profiles::base));
            if let Some(base) = base
                && let Some(listener) = stricter.into_iter().find(|listener| !base.is_at_least(*listener))
            {
                let problem = format!(
                    "`{}` allows what `profile: {}` of a listener that serves the route forbids; remove the key, or name other `hosts`",
                    base.as_str(),
                    listener.as_str()
                );
                self.problem(&at.key("profile"), problem);
            }
        }
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
