//! SHA-256 digests of bytes, and of what is read or written, as lower-case hexadecimal digits.

use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};

/// The SHA-256 digest of these bytes.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Computes a digest piece by piece, and counts the bytes.
#[derive(Debug, Clone, Default)]
pub struct Digester {
    hasher: Sha256,
    bytes: u64,
}

impl Digester {
    /// Adds a piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
    }

    /// How many bytes the pieces had so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The SHA-256 digest of all pieces.
    pub fn sha256(self) -> String {
        format!("{:x}", self.hasher.finalize())
    }
}

/// A reader or writer that computes the digest of the bytes that pass through it.
#[derive(Debug)]
pub struct Digesting<I> {
    /// The reader or writer itself.
    pub inner: I,
    /// The digest so far.
    pub digester: Digester,
}

impl<I> Digesting<I> {
    /// Begins with no bytes.
    pub fn new(inner: I) -> Digesting<I> {
        Digesting { inner, digester: Digester::default() }
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digester.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.digester.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, the digest of "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_is_the_same_at_once_in_pieces_read_and_written() {
        assert_eq!(sha256("abc"), ABC);
        let mut pieces = Digester::default();
        for piece in [b"a".as_slice(), b"", b"bc"] {
            pieces.update(piece);
        }
        assert_eq!(pieces.bytes(), 3);
        assert_eq!(pieces.sha256(), ABC);

        let mut reader = Digesting::new(b"abc".as_slice());
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.digester.bytes(), 3);
        assert_eq!(reader.digester.sha256(), ABC);

        // A writer that takes less than it is given: only that counts.
        let mut space = [0; 3];
        let mut short = Digesting::new(space.as_mut_slice());
        assert_eq!(short.write(b"abcd").unwrap(), 3);
        assert_eq!(short.digester.sha256(), ABC);
    }
}
