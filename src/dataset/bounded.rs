//! A reader that stops at the document's size limit, at the budget of one piece of markup, and at
//! that of a section (the schema), so that endless text fails instead of filling the memory.

use std::io::{self, BufRead, Read};

/// Why [`Bounded`] stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The inner reader failed: its own error, unchanged.
    Io(io::Error),
    /// The document goes on after its size limit.
    Document,
    /// The section goes on after its budget.
    Section,
    /// One piece of markup or text goes on after its budget.
    Piece,
}

/// Counts and bounds what passes through it. All limits cut exactly, however the inner reader
/// chunks its data.
#[derive(Debug)]
pub(super) struct Bounded<R> {
    inner: R,
    consumed: u64,
    max_bytes: u64,
    piece: u64,
    piece_ceiling: u64,
    /// Where the section ends, or the document at most.
    outer_ceiling: u64,
    stop: Option<Stop>,
    ended: bool,
    gathered: Gathered,
}

/// Bytes of several chunks in one piece: those that were taken from the inner reader before their
/// time, then copies of what it has at hand.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// How many were taken.
    taken: usize,
    /// How many of these are consumed.
    consumed: usize,
    /// The inner reader's error behind those that were taken.
    error: Option<io::Error>,
}

impl Gathered {
    /// Those that were taken and are not consumed.
    fn left(&self) -> &[u8] {
        self.bytes.get(self.consumed..self.taken).unwrap_or_default()
    }
}

impl<R> Bounded<R> {
    pub(super) fn new(inner: R, max_bytes: u64, piece: u64) -> Self {
        Self {
            inner,
            consumed: 0,
            max_bytes,
            piece,
            piece_ceiling: piece,
            outer_ceiling: max_bytes,
            stop: None,
            ended: false,
            gathered: Gathered::default(),
        }
    }

