//! What every request has: an id, a correlation, and a line in the log.

use std::sync::{Arc, OnceLock};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use florin_domain::{
    card::contains_card_number,
    event::{CORRELATION_ID_CHARACTERS_MAX, Correlation},
    rate::Standing,
};
use lambda_http::request::RequestContext;

use crate::{Api, headers, limits, problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What becomes known of a request on its way, for its line in the log and the headers of its answer.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    actor: OnceLock<String>,
    standing: OnceLock<Standing>,
}

impl Slot {
    /// Somebody of this id acts.
    pub(crate) fn acts(&self, actor: &str) {
        self.actor.get_or_init(|| actor.to_owned());
    }

    /// Whoever acts stands so with the rate limit.
    pub(crate) fn stands(&self, standing: Standing) {
        self.standing.get_or_init(|| standing);
    }
}

/// Names the request, logs how it ended, and gives every answer its headers.
pub(crate) async fn layer(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let clock = &api.dependencies.clock;
    let started = clock.now();
    let request_id = request_id(&request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let [client_request_id, correlation_id] = [REQUEST_ID, CORRELATION_ID].map(|name| id(request.headers(), &name));
    let secure = headers::came_by_https(request.headers());
    let slot = Arc::new(Slot::default());
    request.extensions_mut().insert(Arc::clone(&slot));
    let response = next.run(request).await;
    let mut response = problem::render(response, &request_id);
    let (status, actor) = (response.status().as_u16(), slot.actor.get());
    let duration_ms = clock.now().ms_since(started);
    tracing::info!(
        request_id, client_request_id, correlation_id, actor, %method, route, status, duration_ms, "request"
    );
    let headers = response.headers_mut();
    headers::protect(headers, secure);
    if let Some(standing) = slot.standing.get() {
        limits::tell(headers, *standing);
    }
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

/// The client's `X-Correlation-Id`, if it is fit to be passed on.
pub(crate) fn correlation_id(headers: &HeaderMap) -> Option<String> {
    id(headers, &CORRELATION_ID)
}

/// What ties together what this request sets off: the client's `X-Correlation-Id`, or else what its creation set off.
pub(crate) fn correlation(headers: &HeaderMap, creation: Correlation) -> Correlation {
    Correlation {
        id: correlation_id(headers).unwrap_or(creation.id),
        traceparent: headers
            .get(TRACEPARENT)
            .and_then(|value| value.to_str().ok())
            .filter(is_traceparent)
            .map(str::to_owned),
    }
}

/// An id that the client gave in this header, if it is fit to be passed on; others are passed over, not refused.
fn id(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let id = headers.get(name)?.to_str().ok()?;
    let fits = (1..=CORRELATION_ID_CHARACTERS_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    // It goes into logs, and a correlation id into events and messages.
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
