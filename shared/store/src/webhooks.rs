//! Webhook endpoints and deliveries.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | merchant id | endpoint id | `url`, `generation` (of the signing secret), `enabled` |
//! | endpoint id, or payment id for its own URL | event's time `#` event id | a delivery: `id`, `m`, `t` (event type), `st`, `n` (attempts), `nd` (next due), `a` (attempts: `t` moment, `r` result, `d` duration in ms), `ttl` |
//!
//! A delivery's key orders the deliveries of an endpoint by time, so no index is needed to list them.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use florin_domain::{
    event::Event,
    ids::{DeliveryId, MerchantId},
    mutation::{Mutation, mutated},
    retention::Retention,
    time::Timestamp,
    webhook::{AttemptResult, Delivery, DeliveryStatus, ENDPOINTS_PER_MERCHANT_MAX, Target, WebhookEndpoint},
};

use crate::{
    StoreError,
    attributes::{Item, Reader, moment, number, text},
};

/// The webhooks table.
#[derive(Debug, Clone)]
pub struct Webhooks {
    client: Client,
    table: String,
    retention: Retention,
}

/// One HTTP try, for the record.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration_ms: i64,
    /// What it came to.
    pub result: AttemptResult,
}

impl Webhooks {
    /// The table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), retention: Retention::DELIVERIES }
    }

    /// The same table, in which deliveries are kept this long after their event.
    #[must_use]
    pub fn keeping(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    /// The merchant's endpoints.
    pub async fn endpoints(&self, merchant: &MerchantId) -> Result<Vec<WebhookEndpoint>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :m AND begins_with(sk, :we)")
            .expression_attribute_values(":m", text(merchant.as_str()))
            .expression_attribute_values(":we", text("we_"))
            .limit(i32::try_from(ENDPOINTS_PER_MERCHANT_MAX).unwrap_or(i32::MAX));
        let items = query.send().await?.items.unwrap_or_default();
        items
            .iter()
            .map(|item| {
                let item = Reader(item);
                Ok(WebhookEndpoint {
                    id: item.parsed("sk")?,
                    merchant_id: merchant.clone(),
                    url: item.text("url")?.to_owned(),
                    secret_generation: item.number("generation")?,
                    enabled: item.flag("enabled"),
                })
            })
            .collect()
    }

    /// Writes an endpoint, over whatever was there: used by the seed.
    pub async fn put_endpoint(&self, endpoint: &WebhookEndpoint) -> Result<(), StoreError> {
        let item = Item::from([
            ("pk".to_owned(), text(endpoint.merchant_id.as_str())),
            ("sk".to_owned(), text(endpoint.id.as_str())),
            ("url".to_owned(), text(&endpoint.url)),
            ("generation".to_owned(), number(endpoint.secret_generation)),
            ("enabled".to_owned(), AttributeValue::Bool(endpoint.enabled)),
        ]);
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await?;
        Ok(())
    }

    /// What is known of these deliveries: one read for a whole batch of events and their targets.
    pub async fn deliveries(&self, wanted: &[(&Event, &Target)]) -> Result<HashMap<DeliveryId, Delivery>, StoreError> {
        // DynamoDB refuses a batch that names a key twice; a batch of messages may hold one event twice.
        let keys: HashMap<(String, String), Item> = wanted
            .iter()
            .map(|(event, target)| {
                let (pk, sk) = key(event, target);
                let item = Item::from([("pk".to_owned(), text(&pk)), ("sk".to_owned(), text(&sk))]);
                ((pk, sk), item)
            })
            .collect();
        let keys: Vec<Item> = keys.into_values().collect();
        let items = crate::batch_get(&self.client, &self.table, &keys).await?;
        items.iter().map(from_item).map(|delivery| delivery.map(|delivery| (delivery.id.clone(), delivery))).collect()
    }

    /// Whether the table answers. Also warms the connection during init.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let request = self.client.get_item().table_name(&self.table).key("pk", text("ping")).key("sk", text("ping"));
        request.send().await?;
        Ok(())
    }

    /// Records an attempt and what follows from it, and returns the record that stands. If another process has
    /// recorded the same attempt or a later one meanwhile, that one stands: both were real, but a delivery's attempts
    /// never go back. Only a success replaces a failure of the same number, and nothing replaces an end.
    pub async fn record(
        &self,
        event: &Event,
        target: &Target,
        delivery: &Delivery,
        attempt: &Attempt,
    ) -> Result<Delivery, StoreError> {
        if mutated(Mutation::NoWebhookRecord) {
            return Ok(delivery.clone());
        }
        let (pk, sk) = key(event, target);
        let earlier = if delivery.status == DeliveryStatus::Delivered { "n <= :n" } else { "n < :n" };
        let mut set = "id = :id, m = :m, t = :t, st = :st, n = :n, #ttl = :ttl, \
                       a = list_append(if_not_exists(a, :none), :attempt)"
            .to_owned();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .condition_expression(format!("attribute_not_exists(pk) OR (st = :retrying AND {earlier})"))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":id", text(delivery.id.as_str()))
            .expression_attribute_values(":m", text(event.merchantid.as_str()))
            .expression_attribute_values(":t", text(event.event_type.as_str()))
            .expression_attribute_values(":st", text(delivery.status.as_str()))
            .expression_attribute_values(":retrying", text(DeliveryStatus::Retrying.as_str()))
            .expression_attribute_values(":n", number(delivery.attempts))
            .expression_attribute_values(":ttl", number(self.retention.expiry(event.time).seconds()))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":attempt", AttributeValue::L(vec![attempt_value(attempt)]));
        let mut remove = "";
        match delivery.next_due {
            Some(due) => {
                set.push_str(", nd = :nd");
                update = update.expression_attribute_values(":nd", moment(due));
            }
            None => remove = " REMOVE nd",
        }
        match update.update_expression(format!("SET {set}{remove}")).send().await {
            Ok(_) => Ok(delivery.clone()),
            Err(SdkError::ServiceError(error)) => match error.err() {
                UpdateItemError::ConditionalCheckFailedException(lost) => {
                    from_item(lost.item().ok_or(StoreError::Corrupt { attribute: "pk" })?)
                }
                _ => Err(SdkError::ServiceError(error).into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

fn key(event: &Event, target: &Target) -> (String, String) {
    (target.owner(event).to_owned(), format!("{}#{}", event.time, event.id))
}

fn attempt_value(attempt: &Attempt) -> AttributeValue {
    let result = match &attempt.result {
        AttemptResult::Answered(status) => status.to_string(),
        AttemptResult::Unanswered(code) | AttemptResult::Refused(code) => (*code).to_owned(),
    };
    AttributeValue::M(Item::from([
        ("t".to_owned(), moment(attempt.started_at)),
        ("r".to_owned(), text(result)),
        ("d".to_owned(), number(attempt.duration_ms)),
    ]))
}

fn from_item(item: &Item) -> Result<Delivery, StoreError> {
    let item = Reader(item);
    Ok(Delivery {
        id: item.parsed("id")?,
        status: DeliveryStatus::from_name(item.text("st")?).ok_or(StoreError::Corrupt { attribute: "st" })?,
        attempts: item.number("n")?,
        next_due: item.moment_if_any("nd")?,
    })
}
