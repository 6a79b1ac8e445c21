//! The one writer: requests to change metadata share transactions, and so
//! share the cost of reaching the disk (group commit).
//!
//! Nobody hears yes before the transaction is on disk. Each piece of work runs
//! in a savepoint of its own, so one that fails leaves the others whole.
//!
//! Between two transactions the log of the database may be looked at and
//! checkpointed ([`Writer::checkpoint`]): nobody writes meanwhile.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::MetaError;

/// Pieces of work that share one transaction at most.
const BATCH_MAX: usize = 128;

/// Pieces of work that may wait.
const QUEUE_MAX: usize = 1024;

/// Tells the caller, once it is known whether the transaction is on disk.
type Reply = Box<dyn FnOnce(bool) + Send>;

/// Does its work and says whether to keep it.
type Job = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, (bool, Reply)> + Send>;

/// What is done while nobody writes: looks at the log, and says whether to
/// checkpoint it; then hears whether that emptied it.
type Look = Box<dyn FnOnce() -> Option<Box<dyn FnOnce(bool) + Send>> + Send>;

/// A handle to the writing task.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    looks: mpsc::Sender<Look>,
}

impl Writer {
    /// Starts the writing task. It ends when the last handle is dropped. The
    /// `keeper` is closed after the connection that writes: SQLite empties and
    /// removes the log when the last connection that can do so is closed, and
    /// the log is to stay as it is.
    pub(super) fn start(connection: SqliteConnection, keeper: SqliteConnection) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (looks, asked) = mpsc::channel(1);
        tokio::spawn(write_loop(connection, keeper, queue, asked));
        Self { jobs, looks }
    }

    /// Runs `look` while nobody writes. If it returns something, the log is
    /// moved into the database file before anybody writes again; the second
    /// half of the answer is whether the log is empty now.
    pub(super) async fn checkpoint<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Result<Option<(T, bool)>, MetaError> {
        let (done, answer) = oneshot::channel();
        let look: Look = Box::new(move || match look() {
            Some(seen) => Some(Box::new(move |is_empty| {
                let _ = done.send(Some((seen, is_empty))); // The asker may be gone.
            })),
            None => {
                let _ = done.send(None);
                None
            }
        });
        self.looks.send(look).await.map_err(|_| MetaError::Stopped)?;
        answer.await.map_err(|_| MetaError::Stopped)
    }

    /// Runs `work` in a transaction. When this returns `Ok`, its changes are
    /// on disk. [`MetaError::CommitUnknown`] means that they may be.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, MetaError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, MetaError>>
            + Send
            + 'static,
    {
        let (done, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                let result = work(connection).await;
                let keep = result.is_ok();
                let reply: Reply = Box::new(move |on_disk| {
                    let result = match result {
                        Ok(_) if !on_disk => Err(MetaError::CommitUnknown),
                        other => other,
                    };
                    let _ = done.send(result); // The caller may be gone; the change stands.
                });
                (keep, reply)
            })
        });
        self.jobs.send(job).await.map_err(|_| MetaError::Stopped)?;
        answer.await.unwrap_or(Err(MetaError::CommitUnknown))
    }
}

async fn write_loop(
    mut connection: SqliteConnection,
    keeper: SqliteConnection,
    mut queue: mpsc::Receiver<Job>,
    mut looks: mpsc::Receiver<Look>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        // In turn: neither kind of work can keep the other waiting for ever.
        tokio::select! {
            Some(look) = looks.recv() => {
                if let Some(tell) = look() {
                    tell(checkpoint(&mut connection).await);
                }
            }
            count = queue.recv_many(&mut batch, BATCH_MAX) => match count {
                0 => break,
                _ => write(&mut connection, &mut batch).await,
            },
        }
    }
    let _ = connection.close().await;
    let _ = keeper.close().await;
}

/// Moves the log into the database file. Whether it is empty now: readers of an
/// older state may still need it.
async fn checkpoint(connection: &mut SqliteConnection) -> bool {
    match sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await {
        Ok(row) => row.get::<i64, _>(0) == 0,
        Err(error) => {
            tracing::warn!(%error, "metadata checkpoint failed");
            false
        }
    }
}

async fn write(connection: &mut SqliteConnection, batch: &mut Vec<Job>) {
    let mut replies = Vec::with_capacity(batch.len());
    let committed = commit_batch(connection, batch, &mut replies).await;
    if let Err(error) = &committed {
        tracing::error!(%error, "metadata transaction failed");
        batch.clear();
        // Leave no transaction open; an error means that there is none.
        let _ = sqlx::query("ROLLBACK").execute(connection).await;
    }
    for reply in replies {
        reply(committed.is_ok());
    }
}

async fn commit_batch(
    connection: &mut SqliteConnection,
    batch: &mut Vec<Job>,
    replies: &mut Vec<Reply>,
) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    for job in batch.drain(..) {
        sqlx::query("SAVEPOINT job").execute(&mut *connection).await?;
        // A panic in one piece of work must not end all writing: it counts as a
        // failed transaction, which takes the batch with it.
        let ran = AssertUnwindSafe(job(&mut *connection)).catch_unwind().await;
        let Ok((keep, reply)) = ran else {
            return Err(sqlx::Error::Protocol("a piece of work panicked".to_owned()));
        };
        replies.push(reply);
        if !keep {
            sqlx::query("ROLLBACK TO job").execute(&mut *connection).await?;
        }
        sqlx::query("RELEASE job").execute(&mut *connection).await?;
    }
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    Ok(())
}
