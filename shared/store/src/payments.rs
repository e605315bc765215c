//! The payments table: payments with their journal, in one item.
//!
//! Attribute names are short because a write is billed by the KiB; a card payment with its whole journal stays below
//! one.
//!
//! | attribute | meaning |
//! |---|---|
//! | `pk`, `m` | payment id, merchant id |
//! | `st`, `v` | status, version |
//! | `am`, `c`, `re` | amount, currency, amount refunded |
//! | `s` | source: `b` brand, `l` last four, `e` expiry, `h` holder, `t` gateway token |
//! | `d`, `md`, `u` | description, metadata, webhook URL |
//! | `fc`, `fm`, `gr` | failure code and message, gateway reference |
//! | `x` | stuck |
//! | `ca`, `ua`, `le` | created at, updated at, lease until |
//! | `j` | journal: `s` step, `n` attempt, `o` outcome, `b` began, `e` ended, `c` and `m` error, `d` next due |
//! | `ds`, `da` | shard and moment of the due index; gone once the payment has ended |
//!
//! `by_merchant` carries only what never changes, so no later write touches it.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use florin_domain::{
    card::Brand,
    card::Expiry,
    ids::{MerchantId, PaymentId},
    journal::{Failure, JournalEntry, Step, StepOutcome},
    money::{Currency, Money},
    payment::{CardSource, Payment, Status},
    saga,
    time::Timestamp,
};

use crate::{
    StoreError,
    attributes::{Item, Reader, moment, number, text},
};

/// Partitions of the due index: each takes 1,000 writes a second.
pub const DUE_SHARDS: u8 = 8;
/// When somebody must look at a payment that nothing has ended.
pub const DUE_AFTER_MS: i64 = 60_000;
/// Payments on one page.
pub const PAGE_ITEMS_MAX: usize = 100;
/// Index pages read for one page of a filtered list; then the page ends early, with a cursor.
pub const INDEX_PAGES_MAX: usize = 10;

/// The payments table.
#[derive(Debug, Clone)]
pub struct Payments {
    client: Client,
    table: String,
}

/// What became of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The write happened; this is the item now.
    Done(Payment),
    /// Somebody else was first; this is the item now.
    Lost(Payment),
}

/// Which payments, newest first.
#[derive(Debug, Clone)]
pub struct Listing {
    /// How many at most, up to `PAGE_ITEMS_MAX`.
    pub limit: usize,
    /// Only those after this place.
    pub after: Option<Place>,
    /// Only those with this status.
    pub status: Option<Status>,
    /// Only those in this currency.
    pub currency: Option<Currency>,
    /// Only those created at or after this moment.
    pub created_from: Timestamp,
    /// Only those created at or before this moment.
    pub created_to: Timestamp,
}

/// A place in the list of a merchant's payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Created at.
    pub created_at: Timestamp,
    /// The payment there.
    pub id: PaymentId,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The payments, newest first.
    pub payments: Vec<Payment>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Place>,
}

