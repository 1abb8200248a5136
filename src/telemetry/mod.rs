//! The output for operators: the audit, the metrics and the log.

pub mod arrivals;
pub mod audit;
pub mod consents;
pub mod directories;
pub mod exemplars;
pub mod filter;
pub mod history;
pub mod issuers;
pub mod lines;
pub mod logging;
pub mod metrics;
mod openmetrics;
pub mod overload;
mod resources;
pub mod routes;
pub mod spans;
pub mod stores;
#[cfg(test)]
pub(crate) mod testing;
