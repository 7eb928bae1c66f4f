//! What SQLite itself does: the schema before the rows, and what refers to them after.

use super::super::ExportError;
use super::layout::{FeatureTable, Layout};
use super::spatial::IndexRoots;
use super::tree::PAGE;
use crate::geometry::Bounds;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use std::io;
use std::path::Path;
use std::thread;
use tokio::runtime::{Builder, Runtime};

/// What SQLite keeps of the file in memory, in KiB; it counts these as a negative number of pages.
const CACHE: &str = "-12000";

/// The root pages of a feature table and of its spatial index.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) rows: u32,
    pub(super) index: IndexRoots,
}

/// What has been written of a feature table.
#[derive(Debug)]
pub(super) struct Filled {
    /// Rows; their ids are those from 1 to this number.
    pub(super) rows: i64,
    pub(super) extent: Option<Bounds>,
    /// The root node of its spatial index.
    pub(super) root: Vec<u8>,
}

/// Makes the tables in a file that has nothing in it.
pub(super) fn begin(path: &Path, layout: &Layout) -> Result<Vec<Roots>, ExportError> {
    connected(path, |open| {
        open.script("BEGIN;".to_owned() + &layout.begin() + "COMMIT;")?;
        let mut root = |table: &str| open.root(table);
        let roots = |table: &FeatureTable| {
            let index = table.spatial_index();
            let index = IndexRoots {
                nodes: root(&format!("{index}_node"))?,
                rows: root(&format!("{index}_rowid"))?,
                parents: root(&format!("{index}_parent"))?,
            };
            Ok(Roots { rows: root(&table.name)?, index })
        };
        layout.tables.iter().map(roots).collect()
    })
}

/// Makes what refers to the rows, which are all there.
pub(super) fn end(path: &Path, layout: &Layout, filled: &[Filled]) -> Result<(), ExportError> {
    connected(path, |open| {
        open.script("BEGIN;".to_owned())?;
        for (table, filled) in layout.tables.iter().zip(filled) {
            open.set_root(table, &filled.root)?;
        }
        open.script(layout.end(filled) + "COMMIT;")?;
        layout.tables.iter().try_for_each(|table| open.index_keys(table))
    })
}

/// Runs statements in a thread of their own: the caller may be in a runtime, where no other can be
/// driven.
fn connected<T: Send>(
    path: &Path,
    work: impl FnOnce(&mut Open) -> Result<T, ExportError> + Send,
) -> Result<T, ExportError> {
    let run = || {
        let mut open = Open::at(path)?;
        let done = work(&mut open)?;
        open.close()?;
        Ok(done)
    };
    let thread = thread::scope(|scope| scope.spawn(run).join());
    thread.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A connection, and what drives it.
struct Open {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Open {
    fn at(path: &Path) -> Result<Open, ExportError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(PAGE as u32)
            .pragma("cache_size", CACHE)
            // The whole file is brought to disk at the end, and thrown away if anything fails. The
            // journal lets a statement fail without harm.
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off)
            .disable_statement_logging();
        let runtime = Builder::new_current_thread().build()?;
        let connection = runtime.block_on(options.connect()).map_err(failed)?;
        Ok(Open { runtime, connection })
    }

    fn close(self) -> Result<(), ExportError> {
        self.runtime.block_on(self.connection.close()).map_err(failed)
    }

    fn script(&mut self, sql: String) -> Result<(), ExportError> {
        self.run(sql).map_err(failed)
    }

    fn run(&mut self, sql: String) -> Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection);
        self.runtime.block_on(script).map(drop)
    }

    /// The root page of a table.
    fn root(&mut self, table: &str) -> Result<u32, ExportError> {
        let sql = "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = ?";
        let root = sqlx::query_scalar(sql).bind(table).fetch_one(&mut self.connection);
        self.runtime.block_on(root).map_err(failed)
    }

    /// Writes the root node of a spatial index, whose place is there.
    fn set_root(&mut self, table: &FeatureTable, node: &[u8]) -> Result<(), ExportError> {
        let update = sqlx::query(AssertSqlSafe(table.set_root())).bind(node);
        self.runtime.block_on(update.execute(&mut self.connection)).map_err(failed)?;
        Ok(())
    }

    /// Indexes the primary key. Keys that are unique as text may be equal as values: 1 and 01.
    fn index_keys(&mut self, table: &FeatureTable) -> Result<(), ExportError> {
        if let Some(sql) = table.key_index(true).filter(|_| table.keys_are_proven()) {
            match self.run(sql) {
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                other => return other.map_err(failed),
            }
        }
        table.key_index(false).map_or(Ok(()), |sql| self.script(sql))
    }
}

fn failed(error: sqlx::Error) -> ExportError {
    io::Error::other(error).into()
}
