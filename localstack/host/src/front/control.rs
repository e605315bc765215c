//! The control address: health, counters, fault rules, invocations. Never what a function could mistake for AWS.

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected, Limited};
use hyper::body::Incoming;
use serde_json::json;

use super::{Front, wire};
use crate::faults::Rule;

/// Bytes of a rule, or of an event by hand.
const BODY_BYTES_MAX: usize = 64 * 1024;
const TOO_LARGE: &str = "the body is larger than 64 KiB";

/// Answers `/metrics` and `/_host/…`.
pub(super) async fn answer(front: &Front, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match (request.method().clone(), path.as_str()) {
        (Method::GET, "/_host/health") => json(&json!({ "status": "ok", "account": crate::model::ACCOUNT_ID })),
        (Method::GET, "/_host/counters") => json(&front.counters.snapshot(front.faults.fired())),
        (Method::POST, "/_host/counters/reset") => {
            front.counters.reset();
            json(&json!({}))
        }
        (Method::GET, "/metrics") => metrics(front),
        (Method::GET, "/_host/faults") => json(&json!({ "faults": front.faults.list() })),
        (Method::POST, "/_host/faults") => add_fault(front, request).await,
        (Method::POST, path) => {
            match path.strip_prefix("/_host/invoke/").and_then(|name| front.functions.named(name)) {
                Some(function) => invoke(front, &function, request).await,
                None => refuse(StatusCode::NOT_FOUND, "there is no such route, or no such function"),
            }
        }
        (Method::DELETE, "/_host/faults") => json(&json!({ "cleared": front.faults.clear(None) })),
        (Method::DELETE, path) => match path.strip_prefix("/_host/faults/").map(str::parse) {
            Some(Ok(id)) if front.faults.clear(Some(id)) => json(&json!({ "cleared": true })),
            _ => refuse(StatusCode::NOT_FOUND, "there is no such fault rule"),
        },
        _ => refuse(StatusCode::NOT_FOUND, "the control address has no such route"),
    }
}

async fn add_fault(front: &Front, request: Request<Incoming>) -> Response<Body> {
    let Some(body) = body(request).await else { return refuse(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE) };
    let added = serde_json::from_slice::<Rule>(&body)
        .map_err(|error| error.to_string())
        .and_then(|rule| front.faults.add(rule));
    match added {
        Ok(id) => json(&json!({ "id": id })),
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error),
    }
}

/// Hands a function the body as its event, and answers with what it returns: a schedule need not be waited for.
async fn invoke(front: &Front, function: &str, request: Request<Incoming>) -> Response<Body> {
    let Some(event) = body(request).await else { return refuse(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE) };
    match front.functions.invoke(function, event.into()).await {
        Ok(answer) => wire::json_text(StatusCode::OK, String::from_utf8_lossy(&answer).into_owned()),
        Err(error) => refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
    }
}

async fn body(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    body.ok().map(Collected::to_bytes)
}

/// Counters, and how many messages each queue has.
fn metrics(front: &Front) -> Response<Body> {
    let mut text = front.counters.snapshot(front.faults.fired()).prometheus();
    let lost = front.topics.dropped();
    text.push_str(&format!(
        "# HELP host_deliveries_lost_total Deliveries of topics that no queue took.\n\
         # TYPE host_deliveries_lost_total counter\nhost_deliveries_lost_total {lost}\n"
    ));
    text.push_str("# HELP host_queue_messages Messages of a queue.\n# TYPE host_queue_messages gauge\n");
    for name in front.queues.names() {
        let Ok(counts) = front.queues.counts(&name) else { continue };
        for (state, count) in
            [("visible", counts.visible), ("in_flight", counts.in_flight), ("delayed", counts.delayed)]
        {
            // Names of queues need no escapes.
            text.push_str(&format!("host_queue_messages{{queue=\"{name}\",state=\"{state}\"}} {count}\n"));
        }
    }
    wire::plain(StatusCode::OK, &text)
}

fn json(value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(text) => wire::json_text(StatusCode::OK, text),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn refuse(status: StatusCode, message: &str) -> Response<Body> {
    wire::json_text(status, json!({ "error": message }).to_string())
}
