//! Verifies the archive: reads every stored byte again and checks every statement of every manifest.
//! Collects all findings; none stops the verification.

use super::examine::{Examined, examine};
use super::{Archive, catalogue, owner_of};
use crate::dataset::{Column, Unproven, Unreadable};
use crate::files::Folder;
use crate::manifest::{DATA_SUFFIX, HOLD_SUFFIX, LATEST, Manifest, Name, ReadManifest};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More threads than this would only make a disk seek.
const MOST_THREADS: usize = 4;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A snapshot is damaged, incomplete or not what its manifest claims.
    Error,
    /// Something does not belong here, but no snapshot is affected.
    Warning,
    /// Worth knowing; no action is needed.
    Note,
}

/// One problem that verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The source whose directory it is in; `null` for the archive's own directory.
    pub source: Option<String>,
    /// The snapshot that it concerns, as `SOURCE@TIMESTAMP-JOB` is made of; `null` for none.
    pub snapshot: Option<String>,
    /// The file's path.
    pub file: PathBuf,
    /// A machine-readable kind: `missing`, `damaged`, `claim`, `unproven`, `manifest`, `unreadable`,
    /// `orphan`, `unfinished`, `foreign`, `latest`, `older`.
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// A human-readable sentence.
    pub message: String,
}

/// The result of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether every snapshot is intact: there is no [`Severity::Error`].
    pub ok: bool,
    /// How many snapshots were checked.
    pub checked: usize,
    /// Everything found, by source and file.
    pub findings: Vec<Finding>,
}

/// Progress of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Data files read to their end.
    pub done: usize,
    /// Data files to read.
    pub files: usize,
}

/// How many files that belong to no snapshot are reported one by one for each directory.
const MOST_NAMED: usize = 1000;

/// A manifest and the data file that it describes.
struct ManifestClaim {
    source: String,
    name: Name,
    path: PathBuf,
    manifest: Manifest,
    /// Its data file among those to read; hard links share one.
    file: Option<usize>,
}

/// A data file to read, once however many names it has.
struct DataFile {
    /// All of its names: any may be removed while another one is read.
    paths: Vec<PathBuf>,
    most: u64,
    examined: OnceLock<io::Result<Examined>>,
}

impl Archive {
    /// Verifies these sources, or the whole archive if none is named. A named source without a
    /// directory is a source without snapshots.
    pub fn verify(
        &self,
        only: &[String],
        progress: &(dyn Fn(VerifyProgress) + Sync),
    ) -> Verification {
        let mut survey = Survey::default();
        if only.is_empty() {
            survey.root(self);
        } else {
            for source in only {
                survey.folder(self, source);
            }
        }
        read_all(&survey.files, progress);
        survey.compare();
        survey.recheck(self);
        let mut findings = survey.findings;
        findings.sort_by(|a, b| (&a.source, &a.file, a.kind).cmp(&(&b.source, &b.file, b.kind)));
        Verification {
            ok: findings.iter().all(|finding| finding.severity != Severity::Error),
            checked: survey.checked,
            findings,
        }
    }
}

/// Reads the files on a few threads.
fn read_all(files: &[DataFile], progress: &(dyn Fn(VerifyProgress) + Sync)) {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    progress(VerifyProgress { done: 0, files: files.len() });
    thread::scope(|scope| {
        for _ in 0..threads.min(files.len()) {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _ = file.examined.set(file.examine());
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    progress(VerifyProgress { done, files: files.len() });
                }
            });
        }
    });
}

/// What is in the archive, and what is wrong with it.
#[derive(Default)]
struct Survey {
    checked: usize,
    claims: Vec<ManifestClaim>,
    files: Vec<DataFile>,
    /// Which entry of `files` an inode is.
    inodes: HashMap<(u64, u64), usize>,
    findings: Vec<Finding>,
}

impl DataFile {
    fn examine(&self) -> io::Result<Examined> {
        let mut gone = io::Error::from(io::ErrorKind::NotFound);
        for path in &self.paths {
            match examine(path, self.most) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => gone = error,
                examined => return examined,
            }
        }
        Err(gone)
    }
}

