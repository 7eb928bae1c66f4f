//! Are the keys accepted by the service?

use crate::clock::Clock;
use crate::engine::EngineConfig;
use crate::settings::{Settings, Source};
use serde::Serialize;
use std::collections::BTreeSet;

/// What the service answered to the key of a source's account.
#[derive(Debug, Serialize)]
pub struct TriedKey {
    /// The source.
    pub source: String,
    /// Its account.
    pub account: String,
    /// Whether the key was accepted.
    pub ok: bool,
    /// The answer, in words.
    pub message: String,
}

/// Tries each source's key at the service, without side effects.
pub async fn try_keys(settings: &Settings, sources: &[&Source], clock: &Clock) -> Vec<TriedKey> {
    let mut tried = Vec::new();
    for source in sources {
        let answer = try_key(settings, source, clock).await;
        tried.push(TriedKey {
            source: source.name.clone(),
            account: source.account.clone(),
            ok: answer.is_ok(),
            message: answer.err().unwrap_or_else(|| "the service accepts the key".to_owned()),
        });
    }
    tried
}

async fn try_key(settings: &Settings, source: &Source, clock: &Clock) -> Result<(), String> {
    let accounts = BTreeSet::from([source.account.as_str()]);
    let config = EngineConfig::connect(settings, &accounts).map_err(|error| error.to_string())?;
    let service = config.services.get(&source.account).ok_or("the account has no service")?;
    let answer = service.try_key(&source.target, clock.now()).await;
    answer.map_err(|failure| failure.message)
}
