//! What operators do and see: configuration, reload, logs, metrics, manifests and documentation.

mod alerts;
mod audit;
mod cardinality;
mod check;
mod commands;
mod configs;
mod dashboard;
mod decisions;
mod demo;
mod deploy;
mod docs;
mod explain;
mod init;
mod log;
mod observed;
mod operation;
mod page;
mod policy_tests;
mod pressure;
mod profile_report;
mod reload;
mod resources;
mod signed_messages;
mod soak;
mod tokens;
mod traces;
