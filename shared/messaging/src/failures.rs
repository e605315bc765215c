//! Why messages failed: kept beside the queue, so that a dead letter can be shown with its reason.

use async_trait::async_trait;
pub use florin_store::failures::Failed;
use florin_store::failures::Failures;

/// Keeps the reason of each message's last failure, by message id.
#[async_trait]
pub trait FailureLog: Send + Sync {
    /// Keeps what it can: a reason that is lost must not cost the batch.
    async fn record(&self, failures: Vec<Failed>);
}

#[async_trait]
impl FailureLog for Failures {
    async fn record(&self, failures: Vec<Failed>) {
        log_and_go_on(self.put(&failures).await, failures.len());
    }
}

/// The one place where such an error is swallowed.
fn log_and_go_on(outcome: Result<(), florin_store::StoreError>, failures: usize) {
    if let Err(error) = outcome {
        tracing::warn!(failures, %error, "the reasons of failures were not recorded");
    }
}
