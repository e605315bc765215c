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

/// Lists payments, newest first.
///
/// A filter by `status` may end a page early, even empty, with `has_more`: follow the cursor.
/// The list lags behind by a moment; a payment by its id does not.
#[utoipa::path(
    get, path = "/v1/payments", operation_id = "list_payments", tag = "Payments",
    params(crate::openapi::params::PaymentListing),
    responses(
        (status = 200, description = "A page.", body = crate::openapi::schemas::payments::PaymentList),
        (status = 400, description = "limit_out_of_range cursor_invalid customer_invalid status_invalid currency_invalid created_from_invalid \
            created_to_invalid range_invalid"),
    ),
    security(("caller" = ["payments:read"])),
)]
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
