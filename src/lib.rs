//! A reverse proxy that enforces FAPI in front of resource servers.
//!
//! # The story of one request
//!
//! A client opens a connection, asks for a host and shows its certificate. [`connection`] terminates TLS by the rules of that
//! host and keeps what the handshake taught: the certificate's SHA-256, its validity, the host, and for how long a handshake
//! would give the same result. Where a trusted proxy terminated TLS before, each request says whose it is.
//!
//! A request arrives. [`proxy`] hands Pingora's header, which is an `http::request::Parts`, to
//! [`Gateway::authorize`](gateway::Gateway::authorize) together with those facts and the time. What follows is one line; each
//! step returns a value that says what is known by now, and the next step needs that value:
//!
//! 1. [`fapi::message`]: one host, one framing, bounded sizes; the host is an origin of the listener.
//! 2. [`fapi::route`]: the path has one reading, and a route names it with this method. A public route ends here.
//! 3. [`fapi::credentials`]: exactly one `Authorization` gives a
//!    [`PresentedToken`](fapi::credentials::PresentedToken), about which nothing is known yet.
//! 4. [`issuer`]: the token's issuer is one that the route accepts, its keys are at hand, and [`fapi::token`] makes the token an
//!    [`ActiveToken`](fapi::token::ActiveToken): authentic and for this resource. That is a fact and is cached; whether the
//!    token was revoked since is asked each time ([`issuer::revocations`]).
//! 5. [`fapi::sender`]: what the token's `cnf` names is proven: the certificate of this connection, a DPoP proof that fits
//!    request, token and time ([`fapi::dpop`]), or both. Now it is a [`BoundToken`](fapi::sender::BoundToken).
//! 6. [`fapi::policy`]: its scope covers the route. The request is [`Authorized`](fapi::permit::Authorized); if its body could
//!    hold a second token, the proxy reads the body and the line judges it.
//! 7. [`Gateway::redeem`](gateway::Gateway::redeem): what changes state comes last. The [`replay`] log confirms that the proof is
//!    used for the first time, and the request gets its [`Permit`](fapi::permit::Permit).
//!
//! Only a permit names an upstream. [`fapi::headers`] removes everything that could speak in the gateway's name and sets what
//! the gateway has to say; [`upstream`] chooses a server and makes the connection.
//!
//! A step that refuses returns a [`Rejection`](fapi::rejection::Rejection): a stable code for [`telemetry`], an OAuth error for
//! the client. Whose fault it is decides between 4xx with a challenge and 5xx without.
//!
//! # The rooms
//!
//! The crate [`fapi`] is pure: no clock, no sockets, no files. Around it, [`issuer`] asks authorization servers and [`replay`]
//! remembers used proofs. [`connection`], [`proxy`], [`upstream`], [`admin`] and [`server`] are the edge, where Pingora is.
//! [`telemetry`] is what operators see, [`clock`] the only clock. [`config`] turns gateway.yaml into the types of the other
//! rooms; [`server`] makes a [`generation`] of it, which a reload replaces as a whole. [`commands`] is the command line.

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
