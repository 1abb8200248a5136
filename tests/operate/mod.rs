//! What operators do and see: configuration, reload, logs, metrics, manifests and documentation.

mod audit;
mod configs;
mod deploy;
mod demo;
mod docs;
mod log;
mod observed;
mod operation;
mod pressure;
mod reload;
mod resources;
mod soak;
