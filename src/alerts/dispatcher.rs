//! The dispatcher: sends pings for each backup, and messages about problems that begin, persist or
//! end.

use super::pings::{self, BackupEvent, BackupEvents};
use super::{AlertChange, Change, Channels, Situation, changes, channels, current, host};
use crate::clock::Clock;
use crate::engine::Notice;
use crate::job::JobEvent;
use crate::notify::{Content, Event, Message, Notifier, Phase};
use crate::report::Reporter;
use crate::settings::Settings;
use crate::store::{SentAlert, Store};
use chrono::{DateTime, Utc};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// How often to check for problems.
const CHECK_EVERY: Duration = Duration::from_secs(60);

/// Sends pings and alerts about what the engine does. Clones share their state.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    store: Store,
    reporter: Reporter,
    clock: Clock,
    recipients: Arc<Mutex<Recipients>>,
    events: mpsc::Sender<BackupEvent>,
    /// Wakes [`Dispatcher::run_alerts`].
    ended: Arc<Notify>,
}

/// The channels of one configuration.
#[derive(Debug, Clone)]
struct Recipients {
    settings: Settings,
    notifier: Notifier,
}

impl Recipients {
    /// A channel that cannot work is left out: backups go on all the same.
    fn of(settings: Settings) -> Recipients {
        let Channels { notifier, problems } = channels(&settings);
        for problem in problems {
            tracing::error!("{problem}; this channel is not used");
        }
        Recipients { settings, notifier }
    }
}

/// A message that is stored as sent and was not sent yet.
struct Claimed {
    key: String,
    message: Message,
}

impl Dispatcher {
    /// A dispatcher for this configuration, and the queue of the events that it observes.
    pub fn new(
        store: Store,
        reporter: Reporter,
        clock: Clock,
        settings: Settings,
    ) -> (Dispatcher, BackupEvents) {
        let recipients = Arc::new(Mutex::new(Recipients::of(settings)));
        let (events, queue) = pings::queue();
        (Dispatcher { store, reporter, clock, recipients, events, ended: Arc::default() }, queue)
    }

    /// Uses another configuration from now on.
    pub fn set_settings(&self, settings: Settings) {
        *self.recipients.lock().unwrap_or_else(PoisonError::into_inner) = Recipients::of(settings);
    }

