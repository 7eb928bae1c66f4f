//! The database of a GeoPackage: a thread that runs the statements.

use super::super::ExportError;
use super::layout::Layout;
use crate::geometry::Bounds;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sqlx::{
    Arguments as _, AssertSqlSafe, ConnectOptions as _, Connection as _, Encode, Sqlite, Type,
};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, Runtime};

/// Batches that wait for the thread, at most.
const WAITING: usize = 2;
/// What SQLite keeps of the file in memory, in KiB; it counts these as a negative number of pages.
const CACHE: &str = "-12000";

/// Rows of one table on their way into the database.
#[derive(Debug)]
pub(super) struct Batch {
    table: usize,
    rows: usize,
    values: SqliteArguments,
    /// Rows with bounds.
    bounded: usize,
    bounds: SqliteArguments,
    /// Bytes of text and geometries.
    bytes: usize,
}

impl Batch {
    /// No rows of the table at this position.
    pub(super) fn of(table: usize) -> Batch {
        Batch {
            table,
            rows: 0,
            values: SqliteArguments::default(),
            bounded: 0,
            bounds: SqliteArguments::default(),
            bytes: 0,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A row begins. Its values follow in the order of the columns: the geometry first.
    pub(super) fn begin_row(&mut self, fid: i64) {
        self.rows += 1;
        self.integer(fid);
    }

    pub(super) fn null(&mut self) {
        add(&mut self.values, None::<i64>);
    }

    pub(super) fn integer(&mut self, number: i64) {
        add(&mut self.values, number);
    }

    pub(super) fn double(&mut self, number: f64) {
        add(&mut self.values, number);
    }

    pub(super) fn text(&mut self, text: String) {
        self.bytes += text.len();
        add(&mut self.values, text);
    }

    pub(super) fn blob(&mut self, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        add(&mut self.values, bytes);
    }

    /// The bounds of a row's geometry, for the spatial index.
    pub(super) fn bounds(&mut self, fid: i64, bounds: Bounds) {
        self.bounded += 1;
        add(&mut self.bounds, fid);
        for number in [bounds.west, bounds.east, bounds.south, bounds.north] {
            add(&mut self.bounds, number);
        }
    }
}

fn add<'v>(values: &mut SqliteArguments, value: impl Encode<'v, Sqlite> + Type<Sqlite>) {
    // Only values that must be looked up or converted can fail to be added.
    let _ = values.add(value);
}

enum Work {
    Insert(Batch),
    /// All rows are there; the extents of the tables.
    Finish(Vec<Option<Bounds>>),
}

/// The thread, and the way to it.
#[derive(Debug)]
pub(super) struct Database {
    work: Option<SyncSender<Work>>,
    thread: Option<JoinHandle<Result<(), ExportError>>>,
}

impl Database {
    /// Makes the tables in a file that has nothing in it.
    pub(super) fn create(path: PathBuf, layout: Layout) -> Result<Database, ExportError> {
        let (sender, receiver) = sync_channel(WAITING);
        let thread = thread::Builder::new()
            .name("geopackage".to_owned())
            .spawn(move || run(path, &layout, &receiver))?;
        Ok(Database { work: Some(sender), thread: Some(thread) })
    }

    pub(super) fn insert(&mut self, batch: Batch) -> Result<(), ExportError> {
        self.send(Work::Insert(batch))
    }

    pub(super) fn finish(mut self, extents: Vec<Option<Bounds>>) -> Result<(), ExportError> {
        self.send(Work::Finish(extents))?;
        self.join()
    }

    fn send(&mut self, work: Work) -> Result<(), ExportError> {
        match self.work.as_ref().map(|sender| sender.send(work)) {
            Some(Ok(())) => Ok(()),
            // The thread has ended, and says why.
            _ => match self.join() {
                Ok(()) => Err(broken()),
                Err(error) => Err(error),
            },
        }
    }

    /// Waits until the thread has ended.
    fn join(&mut self) -> Result<(), ExportError> {
        self.work = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(broken()),
        }
    }
}

impl Drop for Database {
    /// The file is not written any more once this is gone.
    fn drop(&mut self) {
        if self.thread.is_some() {
            // An export that has failed says why by itself.
            let _ = self.join();
        }
    }
}

fn broken() -> ExportError {
    io::Error::other("the thread of the database has ended").into()
}

fn run(path: PathBuf, layout: &Layout, work: &Receiver<Work>) -> Result<(), ExportError> {
    let mut database = Open::create(path)?;
    database.script("BEGIN;".to_owned() + &layout.begin())?;
    while let Ok(work) = work.recv() {
        match work {
            Work::Insert(batch) => database.insert(layout, batch)?,
            Work::Finish(extents) => return database.finish(layout, &extents),
        }
    }
    // The export was given up.
    Ok(())
}

/// A connection, and what drives it. The caller may be in a runtime of its own, but this thread is
/// not.
struct Open {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Open {
    fn create(path: PathBuf) -> Result<Open, ExportError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(4096)
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

    fn script(&mut self, sql: String) -> Result<(), ExportError> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection);
        self.runtime.block_on(script).map_err(failed)?;
        Ok(())
    }

    /// Runs one statement. One that comes again is kept prepared.
    fn run(
        &mut self,
        sql: String,
        values: SqliteArguments,
        again: bool,
    ) -> Result<(), ExportError> {
        let query = sqlx::query_with(AssertSqlSafe(sql), values).persistent(again);
        self.runtime.block_on(query.execute(&mut self.connection)).map_err(failed)?;
        Ok(())
    }

    fn insert(&mut self, layout: &Layout, batch: Batch) -> Result<(), ExportError> {
        let Some(table) = layout.tables.get(batch.table) else { return Ok(()) };
        let is_full = |rows| rows == table.batch_rows();
        self.run(table.insert(batch.rows), batch.values, is_full(batch.rows))?;
        if batch.bounded > 0 {
            let sql = table.insert_bounds(batch.bounded);
            self.run(sql, batch.bounds, is_full(batch.bounded))?;
        }
        Ok(())
    }

    fn finish(mut self, layout: &Layout, extents: &[Option<Bounds>]) -> Result<(), ExportError> {
        self.script(layout.end(extents) + "COMMIT;")?;
        for table in &layout.tables {
            self.index_keys(table)?;
        }
        self.runtime.block_on(self.connection.close()).map_err(failed)
    }

    /// Indexes the primary key. Keys that are unique as text may be equal as values: 1 and 01.
    fn index_keys(&mut self, table: &super::layout::FeatureTable) -> Result<(), ExportError> {
        let index = |unique| table.key_index(unique).map(AssertSqlSafe);
        if let Some(sql) = index(true).filter(|_| table.keys_are_proven()) {
            let made = self.runtime.block_on(sqlx::raw_sql(sql).execute(&mut self.connection));
            match made {
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                other => return other.map(drop).map_err(failed),
            }
        }
        match table.key_index(false) {
            Some(sql) => self.script(sql),
            None => Ok(()),
        }
    }
}

fn failed(error: sqlx::Error) -> ExportError {
    io::Error::other(error).into()
}