impl Payments {
    /// The table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Writes a new payment if there is none of its id: the payment is its own idempotency record (invariant 1).
    pub async fn create(&self, payment: &Payment) -> Result<Written, StoreError> {
        let mut item = to_item(payment);
        item.insert("ds".to_owned(), text(due_shard(&payment.id)));
        item.insert("da".to_owned(), moment(payment.created_at.plus_ms(DUE_AFTER_MS)));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(Written::Done(payment.clone())),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let winner = winner(match error.into_err() {
                    aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(e) => e.item,
                    _ => None,
                })?;
                // The SDK tries a lost call again: what stands there may be our own first try.
                Ok(if winner == *payment { Written::Done(winner) } else { Written::Lost(winner) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Claims a pending payment for a processor, without having read it: the journal says what is intended, the lease
    /// keeps others away. `Lost` if it is not pending (any more).
    pub async fn claim_pending(
        &self,
        id: &PaymentId,
        journal: &[JournalEntry],
        now: Timestamp,
    ) -> Result<Option<Written>, StoreError> {
        let lease = now.plus_ms(saga::LEASE_MS);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(id.as_str()))
            .condition_expression("st = :pending")
            .update_expression("SET st = :processing, v = v + :one, ua = :now, le = :lease, j = :journal")
            .expression_attribute_values(":pending", text(Status::Pending.as_str()))
            .expression_attribute_values(":processing", text(Status::Processing.as_str()))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", moment(now))
            .expression_attribute_values(":lease", moment(lease))
            .expression_attribute_values(":journal", journal_value(journal))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(output) => winner(output.attributes).map(Written::Done).map(Some),
            // Our own first try may stand there, if its answer was lost. We cannot tell it from another processor's
            // within the same millisecond, and waiting for the lease to end is safe.
            Err(error) => Ok(lost_update(error)?.map(Written::Lost)),
        }
    }

    /// Claims a payment that was under way before, as `saga::claim` has it. `Lost` if it has changed since.
    pub async fn claim_again(&self, from: &Payment, claimed: &Payment) -> Result<Option<Written>, StoreError> {
        self.replace(from, claimed).await
    }

    /// Replaces `from` by `to`, if nobody has changed the payment since. A payment that has ended leaves the due index.
    pub async fn save(&self, from: &Payment, to: &Payment) -> Result<Option<Written>, StoreError> {
        Ok(match self.replace(from, to).await? {
            // The SDK tries a lost call again: what stands there is our own first try.
            Some(Written::Lost(winner)) if winner == *to => Some(Written::Done(winner)),
            written => written,
        })
    }

    async fn replace(&self, from: &Payment, to: &Payment) -> Result<Option<Written>, StoreError> {
        let mut set = vec!["st = :st", "v = :v", "ua = :ua", "j = :j"];
        let mut remove = Vec::new();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(to.id.as_str()))
            .condition_expression("v = :from")
            .expression_attribute_values(":from", number(from.version))
            .expression_attribute_values(":st", text(to.status.as_str()))
            .expression_attribute_values(":v", number(to.version))
            .expression_attribute_values(":ua", moment(to.updated_at))
            .expression_attribute_values(":j", journal_value(&to.journal));
        match to.lease_until {
            Some(lease) => {
                set.push("le = :le");
                update = update.expression_attribute_values(":le", moment(lease));
            }
            None => remove.push("le"),
        }
        if let Some(failure) = &to.failure {
            set.extend(["fc = :fc", "fm = :fm"]);
            update = update
                .expression_attribute_values(":fc", text(&failure.code))
                .expression_attribute_values(":fm", text(&failure.message));
        }
        if let Some(reference) = &to.gateway_reference {
            set.push("gr = :gr");
            update = update.expression_attribute_values(":gr", text(reference));
        }
        if to.stuck {
            set.push("x = :x");
            update = update.expression_attribute_values(":x", AttributeValue::Bool(true));
        }
        if to.status.is_terminal() {
            remove.extend(["ds", "da"]);
        }
        let mut expression = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            expression = format!("{expression} REMOVE {}", remove.join(", "));
        }
        let update = update
            .update_expression(expression)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(_) => Ok(Some(Written::Done(to.clone()))),
            Err(error) => Ok(lost_update(error)?.map(Written::Lost)),
        }
    }

    /// The merchant's payment of this id; another merchant's is none.
    pub async fn get(&self, merchant: &MerchantId, id: &PaymentId) -> Result<Option<Payment>, StoreError> {
        Ok(self.get_of_any_merchant(id).await?.filter(|payment| payment.merchant_id == *merchant))
    }

    /// The payment of this id, whoever's it is: for the processor and the sweeper only.
    pub async fn get_of_any_merchant(&self, id: &PaymentId) -> Result<Option<Payment>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).key("pk", text(id.as_str())).consistent_read(true);
        request.send().await?.item.map(|item| from_item(&item)).transpose()
    }

    /// A page of the merchant's payments. A filter by status reads on until the page is full, `INDEX_PAGES_MAX` index
    /// pages have been read, or there are no more.
    pub async fn list(&self, merchant: &MerchantId, listing: &Listing) -> Result<Page, StoreError> {
        let limit = listing.limit.clamp(1, PAGE_ITEMS_MAX);
        let mut payments = Vec::new();
        let mut after = listing.after.clone();
        for _ in 0..INDEX_PAGES_MAX {
            let (places, last) = self.index_page(merchant, listing, after.as_ref(), limit).await?;
            let found = self.batch_get(&places).await?;
            for place in &places {
                let Some(payment) = found.get(&place.id) else { continue };
                if listing.status.is_none_or(|status| payment.status == status) {
                    payments.push(payment.clone());
                }
                if payments.len() == limit {
                    let more = last.is_some() || places.last() != Some(place);
                    return Ok(Page { payments, next: more.then(|| place.clone()) });
                }
            }
            after = last;
            if after.is_none() {
                break;
            }
        }
        Ok(Page { payments, next: after })
    }

    async fn index_page(
        &self,
        merchant: &MerchantId,
        listing: &Listing,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<(Vec<Place>, Option<Place>), StoreError> {
        let start = after.map(|place| {
            Item::from([
                ("pk".to_owned(), text(place.id.as_str())),
                ("m".to_owned(), text(merchant.as_str())),
                ("ca".to_owned(), moment(place.created_at)),
            ])
        });
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_merchant")
            .key_condition_expression("m = :m AND ca BETWEEN :from AND :to")
            .expression_attribute_values(":m", text(merchant.as_str()))
            .expression_attribute_values(":from", moment(listing.created_from))
            .expression_attribute_values(":to", moment(listing.created_to))
            .scan_index_forward(false)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start);
        if let Some(currency) = listing.currency {
            query = query.filter_expression("c = :c").expression_attribute_values(":c", text(currency.code()));
        }
        let output = query.send().await?;
        let place = |item: &Item| {
            let item = Reader(item);
            Ok::<_, StoreError>(Place { created_at: item.moment("ca")?, id: item.parsed("pk")? })
        };
        let places = output.items().iter().map(place).collect::<Result<Vec<_>, _>>()?;
        Ok((places, output.last_evaluated_key.as_ref().map(place).transpose()?))
    }

    async fn batch_get(&self, places: &[Place]) -> Result<HashMap<PaymentId, Payment>, StoreError> {
        let key = |place: &Place| Item::from([("pk".to_owned(), text(place.id.as_str()))]);
        let keys: Vec<Item> = places.iter().map(key).collect();
        let items = crate::batch_get(&self.client, &self.table, &keys).await?;
        let payments = items.iter().map(from_item).map(|payment| payment.map(|payment| (payment.id.clone(), payment)));
        payments.collect()
    }

    /// Open payments that somebody should have looked at by `now`, oldest first, at most `limit` of one shard.
    pub async fn due(&self, shard: u8, now: Timestamp, limit: usize) -> Result<Vec<Payment>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("due")
            .key_condition_expression("ds = :shard AND da <= :now")
            .expression_attribute_values(":shard", text(shard.to_string()))
            .expression_attribute_values(":now", moment(now))
            .limit(i32::try_from(limit.min(PAGE_ITEMS_MAX)).unwrap_or(i32::MAX));
        let items = query.send().await?.items.unwrap_or_default();
        let keys = items.iter().map(|item| Ok(Item::from([("pk".to_owned(), text(Reader(item).text("pk")?))])));
        let keys = keys.collect::<Result<Vec<_>, StoreError>>()?;
        let items = crate::batch_get(&self.client, &self.table, &keys).await?;
        items.iter().map(from_item).collect()
    }

    /// Moves an open payment's place in the due index, unless the payment has changed since. Two sweepers may overlap:
    /// the second one changes nothing. Neither status nor version move.
    pub async fn postpone_due(&self, payment: &Payment, due_at: Timestamp) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(payment.id.as_str()))
            .condition_expression("v = :v AND attribute_exists(da)")
            .update_expression("SET da = :due")
            .expression_attribute_values(":v", number(payment.version))
            .expression_attribute_values(":due", moment(due_at));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The shard of the due index in which a payment stands.
