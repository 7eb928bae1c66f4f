//! The service as the configuration knows it: its words, its keys and its defaults.

use super::Bing;
use crate::manifest::Origin;
use crate::secret::Key;
use crate::service::http::HttpClients;
use crate::service::{AccountSettings, ExportService, ServiceKind, Target};
use crate::settings::Account;
use crate::toml_reader::Table;
use crate::toml_reader::values::{endpoint, not_a_key, quoted, text, whole};
use chrono::NaiveDate;
use std::sync::Arc;
use toml::de::DeValue;
use url::Url;

/// The service's address unless the account names another.
pub const ENDPOINT: &str = "https://spatial.virtualearth.net/REST/v1";
/// Remote jobs that an account may have in process at once.
pub const MAX_IN_PROCESS: u32 = 10;
/// Remote jobs that an account may start in 24 hours.
pub const MAX_JOBS_PER_DAY: u32 = 50;

/// `service = "bing"`.
pub static KIND: ServiceKind = ServiceKind {
    word: "bing",
    title: "Bing Maps Spatial Data Services",
    // Bing Maps for Enterprise, deprecation notice: the last day of enterprise accounts.
    last_day: NaiveDate::from_ymd_opt(2028, 6, 30),
    account_keys: &["endpoint", "max_in_process", "max_jobs_per_day"],
    source_keys: &["access_id", "data_source", "job_id"],
    read_account,
    read_source,
    source_identity,
    connect,
    refused_key_advice: "check that the key is the account's master key, and that access_id and \
                         data_source are those of the data source's URL",
};

/// A data source of an account, or one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSource {
    /// The access id in the data source's URL: letters, digits and dashes.
    pub access_id: String,
    /// The service's name for the data, to be percent-encoded in a URL.
    pub data_source: String,
    /// The version's id at the service; `None`: the published one.
    pub version: Option<String>,
}

impl From<DataSource> for Target {
    fn from(source: DataSource) -> Target {
        let origin = Origin {
            access_id: source.access_id.clone(),
            data_source: source.data_source.clone(),
            version: source.version.clone(),
        };
        Target::new(origin, source)
    }
}

fn read_account(table: &Table<'_>) -> Option<AccountSettings> {
    let endpoint = table.get("endpoint", endpoint(ENDPOINT)).or_else(|| Url::parse(ENDPOINT).ok());
    let quota = |key, default| table.get(key, whole(1)).unwrap_or(default);
    let max_in_process = quota("max_in_process", MAX_IN_PROCESS);
    let max_jobs_per_day = quota("max_jobs_per_day", MAX_JOBS_PER_DAY);
    Some(AccountSettings { endpoint: endpoint?, max_in_process, max_jobs_per_day })
}

fn read_source(table: &Table<'_>) -> Option<Target> {
    let access_id = table.require("access_id", "the id in the data source's URL", access_id);
    let data_source = table.require("data_source", "the service's name for the data", data_source);
    let version = table.get("job_id", version);
    Some(DataSource { access_id: access_id?, data_source: data_source?, version }.into())
}

/// The service does not distinguish upper from lower case in a data source's URL, the key aside
/// (Common Parameters and Types; its pages write one path in several ways).
fn source_identity(origin: &Origin) -> String {
    format!("{}/{}", origin.access_id.to_lowercase(), origin.data_source.to_lowercase())
}

fn connect(account: &Account, key: Key, clients: HttpClients) -> Arc<dyn ExportService> {
    Arc::new(Bing::new(&account.name, &account.endpoint, key, clients))
}

/// The access id of a data source. It is not shown: the field next to it in the portal is a key.
fn access_id(value: &DeValue<'_>) -> Result<String, String> {
    const EXPECTED: &str = "the access id from the data source's URL: letters, digits \
                            and -";
    let id = not_a_key(value)?;
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(format!("expected {EXPECTED}"));
    }
    Ok(id.to_owned())
}

/// The service's own name of a data source (Load Data Source Dataflow, Data Source Schema). The
/// reference leaves out `-`, which Microsoft's own toolkit accepts.
fn data_source(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    if let Some(wrong) = name.chars().find(|c| !c.is_alphanumeric() && !"~`!$^_={}-".contains(*c)) {
        return Err(format!(
            "found {}, expected letters, digits and any of ~ ` ! $ ^ _ = {{ }} -",
            quoted(&wrong.to_string())
        ));
    }
    match name.chars().count() {
        1..=50 => Ok(name.to_owned()),
        count => Err(format!("found {count} characters, expected 1 to 50")),
    }
}

/// The id of a version; braces around it are dropped.
fn version(value: &DeValue<'_>) -> Result<String, String> {
    let id = version_id(text(value)?);
    id.ok_or_else(|| "expected the id of a version: hexadecimal digits and dashes".to_owned())
}

/// The id of a version without the braces around it; `None` if no version can have it.
pub(super) fn version_id(text: &str) -> Option<String> {
    let id = text.trim();
    let bare = id.strip_prefix('{').and_then(|id| id.strip_suffix('}')).unwrap_or(id);
    let digits = bare.chars().filter(char::is_ascii_hexdigit).count();
    let plain = bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    (plain && digits > 0 && bare.len() <= 64).then(|| bare.to_owned())
}
