//! Notifications to systemd: the daemon is ready, its status, and that it still runs.

use crate::clock::Clock;
use crate::engine::Engine;
use crate::job::Job;
use crate::settings::Settings;
use crate::store::Store;
use chrono::{DateTime, Utc};
use sd_notify::NotifyState;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tokio::sync::Notify;

/// The engine's loop turns every few seconds, whatever it waits for. It hangs when it has not
/// turned for longer than this.
const HANGS: Duration = Duration::from_secs(20);
/// How often the status line is updated when no job changes.
const STATUS_AGAIN: Duration = Duration::from_mins(10);

/// Notifies systemd, if it started this process.
pub fn notify(state: &[NotifyState<'_>]) {
    let Some(socket) = socket() else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, socket = %socket.display(), "cannot notify systemd");
    }
}

/// Sends one datagram, one line for each state. The crate sends to sockets with a path alone, and a
/// service manager may have one in the abstract namespace: its name begins with `@`.
fn send(socket: &OsStr, state: &[NotifyState<'_>]) -> io::Result<()> {
    let address = match socket.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let text: String = state.iter().map(|it| format!("{it}\n")).collect();
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}

/// Notifies systemd's watchdog twice in each period, while the engine's loop turns. Never returns.
pub async fn keep_alive(engine: &Engine) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut beat = tokio::time::interval((period / 2).max(Duration::from_millis(1)));
    loop {
        beat.tick().await;
        if engine.since_last_tick() < HANGS {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the engine hangs; systemd will restart it");
        }
    }
}

/// Keeps the line that `systemctl status` shows up to date. Never returns.
pub async fn keep_status(
    store: &Store,
    settings: impl Fn() -> Settings,
    clock: &Clock,
    changed: &Notify,
) {
    if socket().is_none() {
        return std::future::pending().await;
    }
    loop {
        let (settings, now) = (settings(), clock.now());
        match store.live_jobs().await {
            Ok(live) => notify(&[NotifyState::Status(&line(&live, &settings, now))]),
            Err(error) => notify(&[NotifyState::Status(&format!("cannot read: {error}"))]),
        }
        let _ = tokio::time::timeout(STATUS_AGAIN, changed.notified()).await;
    }
}

/// The notification socket, if there is one.
#[allow(clippy::disallowed_methods, reason = "systemd speaks through the environment")]
fn socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
}

/// What is in flight, and when the next run is.
fn line(live: &[Job], settings: &Settings, now: DateTime<Utc>) -> String {
    let at_work = match live {
        [] => "nothing in flight".to_owned(),
        [job] => format!("job {} of {} {}", job.id, job.source, job.state),
        jobs => format!("{} jobs in flight", jobs.len()),
    };
    let next = settings
        .sources
        .iter()
        .filter_map(|source| Some((source.schedule.next_after(now, source.timezone)?, source)))
        .min_by_key(|(at, _)| *at);
    match next {
        Some((at, source)) => format!(
            "{at_work}; next run {} at {}",
            source.name,
            at.with_timezone(&source.timezone).format("%F %T %Z")
        ),
        None => format!("{at_work}; no next run"),
    }
}
