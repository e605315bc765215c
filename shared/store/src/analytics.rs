//! Counters by merchant, hour and currency, and the record of what has been counted.
//!
//! | table | pk | sk | attributes |
//! |---|---|---|---|
//! | analytics | merchant id | hour `#` currency `#` shard | `n_<status>` count, `a_<status>` amount, `f_<code>` failures, `l_<bucket>` latencies |
//! | idempotency | `analytics#` and a slice of time | | `ids`: the events counted that happened in that slice, `ttl` |
//!
//! Counting has no natural key, so the record of what was counted goes in the same transaction (invariant 6). A record
//! for each event would cost two write units each, more than all of the counting. Events that happened within the same
//! `SLICE_MS` share a record, so a batch costs a few writes however many events it has; an event always falls into the
//! same slice because its time is part of the fact.

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update},
};
use florin_domain::{
    analytics::{Ended, latency_bucket},
    ids::MerchantId,
    money::Currency,
    mutation::{Mutation, mutated},
    time::Timestamp,
};

use crate::{
    StoreError,
    attributes::{Item, Reader, number, text},
    transaction::{Transacted, transact},
};

/// Events in one transaction: each touches at most one counter and one slice, and DynamoDB takes 100 actions.
pub const EVENTS_PER_TRANSACTION_MAX: usize = 50;
/// Events that happened in the same slice share a record. Every batch rewrites its slice's record whole, which is
/// billed by the KiB: computed with batches of 50, one slice reaches a partition's 1,000 units a second at about 2,800
/// events a second. A shorter slice moves that up.
pub const SLICE_MS: i64 = 250;
/// For how long it is known what was counted, in seconds. A message lives 14 days, and 14 more as a dead letter.
pub const COUNTED_TTL_SECONDS: i64 = 35 * 24 * 60 * 60;
/// Items that a hot merchant's counter is spread over, so that two invocations seldom meet at one.
pub const COUNTER_SHARDS: u8 = 4;
/// Tries of a transaction that met another one or found some of its events counted already.
const TRIES_MAX: usize = 6;
/// Counter items read for one answer; the API bounds the range so that it is not reached.
const ITEMS_READ_MAX: usize = 50_000;

/// The analytics and idempotency tables.
#[derive(Debug, Clone)]
pub struct Analytics {
    client: Client,
    counters: String,
    counted: String,
}

/// The counters of a merchant for an hour and a currency.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payments by final status.
    pub count: BTreeMap<String, i64>,
    /// Minor units by final status.
    pub amount: BTreeMap<String, i64>,
    /// Failed payments by code.
    pub failure_codes: BTreeMap<String, i64>,
    /// Payments by latency bucket.
    pub latency: BTreeMap<u64, u64>,
}

impl Counters {
    /// Adds the other's counts to these.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.count, &other.count),
            (&mut self.amount, &other.amount),
            (&mut self.failure_codes, &other.failure_codes),
        ] {
            for (name, value) in theirs {
                let sum = mine.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*value);
            }
        }
        for (bucket, count) in &other.latency {
            *self.latency.entry(*bucket).or_default() += count;
        }
    }

    fn add(&mut self, ended: &Ended) {
        let status = ended.status.as_str().to_owned();
        *self.count.entry(status.clone()).or_default() += 1;
        let amount = self.amount.entry(status).or_default();
        *amount = amount.saturating_add(ended.amount);
        if let Some(code) = &ended.failure_code {
            *self.failure_codes.entry(code.clone()).or_default() += 1;
        }
        *self.latency.entry(latency_bucket(ended.latency_ms())).or_default() += 1;
    }
}

/// The counters of one hour and one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourCounters {
    /// Start of the hour.
    pub hour: Timestamp,
    /// The currency.
    pub currency: Currency,
    /// The counters.
    pub counters: Counters,
}

impl Analytics {
    /// The tables of these names.
    pub fn new(client: Client, counters: impl Into<String>, counted: impl Into<String>) -> Self {
        Self { client, counters: counters.into(), counted: counted.into() }
    }

