//! `POST /v1/payments/{id}/cancel`, `hold` and `resume`: a merchant's commands.
//!
//! They need no `Idempotency-Key`: a command that has been obeyed is answered with the state that it brought about. Its
//! event is published again then, with the same id, because the first one may have been lost.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use florin_domain::{
    event::{Correlation, Event},
    payment::{Payment, Status},
    saga::{self, Command, HOLDS_MAX},
    time::Timestamp,
};
use florin_store::payments::{Due, Written};

use crate::{
    Api, announce,
    auth::Caller,
    body::{self, Fields},
    context,
    path::Name,
    payments::get::find,
    permission::{May, PaymentsWrite},
    problem::Problem,
};

/// Tries of a command that meets other changes of the same payment.
const TRIES_MAX: usize = 5;

/// What a merchant may ask of a payment.
#[derive(Clone, Copy)]
enum Kind {
    Cancel,
    Hold,
    Resume,
}

impl Kind {
    fn decide(self, payment: &Payment, now: Timestamp) -> Command {
        match self {
            Self::Cancel => saga::cancel(payment, now),
            Self::Hold => saga::hold(payment, now),
            Self::Resume => saga::resume(payment, now),
        }
    }

    fn refused(self, payment: &Payment) -> Problem {
        let status = payment.status.as_str();
        let (code, detail) = match self {
            Self::Cancel => ("payment_not_cancelable", format!("The payment is {status}.")),
            Self::Hold if matches!(payment.status, Status::Scheduled | Status::Pending) => {
                ("payment_not_holdable", format!("The payment is {status}, and was held {HOLDS_MAX} times already."))
            }
            Self::Hold => ("payment_not_holdable", format!("The payment is {status}.")),
            Self::Resume => ("payment_not_resumable", format!("The payment is {status}.")),
        };
        Problem::Conflict { code, detail }
    }

    /// Tells what the command has brought about.
    async fn announce(self, api: &Api, payment: &Payment, correlation: &Correlation) {
        match self {
            Self::Cancel => announce::ended(api, &Due::Payment(payment.clone()), correlation).await,
            Self::Hold => {
                announce::publish(api, &Event::held(payment, correlation)).await;
            }
            Self::Resume => {
                announce::publish(api, &Event::resumed(payment, correlation)).await;
                announce::initiated(api, payment, correlation).await;
            }
        }
    }
}

/// Withdraws a payment.
///
/// Before it is processed no money moves. While it is, the answer is 202: what is charged is given back, and the
/// payment ends as `failed`. A command that was obeyed before is answered with the state that it brought about.
#[utoipa::path(
    post, path = "/v1/payments/{id}/cancel", operation_id = "cancel_payment", tag = "Payments",
    params(crate::openapi::params::PaymentPath),
    request_body = Option<crate::openapi::schemas::payments::NoFields>,
    responses(
        (status = 200, description = "It is `canceled`.", body = crate::openapi::schemas::payments::Payment),
        (status = 202, description = "It is processed, and its withdrawal is noted.", body = crate::openapi::schemas::payments::Payment),
        (status = 404, description = "payment_not_found"),
        (status = 409, description = "payment_not_cancelable"),
    ),
    security(("caller" = ["payments:write"])),
)]
pub(crate) async fn cancel(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsWrite>,
    Name(id): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    obey(&api, &caller, &id, &headers, body, Kind::Cancel).await
}

/// Holds a payment that waits, until it is resumed or canceled; at most ten times.
#[utoipa::path(
    post, path = "/v1/payments/{id}/hold", operation_id = "hold_payment", tag = "Payments",
    params(crate::openapi::params::PaymentPath),
    request_body = Option<crate::openapi::schemas::payments::NoFields>,
    responses(
        (status = 200, description = "It is `on_hold`.", body = crate::openapi::schemas::payments::Payment),
        (status = 404, description = "payment_not_found"),
        (status = 409, description = "payment_not_holdable"),
    ),
    security(("caller" = ["payments:write"])),
)]
pub(crate) async fn hold(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsWrite>,
    Name(id): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    obey(&api, &caller, &id, &headers, body, Kind::Hold).await
}

/// Lets a held payment go on.
#[utoipa::path(
    post, path = "/v1/payments/{id}/resume", operation_id = "resume_payment", tag = "Payments",
    params(crate::openapi::params::PaymentPath),
    request_body = Option<crate::openapi::schemas::payments::NoFields>,
    responses(
        (status = 200, description = "It is `pending`, or `scheduled` if its moment is still to come.", body = crate::openapi::schemas::payments::Payment),
        (status = 404, description = "payment_not_found"),
        (status = 409, description = "payment_not_resumable"),
    ),
    security(("caller" = ["payments:write"])),
)]
pub(crate) async fn resume(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsWrite>,
    Name(id): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    obey(&api, &caller, &id, &headers, body, Kind::Resume).await
}

async fn obey(
    api: &Api,
    caller: &Caller,
    id: &str,
    headers: &HeaderMap,
    body: Body,
    kind: Kind,
) -> Result<Response, Problem> {
    Fields::new(body::object_if_any(body, headers).await?, "").check()?;
    let payments = &api.dependencies.payments;
    let mut payment = find(api, caller, id).await?;
    let correlation = context::correlation(headers, Correlation::of_payment(&payment));
    for _ in 0..TRIES_MAX {
        let now = api.dependencies.clock.now();
        let written = match kind.decide(&payment, now) {
            Command::Refused => return Err(kind.refused(&payment)),
            Command::Already => Some(Written::Done(payment)),
            Command::Store(to) => payments.command(&payment, &to, now).await?,
            Command::Ask => payments.request_cancel(&payment, now).await?,
        };
        match written.ok_or(Problem::PaymentNotFound)? {
            Written::Lost(winner) => payment = winner,
            Written::Done(payment) if payment.status == Status::Processing => {
                return Ok((StatusCode::ACCEPTED, Json(payment.view())).into_response());
            }
            Written::Done(payment) => {
                kind.announce(api, &payment, &correlation).await;
                return Ok(Json(payment.view()).into_response());
            }
        }
    }
    Err(Problem::Unavailable("the payment kept changing".to_owned()))
}
