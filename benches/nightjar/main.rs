//! The cost of Nightjar as ratios to common alternatives, measured in one run on one machine.
//!
//! `cargo bench --bench nightjar -- PART [--quick]`, where PART is `reader`, `pipeline`, `memory`,
//! `compare`, `state`, `polling`, `export` or `idle`; without it, all of them. Figures are medians
//! with their range; absolute ones are only there to see that the ratios are not noise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on should say where, and it measures with real clocks"
)]

mod compare;
mod export;
mod fake;
mod idle;
mod measure;
mod pipeline;
mod polling;
mod reader;
mod state;

use std::env;

fn main() {
    let arguments: Vec<String> =
        env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let quick = words.contains(&"--quick");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match words.first() {
        // The bench runs itself for parts that need a process of their own.
        Some(&"child-serve") => runtime.block_on(pipeline::serve(&words[1..])),
        Some(&"child-receive") => runtime.block_on(pipeline::receive(&words[1..])),
        Some(&"child-parts") => pipeline::parts(words[1]),
        Some(&"child-export") => export::child(&words[1..]),
        Some(&"child-diff") => compare::diff(words[1]),
        Some(&"child-log") => compare::log(words[1], words[2]),
        Some(&"child-bare") => runtime.block_on(idle::bare(words[1])),
        Some(&"child-answer") => runtime.block_on(polling::answer()),
        name => {
            let wanted = |bench| name.is_none_or(|name| *name == bench || name.starts_with("--"));
            if wanted("reader") {
                reader::run(quick);
            }
            if wanted("pipeline") {
                pipeline::run(quick);
            }
            if wanted("memory") {
                pipeline::memory(quick);
            }
            if wanted("compare") {
                runtime.block_on(compare::run(quick));
            }
            if wanted("state") {
                runtime.block_on(state::run(quick));
            }
            if wanted("polling") {
                runtime.block_on(polling::run(quick));
            }
            if wanted("export") {
                export::run(quick);
            }
            if wanted("idle") {
                idle::run(quick);
            }
        }
    }
}
