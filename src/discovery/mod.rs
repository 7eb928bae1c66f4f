//! What accounts have at their services, compared with what is configured: data sources that
//! nothing backs up, and configured ones that the service no longer lists.
//!
//! A comparison is a plain function of a listing and the settings. The listing of each account's
//! last look is kept in a file of the state folder, so that a change of the configuration counts at
//! once and a listing that fails concludes nothing.

mod kept;
mod names;
mod proposal;
#[cfg(test)]
mod tests;

pub use kept::{AccountLook, KeptListing, keep, looks};
pub use names::{Names, name_for};
pub use proposal::{Proposal, Proposals, SCHEDULE, proposals};

use crate::manifest::Origin;
use crate::service;
use crate::settings::{Account, Settings};
use std::collections::{BTreeMap, BTreeSet};

/// A data source of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared<'l, L> {
    /// As it is listed.
    pub listed: &'l L,
    /// The configured source that backs it up, if one does.
    pub source: Option<&'l str>,
}

/// A listing compared with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison<'l, L> {
    /// Every listed data source once, in the listing's order.
    pub listed: Vec<Compared<'l, L>>,
    /// The account's configured sources that are not listed, in the configuration's order.
    pub gone: Vec<&'l str>,
}

/// Compares an account's listing with the configuration. What a source backs up counts, whichever
/// version of it that is and whichever account of the same service does so. Names are compared as
/// the service compares them.
pub fn compare<'l, L>(
    settings: &'l Settings,
    account: &Account,
    listing: &'l [L],
    origin: impl Fn(&L) -> &Origin,
) -> Comparison<'l, L> {
    let identity = |origin: &Origin| match service::named(account.service) {
        Some(kind) => (kind.source_identity)(origin),
        None => origin.name().to_owned(),
    };
    let is_served = |of: &Account| of.service == account.service;
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for source in &settings.sources {
        if settings.account_of(source).is_some_and(is_served) {
            known.entry(identity(source.target.origin())).or_insert(&source.name);
        }
    }
    let mut seen = BTreeSet::new();
    let mut listed = Vec::new();
    for one in listing {
        let identity = identity(origin(one));
        if !seen.contains(&identity) {
            listed.push(Compared { listed: one, source: known.get(&identity).copied() });
            seen.insert(identity);
        }
    }
    let own = settings.sources.iter().filter(|source| source.account == account.name);
    let gone = own.filter(|source| !seen.contains(&identity(source.target.origin())));
    Comparison { listed, gone: gone.map(|source| source.name.as_str()).collect() }
}
