//! The probe against servers: ours, those of other makers, and those that have one fault each.

mod faults;
mod peers;
mod world;
