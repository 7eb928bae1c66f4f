//! A setup for each test: a directory with a configuration and a key, a simulated service, and the
//! program.

use nightjar::simulator::{Data, Kind, Scenario, SimSource, Simulator};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const ACCESS_ID: &str = "20181f26d9e94c81acdf9496133d4f23";
pub(crate) const KEY: &str = "a-key-of-the-simulated-account";

/// Timeout of all waits that do not test timing. Generous: only failing tests reach it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A simulated source of twenty places; the configuration names it in lower case.
pub(crate) fn source(name: &str, scenario: Scenario) -> SimSource {
    SimSource::new(ACCESS_ID, name, KEY, Data::first_places(20)).scenario(scenario)
}

/// The folder, the service and the configuration of one test.
pub(crate) struct Setup {
    pub(crate) service: Simulator,
    config: toml::Table,
    runs: Cell<u32>,
    folder: TempDir,
    runtime: Runtime,
}

impl Setup {
    /// One source, `stores`, with a healthy service.
    pub(crate) fn healthy() -> Self {
        Self::with(Scenario::default())
    }

    /// One source, `stores`.
    pub(crate) fn with(scenario: Scenario) -> Self {
        Self::of(vec![source("Stores", scenario)])
    }

    /// Several sources on one account. All waits are short.
    pub(crate) fn of(sources: Vec<SimSource>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let key = sources.first().map_or(KEY, |source| &source.key).to_owned();
        let mut config: toml::Table = toml::from_str(
            "[web]\nlisten = ''\n\
             [accounts.contoso]\n\
             [poll]\ninitial = '20ms'\nmax = '40ms'\njitter = 0.0\n\
             [retry]\ninitial = '20ms'\nmax = '40ms'\nattempts = 3\n",
        )
        .unwrap();
        let entries = sources.iter().map(|source| {
            let mut entry = toml::Table::new();
            for (name, value) in [
                ("name", source.name.to_lowercase().as_str()),
                ("account", "contoso"),
                ("access_id", &source.access_id),
                ("data_source", &source.name),
                ("schedule", "0 2 * * *"),
            ] {
                entry.insert(name.into(), value.into());
            }
            toml::Value::Table(entry)
        });
        config.insert("sources".into(), entries.collect::<Vec<_>>().into());
        let service = runtime.block_on(Simulator::start(sources)).unwrap();
        let setup = Self { service, config, runs: Cell::new(0), folder, runtime };
        private_file(&setup.path("contoso.key"), &key);
        let state = setup.path("state").display().to_string();
        let key_file = setup.path("contoso.key").display().to_string();
        let endpoint = setup.service.endpoint();
        setup
            .set("state_dir", state)
            .set("accounts.contoso.key_file", key_file)
            .set("accounts.contoso.endpoint", endpoint)
    }

    /// Sets a key of the configuration, such as `retry.attempts` or `sources.stores.grace`.
    pub(crate) fn set(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.change(key, value);
        self
    }

    /// Like `set`, in place.
    pub(crate) fn change(&mut self, key: &str, value: impl Into<toml::Value>) {
        let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
        let mut table = &mut self.config;
        if let Some(source) = path.strip_prefix("sources.") {
            let sources = table["sources"].as_array_mut().unwrap();
            let found = sources.iter_mut().find(|it| it["name"].as_str() == Some(source));
            table = found.expect("a source of this name").as_table_mut().unwrap();
        } else {
            for part in path.split('.').filter(|part| !part.is_empty()) {
                let next = table.entry(part).or_insert_with(|| toml::Table::new().into());
                table = next.as_table_mut().unwrap();
            }
        }
        table.insert(name.into(), value.into());
        self.write_config(&toml::to_string(&self.config).unwrap());
    }

    /// Removes a key from the configuration's account.
    pub(crate) fn without_account_key(mut self, name: &str) -> Self {
        let accounts = self.config["accounts"].as_table_mut().unwrap();
        accounts["contoso"].as_table_mut().unwrap().remove(name);
        self.write_config(&toml::to_string(&self.config).unwrap());
        self
    }

    /// The text of the configuration.
    pub(crate) fn config_text(&self) -> String {
        fs::read_to_string(self.path("config.toml")).unwrap()
    }

    /// Writes another configuration file.
    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.path("config.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub(crate) fn archive(&self, relative: &str) -> PathBuf {
        self.path("state/archive").join(relative)
    }

