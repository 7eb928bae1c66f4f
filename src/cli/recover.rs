//! Opens the database. Rebuilds a missing or damaged one from its newest copy and the archive, with
//! an alert.

use super::{Problem, archive, clock};
use crate::archive::{Archive, Snapshot};
use crate::files;
use crate::settings::Settings;
use crate::store::lock::{self, Held};
use crate::store::{ArchivedJob, FILE, Store, StoreError, copies};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a database was rebuilt.
#[derive(Debug)]
pub(super) struct Rebuilt {
    pub(super) store: Store,
    /// The path of the damaged one; `None` if there was none.
    pub(super) set_aside: Option<PathBuf>,
    /// The copy that it was made from, if one was intact.
    pub(super) copy: Option<PathBuf>,
    /// Jobs that were imported from the archive.
    pub(super) adopted: usize,
}

/// The lock on whether the database may be rebuilt: whoever has it open shares it, whoever rebuilds
/// it holds it alone.
const LOCK: &str = "database.lock";
/// How long a process that finds the database lost waits for another one that may be rebuilding it.
const OTHERS: Duration = Duration::from_secs(5);
/// How often it looks again meanwhile.
const AGAIN: Duration = Duration::from_millis(100);

/// The store, made where there is none, with job numbers above the archive's. `thoroughly` says that
/// the database is to be looked through before it is trusted. `only` is the daemon's lock, where
/// this is the daemon.
///
/// Whether the database is lost or damaged is decided again once nobody else can have it open: of
/// two processes that start at once, one rebuilds it and the other takes what it has made.
pub(super) async fn open(
    settings: &Settings,
    thoroughly: bool,
    only: Option<&Held>,
) -> Result<Store, Problem> {
    let (archive, highest) = prepared(settings)?;
    let state_dir = &settings.state_dir;
    files::make_folder(state_dir).map_err(|error| unusable(settings, error))?;
    let mut tries = OTHERS.as_millis() / AGAIN.as_millis();
    let alone = loop {
        let shared = lock::share(&state_dir.join(LOCK)).map_err(|it| unusable(settings, it))?;
        if let Found::Whole(store) = found(state_dir, highest, thoroughly).await? {
            trust(settings, thoroughly);
            return Ok(store.holding(shared));
        }
        drop(shared);
        match alone(settings, only) {
            Ok(alone) => break alone,
            Err(problem) if tries == 0 => return Err(problem),
            Err(_) => tries -= 1,
        }
        crate::clock::pause(AGAIN).await;
    };
    let trouble = match found(state_dir, highest, thoroughly).await? {
        Found::Whole(store) => {
            trust(settings, thoroughly);
            let shared = alone.database.into_shared().map_err(|it| unusable(settings, it))?;
            return Ok(store.holding(shared));
        }
        Found::Lost => "the file is missing".to_owned(),
        Found::Damaged(trouble) => trouble,
    };
    let rebuilt = rebuild(settings, &archive, highest).await?;
    let path = settings.state_dir.join(FILE);
    tracing::error!(
        "the database {} was damaged or missing ({trouble}); {}",
        path.display(),
        rebuilt.told()
    );
    let shared = alone.database.into_shared().map_err(|it| unusable(settings, it))?;
    Ok(rebuilt.store.holding(shared))
}

/// The database was looked through: the mark that asked for it goes.
pub(super) fn trust(settings: &Settings, thoroughly: bool) {
    if thoroughly && let Err(error) = copies::clear_suspect(&settings.state_dir) {
        tracing::warn!(%error, "the database is intact, but will be checked again");
    }
}

fn unusable(settings: &Settings, error: std::io::Error) -> Problem {
    Problem::failed(format!(
        "cannot use the state folder {}: {error}",
        settings.state_dir.display()
    ))
}

/// What there is in the database's place.
pub(super) enum Found {
    Whole(Store),
    Lost,
    Damaged(String),
}

