//! Giving a validated download its final names, in an order that is safe against a crash at any
//! point: data, directory, manifest, directory, link.

use super::catalogue::{self, Snapshot};
use super::pipeline::Received;
use super::{Archive, Attempt, layout};
use crate::digest::Digesting;
use crate::failpoint::{self, Point};
use crate::files::{self, Folder};
use crate::job::wrong_number;
use crate::manifest::{
    LATEST, Manifest, ManifestFormat, Name, Origin, PublishedVersion, Role, Stored,
};
use chrono::{DateTime, Utc};
use std::io::{self, BufReader, Write};
use std::path::Path;

/// The parts of a manifest that validation does not supply.
#[derive(Debug, Clone)]
pub struct SnapshotMeta {
    /// The source's name.
    pub source: String,
    /// Where the data comes from.
    pub origin: Origin,
    /// What the snapshot is for.
    pub role: Role,
    /// The version that it came from, where that is known.
    pub published_version: Option<PublishedVersion>,
    /// The job's number.
    pub job: i64,
    /// The remote job's identifier.
    pub remote_id: Option<String>,
    /// The scheduled time that the job covers.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When the remote job was submitted.
    pub created_at: DateTime<Utc>,
    /// When validation was complete.
    pub completed_at: DateTime<Utc>,
    /// How many entities the service announced.
    pub expected: Option<u64>,
    /// Why the snapshot is suspicious.
    pub suspicious: Vec<String>,
    /// What validation could not check.
    pub notes: Vec<String>,
}

