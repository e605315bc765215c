//! The tables. One module per bounded context; every expression and every attribute name of Florin lives in this crate.
//!
//! Losing a race is not an error here: a write whose condition fails returns the winner's state (invariant 4), which
//! DynamoDB hands back in the same call (`ReturnValuesOnConditionCheckFailure`).

pub mod analytics;
mod attributes;
pub mod audit;
pub mod breaker;
mod error;
pub mod failures;
pub mod gateway;
pub mod limits;
pub mod merchants;
pub mod payment_methods;
pub mod payments;
pub mod schema;
mod transaction;
pub mod webhooks;

pub use error::StoreError;

use aws_sdk_dynamodb::{Client, types::KeysAndAttributes};

use crate::attributes::Item;

/// Keys of one `BatchGetItem`, at most: DynamoDB's limit.
const BATCH_GET_ITEMS_MAX: usize = 100;
/// Under load DynamoDB leaves keys out; they are asked for so often in all.
const BATCH_GET_TRIES_MAX: usize = 5;

/// Reads the items of these keys, each named once, consistently. Keys without an item are left out.
pub(crate) async fn batch_get(client: &Client, table: &str, keys: &[Item]) -> Result<Vec<Item>, StoreError> {
    let mut found = Vec::new();
    for chunk in keys.chunks(BATCH_GET_ITEMS_MAX) {
        let mut wanted = chunk.to_vec();
        for _ in 0..BATCH_GET_TRIES_MAX {
            let request = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
            let request = request.map_err(|_| StoreError::Refused("no keys".to_owned()))?;
            let output = client.batch_get_item().request_items(table, request).send().await?;
            found.extend(output.responses.unwrap_or_default().remove(table).unwrap_or_default());
            let left = output.unprocessed_keys.unwrap_or_default().remove(table);
            wanted = left.map(|left| left.keys).unwrap_or_default();
            if wanted.is_empty() {
                break;
            }
        }
        if !wanted.is_empty() {
            return Err(StoreError::Unavailable("throttled".to_owned()));
        }
    }
    Ok(found)
}
