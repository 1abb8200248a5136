//! Connections, upstreams and proxies in front: how they end, and what hostile ones can do.

mod endings;
pub mod hostile;
mod trusted_proxy;
mod upstreams;