impl SnapshotMeta {
    /// That of an ordinary snapshot about which nothing else is known.
    pub fn new(
        source: &str,
        origin: &Origin,
        job: i64,
        created_at: DateTime<Utc>,
        completed_at: DateTime<Utc>,
    ) -> SnapshotMeta {
        SnapshotMeta {
            source: source.to_owned(),
            origin: origin.clone(),
            role: Role::Ordinary,
            published_version: None,
            job,
            remote_id: None,
            scheduled_for: None,
            created_at,
            completed_at,
            expected: None,
            suspicious: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Archive {
    /// Files a valid download. When this returns, the snapshot is complete and on disk.
    ///
    /// # Errors
    /// The download is not valid or not what was announced (`InvalidInput`), or a file cannot be
    /// read or written.
    pub fn file(&self, mut received: Received, meta: SnapshotMeta) -> io::Result<Snapshot> {
        let summary = match &mut received.validation {
            Ok(summary) => std::mem::take(summary),
            Err(error) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, error.to_string()));
            }
        };
        if let Some(message) = wrong_number(summary.entities, meta.expected) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let folder = self.folder(&meta.source);
        let name = Name::new(meta.created_at, meta.job);
        if !name.is_valid() {
            let message = format!("{name} is no name for a snapshot: nothing would find it again");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if let Some(snapshot) = self.find(&meta.source, name) {
            return Ok(snapshot);
        }
        let duplicate = self.duplicate(&meta, name, &received)?;
        let file = name.with(&received.suffix());
        let data = folder.join(&file);
        // A concurrent prune or verify sees all files of the snapshot or none.
        let _whole = Folder::open(&folder)?.lock();
        let stored = match &duplicate {
            Some(duplicate) if link(&duplicate.data(), &data)? => {
                Stored { file, ..duplicate.manifest.stored.clone() }
            }
            _ => {
                failpoint::hit(Point::DataName, &data)?;
                received.partial.check(received.stored.bytes)?;
                give_name(&received.partial.path, &data)?;
                Stored {
                    file,
                    bytes: received.stored.bytes,
                    sha256: received.stored.sha256.clone(),
                    encoding: received.codec.name().to_owned(),
                }
            }
        };
        // A manifest never reaches the disk before its data.
        files::sync_folder(&folder)?;
        let unproven = summary.unproven();
        let manifest = Manifest {
            format: ManifestFormat::NEWEST,
            source: meta.source,
            origin: meta.origin,
            role: meta.role,
            published_version: meta.published_version,
            job: meta.job,
            remote_id: meta.remote_id,
            scheduled_for: meta.scheduled_for,
            created_at: meta.created_at,
            completed_at: meta.completed_at,
            entities: summary.entities,
            expected_entities: meta.expected,
            entity_type: summary.entity_type,
            primary_key: summary.primary_key,
            columns: summary.columns,
            content: received.content.clone(),
            stored,
            suspicious: meta.suspicious,
            notes: meta.notes,
            same_content_as: duplicate.map(|duplicate| duplicate.manifest.name().manifest()),
            generator: concat!("nightjar ", env!("CARGO_PKG_VERSION")).to_owned(),
            unreadable: summary.unreadable,
            unproven,
        };
        let path = folder.join(name.manifest());
        write_whole(&folder, &name.manifest(), &received.attempt, &manifest)?;
        self.point_latest(&manifest.source, &received.attempt)?;
        files::sync_folder(&folder)?;
        failpoint::hit(Point::Filed, &path)?;
        Ok(Snapshot { path, manifest })
    }

    /// Points `latest.json` at the newest ordinary manifest.
    fn point_latest(&self, source: &str, attempt: &Attempt) -> io::Result<()> {
        let folder = self.folder(source);
        let Some(newest) = self.latest_name(source)? else { return Ok(()) };
        let partial = folder.join(attempt.partial_name(LATEST));
        match files::remove(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {
                files::symlink(Path::new(&newest.manifest()), &partial)?;
            }
        }
        failpoint::hit(Point::LatestName, &partial)?;
        give_name(&partial, &folder.join(LATEST))
    }

    /// An earlier snapshot whose content equals the download's and whose data file is sound: a link
    /// to a damaged file would be no backup.
    fn duplicate(
        &self,
        meta: &SnapshotMeta,
        own: Name,
        received: &Received,
    ) -> io::Result<Option<Snapshot>> {
        let source = &meta.source;
        let is_same = |one: &Snapshot| {
            one.manifest.content == received.content
                && one.codec() == Some(received.codec)
                && layout::suffix_of(&one.manifest) == received.suffix()
        };
        let mut earlier = self.snapshots(source)?.filter(|one| one.manifest.name() < own);
        let same = match meta.role {
            Role::Ordinary => earlier.find(|one| one.manifest.role.is_ordinary()).filter(is_same),
            // Any of them may be the version that this one is.
            Role::Safety | Role::Version => earlier.find(is_same),
        };
        Ok(same.filter(|one| self.is_intact(one)))
    }

    /// Whether a snapshot's data is what its manifest says: all of it is read. A damaged one is
    /// logged; what the service has is then stored in full.
    pub fn is_intact(&self, snapshot: &Snapshot) -> bool {
        let (path, source) = (snapshot.data(), &snapshot.manifest.source);
        match digest(&path) {
            Ok(found) if found == snapshot.manifest.stored.sha256 => return true,
            Ok(_) => tracing::error!(
                file = %path.display(),
                "an archived file is damaged; the new snapshot is stored in full. \
                 Run `nightjar verify {source}`"
            ),
            Err(error) => tracing::error!(
                file = %path.display(), %error,
                "an archived file cannot be read; the new snapshot is stored in full. \
                 Run `nightjar verify {source}`"
            ),
        }
        false
    }
}

/// Hard-links `new` to the file `old`; `false` where the file system allows no (more) links.
fn link(old: &Path, new: &Path) -> io::Result<bool> {
    if let Err(error) = files::remove(new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    match failpoint::hit(Point::DataLink, new).and_then(|()| files::hard_link(old, new)) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::CrossesDevices
                    | io::ErrorKind::TooManyLinks
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Gives a file its final name. Its content must be on disk by then.
pub(super) fn give_name(partial: &Path, name: &Path) -> io::Result<()> {
    files::rename(partial, name)
}

/// Writes a manifest, and gives it its final name only once it reads back as it was written. A
/// manifest that no command can read is never filed.
fn write_whole(
    folder: &Path,
    name: &str,
    attempt: &Attempt,
    manifest: &Manifest,
) -> io::Result<()> {
    let partial = folder.join(attempt.partial_name(name));
    let text = manifest.render()?;
    let mut file = files::create_new(&partial)?;
    failpoint::hit(Point::ManifestWrite, &partial)?;
    file.write_all(&text)?;
    failpoint::hit(Point::ManifestSync, &partial)?;
    file.sync_all()?;
    let read = catalogue::read(&partial)?;
    if read != *manifest {
        let message = "the manifest does not read back as it was written";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    failpoint::hit(Point::ManifestName, &partial)?;
    give_name(&partial, &folder.join(name))
}

/// The SHA-256 of a file.
pub(super) fn digest(path: &Path) -> io::Result<String> {
    let mut file = BufReader::with_capacity(128 << 10, files::read(path)?);
    let mut sink = Digesting::new(io::sink());
    io::copy(&mut file, &mut sink)?;
    Ok(sink.digester.sha256())
}
