//! Tables of the configuration for data sources that nothing backs up.

use super::{Comparison, Names};
use crate::config::{self, Environment};
use crate::manifest::Origin;
use crate::service::ListedSource;
use crate::settings::Account;
use std::fmt;
use std::path::Path;

/// When a proposed source is backed up.
pub const SCHEDULE: &str = "0 2 * * *";

/// A source that the configuration could have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Its name.
    pub name: String,
    /// Its account.
    pub account: String,
    /// Its service's own keys and their values.
    pub keys: Vec<(&'static str, String)>,
    /// Its schedule, in crontab's form.
    pub schedule: String,
}

/// Its table, ready for the configuration.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        writeln!(f, "[[sources]]")?;
        writeln!(f, "name = {}", quoted(&self.name))?;
        writeln!(f, "account = {}", quoted(&self.account))?;
        for (key, value) in &self.keys {
            writeln!(f, "{key} = {}", quoted(value))?;
        }
        writeln!(f, "schedule = {}", quoted(&self.schedule))
    }
}

impl Proposal {
    /// Whether the configuration would accept it, and take it for this data source.
    fn means(&self, origin: &Origin, service: &str) -> bool {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let account = format!(
            "[accounts.{}]\nkey_env = \"KEY\"\nservice = {}\n",
            quoted(&self.account),
            quoted(service)
        );
        let text = format!("{account}\n{self}");
        let read = config::parse(&text, Path::new("proposal.toml"), &Environment::default());
        read.is_ok_and(|settings| {
            settings.sources.iter().map(|source| source.target.origin()).eq([origin])
        })
    }
}

/// What could be added to the configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Proposals {
    /// A source for each listed data source that nothing backs up.
    pub sources: Vec<Proposal>,
    /// The names of those that the configuration cannot have: not what the service calls anything.
    pub impossible: Vec<String>,
}

/// Proposes a source for each listed data source that nothing backs up.
pub fn proposals(
    comparison: &Comparison<'_, ListedSource>,
    account: &Account,
    schedule: &str,
    names: &mut Names,
) -> Proposals {
    let mut found = Proposals::default();
    for one in comparison.listed.iter().filter(|one| one.source.is_none()) {
        let ListedSource { origin, keys } = one.listed;
        let mut proposal = Proposal {
            name: "source".to_owned(),
            account: account.name.clone(),
            keys: keys.clone(),
            schedule: schedule.to_owned(),
        };
        if proposal.means(origin, account.service) {
            proposal.name = names.give(origin.name());
            found.sources.push(proposal);
        } else {
            found.impossible.push(origin.name().to_owned());
        }
    }
    found
}
