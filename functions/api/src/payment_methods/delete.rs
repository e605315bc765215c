//! `DELETE /v1/payment_methods/{id}`: hidden here first, then forgotten by the gateway.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use florin_domain::ids::{MerchantId, PaymentMethodId};
use florin_store::payment_methods::Kept;

use crate::{
    Api,
    path::Name,
    permission::{May, PaymentMethodsWrite},
    problem::Problem,
};

/// Deletes a payment method, here and at the gateway.
///
/// Payments that were made with it stay what they are. One that still waits fails at its moment.
#[utoipa::path(
    delete, path = "/v1/payment_methods/{id}", operation_id = "delete_payment_method", tag = "Payment methods",
    params(crate::openapi::params::PaymentMethodPath),
    responses(
        (status = 204, description = "It is gone, however often it is deleted."),
        (status = 404, description = "payment_method_not_found"),
        (status = 503, description = "gateway_unavailable"),
    ),
    security(("caller" = ["payment_methods:write"])),
)]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    caller: May<PaymentMethodsWrite>,
    Name(id): Name,
) -> Result<StatusCode, Problem> {
    let id = id.parse().map_err(|_| Problem::PaymentMethodNotFound)?;
    if forget(&api, &caller.merchant_id, &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::PaymentMethodNotFound)
    }
}

/// Deletes the merchant's payment method, here and then at the gateway; false if there never was one.
///
/// Whatever breaks off, from the first write on nobody sees or charges it anew, and the gateway's names for it stay
/// until the gateway has forgotten it: repeating the call goes on where it ended.
pub(crate) async fn forget(api: &Api, merchant_id: &MerchantId, id: &PaymentMethodId) -> Result<bool, Problem> {
    let deps = &api.dependencies;
    let Some(kept) = deps.payment_methods.delete(merchant_id, id, deps.clock.now()).await? else {
        return Ok(false);
    };
    if let Kept::Deleted(Some(at_gateway)) = kept {
        deps.gateway.detach(&at_gateway.token, &format!("{id}/detach")).await?;
        deps.payment_methods.forgotten(merchant_id, id).await?;
    }
    Ok(true)
}
