//! What is in the archive: every source's folder, and every file in it.

use super::{Finding, Severity};
use crate::archive::examine::{Examined, Reading, examine};
use crate::archive::{Archive, catalogue, layout, owner_of};
use crate::codec::Codec;
use crate::files::Folder;
use crate::manifest::{HOLD_SUFFIX, LATEST, Manifest, Name, ReadManifest};
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// How many files that belong to no snapshot are reported one by one for each directory.
const MOST_NAMED: usize = 1000;

/// A manifest and the data file that it describes.
pub(super) struct ManifestClaim {
    pub(super) source: String,
    pub(super) name: Name,
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    /// Its data file among those to read; hard links share one.
    pub(super) file: Option<usize>,
}

/// A data file to read, once however many names it has.
pub(super) struct DataFile {
    /// All of its names: any may be removed while another one is read.
    pub(super) paths: Vec<PathBuf>,
    pub(super) reading: Reading,
    pub(super) examined: OnceLock<io::Result<Examined>>,
}

/// What is in the archive, and its problems.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) checked: usize,
    pub(super) claims: Vec<ManifestClaim>,
    pub(super) files: Vec<DataFile>,
    /// Which entry of `files` an inode is, read with this codec: manifests may disagree about a
    /// shared one.
    pub(super) inodes: HashMap<(u64, u64, Option<Codec>), usize>,
    pub(super) findings: Vec<Finding>,
}

impl DataFile {
    pub(super) fn examine(&self) -> io::Result<Examined> {
        let mut gone = io::Error::from(io::ErrorKind::NotFound);
        for path in &self.paths {
            match examine(path, self.reading) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => gone = error,
                examined => return examined,
            }
        }
        Err(gone)
    }
}

impl Survey {
    pub(super) fn find(
        &mut self,
        (source, snapshot): (Option<&str>, Option<Name>),
        file: &Path,
        kind: &'static str,
        severity: Severity,
        message: impl Into<String>,
    ) {
        self.findings.push(Finding {
            source: source.map(str::to_owned),
            snapshot: snapshot.map(|name| name.to_string()),
            file: file.to_owned(),
            kind,
            severity,
            message: message.into(),
        });
    }

    /// Every source's directory, and everything else next to them.
    pub(super) fn root(&mut self, archive: &Archive) {
        let sources: BTreeSet<String> = match archive.sources() {
            Ok(sources) => sources.into_iter().collect(),
            Err(error) => {
                let message = format!("the archive's folder cannot be read: {error}");
                let root = archive.root();
                return self.find((None, None), root, "unreadable", Severity::Error, message);
            }
        };
        let entries = Folder::open(archive.root()).and_then(|root| root.entries());
        let mut beside = Leftovers::default();
        for entry in entries.into_iter().flatten().flatten() {
            let known = entry.name.to_str().is_some_and(|name| sources.contains(name));
            if !known && entry.name != "lost+found" && beside.is_named() {
                let message = "it belongs to no source of the archive";
                let path = archive.root().join(entry.name);
                self.find((None, None), &path, "foreign", Severity::Warning, message);
            }
        }
        self.rest((None, None), archive.root(), &beside);
        for source in &sources {
            self.folder(archive, source);
        }
    }

    /// One source's directory: each file is a manifest, a manifest's data, or belongs to no
    /// snapshot.
    pub(super) fn folder(&mut self, archive: &Archive, source: &str) {
        let path = archive.folder(source);
        let folder = match archive.open_source(source) {
            Ok(Some(folder)) => folder,
            Ok(None) => return,
            Err(error) => return self.unreadable(source, &path, &error),
        };
        let mut names: BTreeSet<Name> = BTreeSet::new();
        let mut others: BTreeSet<OsString> = BTreeSet::new();
        let entries = match folder.entries() {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(source, &path, &error),
        };
        let mut beside = Leftovers::default();
        for entry in entries {
            let file = match entry {
                Ok(entry) => entry.name,
                Err(error) => return self.unreadable(source, &path, &error),
            };
            match file.to_str().map(|file| (catalogue::manifest_name(file), file)) {
                Some((Some(name), _)) => drop(names.insert(name)),
                Some((None, LATEST)) => {}
                // Keep the names that this program gives until all manifests are known. The number
                // of other names is unbounded.
                Some((None, file)) if owner_of(file).is_some() || of_snapshot(file).is_some() => {
                    others.insert(file.into());
                }
                _ if beside.is_named() => self.foreign(source, &path.join(file)),
                _ => {}
            }
        }
        self.rest((Some(source), None), &path, &beside);
        let newest = names.iter().rev().find(|name| archive.may_be_ordinary(source, **name));
        if let Some(newest) = newest {
            self.latest(source, &folder, *newest);
        }
        for name in names {
            others.remove(OsStr::new(&name.hold()));
            for data in layout::data_names(name) {
                others.remove(OsStr::new(&data));
            }
            self.snapshot(source, &folder, name);
        }
        for file in others.iter().filter_map(|file| file.to_str()) {
            self.left_over(source, file, &path.join(file));
        }
    }

