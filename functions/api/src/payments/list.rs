//! `GET /v1/payments`: newest first, by cursor.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use florin_domain::payment::{Payment, Status};
use florin_store::payments::Listing;
use serde_json::Value;

use crate::{
    Api,
    permission::{May, PaymentsRead},
    problem::Problem,
    query::{self, Parameters},
};

pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsRead>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let mut parameters = Parameters::read(&uri);
    let customer = parameters.customer();
    let listing = query::listing_from(parameters, "A payment's status, such as completed.", Status::from_name)?;
    let listing = Listing { customer, ..listing };
    let page = api.dependencies.payments.list(&caller.merchant_id, &listing).await?;
    Ok(query::page(&page, Payment::view))
}
