//! Lists the archive's snapshots, from the archive alone.

use super::{Archive, layout};
use crate::codec::Codec;
use crate::files::{self, EntryKind, Folder};
use crate::manifest::{LARGEST_MANIFEST, LATEST, MANIFEST_SUFFIX, Manifest, Name, ReadManifest};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest source name that the configuration allows, in bytes.
const LONGEST_SOURCE: usize = 64;

/// One snapshot. Its manifest agrees with its file name.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Its manifest's path.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Snapshot {
    /// Its data file's path: next to the manifest, under the same name. Nothing else in the
    /// manifest is used as a path.
    pub fn data(&self) -> PathBuf {
        self.path.with_file_name(layout::data_name(self.manifest.name(), &self.manifest))
    }

    /// How its data is stored; `None` if this version does not know it.
    pub fn codec(&self) -> Option<Codec> {
        layout::codec_of(&self.manifest)
    }
}

impl Archive {
    /// The sources that have a directory, by name. A link to a directory counts. A link that must
    /// not be followed, or is dangling, is listed too: reading that source is then an error instead
    /// of an empty source.
    pub fn sources(&self) -> io::Result<Vec<String>> {
        let root = match Folder::open(&self.root) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut sources = Vec::new();
        for entry in root.entries()? {
            let entry = entry?;
            let Some(name) = entry.name.to_str().filter(|name| is_source(name)) else { continue };
            let is_folder = match entry.kind {
                EntryKind::Folder => true,
                EntryKind::Link => !leads_to_a_file(&self.folder(name)),
                EntryKind::File | EntryKind::Other => false,
            };
            if is_folder {
                sources.push(name.to_owned());
            }
        }
        sources.sort();
        Ok(sources)
    }

    /// Opens a source's directory; `None` if nothing has that name. A link is followed if root or
    /// the program's own user created it.
    pub(super) fn open_source(&self, source: &str) -> io::Result<Option<Folder>> {
        let root = match Folder::open(&self.root) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match root.metadata(source) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let path = self.folder(source);
        match Folder::open(&path) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(io::Error::other(format!(
                    "{} is a link to a folder that is not there; mount its disk, or remove the link",
                    path.display()
                )))
            }
            Err(error) => Err(error),
        }
    }

    /// The names of a source's snapshots, newest first. The highest job number is the newest,
    /// regardless of the clock.
    pub fn names(&self, source: &str) -> io::Result<Vec<Name>> {
        let Some(folder) = self.open_source(source)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in folder.entries()? {
            names.extend(entry?.name.to_str().and_then(manifest_name));
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }

    /// A source's snapshots, newest first, each read lazily. A manifest that cannot be read, or
    /// that contradicts its own name, is skipped with a warning; `verify` reports it.
    pub fn snapshots(&self, source: &str) -> io::Result<impl Iterator<Item = Snapshot> + use<>> {
        let folder = self.folder(source);
        let source = source.to_owned();
        let names = self.names(&source)?.into_iter();
        Ok(names.filter_map(move |name| listed(&folder, &source, name)))
    }

    /// One of a source's [`names`](Archive::names), as [`snapshots`](Archive::snapshots) lists it.
    pub fn listed(&self, source: &str, name: Name) -> Option<Snapshot> {
        listed(&self.folder(source), source, name)
    }

    /// A source's newest ordinary snapshot.
    pub fn newest(&self, source: &str) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshots(source)?.find(|snapshot| snapshot.manifest.role.is_ordinary()))
    }

    /// The name of a source's newest ordinary snapshot. One whose manifest cannot be read counts as
    /// ordinary, so that a damaged newest snapshot is noticed.
    pub(super) fn latest_name(&self, source: &str) -> io::Result<Option<Name>> {
        Ok(self.names(source)?.into_iter().find(|name| self.may_be_ordinary(source, *name)))
    }

    /// Whether a snapshot is ordinary, or its manifest cannot be read.
    pub(super) fn may_be_ordinary(&self, source: &str, name: Name) -> bool {
        self.find(source, name).is_none_or(|snapshot| snapshot.manifest.role.is_ordinary())
    }

    /// The snapshot of this name, if it exists.
    pub fn find(&self, source: &str, name: Name) -> Option<Snapshot> {
        if !is_source(source) {
            return None;
        }
        let path = self.folder(source).join(name.manifest());
        let manifest = read_as(&path, name, Some(source)).ok()?;
        Some(Snapshot { path, manifest })
    }

    /// The newest ordinary snapshot that is not suspicious.
    pub fn baseline(&self, source: &str) -> io::Result<Option<Snapshot>> {
        let is_good =
            |it: &Snapshot| it.manifest.role.is_ordinary() && it.manifest.suspicious.is_empty();
        Ok(self.snapshots(source)?.find(is_good))
    }

    /// What a snapshot is compared with: the newest ordinary snapshot before it that has other
    /// content, and that is of the same version if this one is ordinary too.
    pub fn earlier(&self, new: &Snapshot) -> io::Result<Option<Snapshot>> {
        let new = &new.manifest;
        let is_wanted = |one: &Snapshot| {
            let one = &one.manifest;
            one.role.is_ordinary()
                && one.name() < new.name()
                && (one.origin.version == new.origin.version || !new.role.is_ordinary())
                && one.content != new.content
        };
        Ok(self.snapshots(&new.source)?.find(is_wanted))
    }

    /// The highest job number in any file name, whether or not it became a snapshot; 0 in an empty
    /// archive. An error when a source cannot be read, because its numbers may be higher.
    pub fn highest_job(&self) -> io::Result<i64> {
        let mut highest = 0;
        for source in self.sources()? {
            let Some(folder) = self.open_source(&source)? else { continue };
            for entry in folder.entries()? {
                let name = entry?.name;
                highest = highest.max(name.to_str().and_then(job_of).unwrap_or(0));
            }
        }
        Ok(highest)
    }
}

