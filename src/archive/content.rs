//! Reads a snapshot's content, as the service sent it.

use super::{Archive, Received, Snapshot, layout};
use crate::codec::Decoder;
use crate::digest::Digesting;
use crate::files;
use crate::manifest::Content;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// Bytes of the content that are decoded at once.
const BUFFER: usize = 128 << 10;

/// A snapshot's content, checked as it is read. It is what the manifest says only once
/// [`ProvenContent::finish`] has returned without an error.
pub struct ProvenContent<'p> {
    reader: BufReader<Digesting<Decoder<Digesting<File>>>>,
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
    /// A snapshot's content, at most `limit` bytes. A file that needs more memory to decode than
    /// any that Nightjar wrote is an error when it is read.
    pub fn content(&self, snapshot: &Snapshot, limit: u64) -> io::Result<impl BufRead + use<>> {
        Ok(BufReader::new(decoder(snapshot, files::read(&snapshot.data())?)?.take(limit)))
    }

    /// A snapshot's content, checked against its manifest. `progress` is called with the bytes that
    /// have been read.
    ///
    /// # Errors
    /// When its data file cannot be opened, or is encoded in a way that this version does not know.
    pub fn proven_content<'p>(
        &self,
        snapshot: &Snapshot,
        progress: &'p (dyn Fn(u64) + Sync),
    ) -> io::Result<ProvenContent<'p>> {
        let decoder = decoder(snapshot, Digesting::new(files::read(&snapshot.data())?))?;
        let stored = &snapshot.manifest.stored;
        Ok(ProvenContent {
            reader: BufReader::with_capacity(BUFFER, Digesting::new(decoder)),
            stored: Content { bytes: stored.bytes, sha256: stored.sha256.clone() },
            content: snapshot.manifest.content.clone(),
            progress,
        })
    }
}

impl Received {
    /// The content of a download that is not filed yet, checked against what was received.
    ///
    /// # Errors
    /// When its hidden file cannot be opened.
    pub fn proven_content(&self) -> io::Result<ProvenContent<'static>> {
        let file = Digesting::new(files::read(&self.partial.path)?);
        let decoder = self.codec.decoder(file)?.with_little_memory()?;
        Ok(ProvenContent {
            reader: BufReader::with_capacity(BUFFER, Digesting::new(decoder)),
            stored: self.stored.clone(),
            content: self.content.clone(),
            progress: &|_| {},
        })
    }
}

fn decoder<R: Read>(snapshot: &Snapshot, file: R) -> io::Result<Decoder<R>> {
    let codec = snapshot.codec().ok_or_else(|| {
        let encoding = &snapshot.manifest.stored.encoding;
        io::Error::new(io::ErrorKind::Unsupported, layout::unknown_encoding(encoding))
    })?;
    codec.decoder(file)?.with_little_memory()
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
        let mut file = decoder.into_inner();
        io::copy(&mut file, &mut io::sink()).map_err(|error| error.to_string())?;
        let (stored, content) = (Content::from(file.digester), Content::from(content));
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
