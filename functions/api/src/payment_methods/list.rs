//! `GET /v1/payment_methods`: newest first, by cursor.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use florin_domain::payment_method::PaymentMethod;
use florin_store::payment_methods::MethodListing;
use serde_json::Value;

use crate::{
    Api,
    body::is_plain_line,
    permission::{May, PaymentMethodsRead},
    problem::Problem,
    query::{self, Parameters},
};

/// Longest fingerprint that is looked for, in characters; Stripe's have 16.
const FINGERPRINT_CHARACTERS_MAX: usize = 64;

/// Lists payment methods, newest first.
///
/// A filter by `fingerprint` may end a page early, even empty, with `has_more`: follow the cursor.
#[utoipa::path(
    get, path = "/v1/payment_methods", operation_id = "list_payment_methods", tag = "Payment methods",
    params(crate::openapi::params::PaymentMethodListing),
    responses(
        (status = 200, description = "A page.", body = crate::openapi::schemas::payment_methods::PaymentMethodList),
        (status = 400, description = "limit_out_of_range cursor_invalid customer_invalid fingerprint_invalid"),
    ),
    security(("caller" = ["payment_methods:read"])),
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: May<PaymentMethodsRead>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let page = api.dependencies.payment_methods.list(&caller.merchant_id, &listing(&uri)?).await?;
    let views: Vec<_> = page.items.iter().map(PaymentMethod::view).collect();
    Ok(query::page_of(&views, page.next.as_ref()))
}

fn listing(uri: &Uri) -> Result<MethodListing, Problem> {
    let mut parameters = Parameters::read(uri);
    let limit = parameters.limit();
    let after = parameters.cursor();
    let customer = parameters.customer();
    let rule = "A card's fingerprint, as payment methods show it.";
    let fingerprint = parameters.take("fingerprint", "fingerprint_invalid", rule, |text| {
        is_plain_line(text, FINGERPRINT_CHARACTERS_MAX).then(|| text.to_owned())
    });
    parameters.finish()?;
    Ok(MethodListing { limit, after, customer, fingerprint })
}
