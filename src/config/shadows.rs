//! What is said of routes and authorization servers in shadow: at each start and reload, and by `check`.

use std::fmt;

use fapi::UnixTime;
use fapi::policy::Policy;
use fapi::shadow::Shadow;

use super::Config;
use super::date::Date;
use super::waivers::LONGEST;

impl Config {
    /// A line for each route and each authorization server that is in shadow at this time, or no longer is.
    pub fn shadows(&self, now: UnixTime) -> Vec<String> {
        let line = |Shadowed { of, name, day, shadow }: Shadowed<'_>| {
            if now >= shadow.end() {
                return format!("{of} {name}: its shadow ended with {day}, and {}; remove `enforce`", of.enforced());
            }
            let whom = match shadow.clients() {
                [] => "nobody".to_owned(),
                clients => format!("none of {}", clients.join(", ")),
            };
            let long = if shadow.end().since(now) > LONGEST { ", more than a year ahead" } else { "" };
            format!(
                "{of} {name}: in shadow until {day}{long}: it refuses {whom} for {}; fapi_gateway_shadow_denials_total counts what it would refuse",
                of.suspended()
            )
        };
        self.each_shadow(line)
    }

    /// A line for each that has a shadow, whether that has ended or not, for the report on the profile.
    pub(super) fn shadowed(&self) -> Vec<String> {
        self.each_shadow(|Shadowed { of, name, day, shadow }| {
            let whom = match shadow.clients() {
                [] => String::new(),
                clients => format!(" for {}", clients.join(", ")),
            };
            format!("{of} {name}: in shadow until {day}{whom}")
        })
    }

    /// What is said of each that has a shadow.
    fn each_shadow(&self, line: impl Fn(Shadowed<'_>) -> String) -> Vec<String> {
        let said = |of, name: &str, shadow: &Shadow| {
            let day = Date::ending_at(shadow.end()).map(|day| day.to_string()).unwrap_or_default();
            line(Shadowed { of, name, day, shadow })
        };
        let routes = self.routes.iter().filter_map(|route| {
            let shadow = route.policy().and_then(Policy::shadow)?;
            Some(said(Of::Route, &route.name, shadow))
        });
        let servers = self.authorization_servers.iter().filter_map(|server| {
            let shadow = server.rules.shadow.as_ref()?;
            Some(said(Of::AuthorizationServer, &server.name, shadow))
        });
        routes.chain(servers).collect()
    }
}

/// What is in shadow, or was.
struct Shadowed<'s> {
    of: Of,
    name: &'s str,
    /// The last day.
    day: String,
    shadow: &'s Shadow,
}

/// What can be in shadow.
#[derive(Clone, Copy)]
enum Of {
    Route,
    AuthorizationServer,
}

impl Of {
    /// What it refuses nobody for.
    const fn suspended(self) -> &'static str {
        match self {
            Self::Route => "`sender_constraint`, `scopes` and `require`",
            Self::AuthorizationServer => "what its profile says",
        }
    }

    /// What is so once the shadow has ended.
    const fn enforced(self) -> &'static str {
        match self {
            Self::Route => "it enforces what it requires",
            Self::AuthorizationServer => "its profile is enforced",
        }
    }
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Route => "route",
            Self::AuthorizationServer => "authorization server",
        })
    }
}