impl Survey {
    fn find(
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
    fn root(&mut self, archive: &Archive) {
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

    /// One source's directory: each file is a manifest, a manifest's data, or belongs to no snapshot.
    fn folder(&mut self, archive: &Archive, source: &str) {
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
        if let Some(newest) = names.last() {
            self.latest(source, &folder, *newest);
        }
        for name in names {
            others.remove(OsStr::new(&name.hold()));
            others.remove(OsStr::new(&name.data()));
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
        let file = self.data_file(folder, name, manifest.content.bytes);
        if file.is_none() {
            let message =
                "the data that belongs to the manifest is missing, or is not a regular file";
            let data = folder.path().join(name.data());
            self.find(about, &data, "missing", Severity::Error, message);
        }
        self.claims.push(ManifestClaim { source: source.to_owned(), name, path, manifest, file });
    }

    /// The number of this snapshot's data file among those to read.
    fn data_file(&mut self, folder: &Folder, name: Name, most: u64) -> Option<usize> {
        let meta = folder.metadata(name.data()).ok().filter(Metadata::is_file)?;
        let path = folder.path().join(name.data());
        let next = self.files.len();
        let number = *self.inodes.entry((meta.dev(), meta.ino())).or_insert(next);
        match self.files.get_mut(number) {
            Some(known) => {
                known.most = known.most.max(most);
                known.paths.push(path);
            }
            None => {
                self.files.push(DataFile { paths: vec![path], most, examined: OnceLock::new() });
            }
        }
        Some(number)
    }

    /// `latest.json` should name the newest manifest.
    fn latest(&mut self, source: &str, folder: &Folder, newest: Name) {
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
        match file.strip_suffix(DATA_SUFFIX).and_then(|stem| stem.parse::<Name>().ok()) {
            Some(name) => {
                let message = "data without a manifest: it belongs to no snapshot, and cannot be \
                               checked";
                let about = (Some(source), Some(name));
                self.find(about, path, "orphan", Severity::Warning, message);
            }
            None => self.foreign(source, path),
        }
    }

    /// Compares every manifest with what was found.
    fn compare(&mut self) {
        let claims = std::mem::take(&mut self.claims);
        let files = std::mem::take(&mut self.files);
        let contents: HashMap<(&str, String), &Manifest> = claims
            .iter()
            .map(|claim| ((claim.source.as_str(), claim.name.manifest()), &claim.manifest))
            .collect();
        for claim in &claims {
            let about = (Some(claim.source.as_str()), Some(claim.name));
            for message in contradictions(claim, &contents) {
                self.find(about, &claim.path, "claim", Severity::Error, message);
            }
            let Some(file) = claim.file.and_then(|number| files.get(number)) else { continue };
            let data = claim.path.with_file_name(claim.name.data());
            match file.examined.get() {
                Some(Ok(examined)) => {
                    for (kind, message) in differences(&claim.manifest, examined) {
                        let file = if kind == "claim" { &claim.path } else { &data };
                        self.find(about, file, kind, Severity::Error, message);
                    }
                }
                Some(Err(error)) => {
                    let message = format!("the data cannot be read: {error}");
                    self.find(about, &data, "unreadable", Severity::Error, message);
                }
                None => {
                    let message = "the data was not read";
                    self.find(about, &data, "unreadable", Severity::Error, message);
                }
            }
        }
    }

    /// Checks every finding once more: changes that a backup, a prune or a hold made meanwhile are
    /// not findings.
    fn recheck(&mut self, archive: &Archive) {
        let mut sources: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
        for finding in std::mem::take(&mut self.findings) {
            match &finding.source {
                Some(source) => sources.entry(source.clone()).or_default().push(finding),
                None => self.findings.push(finding),
            }
        }
        for (source, findings) in sources {
            let folder = archive.open_source(&source);
            let Ok(Some(folder)) = folder else {
                self.findings.extend(findings);
                continue;
            };
            // The lock keeps this out of the middle of another process's change.
            let _whole = folder.lock();
            let is_there = |file: &str| folder.metadata(file).is_ok();
            let mut gone: BTreeSet<String> = BTreeSet::new();
            for finding in findings {
                let file = finding.file.file_name().and_then(|file| file.to_str());
                let name = finding.snapshot.as_deref().and_then(|it| it.parse::<Name>().ok());
                match (finding.kind, name) {
                    ("latest", _) => {
                        if let Some(newest) =
                            archive.names(&source).ok().and_then(|names| names.into_iter().next())
                        {
                            self.latest(&source, &folder, newest);
                        }
                        continue;
                    }
                    // It has become a complete snapshot, or is gone.
                    ("orphan", Some(name)) if is_there(&name.manifest()) => continue,
                    ("orphan" | "unfinished" | "foreign", _)
                        if finding.file != folder.path()
                            && file.is_some_and(|file| !is_there(file)) =>
                    {
                        continue;
                    }
                    ("orphan", _) => {}
                    (_, Some(name)) if !is_there(&name.manifest()) => {
                        gone.insert(name.to_string());
                        continue;
                    }
                    _ => {}
                }
                self.findings.push(finding);
            }
            self.checked = self.checked.saturating_sub(gone.len());
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
    let stem = file.strip_suffix(DATA_SUFFIX).or_else(|| file.strip_suffix(HOLD_SUFFIX))?;
    stem.parse().ok()
}

/// What in a manifest is wrong regardless of the data.
fn contradictions(
    claim: &ManifestClaim,
    contents: &HashMap<(&str, String), &Manifest>,
) -> Vec<String> {
    let manifest = &claim.manifest;
    let mut found = Vec::new();
    found.extend(catalogue::contradictions(manifest, claim.name, Some(&claim.source)));
    if manifest.stored.encoding != "zstd" {
        found.push(format!("its encoding {} is unknown", manifest.stored.encoding));
    }
    if let Some(expected) = manifest.expected_entities
        && expected != manifest.entities
    {
        found.push(format!("{expected} entities were announced, but it has {}", manifest.entities));
    }
    if let Some(duplicate) = &manifest.same_content_as
        && catalogue::manifest_name(duplicate).is_some_and(|other| other >= claim.name)
    {
        found.push(format!(
            "its content is said to be that of {duplicate}, which is no earlier one"
        ));
    }
    if let Some(duplicate) = &manifest.same_content_as
        && let Some(other) = contents.get(&(claim.source.as_str(), duplicate.clone()))
        && other.content != manifest.content
    {
        found.push(format!("it claims the same content as {duplicate}, whose digest differs"));
    }
    found
}

/// Where the data differs from its manifest. Altered bytes are one finding, not several.
fn differences(manifest: &Manifest, examined: &Examined) -> Vec<(&'static str, String)> {
    let (claimed, stored) = (&manifest.stored, &examined.stored);
    if claimed.bytes != stored.bytes {
        let message = format!("it has {} bytes, but should have {}", stored.bytes, claimed.bytes);
        return vec![("damaged", message)];
    }
    if claimed.sha256 != stored.sha256 {
        let message = format!("its SHA-256 is {}, but should be {}", stored.sha256, claimed.sha256);
        return vec![("damaged", message)];
    }
    let (content, summary) = match &examined.content {
        Ok(found) => found,
        Err(message) => return vec![("unproven", message.clone())],
    };
    // A key that is not kept (it held the account's key) says nothing.
    let mut found_unreadable = summary.unreadable.clone();
    for (found, claimed) in found_unreadable.iter_mut().zip(&manifest.unreadable) {
        found.first_key.take_if(|_| claimed.first_key.is_none());
    }
    let claims = [
        ("bytes of content", manifest.content.bytes.to_string(), content.bytes.to_string()),
        ("content's SHA-256", manifest.content.sha256.clone(), content.sha256.clone()),
        ("entities", manifest.entities.to_string(), summary.entities.to_string()),
        ("entity type", manifest.entity_type.clone(), summary.entity_type.clone()),
        ("primary key", manifest.primary_key.clone(), summary.primary_key.clone()),
        ("columns", columns(&manifest.columns), columns(&summary.columns)),
        ("unreadable", unreadable(&manifest.unreadable), unreadable(&found_unreadable)),
        (
            "unproven",
            listed(&manifest.unproven, Unproven::to_string),
            listed(&summary.unproven(), Unproven::to_string),
        ),
    ];
    claims
        .into_iter()
        .filter(|(_, claimed, real)| claimed != real)
        .map(|(what, claimed, real)| {
            let (claimed, real) = (shortened(&claimed), shortened(&real));
            ("claim", format!("{what}: {real} in the data, {claimed} in the manifest"))
        })
        .collect()
}

fn columns(columns: &[Column]) -> String {
    listed(columns, |column| format!("{} {}", column.name, column.r#type))
}

/// In full, so that every difference counts.
fn unreadable(columns: &[Unreadable]) -> String {
    listed(columns, |one| match &one.first_key {
        Some(key) => format!("{} in {}, first {key:?}", one.values, one.column),
        None => format!("{} in {}, first without a key", one.values, one.column),
    })
}

fn listed<T>(all: &[T], one: impl Fn(&T) -> String) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    let all: Vec<_> = all.iter().map(one).collect();
    all.join(", ")
}

/// A value, cut to the length that a message may quote.
fn shortened(claim: &str) -> String {
    const MOST: usize = 300;
    match claim.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", claim.get(..at).unwrap_or_default()),
        None => claim.to_owned(),
    }
}
