//! What is said of routes in shadow: at each start and reload, and by `check`.

use std::sync::Arc;

use fapi::UnixTime;
use fapi::policy::Policy;
use fapi::route::Route;
use fapi::shadow::Shadow;

use super::Config;
use super::file::day_before;

impl Config {
    /// A line for each route that is in shadow at this time, or no longer is.
    pub fn shadows(&self, now: UnixTime) -> Vec<String> {
        let shadows = self.routes.iter().filter_map(|route| Some((route, route.policy().and_then(Policy::shadow)?)));
        let line = |(route, shadow): (&Arc<Route>, &Shadow)| {
            let (name, day) = (&route.name, day_before(shadow.end()));
            if now >= shadow.end() {
                return format!(
                    "route {name}: its shadow ended with {day}, and it enforces what it requires; remove `enforce`"
                );
            }
            let whom = match shadow.clients() {
                [] => "nobody".to_owned(),
                clients => format!("none of {}", clients.join(", ")),
            };
            let long = match shadow.end().since(now) > A_YEAR {
                true => ", more than a year ahead",
                false => "",
            };
            format!(
                "route {name}: in shadow until {day}{long}: it refuses {whom} for `sender_constraint`, `scopes` and `require`; fapi_gateway_shadow_denials_total counts what it would refuse"
            )
        };
        shadows.map(line).collect()
    }

    /// A line for each route with a shadow, whether that has ended or not, for the report on the profile.
    pub(super) fn shadowed(&self) -> Vec<String> {
        let shadows = self.routes.iter().filter_map(|route| Some((route, route.policy().and_then(Policy::shadow)?)));
        let line = |(route, shadow): (&Arc<Route>, &Shadow)| {
            let whom = match shadow.clients() {
                [] => String::new(),
                clients => format!(" for {}", clients.join(", ")),
            };
            format!("route {}: in shadow until {}{whom}", route.name, day_before(shadow.end()))
        };
        shadows.map(line).collect()
    }
}

const A_YEAR: u64 = 367 * 24 * 60 * 60;
