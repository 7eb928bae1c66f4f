//! Delivery of notifications: pings of checks, webhooks, mail, and commands.
//!
//! Delivery never delays a backup: it runs beside the work, and the number and the duration of
//! attempts are bounded. A failed delivery is logged; the caller sends it again later.

mod command;
mod email;
mod http;
mod message;

pub use message::{Content, Event, Message, Phase, run_id};

use crate::http::PlainClients;
use crate::secret::{PrivateUrl, Secret};
use crate::settings;
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// How long to wait before each further attempt.
const WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
];
/// The most concurrent pings; further ones are dropped.
const MOST_PINGS: usize = 256;

/// One way to deliver messages.
#[derive(Debug)]
pub struct Channel(Kind);

#[derive(Debug)]
enum Kind {
    Webhook(http::Webhook),
    Email(Box<email::Mailer>),
    Command(command::Hook),
}

impl Channel {
    /// Posts messages as JSON, signed where there is a secret.
    pub fn webhook(
        webhook: &settings::Webhook,
        secret: Option<Secret>,
        clients: &PlainClients,
    ) -> Channel {
        let client = clients.of(webhook.url.expose()).clone();
        Channel(Kind::Webhook(http::Webhook::new(webhook.url.clone(), secret, client)))
    }

    /// Sends mail. `ca` are certificates to trust besides the system's.
    ///
    /// # Errors
    /// The addresses or the TLS settings are invalid.
    pub fn email(
        email: &settings::Email,
        password: Option<&Secret>,
        timeout: Duration,
        ca: &[CertificateDer<'static>],
    ) -> Result<Channel, String> {
        let mailer = email::Mailer::new(email, password, timeout, ca)?;
        Ok(Channel(Kind::Email(Box::new(mailer))))
    }

    /// Runs a program with these arguments.
    pub fn command(words: &[String]) -> Channel {
        Channel(Kind::Command(command::Hook::new(words.to_vec())))
    }

    /// Its name in logs.
    fn name(&self) -> String {
        match &self.0 {
            Kind::Webhook(webhook) => format!("webhook {}", webhook.place()),
            Kind::Email(mailer) => format!("mail to {}", mailer.recipients()),
            Kind::Command(hook) => format!("command {}", hook.program()),
        }
    }

    async fn send(&self, message: &Message) -> Result<(), String> {
        match &self.0 {
            Kind::Webhook(webhook) => webhook.send(message).await,
            Kind::Email(mailer) => mailer.send(message).await,
            Kind::Command(hook) => hook.send(message).await,
        }
    }
}

/// The result of sending a message through one channel.
#[derive(Debug)]
pub struct Delivery {
    /// The channel's name.
    pub channel: String,
    /// Why it failed, if it did.
    pub result: Result<(), String>,
}

/// Sends messages and pings. Clones share their state.
#[derive(Debug, Clone)]
pub struct Notifier {
    channels: Arc<Vec<Channel>>,
    pinger: http::Pinger,
    timeout: Duration,
    /// Pings of one check go out in their order.
    turns: Arc<Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>>,
    under_way: TaskTracker,
}

impl Notifier {
    /// Sends through these channels, with this time limit for each attempt; pings through these
    /// clients. Without clients, pings fail.
    pub fn new(
        channels: Vec<Channel>,
        clients: Option<PlainClients>,
        timeout: Duration,
    ) -> Notifier {
        Notifier {
            channels: Arc::new(channels),
            pinger: http::Pinger::new(clients),
            timeout,
            turns: Arc::default(),
            under_way: TaskTracker::new(),
        }
    }

    /// Whether there are any channels.
    pub fn has_channels(&self) -> bool {
        !self.channels.is_empty()
    }

    /// Sends a message to every channel, with retries.
    pub async fn send(&self, message: &Message) -> Vec<Delivery> {
        self.deliver(message, &WAITS).await
    }

    /// Sends a message to every channel, once.
    pub async fn send_once(&self, message: &Message) -> Vec<Delivery> {
        self.deliver(message, &[]).await
    }

    async fn deliver(&self, message: &Message, waits: &[Duration]) -> Vec<Delivery> {
        let deliveries = self.channels.iter().map(|channel| async move {
            let result = tried(waits, || bounded(self.timeout, channel.send(message))).await;
            Delivery { channel: channel.name(), result }
        });
        futures_util::future::join_all(deliveries).await
    }

    /// Pings a check without waiting: returns at once. Pings of one check keep their order.
    pub fn ping(&self, url: &PrivateUrl, phase: Phase, run: String, text: String) {
        if self.under_way.len() >= MOST_PINGS {
            tracing::warn!(check = url.place(), "too many pings are in progress; one is dropped");
            return;
        }
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(url.expose().to_string()).or_default())
        };
        let (notifier, url) = (self.clone(), url.clone());
        // The lock is requested now, so that a later ping cannot be first.
        let turn = turn.lock_owned();
        let mut turn = Box::pin(turn);
        let first = futures_util::FutureExt::now_or_never(&mut turn);
        self.under_way.spawn(async move {
            let _turn = match first {
                Some(turn) => turn,
                None => turn.await,
            };
            let send = || bounded(notifier.timeout, notifier.pinger.send(&url, phase, &run, &text));
            if let Err(error) = tried(&WAITS, send).await {
                tracing::warn!(check = url.place(), %error, "a check could not be pinged");
            }
        });
    }

    /// Pings a check once, and returns the result.
    pub async fn try_ping(&self, url: &PrivateUrl, phase: Phase, text: &str) -> Delivery {
        let run = run_id(text);
        let result = bounded(self.timeout, self.pinger.send(url, phase, &run, text)).await;
        Delivery { channel: format!("ping of {}", url.place()), result }
    }

    /// Waits for the pings under way, up to a limit.
    pub async fn finish(&self, limit: Duration) {
        self.under_way.close();
        if tokio::time::timeout(limit, self.under_way.wait()).await.is_err() {
            tracing::warn!(pings = self.under_way.len(), "some checks could not be pinged in time");
        }
    }
}

/// One attempt with a time limit.
async fn bounded(
    limit: Duration,
    attempt: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    match tokio::time::timeout(limit, attempt).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// Tries until it succeeds, or after each of these waits; returns the last error.
#[allow(clippy::disallowed_methods, reason = "no backup waits for notifications")]
async fn tried<F: Future<Output = Result<(), String>>>(
    waits: &[Duration],
    attempt: impl Fn() -> F,
) -> Result<(), String> {
    for wait in waits {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(error) => tracing::debug!(%error, ?wait, "retrying a notification"),
        }
        tokio::time::sleep(*wait).await;
    }
    attempt().await
}

#[cfg(test)]
mod tests;
