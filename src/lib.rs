//! Nightjar backs up data that sits behind slow, asynchronous export services: it asks for an
//! export on a schedule, waits as long as that takes, fetches the result, proves that it is whole,
//! and files it in an archive that outlives the service and this program.
//!
//! The modules in the order in which data passes through them; `ARCHITECTURE.md` says which may
//! know which.
//!
//! - What is to be done: [`config`] reads the file into [`settings`]; keys are [`secret`].
//! - When and how much: [`plan`] (schedules, waits, quotas).
//! - The life of a job: [`job`], whose [`job::decide`] says what follows from what came of a step.
//! - The hands: [`store`] keeps jobs in SQLite, [`service`] asks the remote side, [`archive`] files
//!   what [`dataset`] has proven, with a [`manifest`] beside it, [`notify`] tells people.
//! - The engine: [`engine`] lets time pass, by [`clock`], and drives it all.
//! - Maintenance: [`maintenance`] runs what is to be done now and then, such as retention.
//! - The faces: [`cli`] and [`web`], which show what [`report`] reads; [`telemetry`] logs.
//! - Beside the house: [`simulator`], the service for the demo, the tests and the benches;
//!   [`files`], how private files are made; [`tls`], which certificates are trusted and what an error
//!   of them means; [`failpoint`], where tests let things fail.

pub mod archive;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dataset;
pub mod engine;
pub mod failpoint;
pub mod files;
pub mod job;
pub mod maintenance;
pub mod manifest;
pub mod notify;
pub mod plan;
pub mod report;
pub mod secret;
pub mod service;
pub mod settings;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod web;

#[cfg(test)]
mod tests;
