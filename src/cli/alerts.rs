//! The alerts dispatcher: pings for each backup, and messages about problems that begin, persist or
//! end. It never fails or delays a backup.

use super::clock;
use crate::config;
use crate::engine::Notice;
use crate::http::PlainClients;
use crate::job::{Job, JobEvent, State};
use crate::notify::{Channel, Message, Notifier, Phase, run_id};
use crate::policy::alarms::changes;
use crate::report::Reporter;
use crate::secret::Secret;
use crate::settings::{KeySource, MailSecurity, Settings};
use crate::store::Store;
use crate::tls;
use chrono::{DateTime, Utc};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// How often to check for alarms.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// How many backups may begin or end before the first of them is pinged.
const QUEUE: usize = 1024;

/// A backup that began or ended.
#[derive(Debug)]
pub(super) struct BackupEvent {
    source: String,
    phase: Phase,
    run: String,
    text: String,
}

/// Sends pings and alerts about what the engine does. Clones share their state.
#[derive(Debug, Clone)]
pub(super) struct Dispatcher {
    store: Store,
    reporter: Reporter,
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
    fn by(settings: Settings) -> Recipients {
        let (notifier, problems) = notifier(&settings);
        for problem in problems {
            tracing::error!("{problem}; this channel is not used");
        }
        Recipients { settings, notifier }
    }
}

/// The events that are still to be told.
#[derive(Debug)]
pub(super) struct BackupEvents(mpsc::Receiver<BackupEvent>);

impl BackupEvents {
    /// The next one. Nothing is lost when this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<BackupEvent> {
        self.0.recv().await
    }
}

impl Dispatcher {
    pub(super) fn new(
        store: Store,
        reporter: Reporter,
        settings: Settings,
    ) -> (Dispatcher, BackupEvents) {
        let recipients = Arc::new(Mutex::new(Recipients::by(settings)));
        let (events, queue) = mpsc::channel(QUEUE);
        (
            Dispatcher { store, reporter, recipients, events, ended: Arc::default() },
            BackupEvents(queue),
        )
    }

    /// Uses another configuration from now on.
    pub(super) fn set(&self, settings: Settings) {
        *self.recipients.lock().unwrap_or_else(PoisonError::into_inner) = Recipients::by(settings);
    }

    fn recipients(&self) -> Recipients {
        self.recipients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Observes the engine. Returns immediately.
    pub(super) fn notice(&self, notice: &Notice<'_>) {
        let Notice::Moved { job, events } = notice else { return };
        let Some((phase, text)) = phase(job, events) else { return };
        let made = job.created_at.timestamp_millis();
        let run = run_id(&format!("{}/{}/{made}", job.source, job.id));
        let event = BackupEvent { source: job.source.clone(), phase, run, text };
        if self.events.try_send(event).is_err() {
            tracing::warn!(job = job.id, "too many events at once: a ping was dropped");
        }
        if phase != Phase::Start {
            self.ended.notify_one();
        }
    }

    /// Pings as backups begin and end, until all senders are gone. Dropping this loses a ping that has
    /// begun: a `backup` awaits [`BackupEvents::next`] instead.
    pub(super) async fn run_pings(&self, mut events: BackupEvents) {
        while let Some(event) = events.next().await {
            self.ping(event).await;
        }
    }

    /// Sends the remaining pings, and alerts about current problems, for no longer than `limit`.
    pub(super) async fn conclude(&self, BackupEvents(mut events): BackupEvents, limit: Duration) {
        let recipients = self.recipients();
        let sending = async {
            while let Ok(event) = events.try_recv() {
                self.ping(event).await;
            }
            self.dispatch(&recipients, clock().now(), false).await;
            recipients.notifier.finish(limit).await;
        };
        if tokio::time::timeout(limit, sending).await.is_err() {
            tracing::warn!("some alerts could not be sent in time");
        }
    }

    /// Waits for the pings under way, a little.
    pub(super) async fn finish(&self, limit: Duration) {
        self.recipients().notifier.finish(limit).await;
    }

    /// Pings about one backup that began or ended.
    pub(super) async fn ping(&self, BackupEvent { source, phase, run, text }: BackupEvent) {
        let Recipients { settings, notifier } = self.recipients();
        if let Some(own) = settings.source(&source).and_then(|it| it.ping.as_ref()) {
            notifier.ping(own, phase, run.clone(), text.clone());
        }
        if let Some(shared) = &settings.notify.ping {
            // The check of all sources succeeds only while each of them is healthy.
            let (phase, text) = match (phase, self.unwell(&settings).await) {
                (Phase::Success, Some(unwell)) => (Phase::Fail, format!("{text}\n{unwell}")),
                (phase, _) => (phase, format!("{source}: {text}")),
            };
            notifier.ping(shared, phase, run, text);
        }
    }

    /// The sources that are failing or overdue, if any.
    async fn unwell(&self, settings: &Settings) -> Option<String> {
        let sources = match self.reporter.sources(settings, clock().now()).await {
            Ok(sources) => sources,
            Err(error) => return Some(format!("the sources' health cannot be read: {error}")),
        };
        let unwell: Vec<_> = sources
            .iter()
            .filter(|source| source.health.is_alarming())
            .map(|source| format!("{} is {}", source.source, source.health))
            .collect();
        (!unwell.is_empty()).then(|| unwell.join("\n"))
    }

    /// Sends alerts periodically and after each backup. Never returns.
    pub(super) async fn run_alerts(&self) {
        loop {
            // Wait first: a catch-up may resolve what a downtime has missed.
            let _ = tokio::time::timeout(CHECK_EVERY, self.ended.notified()).await;
            self.dispatch(&self.recipients(), clock().now(), true).await;
        }
    }

    /// Sends what has changed. Messages that cannot be delivered immediately are retried for a while;
    /// with `beside` in a task of their own.
    async fn dispatch(&self, recipients: &Recipients, now: DateTime<Utc>, beside: bool) {
        let Recipients { settings, notifier } = recipients;
        if !notifier.has_channels() {
            return;
        }
        let (standing, before) =
            match (self.reporter.alarms(settings, now).await, self.store.sent_alarms().await) {
                (Ok(standing), Ok(before)) => (standing, before),
                (Err(error), _) => {
                    tracing::warn!(%error, "the current alarms cannot be read");
                    return;
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "the sent alerts cannot be read");
                    return;
                }
            };
        for change in changes(&standing, &before, now, settings.notify.remind_every) {
            match self.store.claim_change(&change, now).await {
                Ok(true) if change.silent => {}
                Ok(true) => {
                    let message = Message::of(&change, now, &host());
                    let delivery = deliver(
                        self.store.clone(),
                        notifier.clone(),
                        change.alarm.key.clone(),
                        message,
                    );
                    match beside {
                        true => drop(tokio::spawn(delivery)),
                        false => delivery.await,
                    }
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "a sent alert cannot be stored"),
            }
        }
    }
}

