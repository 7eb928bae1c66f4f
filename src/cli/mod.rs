//! The commands: one file each. They parse, call, and print; what they print for programs comes
//! from [`crate::report`].

mod backup;
mod check;
mod daemon;
mod demo;
mod destination;
mod diff;
mod discover;
mod doctor;
mod export;
mod foreground;
mod hold;
mod init;
mod jobs;
mod log;
mod notify;
mod output;
mod problem;
mod prune;
mod publish;
mod reindex;
mod restore;
mod root;
mod snapshots;
mod status;
mod verify;
mod versions;
mod watch;

use crate::archive::Archive;
use crate::clock::Clock;
use crate::config::{self, ConfigError};
use crate::recovery::{Check, Recovery};
use crate::report::{self, ReportError, Reporter};
use crate::settings::Settings;
use crate::store::Store;
use crate::telemetry::{self, LogFormat};
use clap::{Args, CommandFactory, Parser, Subcommand};
use problem::Problem;
use std::cell::RefCell;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Exit codes, as documented.
mod exit {
    /// All done.
    pub(super) const DONE: u8 = 0;
    /// The work failed.
    pub(super) const FAILED: u8 = 1;
    /// Wrong usage or configuration.
    pub(super) const USAGE: u8 = 2;
    /// Some succeeded and some did not.
    pub(super) const PARTLY: u8 = 3;
    /// `status --check`: something is overdue or failing.
    pub(super) const UNHEALTHY: u8 = 4;
}

/// What each exit code means, for the manual pages.
pub const EXIT_CODES: [(u8, &str); 5] = [
    (exit::DONE, "All done."),
    (exit::FAILED, "The work failed."),
    (exit::USAGE, "Wrong usage or configuration."),
    (exit::PARTLY, "Some succeeded and some did not."),
    (exit::UNHEALTHY, "status --check: something is overdue or failing."),
];

/// Backs up data that sits behind slow, asynchronous export services.
#[derive(Debug, Parser)]
#[command(
    name = "nightjar",
    version,
    about,
    after_help = "Exit codes: 0 all done; 1 the work failed; 2 wrong usage or configuration; \
                  3 some succeeded and some did not; 4 (status --check) something is overdue or \
                  failing.\n\nNothing set up yet? Try `nightjar demo`."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Default, Args)]
struct Common {
    /// The configuration file [default: $NIGHTJAR_CONFIG, then /etc/nightjar/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Format of log lines [default: text on a terminal, otherwise json]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// What root read before it became another user.
    #[arg(skip)]
    loaded: RefCell<Option<Result<Settings, ConfigError>>>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service: run the schedules, work on jobs, serve the status page
    Daemon,
    /// Back up the named sources (or all) now, in the foreground
    Backup(backup::Arguments),
    /// Write a first configuration, interactively or from flags
    Init(Box<init::Arguments>),
    /// Validate the configuration and show each source's next runs
    Check(check::Arguments),
    /// Check everything that a backup needs, and print how to fix each problem
    Doctor(doctor::Arguments),
    /// Print the configuration of data sources that the account has and nothing backs up
    Discover(discover::Arguments),
    /// Show the health of each source
    Status(status::Arguments),
    /// Show the job history
    Jobs(jobs::ListArguments),
    /// Show one job with its whole timeline
    Job(jobs::ShowArguments),
    /// End a live job
    Cancel(jobs::IdArguments),
    /// Queue a new job in place of an ended one
    Retry(jobs::IdArguments),
    /// List the snapshots in the archive
    Snapshots(snapshots::Arguments),
    /// Re-read every archived byte and check it against its manifest
    Verify(verify::Arguments),
    /// Sync the job history with the archive; rebuild the database if it is missing or damaged
    Reindex(reindex::Arguments),
    /// Write a snapshot in the format of another system
    Export(export::Arguments),
    /// Show what changed from one snapshot to another
    Diff(diff::Arguments),
    /// Show the life of one entity over all snapshots
    Log(log::Arguments),
    /// Load a snapshot back into its service, as a staged or as the published version
    Restore(restore::Arguments),
    /// Publish the staged version of a source
    Publish(publish::PublishArguments),
    /// List the versions that the service has of a source
    Versions(versions::Arguments),
    /// Publish an older version of a source again
    Rollback(publish::RollbackArguments),
    /// Apply retention now: remove the snapshots that no rule keeps
    Prune(prune::Arguments),
    /// Exempt a snapshot from retention
    Hold(hold::HoldArguments),
    /// End a snapshot's exemption from retention
    Unhold(hold::UnholdArguments),
    /// Test the notification channels
    #[command(subcommand)]
    Notify(notify::Arguments),
    /// Run a complete backup against a simulated service, with nothing to set up
    Demo(demo::Arguments),
}

impl Command {
    /// The log filter without `$RUST_LOG`: commands in the foreground print their own progress.
    fn default_log(&self) -> &'static str {
        match self {
            Command::Daemon => "info",
            Command::Backup(_)
            | Command::Restore(_)
            | Command::Publish(_)
            | Command::Rollback(_)
            | Command::Demo(_) => "warn,nightjar::engine::step=off",
            _ => "warn",
        }
    }
}

/// The whole command line, for generating manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let started = telemetry::start(cli.common.log_format, cli.command.default_log());
    if let Err(message) = started {
        eprintln!("nightjar: {message}");
        return ExitCode::from(exit::USAGE);
    }
    // Before there are other threads.
    if let Err(problem) = root::leave(&cli) {
        problem.print();
        return ExitCode::from(problem.code());
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("nightjar: cannot start: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    let code = match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(problem) => {
            problem.print();
            problem.code()
        }
    };
    // A thread that still writes a file would keep the process; what it writes has no name yet.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    ExitCode::from(code)
}

