//! Event source mappings: what Lambda's pollers do between a queue and a function.
//!
//! Rules: <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>. How many batches are at work at once, and for
//! how long a failing function is left alone, AWS does not say in numbers; ours are in `pace.rs`.

mod answer;
mod event;
mod filter;
mod pace;
mod poller;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::time::sleep;

use super::InvokeError;
use crate::{
    counters::{Call, CallKey, Counters, POLLER},
    error::ServiceError,
    faults::{self, Fault, Faults, Service},
    sqs::{Queues, Received},
};

pub(crate) use self::poller::{Poller, Settings};

/// What acknowledges messages.
const DELETE_BATCH: &str = "DeleteMessageBatch";
/// Messages of one acknowledgement, as SQS allows.
const DELETE_BATCH_MAX: usize = 10;

/// Where batches come from.
pub(crate) trait Source: Send + Sync {
    /// Waits up to `wait` for up to `max` messages.
    fn receive<'a>(
        &'a self,
        queue: &'a str,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Received>, ServiceError>>;

    /// Deletes messages by their receipt handles.
    fn delete<'a>(&'a self, queue: &'a str, receipt_handles: &'a [String]) -> BoxFuture<'a, Result<(), ServiceError>>;
}

/// Where batches go.
pub(crate) trait Target: Send + Sync {
    /// Invokes a function by its logical id.
    fn invoke<'a>(&'a self, function: &'a str, payload: Bytes) -> BoxFuture<'a, Result<Bytes, InvokeError>>;
}

/// The host's queues, with what is counted and what fault rules ask for.
pub(crate) struct Polled {
    pub(crate) queues: Queues,
    pub(crate) counters: Arc<Counters>,
    pub(crate) faults: Arc<Faults>,
}

impl Polled {
    /// Nothing asks for faults, and nobody looks at the counts.
    #[cfg(test)]
    pub(crate) fn plain(queues: Queues) -> Self {
        Self { queues, counters: Arc::default(), faults: Arc::default() }
    }

    fn count(&self, queue: &str, operation: &str, failed: bool) {
        let key = CallKey {
            service: Service::Sqs.name(),
            operation: operation.to_owned(),
            function: POLLER.to_owned(),
            resource: queue.to_owned(),
        };
        self.counters.called(key, Call { failed, ..Call::default() });
    }

    async fn delete_batch(&self, queue: &str, receipt_handles: &[String]) -> Result<(), ServiceError> {
        let call = faults::Call { service: Service::Sqs, operation: DELETE_BATCH, resource: queue, function: POLLER };
        let lost = || Err(ServiceError::internal("a fault rule asked for this"));
        let outcome = match self.faults.decide(&call) {
            None => self.queues.delete(queue, receipt_handles).await,
            Some(Fault::Delay { delay_ms }) => {
                sleep(Duration::from_millis(delay_ms)).await;
                self.queues.delete(queue, receipt_handles).await
            }
            Some(Fault::ErrorAfter {} | Fault::DropReply {} | Fault::KillAfter {} | Fault::DelayAfter { .. }) => {
                self.queues.delete(queue, receipt_handles).await.and_then(|()| lost())
            }
            Some(_) => lost(),
        };
        self.count(queue, DELETE_BATCH, outcome.is_err());
        outcome
    }
}

impl Source for Polled {
    fn receive<'a>(
        &'a self,
        queue: &'a str,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Received>, ServiceError>> {
        let receive = self.queues.receive(queue, max, wait, None);
        receive.inspect(|received| self.count(queue, "ReceiveMessage", received.is_err())).boxed()
    }

    fn delete<'a>(&'a self, queue: &'a str, receipt_handles: &'a [String]) -> BoxFuture<'a, Result<(), ServiceError>> {
        async move {
            for batch in receipt_handles.chunks(DELETE_BATCH_MAX) {
                self.delete_batch(queue, batch).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
