//! The gateway simulator's own table: payment methods, customers, payment intents, refunds, and the answers kept by
//! `Idempotency-Key`. Nothing of the rest of Florin reads it.
//!
//! | item | `pk` | `sk` | attributes |
//! |---|---|---|---|
//! | record | kind, such as `payment_intent` | id; ids of one kind sort by time | `version`, `body` (JSON of the simulator) |
//! | answer by key | `key#` and the key | `key` | `fingerprint`, `until_ms`, `ttl`; while running `claim`; then `code`, `body` |
//! | behaviour | `behaviour` | `behaviour` | `body` |
//!
//! **Invariant: one effect per key.** A record and the answer of its key become visible in one transaction, which is
//! conditional on the key being free, or claimed by this request. So of any number of requests with one key, racing,
//! repeated or killed at any point, one has an effect, and the others get its answer.

use aws_sdk_dynamodb::{
    Client,
    error::ProvideErrorMetadata,
    operation::transact_write_items::TransactWriteItemsError,
    types::{CancellationReason, Put, TransactWriteItem},
};

use crate::{
    StoreError,
    attributes::{Item, Reader, number, text},
};

/// How long the answer of a key is kept, in milliseconds. Stripe keeps it at least 24 hours.
pub const KEY_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// How many pages one listing reads from the table. A page is a megabyte, and a listing has at most 101 records.
const LIST_PAGES_MAX: usize = 20;

/// Nobody has the key, or whoever had it has lost it; DynamoDB removes late.
const KEY_IS_FREE: &str = "attribute_not_exists(pk) OR until_ms < :now";

/// What the reason of a canceled transaction is called if a condition did not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";

/// And if another transaction was at the same item.
const CONFLICT: &str = "TransactionConflict";

/// What kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A card at the gateway.
    PaymentMethod,
    /// An attempt to charge.
    PaymentIntent,
    /// Money given back.
    Refund,
    /// Whom payment methods are attached to.
    Customer,
}

impl Kind {
    const fn partition(self) -> &'static str {
        match self {
            Self::PaymentMethod => "payment_method",
            Self::PaymentIntent => "payment_intent",
            Self::Refund => "refund",
            Self::Customer => "customer",
        }
    }
}

/// One record as it is, or as it shall become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Sorts by time within its kind.
    pub id: String,
    /// 1 when it is new; every change adds one. Writing version `n` is conditional on `n - 1` being there.
    pub version: i64,
    /// The simulator's JSON.
    pub body: String,
}

/// An answer that is kept for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body, byte for byte.
    pub body: String,
}

/// What the table knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Of the request that came first.
    pub fingerprint: String,
    /// `None` while that request runs.
    pub answer: Option<KeptAnswer>,
}

/// The key under which a request has its effect.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// The request's `Idempotency-Key`.
    pub key: &'a str,
    /// Of the request.
    pub fingerprint: &'a str,
    /// Drawn by a request that takes its time and claims the key meanwhile, until the claim lapses. Others take the key
    /// in the moment of their effect.
    pub id: Option<&'a str>,
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Everything is written.
    Done,
    /// Nothing is written: another request has the key.
    ClaimLost,
    /// Nothing is written: a record changed since it was read, or another transaction was at it. Read again.
    Conflict,
}

/// The table.
#[derive(Debug, Clone)]
pub struct GatewayTable {
    client: Client,
    table: String,
}

