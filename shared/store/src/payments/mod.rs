//! The payments table: payments with their journal, in one item each, and refunds with theirs.
//!
//! Attribute names are short because a write is billed by the KiB; a card payment with its whole journal stays below
//! one. Of a payment:
//!
//! | attribute | meaning |
//! |---|---|
//! | `pk`, `m` | payment id, merchant id |
//! | `st`, `v` | status, version |
//! | `am`, `c` | amount, currency |
//! | `re`, `rr`, `rf` | amount refunded, amount reserved by refunds, their ids |
//! | `ra`, `rn` | when a refund last gave money back, and how many have; the version does not count them |
//! | `s` | source: `b` brand, `l` last four, `e` expiry, `h` holder, `t` gateway token; if stored, `i` payment method, `g` gateway customer |
//! | `d`, `md`, `u` | description, metadata, webhook URL |
//! | `cu` | merchant id `#` customer, by which the index `by_customer` finds it; absent without a customer |
//! | `fc`, `fm`, `gr` | failure code and message, gateway reference |
//! | `x`, `xm` | code and message of why it is stuck |
//! | `ca`, `ua`, `le` | created at, updated at, lease until |
//! | `pa`, `cr` | process at, cancel requested at |
//! | `ci` | the client's `X-Correlation-Id`; absent without one |
//! | `er` | when everything that tells of a person was erased |
//! | `j` | journal: `s` step, `n` attempt, `o` outcome, `b` began, `e` ended, `c` and `m` error, `d` next due, `t` note |
//! | `ds`, `da` | shard and moment of the due index; gone once it has ended and that is known |
//!
//! A refund has the same, without `s`, `u`, `cu` and the attributes of refunds, and `pay` its payment, `ch` the
//! charge, `d` the reason, `al` whether all that was left was asked for; its `m` begins with `refunds#`. The circuit
//! breaker around the gateway is the item `breaker#gateway` ([`crate::breaker`]).
//!
//! `by_merchant` carries only what never changes, so no later write touches it. Neither does one touch `by_customer`,
//! but for the one that erases the customer; a payment without a customer is not in it and costs nothing there.

mod due;
mod erase;
mod items;
mod list;
mod refunds;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use florin_domain::{
    effect::LEASE_MS,
    ids::{MerchantId, PaymentId},
    journal::JournalEntry,
    mutation::{Mutation, mutated},
    payment::{Payment, Status},
    time::Timestamp,
};

pub use due::{DUE_AFTER_MS, DUE_SHARDS, Due, HANDOVER_MS, HELD_REVIEW_MS, STUCK_REPORT_MS, Stuck, due_at, is_far};
pub use list::{INDEX_PAGES_MAX, Listed, Listing, PAGE_ITEMS_MAX, Page, Place};
pub use refunds::{RefundWritten, Reserved};

use crate::{
    StoreError,
    attributes::{Item, moment, number, text},
};
use due::due_shard;
use items::{failure_items, journal_value, payment_from, payment_item};

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

