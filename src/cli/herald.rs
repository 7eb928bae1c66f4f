//! Telling people: pings follow each backup, messages say what broke and what is well again.
//! Nothing here can fail a backup or hold it up.

use super::clock;
use crate::config;
use crate::engine::Notice;
use crate::job::{Job, JobEvent, State};
use crate::notify::{Channel, Message, Notifier, Phase, run_id};
use crate::plan::alarms::news;
use crate::report::Reporter;
use crate::secret::Secret;
use crate::service::http::PlainClients;
use crate::settings::{KeySource, MailSecurity, Settings};
use crate::store::Store;
use crate::tls;
use chrono::{DateTime, Utc};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// How often what may have broken is looked at.
const ROUND: Duration = Duration::from_secs(60);
/// How many backups may begin or end before the first of them is told.
const QUEUE: usize = 1024;
/// How long the last messages and pings of a `backup` may take.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A backup that began or ended.
#[derive(Debug)]
pub(super) struct Step {
    source: String,
    phase: Phase,
    run: String,
    text: String,
}

/// Tells people what the engine does. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Herald {
    store: Store,
    reporter: Reporter,
    told: Arc<Mutex<Told>>,
    steps: mpsc::Sender<Step>,
    /// Wakes whoever looks at what has broken.
    ended: Arc<Notify>,
}

/// Whom to tell, by one configuration.
#[derive(Debug, Clone)]
struct Told {
    settings: Settings,
    notifier: Notifier,
}

impl Told {
    /// A channel that cannot work is left out: backups go on all the same.
    fn by(settings: Settings) -> Told {
        let (notifier, problems) = notifier(&settings);
        for problem in problems {
            tracing::error!("{problem}; nobody is told that way");
        }
        Told { settings, notifier }
    }
}

/// The steps that are still to be told.
#[derive(Debug)]
pub(super) struct Steps(mpsc::Receiver<Step>);

impl Steps {
    /// The next one. Nothing is lost when this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<Step> {
        self.0.recv().await
    }
}

impl Herald {
    pub(super) fn new(store: Store, reporter: Reporter, settings: Settings) -> (Herald, Steps) {
        let told = Arc::new(Mutex::new(Told::by(settings)));
        let (steps, queue) = mpsc::channel(QUEUE);
        (Herald { store, reporter, told, steps, ended: Arc::default() }, Steps(queue))
    }

    /// Follows another configuration from now on.
    pub(super) fn set(&self, settings: Settings) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Told::by(settings);
    }

    fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// To be called with everything that the engine does. Returns at once.
    pub(super) fn notice(&self, notice: &Notice<'_>) {
        let Notice::Moved { job, events } = notice else { return };
        let Some((phase, text)) = phase(job, events) else { return };
        let made = job.created_at.timestamp_millis();
        let run = run_id(&format!("{}/{}/{made}", job.source, job.id));
        let step = Step { source: job.source.clone(), phase, run, text };
        if self.steps.try_send(step).is_err() {
            tracing::warn!(job = job.id, "too much happens at once to ping about all of it");
        }
        if phase != Phase::Start {
            self.ended.notify_one();
        }
    }

    /// Pings as backups begin and end, until nobody can report any more. A ping that has been begun
    /// is lost when this is dropped: a `backup` waits for [`Steps::next`] instead.
    pub(super) async fn keep_pinging(&self, mut steps: Steps) {
        while let Some(step) = steps.next().await {
            self.ping(step).await;
        }
    }

    /// Pings about the backups that have begun or ended by now, and tells what is broken.
    pub(super) async fn conclude(&self, Steps(mut steps): Steps) {
        while let Ok(step) = steps.try_recv() {
            self.ping(step).await;
        }
        let told = self.told();
        let telling = async {
            self.tell(&told, clock().now(), false).await;
            told.notifier.finish(LAST_WORDS).await;
        };
        if tokio::time::timeout(LAST_WORDS, telling).await.is_err() {
            tracing::warn!("not everybody could be told in time");
        }
    }

    /// Waits for the pings under way, a little.
    pub(super) async fn finish(&self, limit: Duration) {
        self.told().notifier.finish(limit).await;
    }

    /// Pings about one backup that began or ended.
    pub(super) async fn ping(&self, Step { source, phase, run, text }: Step) {
        let Told { settings, notifier } = self.told();
        if let Some(own) = settings.source(&source).and_then(|it| it.ping.as_ref()) {
            notifier.ping(own, phase, run.clone(), text.clone());
        }
        if let Some(shared) = &settings.notify.ping {
            // The check of all sources succeeds only while each of them is well.
            let (phase, text) = match (phase, self.unwell(&settings).await) {
                (Phase::Success, Some(unwell)) => (Phase::Fail, format!("{text}\n{unwell}")),
                (phase, _) => (phase, format!("{source}: {text}")),
            };
            notifier.ping(shared, phase, run, text);
        }
    }

    /// Which sources are not well, if any.
    async fn unwell(&self, settings: &Settings) -> Option<String> {
        let sources = match self.reporter.sources(settings, clock().now()).await {
            Ok(sources) => sources,
            Err(error) => return Some(format!("how the sources are cannot be read: {error}")),
        };
        let unwell: Vec<_> = sources
            .iter()
            .filter(|source| source.health.is_alarming())
            .map(|source| format!("{} is {}", source.source, source.health))
            .collect();
        (!unwell.is_empty()).then(|| unwell.join("\n"))
    }

    /// Tells what has broken and what is well again, now and then. Never returns.
    pub(super) async fn keep_telling(&self) {
        loop {
            // First of all a catch-up may make good what a downtime has left undone.
            let _ = tokio::time::timeout(ROUND, self.ended.notified()).await;
            self.tell(&self.told(), clock().now(), true).await;
        }
    }

    /// Tells what has changed. Messages that cannot be delivered at once are tried for a while,
    /// beside everything else where `beside` says so.
    async fn tell(&self, told: &Told, now: DateTime<Utc>, beside: bool) {
        let Told { settings, notifier } = told;
        if !notifier.has_channels() {
            return;
        }
        let (standing, before) =
            match (self.reporter.alarms(settings, now).await, self.store.told_alarms().await) {
                (Ok(standing), Ok(before)) => (standing, before),
                (Err(error), _) => {
                    tracing::warn!(%error, "what is broken cannot be read");
                    return;
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "what was told cannot be read");
                    return;
                }
            };
        for news in news(&standing, &before, now, settings.notify.remind_every) {
            match self.store.take_news(&news, now).await {
                Ok(true) if news.silent => {}
                Ok(true) => {
                    let message = Message::of(&news, now, &host());
                    let delivery = deliver(
                        self.store.clone(),
                        notifier.clone(),
                        news.alarm.place.clone(),
                        message,
                    );
                    match beside {
                        true => drop(tokio::spawn(delivery)),
                        false => delivery.await,
                    }
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "what is told cannot be kept"),
            }
        }
    }
}

async fn deliver(store: Store, notifier: Notifier, place: String, message: Message) {
    let mut heard = false;
    for delivery in notifier.tell(&message).await {
        match delivery.result {
            Ok(()) => {
                heard = true;
                tracing::info!(channel = delivery.channel, about = message.about, "told");
            }
            Err(error) => tracing::error!(
                channel = delivery.channel, about = message.about, %error, "could not be told"
            ),
        }
    }
    if heard && let Err(error) = store.heard(&place).await {
        tracing::warn!(%error, "what is told cannot be kept");
    }
}

/// What a check is told about a job that has just moved.
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

/// Whom a configuration says to tell, and what keeps it from telling others.
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

/// What is kept there, if anything is to be.
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
