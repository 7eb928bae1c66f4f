//! `nightjar diff`: what changed from one snapshot to another.

use super::output::{self, Ended};
use super::{Common, Problem, archive, exit};
use crate::archive::{Archive, Snapshot};
use crate::diff::{self, Archived, Change, ColumnChange, Diff, EntityView, Options};
use crate::export::{ExportError, HiddenFile, MarkedFeatures, MarkedOptions};
use crate::printable::one_line;
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines that are printed without `--all`.
const LINES: u64 = 1000;
/// Bytes that are written to a file at once.
const BUFFER: usize = 256 << 10;

#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
pub(super) struct Arguments {
    /// The snapshot before, as SNAPSHOT is named elsewhere
    /// [default: the newest earlier one of the same source with other content]
    old: Option<String>,
    /// The snapshot now: SOURCE (its newest), SOURCE@TIMESTAMP, SOURCE@JOB, or a manifest's path
    new: String,
    /// Leave this column out; may be given several times
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
    /// Print all lines, not only the first 1,000
    #[arg(long)]
    all: bool,
    /// Also write what differs to this file, as GeoJSON
    #[arg(long, value_name = "FILE")]
    geojson: Option<PathBuf>,
    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
    /// Exit with 1 when anything differs
    #[arg(long)]
    exit_code: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let geojson = arguments.geojson.as_ref();
    let geojson = geojson.map(|file| output::writable(file, arguments.force, &settings));
    let geojson = geojson.transpose()?;
    let archive = archive(&settings);
    output::clean_up_on_signals()?;
    let new = archive.select(&arguments.new)?;
    let old = match &arguments.old {
        Some(old) => archive.select(old)?,
        None => earlier(&archive, &new)?,
    };
    let options = options(arguments, &old, &new)?;
    let bar = output::bytes_bar(old.manifest.content.bytes + new.manifest.content.bytes);
    let (old_read, new_read) = (AtomicU64::new(0), AtomicU64::new(0));
    let compared = diff::compare(
        &Archived::new(&archive, &old, &|bytes| advance(&bar, &old_read, bytes)),
        &Archived::new(&archive, &new, &|bytes| advance(&bar, &new_read, bytes)),
        &options,
    );
    bar.finish_and_clear();
    let diff = compared.map_err(Problem::from)?;
    note_doubts(&old, &new);
    if let Some(file) = &geojson {
        write_geojson(&diff, &options, file, arguments.force)?;
    }
    let report = Report { old: &old, new: &new, diff: &diff };
    Ended::settle(match arguments.json {
        true => report.json(),
        false => report.text(arguments.all),
    })?;
    Ok(if arguments.exit_code && diff.differs() { exit::FAILED } else { exit::DONE })
}

/// Moves the bar on by what one of two readers has read since the last time.
fn advance(bar: &ProgressBar, read: &AtomicU64, bytes: u64) {
    bar.inc(bytes.saturating_sub(read.swap(bytes, Ordering::Relaxed)));
}

fn earlier(archive: &Archive, new: &Snapshot) -> Result<Snapshot, Problem> {
    let source = &new.manifest.source;
    let found = archive
        .earlier(new)
        .map_err(|error| Problem::failed(format!("the archive cannot be read: {error}")))?;
    found.ok_or_else(|| {
        Problem::usage(format!(
            "{source} has no earlier snapshot with other content than {}; `nightjar snapshots \
             {source}` lists them",
            shown(new)
        ))
    })
}

fn options(arguments: &Arguments, old: &Snapshot, new: &Snapshot) -> Result<Options, Problem> {
    for column in &arguments.ignore {
        if *column == new.manifest.primary_key {
            return Err(Problem::usage(format!(
                "{column} is the primary key, by which entities are compared: it cannot be ignored"
            )));
        }
        let has =
            |snapshot: &Snapshot| snapshot.manifest.columns.iter().any(|one| one.name == *column);
        if !has(old) && !has(new) {
            output::note(format!("note: neither manifest names a column \"{column}\""));
        }
    }
    let every_change = arguments.json || arguments.all || arguments.geojson.is_some();
    Ok(Options {
        ignore: arguments.ignore.iter().cloned().collect(),
        limit: (!every_change).then_some(LINES),
        ..Options::new(std::env::temp_dir())
    })
}

fn shown(snapshot: &Snapshot) -> String {
    format!("{}@{}", snapshot.manifest.source, snapshot.manifest.name().timestamp())
}

/// Says which snapshots have keys that are not known to be unique.
fn note_doubts(old: &Snapshot, new: &Snapshot) {
    for snapshot in [old, new] {
        if snapshot.manifest.unproven.contains(&crate::dataset::Unproven::Keys) {
            output::note(format!(
                "note: not every entity of {} has a primary key of its own: entities that share \
                 one are matched by their values first, those without one by their values alone",
                shown(snapshot)
            ));
        }
    }
}

/// Writes all that differs as features with `change`.
fn write_geojson(
    diff: &Diff,
    options: &Options,
    path: &Path,
    replace: bool,
) -> Result<(), Problem> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => output::exists(path),
        _ => Problem::failed(format!("{} cannot be written: {error}", path.display())),
    };
    let mut file = HiddenFile::create(path).map_err(|error| match error {
        ExportError::Choice(message) => Problem::usage(message),
        other => Problem::failed(other),
    })?;
    let mut out = BufWriter::with_capacity(BUFFER, file.file());
    let marked = MarkedOptions {
        mark: "change",
        ignore: options.ignore.clone(),
        have_types: diff.has_types(),
    };
    let mut features = MarkedFeatures::begin(&mut out, marked).map_err(failed)?;
    let mut changes = diff.changes()?;
    while let Some(change) = changes.next_change()? {
        let document = usize::from(matches!(change, Change::Removed(_)));
        features.write(document, change.entity(), change.word()).map_err(failed)?;
    }
    let inexact = features.finish().map_err(failed)?;
    out.flush().map_err(failed)?;
    drop(out);
    file.finish(replace).map_err(failed)?;
    output::explain(&inexact);
    Ok(())
}

