//! `GET /v1/payment_methods/{id}`.

use std::sync::Arc;

use axum::{Json, extract::State};
use florin_domain::payment_method::PaymentMethodView;

use crate::{
    Api,
    path::Name,
    permission::{May, PaymentMethodsRead},
    problem::Problem,
};

/// Reads a payment method.
#[utoipa::path(
    get, path = "/v1/payment_methods/{id}", operation_id = "get_payment_method", tag = "Payment methods",
    params(crate::openapi::params::PaymentMethodPath),
    responses(
        (status = 200, description = "The payment method.", body = crate::openapi::schemas::payment_methods::PaymentMethod),
        (status = 404, description = "payment_method_not_found"),
    ),
    security(("caller" = ["payment_methods:read"])),
)]
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    caller: May<PaymentMethodsRead>,
    Name(id): Name,
) -> Result<Json<PaymentMethodView>, Problem> {
    let id = id.parse().map_err(|_| Problem::PaymentMethodNotFound)?;
    let method = api.dependencies.payment_methods.get(&caller.merchant_id, &id).await?;
    Ok(Json(method.ok_or(Problem::PaymentMethodNotFound)?.view()))
}
