//! The bytes of a result as a validator reads them.

use bytes::{Bytes, BytesMut};
use std::fmt;
use std::io::{self, BufRead, Read};

/// How many bytes of a reader are read at once.
const PIECE: usize = 128 << 10;

/// The bytes of a result, piece by piece and without copying them. One type for all places that a
/// result can come from, so that validators need no type parameter and make no call through a
/// pointer for each token: only for each piece.
pub struct Input<'a> {
    next: Box<dyn FnMut() -> io::Result<Option<Bytes>> + 'a>,
    current: Bytes,
    /// How much of the current piece is read. Not split off: a validator takes a few bytes at a
    /// time, and each split would update a reference count that threads may share.
    read: usize,
    ended: bool,
}

impl<'a> Input<'a> {
    /// The pieces that `next` gives; `None` is the end, after which it is not called again. A piece
    /// is dropped before the next one is asked for.
    pub fn new(next: impl FnMut() -> io::Result<Option<Bytes>> + 'a) -> Input<'a> {
        Input { next: Box::new(next), current: Bytes::new(), read: 0, ended: false }
    }

    /// All of a reader.
    pub fn of_reader(mut reader: impl Read + 'a) -> Input<'a> {
        let mut buffer = BytesMut::new();
        Input::new(move || {
            // The last piece is not used any more, so that its memory is taken again.
            buffer.resize(PIECE, 0);
            let count = loop {
                match reader.read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    count => break count?,
                }
            };
            buffer.truncate(count);
            Ok((count > 0).then(|| buffer.split().freeze()))
        })
    }

    fn unread(&self) -> &[u8] {
        self.current.get(self.read..).unwrap_or_default()
    }
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("unread", &self.unread().len()).finish_non_exhaustive()
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.unread().is_empty() && !self.ended {
            self.current = Bytes::new();
            self.read = 0;
            match (self.next)()? {
                Some(piece) => self.current = piece,
                None => self.ended = true,
            }
        }
        Ok(self.unread())
    }

    fn consume(&mut self, amount: usize) {
        self.read += amount;
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_pieces_are_read_in_their_order_whatever_their_sizes(
            pieces: Vec<Vec<u8>>, steps in prop::collection::vec(1usize..9, 1..20),
        ) {
            let mut rest = pieces.clone().into_iter().map(Bytes::from);
            let mut input = Input::new(|| Ok(rest.next()));
            let (mut read, mut steps) = (Vec::new(), steps.into_iter().cycle());
            loop {
                let there = input.fill_buf().unwrap();
                let step = steps.next().unwrap().min(there.len());
                if step == 0 {
                    break;
                }
                read.extend_from_slice(&there[..step]);
                input.consume(step);
            }
            prop_assert_eq!(read, pieces.concat());
        }

        #[test]
        fn a_reader_is_read_to_its_end(content: Vec<u8>) {
            let mut read = Vec::new();
            Input::of_reader(content.as_slice()).read_to_end(&mut read).unwrap();
            prop_assert_eq!(read, content);
        }
    }

    #[test]
    fn nothing_is_asked_for_after_the_end() {
        let mut asked = 0;
        let mut input = Input::new(|| {
            asked += 1;
            Ok(None)
        });
        assert_eq!(input.fill_buf().unwrap(), b"");
        assert_eq!(input.fill_buf().unwrap(), b"");
        drop(input);
        assert_eq!(asked, 1);
    }
}
