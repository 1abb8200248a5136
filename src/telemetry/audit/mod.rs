//! The audit: one record of the outcome of each exchange, and some of handshakes that failed.

pub mod chain;
pub mod evidence;
mod handshake;
mod json;
pub mod otlp;
mod pseudonym;
mod record;
mod schema;
pub mod syslog;
mod writer;

pub use handshake::{FailedHandshake, HandshakeAllowance, handshake_line, handshake_schema};
pub use pseudonym::Pseudonyms;
pub use record::{Asked, CertificateSource, Ending, decision, decisions, line, schema};
pub use schema::schema_of_lines;
pub use writer::{Audit, AuditSender, Destination, OnOverflow, PATIENCE, Settings};
