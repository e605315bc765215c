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

pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsRead>,
    Name(id): Name,
) -> Result<Json<RefundView>, Problem> {
    let id = id.parse().map_err(|_| Problem::RefundNotFound)?;
    let refund = api.dependencies.payments.refund(&caller.merchant_id, &id).await?.ok_or(Problem::RefundNotFound)?;
    Ok(Json(refund.view()))
}
