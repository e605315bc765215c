//! `GET /v1/ops/stuck`: payments and refunds that wait for a person.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use florin_store::payments::Due;
use serde_json::{Value, json};

use crate::{Api, auth::Operator, problem::Problem, query::Parameters};

/// Lists payments and refunds of all merchants that wait for a person.
#[utoipa::path(
    get, path = "/v1/ops/stuck", operation_id = "list_stuck", tag = "Operations",
    params(crate::openapi::params::StuckListing),
    responses(
        (status = 200, description = "They wait.", body = crate::openapi::schemas::operations::StuckList),
        (status = 400, description = "limit_out_of_range"),
    ),
    security(("operatorKey" = [])),
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, _: Operator, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut parameters = Parameters::read(&uri);
    let limit = parameters.limit();
    parameters.finish()?;
    let stuck = api.dependencies.payments.stuck(limit, api.dependencies.clock.now()).await?;
    Ok(Json(json!({
        "object": "list",
        "data": stuck.found.iter().map(shown).collect::<Vec<_>>(),
        "has_more": stuck.has_more,
    })))
}

fn shown(due: &Due) -> Value {
    match due {
        Due::Payment(payment) => json!({
            "object": "payment",
            "id": payment.id,
            "merchant_id": payment.merchant_id,
            "status": payment.status,
            "reason": payment.stuck,
            "since": payment.updated_at,
        }),
        Due::Refund(refund) => json!({
            "object": "refund",
            "id": refund.id,
            "payment_id": refund.payment_id,
            "merchant_id": refund.merchant_id,
            "status": refund.status,
            "reason": refund.stuck,
            "since": refund.updated_at,
        }),
    }
}
