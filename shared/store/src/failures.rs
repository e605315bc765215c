//! Why messages failed last, in the idempotency table.
//!
//! | pk | attributes |
//! |---|---|
//! | `failure#` and the message's id | `c` consumer, `r` reason, `n` receives, `at`, `ttl` |
//!
//! A record is written over by the next failure of the same message. SQS keeps a message's id when it makes it a dead
//! letter, so that the reason is found beside it.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::{
    Client,
    types::{PutRequest, WriteRequest},
};
use florin_domain::time::Timestamp;

use crate::{
    StoreError,
    attributes::{Item, Reader, moment, number, text},
    batch_get,
};

/// For how long a reason is kept, in seconds: a message lives for 14 days, and may fail on its last one.
pub const FAILURE_TTL_SECONDS: i64 = 29 * 24 * 60 * 60;
/// Puts of one `BatchWriteItem`, at most: DynamoDB's limit.
const PUTS_PER_CALL_MAX: usize = 25;

/// A message that was not handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The id that SQS gave it.
    pub message_id: String,
    /// Why, with nothing secret in it.
    pub reason: String,
    /// How often it has been received.
    pub receives: u32,
}

/// The last failure of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// Who could not handle it.
    pub consumer: String,
    /// Why.
    pub reason: String,
    /// How often it had been received by then.
    pub receives: u32,
    /// When.
    pub at: Timestamp,
}

/// The failures of one consumer's messages.
#[derive(Debug, Clone)]
pub struct Failures {
    client: Client,
    table: String,
    consumer: String,
    now: fn() -> Timestamp,
}

impl Failures {
    /// What `consumer` writes to the table of this name.
    pub fn new(client: Client, table: impl Into<String>, consumer: impl Into<String>, now: fn() -> Timestamp) -> Self {
        Self { client, table: table.into(), consumer: consumer.into(), now }
    }

    /// Writes the reasons down, as many as DynamoDB takes at once: what it leaves out under load is an error.
    pub async fn put(&self, failures: &[Failed]) -> Result<(), StoreError> {
        let now = (self.now)();
        let items: HashMap<&str, Item> =
            failures.iter().map(|failed| (failed.message_id.as_str(), self.item(failed, now))).collect();
        let mut puts = Vec::with_capacity(items.len());
        for item in items.into_values() {
            let put = PutRequest::builder().set_item(Some(item)).build();
            let put = put.map_err(|_| StoreError::Refused("incomplete put".to_owned()))?;
            puts.push(WriteRequest::builder().put_request(put).build());
        }
        let mut left_out = 0;
        for call in puts.chunks(PUTS_PER_CALL_MAX) {
            let output = self.client.batch_write_item().request_items(&self.table, call.to_vec()).send().await?;
            left_out += output.unprocessed_items.unwrap_or_default().values().map(Vec::len).sum::<usize>();
        }
        if left_out > 0 { Err(StoreError::Unavailable(format!("{left_out} writes were left out"))) } else { Ok(()) }
    }

    /// The last failures of these messages, by message id, as far as they were recorded.
    pub async fn last(&self, message_ids: &[&str]) -> Result<HashMap<String, LastFailure>, StoreError> {
        let ids: HashSet<&str> = message_ids.iter().copied().collect();
        let keys: Vec<Item> = ids.into_iter().map(|id| Item::from([("pk".to_owned(), text(key(id)))])).collect();
        let items = batch_get(&self.client, &self.table, &keys).await?;
        items.iter().map(last_failure).collect()
    }

    fn item(&self, failed: &Failed, now: Timestamp) -> Item {
        Item::from([
            ("pk".to_owned(), text(key(&failed.message_id))),
            ("c".to_owned(), text(&self.consumer)),
            ("r".to_owned(), text(&failed.reason)),
            ("n".to_owned(), number(failed.receives)),
            ("at".to_owned(), moment(now)),
            ("ttl".to_owned(), number(now.seconds() + FAILURE_TTL_SECONDS)),
        ])
    }
}

fn last_failure(item: &Item) -> Result<(String, LastFailure), StoreError> {
    let reader = Reader(item);
    let id = reader.text("pk")?.strip_prefix(PREFIX).ok_or(StoreError::Corrupt { attribute: "pk" })?;
    let failure = LastFailure {
        consumer: reader.text("c")?.to_owned(),
        reason: reader.text("r")?.to_owned(),
        receives: reader.number("n")?,
        at: reader.moment("at")?,
    };
    Ok((id.to_owned(), failure))
}

const PREFIX: &str = "failure#";

fn key(message_id: &str) -> String {
    format!("{PREFIX}{message_id}")
}
