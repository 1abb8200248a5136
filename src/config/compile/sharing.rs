//! `issuers[].introspection.cache.store`: in which store replicas share what an issuer says of tokens, and by which keys.

use std::collections::BTreeMap;
use std::time::Duration;

use fapi::token::shared::{SealKeys, kept_for};

use super::Build;
use super::stores::MEMORY;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::issuer::introspection::Sharing;

impl Build<'_> {
    /// How the answers of each issuer are shared, if they are.
    pub(super) fn sharing(&mut self, file: &mut File) -> Option<Vec<Option<Sharing>>> {
        let stores = file.stores.as_ref();
        let mut sharing = Vec::new();
        for (index, issuer) in file.issuers.iter_mut().flatten().enumerate() {
            let at = KeyPath::of("issuers").index(index).key("introspection").key("cache");
            let cache = issuer.introspection.as_mut().and_then(|section| section.cache.as_mut());
            sharing.push(cache.map_or(Some(None), |cache| self.sharing_of(&at, cache, stores)));
        }
        sharing.into_iter().collect()
    }

    fn sharing_of(
        &mut self,
        at: &KeyPath,
        cache: &mut file::IntrospectionCache,
        stores: Option<&BTreeMap<String, file::Store>>,
    ) -> Option<Option<Sharing>> {
        let name = cache.store.get_or_insert_with(|| MEMORY.to_owned());
        let key_at = at.key("seal_key");
        let keys = cache.seal_key.as_ref().map(|path| self.symmetric_keys(&key_at, path));
        if name == MEMORY {
            if keys.is_some() {
                self.problem(&key_at, "nothing leaves the memory of this process; remove the key, or name a `store`");
            }
            return keys.is_none().then_some(None);
        }
        let store = self.store_named(&at.key("store"), name, stores);
        if keys.is_none() {
            let problem = "the key is missing; name the file with the keys that answers are sealed with, the same for all replicas";
            self.problem(&key_at, problem);
        }
        if let Some(max_age) = cache.max_age
            && kept_for(max_age.0, Duration::ZERO).is_none()
        {
            let warning =
                "the clocks of replicas may differ by 10s, so nothing is shared with a `max_age` of 11s or less";
            self.warn(&at.key("store"), warning);
        }
        let keys = SealKeys::new(&keys??).ok()?;
        Some(Some(Sharing { store: store?, keys }))
    }
}
