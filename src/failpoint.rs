//! Named points between two side effects, where tests kill the process or make the disk fail. Not
//! part of a release build.
//!
//! A test in the same process registers a handler for a folder ([`watch`]). The executable of a
//! debug build takes `$NIGHTJAR_FAILPOINT`, such as `manifest.name=kill`, `data.write@3=ENOSPC` (at
//! the third time), `store.commit@2x4=EIO` (four times from the second on) or `data.link=EPERM`.

/// Declares the points with their names.
macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal),+ $(,)?) => {
        /// A failpoint. Each is just before the side effect that it names, unless its name says
        /// otherwise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point { $($(#[$doc])* $point),+ }

        impl Point {
            /// Every point.
            pub const ALL: &[Point] = &[$(Point::$point),+];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Point::$point => $name),+ }
            }
        }
    };
}

points! {
    /// A directory is created.
    FolderMake = "folder.make",
    /// A file is created.
    FileCreate = "file.create",
    /// A directory's entries are synced to disk.
    FolderSync = "folder.sync",
    /// A transaction begins.
    StoreBegin = "store.begin",
    /// A transaction is committed.
    StoreCommit = "store.commit",
    /// A transaction was committed, but its caller has not been informed.
    StoreCommitted = "store.committed",
    /// A request to start a remote job is sent; the intent is written.
    Submit = "submit",
    /// The service has answered a submission, but the answer is not stored yet.
    Submitted = "submitted",
    /// The service has answered a poll, but the answer is not stored yet.
    Polled = "polled",
    /// A result is requested.
    Fetch = "fetch",
    /// A restore's snapshot was checked, but that is not stored yet.
    RestoreChecked = "restore.checked",
    /// What the service lists is read.
    RestoreLook = "restore.look",
    /// What the service lists was read, but is not stored yet.
    RestoreLooked = "restore.looked",
    /// A load is sent; the intent is written.
    LoadSubmit = "load.submit",
    /// The service has answered a load, but the answer is not stored yet.
    LoadSubmitted = "load.submitted",
    /// The staged version was compared, but the result is not stored yet.
    VerifyCompared = "verify.compared",
    /// The request to publish the staged version is sent; the intent is written.
    PublishSubmit = "publish.submit",
    /// The service has answered it, but the answer is not stored yet.
    PublishSubmitted = "publish.submitted",
    /// The request to publish an older version is sent; the intent is written.
    RollBackSubmit = "rollback.submit",
    /// The service has answered it, but the answer is not stored yet.
    RollBackSubmitted = "rollback.submitted",
    /// A restore holds a snapshot.
    HoldSet = "hold.set",
    /// An ended restore's hold of a snapshot is released.
    HoldRelease = "hold.release",
    /// A part of the compressed data is written.
    DataWrite = "data.write",
    /// The data is synced to disk.
    DataSync = "data.sync",
    /// The result was received, but is neither filed nor quarantined.
    Settle = "settle",
    /// The data is linked to the newest snapshot's.
    DataLink = "data.link",
    /// The data gets its final name.
    DataName = "data.name",
    /// The manifest is written.
    ManifestWrite = "manifest.write",
    /// The manifest is synced to disk.
    ManifestSync = "manifest.sync",
    /// The manifest gets its final name.
    ManifestName = "manifest.name",
    /// `latest.json` is pointed at the manifest.
    LatestName = "latest.name",
    /// The snapshot is filed, but the job is not updated yet.
    Filed = "filed",
    /// A download that failed validation is quarantined.
    Aside = "aside",
    /// Retention removes a manifest.
    PruneManifest = "prune.manifest",
    /// Retention removes data.
    PruneData = "prune.data",
}

#[cfg(not(debug_assertions))]
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "in a debug build it may fail")]
pub(crate) fn hit(_: Point, _: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
pub(crate) use watched::hit;
#[cfg(debug_assertions)]
pub use watched::{Watching, watch};

#[cfg(debug_assertions)]
mod watched {
    use super::Point;
    use rustix::process::{Signal, getpid, kill_process};
    use std::fmt;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, LazyLock, PoisonError, RwLock};

    type Handler = Arc<dyn Fn(Point, &Path) -> io::Result<()> + Send + Sync>;

    static WATCHED: RwLock<Vec<(PathBuf, Handler)>> = RwLock::new(Vec::new());
    static ORDERED: LazyLock<Option<Ordered>> = LazyLock::new(Ordered::from_environment);

    /// A handler for the paths below a directory, active until this is dropped.
    pub struct Watching(PathBuf);

    impl fmt::Debug for Watching {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_tuple("Watching").field(&self.0).finish()
        }
    }

    impl Drop for Watching {
        fn drop(&mut self) {
            let mut watched = WATCHED.write().unwrap_or_else(PoisonError::into_inner);
            watched.retain(|(folder, _)| *folder != self.0);
        }
    }

    /// Calls a handler at every failpoint below a directory; the side effect fails with its error.
    pub fn watch(
        folder: &Path,
        handler: impl Fn(Point, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Watching {
        let mut watched = WATCHED.write().unwrap_or_else(PoisonError::into_inner);
        watched.push((folder.to_owned(), Arc::new(handler)));
        Watching(folder.to_owned())
    }

    /// Call this just before a side effect on a path.
    pub(crate) fn hit(point: Point, path: &Path) -> io::Result<()> {
        if let Some(ordered) = &*ORDERED {
            ordered.hit(point)?;
        }
        let handler = {
            let watched = WATCHED.read().unwrap_or_else(PoisonError::into_inner);
            let mut watched = watched.iter().filter(|(folder, _)| path.starts_with(folder));
            watched.next().map(|(_, handler)| Arc::clone(handler))
        };
        handler.map_or(Ok(()), |handler| handler(point, path))
    }

    /// The failpoint that the environment requests.
    #[derive(Debug)]
    struct Ordered {
        point: Point,
        /// The first time it applies, from 1.
        at: u32,
        /// How many times it applies.
        times: u32,
        hits: AtomicU32,
        /// The error's number; `None` kills the process.
        errno: Option<i32>,
    }

    impl Ordered {
        #[allow(clippy::disallowed_methods, reason = "how a test speaks to a process")]
        fn from_environment() -> Option<Ordered> {
            let text = std::env::var("NIGHTJAR_FAILPOINT").ok()?;
            let (place, what) = text.split_once('=')?;
            let (name, when) = place.split_once('@').unwrap_or((place, "1"));
            let (at, times) = when.split_once('x').unwrap_or((when, "1"));
            let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
            let errno = match what {
                "EIO" => Some(rustix::io::Errno::IO.raw_os_error()),
                "ENOSPC" => Some(rustix::io::Errno::NOSPC.raw_os_error()),
                "EROFS" => Some(rustix::io::Errno::ROFS.raw_os_error()),
                "EPERM" => Some(rustix::io::Errno::PERM.raw_os_error()),
                _ => None,
            };
            let (at, times) = (at.parse().ok()?, times.parse().ok()?);
            Some(Ordered { point, at, times, hits: AtomicU32::new(0), errno })
        }

        fn hit(&self, point: Point) -> io::Result<()> {
            if point != self.point {
                return Ok(());
            }
            let hit = self.hits.fetch_add(1, Ordering::SeqCst) + 1;
            if !(self.at..self.at.saturating_add(self.times)).contains(&hit) {
                return Ok(());
            }
            match self.errno {
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                None => {
                    kill_process(getpid(), Signal::KILL)?;
                    // The signal has been sent; nothing may run after it.
                    loop {
                        std::thread::park();
                    }
                }
            }
        }
    }
}