impl GatewayTable {
    /// The table called `table`.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The record of that id, if there is one.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn get(&self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError> {
        let item = self.item(kind.partition(), id).await?;
        item.map(|item| record(kind, &item)).transpose()
    }

    /// Up to `limit` records with `first <= id <= last`, newest first or oldest first.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn list(
        &self,
        kind: Kind,
        (first, last): (&str, &str),
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        let mut start = None;
        // DynamoDB refuses a range whose ends are the wrong way round.
        if first > last {
            return Ok(records);
        }
        for _ in 0..LIST_PAGES_MAX {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :kind AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":kind", text(kind.partition()))
                .expression_attribute_values(":first", text(first))
                .expression_attribute_values(":last", text(last))
                .scan_index_forward(!newest_first)
                .limit(i32::try_from(limit.saturating_sub(records.len())).unwrap_or(i32::MAX))
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await?;
            for item in page.items() {
                records.push(record(kind, item)?);
            }
            start = page.last_evaluated_key;
            if start.is_none() || records.len() >= limit {
                break;
            }
        }
        Ok(records)
    }

    /// What is known of a key at `now_ms`. What has lapsed is not there, whether or not DynamoDB has removed it yet.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn key(&self, key: &str, now_ms: i64) -> Result<Option<KeyRecord>, StoreError> {
        let Some(item) = self.item(&key_partition(key), "key").await? else {
            return Ok(None);
        };
        let item = Reader(&item);
        if item.number::<i64>("until_ms")? < now_ms {
            return Ok(None);
        }
        let answer = match item.number_if_any("code")? {
            Some(status) => Some(KeptAnswer { status, body: item.text("body")?.to_owned() }),
            None => None,
        };
        Ok(Some(KeyRecord { fingerprint: item.text("fingerprint")?.to_owned(), answer }))
    }

    /// Claims a key from `now_ms` until `until_ms`; false if it is claimed or answered already.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn claim(&self, claim: &Claim<'_>, now_ms: i64, until_ms: i64) -> Result<bool, StoreError> {
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(key_item(claim, until_ms)))
            .item("claim", text(claim.id.unwrap_or_default()))
            .condition_expression(KEY_IS_FREE)
            .expression_attribute_values(":now", number(now_ms))
            .send()
            .await;
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes `records`, and with a claim the answer of its key, all or nothing.
    ///
    /// # Errors
    /// The table cannot be written, or it is unknown whether it was: then the same claim must not be committed again.
    pub async fn commit(
        &self,
        records: &[Record],
        claim: Option<(&Claim<'_>, &KeptAnswer)>,
        now_ms: i64,
    ) -> Result<Commit, StoreError> {
        let mut puts = Vec::new();
        if let Some((claim, answer)) = claim {
            let mut item = key_item(claim, now_ms.saturating_add(KEY_KEPT_MS));
            item.insert("code".to_owned(), number(i64::from(answer.status)));
            item.insert("body".to_owned(), text(&answer.body));
            let put = match claim.id {
                Some(id) => Put::builder()
                    .condition_expression("claim = :claim")
                    .expression_attribute_values(":claim", text(id)),
                None => {
                    Put::builder().condition_expression(KEY_IS_FREE).expression_attribute_values(":now", number(now_ms))
                }
            };
            puts.push((put, item));
        }
        for record in records {
            let put = if record.version <= 1 {
                Put::builder().condition_expression("attribute_not_exists(pk)")
            } else {
                Put::builder()
                    .condition_expression("version = :before")
                    .expression_attribute_values(":before", number(record.version.saturating_sub(1)))
            };
            puts.push((put, record_item(record)));
        }
        let mut request = self.client.transact_write_items();
        for (put, item) in puts {
            let put = put.table_name(&self.table).set_item(Some(item)).build();
            let put = put.map_err(|_| StoreError::Refused("the request could not be built".to_owned()))?;
            request = request.transact_items(TransactWriteItem::builder().put(put).build());
        }
        match request.send().await {
            Ok(_) => Ok(Commit::Done),
            Err(error) => {
                let ended = match error.as_service_error() {
                    Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
                        not_committed(canceled.cancellation_reasons(), claim.is_some())
                    }
                    _ => None,
                };
                ended.ok_or_else(|| error.into())
            }
        }
    }

    /// The JSON that [`Self::set_behaviour`] stored last.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn behaviour(&self) -> Result<Option<String>, StoreError> {
        let item = self.item("behaviour", "behaviour").await?;
        item.map(|item| Reader(&item).text("body").map(str::to_owned)).transpose()
    }

    /// Stores how the simulator shall behave.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn set_behaviour(&self, body: &str) -> Result<(), StoreError> {
        let request = self.client.put_item().table_name(&self.table);
        let request = request.item("pk", text("behaviour")).item("sk", text("behaviour"));
        request.item("body", text(body)).send().await?;
        Ok(())
    }

    async fn item(&self, pk: &str, sk: &str) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.table);
        let request = request.key("pk", text(pk)).key("sk", text(sk)).consistent_read(true);
        Ok(request.send().await?.item)
    }
}

/// What the reasons of a canceled transaction mean, if not that the table is out of order.
fn not_committed(reasons: &[CancellationReason], has_claim: bool) -> Option<Commit> {
    // The key's write comes first.
    if has_claim && reasons.first().and_then(CancellationReason::code) == Some(CONDITION_FAILED) {
        return Some(Commit::ClaimLost);
    }
    let is_conflict = |reason: &CancellationReason| matches!(reason.code(), Some(CONDITION_FAILED | CONFLICT));
    reasons.iter().any(is_conflict).then_some(Commit::Conflict)
}

fn key_partition(key: &str) -> String {
    format!("key#{key}")
}

fn key_item(claim: &Claim<'_>, until_ms: i64) -> Item {
    // Kept a little longer than it counts, so that DynamoDB never removes what still does.
    let ttl = until_ms / 1_000 + 60;
    Item::from([
        ("pk".to_owned(), text(key_partition(claim.key))),
        ("sk".to_owned(), text("key")),
        ("fingerprint".to_owned(), text(claim.fingerprint)),
        ("until_ms".to_owned(), number(until_ms)),
        ("ttl".to_owned(), number(ttl)),
    ])
}

fn record_item(record: &Record) -> Item {
    Item::from([
        ("pk".to_owned(), text(record.kind.partition())),
        ("sk".to_owned(), text(&record.id)),
        ("version".to_owned(), number(record.version)),
        ("body".to_owned(), text(&record.body)),
    ])
}

fn record(kind: Kind, item: &Item) -> Result<Record, StoreError> {
    let item = Reader(item);
    let (id, body) = (item.text("sk")?.to_owned(), item.text("body")?.to_owned());
    Ok(Record { kind, id, version: item.number("version")?, body })
}
