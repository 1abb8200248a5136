//! `waivers`: rules of the profile that are suspended for an issuer, a route or an authorization server, each with a reason and an end.

use fapi::UnixTime;
use fapi::authorization_server::ServerProfile;
use fapi::ecosystem::Ecosystem;
use fapi::profile::{Period, Profile, REPLAY_LOCAL, RS256, Rule, Waivable};

use super::Build;
use super::issuers::name_of;
use crate::config::error::{KeyPath, nearest, quoted};
use crate::config::file::{self, File};
use crate::config::waivers::Waiver;

impl Build<'_> {
    /// Compiles every entry that has no problem, for the issuers and routes that are compiled after it.
    pub(super) fn waivers(&mut self, file: &File, profile: Option<Profile>) -> Vec<Waiver> {
        let at = KeyPath::of("waivers");
        let (mut waivers, mut places): (Vec<Waiver>, Vec<usize>) = (Vec::new(), Vec::new());
        for (index, entry) in file.waivers.iter().flatten().enumerate() {
            let at = at.index(index);
            let Some(waiver) = self.waiver(&at, entry, file, profile) else { continue };
            let same = |other: &Waiver| (other.rule.id, &other.name) == (waiver.rule.id, &waiver.name);
            if let Some(first) = waivers.iter().position(same).and_then(|place| places.get(place)) {
                let first = self.report.shown(&KeyPath::of("waivers").index(*first));
                let Waiver { rule, of, name, .. } = &waiver;
                let problem =
                    format!("{first} suspends `{}` for {} `{name}` too; keep one of them", rule.id, of.as_words());
                self.problem(&at, problem);
            }
            waivers.push(waiver);
            places.push(index);
        }
        waivers
    }

    fn waiver(&mut self, at: &KeyPath, entry: &file::Waiver, file: &File, profile: Option<Profile>) -> Option<Waiver> {
        let of = self.waived_for(at, entry, file);
        let rule = self.waivable_rule(&at.key("rule"), entry, of, file, profile);
        let way_out = "say why the rule cannot hold yet, for those who read the log and the report";
        let reason = self.text(&at.key("reason"), entry.reason.as_deref(), way_out);
        let reason = match reason {
            Some(reason) if reason.contains(|character: char| character.is_control()) => {
                self.problem(&at.key("reason"), "the reason is one line of printable text; write it so");
                None
            }
            reason => reason,
        };
        let until_at = at.key("until");
        let until = self.needed(&until_at, entry.until.as_ref(), "write the last day, such as `2027-03-31`").copied();
        if let (Some(since), Some(until)) = (entry.since, until)
            && until < since
        {
            self.problem(&until_at, format!("`{until}` is before `since`, which is {since}; write a later day"));
            return None;
        }
        let ((of, name), until) = (of?, until?);
        let since = entry.since.map_or(UnixTime(0), |day| day.begin());
        Some(Waiver {
            rule: rule?,
            of,
            name: name.to_owned(),
            reason: reason?.to_owned(),
            period: Period { since, until: until.end() },
            since: entry.since,
            until,
            place: self.report.error_to_come(&until_at),
        })
    }

    /// What the waiver is for, which there is, and its name.
    fn waived_for<'f>(&mut self, at: &KeyPath, entry: &'f file::Waiver, file: &File) -> Option<(Waivable, &'f str)> {
        let written = [
            (Waivable::Issuer, entry.issuer.as_deref()),
            (Waivable::Route, entry.route.as_deref()),
            (Waivable::AuthorizationServer, entry.authorization_server.as_deref()),
        ];
        let mut written = written.into_iter().filter_map(|(of, name)| Some((of, name?)));
        let Some((of, name)) = written.next() else {
            let problem = "the waiver has no `issuer`, `route` or `authorization_server`; name the one that it is for, since none is for all";
            self.problem(at, problem);
            return None;
        };
        if let Some((other, _)) = written.next() {
            let (first, other) = (of.as_str(), other.as_str());
            let problem =
                format!("the waiver has `{first}` and `{other}`; keep the one that the rule can be waived for");
            self.problem(&at.key(other), problem);
            return None;
        }
        let issuers = || file.issuers.iter().flatten().map(name_of).collect();
        let routes = || file.routes.iter().flatten().filter_map(|route| route.name.clone()).collect();
        let servers = || file.authorization_servers.iter().flatten().filter_map(|server| server.name.clone()).collect();
        let (known, list): (Vec<String>, _) = match of {
            Waivable::Issuer => (issuers(), "issuers"),
            Waivable::Route => (routes(), "routes"),
            Waivable::AuthorizationServer => (servers(), "authorization_servers"),
        };
        if known.iter().any(|known| known == name) {
            let is_public = |route: &file::Route| route.name.as_deref() == Some(name) && route.public == Some(true);
            if of == Waivable::Route && file.routes.iter().flatten().any(is_public) {
                self.problem(&at.key("route"), "the route is public, and no rule is enforced there; remove the waiver");
                return None;
            }
            return Some((of, name));
        }
        let broken = self.report.lost_under(&KeyPath::of(list));
        let what = format!("{} is named", of.as_words());
        self.unknown(&at.key(of.as_str()), &what, name, known.iter().map(String::as_str), broken);
        None
    }

    /// The rule, if the profile has it and it can be waived for what the waiver is for.
    fn waivable_rule(
        &mut self,
        at: &KeyPath,
        entry: &file::Waiver,
        of: Option<(Waivable, &str)>,
        file: &File,
        profile: Option<Profile>,
    ) -> Option<&'static Rule> {
        let id = self.text(at, entry.rule.as_deref(), "write the id of a rule that can be waived")?;
        let in_force = match of {
            Some((Waivable::Route, name)) => InForce::Resources(profile_of_route(file, name).or(profile)?),
            Some((Waivable::AuthorizationServer, name)) => InForce::Server(profile_of_server(file, name)),
            Some((Waivable::Issuer, _)) | None => InForce::Resources(profile?),
        };
        let ecosystem = match of {
            Some((Waivable::Route, name)) => ecosystem_of_route(file, name),
            Some((Waivable::Issuer | Waivable::AuthorizationServer, _)) | None => None,
        };
        let of_ecosystem = ecosystem.map_or(&[][..], Ecosystem::rules);
        let rules = || in_force.rules().iter().chain(of_ecosystem);
        let waivable = || quoted(rules().filter(|rule| rule.waivable.is_some()).map(|rule| rule.id));
        let Some(rule) = rules().find(|rule| rule.id == id) else {
            let has_it = |rules: &'static [Rule]| rules.iter().any(|rule| rule.id == id);
            let elsewhere = in_force.others().find(|other| has_it(other.rules()));
            let elsewhere_in = Ecosystem::ALL.iter().find(|other| has_it(other.rules()));
            if let Some(other) = elsewhere_in {
                let (of, name) = of?;
                let problem = match of {
                    Waivable::Route => format!(
                        "`{id}` is a rule of `{}`, in which the route `{name}` is not; remove the waiver",
                        other.as_str()
                    ),
                    Waivable::Issuer | Waivable::AuthorizationServer => {
                        format!("`{id}` is waived for one route at a time; write `route` in place of `{}`", of.as_str())
                    }
                };
                self.problem(at, problem);
                return None;
            }
            let problem = match (elsewhere, nearest(id, rules().map(|rule| rule.id))) {
                // The name is wrong, and what it is for is not known.
                (Some(_), _) if of.is_none() => return None,
                (Some(other), _) if !other.is_alike(in_force) => {
                    let whose = if matches!(other, InForce::Server(_)) {
                        "authorization servers"
                    } else {
                        "routes and issuers"
                    };
                    format!("`{id}` is a rule for {whose}, and the waiver is for none; name one, or remove the waiver")
                }
                (Some(other), _) => format!(
                    "`{id}` is a rule of `{}` and not of `{}`, which is in force here; remove the waiver",
                    other.as_str(),
                    in_force.as_str()
                ),
                (None, Some(meant)) => format!("no rule is called `{id}`; did you mean `{meant}`?"),
                (None, None) => format!("no rule is called `{id}`; those that can be waived are {}", waivable()),
            };
            self.problem(at, problem);
            return None;
        };
        let (of, name) = of?;
        let problem = match rule.waivable {
            None => format!(
                "`{id}` cannot be waived; remove the waiver and have what breaks the rule changed; those that can be are {}",
                waivable()
            ),
            Some(waivable) if waivable != of => {
                let (right, wrong) = (waivable.as_str(), of.as_str());
                format!("`{id}` is waived for one {right} at a time; write `{right}` in place of `{wrong}`")
            }
            Some(_) if id == RS256 => return self.signs_with_rs256(at, file, name).then_some(rule),
            Some(_) if id == REPLAY_LOCAL => return self.decides_alone(at, file).then_some(rule),
            Some(_) => return Some(rule),
        };
        self.problem(at, problem);
        None
    }

    /// Whether the gateway verifies tokens of the issuer that may have RS256; otherwise the waiver would say more than is true.
    fn signs_with_rs256(&mut self, at: &KeyPath, file: &File, name: &str) -> bool {
        let Some(issuer) = file.issuers.iter().flatten().find(|issuer| name_of(issuer) == name) else { return false };
        let problem = if issuer.tokens == Some(file::Tokens::Introspection) {
            "the issuer's tokens are introspected, so the gateway verifies no signature of theirs; remove the waiver"
        } else if !issuer.algorithms.iter().flatten().any(|algorithm| *algorithm == file::IssuerAlgorithm::Rs256) {
            "`algorithms` of the issuer has no `RS256`, so this has no effect; add it there, or remove the waiver"
        } else {
            return true;
        };
        self.problem(at, problem);
        false
    }

    /// Whether proofs are accepted while the store does not answer; otherwise the waiver would say more than is true.
    fn decides_alone(&mut self, at: &KeyPath, file: &File) -> bool {
        let local = file.replay.as_ref().is_some_and(|replay| replay.on_failure == Some(file::OnFailure::Local));
        if !local {
            let problem =
                "`replay.on_failure` is not `local`, so this has no effect; write it there, or remove the waiver";
            self.problem(at, problem);
        }
        local
    }

    /// Adds a line to the summary for each waiver.
    pub(super) fn describe_waivers(&mut self) {
        self.summary.extend(self.waivers.iter().map(Waiver::to_string));
    }

    /// When a rule is suspended, if it is.
    pub(super) fn waived(&self, id: &str, of: Waivable, name: Option<&str>) -> Option<Period> {
        let suspends = |waiver: &&Waiver| waiver.rule.id == id && waiver.of == of && Some(&*waiver.name) == name;
        self.waivers.iter().find(suspends).map(|waiver| waiver.period)
    }
}

