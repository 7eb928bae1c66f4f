//! One row in SQLite's record format.

use super::tree::varint;

/// The codes of types (2.1 of the [file format](https://www.sqlite.org/fileformat2.html)).
const NULL: u64 = 0;
const DOUBLE: u64 = 7;
const ZERO: u64 = 8;
const ONE: u64 = 9;
const BLOB: u64 = 12;
const TEXT: u64 = 13;

/// Whole numbers: the code of each type, and its bytes.
const INTEGERS: [(u64, usize); 6] = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 8)];

/// The values of a row, in the order of its columns.
#[derive(Debug, Default)]
pub(super) struct Record {
    types: Vec<u8>,
    values: Vec<u8>,
    bytes: Vec<u8>,
}

impl Record {
    /// Forgets the row before, and begins one. The first column is the row id, which is not stored
    /// in the record.
    pub(super) fn begin(&mut self) {
        self.types.clear();
        self.values.clear();
        self.null();
    }

    pub(super) fn null(&mut self) {
        varint(NULL, &mut self.types);
    }

    pub(super) fn integer(&mut self, number: i64) {
        match number {
            0 => varint(ZERO, &mut self.types),
            1 => varint(ONE, &mut self.types),
            _ => {
                // A bit more than the number has is its sign.
                let bits = 65 - number.unsigned_abs().leading_zeros() as usize;
                let fits = |(_, bytes): &&(u64, usize)| bytes * 8 >= bits;
                let (code, bytes) = INTEGERS.iter().find(fits).copied().unwrap_or((6, 8));
                varint(code, &mut self.types);
                self.values.extend(number.to_be_bytes().into_iter().skip(8 - bytes));
            }
        }
    }

    /// A number; SQLite reads NaN as a null.
    pub(super) fn double(&mut self, number: f64) {
        varint(DOUBLE, &mut self.types);
        self.values.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        varint(TEXT + 2 * text.len() as u64, &mut self.types);
        self.values.extend_from_slice(text.as_bytes());
    }

    pub(super) fn blob(&mut self, bytes: &[u8]) {
        varint(BLOB + 2 * bytes.len() as u64, &mut self.types);
        self.values.extend_from_slice(bytes);
    }

    /// The record: the length of its header, which counts itself, the types, the values.
    pub(super) fn bytes(&mut self) -> &[u8] {
        let types = self.types.len();
        let length = (1..).find(|own| types + own < 1 << (7 * own)).unwrap_or(1) + types;
        self.bytes.clear();
        varint(length as u64, &mut self.bytes);
        self.bytes.extend_from_slice(&self.types);
        self.bytes.extend_from_slice(&self.values);
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_bytes_of_the_format() {
        let mut record = Record::default();
        record.begin();
        record.integer(1);
        record.integer(-129);
        record.text("é");
        record.blob(&[7]);
        record.double(-0.0);
        let expected =
            [7, 0, 9, 2, 17, 14, 7, 0xff, 0x7f, 0xc3, 0xa9, 7, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(record.bytes(), expected);
        record.begin();
        // 127 bytes with its own length need a second byte for it.
        for _ in 0..126 {
            record.null();
        }
        assert_eq!(record.bytes()[..3], [0x81, 0x01, 0]);
        assert_eq!(record.bytes().len(), 129);
    }
}
