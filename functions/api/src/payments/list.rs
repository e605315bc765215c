//! `GET /v1/payments`: newest first, by cursor.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use florin_domain::{
    payment::{Payment, Status},
    time::Timestamp,
};
use florin_store::payments::{Listing, PAGE_ITEMS_MAX};
use serde_json::{Value, json};

use crate::{
    Api,
    auth::Caller,
    problem::Problem,
    query::{Parameters, decode_cursor, encode_cursor},
};

/// Payments on a page, unless asked otherwise.
const LIMIT_DEFAULT: usize = 20;

pub(crate) async fn list(State(api): State<Arc<Api>>, caller: Caller, uri: Uri) -> Result<Json<Value>, Problem> {
    let page = api.dependencies.payments.list(&caller.merchant_id, &listing(&uri)?).await?;
    Ok(Json(json!({
        "object": "list",
        "data": page.items.iter().map(Payment::view).collect::<Vec<_>>(),
        "has_more": page.next.is_some(),
        "next_cursor": page.next.as_ref().map(encode_cursor),
    })))
}

fn listing(uri: &Uri) -> Result<Listing<Payment>, Problem> {
    let mut parameters = Parameters::read(uri);
    let limit = parameters.take("limit", "limit_out_of_range", "A whole number from 1 to 100.", |text| {
        text.parse::<usize>().ok().filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit))
    });
    let after = parameters.take("cursor", "cursor_invalid", "The next_cursor of an earlier page.", decode_cursor);
    let status =
        parameters.take("status", "status_invalid", "A payment's status, such as completed.", Status::from_name);
    let currency = parameters.currency();
    let created_from = parameters.moment("created_from", "created_from_invalid").unwrap_or(Timestamp::MIN);
    let created_to = parameters.moment("created_to", "created_to_invalid").unwrap_or(Timestamp::MAX);
    if created_from > created_to {
        parameters.wrong("created_from", "range_invalid", "created_from is not after created_to.");
    }
    parameters.finish()?;
    Ok(Listing { limit: limit.unwrap_or(LIMIT_DEFAULT), after, status, currency, created_from, created_to })
}
