//! The gateway with independent clients, servers and proxies.

mod authorization_server;
mod collector;
mod dpop_client;
mod form;
mod glewlwyd;
mod guarded;
mod haproxy;
mod message_signatures;
mod nginx;
mod probe;
mod products;
