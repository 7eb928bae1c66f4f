//! The service: can it be reached, is its certificate trusted, is the clock right, are the keys
//! accepted?

use super::Findings;
use super::try_keys;
use crate::clock::Clock;
use crate::config;
use crate::http::{PlainClients, reason};
use crate::service;
use crate::settings::{Settings, Source};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::time::Duration;
use url::Url;

/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// A clock that differs by more than this makes schedules, quotas and deadlines wrong.
const WRONG: TimeDelta = TimeDelta::seconds(30);

pub(super) async fn examine(settings: &Settings, clock: &Clock, found: &mut Findings) {
    let clients = match PlainClients::new(&settings.http) {
        Ok(clients) => clients,
        Err(error) => {
            found.error("tls", error.to_string(), "correct http.ca_file, or remove it");
            return;
        }
    };
    let endpoints: BTreeSet<&Url> =
        settings.accounts.values().map(|account| &account.endpoint).collect();
    for endpoint in endpoints {
        reach(clients.of(endpoint), endpoint, clock, found).await;
    }
    // A key that cannot be read has been found already.
    let readable = |it: &&Source| {
        let account = settings.account_of(it);
        account.is_some_and(|account| config::read_key(&account.key, &account.name).is_ok())
    };
    let sources: Vec<_> = settings.sources.iter().filter(readable).collect();
    for tried in try_keys(settings, &sources, clock).await {
        match tried.ok {
            true => found.ok("credentials", format!("{}: {}", tried.source, tried.message)),
            false => found.error(
                "credentials",
                format!("{}: {}", tried.source, tried.message),
                refused_key_advice(settings, &tried.account),
            ),
        }
    }
}

/// What to do about a key that the account's service refuses.
fn refused_key_advice(settings: &Settings, account: &str) -> &'static str {
    let account = settings.accounts.get(account);
    let kind = account.and_then(|account| service::named(account.service));
    kind.map_or("check the key", |kind| kind.refused_key_advice)
}

/// Requests the endpoint itself, without a key. Any answer shows that it can be reached.
async fn reach(client: &reqwest::Client, endpoint: &Url, clock: &Clock, found: &mut Findings) {
    let place = endpoint.host_str().unwrap_or_default();
    let asked = client.get(endpoint.clone()).timeout(PATIENCE).send().await;
    let response = match asked {
        Ok(response) => response,
        Err(error) => {
            let fix = "check whether this machine reaches it (`curl -I`), and whether a proxy \
                       (HTTPS_PROXY, NO_PROXY) or an own certificate (http.ca_file) is needed";
            found.error("reach", format!("{place} cannot be reached: {}", reason(error)), fix);
            return;
        }
    };
    let how = if endpoint.scheme() == "https" { " over TLS" } else { "" };
    found.ok("reach", format!("{place} answers{how}"));
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else { return };
    let difference = clock.now() - DateTime::<Utc>::from(theirs);
    if difference.abs() > WRONG {
        found.error(
            "clock",
            format!(
                "this machine's clock differs from {place}'s by {} s",
                difference.num_seconds()
            ),
            "timedatectl set-ntp true",
        );
    } else {
        found.ok("clock", format!("this machine's clock agrees with {place}'s"));
    }
}