    /// Whether the record of what was counted answers. Also warms the connection during init.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.client.get_item().table_name(&self.counted).key("pk", text("ping")).send().await?;
        Ok(())
    }

    /// The counters alone, for reading: what reads them has no business with the record of what was counted.
    pub fn reader(client: Client, counters: impl Into<String>) -> Self {
        Self::new(client, counters, "")
    }

    /// Counts these events, each once, however often it is told. All or nothing, in one transaction of at most
    /// `EVENTS_PER_TRANSACTION_MAX` events. `shard` is any number below `COUNTER_SHARDS`.
    pub async fn count(&self, events: &[Ended], shard: u8) -> Result<(), StoreError> {
        let mut pending: HashMap<&str, &Ended> = events.iter().map(|e| (e.event_id.as_str(), e)).collect();
        if pending.len() > EVENTS_PER_TRANSACTION_MAX {
            return Err(StoreError::Refused("too many events for one transaction".to_owned()));
        }
        for _ in 0..TRIES_MAX {
            if pending.is_empty() {
                return Ok(());
            }
            let slices = by_slice(pending.values().copied());
            let actions = self.actions(&slices, pending.values().copied(), shard)?;
            match transact(&self.client, actions).await? {
                Transacted::Done => return Ok(()),
                // Met another invocation at a counter: waiting for a redelivery would take a minute.
                Transacted::Passing => {}
                Transacted::Conditions(reasons) => {
                    let known: HashSet<&str> = reasons
                        .iter()
                        .filter_map(|reason| reason.item.as_ref()?.get("ids")?.as_ss().ok())
                        .flatten()
                        .map(String::as_str)
                        .collect();
                    let before = pending.len();
                    pending.retain(|id, _| !known.contains(short(id)));
                    if pending.len() == before {
                        return Err(StoreError::Corrupt { attribute: "ids" });
                    }
                }
            }
        }
        Err(StoreError::Unavailable("transactions kept meeting each other".to_owned()))
    }

    fn actions<'a>(
        &self,
        slices: &BTreeMap<i64, Vec<&Ended>>,
        pending: impl Iterator<Item = &'a Ended>,
        shard: u8,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let mut counters: BTreeMap<(MerchantId, String), Counters> = BTreeMap::new();
        for ended in pending {
            let sk = format!("{}#{}#{shard}", ended.created_at.hour(), ended.currency);
            counters.entry((ended.merchant_id.clone(), sk)).or_default().add(ended);
        }
        let records = slices.iter().map(|(slice, events)| self.record_action(*slice, events));
        let counts = counters.iter().map(|((merchant, sk), counters)| self.counter_action(merchant, sk, counters));
        let records = records.filter(|_| !mutated(Mutation::CountWithoutRecord));
        records
            .chain(counts)
            .map(|update| update.map(|update| TransactWriteItem::builder().update(update).build()))
            .collect()
    }

    /// Notes the events of a slice, if none of them is noted yet.
    fn record_action(&self, slice: i64, events: &[&Ended]) -> Result<Update, StoreError> {
        let ids: Vec<String> = events.iter().map(|ended| short(ended.event_id.as_str()).to_owned()).collect();
        let names: Vec<String> = (0..ids.len()).map(|i| format!("NOT contains(ids, :e{i})")).collect();
        let expires = slice * SLICE_MS / 1_000 + COUNTED_TTL_SECONDS;
        let mut update = Update::builder()
            .table_name(&self.counted)
            .key("pk", text(format!("analytics#{slice}")))
            .condition_expression(names.join(" AND "))
            .update_expression("ADD ids :ids SET #ttl = :ttl")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":ids", AttributeValue::Ss(ids.clone()))
            .expression_attribute_values(":ttl", number(expires))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        for (i, id) in ids.into_iter().enumerate() {
            update = update.expression_attribute_values(format!(":e{i}"), text(id));
        }
        update.build().map_err(|_| StoreError::Refused("incomplete update".to_owned()))
    }

    fn counter_action(&self, merchant: &MerchantId, sk: &str, counters: &Counters) -> Result<Update, StoreError> {
        let named = |prefix: &'static str, values: &BTreeMap<String, i64>| {
            values.iter().map(move |(name, value)| (format!("{prefix}{name}"), *value)).collect::<Vec<_>>()
        };
        let latencies = counters.latency.iter();
        let latencies = latencies.map(|(bucket, n)| (format!("l_{bucket}"), i64::try_from(*n).unwrap_or(i64::MAX)));
        let additions = named("n_", &counters.count)
            .into_iter()
            .chain(named("a_", &counters.amount))
            .chain(named("f_", &counters.failure_codes))
            .chain(latencies);
        let mut update =
            Update::builder().table_name(&self.counters).key("pk", text(merchant.as_str())).key("sk", text(sk));
        let mut terms = Vec::new();
        for (i, (name, value)) in additions.enumerate() {
            terms.push(format!("#a{i} :a{i}"));
            update = update
                .expression_attribute_names(format!("#a{i}"), name)
                .expression_attribute_values(format!(":a{i}"), number(value));
        }
        update
            .update_expression(format!("ADD {}", terms.join(", ")))
            .build()
            .map_err(|_| StoreError::Refused("incomplete update".to_owned()))
    }

    /// The merchant's counters of the hours that begin between `from` (inclusive) and `to` (exclusive), in order of
    /// hour and currency.
    pub async fn hours(
        &self,
        merchant: &MerchantId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<HourCounters>, StoreError> {
        let mut sums: BTreeMap<(Timestamp, &'static str), HourCounters> = BTreeMap::new();
        let mut start: Option<Item> = None;
        let mut read = 0;
        // DynamoDB refuses a range that ends before it begins.
        if from >= to {
            return Ok(Vec::new());
        }
        loop {
            // A sort key is the hour and more, so it comes right behind its bare hour: `to` itself is left out.
            let query = self
                .client
                .query()
                .table_name(&self.counters)
                .key_condition_expression("pk = :m AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":m", text(merchant.as_str()))
                .expression_attribute_values(":from", text(from.to_string()))
                .expression_attribute_values(":to", text(to.to_string()))
                .set_exclusive_start_key(start.take());
            let output = query.send().await?;
            for item in output.items() {
                let hour = hour_counters(item)?;
                let sum = sums.entry((hour.hour, hour.currency.code())).or_insert_with(|| HourCounters {
                    hour: hour.hour,
                    currency: hour.currency,
                    counters: Counters::default(),
                });
                sum.counters.merge(&hour.counters);
            }
            read += output.items().len();
            start = output.last_evaluated_key;
            if start.is_none() || read >= ITEMS_READ_MAX {
                return Ok(sums.into_values().collect());
            }
        }
    }
}

fn by_slice<'a>(events: impl Iterator<Item = &'a Ended>) -> BTreeMap<i64, Vec<&'a Ended>> {
    let mut slices: BTreeMap<i64, Vec<&Ended>> = BTreeMap::new();
    for ended in events {
        slices.entry(ended.ended_at.ms() / SLICE_MS).or_default().push(ended);
    }
    slices
}

