//! Sorts records in bounded memory: what does not fit is spilled to a temporary file.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the temporary file that are read at once from each sorted run.
const READ_AT_ONCE: usize = 64 << 10;
/// Bytes of the temporary file that are written at once.
const WRITE_AT_ONCE: usize = 256 << 10;
/// Bytes before a record's key: the length of its key and that of its value.
const HEAD: usize = 8;

/// Where and when a [`Sorter`] spills.
#[derive(Debug, Clone)]
pub(super) struct Space {
    /// Bytes that one sorter may hold in memory.
    pub(super) memory: usize,
    /// The folder of the temporary file. The file has no name there, and is gone once it is closed.
    pub(super) folder: PathBuf,
}

/// Records of a key and a value, to be sorted by key. Records with the same key keep their order.
#[derive(Debug)]
pub(super) struct Sorter {
    space: Space,
    /// The records in memory, one behind the other.
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
    /// Sorted runs in the temporary file.
    runs: Vec<Range<u64>>,
    file: Option<File>,
}

/// Sorted records. They can be read several times.
#[derive(Debug)]
pub(super) struct Sorted {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    spilled: Option<(File, Vec<Range<u64>>)>,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'r> {
    /// What it is sorted by.
    pub(super) key: &'r [u8],
    /// What comes with it.
    pub(super) value: &'r [u8],
}

impl Sorter {
    pub(super) fn new(space: &Space) -> Sorter {
        Sorter {
            space: space.clone(),
            bytes: Vec::new(),
            starts: Vec::new(),
            runs: Vec::new(),
            file: None,
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When it is larger than 4 GiB, or the temporary file cannot be written.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let size = HEAD + key.len() + value.len() + size_of::<usize>();
        let held = self.bytes.len() + self.starts.len() * size_of::<usize>();
        if !self.starts.is_empty() && held + size > self.space.memory {
            self.spill()?;
        }
        let length = |part: &[u8]| u32::try_from(part.len()).map_err(io::Error::other);
        let (key_length, value_length) = (length(key)?, length(value)?);
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(&key_length.to_le_bytes());
        self.bytes.extend_from_slice(&value_length.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    /// Sorts what was added.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub(super) fn finish(mut self) -> io::Result<Sorted> {
        if self.file.is_some() {
            self.spill()?;
        } else {
            self.sort();
        }
        let spilled = self.file.map(|file| (file, self.runs));
        Ok(Sorted { bytes: self.bytes, starts: self.starts, spilled })
    }

    fn sort(&mut self) {
        let Sorter { bytes, starts, .. } = self;
        let key = |start: usize| record_at(bytes, start).key;
        // The place of a record breaks a tie: an earlier one stays the earlier one.
        starts
            .sort_unstable_by(|one, other| key(*one).cmp(key(*other)).then_with(|| one.cmp(other)));
    }

    /// Writes what is in memory as one more sorted run.
    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let file = match self.file.take() {
            Some(file) => file,
            None => temporary_file(&self.space.folder)?,
        };
        let begin = self.runs.last().map_or(0, |run| run.end);
        let mut out = BufWriter::with_capacity(WRITE_AT_ONCE, &file);
        let mut end = begin;
        for start in &self.starts {
            let Record { key, value } = record_at(&self.bytes, *start);
            let length = HEAD + key.len() + value.len();
            out.write_all(self.bytes.get(*start..start + length).unwrap_or_default())?;
            end += length as u64;
        }
        out.flush()?;
        drop(out);
        self.runs.push(begin..end);
        self.file = Some(file);
        self.bytes.clear();
        self.starts.clear();
        Ok(())
    }
}

fn temporary_file(folder: &Path) -> io::Result<File> {
    tempfile::tempfile_in(folder)
}

/// The lengths of key and value in a record's head.
fn lengths(head: &[u8]) -> (usize, usize) {
    let number = |bytes: Option<&[u8]>| {
        let bytes = bytes.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).unwrap_or_default();
        u32::from_le_bytes(bytes) as usize
    };
    (number(head.get(..4)), number(head.get(4..HEAD)))
}

fn record_at(bytes: &[u8], start: usize) -> Record<'_> {
    let bytes = bytes.get(start..).unwrap_or_default();
    let (key, value) = lengths(bytes);
    let part = |from: usize, length: usize| bytes.get(from..from + length).unwrap_or_default();
    Record { key: part(HEAD, key), value: part(HEAD + key, value) }
}

impl Sorted {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.spilled.is_none()
    }

    /// The records from the first on.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub(super) fn records(&self) -> io::Result<Records<'_>> {
        let mut records = match &self.spilled {
            None => Records { sorted: self, next: 0, current: None, merge: None },
            Some((file, runs)) => {
                let mut merge = Merge { current: None, waiting: BinaryHeap::new() };
                for run in runs {
                    let window = Window { file, at: run.start, end: run.end };
                    let reader = BufReader::with_capacity(READ_AT_ONCE, window);
                    merge.refill(Head { bytes: Vec::new(), key: 0, run: run.start, reader })?;
                }
                Records { sorted: self, next: 0, current: None, merge: Some(merge) }
            }
        };
        records.advance()?;
        Ok(records)
    }
}

