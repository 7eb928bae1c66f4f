//! Logs: text on a terminal, fields of the journal under systemd, one JSON object a line otherwise.
//!
//! Only this program's own lines pass, and warnings of the database layer. HTTP libraries print
//! whole URLs with the key at their lower levels; no filter can enable those.

use crate::printable::one_line;
use std::fmt;
use std::io::IsTerminal;
use tracing::field::Field;
use tracing::{Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The format of log lines.
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
/// `$RUST_LOG` is not a valid filter.
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
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal);
    let layer = match format {
        // Only the formatter writes colours; escape sequences in values do not reach the terminal.
        LogFormat::Text => lines
            .with_target(false)
            .fmt_fields(debug_fn(write_field).delimited(" "))
            .with_filter(filter)
            .boxed(),
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
    // Already started, in tests: the first logger remains.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    Ok(())
}

/// Writes one value of a line: nothing in it can end the line or control the terminal.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let value = one_line(&value);
    match field.name() {
        "message" => write!(writer, "{value}"),
        name => write!(writer, "{}={value}", name.trim_start_matches("r#")),
    }
}

/// Whether standard error is connected to the journal (systemd.exec, `$JOURNAL_STREAM`).
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
