//! Whether the API is there, and whether it can work.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{Api, problem::Problem};

/// The process runs.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The process runs, and which version it is.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// The tables can be read.
pub(crate) async fn ready(State(api): State<Arc<Api>>) -> Result<Json<Value>, Problem> {
    api.dependencies.merchants.ping().await.map_err(|error| Problem::Unavailable(error.to_string()))?;
    Ok(Json(json!({ "status": "ok", "checks": { "dynamodb": "ok" } })))
}