/// Reads sorted records, one after the other.
#[derive(Debug)]
pub(super) struct Records<'s> {
    sorted: &'s Sorted,
    /// In memory: the position of the next record, and where the current one begins.
    next: usize,
    current: Option<usize>,
    merge: Option<Merge<'s>>,
}

impl Records<'_> {
    /// The current record; `None` behind the last.
    pub(super) fn current(&self) -> Option<Record<'_>> {
        match &self.merge {
            None => self.current.map(|start| record_at(&self.sorted.bytes, start)),
            Some(merge) => merge.current.as_ref().map(Head::record),
        }
    }

    /// Goes on to the next record.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub(super) fn advance(&mut self) -> io::Result<()> {
        match &mut self.merge {
            None => {
                self.current = self.sorted.starts.get(self.next).copied();
                self.next += 1;
            }
            Some(merge) => {
                if let Some(last) = merge.current.take() {
                    merge.refill(last)?;
                }
                merge.current = merge.waiting.pop().map(|Reverse(first)| first);
            }
        }
        Ok(())
    }
}

/// The merge of sorted runs.
#[derive(Debug)]
struct Merge<'s> {
    current: Option<Head<'s>>,
    /// The next record of each other run.
    waiting: BinaryHeap<Reverse<Head<'s>>>,
}

impl<'s> Merge<'s> {
    /// Reads the next record of a run, which then waits; a run that has ended is dropped.
    fn refill(&mut self, mut head: Head<'s>) -> io::Result<()> {
        if head.read()? {
            self.waiting.push(Reverse(head));
        }
        Ok(())
    }
}

/// The first record of a run that has not been given yet.
#[derive(Debug)]
struct Head<'s> {
    bytes: Vec<u8>,
    /// The length of its key.
    key: usize,
    /// Where the run begins, which is its place among all.
    run: u64,
    reader: BufReader<Window<'s>>,
}

impl Head<'_> {
    fn record(&self) -> Record<'_> {
        let (key, value) = self.bytes.split_at_checked(self.key).unwrap_or_default();
        Record { key, value }
    }

    /// Reads the next record; answers whether there was one.
    fn read(&mut self) -> io::Result<bool> {
        let mut head = [0; HEAD];
        match self.reader.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        let (key, value) = lengths(&head);
        self.key = key;
        self.bytes.resize(key + value, 0);
        self.reader.read_exact(&mut self.bytes)?;
        Ok(true)
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.record().key.cmp(other.record().key).then(self.run.cmp(&other.run))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_> {}

/// A part of a file, read from its own position.
#[derive(Debug)]
struct Window<'s> {
    file: &'s File,
    at: u64,
    end: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(buffer.get_mut(..left).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Vec<u8>, Vec<u8>);

    fn sorted(records: &[Owned], memory: usize) -> Sorted {
        let mut sorter = Sorter::new(&Space { memory, folder: std::env::temp_dir() });
        for (key, value) in records {
            sorter.push(key, value).unwrap();
        }
        sorter.finish().unwrap()
    }

    fn all(sorted: &Sorted) -> Vec<Owned> {
        let mut records = sorted.records().unwrap();
        let mut all = Vec::new();
        while let Some(Record { key, value }) = records.current() {
            all.push((key.to_vec(), value.to_vec()));
            records.advance().unwrap();
        }
        records.advance().unwrap();
        assert_eq!(records.current(), None);
        all
    }

    proptest! {
        #[test]
        fn records_come_in_the_order_of_their_keys_and_then_of_their_addition(
            records in prop::collection::vec(
                (prop::collection::vec(0u8..3, 0..3), prop::collection::vec(any::<u8>(), 0..9)),
                0..60,
            ),
            memory in 0usize..800,
        ) {
            let mut expected = records.clone();
            expected.sort_by(|one, other| one.0.cmp(&other.0));
            let sorted = sorted(&records, memory);
            prop_assert_eq!(&all(&sorted), &expected);
            prop_assert_eq!(&all(&sorted), &expected, "the second time");
            prop_assert_eq!(sorted.is_empty(), records.is_empty());
        }
    }

    #[test]
    fn little_memory_spills_and_much_does_not() {
        let records: Vec<Owned> = (0..100u8).rev().map(|at| (vec![at], vec![at; 100])).collect();
        assert_eq!(sorted(&records, 1 << 20).spilled.as_ref().map(|it| it.1.len()), None);
        let spilled = sorted(&records, 1000);
        assert!(spilled.spilled.as_ref().is_some_and(|it| it.1.len() > 5));
        assert_eq!(all(&spilled).len(), 100);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let space = Space { memory: 0, folder: PathBuf::from("/nowhere/at/all") };
        let mut sorter = Sorter::new(&space);
        sorter.push(b"a", b"").unwrap();
        assert!(sorter.push(b"b", b"").is_err());
    }
}
