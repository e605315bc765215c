//! What every request has: an id, a correlation, and a line in the log.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use florin_domain::{
    card::contains_card_number,
    event::{CORRELATION_ID_CHARACTERS_MAX, Correlation},
};
use lambda_http::request::RequestContext;

use crate::{Api, problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Names the request, logs how it ended, and gives every answer its headers.
pub(crate) async fn layer(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let clock = &api.dependencies.clock;
    let started = clock.now();
    let request_id = request_id(&request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let correlation_id = correlation_id(request.headers());
    let response = next.run(request).await;
    let mut response = problem::render(response, &request_id);
    let status = response.status().as_u16();
    let duration_ms = clock.now().ms_since(started);
    tracing::info!(request_id, correlation_id, %method, route, status, duration_ms, "request");
    let headers = response.headers_mut();
    // Nothing is kept by anybody, but for what says so itself.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in [(REQUEST_ID, Some(request_id)), (CORRELATION_ID, correlation_id)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    response
}

/// API Gateway's id for the request, so that its log and ours can be laid side by side; without one, a random one.
fn request_id(request: &Request) -> String {
    match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    }
    .filter(|id| !id.is_empty())
    .unwrap_or_else(|| format!("req_{}", florin_platform::random::hex128()))
}

/// What ties together what this request sets off: the client's `X-Correlation-Id`, or else `fallback`.
pub(crate) fn correlation(headers: &HeaderMap, fallback: &str) -> Correlation {
    Correlation {
        id: correlation_id(headers).unwrap_or_else(|| fallback.to_owned()),
        traceparent: headers
            .get(TRACEPARENT)
            .and_then(|value| value.to_str().ok())
            .filter(is_traceparent)
            .map(str::to_owned),
    }
}

/// The client's `X-Correlation-Id`, if it is fit to be passed on; others are passed over, not refused.
fn correlation_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(CORRELATION_ID)?.to_str().ok()?;
    let fits = (1..=CORRELATION_ID_CHARACTERS_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    // It goes into logs, events and messages.
    let fits = fits && !contains_card_number(id);
    fits.then(|| id.to_owned())
}

/// W3C Trace Context, version 00: `00-<32 hex>-<16 hex>-<2 hex>`.
fn is_traceparent(text: &&str) -> bool {
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &&str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && hex(part))
        && parts.first() == Some(&"00")
}
