//! Up to ten at once.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, QueueAttributeName::VisibilityTimeout, SendMessageBatchRequestEntry,
};

use super::attributes::md5_hex;
use crate::conformance::{
    Case, Context, case,
    check::{refused, same},
    context::{ARRIVAL, Queue},
};

const SEND: &str = "SQS API Reference, SendMessageBatch";
const DELETE: &str = "SQS API Reference, DeleteMessageBatch";

/// The name of an error with its older one.
macro_rules! codes {
    ($name:literal) => {
        &[$name, concat!("AWS.SimpleQueueService.", $name)]
    };
}

pub(super) const CASES: &[Case] = &[
    case!(sqs, batch_of_ten, SEND, "Up to ten messages are sent at once, each with its own result"),
    case!(sqs, batch_entry_fails_alone, SEND, "An entry that is refused is in Failed; the others are sent"),
    case!(sqs, batch_delays_by_entry, SEND, "Each entry has its own DelaySeconds"),
    case!(sqs, batch_is_empty, SEND, "A batch without entries: EmptyBatchRequest"),
    case!(sqs, batch_has_eleven, SEND, "A batch of more than ten: TooManyEntriesInBatchRequest"),
    case!(sqs, batch_ids_are_distinct, SEND, "Two entries with the same id: BatchEntryIdsNotDistinct"),
    case!(
        sqs,
        batch_ids_are_checked,
        SEND,
        "An id is 1 to 80 of letters, digits, hyphen, underscore: InvalidBatchEntryId"
    ),
    case!(sqs, batch_size_is_summed, SEND, "All entries together have up to 1,048,576 bytes: BatchRequestTooLong"),
    case!(sqs, batch_delete_fails_by_entry, DELETE, "Each entry succeeds or fails on its own"),
    case!(sqs, batch_delete_is_empty, DELETE, "A batch without entries: EmptyBatchRequest"),
];

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap()
}

async fn batch_is_refused(queue: &Queue, entries: Vec<SendMessageBatchRequestEntry>, codes: &[&str]) -> Result<()> {
    let request = queue.sqs.send_message_batch().queue_url(&queue.url).set_entries(Some(entries));
    refused(request.send().await, codes)
}

async fn batch_of_ten(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "30")]).await?;
    let bodies: Vec<String> = (0..10).map(|n| format!("body {n}")).collect();
    let entries = bodies.iter().enumerate().map(|(n, body)| entry(&format!("entry-{n}_x"), body)).collect();
    let answer = queue.sqs.send_message_batch().queue_url(&queue.url).set_entries(Some(entries)).send().await?;
    same("Failed", answer.failed().len(), 0)?;
    same("Successful", answer.successful().len(), 10)?;
    for (n, body) in bodies.iter().enumerate() {
        let result = answer.successful().iter().find(|result| result.id() == format!("entry-{n}_x"));
        same(
            "MD5OfMessageBody",
            result.map(|result| result.md5_of_message_body()),
            Some(md5_hex(body.as_bytes()).as_str()),
        )?;
    }
    let came = queue.some(10, ARRIVAL).await?;
    let came: BTreeSet<_> = came.iter().filter_map(|message| message.message_id()).collect();
    let sent: BTreeSet<_> = answer.successful().iter().map(|result| result.message_id()).collect();
    same("the ids that came", came, sent)
}

async fn batch_entry_fails_alone(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "30")]).await?;
    let entries = vec![entry("a", "fine"), entry("b", "not\u{1}fine"), entry("c", "fine too")];
    let answer = queue.sqs.send_message_batch().queue_url(&queue.url).set_entries(Some(entries)).send().await?;
    let sent: Vec<_> = answer.successful().iter().map(|result| result.id()).collect();
    let failed: Vec<_> =
        answer.failed().iter().map(|result| (result.id(), result.code(), result.sender_fault())).collect();
    same("Successful", sent, ["a", "c"])?;
    same("Failed", failed, [("b", "InvalidMessageContents", true)])?;
    queue.some(2, ARRIVAL).await.map(drop)
}

async fn batch_delays_by_entry(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "30")]).await?;
    let late = SendMessageBatchRequestEntry::builder().id("late").message_body("late").delay_seconds(60).build()?;
    let entries = vec![late, entry("now", "now")];
    let answer = queue.sqs.send_message_batch().queue_url(&queue.url).set_entries(Some(entries)).send().await?;
    same("Successful", answer.successful().len(), 2)?;
    same("what comes", queue.one().await?.body(), Some("now"))?;
    queue.stays_empty(0).await
}

async fn batch_is_empty(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    batch_is_refused(&queue, Vec::new(), codes!("EmptyBatchRequest")).await
}

async fn batch_has_eleven(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let entries = (0..11).map(|n| entry(&n.to_string(), "a")).collect();
    batch_is_refused(&queue, entries, codes!("TooManyEntriesInBatchRequest")).await?;
    queue.stays_empty(0).await
}

async fn batch_ids_are_distinct(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let entries = vec![entry("same", "a"), entry("same", "b")];
    batch_is_refused(&queue, entries, codes!("BatchEntryIdsNotDistinct")).await
}

async fn batch_ids_are_checked(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    for id in ["a b", "a.b", "", &"x".repeat(81)] {
        batch_is_refused(&queue, vec![entry(id, "a")], codes!("InvalidBatchEntryId")).await?;
    }
    Ok(())
}

async fn batch_size_is_summed(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let body = "x".repeat(131_072);
    let mut entries: Vec<_> = (0..8).map(|n| entry(&n.to_string(), &body)).collect();
    let request = queue.sqs.send_message_batch().queue_url(&queue.url).set_entries(Some(entries.clone()));
    same("Successful of 1,048,576 bytes", request.send().await?.successful().len(), 8)?;
    entries.push(entry("8", "x"));
    batch_is_refused(&queue, entries, codes!("BatchRequestTooLong")).await
}

async fn batch_delete_fails_by_entry(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "1")]).await?;
    queue.send("a").await?;
    let message = queue.one().await?;
    let entry =
        |id: &str, handle: &str| DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build();
    let request = queue.sqs.delete_message_batch().queue_url(&queue.url);
    let request = request.entries(entry("bad", "no handle")?);
    let answer = request.entries(entry("good", message.receipt_handle().unwrap_or_default())?).send().await?;
    let deleted: Vec<_> = answer.successful().iter().map(|result| result.id()).collect();
    let failed: Vec<_> =
        answer.failed().iter().map(|result| (result.id(), result.code(), result.sender_fault())).collect();
    same("Successful", deleted, ["good"])?;
    same("Failed", failed, [("bad", "ReceiptHandleIsInvalid", true)])?;
    queue.stays_empty(2).await
}

async fn batch_delete_is_empty(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let answer = queue.sqs.delete_message_batch().queue_url(&queue.url).set_entries(Some(Vec::new())).send().await;
    ensure!(answer.is_err(), "accepted, documented is EmptyBatchRequest");
    refused(answer, codes!("EmptyBatchRequest"))
}
