//! How far what the gateway remembers reaches: over this process, or over all replicas that share a store.

use std::collections::BTreeMap;

/// How far something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// In this process alone.
    Local,
    /// At all replicas that share a store. Where the store does not answer, nothing passes for which it would not hold.
    Shared,
    /// In this process alone for now: it is shared, and the store does not answer.
    Degraded,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Local, Self::Shared, Self::Degraded];

    /// Its name in metrics, in the log and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Shared => "shared",
            Self::Degraded => "degraded",
        }
    }
}

/// Something that holds, and how far now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantee {
    /// Of what it is: the section of gateway.yaml.
    pub name: &'static str,
    /// How far it holds.
    pub level: Level,
}

/// The levels that the log has said.
#[derive(Default)]
pub struct Said(BTreeMap<&'static str, Level>);

impl Said {
    /// Logs which levels are not those that were said last.
    pub fn note(&mut self, now: &[Guarantee]) {
        for (Guarantee { name, level }, before) in self.changes(now) {
            let (level, before) = (level.as_str(), before.map(Level::as_str));
            if level == Level::Degraded.as_str() {
                tracing::error!(
                    guarantee = name,
                    level,
                    before,
                    "replicas do not know of each other: the store does not answer, and each decides by itself"
                );
            } else if before.is_some() {
                tracing::warn!(guarantee = name, level, before, "how far a guarantee reaches has changed");
            }
        }
    }

    /// Those that are new or have another level, with the one before.
    fn changes(&mut self, now: &[Guarantee]) -> Vec<(Guarantee, Option<Level>)> {
        let with_before = now.iter().map(|guarantee| (*guarantee, self.0.insert(guarantee.name, guarantee.level)));
        with_before.filter(|(guarantee, before)| *before != Some(guarantee.level)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_said_when_it_changes_and_not_again() {
        let mut said = Said::default();
        let mut changes = |level| said.changes(&[Guarantee { name: "replay", level }]).pop().map(|(_, before)| before);
        assert_eq!(changes(Level::Shared), Some(None));
        assert_eq!(changes(Level::Shared), None);
        assert_eq!(changes(Level::Degraded), Some(Some(Level::Shared)));
        assert_eq!(changes(Level::Degraded), None);
        assert_eq!(changes(Level::Shared), Some(Some(Level::Degraded)));
    }
}