impl Payments {
    /// The table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Writes a new payment if there is none of its id: the payment is its own idempotency record (invariant 1).
    pub async fn create(&self, payment: &Payment) -> Result<Written, StoreError> {
        let mut item = payment_item(payment);
        if !mutated(Mutation::NoDueIndex) {
            item.insert("ds".to_owned(), text(due_shard(payment.id.as_str())));
            item.insert("da".to_owned(), moment(due_at(payment, payment.created_at)));
        }
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
    /// keeps others away. `Lost` if it is not pending (any more), or if anything has happened to it since it was
    /// created.
    pub async fn claim_pending(
        &self,
        id: &PaymentId,
        journal: &[JournalEntry],
        now: Timestamp,
    ) -> Result<Option<Written>, StoreError> {
        let lease = now.plus_ms(LEASE_MS);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(id.as_str()))
            .condition_expression(if mutated(Mutation::NoConditionOnClaim) {
                "attribute_exists(pk) OR st = :pending"
            } else {
                "st = :pending AND v = :one"
            })
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
    /// One that completes does so only if its withdrawal has not been asked for meanwhile: `Lost` then has the same
    /// version, and the moment at which it was.
    pub async fn save(&self, from: &Payment, to: &Payment) -> Result<Option<Written>, StoreError> {
        Ok(own(self.replace(from, to).await?, to))
    }

    /// Stores what a command made of the payment, if nobody has changed it since. It stands in the due index from `now`
    /// on, even if it has ended, until its event is published and `leave_due` takes it out.
    pub async fn command(&self, from: &Payment, to: &Payment, now: Timestamp) -> Result<Option<Written>, StoreError> {
        let mut change = self.change(from, to);
        change.set("ds", text(due_shard(to.id.as_str())));
        change.set("da", moment(now.plus_ms(DUE_AFTER_MS)));
        Ok(own(self.send(change, to).await?, to))
    }

    /// Asks the processor that has the payment to give back what it takes. The version does not move, or the processor
    /// could not write down what it did. `Lost` if the payment is not processed (any more).
    pub async fn request_cancel(&self, payment: &Payment, now: Timestamp) -> Result<Option<Written>, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(payment.id.as_str()))
            .condition_expression("st = :processing")
            .update_expression("SET cr = if_not_exists(cr, :now)")
            .expression_attribute_values(":processing", text(Status::Processing.as_str()))
            .expression_attribute_values(":now", moment(now))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(output) => winner(output.attributes).map(Written::Done).map(Some),
            Err(error) => Ok(lost_update(error)?.map(Written::Lost)),
        }
    }

    async fn replace(&self, from: &Payment, to: &Payment) -> Result<Option<Written>, StoreError> {
        let mut change = self.change(from, to);
        if to.status.is_terminal() {
            change.remove("ds");
            change.remove("da");
        }
        self.send(change, to).await
    }

    /// Everything about a payment that may change, and the condition under which it does.
    fn change(&self, from: &Payment, to: &Payment) -> Change {
        let mut change = Change {
            condition: "v = :from".to_owned(),
            values: vec![(":from".to_owned(), number(from.version))],
            ..Change::default()
        };
        if to.status == Status::Completed && from.status == Status::Processing && from.stuck.is_none() {
            change.condition.push_str(" AND attribute_not_exists(cr)");
        }
        change.set("st", text(to.status.as_str()));
        change.set("v", number(to.version));
        change.set("ua", moment(to.updated_at));
        change.set("j", journal_value(&to.journal));
        change.set_or_remove("le", to.lease_until.map(moment), from.lease_until.is_some());
        change.set_or_remove("gr", to.gateway_reference.as_ref().map(text), from.gateway_reference.is_some());
        let (code, message) = failure_items(to.failure.as_ref());
        change.set_or_remove("fc", code, false);
        change.set_or_remove("fm", message, false);
        let (code, message) = failure_items(to.stuck.as_ref());
        change.set_or_remove("x", code, from.stuck.is_some());
        change.set_or_remove("xm", message, from.stuck.is_some());
        change
    }

    async fn send(&self, change: Change, to: &Payment) -> Result<Option<Written>, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(to.id.as_str()))
            .update_expression(change.expression())
            .condition_expression(change.condition)
            .set_expression_attribute_values(Some(change.values.into_iter().collect()))
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
        request.send().await?.item.map(|item| payment_from(&item)).transpose()
    }
}

/// The parts of an update expression, by attribute name; the placeholder of a value is the name behind a colon.
#[derive(Default)]
struct Change {
    condition: String,
    set: Vec<&'static str>,
    remove: Vec<&'static str>,
    values: Vec<(String, AttributeValue)>,
}

impl Change {
    fn set(&mut self, name: &'static str, value: AttributeValue) {
        self.set.push(name);
        self.values.push((format!(":{name}"), value));
    }

    fn remove(&mut self, name: &'static str) {
        self.remove.push(name);
    }

    /// Sets what there is, and removes what there was.
    fn set_or_remove(&mut self, name: &'static str, value: Option<AttributeValue>, was_there: bool) {
        match value {
            Some(value) => self.set(name, value),
            None if was_there => self.remove(name),
            None => {}
        }
    }

    fn expression(&self) -> String {
        let set: Vec<String> = self.set.iter().map(|name| format!("{name} = :{name}")).collect();
        let expression = format!("SET {}", set.join(", "));
        if self.remove.is_empty() { expression } else { format!("{expression} REMOVE {}", self.remove.join(", ")) }
    }
}

/// The SDK tries a lost call again: a winner that is what we wanted to write is our own first try.
fn own(written: Option<Written>, to: &Payment) -> Option<Written> {
    match written {
        Some(Written::Lost(winner)) if winner == *to => Some(Written::Done(winner)),
        written => written,
    }
}

fn winner(item: Option<Item>) -> Result<Payment, StoreError> {
    payment_from(&item.ok_or(StoreError::Corrupt { attribute: "pk" })?)
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
                    failed.item.as_ref().map(payment_from).transpose()
                }
                _ => Ok(None),
            }
        }
        error => Err(error.into()),
    }
}
