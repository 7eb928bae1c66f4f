//! Logs: text on a terminal, fields of the journal under systemd, one JSON object a line otherwise.
//!
//! Only this program's own lines are let through, and warnings of the database layer. The HTTP
//! libraries print whole URLs at their lower levels, key included; no filter may turn them on.

use std::io::IsTerminal;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For systemd's journal, each value in a field of its own.
    Journal,
}

/// Starts logging to standard error. `$RUST_LOG` filters; without it, `default` does.
///
/// # Errors
/// When `$RUST_LOG` cannot be read as a filter.
#[allow(clippy::disallowed_methods, reason = "this module is an edge where it may be read")]
pub fn start(format: Option<LogFormat>, default: &str) -> Result<(), String> {
    let text = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let filter = EnvFilter::builder()
        .parse(text.as_deref().unwrap_or(default))
        .map_err(|error| format!("$RUST_LOG: {error}; try RUST_LOG=debug"))?;
    let filter = filter.and(filter_fn(is_ours));
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or_else(|| match terminal {
        true => LogFormat::Text,
        false if goes_to_journal() => LogFormat::Journal,
        false => LogFormat::Json,
    });
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(terminal);
    let layer = match format {
        LogFormat::Text => lines.with_target(false).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
        LogFormat::Journal => tracing_journald::layer()
            .map_err(|error| {
                format!("the journal cannot be reached: {error}; try --log-format json")
            })?
            .with_field_prefix(Some("NIGHTJAR".to_owned()))
            .with_syslog_identifier("nightjar".to_owned())
            .with_filter(filter)
            .boxed(),
    };
    // Started already, in tests: the first one stays.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    Ok(())
}

/// Whether standard error is the journal's (systemd.exec, `$JOURNAL_STREAM`).
#[allow(clippy::disallowed_methods, reason = "this module is an edge where it may be read")]
fn goes_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|it| stream == format!("{}:{}", it.st_dev, it.st_ino))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target == "nightjar"
        || target.starts_with("nightjar::")
        || (target.starts_with("sqlx") && *metadata.level() <= Level::WARN)
}
