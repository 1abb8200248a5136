//! The audit: what became of each exchange, told once.

mod record;
mod writer;

pub use record::{CertificateSource, Ending, decision, line, schema};
pub use writer::{Audit, AuditSender, Destination, Health};
