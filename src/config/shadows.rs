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
            format!(
                "route {name}: in shadow until {day}: it refuses {whom} for `sender_constraint`, `scopes` and `require`; fapi_gateway_shadow_denials_total counts what it would refuse"
            )
        };
        shadows.map(line).collect()
    }
}
