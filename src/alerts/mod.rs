//! Alerts: what to send about current problems, given what was sent before.
//!
//! [`Situation`] is what is known; [`current()`] finds the problems in it; [`changes`] decides
//! which messages that makes. Both are plain functions. [`Dispatcher`] reads the situation, stores
//! what is sent and gives the messages to [`crate::notify`]. It never fails or delays a backup.

mod channels;
mod current;
mod decide;
mod dispatcher;
mod pings;
mod situation;
#[cfg(test)]
mod tests;

pub use channels::{Channels, channels, host};
pub use current::{Alert, AlertKind, current};
pub use decide::{AlertChange, Change, changes};
pub use dispatcher::Dispatcher;
pub use pings::{BackupEvent, BackupEvents};
pub use situation::{DiskSpace, ServiceEnd, Situation};
