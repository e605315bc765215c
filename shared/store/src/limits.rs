//! The callers' buckets, in the merchants table: one small item for each API key or user that has made more than a few
//! requests.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | `limit#` and the caller's id | `limit` | `t`: when the bucket is idle again, in microseconds since 1970 |
//!
//! A condition cannot add, so what it compares with is computed here, and there are two writes of which one fits: an
//! idle bucket is set, another is added to. Which one is taken follows from what the instance heard last, so that a
//! settlement is one write unless several instances meet. The SDK repeats a write whose answer is lost: then the
//! requests are counted twice, which refuses a few too many for a moment.

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use florin_domain::{
    rate::{Bucket, Rate, Settlement, Terms},
    time::Timestamp,
};

use crate::{
    StoreError,
    attributes::{Item, Reader, number, text},
};

/// Tries of a settlement that meets others.
const TRIES_MAX: usize = 3;

/// The buckets.
#[derive(Debug, Clone)]
pub struct Limits {
    client: Client,
    table: String,
}

impl Limits {
    /// Those in the merchants table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Settles so many requests of this caller, whose bucket is at least as full as `known`.
    pub async fn settle(
        &self,
        caller: &str,
        rate: Rate,
        requests: u32,
        known: Bucket,
        now: Timestamp,
    ) -> Result<Settlement, StoreError> {
        let terms = rate.terms(requests, now);
        let mut known = known;
        for _ in 0..TRIES_MAX {
            if !terms.has_room(known) {
                return Ok(Settlement::Refused(known));
            }
            match self.write(caller, terms, known).await? {
                Written::Done(bucket) => return Ok(Settlement::Paid(bucket)),
                Written::Found(bucket) => known = bucket,
            }
        }
        Err(StoreError::Unavailable("others settled at the same time".to_owned()))
    }

    async fn write(&self, caller: &str, terms: Terms, known: Bucket) -> Result<Written, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(format!("limit#{caller}")))
            .key("sk", text("limit"))
            .expression_attribute_values(":now", number(terms.now_us))
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let update = if terms.finds_idle(known) {
            update
                .update_expression("SET t = :after")
                .condition_expression("attribute_not_exists(t) OR t < :now OR t > :wrong")
                .expression_attribute_values(":after", number(terms.after_idle().0))
                .expression_attribute_values(":wrong", number(terms.wrong_us))
        } else {
            update
                .update_expression("SET t = t + :cost")
                .condition_expression("t BETWEEN :now AND :room")
                .expression_attribute_values(":cost", number(terms.cost_us))
                .expression_attribute_values(":room", number(terms.room_us))
        };
        match update.send().await {
            Ok(output) => Ok(Written::Done(bucket(output.attributes.as_ref())?)),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let found = match error.into_err() {
                    UpdateItemError::ConditionalCheckFailedException(failed) => failed.item,
                    _ => None,
                };
                Ok(Written::Found(found.as_ref().map_or(Ok(Bucket::default()), |item| bucket(Some(item)))?))
            }
            Err(error) => Err(error.into()),
        }
    }
}

enum Written {
    Done(Bucket),
    /// Nothing was written: the bucket is another one.
    Found(Bucket),
}

fn bucket(item: Option<&Item>) -> Result<Bucket, StoreError> {
    let item = item.ok_or(StoreError::Corrupt { attribute: "t" })?;
    Reader(item).number("t").map(Bucket)
}
