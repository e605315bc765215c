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

/// Lists refunds, newest first.
///
/// A filter by `status` may end a page early, even empty, with `has_more`: follow the cursor.
#[utoipa::path(
    get, path = "/v1/refunds", operation_id = "list_refunds", tag = "Refunds",
    params(crate::openapi::params::RefundListing),
    responses(
        (status = 200, description = "A page.", body = crate::openapi::schemas::refunds::RefundList),
        (status = 400, description = "limit_out_of_range cursor_invalid status_invalid currency_invalid created_from_invalid \
            created_to_invalid range_invalid"),
    ),
    security(("caller" = ["payments:read"])),
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsRead>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let listing = query::listing(&uri, "A refund's status, such as completed.", RefundStatus::from_name)?;
    let page = api.dependencies.payments.list(&caller.merchant_id, &listing).await?;
    Ok(query::page(&page, Refund::view))
}

/// Lists all refunds of a payment, oldest first.
#[utoipa::path(
    get, path = "/v1/payments/{id}/refunds", operation_id = "list_payment_refunds", tag = "Refunds",
    params(crate::openapi::params::PaymentPath),
    responses(
        (status = 200, description = "The refunds.", body = crate::openapi::schemas::refunds::RefundList),
        (status = 404, description = "payment_not_found"),
    ),
    security(("caller" = ["payments:read"])),
)]
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
