//! What operators do and see: configuration, reload, logs, metrics, manifests and documentation.

mod configs;
mod deploy;
mod docs;
mod observed;
mod operation;
mod pressure;
mod reload;
mod soak;