/// One side of the comparison, as JSON.
#[derive(Debug, Serialize)]
struct SideView<'s> {
    source: &'s str,
    timestamp: String,
    job: i64,
    entities: u64,
}

impl<'s> SideView<'s> {
    fn of(snapshot: &'s Snapshot) -> SideView<'s> {
        let name = snapshot.manifest.name();
        SideView {
            source: &snapshot.manifest.source,
            timestamp: name.timestamp(),
            job: name.job(),
            entities: snapshot.manifest.entities,
        }
    }
}

/// A change, as JSON.
#[derive(Debug, Serialize)]
struct ChangeView<'c> {
    key: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_type: Option<&'c str>,
    #[serde(flatten)]
    values: Values<'c>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Values<'c> {
    Entity(EntityView<'c, 'c>),
    Columns(ColumnsView<'c>),
}

/// The columns that changed, each with its old and new value, as JSON.
#[derive(Debug)]
pub(super) struct ColumnsView<'c>(pub(super) &'c [ColumnChange<'c>]);

impl Serialize for ColumnsView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for column in self.0 {
            map.serialize_entry(&column.name, column)?;
        }
        map.end()
    }
}

/// What is printed.
struct Report<'d> {
    old: &'d Snapshot,
    new: &'d Snapshot,
    diff: &'d Diff,
}

impl Report<'_> {
    /// One document, each change as it is read.
    fn json(&self) -> Result<(), Ended> {
        let mut out = output::stream();
        write!(out, "{{\n\"old\": ")?;
        serde_json::to_writer(&mut out, &SideView::of(self.old))?;
        write!(out, ",\n\"new\": ")?;
        serde_json::to_writer(&mut out, &SideView::of(self.new))?;
        write!(out, ",\n\"columns\": ")?;
        serde_json::to_writer(&mut out, self.diff.columns())?;
        write!(out, ",\n\"counts\": ")?;
        serde_json::to_writer(&mut out, &self.diff.counts())?;
        for word in ["added", "removed", "changed"] {
            write!(out, ",\n\"{word}\": [")?;
            let mut changes = self.diff.changes()?;
            let mut between = "\n";
            while let Some(change) = changes.next_change()? {
                if change.word() == word {
                    write!(out, "{between}")?;
                    between = ",\n";
                    self.change(&change, &mut out)?;
                }
            }
            write!(out, "]")?;
        }
        write!(out, "\n}}\n")?;
        Ok(out.flush()?)
    }

    fn change(&self, change: &Change<'_>, out: &mut impl Write) -> Result<(), Ended> {
        let columns = self.diff.differences(change);
        let view = ChangeView {
            key: change.entity().key(),
            entity_type: self.diff.entity_type(change),
            values: match change {
                Change::Changed { .. } => Values::Columns(ColumnsView(&columns)),
                Change::Added(_) | Change::Removed(_) => Values::Entity(self.diff.view(change)),
            },
        };
        Ok(serde_json::to_writer(out, &view)?)
    }

    /// A line of counts, then the changes in the order of their keys.
    fn text(&self, all: bool) -> Result<(), Ended> {
        let mut out = output::stream();
        let counts = self.diff.counts();
        writeln!(
            out,
            "{} to {}: {} added, {} removed, {} changed, {} unchanged",
            shown(self.old),
            shown(self.new),
            counts.added,
            counts.removed,
            counts.changed,
            counts.unchanged
        )?;
        let most = if all { u64::MAX } else { LINES };
        let (mut lines, mut shown) = (0, 0);
        let mut changes = self.diff.changes()?;
        'changes: while let Some(change) = changes.next_change()? {
            for line in self.lines(&change) {
                if lines == most {
                    break 'changes;
                }
                lines += 1;
                writeln!(out, "{}", one_line(&line))?;
            }
            shown += 1;
        }
        out.flush()?;
        if shown < counts.differing() {
            output::note(format!("note: the first {LINES} lines; --all prints all of them"));
        }
        let columns = self.diff.columns();
        for (names, what) in [
            (&columns.added, "columns only in the new snapshot"),
            (&columns.removed, "columns only in the old snapshot"),
            (&columns.retyped, "columns of another type in each, compared as text"),
        ] {
            if !names.is_empty() {
                output::note(format!("note: {what}: {}", names.join(", ")));
            }
        }
        Ok(())
    }

    fn lines(&self, change: &Change<'_>) -> Vec<String> {
        let key = change.entity().key().unwrap_or("(without a key)");
        let key = match self.diff.entity_type(change) {
            Some(name) => format!("{name}/{key}"),
            None => key.to_owned(),
        };
        match change {
            Change::Added(_) => vec![format!("+ {key}")],
            Change::Removed(_) => vec![format!("- {key}")],
            Change::Changed { .. } => {
                let columns = self.diff.differences(change);
                columns.iter().map(|column| format!("~ {key}  {column}")).collect()
            }
        }
    }
}
