//! Errors in Stripe's shape. <https://docs.stripe.com/api/errors>

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use florin_store::StoreError;
use http::StatusCode;
use serde_json::{Map, Value, json};

/// An answer that is not a success and is not kept under the key.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: Map<String, Value>,
}

impl Failure {
    fn new(status: StatusCode, kind: &str, message: &str) -> Self {
        let error = [("type", kind), ("message", message)];
        Self { status, error: error.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect() }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.error.insert(name.to_owned(), value.into());
        self
    }

    /// A parameter is wrong.
    pub(crate) fn parameter(name: &str, code: &str, message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message).with("code", code).with("param", name)
    }

    /// The request is wrong in a way for which Stripe has no code.
    pub(crate) fn invalid(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// The request is wrong, and Stripe has a code for it.
    pub(crate) fn refused(code: &str, message: &str) -> Self {
        Self::invalid(message).with("code", code)
    }

    /// A refund larger than what is left.
    pub(crate) fn refund_too_large(asked: i64, left: i64) -> Self {
        let message = format!("Refund amount ({asked}) is greater than unrefunded amount on charge ({left})");
        Self::invalid(&message).with("param", "amount")
    }

    /// The request path names something that is not there.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", &format!("No such {what}"))
            .with("code", "resource_missing")
            .with("param", "id")
    }

    pub(crate) fn unknown_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "Unrecognized request URL or method.")
    }

    pub(crate) fn no_key() -> Self {
        let message = "You did not provide an API key. Provide it as a bearer token in the Authorization header.";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message)
    }

    pub(crate) fn wrong_key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", "Invalid API Key provided.")
    }

    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", "The request is too large.")
    }

    /// A card that cannot be a card.
    pub(crate) fn card(code: &str, name: &str, message: &str) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "card_error", message).with("code", code).with("param", name)
    }

    /// The key was used for something else.
    pub(crate) fn key_reused() -> Self {
        let message = "Keys for idempotent requests can only be used with the same parameters they were first used \
                       with, and with the same endpoint. Use another key for another request.";
        Self::new(StatusCode::BAD_REQUEST, "idempotency_error", message)
    }

    /// The first request with the key still runs.
    pub(crate) fn key_in_use() -> Self {
        let message = "There is another in-progress request with this idempotency key.";
        Self::new(StatusCode::CONFLICT, "idempotency_error", message).with("code", "idempotency_key_in_use")
    }

    /// Others change the same object too often at once. Nothing was done.
    pub(crate) fn locked() -> Self {
        let message = "This object is being changed by another request. Try again.";
        Self::new(StatusCode::CONFLICT, "invalid_request_error", message).with("code", "lock_timeout")
    }

    /// The gateway is out of order on purpose, and did nothing.
    pub(crate) fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "api_error", "The gateway is unavailable. Try again later.")
    }

    /// The gateway breaks: on purpose, or because of its table.
    pub(crate) fn broken() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "api_error", "An error occurred at the gateway.")
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the table failed");
        Self::broken()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}