    fn recipients(&self) -> Recipients {
        self.recipients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Observes the engine. Returns immediately.
    pub fn notice(&self, notice: &Notice<'_>) {
        let Notice::Moved { job, events } = notice else { return };
        // What an alert about a suspicious snapshot says has to be counted first.
        let is_suspicious = events.iter().any(|it| matches!(it, JobEvent::Suspicious { .. }));
        if job.state.is_final() && !is_suspicious {
            self.check_now();
        }
        let Some(event) = BackupEvent::of(job, events) else { return };
        if self.events.try_send(event).is_err() {
            tracing::warn!(job = job.id, "too many events at once: a ping was dropped");
        }
    }

    /// Looks for problems now, not only when it is time.
    pub fn check_now(&self) {
        self.ended.notify_one();
    }

    /// Pings as backups begin and end, until all senders are gone. Dropping this loses a ping that
    /// has begun: a `backup` awaits [`BackupEvents::next`] instead.
    pub async fn run_pings(&self, mut events: BackupEvents) {
        while let Some(event) = events.next().await {
            self.ping(event).await;
        }
    }

    /// Sends the remaining pings, and alerts about current problems, for no longer than `limit`.
    pub async fn conclude(&self, mut events: BackupEvents, limit: Duration) {
        let recipients = self.recipients();
        let sending = async {
            while let Some(event) = events.try_next() {
                self.ping(event).await;
            }
            let now = self.clock.now();
            for change in self.changes(&recipients, now).await {
                if let Some(claimed) = self.claimed(change, now).await {
                    self.deliver(&recipients.notifier, claimed).await;
                }
            }
            recipients.notifier.finish(limit).await;
        };
        if tokio::time::timeout(limit, sending).await.is_err() {
            tracing::warn!("some alerts could not be sent in time");
        }
    }

    /// Waits for the pings under way, for no longer than `limit`.
    pub async fn finish(&self, limit: Duration) {
        self.recipients().notifier.finish(limit).await;
    }

    /// Pings about one backup that began or ended.
    pub async fn ping(&self, BackupEvent { source, phase, run, text }: BackupEvent) {
        let Recipients { settings, notifier } = self.recipients();
        if let Some(own) = settings.source(&source).and_then(|it| it.ping.as_ref()) {
            notifier.ping(own, phase, run.clone(), text.clone());
        }
        if let Some(shared) = &settings.notify.ping {
            // The check of all sources succeeds only while each of them is healthy.
            let (phase, text) = match (phase, self.unhealthy(&settings).await) {
                (Phase::Success, Some(which)) => (Phase::Fail, format!("{text}\n{which}")),
                (phase, _) => (phase, format!("{source}: {text}")),
            };
            notifier.ping(shared, phase, run, text);
        }
    }

    /// The sources that are failing or overdue, if any.
    async fn unhealthy(&self, settings: &Settings) -> Option<String> {
        let sources = match self.reporter.sources(settings, self.clock.now()).await {
            Ok(sources) => sources,
            Err(error) => return Some(format!("the sources' health cannot be read: {error}")),
        };
        let unhealthy: Vec<_> = sources
            .iter()
            .filter(|source| source.health.needs_attention())
            .map(|source| format!("{} is {}", source.source, source.health))
            .collect();
        (!unhealthy.is_empty()).then(|| unhealthy.join("\n"))
    }

    /// Sends alerts periodically and after each backup. Never returns.
    pub async fn run_alerts(&self) {
        loop {
            // Wait first: a catch-up may resolve what a downtime has missed.
            let _ = tokio::time::timeout(CHECK_EVERY, self.ended.notified()).await;
            let (recipients, now) = (self.recipients(), self.clock.now());
            for change in self.changes(&recipients, now).await {
                if let Some(claimed) = self.claimed(change, now).await {
                    // A delivery is retried for minutes: the next check does not wait for it.
                    let (dispatcher, notifier) = (self.clone(), recipients.notifier.clone());
                    tokio::spawn(async move { dispatcher.deliver(&notifier, claimed).await });
                }
            }
        }
    }

    /// What has changed since the alerts were sent that are stored.
    async fn changes(&self, recipients: &Recipients, now: DateTime<Utc>) -> Vec<AlertChange> {
        let Recipients { settings, notifier } = recipients;
        if !notifier.has_channels() {
            return Vec::new();
        }
        let situation = match Situation::read(&self.reporter, settings, now).await {
            Ok(situation) => situation,
            Err(error) => {
                tracing::warn!(%error, "the current problems cannot be read");
                return Vec::new();
            }
        };
        match self.store.sent_alerts().await {
            Ok(sent) => changes(&current(&situation), &sent, now, settings.notify.remind_every),
            Err(error) => {
                tracing::warn!(%error, "the sent alerts cannot be read");
                Vec::new()
            }
        }
    }

    /// Stores a change as sent, and returns its message, if it is this process that sends it.
    async fn claimed(&self, change: AlertChange, now: DateTime<Utc>) -> Option<Claimed> {
        let AlertChange { change, alert, replaces, silent } = change;
        let stored = match change {
            Change::Recovered => self.store.end_alert(&alert.key, alert.sent_at).await,
            Change::Broke | Change::Still => self.store.claim_alert(&alert, replaces).await,
        };
        match stored {
            Ok(true) if !silent => {}
            Ok(_) => return None,
            Err(error) => {
                tracing::warn!(%error, "a sent alert cannot be stored");
                return None;
            }
        }
        let SentAlert { key, kind, about, message, since, .. } = alert;
        let content = Content { kind: Some(kind), about, message, since };
        Some(Claimed { key, message: Message::new(change.into(), content, now, &host()) })
    }

    /// Sends a message to every channel, with retries, and stores whether any has accepted it.
    async fn deliver(&self, notifier: &Notifier, Claimed { key, message }: Claimed) {
        let mut acknowledged = false;
        for delivery in notifier.send(&message).await {
            let (channel, about) = (delivery.channel, &message.about);
            match delivery.result {
                Ok(()) => {
                    acknowledged = true;
                    tracing::info!(channel, about, "alert sent");
                }
                Err(error) => {
                    tracing::error!(channel, about, %error, "an alert could not be sent");
                }
            }
        }
        if acknowledged && let Err(error) = self.store.acknowledge_alert(&key).await {
            tracing::warn!(%error, "a sent alert cannot be stored");
        }
    }
}

impl From<Change> for Event {
    fn from(change: Change) -> Event {
        match change {
            Change::Broke => Event::Broke,
            Change::Still => Event::Still,
            Change::Recovered => Event::Recovered,
        }
    }
}
