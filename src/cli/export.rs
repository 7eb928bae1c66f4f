//! `nightjar export`: a snapshot in the format of another system.

use super::output;
use super::{Common, Problem, archive, exit};
use crate::archive::SelectError;
use crate::export::{
    self, Change, Choices, Export, ExportError, ExportFormat, GeometryFrom, HiddenFile, Options,
    Written,
};
use crate::settings::Settings;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use std::fs;
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};

/// Bytes that a report may have: five examples for each kind of change of 4,096 columns.
const LARGEST_REPORT: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// SOURCE (its newest), SOURCE@TIMESTAMP, SOURCE@JOB, or the path of a manifest
    snapshot: String,
    /// The format [default: by the ending of FILE]
    #[arg(long, value_name = "FORMAT", value_parser = format_names())]
    format: Option<String>,
    /// The file to write; - is standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
    /// Fail instead of writing a value that the format cannot hold exactly
    #[arg(long)]
    strict: bool,
    /// Write what could not be written exactly to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Take the geometry from this column, from latitude and longitude (latlon), or none
    #[arg(long, value_name = "COLUMN|latlon|none")]
    geometry: Option<String>,
    /// Only entities of this type, where the snapshot has several
    #[arg(long, value_name = "TYPE")]
    entity: Option<String>,
    /// SQL scripts: the table's name [default: the source's]
    #[arg(long, value_name = "[SCHEMA.]NAME")]
    table: Option<String>,
    /// SQL scripts: drop an existing table of that name first
    #[arg(long)]
    replace: bool,
    /// csv: add a byte order mark, and escape what a spreadsheet would run as a formula
    #[arg(long)]
    csv_excel: bool,
}

/// What `--report` writes.
#[derive(Debug, Serialize)]
struct Report<'w> {
    snapshot: String,
    format: &'static str,
    entities: u64,
    written: u64,
    without_geometry: u64,
    changes: &'w [Change],
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let format = format_of(arguments)?;
    let file = &arguments.output;
    let to_stdout = file == Path::new("-");
    if to_stdout && !format.streams {
        return Err(Problem::usage(format!(
            "{} cannot be written to standard output: name a file",
            format.name
        )));
    }
    check_choices(arguments, format)?;
    let settings = common.settings()?;
    output::clean_up_on_signals()?;
    let path = match to_stdout {
        true => PathBuf::new(),
        false => output::writable(file, arguments.force, &settings)?,
    };
    let report = report_file(arguments, &path, &settings)?;
    let archive = archive(&settings);
    let snapshot = archive.select(&arguments.snapshot).map_err(|error| match error {
        SelectError::Manifest { .. } => Problem::failed(error),
        other => Problem::from(other),
    })?;
    let shown = format!("{}@{}", snapshot.manifest.source, snapshot.manifest.name().timestamp());
    let bar = output::bytes_bar(snapshot.manifest.content.bytes);
    let export = Export {
        snapshot: &snapshot,
        format,
        options: options(arguments),
        strict: arguments.strict,
        progress: &|bytes| bar.set_position(bytes),
    };
    let written = if to_stdout {
        export.to_stream(&archive, &mut stdout())
    } else {
        export.to_file(&archive, &path, arguments.force)
    };
    bar.finish_and_clear();
    let written = written.map_err(|error| problem(error, &shown, file))?;
    if let Some((file, path)) = report {
        write_report(file, &path, &shown, format, &written)?;
    }
    let rows = output::count(usize::try_from(written.rows).unwrap_or(usize::MAX), "row");
    if !to_stdout {
        output::line(format!("{shown}: {rows} written to {}", file.display()))?;
    }
    output::explain(&written.changes);
    let is_exact = !written.changes.iter().any(|change| change.lossy);
    Ok(if is_exact { exit::DONE } else { exit::PARTLY })
}

fn format_names() -> PossibleValuesParser {
    PossibleValuesParser::new(export::EXPORT_FORMATS.iter().map(|format| format.name))
}

