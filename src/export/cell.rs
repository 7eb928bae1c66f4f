//! Values for formats whose columns have types.

use super::changes::{Changes, Kind};
use super::row::Row;
use super::table::Typed;
use crate::dataset::{Instant, Value};

/// Milliseconds in a second.
const MILLIS: i64 = 1000;
/// Digits of a fraction that a millisecond has.
const MILLIS_DIGITS: usize = 3;

/// The value of a typed column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'r> {
    /// A null, also for what the column cannot hold.
    Null,
    /// Text exactly as it was sent.
    Text(&'r str),
    /// A whole number.
    Integer(i64),
    /// A number, which may be infinite or not a number.
    Double(f64),
    /// Yes or no.
    Boolean(bool),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
}

impl<'r> Cell<'r> {
    /// The value of a column. What a typed column cannot hold is counted.
    pub(super) fn read(row: &Row<'r>, column: usize, changes: &mut Changes) -> Cell<'r> {
        let kind = row.kind(column);
        let mut lost = |kind| {
            changes.add(row.column_name(column), kind, row.key);
            Cell::Null
        };
        match (row.value(column), kind) {
            (Value::Null, _) => Cell::Null,
            (_, Typed::Text | Typed::Geography) => row.text(column).map_or(Cell::Null, Cell::Text),
            (Value::Integer(number), Typed::Integer) => match i64::try_from(number) {
                Ok(number) => Cell::Integer(number),
                Err(_) => lost(Kind::OutOfRange),
            },
            (Value::Double(number), _) => Cell::Double(number),
            (Value::Boolean(value), _) => Cell::Boolean(value),
            (Value::Instant(instant), _) => match millis(&instant) {
                Some(millis) => {
                    let rest = instant.fraction.bytes().skip(MILLIS_DIGITS);
                    if rest.into_iter().any(|digit| digit != b'0') {
                        lost(Kind::FractionCut);
                    }
                    if instant.offset_minutes.is_none() {
                        lost(Kind::ZoneAssumed);
                    }
                    Cell::Instant(millis)
                }
                None => lost(Kind::OutOfRange),
            },
            // An instant whose year is too long to count with, or a number beyond 64 bits.
            (Value::Text(_), Typed::Instant | Typed::Double) => lost(Kind::OutOfRange),
            _ => lost(Kind::Unreadable),
        }
    }
}

/// The instant in milliseconds; `None` beyond 64 bits.
fn millis(instant: &Instant<'_>) -> Option<i64> {
    let fraction = i64::from(instant.nanoseconds() / 1_000_000);
    instant.seconds.checked_mul(MILLIS)?.checked_add(fraction)
}
