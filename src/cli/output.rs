//! Printing: JSON documents, tables, and quantities as people read them.

use super::Problem;
use crate::diff::DiffError;
use crate::export::{self, Change};
use crate::printable::one_line;
use crate::settings::Settings;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};

/// Writes to standard output. A reader that has gone away is no failure.
fn write(text: &str) -> Result<(), Problem> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Problem::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Standard output, for what is written piece by piece.
pub(super) fn stream() -> BufWriter<io::Stdout> {
    BufWriter::new(io::stdout())
}

/// Why a stream to standard output ended early.
#[derive(Debug)]
pub(super) enum Ended {
    /// Its reader has gone away, which is no failure.
    ReaderGone,
    /// It failed.
    Failed(Problem),
}

impl Ended {
    /// A problem, unless all is well.
    pub(super) fn settle(result: Result<(), Ended>) -> Result<(), Problem> {
        match result {
            Ok(()) | Err(Ended::ReaderGone) => Ok(()),
            Err(Ended::Failed(problem)) => Err(problem),
        }
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Ended::ReaderGone,
            _ => {
                Ended::Failed(Problem::failed(format!("cannot write to standard output: {error}")))
            }
        }
    }
}

impl From<serde_json::Error> for Ended {
    fn from(error: serde_json::Error) -> Ended {
        io::Error::from(error).into()
    }
}

impl From<DiffError> for Ended {
    fn from(error: DiffError) -> Ended {
        Ended::Failed(error.into())
    }
}

/// Prints one JSON document.
pub(super) fn json(value: &impl Serialize) -> Result<(), Problem> {
    let mut text = serde_json::to_string_pretty(value).map_err(Problem::failed)?;
    text.push('\n');
    write(&text)
}

/// Prints one line.
pub(super) fn line(line: impl AsRef<str>) -> Result<(), Problem> {
    let mut lines = Lines::default();
    lines.push(line);
    lines.print()
}

/// Prints one line to standard error.
pub(super) fn note(line: impl AsRef<str>) {
    eprintln!("{}", one_line(line.as_ref()));
}

/// Text for people, line by line. Much of it comes from outside (file names, manifests, the
/// database, the service): nothing in a line can end it or reach the terminal as a command.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: String,
}

impl Lines {
    /// Adds one line; line feeds in it are written out.
    pub(super) fn push(&mut self, line: impl AsRef<str>) {
        self.text.push_str(&one_line(line.as_ref()));
        self.text.push('\n');
    }

    /// Adds a table.
    pub(super) fn table(&mut self, table: &Table) {
        for line in table.lines() {
            self.push(line);
        }
    }

    /// Prints all of it to standard output.
    pub(super) fn print(self) -> Result<(), Problem> {
        write(&self.text)
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Columns that are as wide as their widest cell, two blanks apart.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        // Before its width is taken.
        self.rows.push(cells.map(|cell| one_line(&cell).into_owned()).into());
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            line.truncate(line.trim_end().len());
            line
        })
    }
}

/// What stands for nothing in a table.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// How many there are of something, in words: `1 error`, `2 errors`. The plural of `one` is made
/// with an s.
pub(super) fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    }
}

/// A number of bytes, roughly.
pub(super) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// A bar for bytes that are read, on a terminal.
pub(super) fn bytes_bar(bytes: u64) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    match ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A file that is there, and is not to be replaced.
pub(super) fn exists(file: &Path) -> Problem {
    Problem::usage(format!("{} exists; --force replaces it", file.display()))
}

/// The path at which a command may write a file for the user: that of a link's target.
///
/// # Errors
/// When the file exists and is not to be replaced, is not a regular file, or would be one among
/// those of the archive or of the state folder.
pub(super) fn writable(file: &Path, force: bool, settings: &Settings) -> Result<PathBuf, Problem> {
    let shown = file.display();
    let is_there = fs::symlink_metadata(file).is_ok();
    let path = match fs::metadata(file) {
        Ok(meta) if meta.is_dir() => {
            return Err(Problem::usage(format!("{shown} is a folder: name a file")));
        }
        Ok(meta) if !meta.is_file() => {
            return Err(Problem::usage(format!(
                "{shown} is a device, a pipe or a socket, and would be replaced by a file: write \
                 to standard output, and redirect it"
            )));
        }
        Ok(_) => file.canonicalize().map_err(Problem::failed)?,
        Err(_) => file.to_owned(),
    };
    if is_there && !force {
        return Err(exists(file));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    for (own, what) in [(&settings.archive_dir, "archive"), (&settings.state_dir, "state")] {
        let (Ok(folder), Ok(own)) = (folder.canonicalize(), own.canonicalize()) else { continue };
        if folder.starts_with(own) {
            return Err(Problem::usage(format!(
                "{shown} is in the {what} folder, which holds only Nightjar's own files: write \
                 somewhere else"
            )));
        }
    }
    Ok(path)
}

/// Removes unfinished files when a signal ends the process.
pub(super) fn clean_up_on_signals() -> Result<(), Problem> {
    let stop = super::stop_signal()?;
    tokio::spawn(async move {
        stop.cancelled().await;
        export::remove_unfinished();
        std::process::exit(i32::from(super::exit::FAILED));
    });
    Ok(())
}

/// Prints what could not be written exactly, and what was done.
pub(super) fn explain(changes: &[Change]) {
    for Change { column, kind, count: values, lossy, examples } in changes {
        let severity = if *lossy { "not exact" } else { "note" };
        let values = count(usize::try_from(*values).unwrap_or(usize::MAX), "value");
        let example = match examples.first() {
            Some(key) => format!(" (first: {key})"),
            None => String::new(),
        };
        let what = kind.explanation();
        note(format!("{severity}: {column}: {values}: {what}{example}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::is_active;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_is_printed_has_the_lines_that_are_meant(
            lines in prop::collection::vec(any::<String>(), 0..5),
            cells in prop::collection::vec(any::<[String; 2]>(), 0..5),
        ) {
            let mut table = Table::new(&["ONE", "TWO"]);
            let rows = cells.len() + 1;
            cells.into_iter().for_each(|row| table.row(row));
            let mut printed = Lines::default();
            lines.iter().for_each(|line| printed.push(line));
            printed.table(&table);
            let text = printed.text();
            prop_assert_eq!(text.matches('\n').count(), lines.len() + rows);
            prop_assert!(!text.replace('\n', "").contains(is_active), "{:?}", text);
        }
    }

    #[test]
    fn one_is_not_counted_in_the_plural() {
        assert_eq!(count(0, "error"), "0 errors");
        assert_eq!(count(1, "error"), "1 error");
        assert_eq!(count(2, "error"), "2 errors");
    }
}