/// An event id without its prefix, which a record need not repeat.
fn short(event_id: &str) -> &str {
    event_id.strip_prefix("evt_").unwrap_or(event_id)
}

fn hour_counters(item: &Item) -> Result<HourCounters, StoreError> {
    let corrupt = || StoreError::Corrupt { attribute: "sk" };
    let mut parts = Reader(item).text("sk")?.split('#');
    let hour = parts.next().and_then(Timestamp::parse).ok_or_else(corrupt)?;
    let currency = parts.next().and_then(Currency::parse).ok_or_else(corrupt)?;
    let mut counters = Counters::default();
    for (name, value) in item {
        let AttributeValue::N(digits) = value else { continue };
        let value: i64 = digits.parse().map_err(|_| StoreError::Corrupt { attribute: "n_, a_, f_ or l_" })?;
        match name.split_once('_') {
            Some(("n", status)) => {
                counters.count.insert(status.to_owned(), value);
            }
            Some(("a", status)) => {
                counters.amount.insert(status.to_owned(), value);
            }
            Some(("f", code)) => {
                counters.failure_codes.insert(code.to_owned(), value);
            }
            Some(("l", bucket)) => {
                let bucket = bucket.parse().map_err(|_| StoreError::Corrupt { attribute: "l_" })?;
                counters.latency.insert(bucket, u64::try_from(value).unwrap_or(0));
            }
            _ => {}
        }
    }
    Ok(HourCounters { hour, currency, counters })
}
