//! One writer a process. Writes that wait while a commit is under way share the next one, so that
//! a busy daemon pays one fsync for many transitions.

use super::identity::Identity;
use super::{StoreError, copies, is_damage};
use crate::failpoint::{self, Point};
use crate::printable;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Executor};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Notify, mpsc, oneshot};

/// The most operations that one commit carries.
const BATCH: usize = 256;

/// Sends the operation's own result, or the commit's failure, to the caller.
type Answer = Box<dyn FnOnce(Result<(), CommitFailure>) + Send>;

/// Why a commit failed.
#[derive(Debug, Clone)]
enum CommitFailure {
    /// The database is damaged.
    Damage(String),
    /// Another file may be in the database's place.
    Replaced(PathBuf),
    /// Its disk is full or failing.
    Storage(String),
}

impl CommitFailure {
    fn new(error: &sqlx::Error) -> CommitFailure {
        match is_damage(error) {
            true => CommitFailure::Damage(error.to_string()),
            false => CommitFailure::Storage(error.to_string()),
        }
    }

    /// Whether the next start must check the database.
    fn is_doubtful(&self) -> bool {
        !matches!(self, CommitFailure::Storage(_))
    }
}

impl From<CommitFailure> for StoreError {
    fn from(failure: CommitFailure) -> StoreError {
        match failure {
            CommitFailure::Damage(message) => StoreError::Corrupt(message),
            CommitFailure::Replaced(path) => StoreError::Replaced { path },
            CommitFailure::Storage(message) => StoreError::Commit(message),
        }
    }
}

/// An operation, ready to run inside a transaction. Says whether its changes are to stay.
type Operation =
    Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, (bool, Answer)> + Send>;

#[derive(Debug, Clone)]
pub(super) struct Writer {
    path: PathBuf,
    operations: mpsc::Sender<Operation>,
    closing: Arc<Notify>,
    /// Commits so far.
    commits: Arc<AtomicU64>,
}

impl Writer {
    pub(super) fn start(connection: SqliteConnection, path: PathBuf, identity: Identity) -> Writer {
        let (operations, queue) = mpsc::channel(BATCH);
        let closing = Arc::new(Notify::new());
        let commits = Arc::new(AtomicU64::new(0));
        let database = (path.clone(), identity);
        tokio::spawn(run(connection, database, queue, Arc::clone(&closing), Arc::clone(&commits)));
        Writer { path, operations, closing, commits }
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Runs `operation` in a transaction and returns once it is durable.
    pub(super) async fn write<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>>
            + Send
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let path = self.path.clone();
        let boxed: Operation = Box::new(move |connection| {
            Box::pin(async move {
                // A panic ends this operation, and not the writer of all others.
                let result = AssertUnwindSafe(operation(connection)).catch_unwind().await;
                let result = match result {
                    Ok(result) => result.map_err(StoreError::from),
                    Err(panic) => Err(StoreError::Panicked(printable::panic_message(&*panic))),
                };
                let keep = result.is_ok();
                if result.as_ref().is_err_and(StoreError::is_damage) {
                    copies::mark_suspect(&path);
                }
                let answer: Answer = Box::new(move |commit| {
                    let result = match (result, commit) {
                        (Err(error), _) => Err(error),
                        (Ok(_), Err(failure)) => Err(failure.into()),
                        (Ok(value), Ok(())) => Ok(value),
                    };
                    // The caller may have stopped waiting.
                    let _ = reply.send(result);
                });
                (keep, answer)
            })
        });
        self.operations.send(boxed).await.map_err(|_| StoreError::Closed)?;
        // Dropped unanswered: its transaction could not begin, or was given up before its turn.
        answer.await.map_err(|_| StoreError::Commit("the transaction was given up".into()))?
    }

    pub(super) async fn close(&self) {
        self.closing.notify_one();
        self.operations.closed().await;
    }
}

async fn run(
    mut connection: SqliteConnection,
    (path, identity): (PathBuf, Identity),
    mut queue: mpsc::Receiver<Operation>,
    closing: Arc<Notify>,
    commits: Arc<AtomicU64>,
) {
    loop {
        let first = tokio::select! {
            biased;
            operation = queue.recv() => operation,
            () = closing.notified() => None,
        };
        let Some(first) = first else { break };
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(operation) = queue.try_recv()
        {
            batch.push(operation);
        }
        let (answers, commit) = transaction(&mut connection, &path, identity, batch).await;
        commits.fetch_add(1, Ordering::Relaxed);
        if commit.as_ref().is_err_and(CommitFailure::is_doubtful) {
            copies::mark_suspect(&path);
        }
        for answer in answers {
            answer(commit.clone());
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the database did not close cleanly");
    }
}

async fn transaction(
    connection: &mut SqliteConnection,
    path: &Path,
    identity: Identity,
    batch: Vec<Operation>,
) -> (Vec<Answer>, Result<(), CommitFailure>) {
    let begun = match failpoint::hit(Point::StoreBegin, path) {
        Ok(()) => connection.execute("BEGIN IMMEDIATE").await,
        Err(error) => Err(error.into()),
    };
    let mut answers = Vec::with_capacity(batch.len());
    if let Err(error) = begun {
        // Nothing may run outside a transaction: dropping the operations tells those who wait.
        tracing::warn!(%error, "the database cannot be written");
        return (answers, Err(CommitFailure::new(&error)));
    }
    for operation in batch {
        let savepoint = connection.execute("SAVEPOINT one").await;
        let (keep, answer) = operation(connection).await;
        answers.push(answer);
        let closed = match (keep, savepoint) {
            (true, Ok(_)) => connection.execute("RELEASE one").await,
            (_, Ok(_)) => connection.execute("ROLLBACK TO one; RELEASE one").await,
            (_, Err(error)) => Err(error),
        };
        if let Err(error) = closed {
            // SQLite has given the whole transaction up (a full disk does that).
            let _ = connection.execute("ROLLBACK").await;
            return (answers, Err(CommitFailure::new(&error)));
        }
    }
    // Nothing takes effect in a file that has lost its name: another process may give the same job
    // ids in the one that has it now.
    if !identity.is_in_place(path) {
        let _ = connection.execute("ROLLBACK").await;
        return (answers, Err(CommitFailure::Replaced(path.to_owned())));
    }
    let committed = match failpoint::hit(Point::StoreCommit, path) {
        Ok(()) => connection.execute("COMMIT").await,
        Err(error) => Err(error.into()),
    };
    match committed.map(|_| failpoint::hit(Point::StoreCommitted, path)) {
        Ok(known) => (answers, known.map_err(|error| CommitFailure::new(&error.into()))),
        Err(error) => {
            let _ = connection.execute("ROLLBACK").await;
            (answers, Err(CommitFailure::new(&error)))
        }
    }
}
