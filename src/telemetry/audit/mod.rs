//! The audit: one record of the outcome of each exchange.

mod record;
mod writer;

pub use record::{CertificateSource, Ending, decision, line, schema};
pub use writer::{Audit, AuditSender, Destination, OnOverflow, PATIENCE, Settings};
