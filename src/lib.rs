//! Nightjar backs up data that sits behind slow, asynchronous export services: it asks for an
//! export on a schedule, waits for it to complete, fetches the result, validates it,
//! and files it in an archive that outlives the service and this program.
//!
//! The modules in the order in which data passes through them; `ARCHITECTURE.md` says which module
//! may depend on which.
//!
//! - Configuration: [`config`] reads the file into [`settings`] with a [`toml_reader`]; keys are
//!   [`secret`].
//! - Policy: [`policy`] (schedules, backoff, quotas, retention).
//! - The life of a job: [`job`], whose [`job::decide`] computes the next state from a step's
//!   outcome.
//! - Adapters: [`store`] keeps jobs in SQLite, [`service`] asks the remote side, [`archive`] files
//!   what [`dataset`] has validated, with a [`manifest`] beside it, [`notify`] sends alerts.
//! - The engine: [`engine`] runs the main loop, by [`clock`].
//! - Maintenance: [`maintenance`] runs periodic tasks, such as retention.
//! - Interfaces: [`cli`] and [`web`], which show what [`report`] reads; [`telemetry`] logs.
//! - Support: [`simulator`], the service for the demo, the tests and the benches;
//!   [`files`], how private files are made; [`tls`], which certificates are trusted and what their
//!   errors mean; [`failpoint`], where tests inject failures.

pub mod alerts;
pub mod archive;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dataset;
pub mod engine;
pub mod failpoint;
pub mod files;
pub mod http;
pub mod job;
pub mod maintenance;
pub mod manifest;
pub mod notify;
pub mod policy;
pub mod printable;
pub mod report;
pub mod secret;
pub mod service;
pub mod settings;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod toml_reader;
pub mod web;

#[cfg(test)]
mod tests;
