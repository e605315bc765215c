//! `POST /v1/ops/payments/{id}/retry` and `settle`, and the same for refunds: a person decides what becomes of what is
//! stuck. Who decided what, and why, stands in the audit before anything is done, and what came of it afterwards.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use florin_domain::{
    event::{Correlation, EventData},
    journal::{Failure, NOTE_CHARACTERS_MAX},
    saga::{self, OPERATOR_RETRIES_MAX, Settlement},
    time::Timestamp,
};
use florin_store::{
    audit::{AuditEntry, OPERATIONS},
    payments::{DUE_AFTER_MS, Due, RefundWritten, Written},
};
use serde_json::{Map, Value};

use super::ACTOR_CHARACTERS_MAX;
use crate::{
    Api, announce,
    auth::Operator,
    body::{self, Fields},
    context,
    path::Name,
    problem::Problem,
};

/// Longest name that a gateway gives a charge or refund, in characters.
const REFERENCE_CHARACTERS_MAX: usize = 100;
/// Longest failure code, in characters.
const CODE_CHARACTERS_MAX: usize = 60;
/// Tries of a decision that meets other changes of the same payment or refund.
const TRIES_MAX: usize = 5;

/// What is to become of it.
enum Decision {
    Retry,
    Settle(Settlement),
}

/// Who decides what, and why.
struct Order {
    actor: String,
    note: String,
    decision: Decision,
}