async fn run(cli: Cli) -> Result<u8, Problem> {
    let common = &cli.common;
    match &cli.command {
        Command::Daemon => Box::pin(daemon::run(common)).await,
        Command::Backup(arguments) => backup::run(common, arguments).await,
        Command::Init(arguments) => init::run(common, arguments).await,
        Command::Check(arguments) => check::run(common, arguments).await,
        Command::Discover(arguments) => discover::run(common, arguments).await,
        Command::Doctor(arguments) => doctor::run(common, arguments).await,
        Command::Status(arguments) => status::run(common, arguments).await,
        Command::Jobs(arguments) => jobs::list(common, arguments).await,
        Command::Job(arguments) => jobs::show(common, arguments).await,
        Command::Cancel(arguments) => jobs::cancel(common, arguments).await,
        Command::Retry(arguments) => jobs::retry(common, arguments).await,
        Command::Snapshots(arguments) => snapshots::run(common, arguments),
        Command::Verify(arguments) => verify::run(common, arguments),
        Command::Reindex(arguments) => reindex::run(common, arguments).await,
        Command::Export(arguments) => export::run(common, arguments),
        Command::Diff(arguments) => diff::run(common, arguments),
        Command::Log(arguments) => log::run(common, arguments),
        Command::Restore(arguments) => restore::run(common, arguments).await,
        Command::Publish(arguments) => publish::publish(common, arguments).await,
        Command::Versions(arguments) => versions::run(common, arguments).await,
        Command::Rollback(arguments) => publish::rollback(common, arguments).await,
        Command::Prune(arguments) => prune::run(common, arguments),
        Command::Hold(arguments) => hold::hold(common, arguments),
        Command::Unhold(arguments) => hold::unhold(common, arguments).await,
        Command::Notify(arguments) => notify::run(common, arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
    }
}

impl Common {
    fn settings(&self) -> Result<Settings, Problem> {
        Ok(self.load()?)
    }

    /// The configuration: the first time as root has read it, where this process was root.
    fn load(&self) -> Result<Settings, ConfigError> {
        let loaded = self.loaded.take();
        loaded.unwrap_or_else(|| config::load(&config::locate(self.config.clone())))
    }
}

fn archive(settings: &Settings) -> Archive {
    Archive::new(&settings.archive_dir, &settings.state_dir)
}

/// Opens the store; creates it if there is none, rebuilds it if it is missing or damaged.
async fn open_store(settings: &Settings) -> Result<Store, Problem> {
    let check = Check::needed(&settings.state_dir);
    Ok(Recovery::new(settings, clock()).open(check, None).await?)
}

/// Reads what is to be shown.
async fn reading<T>(
    settings: &Settings,
    read: impl AsyncFn(&Reporter) -> Result<T, ReportError>,
) -> Result<T, Problem> {
    Ok(report::reading(settings, read).await?)
}

/// The sources of these names, or all; each name once.
fn chosen<'s>(
    settings: &'s Settings,
    names: &[String],
) -> Result<Vec<&'s crate::settings::Source>, Problem> {
    let unknown: Vec<_> =
        names.iter().filter(|name| settings.source(name).is_none()).cloned().collect();
    if !unknown.is_empty() {
        return Err(unknown_source(settings, &unknown));
    }
    let wanted = |name: &String| names.is_empty() || names.contains(name);
    Ok(settings.sources.iter().filter(|source| wanted(&source.name)).collect())
}

fn unknown_source(settings: &Settings, unknown: &[String]) -> Problem {
    let known: Vec<_> = settings.sources.iter().map(|source| source.name.as_str()).collect();
    let known = match known.as_slice() {
        [] => "it has none".to_owned(),
        known => format!("it has {}", known.join(", ")),
    };
    Problem::usage(format!(
        "there is no source {} in {}: {known}",
        unknown.join(", "),
        settings.file.display()
    ))
}

/// Cancelled when the process is asked to end.
fn stop_signal() -> Result<CancellationToken, Problem> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Problem::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Problem::failed)?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopped.cancel();
        // Asked twice: end at once. What was acknowledged is on disk already.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(i32::from(exit::FAILED));
    });
    Ok(stop)
}

fn clock() -> Clock {
    Clock::system()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_commands_names_each_with_all_of_its_options() {
        let page = include_str!("../../docs/commands.md");
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let common = ["config", "log-format", "help", "json"];
        for command in command().get_subcommands().filter(|it| it.get_name() != "help") {
            let name = command.get_name();
            let heading = headings
                .iter()
                .find(|heading| heading.split(", ").any(|it| it.split(' ').next() == Some(name)));
            let heading = heading.unwrap_or_else(|| panic!("{name} is not documented"));
            let section = page.split(&format!("## {heading}\n")).nth(1).unwrap();
            let section = section.split("\n## ").next().unwrap();
            let options = command.get_arguments().filter_map(|it| it.get_long());
            for option in options.filter(|option| !common.contains(option)) {
                assert!(section.contains(&format!("--{option}")), "{name} --{option}");
            }
            let has_json = command.get_arguments().any(|it| it.get_long() == Some("json"));
            assert_eq!(section.contains("--json`:"), has_json, "{name} --json");
        }
    }
}
