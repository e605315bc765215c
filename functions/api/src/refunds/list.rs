//! `GET /v1/refunds`: newest first, by cursor; and `GET /v1/payments/{id}/refunds`: oldest first, all of them.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use florin_domain::refund::{Refund, RefundStatus};
use serde_json::{Value, json};

use crate::{
    Api,
    path::Name,
    payments::get::find,
    permission::{May, PaymentsRead},
    problem::Problem,
    query,
};

pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsRead>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let listing = query::listing(&uri, "A refund's status, such as completed.", RefundStatus::from_name)?;
    let page = api.dependencies.payments.list(&caller.merchant_id, &listing).await?;
    Ok(query::page(&page, Refund::view))
}

pub(crate) async fn of_payment(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsRead>,
    Name(id): Name,
) -> Result<Json<Value>, Problem> {
    let payment = find(&api, &caller, &id).await?;
    let refunds = api.dependencies.payments.refunds_of(&payment).await?;
    let data: Vec<_> = refunds.iter().map(Refund::view).collect();
    Ok(Json(json!({ "object": "list", "data": data, "has_more": false, "next_cursor": null })))
}
