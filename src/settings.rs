//! The settings as plain data: a configuration file that was read and found free of mistakes.
//! `Default` holds the documented defaults.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use url::{Host, Url};

use crate::manifest::Origin;
use crate::policy::retention::Rules;
use crate::policy::schedule::Schedule;
use crate::secret::PrivateUrl;

/// One whole configuration. Every path is absolute when the file was loaded from disk.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file that it came from.
    pub file: PathBuf,
    /// Holds the database and the quarantine.
    pub state_dir: PathBuf,
    /// Holds one folder per source.
    pub archive_dir: PathBuf,
    /// The zone of every schedule and of retention's days, weeks, months and years.
    pub timezone: Tz,
    /// Where the status page listens: a loopback address or a socket file, unless there is a
    /// `token`; `None`: nowhere.
    pub listen: Option<Listen>,
    /// The access token of the page; `None`: it needs none.
    pub token: Option<KeySource>,
    /// By name.
    pub accounts: BTreeMap<String, Account>,
    pub poll: Poll,
    pub retry: Retry,
    pub http: Http,
    /// The default for sources; each [`Source`] carries its own, already merged.
    pub retention: Rules,
    pub notify: Notify,
    /// In the file's order, with unique names; each one's account exists.
    pub sources: Vec<Source>,
}

impl Settings {
    /// The source of that name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// What a source's requests are for, as an opaque text without a key: two are equal if, and
    /// only if, they ask the same address for the same data.
    pub fn requested(&self, source: &Source) -> String {
        let endpoint = self.account_of(source).map(|account| account.endpoint.as_str());
        serde_json::json!([endpoint, source.target.origin()]).to_string()
    }

    /// The account that a source belongs to. `None` only for a source of another configuration.
    pub fn account_of(&self, source: &Source) -> Option<&Account> {
        self.accounts.get(&source.account)
    }
}

/// Where the status page listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and port.
    Tcp(SocketAddr),
    /// A socket file, for a proxy on this machine.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "{address}"),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether a URL's host is this machine itself: what is sent there crosses no network, and never
/// goes through a proxy.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|it| it.is_loopback())
        }
        None => false,
    }
}

/// Keys that share one quota at the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    /// The word of its service, one of the kinds that the program knows.
    pub service: &'static str,
    /// Where its key is kept; read with [`crate::config::read_key`].
    pub key: KeySource,
    /// Without query, fragment, user and trailing slash; https, or http on a loopback host.
    pub endpoint: Url,
    /// Remote jobs that may be unfinished at once, at least 1.
    pub max_in_process: u32,
    /// Remote jobs that may be started in any 24 hours, at least 1.
    pub max_jobs_per_day: u32,
    /// Whether the daemon looks once a day which data sources it has.
    pub discover: bool,
}

/// Where an account's key is kept. The key itself is never part of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file that holds the key and nothing else.
    File(PathBuf),
    /// The name of an environment variable.
    Env(String),
    /// The name of a credential that systemd passes to the service.
    Credential(String),
}

/// How often the service is asked whether a job is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Poll {
    /// The wait before the first question, at least a millisecond.
    pub initial: Duration,
    /// The longest wait, at least `initial`.
    pub max: Duration,
    /// What a wait is multiplied with to get the next, at least 1.
    pub factor: f64,
    /// The part of a wait that chance may add or take, from 0 to below 1.
    pub jitter: f64,
    /// From a remote job's creation to its completion, above zero.
    pub deadline: Duration,
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(5),
            max: Duration::from_mins(5),
            factor: 2.0,
            jitter: 0.2,
            deadline: Duration::from_hours(24),
        }
    }
}

/// What happens to requests that fail in passing, and to jobs whose remote job is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The wait after the first failure, at least a millisecond.
    pub initial: Duration,
    /// The longest wait, at least `initial`.
    pub max: Duration,
    /// Consecutive failures of one request after which the step gives up, at least 1.
    pub attempts: u32,
    /// Remote jobs that may come to exist for one job, at least 1.
    pub job_attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_mins(5),
            attempts: 8,
            job_attempts: 3,
        }
    }
}

/// Limits of a connection and of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// For the connection and its TLS handshake, above zero.
    pub connect_timeout: Duration,
    /// Between two bytes of an answer, its headers included; above zero.
    pub idle_timeout: Duration,
    /// One download from first to last byte, above zero.
    pub fetch_deadline: Duration,
    /// The most bytes that one result may have after its content encoding is undone.
    pub max_bytes: u64,
    /// How long a 404 for a status or result URL may last before the remote job counts as lost.
    pub lost_after: Duration,
    /// A PEM file of certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            fetch_deadline: Duration::from_hours(6),
            max_bytes: 2 << 30,
            lost_after: Duration::from_mins(15),
            ca_file: None,
        }
    }
}

