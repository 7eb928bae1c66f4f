//! What is in the archive, read from the archive alone.

use super::Archive;
use crate::manifest::{LARGEST_MANIFEST, LATEST, MANIFEST_SUFFIX, Manifest, Name, ReadManifest};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// One snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Its manifest's path.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Snapshot {
    /// Its data file's path.
    pub fn data(&self) -> PathBuf {
        self.path.with_file_name(&self.manifest.stored.file)
    }
}

impl Archive {
    /// The sources that have a folder, by name.
    pub fn sources(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut sources = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(name) = name.to_str()
                && !name.starts_with('.')
                && entry.file_type()?.is_dir()
                && name != "lost+found"
            {
                sources.push(name.to_owned());
            }
        }
        sources.sort();
        Ok(sources)
    }

    /// The names of a source's snapshots, newest first.
    pub fn names(&self, source: &str) -> io::Result<Vec<Name>> {
        let entries = match fs::read_dir(self.folder(source)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().to_str().and_then(manifest_name));
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }

    /// A source's snapshots, newest first, each read when it is asked for. A manifest that cannot
    /// be read is passed over with a warning; `verify` names it.
    pub fn snapshots(&self, source: &str) -> io::Result<impl Iterator<Item = Snapshot> + use<>> {
        let folder = self.folder(source);
        Ok(self.names(source)?.into_iter().filter_map(move |name| {
            let path = folder.join(name.manifest());
            match read(&path) {
                Ok(manifest) => Some(Snapshot { path, manifest }),
                Err(error) => {
                    tracing::warn!(manifest = %path.display(), %error, "passed over a manifest");
                    None
                }
            }
        }))
    }

    /// A source's newest snapshot.
    pub fn newest(&self, source: &str) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshots(source)?.next())
    }

    /// The snapshot of this name, if it is there.
    pub fn find(&self, source: &str, name: Name) -> Option<Snapshot> {
        let path = self.folder(source).join(name.manifest());
        let manifest = read(&path).ok()?;
        Some(Snapshot { path, manifest })
    }

    /// A snapshot's content as the service sent it, up to so many bytes.
    pub fn content(&self, snapshot: &Snapshot, limit: u64) -> io::Result<impl BufRead + use<>> {
        let file = File::open(snapshot.data())?;
        let decoder = zstd::stream::read::Decoder::new(file)?;
        Ok(BufReader::new(decoder.take(limit)))
    }

    /// How many entities the newest snapshot has that is not suspicious.
    pub fn baseline(&self, source: &str) -> io::Result<Option<u64>> {
        Ok(self
            .snapshots(source)?
            .find(|snapshot| snapshot.manifest.suspicious.is_empty())
            .map(|snapshot| snapshot.manifest.entities))
    }

    /// The highest job number in any file name; 0 in an empty archive.
    pub fn highest_job(&self) -> io::Result<i64> {
        let mut highest = 0;
        for source in self.sources()? {
            for name in self.names(&source)? {
                highest = highest.max(name.job());
            }
        }
        Ok(highest)
    }
}

/// The snapshot's name in a manifest's file name.
pub(super) fn manifest_name(file: &str) -> Option<Name> {
    if file == LATEST {
        return None;
    }
    file.strip_suffix(MANIFEST_SUFFIX)?.parse().ok()
}

/// Reads a manifest; a damaged one is an error.
pub(super) fn read(path: &Path) -> io::Result<Manifest> {
    Ok(read_whole(path)?.manifest)
}

/// Reads a manifest, and whether it has a checksum.
pub(super) fn read_whole(path: &Path) -> io::Result<ReadManifest> {
    let mut text = Vec::new();
    File::open(path)?.take(LARGEST_MANIFEST as u64 + 1).read_to_end(&mut text)?;
    Manifest::read(&text)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}
