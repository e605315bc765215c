//! Messages that were received are hidden for a while.

use std::time::{Duration, Instant};

use anyhow::Result;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, QueueAttributeName::VisibilityTimeout};

use crate::conformance::{
    Case, Context, case,
    check::{refused, same, sleep_ms, took},
    context::receives,
};

const GUIDE: &str = "SQS Developer Guide, Visibility timeout";
const CHANGE: &str = "SQS API Reference, ChangeMessageVisibility";
const CHANGE_BATCH: &str = "SQS API Reference, ChangeMessageVisibilityBatch";
const RECEIVE: &str = "SQS API Reference, ReceiveMessage";

pub(super) const CASES: &[Case] = &[
    case!(sqs, received_message_is_hidden, GUIDE, "A received message is hidden from other receives"),
    case!(sqs, hidden_message_returns, GUIDE, "A message that was not deleted returns when its time-out ends"),
    case!(sqs, receive_sets_visibility, RECEIVE, "VisibilityTimeout of a receive goes before the queue's"),
    case!(sqs, visibility_zero_shows_at_once, GUIDE, "A time-out changed to 0 makes the message visible at once"),
    case!(sqs, visibility_counts_from_change, CHANGE, "A changed time-out counts from the change"),
    case!(sqs, visibility_can_be_shortened, CHANGE, "A changed time-out may end before the first one would have"),
    case!(sqs, visibility_change_is_bounded, CHANGE, "A time-out is 0 to 43,200 s"),
    case!(sqs, visibility_of_visible_message, CHANGE, "A message that is not in flight has no time-out to change"),
    case!(sqs, visibility_of_deleted_message, CHANGE, "A deleted message has no time-out to change"),
    case!(sqs, visibility_batch_fails_by_entry, CHANGE_BATCH, "Each entry succeeds or fails on its own"),
    case!(sqs, receive_wakes_for_returning_message, RECEIVE, "A receive that waits gets a message when it returns"),
];

async fn received_message_is_hidden(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "20")]).await?;
    queue.send("a").await?;
    queue.one().await?;
    queue.stays_empty(1).await
}

async fn hidden_message_returns(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "2")]).await?;
    queue.send("a").await?;
    let first = queue.one().await?;
    let received = Instant::now();
    let second = queue.one().await?;
    took("the return", received, 1_700, 4_500)?;
    same("the message", second.message_id(), first.message_id())?;
    same("ApproximateReceiveCount", receives(&second)?, 2)
}

async fn receive_sets_visibility(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "30")]).await?;
    queue.send("a").await?;
    let request = queue.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(5).visibility_timeout(1);
    same("the first receive", request.send().await?.messages().len(), 1)?;
    queue.one().await.map(drop)
}

async fn visibility_zero_shows_at_once(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "30")]).await?;
    queue.send("a").await?;
    let message = queue.one().await?;
    queue.change_visibility(&message, 0).await?;
    let changed = Instant::now();
    same("ApproximateReceiveCount", receives(&queue.one().await?)?, 2)?;
    took("the return", changed, 0, 2_000)
}

async fn visibility_counts_from_change(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "5")]).await?;
    queue.send("a").await?;
    let message = queue.one().await?;
    sleep_ms(2_000).await;
    queue.change_visibility(&message, 4).await?;
    let changed = Instant::now();
    queue.one().await?;
    took("the return", changed, 3_700, 7_000)
}

async fn visibility_can_be_shortened(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "30")]).await?;
    queue.send("a").await?;
    let message = queue.one().await?;
    queue.change_visibility(&message, 1).await?;
    let changed = Instant::now();
    queue.one().await?;
    took("the return", changed, 700, 3_500)
}

async fn visibility_change_is_bounded(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    queue.send("a").await?;
    let message = queue.one().await?;
    for seconds in [43_201, -1] {
        let request = queue.sqs.change_message_visibility().queue_url(&queue.url).visibility_timeout(seconds);
        let answer = request.receipt_handle(message.receipt_handle().unwrap_or_default()).send().await;
        refused(answer, &["InvalidParameterValue"])?;
    }
    Ok(())
}

async fn visibility_of_visible_message(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "30")]).await?;
    queue.send("a").await?;
    let message = queue.one().await?;
    queue.change_visibility(&message, 0).await?;
    sleep_ms(300).await;
    let request = queue.sqs.change_message_visibility().queue_url(&queue.url).visibility_timeout(5);
    let answer = request.receipt_handle(message.receipt_handle().unwrap_or_default()).send().await;
    refused(answer, &["MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"])
}

async fn visibility_of_deleted_message(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    queue.send("a").await?;
    let message = queue.one().await?;
    queue.delete(&message).await?;
    let request = queue.sqs.change_message_visibility().queue_url(&queue.url).visibility_timeout(5);
    let answer = request.receipt_handle(message.receipt_handle().unwrap_or_default()).send().await;
    let codes = ["InvalidParameterValue", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"];
    refused(answer, &codes)
}

async fn visibility_batch_fails_by_entry(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "30")]).await?;
    queue.send("a").await?;
    let message = queue.one().await?;
    let entry = |id: &str, handle: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(handle);
        entry.visibility_timeout(0).build()
    };
    let answer = queue.sqs.change_message_visibility_batch().queue_url(&queue.url);
    let answer = answer.entries(entry("good", message.receipt_handle().unwrap_or_default())?);
    let answer = answer.entries(entry("bad", "no handle")?).send().await?;
    let good: Vec<_> = answer.successful().iter().map(|entry| entry.id()).collect();
    let bad: Vec<_> = answer.failed().iter().map(|entry| (entry.id(), entry.sender_fault())).collect();
    same("Successful", good, ["good"])?;
    same("Failed", bad, [("bad", true)])?;
    queue.some(1, Duration::from_secs(3)).await.map(drop)
}

async fn receive_wakes_for_returning_message(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "2")]).await?;
    queue.send("a").await?;
    queue.one().await?;
    let received = Instant::now();
    same("the receive", queue.receive(1, 10).await?.len(), 1)?;
    took("the receive", received, 1_700, 4_500)
}
