//! `POST /v1/payments/{id}/refunds`: one transaction makes a refund and reserves its amount on the payment.

use std::sync::Arc;

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use florin_domain::{
    event::Correlation,
    payment::REFUNDS_PER_PAYMENT_MAX,
    refund::{NewRefund, NotRefundable, REASON_CHARACTERS_MAX, Refund},
};
use florin_store::payments::Reserved;
use serde_json::{Map, Value};

use crate::{
    Api, announce,
    body::{self, Fields},
    context, idempotency,
    path::Name,
    payments::get::find,
    permission::{May, RefundsWrite},
    problem::Problem,
};

/// Tries of a refund that meets other refunds of the same payment.
const TRIES_MAX: usize = 5;

/// Gives money back.
///
/// Only a `completed` payment can be refunded, in up to 20 refunds. A refund reserves its amount when it is created, so
/// that refunds sent at the same time never exceed the payment; one that fails releases it.
#[utoipa::path(
    post, path = "/v1/payments/{id}/refunds", operation_id = "create_refund", tag = "Refunds",
    params(crate::openapi::params::PaymentPath, crate::openapi::params::IdempotencyKey),
    request_body = crate::openapi::schemas::refunds::NewRefund,
    responses(
        (status = 201, description = "Created, or answered as the first time.", body = crate::openapi::schemas::refunds::Refund, headers(
            ("Location" = String, description = "Where it can be read."),
            ("Idempotent-Replayed" = Option<String>, description = "`true` if this key was answered before."),
        )),
        (status = 404, description = "payment_not_found"),
        (status = 409, description = "payment_not_refundable refunds_too_many"),
        (status = 422, description = "amount_invalid amount_out_of_range reason_invalid reason_too_long card_number_in_text metadata_invalid \
            metadata_too_many_entries metadata_key_invalid metadata_value_invalid metadata_value_too_long \
            refund_amount_too_large"),
    ),
    security(("caller" = ["refunds:write"])),
)]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: May<RefundsWrite>,
    Name(payment_id): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    body::check_content_type(&headers)?;
    let key = idempotency::key(&headers)?;
    let new = read(body::object(body, &headers).await?)?;

    let payments = &api.dependencies.payments;
    for _ in 0..TRIES_MAX {
        let payment = find(&api, &caller, &payment_id).await?;
        let id = Refund::id_for(&caller.merchant_id, &payment.id, key);
        // Before the amount is judged: after this very refund there may be nothing left.
        if payment.refunds.contains(&id) {
            let existing = payments.refund(&caller.merchant_id, &id).await?.ok_or(Problem::RefundNotFound)?;
            return replay(&api, &existing, &new, &headers).await;
        }
        let refund = Refund::create(id, &payment, new.clone(), api.dependencies.clock.now()).map_err(refused)?;
        let refund = Refund { correlation_id: context::correlation_id(&headers), ..refund };
        match payments.create_refund(&payment, &refund).await? {
            Reserved::Lost(existing) => return replay(&api, &existing, &new, &headers).await,
            Reserved::Done(refund) => {
                announce::refund_initiated(
                    &api,
                    &refund,
                    &context::correlation(&headers, Correlation::of_refund(&refund)),
                )
                .await;
                return Ok(created(&refund));
            }
            // Other refunds were first: read again how much they have left.
            Reserved::Refused => {}
        }
    }
    Err(Problem::Unavailable("the payment's refunds kept changing".to_owned()))
}

/// Answers as the first time. A refund that still waits may have lost its event: it is published again.
async fn replay(api: &Api, existing: &Refund, new: &NewRefund, headers: &HeaderMap) -> Result<Response, Problem> {
    if let Some(pointer) = existing.differs_from(new) {
        return Err(Problem::IdempotencyKeyReused(pointer));
    }
    announce::refund_initiated(api, existing, &context::correlation(headers, Correlation::of_refund(existing))).await;
    Ok(idempotency::replayed(created(&existing.as_created())))
}

fn created(refund: &Refund) -> Response {
    idempotency::created(&format!("/v1/refunds/{}", refund.id), &refund.view())
}

/// Reads the fields, in the order in which errors take precedence.
fn read(object: Map<String, Value>) -> Result<NewRefund, Problem> {
    let mut fields = Fields::new(object, "");
    let amount = fields.take("amount").and_then(|value| fields.amount(&value));
    let reason = fields.text("reason", REASON_CHARACTERS_MAX, "reason_invalid", "reason_too_long");
    let metadata = fields.metadata();
    fields.check()?;
    Ok(NewRefund { amount, reason, metadata })
}

fn refused(why: NotRefundable) -> Problem {
    match why {
        NotRefundable::NotCompleted => Problem::Conflict {
            code: "payment_not_refundable",
            detail: "The payment has not taken any money: only a completed one can be refunded.".to_owned(),
        },
        NotRefundable::TooMuch { left } => Problem::RefundTooLarge { left },
        NotRefundable::TooMany => Problem::Conflict {
            code: "refunds_too_many",
            detail: format!("The payment has {REFUNDS_PER_PAYMENT_MAX} refunds, which is all it may have."),
        },
    }
}
