//! Nightjar

pub mod archive;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dataset;
pub mod engine;
pub mod files;
pub mod job;
pub mod manifest;
pub mod plan;
pub mod report;
pub mod secret;
pub mod service;
pub mod settings;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod web;
