//! A reverse proxy that enforces FAPI in front of resource servers.
//!
//! # The life of a request
//!
//! A client opens a connection, requests a host and presents its certificate. [`connection`] terminates TLS under the
//! rules of that host and keeps what the handshake established: the certificate's SHA-256, its validity period, the
//! host, and how long a new handshake would give the same result. If a trusted proxy has already terminated TLS, each
//! request carries the certificate of its client.
//!
//! When a request arrives, [`proxy`] passes Pingora's header, which is an `http::request::Parts`, to
//! [`Gateway::authorize`](gateway::Gateway::authorize), together with those facts and the time. From there the request
//! takes a straight line of steps. Each step returns a value that states what is now known, and the next step requires
//! that value:
//!
//! 1. [`fapi::message`]: the message has one host, one framing and bounded sizes; the host is an origin of the
//!    listener.
//! 2. [`fapi::route`]: the path has only one reading, and a route matches it and the method. If the route limits how fast
//!    one address may send requests, [`rate_limits`] counts this one. For a public route, the line ends here.
//! 3. [`fapi::credentials`]: exactly one `Authorization` field yields a
//!    [`PresentedToken`](fapi::credentials::PresentedToken), about which nothing is known yet.
//! 4. [`fapi::sender`]: the request has what a sender can show without regard to the token's contents, such as a DPoP
//!    proof for this request and token. Otherwise no issuer is asked.
//! 5. [`issuer`]: the route accepts the token's issuer, the issuer's keys are available, and [`fapi::token`] turns the
//!    token into an [`ActiveToken`](fapi::token::ActiveToken): authentic and intended for this resource. This fact is
//!    cached; whether the token has been revoked since is checked for every request ([`issuer::revocations`]).
//! 6. [`fapi::sender`]: the client proves what the token's `cnf` names: the certificate of this connection, a DPoP
//!    proof that matches the request, the token and the time ([`fapi::dpop`]), or both. The result is a
//!    [`BoundToken`](fapi::sender::BoundToken), and the route's other [`rate_limits`] are taken.
//! 7. [`fapi::policy`]: the token's scope covers the route, and the consent that it was given out for still stands
//!    ([`consents`]). The request is [`Authorized`](fapi::permit::Authorized); if
//!    its body could contain a second token, the proxy reads the body and the line judges it.
//! 8. [`fapi::signature`]: where the route says so, the client has signed the request, and its content is the one that was
//!    signed.
//! 9. [`Gateway::redeem`](gateway::Gateway::redeem): what changes state comes last. The [`replay`] log confirms that
//!    the proof is used for the first time, [`idempotency`] that a key names no other request, and the request gets its
//!    [`Permit`](fapi::permit::Permit).
//!
//! Only a permit names an upstream. [`fapi::headers`] removes every field that could speak in the gateway's name and
//! sets the gateway's own fields; [`upstream`] chooses a server and connects to it.
//!
//! A step that refuses returns a [`Rejection`](fapi::rejection::Rejection): a stable code for [`telemetry`] and an
//! OAuth error for the client. Whose fault it is decides between 4xx with a challenge and 5xx without.
//!
//! # Modules
//!
//! The crate [`fapi`] is pure: it uses no clock, no sockets and no files. Around it, [`issuer`] queries authorization
//! servers, [`consents`] services that know in which state consents are, [`authorization_server`] knows the clients of those behind the
//! gateway, [`signatures`] the keys of clients that sign requests, [`replay`] records used proofs and [`idempotency`] used keys, in memory
//! or in a [`store`] that replicas share, and [`rate_limits`] counts how
//! fast requests come, which replicas can tell each other through one. [`connection`], [`proxy`], [`upstream`], [`admin`]
//! and [`server`] are the edge, built on Pingora. [`telemetry`] is what operators see; [`trace`] records some exchanges, whose
//! spans [`otlp`] takes to a collector. [`certificate`] judges the certificates of files, [`tls_client`] is the TLS to servers
//! that the gateway calls, [`pkcs11`] has keys sign in their tokens, [`resource`] holds how each thing that the gateway reads was last read, [`workers`] are the threads
//! that serve connections, and [`clock`] reads the time. [`config`] turns gateway.yaml into the types of the other modules;
//! [`server`] builds a [`generation`] from it, which a reload replaces as a whole. [`commands`] is the command line.

pub mod admin;
pub mod authorization_server;
pub mod certificate;
pub mod clock;
pub mod commands;
pub mod config;
pub mod connection;
pub mod consents;
pub mod directory;
pub mod gateway;
pub mod generation;
pub mod idempotency;
pub mod issuer;
pub mod otlp;
pub mod pkcs11;
pub mod proxy;
pub mod rate_limits;
pub mod replay;
pub mod resource;
pub mod server;
pub mod signatures;
pub mod store;
mod sync;
pub mod telemetry;
pub mod tls_client;
pub mod trace;
pub mod upstream;
pub mod workers;
