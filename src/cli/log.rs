//! `nightjar log`: the life of one entity.

use super::diff::ColumnsView;
use super::output::{self, Ended};
use super::snapshots::known;
use super::{Common, Problem, archive, exit};
use crate::archive::{Archive, Snapshot};
use crate::dataset::Unproven;
use crate::diff::{Archived, ColumnChange, Event, EventKind, Night, Wanted, follow};
use crate::printable::one_line;
use clap::Args;
use serde::Serialize;
use std::io::Write;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The source's name
    source: String,
    /// The entity's primary key
    key: String,
    /// The entity's type, where snapshots have several
    #[arg(long, value_name = "TYPE")]
    entity: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// One event, as JSON.
#[derive(Debug, Serialize)]
struct EventView<'e> {
    snapshot: String,
    timestamp: String,
    change: EventKind,
    columns: ColumnsView<'e>,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    known(&settings, std::slice::from_ref(&arguments.source))?;
    let archive = archive(&settings);
    let Listed { snapshots, unreadable } = list(&archive, &arguments.source)?;
    let nights: Vec<_> = snapshots
        .iter()
        .map(|snapshot| Night {
            document: Archived::new(&archive, snapshot, &|_| {}),
            content: snapshot.manifest.content.sha256.clone(),
            keys_are_proven: !snapshot.manifest.unproven.contains(&Unproven::Keys),
        })
        .collect();
    let wanted = Wanted { key: arguments.key.clone(), entity_type: arguments.entity.clone() };
    let mut printer = Printer { out: output::stream(), json: arguments.json, events: 0 };
    let mut damaged = unreadable;
    let followed = printer.begin().and_then(|()| {
        follow(&nights, &wanted, |event| match event {
            Event::Change { night, kind, columns } => {
                printer.event(night.document.snapshot(), kind, columns)
            }
            Event::Damaged(error) => {
                damaged += 1;
                output::note(format!("nightjar: {error}"));
                Ok(())
            }
        })
    });
    let events = printer.events;
    let followed = followed.and_then(|()| printer.end());
    Ended::settle(followed)?;
    match (events, damaged) {
        (0, 0) => Err(Problem::failed(format!(
            "no snapshot of {} has an entity with the key \"{}\"",
            arguments.source, arguments.key
        ))),
        (_, 0) => Ok(exit::DONE),
        (_, damaged) => Err(Problem::failed(format!(
            "{} could not be read: what happened in these nights is not shown",
            output::count(damaged, "snapshot")
        ))),
    }
}

/// The ordinary snapshots of a source.
struct Listed {
    /// Newest first.
    snapshots: Vec<Snapshot>,
    /// How many have a manifest that cannot be used.
    unreadable: usize,
}

fn list(archive: &Archive, source: &str) -> Result<Listed, Problem> {
    let failed = |error| Problem::failed(format!("the archive cannot be read: {error}"));
    let names = archive.names(source).map_err(failed)?;
    let mut listed = Listed { snapshots: Vec::new(), unreadable: 0 };
    for name in names {
        match archive.listed(source, name) {
            Some(snapshot) if snapshot.manifest.role.is_ordinary() => {
                listed.snapshots.push(snapshot);
            }
            // What another version or a safety backup has was never the source's next night.
            Some(_) => {}
            // Otherwise it was removed meanwhile.
            None if archive.folder(source).join(name.manifest()).exists() => {
                listed.unreadable += 1;
                let name = name.manifest();
                output::note(format!("nightjar: the manifest {source}/{name} cannot be used"));
            }
            None => {}
        }
    }
    Ok(listed)
}

/// Prints events as they are found.
struct Printer<W> {
    out: W,
    json: bool,
    events: usize,
}

impl<W: Write> Printer<W> {
    fn begin(&mut self) -> Result<(), Ended> {
        if self.json {
            write!(self.out, "[")?;
        }
        Ok(())
    }

    fn event(
        &mut self,
        snapshot: &Snapshot,
        kind: EventKind,
        columns: &[ColumnChange<'_>],
    ) -> Result<(), Ended> {
        let timestamp = snapshot.manifest.name().timestamp();
        let shown = format!("{}@{timestamp}", snapshot.manifest.source);
        if self.json {
            write!(self.out, "{}", if self.events == 0 { "\n" } else { ",\n" })?;
            let columns = ColumnsView(columns);
            let view = EventView { snapshot: shown, timestamp, change: kind, columns };
            serde_json::to_writer(&mut self.out, &view)?;
        } else {
            match kind {
                EventKind::Added => writeln!(self.out, "{shown}  added")?,
                EventKind::Removed => writeln!(self.out, "{shown}  removed")?,
                EventKind::Changed => {
                    for column in columns {
                        let line = format!("{shown}  changed  {column}");
                        writeln!(self.out, "{}", one_line(&line))?;
                    }
                }
            }
            // Reading on may take a while.
            self.out.flush()?;
        }
        self.events += 1;
        Ok(())
    }

    fn end(mut self) -> Result<(), Ended> {
        if self.json {
            writeln!(self.out, "{}", if self.events == 0 { "]" } else { "\n]" })?;
        }
        Ok(self.out.flush()?)
    }
}
