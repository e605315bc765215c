//! The due index: every open payment and refund stands in it, with the moment at which somebody must look at it
//! (invariant 3).
//!
//! What ends in the processor leaves it with its last write, because that costs least. What ends by a command or as a
//! refund stays until its event is published, so that the event cannot be lost either.

use florin_domain::{
    payment::{Payment, Status},
    refund::Refund,
    time::{MS_PER_HOUR, Timestamp},
};

use super::{
    PAGE_ITEMS_MAX, Payments,
    items::{payment_from, refund_from},
};
use crate::{
    StoreError,
    attributes::{Item, Reader, moment, number, text},
    error::unless_refused,
};

/// Partitions of the due index: each takes 1,000 writes a second.
pub const DUE_SHARDS: u8 = 8;
/// When somebody must look at what nothing has ended, in milliseconds.
pub const DUE_AFTER_MS: i64 = 60_000;
/// How long before its moment a scheduled payment is handed to SQS, in milliseconds. SQS delays 15 minutes at most; the
/// sweeper comes every minute.
pub const HANDOVER_MS: i64 = 10 * 60_000;
/// When a held payment is looked at again, in milliseconds: only to say that it is still held.
pub const HELD_REVIEW_MS: i64 = 7 * 24 * MS_PER_HOUR;
/// When something stuck is reported again, in milliseconds: within every hour, which is the alarm's period.
pub const STUCK_REPORT_MS: i64 = MS_PER_HOUR * 5 / 6;
/// Items of one shard that a search for stuck ones reads.
const STUCK_SEARCH_ITEMS_MAX: usize = 2_000;

/// What stands in the due index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// A payment.
    Payment(Payment),
    /// A refund.
    Refund(Refund),
}

/// What waits for a person.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stuck {
    /// Some of it.
    pub found: Vec<Due>,
    /// There is more, or there may be: more is due than is looked through.
    pub has_more: bool,
}

/// A page of the due index.
struct DuePage {
    found: Vec<Due>,
    unreadable: Option<StoreError>,
    next: Option<Item>,
}

impl Due {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Payment(payment) => payment.id.as_str(),
            Self::Refund(refund) => refund.id.as_str(),
        }
    }

    const fn version(&self) -> i64 {
        match self {
            Self::Payment(payment) => payment.version,
            Self::Refund(refund) => refund.version,
        }
    }

    /// Whether a person must look at it.
    pub const fn is_stuck(&self) -> bool {
        match self {
            Self::Payment(payment) => payment.stuck.is_some(),
            Self::Refund(refund) => refund.stuck.is_some(),
        }
    }
}

/// Whether a wait is the due index' rather than a queue's: it comes back before its moment to hand over the rest.
pub const fn is_far(wait_ms: i64) -> bool {
    wait_ms > HANDOVER_MS + DUE_AFTER_MS
}

/// When somebody must look at a payment that was just created, changed or looked at.
pub fn due_at(payment: &Payment, now: Timestamp) -> Timestamp {
    let waits_until = payment.process_at.filter(|at| *at > now && payment.status == Status::Scheduled);
    match waits_until {
        Some(at) if is_far(at.ms_since(now)) => at.plus_ms(-HANDOVER_MS),
        Some(at) => at.plus_ms(DUE_AFTER_MS),
        None => now.plus_ms(DUE_AFTER_MS),
    }
}

/// The shard of the due index in which an item stands.
pub(super) fn due_shard(id: &str) -> String {
    let sum: u32 = id.bytes().map(u32::from).sum();
    (sum % u32::from(DUE_SHARDS)).to_string()
}

impl Payments {
    /// What somebody should have looked at by `now`, oldest first, at most `limit` of one shard; and why some of it
    /// could not be read, if so. It must not hold up the others.
    pub async fn due(
        &self,
        shard: u8,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Due>, Option<StoreError>), StoreError> {
        let page = self.due_page(shard, now, limit.min(PAGE_ITEMS_MAX), None).await?;
        Ok((page.found, page.unreadable))
    }

    /// Open payments and refunds that wait for a person, at most `limit` of all shards. The sweeper looks at them again
    /// within [`STUCK_REPORT_MS`], so what is due later, as most of what is scheduled, is not read.
    pub async fn stuck(&self, limit: usize, now: Timestamp) -> Result<Stuck, StoreError> {
        let until = now.plus_ms(STUCK_REPORT_MS + DUE_AFTER_MS);
        let shards = (0..DUE_SHARDS).map(|shard| self.stuck_in(shard, limit, until));
        let mut stuck = Stuck::default();
        for shard in futures::future::try_join_all(shards).await? {
            stuck.found.extend(shard.found);
            stuck.has_more |= shard.has_more;
        }
        stuck.has_more |= stuck.found.len() > limit;
        stuck.found.truncate(limit);
        Ok(stuck)
    }

    async fn stuck_in(&self, shard: u8, limit: usize, until: Timestamp) -> Result<Stuck, StoreError> {
        let (mut found, mut start, mut read) = (Vec::new(), None, 0);
        loop {
            let page = self.due_page(shard, until, PAGE_ITEMS_MAX, start).await?;
            read += PAGE_ITEMS_MAX;
            found.extend(page.found.into_iter().filter(Due::is_stuck));
            start = page.next;
            if start.is_none() || found.len() > limit || read >= STUCK_SEARCH_ITEMS_MAX {
                return Ok(Stuck { found, has_more: start.is_some() });
            }
        }
    }

    async fn due_page(
        &self,
        shard: u8,
        until: Timestamp,
        limit: usize,
        start: Option<Item>,
    ) -> Result<DuePage, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("due")
            .key_condition_expression("ds = :shard AND da <= :until")
            .expression_attribute_values(":shard", text(shard.to_string()))
            .expression_attribute_values(":until", moment(until))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start);
        let output = query.send().await?;
        let keys =
            output.items().iter().map(|item| Ok(Item::from([("pk".to_owned(), text(Reader(item).text("pk")?))])));
        let keys = keys.collect::<Result<Vec<_>, StoreError>>()?;
        let items = crate::batch_get(&self.client, &self.table, &keys).await?;
        let mut page = DuePage { found: Vec::new(), unreadable: None, next: output.last_evaluated_key };
        for item in &items {
            let read = if item.contains_key("pay") {
                refund_from(item).map(Due::Refund)
            } else {
                payment_from(item).map(Due::Payment)
            };
            match read {
                Ok(due) => page.found.push(due),
                Err(error) => {
                    let id = Reader(item).text_if_any("pk").unwrap_or_default();
                    tracing::error!(id, %error, "what is due cannot be read");
                    page.unreadable = Some(error);
                }
            }
        }
        Ok(page)
    }

    /// Moves an item's place in the due index, unless it has changed since. Two sweepers may overlap: the second one
    /// changes nothing. Neither status nor version move.
    pub async fn postpone_due(&self, due: &Due, due_at: Timestamp) -> Result<(), StoreError> {
        let update =
            self.touch(due).update_expression("SET da = :due").expression_attribute_values(":due", moment(due_at));
        unless_refused(update.send().await).map(|_| ())
    }

    /// Takes what has ended, and whose event is published, out of the due index.
    pub async fn leave_due(&self, due: &Due) -> Result<(), StoreError> {
        unless_refused(self.touch(due).update_expression("REMOVE ds, da").send().await).map(|_| ())
    }

    fn touch(&self, due: &Due) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(due.id()))
            .condition_expression("v = :v AND attribute_exists(da)")
            .expression_attribute_values(":v", number(due.version()))
    }
}