/// Looks for the database of a state folder; through it too, where that is asked for.
pub(super) async fn found(
    state_dir: &Path,
    highest: i64,
    thoroughly: bool,
) -> Result<Found, Problem> {
    let had_jobs = highest > 0 || !copies::copies(state_dir).is_empty();
    if had_jobs && !state_dir.join(FILE).exists() {
        return Ok(Found::Lost);
    }
    let opened = match had_jobs {
        true => Store::open_again(state_dir, highest).await,
        false => Store::open(state_dir, highest).await,
    };
    let store = match opened {
        Ok(store) => store,
        Err(StoreError::Emptied { .. }) => return Ok(Found::Damaged("the file is empty".into())),
        Err(error) if error.is_damage() => return Ok(Found::Damaged(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    if !thoroughly {
        return Ok(Found::Whole(store));
    }
    let problems = store.integrity().await?;
    if problems.is_empty() {
        return Ok(Found::Whole(store));
    }
    store.close().await;
    Ok(Found::Damaged(problems.join("; ")))
}

/// The archive, ready to be written, and the highest job number in it.
pub(super) fn prepared(settings: &Settings) -> Result<(Archive, i64), Problem> {
    let archive = archive(settings);
    let shown = settings.archive_dir.display();
    archive.prepare().map_err(|error| {
        Problem::failed(format!(
            "cannot use the archive folder {shown}: {error}; make it, or let the program's user \
             write to it"
        ))
    })?;
    let highest = match archive.highest_job() {
        Ok(highest) => highest,
        // The database knows the numbers that were given; without it the archive alone does.
        Err(error) if Store::may_exist(&settings.state_dir) => {
            tracing::error!("a part of the archive {shown} cannot be read: {error}");
            0
        }
        Err(error) => {
            return Err(Problem::failed(format!("cannot read the archive {shown}: {error}")));
        }
    };
    Ok((archive, highest))
}

/// What keeps everybody else from opening the database.
pub(super) struct Alone {
    database: Held,
    /// The daemon's lock, where this is not the daemon.
    _daemon: Option<Held>,
}

/// Makes sure that nobody else has the database open, or will while the locks are held that are
/// returned, and `only` where the daemon asks.
pub(super) fn alone(settings: &Settings, only: Option<&Held>) -> Result<Alone, Problem> {
    let state_dir = &settings.state_dir;
    let daemon = match only {
        Some(_) => None,
        None => Some(lock::rebuild(state_dir).map_err(|error| unusable(settings, error))?),
    };
    let daemon = daemon.transpose().map_err(|holder| {
        Problem::failed(match holder.strip_suffix(lock::REBUILDS) {
            Some(process) => format!(
                "another nightjar (process {process}) rebuilds the database; wait for its end"
            ),
            None => format!(
                "a daemon (process {holder}) has the database open: stop it (`systemctl stop \
                 nightjar`), then run `nightjar reindex`"
            ),
        })
    })?;
    let database =
        lock::try_take(&state_dir.join(LOCK)).map_err(|error| unusable(settings, error))?;
    match database {
        Ok(database) if !lock::any_worker_alive(state_dir, only.or(daemon.as_ref())) => {
            Ok(Alone { database, _daemon: daemon })
        }
        _ => Err(Problem::failed(
            "another nightjar has the database open; wait for its end, then run `nightjar \
             reindex`",
        )),
    }
}

/// Sets the database aside, where there is one, and rebuilds it. It gets its name when it is
/// complete, with all that the archive knows: whatever happens before that is begun again.
pub(super) async fn rebuild(
    settings: &Settings,
    archive: &Archive,
    highest: i64,
) -> Result<Rebuilt, Problem> {
    let state_dir = &settings.state_dir;
    let path = state_dir.join(FILE);
    let cannot = |error: std::io::Error| {
        Problem::failed(format!("cannot rebuild the database {}: {error}", path.display()))
    };
    // All of it must be readable now: a number that is given twice would be a name given twice.
    let highest = archive.highest_job().map_err(cannot)?.max(highest);
    let folder = copies::rebuild_folder(state_dir).map_err(cannot)?;
    let mut from = None;
    for copy in copies::copies(state_dir) {
        copies::restore(&folder, &copy).map_err(cannot)?;
        match found(&folder, highest, true).await {
            Ok(Found::Whole(store)) => {
                from = Some((store, copy));
                break;
            }
            // An older one may be whole.
            _ => drop(copies::rebuild_folder(state_dir).map_err(cannot)?),
        }
    }
    let (store, copy) = match from {
        Some((store, copy)) => (store, Some(copy)),
        None => (Store::open(&folder, highest).await?, None),
    };
    let adopted = adopt(settings, archive, &store).await?;
    // Closed, it is one file.
    store.close().await;
    let set_aside = match path.exists() {
        true => Some(copies::move_aside(state_dir, clock().now()).map_err(cannot)?),
        false => None,
    };
    copies::install_rebuilt(state_dir).map_err(cannot)?;
    trust(settings, true);
    let store = Store::open(state_dir, highest).await?;
    Ok(Rebuilt { store, set_aside, copy, adopted })
}

/// Takes up what the archive holds and the history does not know.
pub(super) async fn adopt(
    settings: &Settings,
    archive: &Archive,
    store: &Store,
) -> Result<usize, Problem> {
    let unreadable = |error: std::io::Error| {
        Problem::failed(format!(
            "cannot read the archive {}: {error}",
            settings.archive_dir.display()
        ))
    };
    let mut adopted = 0;
    for name in archive.sources().map_err(unreadable)? {
        let snapshots: Vec<Snapshot> = archive.snapshots(&name).map_err(unreadable)?.collect();
        let source = settings.source(&name);
        if let (Some(source), Some(newest), Some(oldest)) =
            (source, snapshots.first(), snapshots.last())
        {
            // A clock that was ahead must not keep the schedule quiet until it is as late.
            let now = clock().now();
            let times = snapshots.iter().filter_map(|it| it.manifest.scheduled_for);
            let cursor = times.filter(|time| *time <= now).max();
            let cursor = cursor.unwrap_or(newest.manifest.created_at.min(now));
            let since = oldest.manifest.created_at.min(cursor);
            store.advance_schedule(&name, &source.schedule_identity(), since, cursor).await?;
        }
        let account = source.map_or(String::new(), |source| source.account.clone());
        // Oldest first: of two that claim one scheduled time, the first has it.
        let kept = snapshots.into_iter().rev().map(|it| kept(it, account.clone())).collect();
        adopted += store.import_archived(kept, clock().now()).await?;
    }
    Ok(adopted)
}

fn kept(snapshot: Snapshot, account: String) -> ArchivedJob {
    let manifest = snapshot.manifest;
    ArchivedJob {
        job: manifest.job,
        source: manifest.source,
        account,
        scheduled_for: manifest.scheduled_for,
        submitted_at: manifest.created_at,
        completed_at: manifest.completed_at,
        remote_id: manifest.remote_id,
        expected: manifest.expected_entities,
        snapshot: snapshot.path,
    }
}

impl Rebuilt {
    /// What was done, in a sentence.
    pub(super) fn told(&self) -> String {
        let from = match &self.copy {
            Some(copy) => format!("rebuilt from the copy {}", copy.display()),
            None => "rebuilt".to_owned(),
        };
        let jobs = match self.adopted {
            1 => "1 job was".to_owned(),
            count => format!("{count} jobs were"),
        };
        let aside = self.set_aside.as_ref().map_or(String::new(), |aside| {
            format!(
                "; the damaged one is kept as {}: remove it when you no longer need it",
                aside.display()
            )
        });
        format!("it is {from}, and {jobs} imported from the archive{aside}")
    }
}
