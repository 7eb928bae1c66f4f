//! The daily look at what accounts have.

use super::tasks::{Context, Outcome, Running};
use crate::discovery::{KeptListing, keep};
use crate::service::ExportService;
use crate::settings::Account;
use futures_util::FutureExt as _;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The client of each account, by its name.
#[derive(Clone, Default)]
pub struct Services(pub BTreeMap<String, Arc<dyn ExportService>>);

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Reads the listing of every account that is to be looked at, and keeps those that could be read.
pub(super) fn run(context: Context) -> Running {
    look(context).boxed()
}

async fn look(context: Context) -> Outcome {
    let (mut found, mut failures) = (BTreeMap::new(), Vec::new());
    for account in context.settings.accounts.values().filter(|account| account.discover) {
        match list(&context, account).await {
            Some(Ok(listing)) => {
                found.insert(account.name.clone(), listing);
            }
            Some(Err(error)) => failures.push(format!("{}: {error}", account.name)),
            None => {}
        }
    }
    let read = found.len();
    let kept = tokio::task::spawn_blocking(move || keep(&context.settings, found)).await;
    match kept {
        Ok(Ok(())) => {}
        Ok(Err(error)) => failures.push(format!("the listings cannot be kept: {error}")),
        Err(error) => failures.push(format!("it panicked: {error}")),
    }
    match failures.as_slice() {
        [] => Ok(format!("the data sources of {read} accounts were listed")),
        failures => Err(failures.join("; ")),
    }
}

/// What the account has; `None` where its service lists nothing.
async fn list(context: &Context, account: &Account) -> Option<Result<KeptListing, String>> {
    let listing = context.services.0.get(&account.name)?.listing()?;
    let listed = listing.sources(context.now).await;
    Some(match listed {
        Ok(sources) => Ok(KeptListing {
            read_at: context.now,
            endpoint: account.endpoint.to_string(),
            sources: sources.into_iter().map(|source| source.origin).collect(),
        }),
        Err(failure) => Err(failure.message),
    })
}
