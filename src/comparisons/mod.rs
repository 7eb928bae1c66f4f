//! Comparisons of snapshots beside the engine: how much each night changed, counted once and kept
//! in the database, and what changed, for the status page.
//!
//! What is kept follows from two contents alone ([`ContentPair`](crate::store::ContentPair)), so
//! that the archive stays the only truth: what is missing is counted again, and what does not fit
//! the manifests does not count. Every comparison runs on a thread of the lowest priority, in
//! bounded memory and time, and begins only while no download is under way.

mod compare;
mod count;
mod shown;
#[cfg(test)]
mod tests;

pub use compare::{CompareError, Comparer};
pub use count::Counting;
pub use shown::{ChangeKind, ShownChange, ShownChanges, ShownColumns, ShownPlace};
