//! The metrics of the directories of participants.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};

use super::metrics::{Metrics, begin, registered};
use crate::directory::Observer;
use crate::resource::{Kind, Resource, Resources};

/// The families of all directories.
#[derive(Clone)]
pub(super) struct DirectoryFamilies {
    reads: IntCounterVec,
    age: GaugeVec,
}

impl DirectoryFamilies {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let reads = Opts::new(
            "fapi_gateway_directory_refreshes_total",
            "Reads of directories of participants. outcome is success or failure.",
        );
        let age = Opts::new(
            "fapi_gateway_directory_age_seconds",
            "Time since the directory was last read; after its keep it is no longer used.",
        );
        Ok(Self {
            reads: registered(registry, IntCounterVec::new(reads, &["directory", "outcome"])?)?,
            age: registered(registry, GaugeVec::new(age, &["directory"])?)?,
        })
    }

    /// Sets the current values, replacing all previous ones.
    pub(super) fn set(&self, ages: &[(&str, Duration)]) {
        self.age.reset();
        for (directory, age) in ages {
            self.age.with_label_values(&[directory]).set(age.as_secs_f64());
        }
    }
}

/// The counters of the directories, and what is noted of each for `/status`.
pub struct DirectoryMetrics {
    families: DirectoryFamilies,
    resources: HashMap<Arc<str>, Arc<Resource>>,
}

impl DirectoryMetrics {
    /// Those of these directories.
    pub fn new<'n>(metrics: &Metrics, resources: &Resources, names: impl Iterator<Item = &'n Arc<str>>) -> Self {
        let families = metrics.directories.clone();
        let resource = |name: &Arc<str>| {
            for outcome in [SUCCESS, FAILURE] {
                begin(&families.reads, &[name, outcome]);
            }
            (name.clone(), resources.of(Kind::Directory, name))
        };
        let resources = names.map(resource).collect();
        Self { families, resources }
    }
}

impl Observer for DirectoryMetrics {
    fn read(&self, directory: &str, outcome: Result<(), &dyn Display>) {
        let counted = if outcome.is_ok() { SUCCESS } else { FAILURE };
        self.families.reads.with_label_values(&[directory, counted]).inc();
        match (self.resources.get(directory), outcome) {
            (Some(resource), Ok(())) => resource.succeeded(),
            (Some(resource), Err(error)) => resource.failed(error),
            (None, _) => {}
        }
    }
}

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";