    /// The program, not yet started, with a clean environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare_command();
        command.current_dir(self.folder.path());
        command.arg("--config").arg(self.path("config.toml")).args(arguments);
        command
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        self.start_command(self.command(arguments))
    }

    pub(crate) fn start_command(&self, mut command: Command) -> Process {
        let run = self.runs.replace(self.runs.get() + 1);
        let (stdout, stderr) =
            (self.path(&format!("run-{run}.out")), self.path(&format!("run-{run}.err")));
        command.stdin(Stdio::null());
        command.stdout(File::create(&stdout).unwrap());
        command.stderr(File::create(&stderr).unwrap());
        let child = command.spawn().unwrap();
        Process { child, stdout, stderr, started: Instant::now() }
    }

    /// Runs the program until it exits.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        self.start(arguments).end()
    }

    /// Runs a listing command with `--json`, and parses the one document that it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let done = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
        done.document()
    }

    pub(crate) fn jobs(&self) -> Vec<Value> {
        self.json(&["jobs"]).as_array().unwrap().clone()
    }

    /// The newest job.
    pub(crate) fn job(&self) -> Value {
        self.jobs().into_iter().next().expect("a job")
    }

    /// A job's timeline as text.
    pub(crate) fn timeline(&self, id: &Value) -> String {
        self.json(&["job", &id.to_string()])["timeline"].to_string()
    }

    /// Backs up all sources, which must succeed.
    pub(crate) fn backup(&self) -> Done {
        let done = self.run(&["backup"]);
        assert_eq!(done.code, 0, "{done:?}");
        done
    }

    /// Queues a job for each source without working it.
    pub(crate) fn queue(&self) -> Vec<i64> {
        let done = self.run(&["backup", "--no-wait"]);
        assert_eq!(done.code, 0, "{done:?}");
        done.stdout.lines().map(|line| line.trim().parse().expect("an id a line")).collect()
    }

    /// Waits until the newest job satisfies a condition.
    pub(crate) fn job_when(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, || self.jobs().into_iter().next().filter(|job| wanted(job)))
    }

    /// Waits until the service has received this many requests of a kind.
    pub(crate) fn until_asked(&self, kind: Kind, times: usize) {
        until(&format!("{times} requests of kind {kind:?}"), || {
            (self.service.count(kind) >= times).then_some(())
        });
    }

    /// Runs a future of this setup's service to completion.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The manifests of a source, oldest first.
    pub(crate) fn manifests(&self, source: &str) -> Vec<PathBuf> {
        names(&self.archive(source))
            .into_iter()
            .filter(|name| name.ends_with(".json") && name != "latest.json")
            .map(|name| self.archive(source).join(name))
            .collect()
    }

    /// The newest manifest of `stores`.
    pub(crate) fn manifest(&self) -> Value {
        read_json(self.manifests("stores").last().expect("a manifest"))
    }
}

/// The program without a configuration, its environment cleaned.
pub(crate) fn bare_command() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("nightjar"));
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// The running program; it is killed when the test ends.
pub(crate) struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    started: Instant,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it exits, for whatever reason.
    pub(crate) fn end(self) -> Done {
        self.end_within(PATIENCE)
    }

    /// Waits until it exits, up to a limit.
    pub(crate) fn end_within(mut self, limit: Duration) -> Done {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "still running after {limit:?}; it said last: {:#?}",
                self.stderr().lines().rev().take(5).collect::<Vec<_>>()
            );
            pause();
        };
        Done {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8(fs::read(&self.stdout).unwrap()).unwrap(),
            stderr: self.stderr(),
            took: self.started.elapsed(),
        }
    }

    /// Stops it, which must be clean and take at most five seconds.
    pub(crate) fn stop(self, signal: Signal) -> Done {
        self.signal(signal);
        self.end_within(Duration::from_secs(5))
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How the program exited. If a signal killed it, its code is -1.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Done {
    /// Standard output, which must be exactly one JSON document.
    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Tests several cases concurrently: each spends most of its time waiting.
pub(crate) fn each<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}

/// Polls until there is a result.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "another process is waited for")]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

#[expect(clippy::disallowed_methods, reason = "compared with what another process wrote")]
pub(crate) fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

pub(crate) fn private_file(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The sorted names in a folder; none if there is no folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// All regular files below a folder, without links to them.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let Ok(kind) = fs::symlink_metadata(&path) else { continue };
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A free port.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An instant in the format of all JSON: RFC 3339 in UTC.
pub(crate) fn instant(value: &Value) -> chrono::DateTime<chrono::Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no instant"));
    let instant = chrono::DateTime::parse_from_rfc3339(text).unwrap();
    assert_eq!(instant.offset().local_minus_utc(), 0, "{text} is not UTC");
    instant.to_utc()
}
