//! The channels that a configuration names.

use crate::config;
use crate::http::PlainClients;
use crate::notify::{Channel, Notifier};
use crate::secret::Secret;
use crate::settings::{KeySource, MailSecurity, Settings};
use crate::tls;

/// The channels of a configuration, as far as they can be used.
#[derive(Debug)]
pub struct Channels {
    /// Sends through those that can be used.
    pub notifier: Notifier,
    /// Why each of the others cannot be used.
    pub problems: Vec<String>,
}

/// Makes the channels of a configuration ready. Reads their secrets.
pub fn channels(settings: &Settings) -> Channels {
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
    Channels { notifier: Notifier::new(channels, clients, notify.try_timeout), problems }
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
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
