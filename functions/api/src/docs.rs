//! `GET /openapi.json` and `GET /docs`: the description of the API, for programs and for people. Both are files that
//! `tests/openapi.rs` makes; nothing is computed here.

use axum::{
    http::{HeaderName, header},
    response::IntoResponse,
};

const DOCUMENT: &str = include_str!("../assets/openapi.json");
const PAGE: &str = include_str!("../assets/docs.html");
/// Allows the page its own style, by its hash, and nothing else.
const PAGE_POLICY: &str = include_str!("../assets/docs.csp").trim_ascii_end();
/// They change with a deployment only.
const CACHED: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=300");

/// The description of this API: OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "get_openapi", tag = "Health",
    responses((status = 200, description = "The document.", body = Object)),
)]
pub(crate) async fn openapi() -> impl IntoResponse {
    ([CACHED, (header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

/// The same as a page for people, which needs nothing from elsewhere.
#[utoipa::path(
    get, path = "/docs", operation_id = "get_docs", tag = "Health",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html; charset=utf-8")),
)]
pub(crate) async fn docs() -> impl IntoResponse {
    ([CACHED, (header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], PAGE)
}
