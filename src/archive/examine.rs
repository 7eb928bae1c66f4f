//! Reads one archived data file to its end: its digests and its document.

use crate::dataset::{self, DocumentLimits, Summary};
use crate::digest::Digesting;
use crate::files;
use crate::manifest::Content;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

/// What a data file really contains.
#[derive(Debug)]
pub(super) struct Examined {
    /// The file's own bytes.
    pub(super) stored: Content,
    /// The decompressed bytes and the document's summary, or why it is not valid.
    pub(super) content: Result<(Content, Summary), String>,
}

/// Reads the whole file once. Stops decompressing after `most` bytes: a damaged file may expand
/// to any length.
pub(super) fn examine(path: &Path, most: u64) -> io::Result<Examined> {
    let mut file = Digesting::new(files::read(path)?);
    let content = decompress(&mut file, most);
    // The decoder stops at the end of its frame or at damage; the digest covers the whole file.
    io::copy(&mut file, &mut io::sink())?;
    Ok(Examined { stored: file.digester.into(), content })
}

fn decompress(file: &mut Digesting<File>, most: u64) -> Result<(Content, Summary), String> {
    let undecodable = |error: io::Error| format!("it does not decompress: {error}");
    let decoder = zstd::Decoder::new(file).map_err(undecodable)?;
    let mut reader = BufReader::with_capacity(128 << 10, Digesting::new(decoder));
    let limits = DocumentLimits { max_bytes: most, ..DocumentLimits::default() };
    let summary = dataset::validate(&mut reader, &limits).map_err(|error| error.to_string())?;
    Ok((reader.into_inner().digester.into(), summary))
}
