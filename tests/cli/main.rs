//! End-to-end tests: the real executable, a directory, and a simulated service on loopback. They
//! check only documented behaviour, not the implementation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that is surprised shall fail there and then"
)]

mod archive;
mod canary;
mod changes;
mod check;
mod daemon;
mod deaths;
mod descriptors;
mod diff;
mod discover;
mod disks;
mod doctor;
mod endings;
mod export;
mod export_sql;
mod export_tables;
mod flood;
mod full_disk;
mod harness;
mod links;
mod looking;
mod maintenance;
mod many;
mod mornings;
mod notify;
mod oddities;
mod quota;
mod recovery;
mod restore;
mod restore_attacks;
mod restore_deaths;
mod retention;
mod shapes;
mod sharing;
mod stops;
mod systemd;
mod takeover;
mod terminal;
mod timeout;
mod usage;
mod verify;
mod web;
