//! What a service answers when it refuses.

use http::StatusCode;

/// An error of a service, by the names that its SDKs know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// HTTP status.
    pub status: StatusCode,
    /// What SDKs match on: the shape's name, such as `QueueDoesNotExist`.
    pub code: String,
    /// The code of the older query protocol where it differs (`x-amzn-query-error`, `<Code>` in XML), such as
    /// `AWS.SimpleQueueService.NonExistentQueue`.
    pub query_code: Option<String>,
    /// For people. It names the resource or field at fault.
    pub message: String,
}

impl ServiceError {
    /// The caller's fault: status 400.
    #[must_use]
    pub fn sender(code: &str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: code.to_owned(), query_code: None, message: message.into() }
    }

    /// The same with the code of the query protocol.
    #[must_use]
    pub fn with_query_code(mut self, query_code: &str) -> Self {
        self.query_code = Some(query_code.to_owned());
        self
    }

    /// The same with another HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Our fault, or what a fault rule asked for: status 500.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "InternalFailure".to_owned(),
            query_code: None,
            message: message.into(),
        }
    }

    /// Whether the caller is at fault (`Sender`) or the service (`Receiver`).
    #[must_use]
    pub fn is_sender_fault(&self) -> bool {
        self.status.is_client_error()
    }
}
