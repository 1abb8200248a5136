//! Connections, upstreams and proxies in front: how exchanges end, and what hostile peers can do.

mod ejection;
mod endings;
mod handshakes;
pub mod hostile;
mod long;
mod paths;
mod proxy_protocol;
mod trusted_proxy;
mod upstreams;
