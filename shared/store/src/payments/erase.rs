//! Erasing a customer from payments and refunds that have ended.
//!
//! The write that blanks a payment takes the customer out of it, and so the payment out of the index `by_customer`:
//! what that index still has is what is still to be erased. A payment's refunds are blanked before it.

use aws_sdk_dynamodb::{operation::update_item::builders::UpdateItemFluentBuilder, types::AttributeValue};
use florin_domain::{payment::Payment, refund::Refund, time::Timestamp};

use super::{
    Payments,
    items::{journal_value, source_value},
};
use crate::{
    StoreError,
    attributes::{moment, number, text},
    error::unless_refused,
};

impl Payments {
    /// Blanks a payment whose refunds are blank, and takes its customer out of it. False, and nothing is written, if
    /// anything has happened to it since it was read, a new refund too, or if its event is still to be published.
    pub async fn erase(&self, payment: &Payment, now: Timestamp) -> Result<bool, StoreError> {
        let erased = payment.erased(now);
        let update = self
            .erasing(payment.id.as_str(), payment.version, &journal_value(&erased.journal), now)
            .condition_expression(
                "v = :v AND attribute_not_exists(ds) AND (attribute_not_exists(rf) OR size(rf) = :rf)",
            )
            .update_expression("SET s = :s, j = :j, er = :now REMOVE d, md, u, cu, ci")
            .expression_attribute_values(":rf", number(payment.refunds.len()))
            .expression_attribute_values(":s", source_value(&erased.source));
        Ok(unless_refused(update.send().await)?.is_some())
    }

    /// Blanks a refund. False, and nothing is written, if anything has happened to it since it was read or if its event
    /// is still to be published.
    pub async fn erase_refund(&self, refund: &Refund, now: Timestamp) -> Result<bool, StoreError> {
        let update = self
            .erasing(refund.id.as_str(), refund.version, &journal_value(&refund.erased(now).journal), now)
            .condition_expression("v = :v AND attribute_not_exists(ds)")
            .update_expression("SET j = :j, er = :now REMOVE d, md, ci");
        Ok(unless_refused(update.send().await)?.is_some())
    }

    fn erasing(&self, id: &str, version: i64, journal: &AttributeValue, now: Timestamp) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(id))
            .expression_attribute_values(":v", number(version))
            .expression_attribute_values(":j", journal.clone())
            .expression_attribute_values(":now", moment(now))
    }
}
