//! Header fields for the upstream, and for the client as lists of edits.

mod certificate;
mod client;
mod cors;
mod edits;
mod forwarded;
mod hops;
mod interaction;
mod strip;
mod trace;
mod tracestate;
mod upstream;

pub use certificate::{VouchedCertificate, client_cert_chain};
pub use client::{DPOP_NONCE, framing, has_padded_value, to_client, to_client_early, withheld_trailers};
pub(crate) use cors::cors_fields;
pub use cors::with_cors;
pub use edits::HeaderEdits;
pub use forwarded::Forwarded;
pub use hops::max_forwards;
pub use interaction::{INTERACTION_ID, InteractionId};
pub use strip::{StripList, may_carry_certificate};
pub use trace::{SpanId, TraceContext, TraceId};
pub use upstream::{Onward, to_upstream};