async fn deliver(store: Store, notifier: Notifier, key: String, message: Message) {
    let mut acknowledged = false;
    for delivery in notifier.send(&message).await {
        match delivery.result {
            Ok(()) => {
                acknowledged = true;
                tracing::info!(channel = delivery.channel, about = message.about, "alert sent");
            }
            Err(error) => tracing::error!(
                channel = delivery.channel, about = message.about, %error, "an alert could not be sent"
            ),
        }
    }
    if acknowledged && let Err(error) = store.acknowledge(&key).await {
        tracing::warn!(%error, "a sent alert cannot be stored");
    }
}

/// The ping for a job that has just changed, if any.
fn phase(job: &Job, events: &[JobEvent]) -> Option<(Phase, String)> {
    let begun = || events.iter().find(|event| event.kind == "submitted");
    match job.state {
        State::Archived => {
            let event = events.iter().find(|event| event.kind == "archived")?;
            Some((Phase::Success, event.message.clone()))
        }
        State::Failed => {
            let error = job.error.as_ref()?;
            Some((Phase::Fail, format!("job {}: {}: {}", job.id, error.kind, error.message)))
        }
        State::Waiting if job.attempts == 1 => Some((Phase::Start, begun()?.message.clone())),
        _ => None,
    }
}

/// The notifier of a configuration, and the problems of channels that cannot be used.
pub(super) fn notifier(settings: &Settings) -> (Notifier, Vec<String>) {
    let notify = &settings.notify;
    let mut problems = Vec::new();
    let clients = PlainClients::new(&settings.http);
    let uses_http = !notify.webhooks.is_empty()
        || settings.sources.iter().map(|it| &it.ping).chain([&notify.ping]).any(Option::is_some);
    if let (Err(error), true) = (&clients, uses_http) {
        problems.push(error.to_string());
    }
    let clients = clients.ok();
    let mut channels = Vec::new();
    for webhook in notify.webhooks.iter().filter(|_| clients.is_some()) {
        match (secret(&webhook.secret), &clients) {
            (Ok(secret), Some(clients)) => {
                channels.push(Channel::webhook(webhook, secret, clients))
            }
            (Ok(_), None) => {}
            (Err(problem), _) => {
                problems.push(format!("[[notify.webhooks]] {}: {problem}", webhook.url.place()));
            }
        }
    }
    if let Some(email) = &notify.email {
        let ca = match &settings.http.ca_file {
            Some(file) if email.security != MailSecurity::None => tls::read_ca_file(file)
                .map_err(|error| format!("http.ca_file {} {error}", file.display())),
            _ => Ok(Vec::new()),
        };
        let mailer = ca.and_then(|ca| {
            let password = secret(&email.password)?;
            Channel::email(email, password.as_ref(), notify.try_timeout, &ca)
        });
        match mailer {
            Ok(mailer) => channels.push(mailer),
            Err(problem) => problems.push(format!("[notify.email]: {problem}")),
        }
    }
    channels.extend(notify.commands.iter().map(|words| Channel::command(words)));
    (Notifier::new(channels, clients, notify.try_timeout), problems)
}

/// Reads a channel's secret, if it has one.
fn secret(source: &Option<KeySource>) -> Result<Option<Secret>, String> {
    let Some(source) = source else { return Ok(None) };
    let (secret, warnings) = config::read_secret(source).map_err(|error| error.to_string())?;
    for warning in warnings {
        tracing::warn!("[notify]: {warning}");
    }
    Ok(Some(secret))
}

/// This machine's name.
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