fn due_shard(id: &PaymentId) -> String {
    let sum: u32 = id.as_str().bytes().map(u32::from).sum();
    (sum % u32::from(DUE_SHARDS)).to_string()
}

fn winner(item: Option<Item>) -> Result<Payment, StoreError> {
    from_item(&item.ok_or(StoreError::Corrupt { attribute: "pk" })?)
}

/// The state that beat a conditional update; `None` if there is no such item.
fn lost_update<R: std::fmt::Debug>(
    error: SdkError<aws_sdk_dynamodb::operation::update_item::UpdateItemError, R>,
) -> Result<Option<Payment>, StoreError> {
    use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
    match error {
        SdkError::ServiceError(error) if error.err().is_conditional_check_failed_exception() => {
            match error.into_err() {
                UpdateItemError::ConditionalCheckFailedException(failed) => {
                    failed.item.as_ref().map(from_item).transpose()
                }
                _ => Ok(None),
            }
        }
        error => Err(error.into()),
    }
}

fn to_item(payment: &Payment) -> Item {
    let mut item = Item::from([
        ("pk".to_owned(), text(payment.id.as_str())),
        ("m".to_owned(), text(payment.merchant_id.as_str())),
        ("st".to_owned(), text(payment.status.as_str())),
        ("v".to_owned(), number(payment.version)),
        ("am".to_owned(), number(payment.money.amount())),
        ("c".to_owned(), text(payment.money.currency().code())),
        ("s".to_owned(), source_value(&payment.source)),
        ("ca".to_owned(), moment(payment.created_at)),
        ("ua".to_owned(), moment(payment.updated_at)),
        ("j".to_owned(), journal_value(&payment.journal)),
    ]);
    let mut optional = |name: &str, value: Option<AttributeValue>| {
        if let Some(value) = value {
            item.insert(name.to_owned(), value);
        }
    };
    optional("d", payment.description.as_ref().map(text));
    optional("u", payment.webhook_url.as_ref().map(text));
    let metadata = payment.metadata.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    optional("md", (!payment.metadata.is_empty()).then_some(AttributeValue::M(metadata)));
    item
}

