//! `nightjar daemon`: the service.

use super::{Common, Problem, archive, clock, stop_signal};
use crate::alerts::{self, Dispatcher};
use crate::comparisons::{Comparer, Counting};
use crate::config;
use crate::engine::{Engine, EngineConfig, Notice, Observer, Scope, remove_leftovers};
use crate::files;
use crate::maintenance::{Maintenance, Services};
use crate::recovery::{Check, Recovery};
use crate::report::Reporter;
use crate::settings::{Listen, Settings};
use crate::store::lock::{self, Held};
use crate::store::{FILE, StoreError, copies};
use crate::systemd;
use crate::web;
use sd_notify::NotifyState;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long the database may take to open, in microseconds.
const OPENING: u32 = 15 * 60 * 1_000_000;
/// How long a read-only command may hold the daemon's lock, with a large margin.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long the last pings may take: a stop is over within five seconds.
const LAST_PINGS: Duration = Duration::from_millis(500);

pub(super) async fn run(common: &Common) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let whole = EngineConfig::connect_all(&settings)?;
    let stop = stop_signal()?;
    let state = |error: std::io::Error| {
        Problem::failed(format!(
            "cannot use the state folder {}: {error}",
            settings.state_dir.display()
        ))
    };
    let check = Check::needed(&settings.state_dir);
    files::make_folder(&settings.state_dir).map_err(state)?;
    // A large database may have to be migrated, checked or rebuilt.
    systemd::notify(&[NotifyState::ExtendTimeoutUsec(OPENING)]);
    let only = take_over(&settings.state_dir, &stop).await.map_err(state)?.map_err(|process| {
        Problem::failed(format!(
            "another daemon uses {}: process {process}; stop it first, or give this one \
             another state_dir",
            settings.state_dir.display()
        ))
    })?;
    let Some(only) = only else { return Ok(super::exit::DONE) };
    let store = Recovery::new(&settings, clock()).open(check, Some(&only)).await?;
    let worker = lock::Worker::register(&settings.state_dir, fastrand::u64(..)).map_err(state)?;
    let archive = archive(&settings);
    remove_leftovers(&worker, &archive);
    let token = match settings.token.as_ref().map(config::read_token).transpose() {
        Ok(token) => token.map(|(token, _)| token),
        Err(problem) => return Err(Problem::usage(format!("[web]: the token: {problem}"))),
    };
    let any_host = matches!(settings.listen, Some(Listen::Unix(_)));
    let page = match &settings.listen {
        Some(address) => Some(web::Listener::bind(address).await.map_err(|error| {
            Problem::failed(format!(
                "cannot serve the status page on {address}: {error}; free the port, or set \
                 another one as `listen` in [web]"
            ))
        })?),
        None => None,
    };
    let changes = Arc::new(Notify::new());
    let moved = Arc::clone(&changes);
    let reporter = Reporter::new(Some(store.clone()), archive.clone());
    let counting =
        Counting::new(store.clone(), archive.clone(), reporter.clone(), &settings.state_dir);
    let counted = counting.observer();
    let (dispatcher, backups) = Dispatcher::new(store.clone(), reporter, clock(), settings.clone());
    // What root alone may read is not read again; a reload says so.
    files::close_kept();
    let (live, auth) = (web::Live::default(), web::Auth { token, any_host });
    let (alerts, shown) = (dispatcher.clone(), live.clone());
    let observer: Observer = Arc::new(move |notice| {
        alerts.notice(&notice);
        shown.notice(&notice);
        counted(&notice);
        if matches!(notice, Notice::Moved { .. }) {
            moved.notify_one();
        }
    });
    let maintenance = Maintenance::new(store.clone(), archive.clone(), clock());
    let engine = Engine::new(store.clone(), archive.clone(), worker, clock(), whole, observer);
    // The page has its own connections: nothing here waits for it.
    let page_reporter = || Reporter::new(Some(store.for_page()), archive.clone());
    let comparer = Comparer::new(archive.clone(), &settings.state_dir);
    let (shown_settings, working) = (settings.clone(), engine.clone());
    let reader = web::State::new(page_reporter(), shown_settings, working, comparer, live, auth);
    tracing::info!(
        sources = settings.sources.len(),
        state_dir = %settings.state_dir.display(),
        archive_dir = %settings.archive_dir.display(),
        "nightjar {} is ready", env!("CARGO_PKG_VERSION")
    );
    // Before readiness is announced: an unhandled SIGHUP ends the process.
    let hangup = signal(SignalKind::hangup()).map_err(Problem::failed)?;
    systemd::notify(&[NotifyState::Ready]);
    let mut served = match page {
        Some(listener) => {
            Some(web::Served::start(listener, reader.clone(), &stop).map_err(|error| {
                Problem::failed(format!("cannot serve the status page: {error}"))
            })?)
        }
        None => None,
    };
    // On a worker's thread, where timers fire: an idle daemon then wakes one thread, not two.
    let (worker, stopped) = (engine.clone(), stop.clone());
    let working = tokio::spawn(async move { worker.run(Scope::Everything, stopped).await });
    let ended = tokio::select! {
        ended = working => ended.map_err(Problem::failed)?,
        _ = async {
            let shown = || reader.settings();
            let clock = clock();
            tokio::join!(
                reload_on_hangup(hangup, common, &engine, &reader, &dispatcher, &changes),
                dispatcher.run_pings(backups),
                dispatcher.run_alerts(),
                maintenance.keep_running(shown, || Services(engine.services()), &stop),
                counting.keep_counting(shown, || dispatcher.check_now(), &stop),
                systemd::keep_alive(&engine),
                systemd::keep_status(&store, shown, &clock, &changes),
                async {
                    if let (Some(served), Some(listen)) = (&mut served, &settings.listen) {
                        served.keep(listen, || reader.reading_through(page_reporter())).await;
                    }
                },
                async {
                    stop.cancelled().await;
                    systemd::notify(&[NotifyState::Stopping]);
                },
            )
        } => Ok(()),
    };
    if ended.as_ref().is_err_and(StoreError::is_doubtful) {
        copies::mark_suspect(&settings.state_dir.join(FILE));
    }
    tokio::join!(dispatcher.finish(LAST_PINGS), async {
        if let Some(served) = served {
            served.finish().await;
        }
    });
    store.close().await;
    ended?;
    tracing::info!("stopped; unfinished work continues at the next start");
    Ok(super::exit::DONE)
}