/// Whether a source can have this name.
pub fn is_source(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= LONGEST_SOURCE
        && name.bytes().next().is_some_and(is_inner)
        && name.bytes().all(|byte| is_inner(byte) || byte == b'_' || byte == b'-')
}

/// Whether a trusted link leads to something other than a directory.
fn leads_to_a_file(link: &Path) -> bool {
    Folder::open(link).is_err_and(|error| error.kind() == io::ErrorKind::NotADirectory)
}

/// A snapshot in its source's directory, unless it is gone or has to be skipped.
fn listed(folder: &Path, source: &str, name: Name) -> Option<Snapshot> {
    let path = folder.join(name.manifest());
    match read_as(&path, name, Some(source)) {
        Ok(manifest) => Some(Snapshot { path, manifest }),
        // Removed since the names were read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(manifest = %path.display(), %error, "skipped a manifest");
            None
        }
    }
}

/// The snapshot's name in a manifest's file name.
pub(super) fn manifest_name(file: &str) -> Option<Name> {
    if file == LATEST {
        return None;
    }
    file.strip_suffix(MANIFEST_SUFFIX)?.parse().ok()
}

/// The job in the name of any file of a snapshot, an unfinished one's too.
fn job_of(file: &str) -> Option<i64> {
    let (stem, _) = file.strip_prefix('.').unwrap_or(file).split_once('.')?;
    stem.parse::<Name>().ok().map(|name| name.job())
}

/// Reads a manifest; a damaged one is an error.
pub(super) fn read(path: &Path) -> io::Result<Manifest> {
    Ok(read_whole(path)?.manifest)
}

/// Reads a manifest, and whether it has a checksum.
pub(super) fn read_whole(path: &Path) -> io::Result<ReadManifest> {
    let mut text = Vec::new();
    files::read(path)?.take(LARGEST_MANIFEST as u64 + 1).read_to_end(&mut text)?;
    Manifest::read(&text)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// Reads the manifest of this name. It must agree with its file name and, if given, its source.
pub(super) fn read_as(path: &Path, name: Name, source: Option<&str>) -> io::Result<Manifest> {
    let manifest = read(path)?;
    match contradictions(&manifest, name, source).into_iter().next() {
        None => Ok(manifest),
        Some(message) => Err(io::Error::new(io::ErrorKind::InvalidData, message)),
    }
}

/// How a manifest contradicts its file name or its source. If it does, none of it can be trusted.
pub(super) fn contradictions(manifest: &Manifest, name: Name, source: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    if source.is_some_and(|source| manifest.source != source) {
        found.push(format!("it belongs to source {:?}, not to this folder's", manifest.source));
    }
    if manifest.name() != name {
        found.push(format!("its instant and job make it {}, not this file", manifest.name()));
    }
    if manifest.stored.file != layout::data_name(name, manifest) {
        found.push(format!("it names the data file {:?}", manifest.stored.file));
    }
    if let Some(same) = &manifest.same_content_as
        && manifest_name(same).is_none()
    {
        found.push(format!("it claims the same content as {same:?}, which is not a manifest"));
    }
    found
}
