//! The listing of each account's last look, in a file of the state folder.

use super::compare;
use crate::files::{self, Folder};
use crate::manifest::Origin;
use crate::settings::{Account, Settings};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

/// The file.
const FILE: &str = "listings.json";
/// Under this name it is written.
const PARTIAL: &str = ".listings.json.partial";
/// More than any account lists.
const LARGEST: u64 = 64 << 20;

/// At most this many data sources are named in a message.
const NAMED: usize = 10;
/// At most this many characters of a name are in a message.
const LONGEST_NAME: usize = 60;

/// What an account listed at its last look that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptListing {
    /// When that was.
    pub read_at: DateTime<Utc>,
    /// The address that was asked: a listing of another one says nothing.
    pub endpoint: String,
    /// The data sources.
    pub sources: Vec<Origin>,
}

/// What an account's last look says about the configuration as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountLook {
    /// The account's name.
    pub account: String,
    /// When the service was asked.
    pub read_at: DateTime<Utc>,
    /// The service's names of the data sources that nothing backs up.
    pub unprotected: Vec<String>,
    /// The configured sources that are no longer listed.
    pub gone: Vec<String>,
}

impl AccountLook {
    /// A sentence about the data sources that nothing backs up; `None` if everything is.
    pub fn unprotected_message(&self) -> Option<String> {
        let count = match self.unprotected.len() {
            0 => return None,
            1 => "1 data source is".to_owned(),
            count => format!("{count} data sources are"),
        };
        let named: Vec<String> = self.unprotected.iter().take(NAMED).map(quoted).collect();
        let more = match self.unprotected.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "{count} not backed up: {}{more}; `nightjar discover --account {}` prints the \
             configuration",
            named.join(", "),
            self.account
        ))
    }
}

/// A name from outside, cut to the length that a message may quote.
fn quoted(name: &String) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((at, _)) => format!("{:?}…", name.get(..at).unwrap_or_default()),
        None => format!("{name:?}"),
    }
}

/// Keeps new listings, by account, and forgets those of accounts that the configuration lacks.
///
/// # Errors
/// When the file cannot be written. Then it is as it was.
pub fn keep(settings: &Settings, new: BTreeMap<String, KeptListing>) -> io::Result<()> {
    let mut all = read(&settings.state_dir).unwrap_or_default();
    all.extend(new);
    all.retain(|account, _| settings.accounts.contains_key(account));
    let folder = Folder::make(&settings.state_dir)?;
    match folder.remove(PARTIAL) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = folder.create_new(PARTIAL)?;
    let text = serde_json::to_vec(&all)?;
    file.write_all(&text)?;
    file.sync_all()?;
    folder.rename(PARTIAL, &folder, FILE)?;
    folder.sync()
}

/// What the last look of each account says about these settings, for the accounts that are looked
/// at and were.
pub fn looks(settings: &Settings) -> Vec<AccountLook> {
    // Without a file that can be read nothing is known; the next look writes it again.
    let kept = read(&settings.state_dir).unwrap_or_default();
    let look = |account: &Account| of_account(settings, account, kept.get(&account.name)?);
    settings.accounts.values().filter_map(look).collect()
}

fn of_account(
    settings: &Settings,
    account: &Account,
    listing: &KeptListing,
) -> Option<AccountLook> {
    if !account.discover || listing.endpoint != account.endpoint.as_str() {
        return None;
    }
    let comparison = compare(settings, account, &listing.sources, |origin| origin);
    let missing = comparison.listed.iter().filter(|one| one.source.is_none());
    Some(AccountLook {
        account: account.name.clone(),
        read_at: listing.read_at,
        unprotected: missing.map(|one| one.listed.name().to_owned()).collect(),
        gone: comparison.gone.into_iter().map(str::to_owned).collect(),
    })
}

fn read(state_dir: &Path) -> io::Result<BTreeMap<String, KeptListing>> {
    let mut text = Vec::new();
    files::read(&state_dir.join(FILE))?.take(LARGEST).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