/// Takes the daemon's lock; `None` after a stop. A command that checks whether a daemon runs may
/// hold it for a moment, and one that rebuilds the database for as long as that takes: it is waited
/// for.
async fn take_over(
    state_dir: &Path,
    stop: &CancellationToken,
) -> io::Result<Result<Option<Held>, String>> {
    let (mut tries, mut said) = (10, false);
    loop {
        let holder = match lock::daemon(state_dir)? {
            Ok(held) => return Ok(Ok(Some(held))),
            Err(holder) => holder,
        };
        if holder.ends_with(lock::REBUILDS) {
            if !said {
                tracing::info!("process {holder}; the daemon starts when that is done");
            }
            said = true;
        } else if tries == 0 {
            return Ok(Err(holder));
        } else {
            tries -= 1;
        }
        if tokio::time::timeout(POLL_INTERVAL, stop.cancelled()).await.is_ok() {
            return Ok(Ok(None));
        }
    }
}

/// The configuration as it is now, with its services.
fn reloaded(common: &Common) -> Result<(EngineConfig, Settings), Problem> {
    let settings = common.settings()?;
    let config = EngineConfig::connect_all(&settings)?;
    if files::has_left_root() {
        // A channel that works must not end because only root can read its secret.
        let problems = alerts::channels(&settings).problems;
        if !problems.is_empty() {
            return Err(Problem::usage(problems.join("\n")));
        }
    }
    Ok((config, settings))
}

/// Reloads the configuration on SIGHUP. A file with mistakes changes nothing.
async fn reload_on_hangup(
    mut hangup: Signal,
    common: &Common,
    engine: &Engine,
    reader: &web::State,
    dispatcher: &Dispatcher,
    changes: &Notify,
) {
    while hangup.recv().await.is_some() {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            systemd::notify(&[NotifyState::Reloading, now]);
        }
        let old = reader.settings();
        match reloaded(common) {
            Ok((config, mut new)) => {
                for (what, changed) in [
                    ("state_dir", new.state_dir != old.state_dir),
                    ("archive_dir", new.archive_dir != old.archive_dir),
                    ("[web]", (&new.listen, &new.token) != (&old.listen, &old.token)),
                ] {
                    if changed {
                        tracing::warn!("{what} has changed; that takes effect at the next start");
                    }
                }
                new.state_dir.clone_from(&old.state_dir);
                new.archive_dir.clone_from(&old.archive_dir);
                tracing::info!(sources = new.sources.len(), "configuration reloaded");
                engine.set_config(EngineConfig { settings: new.clone(), ..config });
                dispatcher.set_settings(new.clone());
                reader.set_settings(new);
            }
            Err(problem) => {
                for line in problem.message().lines() {
                    tracing::error!("the configuration was not reloaded: {line}");
                }
                if files::has_left_root() {
                    tracing::error!(
                        "the daemon was started as root and works as the owner of state_dir, who \
                         may not read all that root can: restart it, or let that user read the \
                         files"
                    );
                }
            }
        }
        systemd::notify(&[NotifyState::Ready]);
        changes.notify_one();
    }
}
