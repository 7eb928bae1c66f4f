//! Years of nights, simulated: the engine and its maintenance on a real database and a real
//! archive, with a service, a clock and a disk that misbehave in seeded random ways, and processes
//! that die between any two effects, or are stopped in the middle of a request and go on hours
//! later. After every step the promises of `docs/reliability.md` are checked.
//!
//! ```sh
//! cargo test --test years                                        # the short version, as in CI
//! NIGHTJAR_SEEDS=5000 cargo test --profile campaign --test years # a campaign
//! NIGHTJAR_SEED=42 cargo test --test years -- --nocapture        # one seed again, step by step
//! NIGHTJAR_FIRST=1 NIGHTJAR_SEEDS=5000 cargo test --test years   # up to the first that breaks
//! ```
//!
//! Faults depend on the seed, the source and the number of the request, not on the order in which
//! threads run, so that a seed has the same faults each time.
//!
//! `tests/years/mutants` breaks the program in more than twenty ways, one at a time, and checks
//! that the simulation detects each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that is surprised shall fail there and then"
)]

mod documents;
mod machine;
mod maintenance;
mod promises;
mod restores;
mod service;
mod versions;
mod world;

use machine::{Machine, Plan};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seeds of the short version.
const SHORT: u64 = 16;

fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the size of a campaign")]
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("${name} is no number: {text}")))
}

/// Runs a plan for each seed, on every core, and fails with all broken promises.
fn campaign(seeds: Range<u64>, plan: impl Fn(u64) -> Plan + Sync) {
    let begun = Instant::now();
    let seeds = Mutex::new(seeds);
    let (broken, totals) = (Mutex::new(Vec::new()), Mutex::new(machine::Tally::default()));
    let done = AtomicU64::new(0);
    let stops_early = number("NIGHTJAR_FIRST").is_some();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    if stops_early && !broken.lock().unwrap().is_empty() {
                        break;
                    }
                    let next = seeds.lock().unwrap().next();
                    let Some(seed) = next else { break };
                    let (tally, violations) = Machine::new(plan(seed)).run();
                    totals.lock().unwrap().add(&tally);
                    done.fetch_add(1, Ordering::Relaxed);
                    if !violations.is_empty() {
                        let lines = violations.join("\n  ");
                        let text = format!(
                            "seed {seed} (again: NIGHTJAR_SEED={seed} cargo test --test years):\n  \
                             {lines}"
                        );
                        eprintln!("{text}");
                        broken.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    eprintln!(
        "{} seeds in {:.1} s: {}",
        done.into_inner(),
        begun.elapsed().as_secs_f64(),
        totals.into_inner().unwrap()
    );
    assert!(broken.is_empty(), "{} seeds broke a promise:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn promises_hold_under_every_fault() {
    let seeds = match number("NIGHTJAR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("NIGHTJAR_SEEDS").unwrap_or(SHORT),
    };
    campaign(seeds, Plan::of_seed);
}

#[test]
fn a_whole_year_of_25_sources() {
    let Some(years) = number("NIGHTJAR_YEARS") else {
        // The short version: a week.
        return campaign(1_000_000..1_000_001, |seed| Plan::large(seed, 7));
    };
    campaign(1_000_000..1_000_000 + years, |seed| Plan::large(seed, 365));
}
