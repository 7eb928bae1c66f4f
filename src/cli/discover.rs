//! `nightjar discover`: which data sources an account has, and the configuration of those that
//! nothing backs up.

use super::output::{self, Lines};
use super::{Common, Problem, archive, clock, exit};
use crate::discovery::{Comparison, Names, Proposals, SCHEDULE, compare, proposals};
use crate::engine::EngineConfig;
use crate::service::{self, ListedSource};
use crate::settings::{Account, Settings};
use clap::Args;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// At most this many data sources that cannot be configured are named.
const NAMED: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The account [default: the only one of the configuration]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A listed data source, as JSON.
#[derive(Debug, Serialize)]
struct View<'l> {
    account: &'l str,
    /// What the configuration calls it, or could; null where it cannot have it.
    name: Option<&'l str>,
    configured: bool,
    #[serde(flatten)]
    keys: BTreeMap<&'static str, &'l str>,
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let account = chosen(&settings, arguments.account.as_deref())?;
    let listing = list(&settings, account).await?;
    let comparison = compare(&settings, account, &listing, |one| &one.origin);
    let configured = settings.sources.iter().map(|source| source.name.clone());
    // A folder that is in the archive already holds another source's snapshots.
    let archived = archive(&settings).sources().unwrap_or_default();
    let mut names = Names::beside(configured.chain(archived));
    let proposals = proposals(&comparison, account, SCHEDULE, &mut names);
    if arguments.json {
        output::json(&views(account, &comparison, &proposals))?;
    } else {
        print(&proposals)?;
    }
    let gone = &comparison.gone;
    note_impossible(account, &proposals.impossible);
    for source in gone {
        output::note(format!(
            "nightjar: {source} is gone: {} no longer lists its data source; what is archived of it \
             stays",
            account.name
        ));
    }
    if proposals.sources.is_empty() {
        let count = output::count(comparison.listed.len(), "data source");
        output::note(format!("nightjar: {} lists {count}; nothing to add", account.name));
    }
    Ok(exit::DONE)
}

/// The account of that name, or the only one.
fn chosen<'s>(settings: &'s Settings, name: Option<&str>) -> Result<&'s Account, Problem> {
    let known = || {
        let known: Vec<_> = settings.accounts.keys().map(String::as_str).collect();
        format!("{} has {}", settings.file.display(), known.join(", "))
    };
    match name {
        Some(name) => settings
            .accounts
            .get(name)
            .ok_or_else(|| Problem::usage(format!("there is no account {name}: {}", known()))),
        None if settings.accounts.len() == 1 => {
            settings.accounts.values().next().ok_or_else(|| Problem::usage("there is no account"))
        }
        None if settings.accounts.is_empty() => Err(Problem::usage(format!(
            "{} has no [accounts.NAME] table yet; `nightjar init --discover` writes one",
            settings.file.display()
        ))),
        None => Err(Problem::usage(format!("--account is missing: {}", known()))),
    }
}

/// What an account has at its service. Starts no remote job.
pub(super) async fn list(
    settings: &Settings,
    account: &Account,
) -> Result<Vec<ListedSource>, Problem> {
    let connected = EngineConfig::connect(settings, &BTreeSet::from([account.name.as_str()]))?;
    let service = connected.services.get(&account.name);
    let listing = service.and_then(|service| service.listing()).ok_or_else(|| {
        let title = service::named(account.service).map_or(account.service, |kind| kind.title);
        Problem::usage(format!("{title} cannot list what an account has"))
    })?;
    listing.sources(clock().now()).await.map_err(|failure| {
        Problem::failed(format!("the data sources of {} cannot be listed: {failure}", account.name))
    })
}

/// Every listed data source.
fn views<'l>(
    account: &'l Account,
    comparison: &Comparison<'l, ListedSource>,
    proposals: &'l Proposals,
) -> Vec<View<'l>> {
    let proposed: BTreeMap<_, _> =
        proposals.sources.iter().map(|it| (&it.keys, it.name.as_str())).collect();
    let view = |one: &crate::discovery::Compared<'l, ListedSource>| View {
        account: &account.name,
        name: one.source.or_else(|| proposed.get(&one.listed.keys).copied()),
        configured: one.source.is_some(),
        keys: one.listed.keys.iter().map(|(key, value)| (*key, value.as_str())).collect(),
    };
    comparison.listed.iter().map(view).collect()
}

/// Prints a table for each source, with an empty line between them.
fn print(proposals: &Proposals) -> Result<(), Problem> {
    let mut lines = Lines::default();
    for (number, proposal) in proposals.sources.iter().enumerate() {
        if number > 0 {
            lines.push("");
        }
        for line in proposal.to_string().lines() {
            lines.push(line);
        }
    }
    lines.print()
}

/// Says which data sources the configuration cannot have.
pub(super) fn note_impossible(account: &Account, impossible: &[String]) {
    for name in impossible.iter().take(NAMED) {
        output::note(format!(
            "nightjar: {} lists {name:?}, which cannot be configured: it is not what the service \
             allows as a name",
            account.name
        ));
    }
    if let Some(more) = impossible.len().checked_sub(NAMED).filter(|more| *more > 0) {
        output::note(format!("nightjar: and {more} more such names"));
    }
}