    fn unreadable(&mut self, source: &str, folder: &Path, error: &io::Error) {
        let message = format!("the source's folder cannot be read: {error}");
        self.find((Some(source), None), folder, "unreadable", Severity::Error, message);
    }

    /// Reports how many more files of a directory were not named.
    fn rest(&mut self, about: (Option<&str>, Option<Name>), folder: &Path, beside: &Leftovers) {
        if let Some(more) = beside.seen.checked_sub(MOST_NAMED).filter(|more| *more > 0) {
            let message = format!(
                "{more} more files or folders in it belong to no snapshot and are not listed"
            );
            self.find(about, folder, "foreign", Severity::Warning, message);
        }
    }

    fn snapshot(&mut self, source: &str, folder: &Folder, name: Name) {
        let about = (Some(source), Some(name));
        let path = folder.path().join(name.manifest());
        let ReadManifest { manifest, has_checksum } = match catalogue::read_whole(&path) {
            Ok(read) => read,
            // Removed with its data since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                self.checked += 1;
                let message = format!("the manifest cannot be read: {error}");
                return self.find(about, &path, "manifest", Severity::Error, message);
            }
        };
        self.checked += 1;
        if !has_checksum {
            let message = format!(
                "an older version ({}) wrote it without a checksum: not every change to it can be \
                 found",
                manifest.generator
            );
            self.find(about, &path, "older", Severity::Note, message);
        }
        let data = layout::data_name(name, &manifest);
        let file = self.data_file(folder, &data, &manifest);
        if file.is_none() {
            let message =
                "the data that belongs to the manifest is missing, or is not a regular file";
            let data = folder.path().join(data);
            self.find(about, &data, "missing", Severity::Error, message);
        }
        self.claims.push(ManifestClaim { source: source.to_owned(), name, path, manifest, file });
    }

    /// The number of this snapshot's data file among those to read.
    fn data_file(&mut self, folder: &Folder, data: &str, manifest: &Manifest) -> Option<usize> {
        let meta = folder.metadata(data).ok().filter(Metadata::is_file)?;
        let path = folder.path().join(data);
        let reading = Reading {
            format: layout::format_of(manifest),
            codec: layout::codec_of(manifest),
            max_bytes: manifest.content.bytes,
        };
        let next = self.files.len();
        let inode = (meta.dev(), meta.ino(), reading.codec);
        let number = *self.inodes.entry(inode).or_insert(next);
        match self.files.get_mut(number) {
            Some(known) => {
                known.reading.max_bytes = known.reading.max_bytes.max(reading.max_bytes);
                known.paths.push(path);
            }
            None => {
                self.files.push(DataFile { paths: vec![path], reading, examined: OnceLock::new() });
            }
        }
        Some(number)
    }

    /// `latest.json` should name the newest ordinary manifest.
    pub(super) fn latest(&mut self, source: &str, folder: &Folder, newest: Name) {
        let path = folder.path().join(LATEST);
        let problem = match folder.read_link(LATEST) {
            Ok(target) if target == Path::new(&newest.manifest()) => return,
            Ok(target) => format!("it names {}", target.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "it is missing".to_owned(),
            Err(_) => "it is not a link".to_owned(),
        };
        let message = format!(
            "it should be a link to the newest manifest, {}, but {problem}; the next backup of \
             the source sets it",
            newest.manifest()
        );
        self.find((Some(source), None), &path, "latest", Severity::Warning, message);
    }

    fn foreign(&mut self, source: &str, path: &Path) {
        let message = "it belongs to no snapshot, and nightjar did not write it";
        self.find((Some(source), None), path, "foreign", Severity::Warning, message);
    }

    /// A file that no manifest describes.
    fn left_over(&mut self, source: &str, file: &str, path: &Path) {
        if owner_of(file).is_some() {
            let message = "a download that is running or was interrupted; the daemon removes \
                           interrupted downloads when it starts";
            return self.find((Some(source), None), path, "unfinished", Severity::Warning, message);
        }
        match layout::name_of_data(file) {
            Some(name) => {
                let message = "data without a manifest: it belongs to no snapshot, and cannot be \
                               checked";
                let about = (Some(source), Some(name));
                self.find(about, path, "orphan", Severity::Warning, message);
            }
            None => self.foreign(source, path),
        }
    }
}

/// How many files of a directory belong to no snapshot.
#[derive(Default)]
struct Leftovers {
    seen: usize,
}

impl Leftovers {
    /// Counts one more; returns whether to report it by name.
    fn is_named(&mut self) -> bool {
        self.seen += 1;
        self.seen <= MOST_NAMED
    }
}

/// The snapshot in the name of a data file or a hold.
fn of_snapshot(file: &str) -> Option<Name> {
    layout::name_of_data(file).or_else(|| file.strip_suffix(HOLD_SUFFIX)?.parse().ok())
}