    /// Bytes that may be consumed before a limit.
    fn left(&self) -> usize {
        let left = self.piece_ceiling.min(self.outer_ceiling).saturating_sub(self.consumed);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// A new piece begins here, with a fresh budget.
    #[inline]
    pub(super) fn begin_piece(&mut self) {
        self.piece_ceiling = self.consumed.saturating_add(self.piece);
    }

    /// A section of at most so many bytes begins here.
    pub(super) fn begin_section(&mut self, bytes: u64) {
        self.outer_ceiling = self.consumed.saturating_add(bytes).min(self.max_bytes);
    }

    /// The section is over.
    pub(super) fn end_section(&mut self) {
        self.outer_ceiling = self.max_bytes;
    }

    /// Bytes consumed so far.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Whether the end of the data has been seen.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// The reason behind the last error of `fill_buf`.
    pub(super) fn take_stop(&mut self) -> Option<Stop> {
        self.stop.take()
    }
}

impl<R: BufRead> Bounded<R> {
    /// At least so many bytes in one piece, if there are as many within the limits; else what there
    /// is. They stay unread. Reads no further than it must, but may wait for more.
    pub(super) fn gather(&mut self, least: usize) -> &[u8] {
        let left = self.left();
        let Self { inner, gathered, .. } = self;
        let Gathered { bytes, taken, consumed, error } = gathered;
        bytes.truncate(*taken);
        bytes.drain(..*consumed);
        (*taken, *consumed) = (bytes.len(), 0);
        while bytes.len() < least && error.is_none() {
            match inner.fill_buf() {
                Ok([]) => break,
                Ok(chunk) => {
                    let missing = least - bytes.len();
                    if let Some(part) = chunk.get(..missing) {
                        // the rest is there, and copies are enough
                        bytes.extend_from_slice(part);
                        break;
                    }
                    bytes.extend_from_slice(chunk);
                    let length = chunk.len();
                    inner.consume(length);
                    *taken = bytes.len();
                }
                Err(failure) if failure.kind() == io::ErrorKind::Interrupted => break,
                Err(failure) => *error = Some(failure),
            }
        }
        bytes.get(..left).unwrap_or(bytes)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    #[inline]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let left = self.left();
        let next = if !self.gathered.left().is_empty() {
            Ok(self.gathered.left())
        } else if let Some(error) = self.gathered.error.take() {
            Err(error)
        } else {
            self.inner.fill_buf()
        };
        match next {
            Ok([]) => {
                self.ended = true;
                Ok(&[])
            }
            // there is more data than the budget allows
            Ok(_) if left == 0 => {
                self.stop = Some(match self.consumed {
                    at if at >= self.max_bytes => Stop::Document,
                    at if at >= self.outer_ceiling => Stop::Section,
                    _ => Stop::Piece,
                });
                Err(io::ErrorKind::Other.into())
            }
            Ok(chunk) => Ok(chunk.get(..left).unwrap_or(chunk)),
            // callers try again by themselves
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.stop = Some(Stop::Io(error));
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    #[inline]
    fn consume(&mut self, amount: usize) {
        let gathered = amount.min(self.gathered.left().len());
        self.gathered.consumed += gathered;
        self.inner.consume(amount - gathered);
        self.consumed += amount as u64;
    }
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// Reads `data` through a buffer of `capacity`; answers the bytes that passed and the reason
    /// of the end.
    fn drain(data: &[u8], capacity: usize, max_bytes: u64, piece: u64) -> (u64, Option<Stop>) {
        let mut reader = Bounded::new(BufReader::with_capacity(capacity, data), max_bytes, piece);
        loop {
            match reader.fill_buf().map(<[u8]>::len) {
                Ok(0) | Err(_) => return (reader.consumed(), reader.take_stop()),
                Ok(length) => reader.consume(length),
            }
        }
    }

    #[test]
    fn both_limits_cut_at_the_same_byte_whatever_the_chunks() {
        for capacity in [1, 7, 64, 4096] {
            let data = [b'x'; 100];
            assert!(matches!(drain(&data, capacity, 40, 1000), (40, Some(Stop::Document))));
            assert!(matches!(drain(&data, capacity, 1000, 40), (40, Some(Stop::Piece))));
            assert!(matches!(drain(&data, capacity, 100, 100), (100, None)));
            assert!(matches!(drain(&data, capacity, 99, 100), (99, Some(Stop::Document))));
        }
    }

    #[test]
    fn a_new_piece_has_a_new_budget() {
        let mut reader = Bounded::new(&b"0123456789"[..], 100, 4);
        assert_eq!(reader.fill_buf().unwrap(), b"0123");
        reader.consume(4);
        assert!(reader.fill_buf().is_err());
        reader.begin_piece();
        assert_eq!(reader.fill_buf().unwrap(), b"4567");
    }

    #[test]
    fn a_section_is_bounded_however_many_pieces_it_has() {
        let mut reader = Bounded::new(&b"0123456789"[..], 100, 4);
        reader.begin_section(6);
        assert_eq!(reader.fill_buf().unwrap(), b"0123");
        reader.consume(4);
        reader.begin_piece();
        assert_eq!(reader.fill_buf().unwrap(), b"45");
        reader.consume(2);
        assert!(reader.fill_buf().is_err());
        assert!(matches!(reader.take_stop(), Some(Stop::Section)));
        reader.end_section();
        assert_eq!(reader.fill_buf().unwrap(), b"67");
    }

    #[test]
    fn what_is_gathered_is_still_read() {
        for (capacity, least) in [(1, 5), (3, 4), (3, 7), (4, 4), (7, 3), (64, 20)] {
            let data = b"0123456789abcdef";
            let mut reader = Bounded::new(BufReader::with_capacity(capacity, &data[..]), 14, 9);
            reader.read_exact(&mut [0; 2]).unwrap();
            reader.begin_piece();
            let expected = &data[2..2 + least.min(9)];
            assert_eq!(reader.gather(least), expected, "{capacity} {least}");
            assert_eq!(reader.gather(2).get(..2), expected.get(..2));
            let mut read = Vec::new();
            while read.len() < 9 {
                let byte = reader.fill_buf().unwrap()[0];
                read.push(byte);
                reader.consume(1);
                if read.len() == 4 {
                    assert_eq!(reader.gather(6), &data[6..11]);
                }
            }
            assert_eq!(read, b"23456789a");
            assert!(reader.fill_buf().is_err() && matches!(reader.take_stop(), Some(Stop::Piece)));
            reader.begin_piece();
            assert_eq!(reader.gather(100), b"bcd");
            assert_eq!(reader.consumed(), 11);
        }
    }

    #[test]
    fn an_error_comes_behind_what_was_gathered_before_it() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let mut reader = Bounded::new(BufReader::new(b"0123".chain(Broken)), 100, 100);
        assert_eq!(reader.gather(10), b"0123");
        assert_eq!(reader.gather(10), b"0123");
        assert_eq!(reader.fill_buf().unwrap(), b"0123");
        reader.consume(4);
        assert!(reader.gather(10).is_empty());
        assert!(reader.fill_buf().is_err());
        assert!(matches!(reader.take_stop(), Some(Stop::Io(_))));
    }

    #[test]
    fn an_error_of_the_inner_reader_is_kept_unchanged() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer"))
            }
        }
        let mut reader = Bounded::new(BufReader::new(Broken), 100, 100);
        assert!(reader.fill_buf().is_err());
        let Some(Stop::Io(error)) = reader.take_stop() else { panic!("no error kept") };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(error.to_string(), "reset by peer");
    }
}
