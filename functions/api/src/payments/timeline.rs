//! `GET /v1/payments/{id}/timeline`: everything that was ever tried.

use std::sync::Arc;

use axum::{Json, extract::State};
use florin_domain::journal;
use serde_json::{Value, json};

use crate::{
    Api,
    path::Name,
    payments::get::find,
    permission::{May, PaymentsRead},
    problem::Problem,
};

/// Reads everything that was tried for a payment, its refunds included.
#[utoipa::path(
    get, path = "/v1/payments/{id}/timeline", operation_id = "get_payment_timeline", tag = "Payments",
    params(crate::openapi::params::PaymentPath),
    responses(
        (status = 200, description = "The timeline.", body = crate::openapi::schemas::payments::Timeline),
        (status = 404, description = "payment_not_found"),
    ),
    security(("caller" = ["payments:read"])),
)]
pub(crate) async fn timeline(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsRead>,
    Name(id): Name,
) -> Result<Json<Value>, Problem> {
    let payment = find(&api, &caller, &id).await?;
    let refunds = api.dependencies.payments.refunds_of(&payment).await?;
    Ok(Json(json!({ "object": "list", "data": journal::timeline(&payment, &refunds) })))
}
