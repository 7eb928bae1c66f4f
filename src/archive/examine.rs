//! Reads one archived data file to its end: its digests and its content.

use crate::codec::Codec;
use crate::digest::Digesting;
use crate::files;
use crate::format::{Format, Input, Summary};
use crate::manifest::Content;
use std::io::{self, Read};
use std::path::Path;

/// How the content of a data file is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) format: &'static dyn Format,
    /// `None` if this version does not know how the file is encoded: then only its own bytes are
    /// read.
    pub(super) codec: Option<Codec>,
    /// Decoding stops after so many bytes: a damaged file may expand to any length.
    pub(super) max_bytes: u64,
}

/// What a data file really contains.
#[derive(Debug)]
pub(super) struct Examined {
    /// The file's own bytes.
    pub(super) stored: Content,
    /// The decoded bytes and what was found in them, or why they are not valid; `None` if they
    /// could not be decoded.
    pub(super) content: Option<Result<(Content, Summary), String>>,
}

/// Reads the whole file once.
pub(super) fn examine(path: &Path, reading: Reading) -> io::Result<Examined> {
    let mut file = Digesting::new(files::read(path)?);
    let content = reading.codec.map(|codec| decode(&mut file, codec, reading));
    // The decoder stops at the end of its frame or at damage; the digest covers the whole file.
    io::copy(&mut file, &mut io::sink())?;
    Ok(Examined { stored: file.digester.into(), content })
}

fn decode(file: impl Read, codec: Codec, reading: Reading) -> Result<(Content, Summary), String> {
    let undecodable = |error: io::Error| format!("it does not decompress: {error}");
    let mut content = Digesting::new(codec.decoder(file).map_err(undecodable)?);
    let input = Input::of_reader(&mut content);
    let summary = reading.format.validate(input, reading.max_bytes);
    let summary = summary.map_err(|error| error.to_string())?;
    Ok((content.digester.into(), summary))
}
