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

use std::time::Duration;

use axum::body::Bytes;
use futures::{FutureExt, future::BoxFuture};

use super::InvokeError;
use crate::{
    error::ServiceError,
    sqs::{Queues, Received},
};

pub(crate) use self::poller::{Poller, Settings};

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

impl Source for Queues {
    fn receive<'a>(
        &'a self,
        queue: &'a str,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Received>, ServiceError>> {
        Self::receive(self, queue, max, wait, None).boxed()
    }

    fn delete<'a>(&'a self, queue: &'a str, receipt_handles: &'a [String]) -> BoxFuture<'a, Result<(), ServiceError>> {
        Self::delete(self, queue, receipt_handles).boxed()
    }
}
