//! The tables of the queues' file, and messages as rows of them.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use rusqlite::{Connection, Row, Transaction, params};
use serde_json::Value;

use super::{
    message::{Content, Doubled, Message, Position},
    moves::MoveTask,
    queue::Record,
    wire_message,
};

/// Makes the tables. Messages have no index besides their number: only a purge looks for them by queue.
pub(super) const LAYOUT: &str = "
CREATE TABLE IF NOT EXISTS queues (id INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS starts (id INTEGER PRIMARY KEY, count INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS moves (id INTEGER PRIMARY KEY, task TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS messages (
    sequence INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    visible_at_ms INTEGER NOT NULL,
    received_at_ms INTEGER NOT NULL,
    first_received_at_ms INTEGER NOT NULL,
    receives INTEGER NOT NULL,
    receives_here INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    dead_letter_source TEXT,
    id TEXT NOT NULL,
    sent_at_ms INTEGER NOT NULL,
    attributes TEXT,
    trace_header TEXT,
    body TEXT NOT NULL
) STRICT;
";
/// Counts a start.
pub(super) const COUNT_START: &str =
    "INSERT INTO starts (id, count) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1";
const STARTS: &str = "SELECT count FROM starts";
pub(super) const PUT_QUEUE: &str = "INSERT OR REPLACE INTO queues (id, record) VALUES (?1, ?2)";
pub(super) const DROP_QUEUE: &str = "DELETE FROM queues WHERE id = ?1";
pub(super) const PURGE: &str = "DELETE FROM messages WHERE queue = ?1";
pub(super) const DELETE: &str = "DELETE FROM messages WHERE sequence = ?1";
pub(super) const PUT_MOVE: &str = "INSERT OR REPLACE INTO moves (id, task) VALUES (?1, ?2)";
pub(super) const DROP_MOVE: &str = "DELETE FROM moves WHERE id = ?1";
const INSERT: &str = "INSERT INTO messages (sequence, queue, visible_at_ms, received_at_ms, first_received_at_ms, \
    receives, receives_here, nonce, dead_letter_source, id, sent_at_ms, attributes, trace_header, body) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
const PLACE: &str = "UPDATE messages SET queue = ?2, visible_at_ms = ?3, received_at_ms = ?4, \
    first_received_at_ms = ?5, receives = ?6, receives_here = ?7, nonce = ?8, dead_letter_source = ?9 \
    WHERE sequence = ?1";
const MESSAGES: &str = "SELECT sequence, queue, visible_at_ms, received_at_ms, first_received_at_ms, receives, \
    receives_here, nonce, dead_letter_source, id, sent_at_ms, attributes, trace_header, body FROM messages \
    ORDER BY sequence";

/// A number as SQLite keeps it.
///
/// # Errors
/// Above 2^63: no number of ours comes there but nonces, which are kept bit by bit.
pub(super) fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).context("a number is too large for the queues' file")
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).context("a number in the queues' file is negative")
}

/// Adds a message.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    sequence: u64,
    queue: u64,
    content: &Content,
    position: &Position,
) -> Result<()> {
    let attributes = (!content.attributes.is_empty())
        .then(|| wire_message::attributes_to_json(content.attributes.iter()).to_string());
    transaction.prepare_cached(INSERT)?.execute(params![
        signed(sequence)?,
        signed(queue)?,
        signed(position.visible_at_ms)?,
        signed(position.received_at_ms)?,
        signed(position.first_received_at_ms)?,
        signed(position.receives)?,
        signed(position.receives_here)?,
        position.nonce.cast_signed(),
        position.dead_letter_source.as_deref(),
        content.id,
        signed(content.sent_at_ms)?,
        attributes,
        content.trace_header,
        content.body,
    ])?;
    Ok(())
}

/// Puts a message elsewhere.
pub(super) fn place(transaction: &Transaction<'_>, sequence: u64, queue: u64, position: &Position) -> Result<()> {
    transaction.prepare_cached(PLACE)?.execute(params![
        signed(sequence)?,
        signed(queue)?,
        signed(position.visible_at_ms)?,
        signed(position.received_at_ms)?,
        signed(position.first_received_at_ms)?,
        signed(position.receives)?,
        signed(position.receives_here)?,
        position.nonce.cast_signed(),
        position.dead_letter_source.as_deref(),
    ])?;
    Ok(())
}

/// Everything in the file.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// How often the file was opened, this time included.
    pub(super) starts: u64,
    /// Queues by number.
    pub(super) queues: Vec<(u64, Record)>,
    /// (sequence, number of the queue, message), in the order of sending.
    pub(super) messages: Vec<(u64, u64, Message)>,
    /// Move tasks by number.
    pub(super) moves: Vec<MoveTask>,
}

/// Reads everything.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub(super) fn load(connection: &Connection) -> Result<Kept> {
    let starts = connection.query_row(STARTS, [], |row| row.get::<_, i64>(0))?;
    let mut kept = Kept { starts: u64::try_from(starts)?, ..Kept::default() };
    let mut statement = connection.prepare("SELECT id, record FROM queues ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let record = serde_json::from_str(&row.get::<_, String>(1)?).context("a queue in the queues' file")?;
        kept.queues.push((unsigned(row, 0)?, record));
    }
    let mut statement = connection.prepare("SELECT task FROM moves ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        kept.moves.push(serde_json::from_str(&row.get::<_, String>(0)?).context("a move task in the queues' file")?);
    }
    let mut statement = connection.prepare(MESSAGES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        kept.messages.push((unsigned(row, 0)?, unsigned(row, 1)?, message(row)?));
    }
    Ok(kept)
}

fn message(row: &Row<'_>) -> Result<Message> {
    let attributes = match row.get::<_, Option<String>>(11)? {
        Some(text) => {
            let value: Value = serde_json::from_str(&text).context("attributes of a message")?;
            wire_message::attributes_from_json(&value)?
        }
        None => BTreeMap::new(),
    };
    let content = Content {
        id: row.get(9)?,
        body: row.get(13)?,
        attributes,
        trace_header: row.get(12)?,
        sent_at_ms: unsigned(row, 10)?,
    };
    let position = Position {
        visible_at_ms: unsigned(row, 2)?,
        received_at_ms: unsigned(row, 3)?,
        first_received_at_ms: unsigned(row, 4)?,
        receives: unsigned(row, 5)?,
        receives_here: unsigned(row, 6)?,
        nonce: row.get::<_, i64>(7)?.cast_unsigned(),
        dead_letter_source: row.get::<_, Option<String>>(8)?.map(Arc::from),
    };
    Ok(Message { content: Arc::new(content), position, doubled: Doubled::No })
}
