//! Nightjar backs up data that sits behind slow, asynchronous export services: it asks for an
//! export on a schedule, waits for it to complete, fetches the result, validates it,
//! and files it in an archive that outlives the service and this program.
//!
//! The modules stand in layers, from what users touch down to what is pure. A module imports only
//! from layers below its own: the modules of one layer do not know each other. `tests/layers.rs`
//! reads the layers from this file, and `ARCHITECTURE.md` says what each module is for.

// The commands: their arguments and their output.
pub mod cli;

// What the commands and the daemon show: whether all is set up well, and the status page.
pub mod doctor;
pub mod web;

// What goes on beside the engine: alerts, periodic tasks, the recovery of the database, and
// notifications to the service manager.
pub mod alerts;
pub mod comparisons;
pub mod maintenance;
pub mod recovery;
pub mod systemd;

// The loop that works on jobs, and the reports that the commands and the page show.
pub mod engine;
pub mod report;

// What accounts have at their services, compared with what is configured.
pub mod discovery;

// What is made of archived snapshots.
pub mod diff;
pub mod export;

// The configuration, of which each service reads its own keys.
pub mod config;

// Adapters: each touches one part of the world.
pub mod archive;
pub mod notify;
pub mod service;
pub mod simulator;
pub mod store;
pub mod telemetry;

// What adapters share.
pub mod http;

pub mod tls;

pub mod background;
pub mod clock;
pub mod files;

pub mod failpoint;

// Pure: from here on down nothing reads a clock, waits, or performs input or output.
pub mod toml_reader;

pub mod settings;

pub mod format;
pub mod job;
pub mod manifest;

pub mod codec;
pub mod dataset;
pub mod digest;
pub mod geometry;
pub mod policy;
pub mod printable;
pub mod secret;

pub mod timestamp;

#[cfg(test)]
mod tests;
