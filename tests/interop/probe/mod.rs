//! The probe against servers: ours, those of other makers, and those that have one fault each.

mod faults;
mod foreign;
mod issued;
mod modules;
mod own;
mod peers;
mod table;
mod world;
