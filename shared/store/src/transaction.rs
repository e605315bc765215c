//! One try of a transaction, and what became of it.

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{CancellationReason, TransactWriteItem},
};

use crate::StoreError;

/// What became of a transaction.
pub(crate) enum Transacted {
    /// All of it happened.
    Done,
    /// Another transaction was at the same items, or the table was throttled: it may be tried again at once, which is
    /// sooner than a redelivery.
    Passing,
    /// Conditions failed: the reasons stand in the order of the actions.
    Conditions(Vec<CancellationReason>),
}

/// Writes all or nothing.
pub(crate) async fn transact(client: &Client, actions: Vec<TransactWriteItem>) -> Result<Transacted, StoreError> {
    match client.transact_write_items().set_transact_items(Some(actions)).send().await {
        Ok(_) => Ok(Transacted::Done),
        Err(SdkError::ServiceError(error)) => match error.into_err() {
            TransactWriteItemsError::TransactionCanceledException(canceled) => {
                let reasons = canceled.cancellation_reasons.unwrap_or_default();
                let failed = reasons.iter().any(|reason| reason.code() == Some("ConditionalCheckFailed"));
                Ok(if failed { Transacted::Conditions(reasons) } else { Transacted::Passing })
            }
            error => Err(SdkError::<_, ()>::service_error(error, ()).into()),
        },
        Err(error) => Err(error.into()),
    }
}