/// Lets the processor go on with a stuck payment where it gave up, with the same keys; at most three times.
#[utoipa::path(
    post, path = "/v1/ops/payments/{id}/retry", operation_id = "retry_payment", tag = "Operations",
    params(crate::openapi::params::PaymentPath),
    request_body = crate::openapi::schemas::operations::Retry,
    responses(
        (status = 200, description = "The payment.", body = crate::openapi::schemas::payments::Payment),
        (status = 404, description = "payment_not_found"),
        (status = 409, description = "payment_not_stuck operator_retries_exhausted"),
        (status = 422, description = "actor_missing actor_invalid note_missing note_invalid card_number_in_text"),
    ),
    security(("operatorKey" = [])),
)]
pub(crate) async fn retry_payment(
    State(api): State<Arc<Api>>,
    _: Operator,
    Name(id): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<EventData>, Problem> {
    let order = read_retry(&headers, body).await?;
    carry_out(&api, payment(&api, &id).await?, &order, &headers).await
}

/// Ends a stuck payment as you found it to be at the gateway.
#[utoipa::path(
    post, path = "/v1/ops/payments/{id}/settle", operation_id = "settle_payment", tag = "Operations",
    params(crate::openapi::params::PaymentPath),
    request_body = crate::openapi::schemas::operations::Settlement,
    responses(
        (status = 200, description = "The payment.", body = crate::openapi::schemas::payments::Payment),
        (status = 404, description = "payment_not_found"),
        (status = 409, description = "payment_not_stuck"),
        (status = 422, description = "actor_missing actor_invalid note_missing note_invalid card_number_in_text outcome_missing \
            outcome_invalid reference_missing reference_invalid code_missing code_invalid"),
    ),
    security(("operatorKey" = [])),
)]
pub(crate) async fn settle_payment(
    State(api): State<Arc<Api>>,
    _: Operator,
    Name(id): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<EventData>, Problem> {
    let order = read_settlement(&headers, body).await?;
    carry_out(&api, payment(&api, &id).await?, &order, &headers).await
}

/// Lets the processor go on with a stuck refund where it gave up, with the same keys; at most three times.
#[utoipa::path(
    post, path = "/v1/ops/refunds/{id}/retry", operation_id = "retry_refund", tag = "Operations",
    params(crate::openapi::params::RefundPath),
    request_body = crate::openapi::schemas::operations::Retry,
    responses(
        (status = 200, description = "The refund.", body = crate::openapi::schemas::refunds::Refund),
        (status = 404, description = "refund_not_found"),
        (status = 409, description = "refund_not_stuck operator_retries_exhausted"),
        (status = 422, description = "actor_missing actor_invalid note_missing note_invalid card_number_in_text"),
    ),
    security(("operatorKey" = [])),
)]
pub(crate) async fn retry_refund(
    State(api): State<Arc<Api>>,
    _: Operator,
    Name(id): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<EventData>, Problem> {
    let order = read_retry(&headers, body).await?;
    carry_out(&api, refund(&api, &id).await?, &order, &headers).await
}

/// Ends a stuck refund as you found it to be at the gateway.
#[utoipa::path(
    post, path = "/v1/ops/refunds/{id}/settle", operation_id = "settle_refund", tag = "Operations",
    params(crate::openapi::params::RefundPath),
    request_body = crate::openapi::schemas::operations::Settlement,
    responses(
        (status = 200, description = "The refund.", body = crate::openapi::schemas::refunds::Refund),
        (status = 404, description = "refund_not_found"),
        (status = 409, description = "refund_not_stuck"),
        (status = 422, description = "actor_missing actor_invalid note_missing note_invalid card_number_in_text outcome_missing \
            outcome_invalid reference_missing reference_invalid code_missing code_invalid"),
    ),
    security(("operatorKey" = [])),
)]
pub(crate) async fn settle_refund(
    State(api): State<Arc<Api>>,
    _: Operator,
    Name(id): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<EventData>, Problem> {
    let order = read_settlement(&headers, body).await?;
    carry_out(&api, refund(&api, &id).await?, &order, &headers).await
}

async fn payment(api: &Api, id: &str) -> Result<Due, Problem> {
    let id = id.parse().map_err(|_| Problem::PaymentNotFound)?;
    let found = api.dependencies.payments.get_of_any_merchant(&id).await?;
    found.map(Due::Payment).ok_or(Problem::PaymentNotFound)
}

async fn refund(api: &Api, id: &str) -> Result<Due, Problem> {
    let id = id.parse().map_err(|_| Problem::RefundNotFound)?;
    let found = api.dependencies.payments.refund_of_any_merchant(&id).await?;
    found.map(Due::Refund).ok_or(Problem::RefundNotFound)
}

async fn carry_out(api: &Api, mut due: Due, order: &Order, headers: &HeaderMap) -> Result<Json<EventData>, Problem> {
    // What cannot be done is not worth an entry.
    decide(&due, order, api.dependencies.clock.now())?;
    write_down(api, &due, order, None).await?;
    for _ in 0..TRIES_MAX {
        let now = api.dependencies.clock.now();
        let decided = match decide(&due, order, now) {
            Ok(decided) => decided,
            Err(refused) => {
                write_down(api, &due, order, Some("somebody else was first".to_owned())).await?;
                return Err(refused);
            }
        };
        match store(api, &due, &decided, now).await? {
            Some(winner) => due = winner,
            None => {
                publish(api, &decided, order, headers).await;
                let shown = shown(&decided);
                if let Err(error) = write_down(api, &decided, order, Some(outcome(&decided))).await {
                    // It is done, and that it was going to be stands there.
                    tracing::error!(id = decided.id(), ?error, "the outcome is missing in the audit");
                }
                return Ok(Json(shown));
            }
        }
    }
    Err(Problem::Unavailable("it kept changing".to_owned()))
}

/// What becomes of it, or why that cannot be.
fn decide(due: &Due, order: &Order, now: Timestamp) -> Result<Due, Problem> {
    let decided = match (due, &order.decision) {
        (Due::Payment(payment), Decision::Retry) => saga::try_again(payment, &order.note, now).map(Due::Payment),
        (Due::Refund(refund), Decision::Retry) => refund.try_again(&order.note, now).map(Due::Refund),
        (Due::Payment(payment), Decision::Settle(settlement)) => {
            saga::settle_by_hand(payment, settlement.clone(), &order.note, now).map(Due::Payment)
        }
        (Due::Refund(refund), Decision::Settle(settlement)) => {
            refund.settle_by_hand(settlement.clone(), &order.note, now).map(Due::Refund)
        }
    };
    decided.ok_or_else(|| refused(due))
}

fn refused(due: &Due) -> Problem {
    let (code, detail) = match due {
        _ if due.is_stuck() => (
            "operator_retries_exhausted",
            format!("It was tried again {OPERATOR_RETRIES_MAX} times already: settle it by hand."),
        ),
        Due::Payment(payment) => ("payment_not_stuck", format!("The payment is {}.", payment.status.as_str())),
        Due::Refund(refund) => ("refund_not_stuck", format!("The refund is {}.", refund.status.as_str())),
    };
    Problem::Conflict { code, detail }
}

/// Stores the decision. What is there instead, if somebody was first.
async fn store(api: &Api, from: &Due, to: &Due, now: Timestamp) -> Result<Option<Due>, Problem> {
    let payments = &api.dependencies.payments;
    match (from, to) {
        (Due::Payment(from), Due::Payment(to)) => {
            match payments.command(from, to, now).await?.ok_or(Problem::PaymentNotFound)? {
                Written::Done(_) => Ok(None),
                Written::Lost(winner) => Ok(Some(Due::Payment(winner))),
            }
        }
        (Due::Refund(from), Due::Refund(to)) => {
            match payments.save_refund(from, to).await?.ok_or(Problem::RefundNotFound)? {
                RefundWritten::Lost(winner) => Ok(Some(Due::Refund(winner))),
                RefundWritten::Done(refund) => {
                    // Stuck ones are looked at rarely; this one may have to be set going by the sweeper.
                    let due = Due::Refund(refund);
                    if let Err(error) = payments.postpone_due(&due, now.plus_ms(DUE_AFTER_MS)).await {
                        tracing::warn!(id = due.id(), %error, "if its event is lost, the sweeper comes late");
                    }
                    Ok(None)
                }
            }
        }
        _ => Err(Problem::Internal("a payment became a refund".to_owned())),
    }
}

async fn publish(api: &Api, due: &Due, order: &Order, headers: &HeaderMap) {
    let creation = match due {
        Due::Payment(payment) => Correlation::of_payment(payment),
        Due::Refund(refund) => Correlation::of_refund(refund),
    };
    let correlation = context::correlation(headers, creation);
    match &order.decision {
        Decision::Settle(_) => announce::ended(api, due, &correlation).await,
        Decision::Retry => announce::again(api, due, &correlation).await,
    }
}

fn shown(due: &Due) -> EventData {
    match due {
        Due::Payment(payment) => EventData::Payment(payment.view()),
        Due::Refund(refund) => EventData::Refund(refund.view()),
    }
}

fn outcome(due: &Due) -> String {
    match due {
        Due::Payment(payment) => payment.status.as_str().to_owned(),
        Due::Refund(refund) => refund.status.as_str().to_owned(),
    }
}

/// Writes to the audit what is going to be done or, with an outcome, what came of it.
async fn write_down(api: &Api, due: &Due, order: &Order, outcome: Option<String>) -> Result<(), Problem> {
    let (kind, merchant_id) = match due {
        Due::Payment(payment) => ("payment", &payment.merchant_id),
        Due::Refund(refund) => ("refund", &refund.merchant_id),
    };
    let (verb, asked) = match &order.decision {
        Decision::Retry => ("retry", None),
        Decision::Settle(Settlement::Completed { reference }) => ("settle", Some(format!("completed as {reference}"))),
        Decision::Settle(Settlement::Failed { failure }) => ("settle", Some(format!("failed for {}", failure.code))),
    };
    let ended = if outcome.is_some() { ".end" } else { "" };
    let details = [
        ("id", Some(due.id().to_owned())),
        ("merchant_id", Some(merchant_id.to_string())),
        ("note", Some(order.note.clone())),
        ("settlement", asked),
        ("outcome", outcome),
    ];
    let entry = AuditEntry {
        at: api.dependencies.clock.now(),
        id: florin_platform::random::hex128(),
        actor: order.actor.clone(),
        action: format!("ops.{kind}.{verb}{ended}"),
        details: details
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect::<BTreeMap<_, _>>(),
    };
    // For operators, and for the merchant's own people.
    Ok(api.dependencies.audit.append_to(&[OPERATIONS, merchant_id.as_str()], &entry).await?)
}

async fn read_retry(headers: &HeaderMap, body: Body) -> Result<Order, Problem> {
    let mut fields = Fields::new(read(headers, body).await?, "");
    let (actor, note) = who_and_why(&mut fields);
    order(fields, actor, note, Some(Decision::Retry))
}

async fn read_settlement(headers: &HeaderMap, body: Body) -> Result<Order, Problem> {
    let mut fields = Fields::new(read(headers, body).await?, "");
    let (actor, note) = who_and_why(&mut fields);
    let settlement = settlement(&mut fields);
    order(fields, actor, note, settlement.map(Decision::Settle))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, Problem> {
    body::check_content_type(headers)?;
    body::object(body, headers).await
}

fn order(
    fields: Fields,
    actor: Option<String>,
    note: Option<String>,
    decision: Option<Decision>,
) -> Result<Order, Problem> {
    let errors = fields.finish();
    match (actor, note, decision) {
        (Some(actor), Some(note), Some(decision)) if errors.is_empty() => Ok(Order { actor, note, decision }),
        _ => Err(Problem::Fields(errors)),
    }
}

fn who_and_why(fields: &mut Fields) -> (Option<String>, Option<String>) {
    let actor = fields.line("actor", ACTOR_CHARACTERS_MAX, "actor_missing", "actor_invalid");
    (actor, fields.line("note", NOTE_CHARACTERS_MAX, "note_missing", "note_invalid"))
}

/// The end that an operator found out at the gateway.
fn settlement(fields: &mut Fields) -> Option<Settlement> {
    let outcome = fields.required_text("outcome", "outcome_missing", "outcome_invalid")?;
    match outcome.as_str() {
        "completed" => {
            let max = REFERENCE_CHARACTERS_MAX;
            let reference = fields.line("reference", max, "reference_missing", "reference_invalid")?;
            Some(Settlement::Completed { reference })
        }
        "failed" => {
            let code = fields.line("code", CODE_CHARACTERS_MAX, "code_missing", "code_invalid")?;
            if !code.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
                fields.wrong("code", "code_invalid", "The code has lower-case letters, digits and underscores.");
                return None;
            }
            Some(Settlement::Failed { failure: Failure::new(&code, "Decided by an operator.") })
        }
        _ => {
            fields.wrong("outcome", "outcome_invalid", "The outcome is completed or failed.");
            None
        }
    }
}
