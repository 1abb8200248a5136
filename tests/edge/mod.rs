//! Connections, upstreams and proxies in front: how exchanges end, and what hostile peers can do.

mod ejection;
mod endings;
pub mod hostile;
mod long;
mod paths;
mod trusted_proxy;
mod upstreams;
