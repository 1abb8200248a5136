//! A name server whose answers a test changes.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use async_trait::async_trait;
use fapi_gateway::upstream::Lookup;

/// Answers for the names that a test sets, and fails for every other name. Addresses need no answer.
#[derive(Default)]
pub struct Zone(Mutex<HashMap<String, IpAddr>>);

impl Zone {
    /// Makes a name lead to an address, or to none.
    pub fn set(&self, name: &str, address: Option<&str>) {
        let mut names = self.0.lock().expect("no panic");
        match address {
            Some(address) => drop(names.insert(name.to_owned(), address.parse().expect("an address"))),
            None => drop(names.remove(name)),
        }
    }
}

#[async_trait]
impl Lookup for Zone {
    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = host.parse().ok().or_else(|| self.0.lock().expect("no panic").get(host).copied());
        let error = || io::Error::other("the name server does not answer");
        found.map(|address| vec![SocketAddr::new(address, port)]).ok_or_else(error)
    }
}