/// The profile that a route says, if it says one.
fn profile_of_route(file: &File, name: &str) -> Option<Profile> {
    let route = file.routes.iter().flatten().find(|route| route.name.as_deref() == Some(name))?;
    route.profile.and_then(file::Profiles::base)
}

/// The ecosystem that a route is in, by itself or with all.
fn ecosystem_of_route(file: &File, name: &str) -> Option<Ecosystem> {
    let route = file.routes.iter().flatten().find(|route| route.name.as_deref() == Some(name))?;
    route.profile.and_then(file::Profiles::ecosystem).or(file.profile.and_then(file::Profiles::ecosystem))
}

/// The profile of an authorization server behind the gateway.
fn profile_of_server(file: &File, name: &str) -> ServerProfile {
    let mut servers = file.authorization_servers.iter().flatten();
    let server = servers.find(|server| server.name.as_deref() == Some(name));
    server.and_then(|server| server.profile).unwrap_or_default().named()
}

/// The profile that has the rules of what a waiver is for.
#[derive(Clone, Copy, PartialEq)]
enum InForce {
    /// That of routes and issuers.
    Resources(Profile),
    /// That of an authorization server.
    Server(ServerProfile),
}

impl InForce {
    const fn rules(self) -> &'static [Rule] {
        match self {
            Self::Resources(profile) => profile.rules(),
            Self::Server(profile) => profile.rules(),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Resources(profile) => profile.as_str(),
            Self::Server(profile) => profile.as_str(),
        }
    }

    /// Whether both are of the same kind.
    const fn is_alike(self, other: Self) -> bool {
        matches!((self, other), (Self::Resources(_), Self::Resources(_)) | (Self::Server(_), Self::Server(_)))
    }

    /// The profiles that are not in force, those of the same kind first.
    fn others(self) -> impl Iterator<Item = Self> {
        let resources = Profile::ALL.iter().copied().map(Self::Resources);
        let mut all: Vec<Self> = resources.chain(ServerProfile::ALL.iter().copied().map(Self::Server)).collect();
        all.sort_by_key(|other| !self.is_alike(*other));
        all.into_iter().filter(move |other| *other != self)
    }
}
