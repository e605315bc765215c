//! Up to ten messages at once.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use aws_sdk_sns::types::PublishBatchRequestEntry;

use crate::conformance::{
    Case, Context, case,
    check::{refused, same},
    context::ARRIVAL,
};

const PAGE: &str = "SNS API Reference, PublishBatch";

pub(super) const CASES: &[Case] = &[
    case!(sns, batch_of_ten, PAGE, "Up to ten messages are published at once, each with its own id"),
    case!(sns, batch_is_empty, PAGE, "A batch without entries: EmptyBatchRequest"),
    case!(sns, batch_has_eleven, PAGE, "A batch of more than ten: TooManyEntriesInBatchRequest"),
    case!(sns, batch_ids_are_distinct, PAGE, "Two entries with the same id: BatchEntryIdsNotDistinct"),
    case!(sns, batch_ids_are_checked, PAGE, "An id has letters, digits, hyphens and underscores: InvalidBatchEntryId"),
    case!(sns, batch_size_is_summed, PAGE, "All entries together have up to 262,144 bytes: BatchRequestTooLong"),
    case!(sns, batch_to_absent_topic, PAGE, "A topic that does not exist: NotFound"),
];

fn entry(id: &str, message: &str) -> PublishBatchRequestEntry {
    PublishBatchRequestEntry::builder().id(id).message(message).build().unwrap()
}

async fn batch_is_refused(context: &Context, entries: Vec<PublishBatchRequestEntry>, code: &str) -> Result<()> {
    let topic = context.topic().await?;
    let request = context.sns.publish_batch().topic_arn(topic).set_publish_batch_request_entries(Some(entries));
    refused(request.send().await, &[code]).with_context(|| code.to_owned())
}

async fn batch_of_ten(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    context.subscribe(&topic, &queue, &[("RawMessageDelivery", "true")]).await?;
    let bodies: BTreeSet<String> = (0..10).map(|n| format!("message {n}")).collect();
    let entries = bodies.iter().enumerate().map(|(n, body)| entry(&format!("e-{n}_"), body)).collect();
    let request = context.sns.publish_batch().topic_arn(topic).set_publish_batch_request_entries(Some(entries));
    let answer = request.send().await?;
    same("Failed", answer.failed().len(), 0)?;
    let ids: BTreeSet<_> = answer.successful().iter().filter_map(|result| result.message_id()).collect();
    same("ids of messages", ids.len(), 10)?;
    let came = queue.some(10, ARRIVAL).await?;
    same("what arrives", came.iter().filter_map(|m| m.body().map(str::to_owned)).collect::<BTreeSet<_>>(), bodies)
}

async fn batch_is_empty(context: Context) -> Result<()> {
    batch_is_refused(&context, Vec::new(), "EmptyBatchRequest").await
}

async fn batch_has_eleven(context: Context) -> Result<()> {
    let entries = (0..11).map(|n| entry(&n.to_string(), "a")).collect();
    batch_is_refused(&context, entries, "TooManyEntriesInBatchRequest").await
}

async fn batch_ids_are_distinct(context: Context) -> Result<()> {
    batch_is_refused(&context, vec![entry("same", "a"), entry("same", "b")], "BatchEntryIdsNotDistinct").await
}

async fn batch_ids_are_checked(context: Context) -> Result<()> {
    batch_is_refused(&context, vec![entry("a b", "a")], "InvalidBatchEntryId").await
}

async fn batch_size_is_summed(context: Context) -> Result<()> {
    let entries = vec![entry("a", &"x".repeat(131_072)), entry("b", &"x".repeat(131_073))];
    batch_is_refused(&context, entries, "BatchRequestTooLong").await
}

async fn batch_to_absent_topic(context: Context) -> Result<()> {
    let arn = format!("{}-absent", context.topic().await?);
    let request = context.sns.publish_batch().topic_arn(arn).publish_batch_request_entries(entry("a", "a"));
    refused(request.send().await, &["NotFound"])
}
