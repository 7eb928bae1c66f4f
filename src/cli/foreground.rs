//! Work in the foreground: the jobs that a command asks for, worked on or followed with progress
//! until they have ended.

use super::watch::Watch;
use super::{Problem, archive, clock as system_clock, open_store};
use crate::alerts::{BackupEvents, Dispatcher};
use crate::clock;
use crate::comparisons::Counting;
use crate::engine::{Engine, EngineConfig, Observer, Scope, remove_leftovers};
use crate::job::{Job, WaitReason};
use crate::maintenance::{Maintenance, OF_DATABASE};
use crate::report::Reporter;
use crate::settings::{Settings, Source};
use crate::store::{FILE, Store, StoreError, copies, lock};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long the last messages and pings may take.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long they may take where the command was stopped or its time is over.
const STOPPING: Duration = Duration::from_secs(2);
/// How long the changes of the new snapshots may be counted.
const COUNTING: Duration = Duration::from_secs(60);

/// How often to look whether jobs wait for quota.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Whether a job waits for quota, which may take a day.
fn waits_for_quota(job: &Job) -> bool {
    let is_quota = |why| matches!(why, WaitReason::Quota | WaitReason::Limit);
    job.waiting.as_ref().is_some_and(|wait| is_quota(wait.why))
}

/// Whether those of these jobs that are live wait for quota, and some are. What cannot be read is
/// left to the work itself.
async fn all_wait(store: &Store, ids: &[i64]) -> bool {
    let Ok(live) = store.live_jobs().await else { return false };
    let mut live = live.iter().filter(|job| ids.contains(&job.id)).peekable();
    live.peek().is_some() && live.all(waits_for_quota)
}

/// One more worker beside the daemon, for some jobs.
pub(super) struct Foreground<'s> {
    settings: &'s Settings,
    store: Store,
    watch: Watch,
    engine: Engine,
    dispatcher: Dispatcher,
    backups: BackupEvents,
    stop: CancellationToken,
}

impl<'s> Foreground<'s> {
    /// Connects to the accounts and opens the store. `stop` ends the work.
    pub(super) async fn open(
        settings: &'s Settings,
        accounts: &BTreeSet<&str>,
        stop: CancellationToken,
    ) -> Result<Foreground<'s>, Problem> {
        let engine_config = EngineConfig::connect(settings, accounts)?;
        let store = open_store(settings).await?;
        let worker =
            lock::Worker::register(&settings.state_dir, fastrand::u64(..)).map_err(|error| {
                Problem::failed(format!(
                    "cannot use the state folder {}: {error}",
                    settings.state_dir.display()
                ))
            })?;
        remove_leftovers(&worker, &archive(settings));
        let watch = Watch::new(store.clone());
        let reporter = Reporter::new(Some(store.clone()), archive(settings));
        let (dispatcher, backups) =
            Dispatcher::new(store.clone(), reporter, system_clock(), settings.clone());
        let (shown, alerts) = (watch.observer(), dispatcher.clone());
        let observer: Observer = Arc::new(move |notice| {
            alerts.notice(&notice);
            shown(notice);
        });
        let engine = Engine::new(
            store.clone(),
            archive(settings),
            worker,
            system_clock(),
            engine_config,
            observer,
        );
        Ok(Foreground { settings, store, watch, engine, dispatcher, backups, stop })
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// What ends the work.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Begins to show a job.
    pub(super) fn show(&self, job: &Job) {
        self.watch.add(job);
    }

    /// Works on these jobs until they have ended, or a stop is requested. Those that another
    /// process holds are followed.
    pub(super) async fn work(&mut self, ids: Vec<i64>) -> Result<(), Problem> {
        let stop = self.stop.clone();
        self.work_until(ids, stop).await
    }

    /// Works on the backups of other versions that these sources have now, one after another, as
    /// long as one of them does not wait for quota.
    pub(super) async fn work_on_versions(&mut self, sources: &[&Source]) -> Result<(), Problem> {
        if !sources.iter().any(|source| source.all_versions) {
            return Ok(());
        }
        while !self.stop.is_cancelled() {
            let store = self.store.clone();
            let of_sources = |job: &Job| sources.iter().any(|source| source.name == job.source);
            let mut live = store.live_jobs().await?;
            live.retain(|job| job.version.is_some() && of_sources(job) && !waits_for_quota(job));
            if live.is_empty() {
                break;
            }
            for job in &live {
                self.show(job);
            }
            let ids: Vec<i64> = live.iter().map(|job| job.id).collect();
            let (stop, watched) = (self.stop.child_token(), ids.clone());
            let waits = stop.clone();
            let watching = async move {
                while !all_wait(&store, &watched).await {
                    clock::pause(LOOK_AGAIN).await;
                }
                waits.cancel();
                // The work ends now.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                worked = self.work_until(ids, stop) => worked?,
                () = watching => {}
            }
        }
        Ok(())
    }

    async fn work_until(&mut self, ids: Vec<i64>, stop: CancellationToken) -> Result<(), Problem> {
        // A task of its own, so that no output and no ping delays it.
        let engine = self.engine.clone();
        let mut working = tokio::spawn(async move { engine.run(Scope::Jobs(ids), stop).await });
        let worked = {
            let mut showing = pin!(self.watch.keep_showing(|| system_clock().now()));
            loop {
                tokio::select! {
                    worked = &mut working => break worked.map_err(Problem::failed)?,
                    Some(event) = self.backups.next() => self.dispatcher.ping(event).await,
                    () = &mut showing => {}
                }
            }
        };
        if worked.as_ref().is_err_and(StoreError::is_doubtful) {
            copies::mark_suspect(&self.settings.state_dir.join(FILE));
        }
        worked?;
        self.watch.refresh(system_clock().now()).await?;
        Ok(())
    }

    /// Counts what has changed in these sources, for `status` and alerts. A daemon counts what
    /// takes longer.
    pub(super) async fn count_changes(&self, sources: &[&Source]) {
        let archive = archive(self.settings);
        let reporter = Reporter::new(Some(self.store.clone()), archive.clone());
        let folder = &self.settings.state_dir;
        let mut counting = Counting::new(self.store.clone(), archive, reporter, folder);
        let names: Vec<_> = sources.iter().map(|source| source.name.clone()).collect();
        let _ = tokio::time::timeout(COUNTING, counting.count_newest(&names, &self.stop)).await;
    }

    /// Sends the last messages, maintains the database if no daemon does, and closes the store.
    pub(super) async fn close(self, is_well: bool) {
        // Also after a failure, for what ended before it; after a stop, not for long.
        let patience = if self.stop.is_cancelled() { STOPPING } else { LAST_WORDS };
        self.dispatcher.conclude(self.backups, patience).await;
        // Retention is left to `prune` and the daemon: adding a backup never removes one.
        if is_well && !self.stop.is_cancelled() {
            let mut maintenance =
                Maintenance::new(self.store.clone(), archive(self.settings), system_clock());
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = maintenance.run_due(self.settings, &OF_DATABASE) => {}
            }
        }
        self.store.close().await;
    }
}
