//! Nightjar

pub mod archive;
pub mod config;
pub mod dataset;
pub mod job;
pub mod manifest;
pub mod plan;
pub mod secret;
pub mod settings;
pub mod simulator;
pub mod store;
