//! `enforce`, of routes and of authorization servers: from when on what they require is enforced.

use fapi::shadow::Shadow;

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file;

impl Build<'_> {
    /// `None` inside if everything is enforced.
    pub(super) fn enforce(&mut self, at: &KeyPath, entry: Option<&file::Enforce>) -> Option<Option<Shadow>> {
        let Some(entry) = entry else { return Some(None) };
        let way_out = "write until when, such as `until 2027-01-31`, or remove `enforce`";
        let until = self.needed(&at.key("shadow"), entry.shadow.as_ref(), way_out);
        let clients = match &entry.clients {
            None => Some(Vec::new()),
            Some(names) => {
                let names = self.distinct(&at.key("clients"), Some(names), "name a client, or remove the key");
                names.map(|names| names.iter().map(|name| name.as_str().into()).collect())
            }
        };
        Some(Some(Shadow::until(until?.end()).of_clients(clients?)))
    }
}

/// The end of the line of a route that is in shadow, or was.
pub(super) fn describe(entry: Option<&file::Enforce>) -> String {
    let Some(file::Enforce { shadow: Some(until), clients }) = entry else { return String::new() };
    let clients = clients.as_ref().map(|clients| format!(" for {}", clients.join(", "))).unwrap_or_default();
    format!("; enforce: shadow {until}{clients}")
}
