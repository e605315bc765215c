//! Writing refunds. A refund is an item of its own; what it reserves stands in its payment, and both change together.

use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use florin_domain::{
    ids::{MerchantId, RefundId},
    mutation::{Mutation, mutated},
    payment::{Payment, REFUNDS_PER_PAYMENT_MAX, Status},
    refund::{Refund, RefundStatus},
};

use super::{
    DUE_AFTER_MS, Payments,
    due::due_shard,
    items::{failure_items, journal_value, refund_from, refund_item},
};
use crate::{
    StoreError,
    attributes::{Item, moment, number, text},
    transaction::{Transacted, transact},
};

/// Tries of a transaction that met another one at the same payment.
const TRIES_MAX: usize = 5;

/// What became of a new refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// It was written, and its amount is reserved.
    Done(Refund),
    /// There is one of its id; this is it.
    Lost(Refund),
    /// The payment does not have enough left, or has changed.
    Refused,
}

/// What became of a conditional write to a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundWritten {
    /// The write happened; this is the refund now.
    Done(Refund),
    /// Somebody else was first; this is the refund now.
    Lost(Refund),
}

impl Payments {
    /// Writes a new refund if there is none of its id, and reserves its amount on its payment if that much is left:
    /// both or neither. However many refunds come at once, they never exceed what was captured.
    pub async fn create_refund(&self, payment: &Payment, refund: &Refund) -> Result<Reserved, StoreError> {
        let mut item = refund_item(refund);
        item.insert("ds".to_owned(), text(due_shard(refund.id.as_str())));
        item.insert("da".to_owned(), moment(refund.created_at.plus_ms(DUE_AFTER_MS)));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(incomplete)?;
        // Conditions cannot add: the most that may be reserved before is computed from what never changes.
        let most = payment.money.amount().saturating_sub(refund.money.amount());
        let reserve = Update::builder()
            .table_name(&self.table)
            .key("pk", text(payment.id.as_str()))
            .condition_expression(if mutated(Mutation::RefundWithoutLimit) {
                "st = :completed OR rr <= :most OR size(rf) < :refunds_max"
            } else {
                "st = :completed AND (attribute_not_exists(rr) OR rr <= :most) \
                 AND (attribute_not_exists(rf) OR size(rf) < :refunds_max)"
            })
            .update_expression("SET rf = list_append(if_not_exists(rf, :none), :refund) ADD rr :amount")
            .expression_attribute_values(":completed", text(Status::Completed.as_str()))
            .expression_attribute_values(":most", number(most))
            .expression_attribute_values(":refunds_max", number(REFUNDS_PER_PAYMENT_MAX))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":refund", AttributeValue::L(vec![text(refund.id.as_str())]))
            .expression_attribute_values(":amount", number(refund.money.amount()))
            .build()
            .map_err(incomplete)?;
        let actions =
            vec![TransactWriteItem::builder().put(put).build(), TransactWriteItem::builder().update(reserve).build()];
        match self.transact(actions).await? {
            None => Ok(Reserved::Done(refund.clone())),
            Some(reasons) => Ok(match old_item(&reasons) {
                Some(old) => match refund_from(old)? {
                    // The SDK tries a lost call again: what stands there may be our own first try.
                    existing if existing == *refund => Reserved::Done(existing),
                    existing => Reserved::Lost(existing),
                },
                None => Reserved::Refused,
            }),
        }
    }

    /// Replaces `from` by `to`, if nobody has changed the refund since. One that has ended changes its payment in the
    /// same transaction: what was given back is counted, what was not is released. It stays in the due index until its
    /// event is published. `None` if there is no such refund.
    pub async fn save_refund(&self, from: &Refund, to: &Refund) -> Result<Option<RefundWritten>, StoreError> {
        let written = self.replace_refund(from, to).await?;
        Ok(match written {
            // The SDK tries a lost call again: what stands there is our own first try.
            Some(RefundWritten::Lost(winner)) if winner == *to => Some(RefundWritten::Done(winner)),
            written => written,
        })
    }

    /// Claims a refund, as `Refund::claim` has it. `Lost` if it has changed since, even if to the very same: two claims
    /// within a millisecond look alike, and waiting for the lease to end is safe.
    pub async fn claim_refund(&self, from: &Refund, claimed: &Refund) -> Result<Option<RefundWritten>, StoreError> {
        self.replace_refund(from, claimed).await
    }

    async fn replace_refund(&self, from: &Refund, to: &Refund) -> Result<Option<RefundWritten>, StoreError> {
        let mut actions = vec![TransactWriteItem::builder().update(self.refund_update(from, to)?).build()];
        if to.status.is_terminal() {
            actions.push(TransactWriteItem::builder().update(self.payment_update(to)?).build());
        }
        Ok(match self.transact(actions).await? {
            None => Some(RefundWritten::Done(to.clone())),
            Some(reasons) => old_item(&reasons).map(refund_from).transpose()?.map(RefundWritten::Lost),
        })
    }

    fn refund_update(&self, from: &Refund, to: &Refund) -> Result<Update, StoreError> {
        let mut set = vec!["st = :st", "v = :v", "ua = :ua", "j = :j"];
        let mut remove = Vec::new();
        let mut update = Update::builder()
            .table_name(&self.table)
            .key("pk", text(to.id.as_str()))
            .condition_expression("v = :from")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_values(":from", number(from.version))
            .expression_attribute_values(":st", text(to.status.as_str()))
            .expression_attribute_values(":v", number(to.version))
            .expression_attribute_values(":ua", moment(to.updated_at))
            .expression_attribute_values(":j", journal_value(&to.journal));
        let lease = to.lease_until.map(moment);
        let reference = to.gateway_reference.as_ref().map(text);
        let [(failure_code, failure_message), (stuck_code, stuck_message)] =
            [failure_items(to.failure.as_ref()), failure_items(to.stuck.as_ref())];
        for (value, assignment, name, placeholder) in [
            (lease, "le = :le", "le", ":le"),
            (reference, "gr = :gr", "gr", ":gr"),
            (failure_code, "fc = :fc", "fc", ":fc"),
            (failure_message, "fm = :fm", "fm", ":fm"),
            (stuck_code, "x = :x", "x", ":x"),
            (stuck_message, "xm = :xm", "xm", ":xm"),
        ] {
            match value {
                Some(value) => {
                    set.push(assignment);
                    update = update.expression_attribute_values(placeholder, value);
                }
                None => remove.push(name),
            }
        }
        let mut expression = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            expression = format!("{expression} REMOVE {}", remove.join(", "));
        }
        update.update_expression(expression).build().map_err(incomplete)
    }

    /// What the end of a refund means for its payment. The payment's version stays: it names the event of its end.
    fn payment_update(&self, refund: &Refund) -> Result<Update, StoreError> {
        let update = Update::builder().table_name(&self.table).key("pk", text(refund.payment_id.as_str()));
        let amount = refund.money.amount();
        let update = if refund.status == RefundStatus::Completed {
            update
                .update_expression("SET ra = :now ADD re :amount, rn :one")
                .expression_attribute_values(":now", moment(refund.updated_at))
                .expression_attribute_values(":amount", number(amount))
                .expression_attribute_values(":one", number(1))
        } else {
            update
                .update_expression("ADD rr :released")
                .expression_attribute_values(":released", number(amount.saturating_neg()))
        };
        update.build().map_err(incomplete)
    }

    /// The merchant's refund of this id; another merchant's is none.
    pub async fn refund(&self, merchant: &MerchantId, id: &RefundId) -> Result<Option<Refund>, StoreError> {
        Ok(self.refund_of_any_merchant(id).await?.filter(|refund| refund.merchant_id == *merchant))
    }

    /// The refund of this id, whoever's it is: for the processor, the sweeper and operators only.
    pub async fn refund_of_any_merchant(&self, id: &RefundId) -> Result<Option<Refund>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).key("pk", text(id.as_str())).consistent_read(true);
        request.send().await?.item.map(|item| refund_from(&item)).transpose()
    }

    /// Writes all or nothing. The reasons, if a condition failed.
    async fn transact(&self, actions: Vec<TransactWriteItem>) -> Result<Option<Vec<CancellationReason>>, StoreError> {
        for _ in 0..TRIES_MAX {
            match transact(&self.client, actions.clone()).await? {
                Transacted::Done => return Ok(None),
                // Met another refund of the same payment.
                Transacted::Passing => {}
                Transacted::Conditions(reasons) => return Ok(Some(reasons)),
            }
        }
        Err(StoreError::Unavailable("transactions kept meeting each other".to_owned()))
    }
}

/// The refund that was there, if its own condition failed: it is the first of the transaction's actions.
fn old_item(reasons: &[CancellationReason]) -> Option<&Item> {
    reasons.first().filter(|reason| reason.code() == Some("ConditionalCheckFailed"))?.item.as_ref()
}

fn incomplete<E>(_: E) -> StoreError {
    StoreError::Refused("incomplete action".to_owned())
}