fn source_value(source: &CardSource) -> AttributeValue {
    AttributeValue::M(Item::from([
        ("b".to_owned(), text(source.brand.as_str())),
        ("l".to_owned(), text(&source.last4)),
        ("e".to_owned(), text(source.expiry.to_string())),
        ("h".to_owned(), text(&source.holder_name)),
        ("t".to_owned(), text(&source.token)),
    ]))
}

fn journal_value(journal: &[JournalEntry]) -> AttributeValue {
    AttributeValue::L(journal.iter().map(|entry| AttributeValue::M(entry_item(entry))).collect())
}

fn entry_item(entry: &JournalEntry) -> Item {
    let mut item = Item::from([
        ("s".to_owned(), text(entry.step.as_str())),
        ("n".to_owned(), number(entry.attempt)),
        ("b".to_owned(), moment(entry.started_at)),
    ]);
    if let Some(outcome) = entry.outcome {
        item.insert("o".to_owned(), text(outcome.as_str()));
    }
    if let Some(ended_at) = entry.ended_at {
        item.insert("e".to_owned(), moment(ended_at));
    }
    if let Some(error) = &entry.error {
        item.insert("c".to_owned(), text(&error.code));
        item.insert("m".to_owned(), text(&error.message));
    }
    if let Some(next_due) = entry.next_due {
        item.insert("d".to_owned(), moment(next_due));
    }
    item
}

fn failure(item: &Reader<'_>, code: &'static str, message: &'static str) -> Option<Failure> {
    item.text_if_any(code).map(|code| Failure {
        code: code.to_owned(),
        message: item.text_if_any(message).unwrap_or_default().to_owned(),
    })
}

fn from_item(item: &Item) -> Result<Payment, StoreError> {
    let item = Reader(item);
    let source = item.map("s")?;
    let corrupt = |attribute| StoreError::Corrupt { attribute };
    let metadata = match item.map("md") {
        Ok(map) => map.0.iter().filter_map(|(name, value)| Some((name.clone(), value.as_s().ok()?.clone()))).collect(),
        Err(_) => BTreeMap::new(),
    };
    Ok(Payment {
        id: item.parsed("pk")?,
        merchant_id: item.parsed("m")?,
        status: Status::from_name(item.text("st")?).ok_or_else(|| corrupt("st"))?,
        version: item.number("v")?,
        money: Money::new(item.number("am")?, item.parsed("c")?),
        amount_refunded: item.number_if_any("re")?.unwrap_or(0),
        source: CardSource {
            brand: Brand::from_name(source.text("b")?),
            last4: source.text("l")?.to_owned(),
            expiry: Expiry::parse(source.text("e")?).ok_or_else(|| corrupt("s.e"))?,
            holder_name: source.text("h")?.to_owned(),
            token: source.text("t")?.to_owned(),
        },
        description: item.text_if_any("d").map(str::to_owned),
        metadata,
        webhook_url: item.text_if_any("u").map(str::to_owned),
        failure: failure(&item, "fc", "fm"),
        gateway_reference: item.text_if_any("gr").map(str::to_owned),
        stuck: item.flag("x"),
        created_at: item.moment("ca")?,
        updated_at: item.moment("ua")?,
        journal: item.list("j").iter().map(from_entry).collect::<Result<_, _>>()?,
        lease_until: item.moment_if_any("le")?,
    })
}

fn from_entry(value: &AttributeValue) -> Result<JournalEntry, StoreError> {
    let corrupt = |attribute| StoreError::Corrupt { attribute };
    let item = Reader(value.as_m().map_err(|_| corrupt("j"))?);
    Ok(JournalEntry {
        step: Step::from_name(item.text("s")?).ok_or_else(|| corrupt("j.s"))?,
        attempt: item.number("n")?,
        outcome: item.text_if_any("o").and_then(StepOutcome::from_name),
        started_at: item.moment("b")?,
        ended_at: item.moment_if_any("e")?,
        error: failure(&item, "c", "m"),
        next_due: item.moment_if_any("d")?,
    })
}
