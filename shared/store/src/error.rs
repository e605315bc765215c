//! What can go wrong with a table.

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// A call that did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Throttled, timed out, unavailable, in conflict with another transaction: the same call may be made again.
    #[error("the table is not available: {0}")]
    Unavailable(String),
    /// A bug or a misconfiguration: trying again will not help.
    #[error("the table refused: {0}")]
    Refused(String),
    /// An item that is not shaped as this crate writes it.
    #[error("the item has no valid attribute {attribute}")]
    Corrupt {
        /// The attribute.
        attribute: &'static str,
    },
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Error codes of DynamoDB that pass by themselves.
const PASSING: [&str; 9] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "InternalServerError",
    "InternalFailure",
    "ServiceUnavailable",
    "TransactionConflictException",
    "TransactionInProgressException",
];

impl<E, R> From<SdkError<E, R>> for StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    fn from(error: SdkError<E, R>) -> Self {
        match &error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or("unknown");
                let text = format!("{code}: {}", service.err().message().unwrap_or_default());
                if PASSING.contains(&code) { Self::Unavailable(text) } else { Self::Refused(text) }
            }
            SdkError::ConstructionFailure(_) => Self::Refused("the request could not be built".to_owned()),
            SdkError::TimeoutError(_) => Self::Unavailable("timed out".to_owned()),
            // What the SDK says of a lost connection or an unreadable answer names no data of ours.
            _ => Self::Unavailable(DisplayErrorContext(&error).to_string()),
        }
    }
}

/// The answer to a conditional write; `None` if its condition failed.
pub(crate) fn unless_refused<T, E, R>(result: Result<T, SdkError<E, R>>) -> Result<Option<T>, StoreError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    match result {
        Ok(output) => Ok(Some(output)),
        Err(SdkError::ServiceError(error)) if error.err().code() == Some("ConditionalCheckFailedException") => Ok(None),
        Err(error) => Err(error.into()),
    }
}
