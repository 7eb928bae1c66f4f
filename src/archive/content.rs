//! Reads a snapshot's document and proves it in the same pass.

use super::{Archive, Snapshot};
use crate::digest::Digesting;
use crate::files;
use crate::manifest::Content;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// Bytes of the document that are decompressed at once.
const BUFFER: usize = 128 << 10;

/// A snapshot's document. It is what the archive promises only once [`ProvenContent::finish`] has
/// said so.
pub struct ProvenContent<'p> {
    reader: BufReader<Digesting<zstd::Decoder<'static, BufReader<Digesting<File>>>>>,
    stored: Content,
    content: Content,
    progress: &'p (dyn Fn(u64) + Sync),
}

impl fmt::Debug for ProvenContent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvenContent").finish_non_exhaustive()
    }
}

impl Archive {
    /// Opens a snapshot's document. `progress` is called with the bytes of it that have been read.
    ///
    /// # Errors
    /// When its data file cannot be opened.
    pub fn proven_content<'p>(
        &self,
        snapshot: &Snapshot,
        progress: &'p (dyn Fn(u64) + Sync),
    ) -> io::Result<ProvenContent<'p>> {
        let file = BufReader::new(Digesting::new(files::read(&snapshot.data())?));
        let decoder = zstd::Decoder::with_buffer(file)?;
        Ok(ProvenContent {
            reader: BufReader::with_capacity(BUFFER, Digesting::new(decoder)),
            stored: Content {
                bytes: snapshot.manifest.stored.bytes,
                sha256: snapshot.manifest.stored.sha256.clone(),
            },
            content: snapshot.manifest.content.clone(),
            progress,
        })
    }
}

impl ProvenContent<'_> {
    /// Reads what is left, and compares lengths and digests with the manifest's.
    ///
    /// # Errors
    /// A sentence about what differs.
    pub fn finish(mut self) -> Result<(), String> {
        let undecodable = |error: io::Error| format!("it does not decompress: {error}");
        let most = self.content.bytes;
        // More than the manifest's own number is damage already, however long it goes on.
        let left = io::copy(&mut (&mut self.reader).take(most), &mut io::sink());
        left.map_err(undecodable)?;
        let Digesting { inner: decoder, digester: content } = self.reader.into_inner();
        let mut file = decoder.finish();
        io::copy(&mut file, &mut io::sink()).map_err(|error| error.to_string())?;
        let stored = Content::from(file.into_inner().digester);
        let content = Content::from(content);
        match () {
            () if stored != self.stored => Err(differs("the data file", &self.stored, &stored)),
            () if content != self.content => Err(differs("the document", &self.content, &content)),
            () => Ok(()),
        }
    }
}

fn differs(what: &str, wanted: &Content, found: &Content) -> String {
    if wanted.bytes == found.bytes {
        return format!("the SHA-256 of {what} is not the manifest's");
    }
    let (wanted, found) = (wanted.bytes, found.bytes);
    format!("{what} has {found} bytes, and the manifest says {wanted}")
}

impl Read for ProvenContent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl BufRead for ProvenContent<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.reader.buffer().is_empty() {
            let bytes = self.reader.get_ref().digester.bytes();
            (self.progress)(bytes);
        }
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}
