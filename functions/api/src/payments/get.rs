//! `GET /v1/payments/{id}`.

use std::sync::Arc;

use axum::{Json, extract::State};
use florin_domain::payment::{Payment, PaymentView};

use crate::{
    Api,
    auth::Caller,
    path::Name,
    permission::{May, PaymentsRead},
    problem::Problem,
};

/// Reads a payment.
#[utoipa::path(
    get, path = "/v1/payments/{id}", operation_id = "get_payment", tag = "Payments",
    params(crate::openapi::params::PaymentPath),
    responses(
        (status = 200, description = "The payment.", body = crate::openapi::schemas::payments::Payment),
        (status = 404, description = "payment_not_found"),
    ),
    security(("caller" = ["payments:read"])),
)]
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsRead>,
    Name(id): Name,
) -> Result<Json<PaymentView>, Problem> {
    Ok(Json(find(&api, &caller, &id).await?.view()))
}

/// The caller's payment. What is no id, and another merchant's payment, are as absent as what never was.
pub(crate) async fn find(api: &Api, caller: &Caller, id: &str) -> Result<Payment, Problem> {
    let id = id.parse().map_err(|_| Problem::PaymentNotFound)?;
    api.dependencies.payments.get(&caller.merchant_id, &id).await?.ok_or(Problem::PaymentNotFound)
}
