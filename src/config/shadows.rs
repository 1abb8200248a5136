//! What is said of routes in shadow: at each start and reload, and by `check`.

use fapi::UnixTime;
use fapi::policy::Policy;
use fapi::shadow::Shadow;

use super::Config;
use super::date::Date;
use super::waivers::LONGEST;

impl Config {
    /// A line for each route that is in shadow at this time, or no longer is.
    pub fn shadows(&self, now: UnixTime) -> Vec<String> {
        let line = |name: &str, day: &str, shadow: &Shadow| {
            if now >= shadow.end() {
                return format!(
                    "route {name}: its shadow ended with {day}, and it enforces what it requires; remove `enforce`"
                );
            }
            let whom = match shadow.clients() {
                [] => "nobody".to_owned(),
                clients => format!("none of {}", clients.join(", ")),
            };
            let long = if shadow.end().since(now) > LONGEST { ", more than a year ahead" } else { "" };
            format!(
                "route {name}: in shadow until {day}{long}: it refuses {whom} for `sender_constraint`, `scopes` and `require`; fapi_gateway_shadow_denials_total counts what it would refuse"
            )
        };
        self.each_shadow(line)
    }

    /// A line for each route with a shadow, whether that has ended or not, for the report on the profile.
    pub(super) fn shadowed(&self) -> Vec<String> {
        self.each_shadow(|name, day, shadow| {
            let whom = match shadow.clients() {
                [] => String::new(),
                clients => format!(" for {}", clients.join(", ")),
            };
            format!("route {name}: in shadow until {day}{whom}")
        })
    }

    /// What is said of each route with a shadow, of which it gets the name and the last day.
    fn each_shadow(&self, line: impl Fn(&str, &str, &Shadow) -> String) -> Vec<String> {
        let said = |shadow: &Shadow, name: &str| {
            let day = Date::ending_at(shadow.end()).map(|day| day.to_string()).unwrap_or_default();
            line(name, &day, shadow)
        };
        let routes = self.routes.iter();
        routes.filter_map(|route| Some(said(route.policy().and_then(Policy::shadow)?, &route.name))).collect()
    }
}