fn format_of(arguments: &Arguments) -> Result<&'static ExportFormat, Problem> {
    let file = arguments.output.to_string_lossy();
    let format = match &arguments.format {
        Some(name) => ExportFormat::named(name),
        None => ExportFormat::of_file(&file),
    };
    format.ok_or_else(|| {
        let names: Vec<_> = export::EXPORT_FORMATS.iter().map(|format| format.name).collect();
        let names = names.join(", ");
        Problem::usage(format!(
            "the ending of {file} gives no format: add --format, one of {names}"
        ))
    })
}

/// An option that the format does not have is a mistake.
fn check_choices(arguments: &Arguments, format: &ExportFormat) -> Result<(), Problem> {
    for (option, is_given, choices) in [
        ("--table", arguments.table.is_some(), Choices::Table),
        ("--replace", arguments.replace, Choices::Table),
        ("--csv-excel", arguments.csv_excel, Choices::Excel),
    ] {
        if is_given && format.choices != choices {
            let formats = export::EXPORT_FORMATS.iter();
            let names = formats.filter(|format| format.choices == choices);
            let names: Vec<_> = names.map(|format| format.name).collect();
            return Err(Problem::usage(format!(
                "{option} is for {}, and this export is {}",
                names.join(" and "),
                format.name
            )));
        }
    }
    Ok(())
}

fn options(arguments: &Arguments) -> Options {
    Options {
        geometry: match arguments.geometry.as_deref() {
            None => GeometryFrom::First,
            Some("latlon") => GeometryFrom::LatLon,
            Some("none") => GeometryFrom::Nothing,
            Some(column) => GeometryFrom::Column(column.to_owned()),
        },
        entity: arguments.entity.clone(),
        table: arguments.table.clone(),
        replace: arguments.replace,
        excel: arguments.csv_excel,
    }
}

fn problem(error: ExportError, snapshot: &str, file: &Path) -> Problem {
    match error {
        ExportError::Io(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            output::exists(file)
        }
        ExportError::Choice(message) => Problem::usage(format!("{snapshot}: {message}")),
        ExportError::Lossy(changes) => {
            output::explain(&changes);
            Problem::failed(format!("{snapshot}: {}", ExportError::Lossy(Vec::new())))
        }
        other => Problem::failed(format!("{snapshot}: {other}")),
    }
}

/// The report's file, created before anything is exported, and its path.
fn report_file(
    arguments: &Arguments,
    output: &Path,
    settings: &Settings,
) -> Result<Option<(HiddenFile, PathBuf)>, Problem> {
    let Some(report) = &arguments.report else { return Ok(None) };
    let path = output::writable(report, arguments.force || is_report(report), settings)?;
    let place = |path: &Path| {
        let name = path.file_name()?.to_owned();
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        Some(folder.unwrap_or(Path::new(".")).canonicalize().ok()?.join(name))
    };
    if place(&path).is_some_and(|path| Some(path) == place(output)) {
        return Err(Problem::usage("--report and --output are the same file: name two"));
    }
    let file = HiddenFile::create(&path).map_err(|error| {
        Problem::failed(format!("the report {} cannot be written: {error}", report.display()))
    })?;
    Ok(Some((file, path)))
}

/// Whether a file is empty, or an earlier report, which a new one replaces.
fn is_report(file: &Path) -> bool {
    let is_small =
        fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() < LARGEST_REPORT);
    let Some(text) = is_small.then(|| fs::read(file).ok()).flatten() else { return false };
    let members = ["snapshot", "format", "entities", "written", "changes"];
    text.is_empty()
        || serde_json::from_slice::<serde_json::Value>(&text)
            .is_ok_and(|report| members.iter().all(|name| report.get(name).is_some()))
}

fn write_report(
    mut file: HiddenFile,
    path: &Path,
    snapshot: &str,
    format: &'static ExportFormat,
    written: &Written,
) -> Result<(), Problem> {
    let report = Report {
        snapshot: snapshot.to_owned(),
        format: format.name,
        entities: written.entities,
        written: written.rows,
        without_geometry: written.without_geometry,
        changes: &written.changes,
    };
    let text = serde_json::to_string_pretty(&report).map_err(Problem::failed)? + "\n";
    let done = file.file().write_all(text.as_bytes()).and_then(|()| file.finish(true));
    done.map_err(|error| {
        Problem::failed(format!("the report {} cannot be written: {error}", path.display()))
    })
}
