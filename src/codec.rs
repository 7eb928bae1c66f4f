//! How bytes are stored in a file: the one place that compresses and decompresses archived data.

use std::io::{self, BufReader, Read, Write};
use zstd::stream::raw::CParameter;

const LEVEL: i32 = 3;
/// A window of 512 KiB in place of level 3's 2 MiB: less memory for about 2 % more bytes.
const WINDOW_LOG: u32 = 19;
/// The largest window that [`Decoder::with_little_memory`] accepts: 8 MiB. Nightjar writes
/// 512 KiB, and wrote 2 MiB before.
const LARGEST_WINDOW_LOG: u32 = 23;

/// How content is encoded in its file. Manifests name it in `stored.encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Zstandard, level 3, with a checksum of the content.
    Zstd,
    /// As it is: for content that is compressed already.
    Identity,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Codec; 2] = [Codec::Zstd, Codec::Identity];

    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Zstd => "zstd",
            Codec::Identity => "identity",
        }
    }

    /// The codec of that name; `None` if this version does not know it.
    pub fn named(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// What it adds to the name of a file, with its dot; nothing where the content is as it is.
    pub fn suffix(self) -> &'static str {
        match self {
            Codec::Zstd => ".zst",
            Codec::Identity => "",
        }
    }

    /// The media type of its files.
    pub fn media_type(self) -> &'static str {
        match self {
            Codec::Zstd => "application/zstd",
            Codec::Identity => "application/octet-stream",
        }
    }

    /// Writes content into `file`.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn encoder<W: Write>(self, file: W) -> io::Result<Encoder<W>> {
        match self {
            Codec::Zstd => {
                let mut encoder = zstd::Encoder::new(file, LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
                encoder.include_checksum(true)?;
                Ok(Encoder(Writing::Zstd(encoder)))
            }
            Codec::Identity => Ok(Encoder(Writing::Identity(file))),
        }
    }

    /// Reads the content of `file`.
    ///
    /// # Errors
    /// When there is no memory for it. That the file is damaged is an error of reading.
    pub fn decoder<R: Read>(self, file: R) -> io::Result<Decoder<R>> {
        match self {
            Codec::Zstd => Ok(Decoder(Reading::Zstd(zstd::Decoder::new(file)?))),
            Codec::Identity => Ok(Decoder(Reading::Identity(file))),
        }
    }
}

/// Encodes what is written to it.
pub struct Encoder<W: Write>(Writing<W>);

enum Writing<W: Write> {
    Zstd(zstd::Encoder<'static, W>),
    Identity(W),
}

impl<W: Write> Encoder<W> {
    /// Writes the end, without which the file is not complete, and gives the file back.
    ///
    /// # Errors
    /// When the end cannot be written.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Writing::Zstd(encoder) => encoder.finish(),
            Writing::Identity(file) => Ok(file),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Writing::Zstd(encoder) => encoder.write(content),
            Writing::Identity(file) => file.write(content),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Writing::Zstd(encoder) => encoder.flush(),
            Writing::Identity(file) => file.flush(),
        }
    }
}

/// Reads decoded content.
pub struct Decoder<R: Read>(Reading<R>);

enum Reading<R: Read> {
    Zstd(zstd::Decoder<'static, BufReader<R>>),
    Identity(R),
}

impl<R: Read> Decoder<R> {
    /// The same, but a file that needs more memory to decode than any that Nightjar wrote is an
    /// error when it is read.
    ///
    /// # Errors
    /// When the limit cannot be set.
    pub fn with_little_memory(mut self) -> io::Result<Decoder<R>> {
        match &mut self.0 {
            Reading::Zstd(decoder) => decoder.window_log_max(LARGEST_WINDOW_LOG)?,
            Reading::Identity(_) => {}
        }
        Ok(self)
    }

    /// The file, wherever it was read to: bytes that were read ahead are dropped.
    pub fn into_inner(self) -> R {
        match self.0 {
            Reading::Zstd(decoder) => decoder.finish().into_inner(),
            Reading::Identity(file) => file,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Reading::Zstd(decoder) => decoder.read(buffer),
            Reading::Identity(file) => file.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn content_reads_back_and_a_cut_file_does_not(content: Vec<u8>, cut: prop::sample::Index) {
            for codec in Codec::ALL {
                let mut encoder = codec.encoder(Vec::new()).unwrap();
                encoder.write_all(&content).unwrap();
                let file = encoder.finish().unwrap();
                let decoded = |file: &[u8]| {
                    let mut decoded = Vec::new();
                    let mut decoder = codec.decoder(file).unwrap().with_little_memory().unwrap();
                    decoder.read_to_end(&mut decoded).map(|_| decoded)
                };
                prop_assert_eq!(&decoded(&file).unwrap(), &content);
                let cut = cut.index(file.len().max(1));
                match codec {
                    // No byte at all is no frame, which is not an error.
                    Codec::Zstd => prop_assert!(cut == 0 || decoded(&file[..cut]).is_err()),
                    // Only the manifest's digest shows that the end is missing.
                    Codec::Identity => {
                        let begin = file.get(..cut).unwrap_or_default();
                        prop_assert_eq!(decoded(begin).unwrap(), begin);
                    }
                }
            }
        }
    }

    #[test]
    fn a_name_is_that_of_one_codec() {
        for codec in Codec::ALL {
            assert_eq!(Codec::named(codec.name()), Some(codec));
            let suffixes = Codec::ALL.iter().filter(|other| other.suffix() == codec.suffix());
            assert_eq!(suffixes.count(), 1, "{codec:?}");
            // One that is missing in the list is missing here.
            let number = match codec {
                Codec::Zstd => 0,
                Codec::Identity => 1,
            };
            assert_eq!(Codec::ALL[number], codec);
        }
        assert_eq!(Codec::named("lz4"), None);
    }
}
