//! The gateway with clients, servers and proxies of other makers.

mod authorization_server;
mod dpop_client;
mod nginx;
