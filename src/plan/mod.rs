//! When and how much: schedules, waits and quotas as pure functions.
//!
//! Nothing here reads a clock, waits or touches the world. `now` and randomness are arguments, so
//! every answer can be tested, replayed and explained.

pub mod alarms;
pub mod backoff;
pub mod quota;
pub mod retention;
pub mod schedule;
