//! Queues on disk: SQLite, written by one thread in groups.
//!
//! The engine changes its memory under its lock and hands each change, under the same lock, to the writer's channel, so
//! disk follows memory in the same order. A job is never split over two transactions: a publish to five queues, or a
//! move from one to another, is there after a crash or is not.
//!
//! What is waited for: creating and deleting queues, sends, deletes, purges, moves by task. What is not: receives,
//! changes of visibility, and dead letters moved by a receive. If the process is killed before they are written, a
//! message is visible earlier, or has been received less often, than its receiver knows. Both are within what a
//! standard queue promises anyway (at least once, counts are approximate): the receiver's handle still deletes the
//! message, and whatever was waited for later is on disk only together with what came before it.
//!
//! A message can be received before its send is on disk. If the process is killed in between, a receiver has seen a
//! message that is gone, and its sender, who has had no answer, cannot know whether it was sent: as with any send that
//! is not answered. Waiting instead would cost every message a commit more on its way.
//!
//! `synchronous = OFF` and a write-ahead log: what is written survives the death of the process, because it is the
//! system's then, but not a power cut.

use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rusqlite::{Connection, Transaction, params};
use tokio::sync::oneshot;

use super::{
    message::{Content, Position},
    moves::MoveTask,
    queue::Record,
    rows,
};

/// How long a start waits for a file that another process has: for one that is just ending.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Layout of the file. Another number is refused, not guessed at.
const LAYOUT_VERSION: i64 = 1;
/// Jobs of one transaction.
const GROUP_JOBS_MAX: usize = 4_096;
/// Free pages that may stay in the file, of 4 KiB each.
const FREE_PAGES_MAX: i64 = 1_024;
/// Bytes of the write-ahead log after a checkpoint.
const LOG_BYTES_MAX: i64 = 4 * 1_024 * 1_024;

/// A change to what is kept.
#[derive(Debug)]
pub(super) enum Change {
    /// A queue is new or has other settings.
    PutQueue { id: u64, record: Box<Record> },
    /// A queue is gone, with its messages.
    DropQueue { id: u64 },
    /// A message is new.
    Insert { sequence: u64, queue: u64, content: Arc<Content>, position: Position },
    /// A message stands elsewhere, in this queue or another one.
    Place { sequence: u64, queue: u64, position: Position },
    /// A message is gone.
    Delete { sequence: u64 },
    /// All messages of a queue are gone.
    Purge { queue: u64 },
    /// A move task began or went on.
    PutMove { task: Box<MoveTask> },
    /// A move task is forgotten.
    DropMove { id: u64 },
}

/// Why something is not on disk. The memory is then ahead of the disk, so nothing is answered any more.
#[derive(Debug, Clone)]
pub(super) struct Broken(pub(super) String);

/// Waits for a change to be on disk.
pub(super) type Written = oneshot::Receiver<Result<(), Broken>>;

struct Job {
    changes: Vec<Change>,
    done: Option<oneshot::Sender<Result<(), Broken>>>,
}

/// The writer's end of the engine. Dropping it waits until the thread has written everything, so that the file can be
/// opened again.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<Sender<Job>>,
    broken: Arc<OnceLock<Broken>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            // It panicked: what it had not written was not answered either.
        }
    }
}

impl Writer {
    /// Starts the writer's thread.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(super) fn start(connection: Connection) -> Result<Self> {
        let (jobs, receiver) = channel();
        let broken = Arc::new(OnceLock::new());
        let shared = Arc::clone(&broken);
        let body = move || write_all(connection, &receiver, &shared);
        let thread = thread::Builder::new().name("sqs-writer".to_owned()).spawn(body);
        Ok(Self { jobs: Some(jobs), broken, thread: Some(thread.context("no thread for the queues' writer")?) })
    }

    /// Appends changes that nobody waits for.
    pub(super) fn append(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.send(Job { changes, done: None });
        }
    }

    /// Appends changes and answers when they, and all before them, are on disk.
    pub(super) fn commit(&self, changes: Vec<Change>) -> Written {
        let (done, written) = oneshot::channel();
        self.send(Job { changes, done: Some(done) });
        written
    }

    fn send(&self, job: Job) {
        if self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_err()) {
            // The thread is gone; whoever waits learns it from the channel that was dropped with the job.
        }
    }

    /// Why nothing is written any more, if so.
    pub(super) fn broken(&self) -> Option<&Broken> {
        self.broken.get()
    }
}

