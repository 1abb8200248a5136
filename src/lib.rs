//! A reverse proxy that enforces FAPI in front of resource servers.
//!
//! # The story of one request
//!
//! A client opens a connection, names a host and shows its certificate. [`tls`] ends the handshake by the rules of that host;
//! what it taught is kept as the facts of the [`connection`]: the certificate's SHA-256, its validity, the name, and for how
//! long a handshake would say the same. Where a proxy has ended TLS before, [`hop`] reads from each request whose it is.
//!
//! A request arrives. [`proxy`] hands Pingora's header, which is an `http::request::Parts`, to
//! [`Gateway::authorize`](gateway::Gateway::authorize) together with those facts and the time. What follows is one line;
//! each step gives a value that says what is known by now, and the next step asks for that value:
//!
//! 1. [`fapi::message`]: one host, one framing, bounded sizes; the host is an origin of the listener.
//! 2. [`fapi::route`]: the path has one reading, and a route names it with this method. A public route ends here.
//! 3. [`fapi::credentials`]: exactly one `Authorization` gives a
//!    [`PresentedToken`](fapi::credentials::PresentedToken), of which nothing is known.
//! 4. [`issuer`]: the token's issuer is one the route accepts, its keys are at hand, and [`fapi::jws`] and [`fapi::token`]
//!    make it an [`ActiveToken`](fapi::token::ActiveToken): authentic, for this resource. That is a fact, and is remembered;
//!    whether it was revoked since is asked each time ([`issuer::revocations`]).
//! 5. [`fapi::sender`]: what the token's `cnf` names is proven: the certificate of this connection, a DPoP proof that fits
//!    request, token and time ([`fapi::dpop`]), or both. Now it is a [`BoundToken`](fapi::sender::BoundToken).
//! 6. [`fapi::policy`]: its scope covers the route. [`Authorized`](fapi::policy::Authorized) is redeemed for a
//!    [`Permit`](fapi::policy::Permit); with a proof only against the word of the [`replay`] log that this is its first use.
//!
//! Only a permit names an upstream. [`fapi::headers`] removes everything that could speak in the gateway's name and sets
//! what the gateway has to say; [`upstream`] makes the connection.
//!
//! A step that refuses gives a [`Rejection`](fapi::rejection::Rejection): a stable code for [`audit`] and [`metrics`], an
//! OAuth error for the client. Whose fault it is decides between 4xx with a challenge and 5xx without.
//!
//! # The rooms
//!
//! [`fapi`] is pure: no clock, no sockets, no files. [`issuer`] asks authorization servers;
//! [`replay`] remembers used proofs; [`stream`], [`tls`], [`connection`], [`proxy`], [`upstream`], [`admin`] and [`server`]
//! are the edge, where Pingora is. [`config`] turns
//! gateway.yaml into the types of the other rooms and is known only to [`server`] and [`commands`].

pub mod admin;
pub mod clock;
pub mod commands;
pub mod config;
pub mod connection;
pub mod gateway;
pub mod generation;
pub mod issuer;
pub mod proxy;
pub mod replay;
pub mod server;
pub mod telemetry;
pub mod upstream;
