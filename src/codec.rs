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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Zstandard, level 3, with a checksum of the content.
    Zstd,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Codec; 1] = [Codec::Zstd];

    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Zstd => "zstd",
        }
    }

    /// The codec of that name; `None` if this version does not know it.
    pub fn named(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// What it adds to the name of a file, with its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Codec::Zstd => ".zst",
        }
    }

    /// The media type of its files.
    pub fn media_type(self) -> &'static str {
        match self {
            Codec::Zstd => "application/zstd",
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
                Ok(Encoder(encoder))
            }
        }
    }

    /// Reads the content of `file`.
    ///
    /// # Errors
    /// When there is no memory for it. That the file is damaged is an error of reading.
    pub fn decoder<R: Read>(self, file: R) -> io::Result<Decoder<R>> {
        match self {
            Codec::Zstd => Ok(Decoder(zstd::Decoder::new(file)?)),
        }
    }
}

/// Encodes what is written to it.
pub struct Encoder<W: Write>(zstd::Encoder<'static, W>);

impl<W: Write> Encoder<W> {
    /// Writes the end, without which the file is not complete, and gives the file back.
    ///
    /// # Errors
    /// When the end cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.0.write(content)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Reads decoded content.
pub struct Decoder<R: Read>(zstd::Decoder<'static, BufReader<R>>);

impl<R: Read> Decoder<R> {
    /// The same, but a file that needs more memory to decode than any that Nightjar wrote is an
    /// error when it is read.
    ///
    /// # Errors
    /// When the limit cannot be set.
    pub fn with_little_memory(mut self) -> io::Result<Decoder<R>> {
        self.0.window_log_max(LARGEST_WINDOW_LOG)?;
        Ok(self)
    }

    /// The file, wherever it was read to: bytes that were read ahead are dropped.
    pub fn into_inner(self) -> R {
        self.0.finish().into_inner()
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn content_reads_back_and_a_cut_file_is_an_error(content: Vec<u8>, cut: prop::sample::Index) {
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
                let cut = 1 + cut.index(file.len() - 1);
                prop_assert!(decoded(&file[..cut]).is_err(), "{} of {} bytes", cut, file.len());
            }
        }
    }

    #[test]
    fn a_name_is_that_of_one_codec() {
        for codec in Codec::ALL {
            assert_eq!(Codec::named(codec.name()), Some(codec));
        }
        assert_eq!(Codec::named("lz4"), None);
    }
}