/// Opens the file, or makes it.
///
/// # Errors
/// When it cannot be read or written, or is of another layout.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let connection =
        Connection::open(path).with_context(|| format!("cannot open the queues' file {}", path.display()))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Before the first table, or it has no effect.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_MAX, |_| Ok(()))?;
    // One process owns the file: a second host on the same folder fails at its start, not later.
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != 0 && version != LAYOUT_VERSION {
        anyhow::bail!("{} has layout {version}; this host knows {LAYOUT_VERSION}", path.display());
    }
    let made = connection.execute_batch(rows::LAYOUT);
    made.with_context(|| format!("cannot write the queues' file {}: has another host got it?", path.display()))?;
    connection.pragma_update(None, "user_version", LAYOUT_VERSION)?;
    connection.execute(rows::COUNT_START, [])?;
    Ok(connection)
}

fn write_all(mut connection: Connection, jobs: &Receiver<Job>, broken: &OnceLock<Broken>) {
    // Sleeps here while nothing changes.
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP_JOBS_MAX - 1));
        let outcome = match broken.get() {
            Some(reason) => Err(reason.clone()),
            None => write_group(&mut connection, &group).map_err(|error| Broken(format!("{error:#}"))),
        };
        if let Err(reason) = &outcome {
            broken.get_or_init(|| reason.clone());
        }
        for job in group {
            if job.done.is_some_and(|done| done.send(outcome.clone()).is_err()) {
                // The caller went away; what it changed is written all the same.
            }
        }
        if outcome.is_ok() && free_pages(&connection).is_err() {
            // The file stays larger than it must be: nothing is lost, and the next group tries again.
        }
    }
}

fn write_group(connection: &mut Connection, group: &[Job]) -> Result<()> {
    let transaction = connection.transaction()?;
    for change in group.iter().flat_map(|job| &job.changes) {
        write(&transaction, change)?;
    }
    Ok(transaction.commit()?)
}

/// Gives free pages back to the system when there are many. That is work in proportion to what was deleted since the
/// last time.
fn free_pages(connection: &Connection) -> Result<()> {
    let free: i64 = connection.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?;
    if free > FREE_PAGES_MAX {
        let mut statement = connection.prepare_cached("PRAGMA incremental_vacuum")?;
        let mut rows = statement.query([])?;
        // Each step frees one page.
        while rows.next()?.is_some() {}
    }
    Ok(())
}

fn write(transaction: &Transaction<'_>, change: &Change) -> Result<()> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Result<()> {
        transaction.prepare_cached(sql)?.execute(values)?;
        Ok(())
    };
    match change {
        Change::PutQueue { id, record } => {
            run(rows::PUT_QUEUE, params![rows::signed(*id)?, serde_json::to_string(record)?])
        }
        Change::DropQueue { id } => {
            run(rows::DROP_QUEUE, params![rows::signed(*id)?])?;
            run(rows::PURGE, params![rows::signed(*id)?])
        }
        Change::Insert { sequence, queue, content, position } => {
            rows::insert(transaction, *sequence, *queue, content, position)
        }
        Change::Place { sequence, queue, position } => rows::place(transaction, *sequence, *queue, position),
        Change::Delete { sequence } => run(rows::DELETE, params![rows::signed(*sequence)?]),
        Change::Purge { queue } => run(rows::PURGE, params![rows::signed(*queue)?]),
        Change::PutMove { task } => run(rows::PUT_MOVE, params![rows::signed(task.id)?, serde_json::to_string(task)?]),
        Change::DropMove { id } => run(rows::DROP_MOVE, params![rows::signed(*id)?]),
    }
}
