//! Policy as pure functions: schedules, backoff, quotas and retention.
//!
//! Nothing here reads a clock, waits, or performs input or output. `now` and randomness are
//! arguments, so every answer can be tested, replayed and explained.

pub mod apart;
pub mod backoff;
pub mod quota;
pub mod retention;
pub mod schedule;