/// Where alerts are sent, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The check that all sources share: pinged when a backup begins, succeeds or fails.
    pub ping: Option<PrivateUrl>,
    /// How often an alert is repeated while its problem persists, above zero.
    pub remind_every: Duration,
    /// Fewer free bytes than this on the disk of the archive or of the state are worth telling.
    pub disk_low: u64,
    /// The longest that one attempt to send an alert may take, above zero.
    pub try_timeout: Duration,
    pub webhooks: Vec<Webhook>,
    pub email: Option<Email>,
    /// Programs with their arguments, never empty, that get the message on their standard input.
    pub commands: Vec<Vec<String>>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            ping: None,
            remind_every: Duration::from_hours(24),
            disk_low: 1 << 30,
            try_timeout: Duration::from_secs(10),
            webhooks: Vec::new(),
            email: None,
            commands: Vec::new(),
        }
    }
}

/// An address that a message is posted to as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub url: PrivateUrl,
    /// What the message is signed with.
    pub secret: Option<KeySource>,
}

/// A mail server, and who gets mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// The server's name or address.
    pub server: String,
    pub port: u16,
    pub security: MailSecurity,
    /// A mailbox, such as `Nightjar <nightjar@example.org>`.
    pub from: String,
    /// Mailboxes, at least one.
    pub to: Vec<String>,
    /// For servers that want a login; together with `password`.
    pub username: Option<String>,
    pub password: Option<KeySource>,
}

/// How mail is kept from being read on its way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the first byte.
    Tls,
    /// TLS before anything is said that matters; a server that has none gets nothing.
    StartTls,
    /// None: for a server on this machine.
    None,
}

impl MailSecurity {
    /// The port where such servers listen.
    pub fn port(self) -> u16 {
        match self {
            MailSecurity::Tls => 465,
            MailSecurity::StartTls => 587,
            MailSecurity::None => 25,
        }
    }
}

/// One data source to back up.
#[derive(Debug, Clone)]
pub struct Source {
    /// `[a-z0-9][a-z0-9_-]*`, at most 64 characters; the archive's folder.
    pub name: String,
    /// A name in [`Settings::accounts`].
    pub account: String,
    /// What its service exports.
    pub target: Target,
    pub schedule: Schedule,
    /// The file's zone, the same for every source.
    pub timezone: Tz,
    /// Whether to run once after a downtime in which a run was missed.
    pub catch_up: bool,
    /// Fewer entities than this are suspicious.
    pub min_entities: u64,
    /// Losing a larger part than this since the last good snapshot is suspicious; 0 to 1.
    pub max_shrink: f64,
    /// If more than this part of the entities were added, removed or changed since the last good
    /// snapshot, that is suspicious; 0 to 1. `None` compares nothing.
    pub max_change: Option<f64>,
    /// Whether the staged and older versions are backed up too, each once.
    pub all_versions: bool,
    /// No remote job while the service lists the version that the newest snapshot came from, for no
    /// longer than this since the last download; above zero. `None`: always one.
    pub skip_unchanged: Option<Duration>,
    /// How long after a scheduled time a good snapshot may still be missing.
    pub grace: Duration,
    /// The file's default, overridden key by key.
    pub retention: Rules,
    /// The source's own check: pinged when a backup begins, succeeds or fails.
    pub ping: Option<PrivateUrl>,
}

impl Source {
    pub const CATCH_UP: bool = true;
    pub const MIN_ENTITIES: u64 = 1;
    pub const MAX_SHRINK: f64 = 0.5;
    pub const GRACE: Duration = Duration::from_hours(6);

    /// What identifies the schedule: its text and its zone. When either changes, times that the old
    /// schedule missed are not made up for.
    pub fn schedule_identity(&self) -> String {
        format!("{} {}", self.schedule.text(), self.timezone)
    }
}

/// What a source's service exports. Only that service can read it: it makes the target from its
/// own keys of the configuration and gets it back with each call. The rest of the program passes it
/// on, and records its [`Origin`] in the manifest.
///
/// It is one type, without a parameter for the service, so that a [`Source`] is the same whatever
/// its service is.
#[derive(Clone)]
pub struct Target {
    origin: Origin,
    request: Arc<dyn Any + Send + Sync>,
}

impl Target {
    /// The target whose manifests have this origin; `request` is what the service needs to know.
    pub fn new(origin: Origin, request: impl Any + Send + Sync) -> Target {
        Target { origin, request: Arc::new(request) }
    }

    /// Where the data comes from. Two targets of the same origin are the same data.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What the service needs to know; `None` if another service made the target.
    pub fn request<T: Any>(&self) -> Option<&T> {
        self.request.downcast_ref()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.origin).finish()
    }
}
