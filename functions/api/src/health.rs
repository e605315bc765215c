//! Whether the API is there, and whether it can work.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use florin_domain::breaker::BreakerState;
use serde_json::{Value, json};

use crate::{Api, problem::Problem};

/// Tells that the process runs.
#[utoipa::path(
    get, path = "/live", operation_id = "live", tag = "Health",
    responses(
        (status = 200, description = "It runs.", body = crate::openapi::schemas::health::Live),
    ),
)]
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Tells that the process runs, and which version it is.
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "Health",
    responses(
        (status = 200, description = "It runs.", body = crate::openapi::schemas::health::Health),
    ),
)]
pub(crate) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// Tells whether the tables can be read.
///
/// A gateway that is away does not make the API unready: everything but a new payment works,
/// and what was accepted waits.
#[utoipa::path(
    get, path = "/ready", operation_id = "ready", tag = "Health",
    responses(
        (status = 200, description = "They can.", body = crate::openapi::schemas::health::Ready),
        (status = 503, description = "unavailable"),
    ),
)]
pub(crate) async fn ready(State(api): State<Arc<Api>>) -> Result<Json<Value>, Problem> {
    let deps = &api.dependencies;
    deps.merchants.ping().await.map_err(|error| Problem::Unavailable(error.to_string()))?;
    let breaker = deps.breaker.current(deps.clock.now()).await?;
    Ok(Json(json!({ "status": "ok", "checks": { "dynamodb": "ok", "gateway": breaker.state.as_str() } })))
}

/// The state that all instances share, in the text format of Prometheus; nothing of any merchant.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "Health",
    responses(
        (status = 200, description = "Gauges.", body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
        (status = 503, description = "unavailable"),
    ),
)]
pub(crate) async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let breaker = api.dependencies.breaker.current(api.dependencies.clock.now()).await?;
    let states = BreakerState::ALL.map(|state| {
        let is = u8::from(state == breaker.state);
        format!("florin_gateway_breaker_state{{state=\"{}\"}} {is}\n", state.as_str())
    });
    let text = format!(
        "# HELP florin_build_info The version of this instance.\n\
         # TYPE florin_build_info gauge\n\
         florin_build_info{{version=\"{version}\"}} 1\n\
         # HELP florin_gateway_breaker_state 1 for where the circuit breaker around the gateway stands.\n\
         # TYPE florin_gateway_breaker_state gauge\n\
         {states}\
         # HELP florin_gateway_breaker_openings Openings since the circuit breaker was last closed.\n\
         # TYPE florin_gateway_breaker_openings gauge\n\
         florin_gateway_breaker_openings {openings}\n\
         # HELP florin_gateway_failures_in_a_row Failed calls of the gateway in a row while the breaker is closed.\n\
         # TYPE florin_gateway_failures_in_a_row gauge\n\
         florin_gateway_failures_in_a_row {failures}\n",
        version = env!("CARGO_PKG_VERSION"),
        states = states.concat(),
        openings = breaker.openings,
        failures = breaker.failures,
    );
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
