//! `GET /v1/refunds/{id}`.

use std::sync::Arc;

use axum::{Json, extract::State};
use florin_domain::refund::RefundView;

use crate::{
    Api,
    path::Name,
    permission::{May, PaymentsRead},
    problem::Problem,
};

/// Reads a refund.
#[utoipa::path(
    get, path = "/v1/refunds/{id}", operation_id = "get_refund", tag = "Refunds",
    params(crate::openapi::params::RefundPath),
    responses(
        (status = 200, description = "The refund.", body = crate::openapi::schemas::refunds::Refund),
        (status = 404, description = "refund_not_found"),
    ),
    security(("caller" = ["payments:read"])),
)]
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsRead>,
    Name(id): Name,
) -> Result<Json<RefundView>, Problem> {
    let id = id.parse().map_err(|_| Problem::RefundNotFound)?;
    let refund = api.dependencies.payments.refund(&caller.merchant_id, &id).await?.ok_or(Problem::RefundNotFound)?;
    Ok(Json(refund.view()))
}
