//! `POST /v1/payments/{id}/refunds`: one transaction makes a refund and reserves its amount on the payment.

use std::sync::Arc;

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use florin_domain::{
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
        match payments.create_refund(&payment, &refund).await? {
            Reserved::Lost(existing) => return replay(&api, &existing, &new, &headers).await,
            Reserved::Done(refund) => {
                announce::refund_initiated(&api, &refund, &context::correlation(&headers, refund.id.as_str())).await;
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
    announce::refund_initiated(api, existing, &context::correlation(headers, existing.id.as_str())).await;
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
