//! Reads TOML with all its mistakes: each has its line and column, and says what was found and
//! what was expected.
//!
//! [`Table`] reads the keys of one table with the functions of [`values`]; what a table may have
//! is a [`Section`]. The configuration is read with it, and each service reads its own keys with
//! it.

mod sections;
mod table;
pub mod units;
pub mod values;

pub use sections::{Schema, Section, nearest};
pub use table::{Document, MOST_MISTAKES, Mistake, Table, position};
