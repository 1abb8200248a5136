//! The clients and resource servers of an authorization server.

use fapi::authorization_server::client::{ClientErrors, RegisteredClient};
use fapi::authorization_server::clients::Clients;

use super::super::Build;
use super::super::unreadable::unreadable;
use crate::config::NamedFiles;
use crate::config::error::KeyPath;
use crate::config::scalar::FilePath;
use crate::resource::Kind;

impl Build<'_> {
    /// The documents of a folder, one for each client.
    pub(in crate::config::compile) fn clients(
        &mut self,
        at: &KeyPath,
        directory: Option<&FilePath>,
        parse: impl Fn(&[u8]) -> Result<RegisteredClient, ClientErrors>,
    ) -> Option<Clients> {
        let directory = self.needed(at, directory, "name a folder with a file of metadata for each")?;
        if self.named_files == NamedFiles::Unread {
            return Some(Clients::default());
        }
        let folder = self.resolve(&directory.0);
        let names = match self.files.list(&folder, &["json"]) {
            Ok(names) => names,
            Err(error) => {
                let problem = format!("`{}` cannot be listed: {}", folder.display(), unreadable(&folder, &error));
                self.problem(at, problem);
                return None;
            }
        };
        if names.len() > MOST_CLIENTS {
            self.problem(at, format!("the folder has more than {MOST_CLIENTS} files that end with `.json`"));
            return None;
        }
        let mut clients = Vec::new();
        for name in &names {
            let path = FilePath(directory.0.join(name));
            let document = self.read(at, &path, Kind::Client)?;
            match parse(&document) {
                Ok(client) => clients.push(Some(client)),
                Err(errors) => {
                    for error in errors.errors() {
                        self.problem(at, format!("`{}`: {error}", path.0.display()));
                    }
                    clients.push(None);
                }
            }
        }
        let clients: Option<Vec<RegisteredClient>> = clients.into_iter().collect();
        Clients::new(clients?).map_err(|error| self.problem(at, error.to_string())).ok()
    }
}

/// How many clients a folder may have.
const MOST_CLIENTS: usize = 10_000;
