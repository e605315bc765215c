//! Draining a queue: the raw SQS event comes in, every body is parsed by itself, and only what failed is reported back
//! (`ReportBatchItemFailures`). A typed event would fail the whole batch on one bad body.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, time::Duration};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use florin_domain::event::Event;
use futures::FutureExt;

use crate::visibility::{Change, Visibility};

/// What a function keeps of its time for reporting the outcome.
const REPORT_MARGIN_MS: u64 = 1_000;
/// Less time than this is no deadline but a runtime that does not send one.
const DEADLINE_MS_MIN: u64 = 1;

/// A message that parsed.
#[derive(Debug)]
pub struct Delivered {
    /// What it says.
    pub event: Event,
    /// How often it has been received, this time included.
    pub receives: u32,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its effect has happened: it may be deleted.
    Done,
    /// It is to come again after this time.
    RetryAfter(Duration),
    /// It is to come again when the queue's visibility time-out ends.
    Retry,
    /// It can never be handled: it goes to the dead-letter queue as fast as the queue allows.
    Poison,
}

/// A batch that could not be answered message by message.
#[derive(Debug, thiserror::Error)]
#[error("a record of the batch has no message id or receipt handle")]
pub struct UnanswerableBatch;

/// Handles every message by itself, all at once, each within the time that the invocation has left.
/// A message that does not parse, a handler that panics or runs out of time fails alone.
pub async fn each<F, Fut>(
    batch: SqsEvent,
    time_left: Option<Duration>,
    visibility: &dyn Visibility,
    handler: F,
) -> Result<SqsBatchResponse, UnanswerableBatch>
where
    F: Fn(Delivered) -> Fut,
    Fut: Future<Output = Outcome>,
{
    let limit = time_limit(time_left);
    let handler = &handler;
    let outcomes = batch.records.iter().map(|record| async move {
        match parse(record) {
            None => Outcome::Poison,
            Some(delivered) => guarded(async { handler(delivered).await }, limit).await.unwrap_or(Outcome::Retry),
        }
    });
    let outcomes = futures::future::join_all(outcomes).await;
    report(&batch.records, outcomes, visibility).await
}

/// Handles all messages that parse in one go: the handler's outcome counts for all of them.
pub async fn whole<F, Fut>(
    batch: SqsEvent,
    time_left: Option<Duration>,
    visibility: &dyn Visibility,
    handler: F,
) -> Result<SqsBatchResponse, UnanswerableBatch>
where
    F: FnOnce(Vec<Delivered>) -> Fut,
    Fut: Future<Output = Outcome>,
{
    let parsed: Vec<Option<Delivered>> = batch.records.iter().map(parse).collect();
    let good: Vec<bool> = parsed.iter().map(Option::is_some).collect();
    let delivered: Vec<Delivered> = parsed.into_iter().flatten().collect();
    let outcome = if delivered.is_empty() {
        Outcome::Done
    } else {
        guarded(async { handler(delivered).await }, time_limit(time_left)).await.unwrap_or(Outcome::Retry)
    };
    let outcomes = good.into_iter().map(|good| if good { outcome.clone() } else { Outcome::Poison }).collect();
    report(&batch.records, outcomes, visibility).await
}

fn time_limit(time_left: Option<Duration>) -> Option<Duration> {
    time_left
        .filter(|left| *left >= Duration::from_millis(DEADLINE_MS_MIN))
        .map(|left| left.saturating_sub(Duration::from_millis(REPORT_MARGIN_MS)))
}

/// The handler's outcome, or nothing if it panicked or ran out of time.
async fn guarded(handler: impl Future<Output = Outcome>, limit: Option<Duration>) -> Option<Outcome> {
    let caught = AssertUnwindSafe(handler).catch_unwind();
    let result = match limit {
        Some(limit) => match tokio::time::timeout(limit, caught).await {
            Ok(result) => result,
            Err(_) => {
                tracing::error!("a message was not handled within the function's time");
                return None;
            }
        },
        None => caught.await,
    };
    result.inspect_err(|panic| tracing::error!(panic = panic_text(&**panic), "a handler panicked")).ok()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

fn parse(record: &SqsMessage) -> Option<Delivered> {
    let message_id = record.message_id.as_deref().unwrap_or_default();
    match Event::parse(record.body.as_deref().unwrap_or_default()) {
        Ok(event) => Some(Delivered { event, receives: receives(record) }),
        Err(error) => {
            tracing::error!(message_id, %error, "a message does not parse and goes to the dead-letter queue");
            None
        }
    }
}

fn receives(record: &SqsMessage) -> u32 {
    record.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Names the messages that failed, and hides each of them for as long as its outcome asks.
async fn report(
    records: &[SqsMessage],
    outcomes: Vec<Outcome>,
    visibility: &dyn Visibility,
) -> Result<SqsBatchResponse, UnanswerableBatch> {
    let mut response = SqsBatchResponse::default();
    let mut changes = Vec::new();
    for (record, outcome) in records.iter().zip(outcomes) {
        if outcome == Outcome::Done {
            continue;
        }
        // An empty id would fail the whole batch anyway, but silently.
        let (Some(id), Some(receipt)) = (non_empty(&record.message_id), non_empty(&record.receipt_handle)) else {
            return Err(UnanswerableBatch);
        };
        response.add_failure(id);
        let seconds = match outcome {
            Outcome::RetryAfter(wait) => Some(seconds_rounded_up(wait)),
            Outcome::Poison => Some(0),
            Outcome::Retry | Outcome::Done => None,
        };
        changes.extend(seconds.map(|seconds| Change { receipt_handle: receipt.to_owned(), seconds }));
    }
    if !changes.is_empty() {
        visibility.change(changes).await;
    }
    Ok(response)
}

/// Rounded down, a message would come back before its time, and use up a receive for nothing.
fn seconds_rounded_up(wait: Duration) -> i32 {
    i32::try_from(wait.as_nanos().div_ceil(1_000_000_000)).unwrap_or(i32::MAX)
}

fn non_empty(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}
