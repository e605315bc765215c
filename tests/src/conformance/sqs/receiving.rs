//! Receiving, deleting, and the handles that both need.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::types::{
    MessageSystemAttributeName::{ApproximateFirstReceiveTimestamp, ApproximateReceiveCount},
    QueueAttributeName::{ReceiveMessageWaitTimeSeconds, VisibilityTimeout},
};

use crate::conformance::{
    Case, Context, case,
    check::{becomes, refused, same, sleep_ms, took},
    context::{ARRIVAL, receives, system},
};

const RECEIVE: &str = "SQS API Reference, ReceiveMessage";
const POLLING: &str = "SQS Developer Guide, Short and long polling";
const DELETE: &str = "SQS API Reference, DeleteMessage";

pub(super) const CASES: &[Case] = &[
    case!(sqs, long_poll_wakes_on_arrival, POLLING, "A receive that waits answers as soon as a message is there"),
    case!(sqs, long_poll_ends_empty, POLLING, "A receive that waits answers empty when its time is over"),
    case!(sqs, short_poll_answers_at_once, POLLING, "A receive with WaitTimeSeconds 0 answers at once"),
    case!(sqs, queue_sets_wait, POLLING, "Without WaitTimeSeconds the queue's own wait counts; 0 goes before it"),
    case!(sqs, wait_is_bounded, RECEIVE, "WaitTimeSeconds is 0 to 20"),
    case!(sqs, one_message_for_one_receiver, RECEIVE, "Of several receives that wait each message goes to one"),
    case!(sqs, receive_count_is_bounded, RECEIVE, "MaxNumberOfMessages is 1 to 10"),
    case!(sqs, receive_gives_at_most_max, RECEIVE, "Never more messages come than MaxNumberOfMessages; 1 without it"),
    case!(sqs, receive_visibility_is_bounded, RECEIVE, "VisibilityTimeout of a receive is 0 to 43,200"),
    case!(sqs, receives_are_counted, RECEIVE, "ApproximateReceiveCount counts; the first receive's time stays"),
    case!(sqs, system_attributes_when_asked_for, RECEIVE, "System attributes come only if they are asked for"),
    case!(sqs, older_attribute_names_work, RECEIVE, "AttributeNames is deprecated and still works"),
    case!(sqs, deleted_message_is_gone, DELETE, "A deleted message is never received again"),
    case!(sqs, message_is_deleted_twice, DELETE, "Deleting a message that is gone already succeeds"),
    case!(sqs, older_handle_deletes_nothing, DELETE, "A handle of an earlier receive succeeds and deletes nothing"),
    case!(sqs, visible_message_is_deleted, DELETE, "The newest handle deletes, even after the time-out has ended"),
    case!(sqs, unknown_handle_is_refused, DELETE, "A text that is no handle: ReceiptHandleIsInvalid"),
];

async fn long_poll_wakes_on_arrival(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { (queue.receive(1, 15).await, Instant::now()) }
    });
    sleep_ms(1_000).await;
    let sent = Instant::now();
    queue.send("a").await?;
    let (messages, answered) = waiting.await?;
    same("the receive", messages?.len(), 1)?;
    let late = answered.saturating_duration_since(sent);
    ensure!(late < Duration::from_millis(2_500), "the receive answered {late:?} after the message was sent");
    Ok(())
}

async fn long_poll_ends_empty(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let started = Instant::now();
    queue.stays_empty(2).await?;
    took("the receive", started, 1_900, 4_500)
}

async fn short_poll_answers_at_once(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let started = Instant::now();
    queue.stays_empty(0).await?;
    took("the receive", started, 0, 1_500)
}

async fn queue_sets_wait(context: Context) -> Result<()> {
    let queue = context.queue(&[(ReceiveMessageWaitTimeSeconds, "2")]).await?;
    let started = Instant::now();
    queue.sqs.receive_message().queue_url(&queue.url).send().await?;
    took("the receive without WaitTimeSeconds", started, 1_900, 4_500)?;
    let started = Instant::now();
    queue.stays_empty(0).await?;
    took("the receive with WaitTimeSeconds 0", started, 0, 1_500)
}

async fn wait_is_bounded(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    for seconds in [21, -1] {
        let request = queue.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(seconds);
        refused(request.send().await, &["InvalidParameterValue"])?;
    }
    Ok(())
}

async fn one_message_for_one_receiver(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "30")]).await?;
    let receive = || {
        let queue = queue.clone();
        tokio::spawn(async move { queue.receive(10, 4).await })
    };
    let waiting = [receive(), receive(), receive()];
    sleep_ms(500).await;
    queue.send("a").await?;
    let mut came = 0;
    for receive in waiting {
        came += receive.await??.len();
    }
    same("receives that got the message", came, 1)
}

async fn receive_count_is_bounded(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    for max in [0, 11] {
        let request = queue.sqs.receive_message().queue_url(&queue.url).max_number_of_messages(max);
        refused(request.send().await, &["InvalidParameterValue", "ReadCountOutOfRange"])?;
    }
    Ok(())
}

async fn receive_gives_at_most_max(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "30")]).await?;
    for body in ["a", "b", "c", "d", "e"] {
        queue.send(body).await?;
    }
    let unasked = queue.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(2).send().await?;
    same("messages without MaxNumberOfMessages", unasked.messages().len(), 1)?;
    ensure!(queue.receive(2, 2).await?.len() <= 2, "more messages came than asked for");
    Ok(())
}

async fn receive_visibility_is_bounded(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    for seconds in [43_201, -1] {
        let request = queue.sqs.receive_message().queue_url(&queue.url).visibility_timeout(seconds);
        refused(request.send().await, &["InvalidParameterValue"])?;
    }
    Ok(())
}

async fn receives_are_counted(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "0")]).await?;
    queue.send("a").await?;
    let first = queue.one().await?;
    sleep_ms(50).await;
    let (second, third) = (queue.one().await?, queue.one().await?);
    same("the counts", [receives(&first)?, receives(&second)?, receives(&third)?], [1, 2, 3])?;
    let time = ApproximateFirstReceiveTimestamp;
    same("the first receive's time", system(&third, time.clone())?, system(&first, time)?)
}

async fn system_attributes_when_asked_for(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "0")]).await?;
    queue.send("a").await?;
    let request = queue.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(5);
    let answer = request.clone().send().await?;
    let unasked = answer.messages().first().context("no message came")?.attributes().map_or(0, |all| all.len());
    same("system attributes unasked", unasked, 0)?;
    let answer = request.message_system_attribute_names(ApproximateReceiveCount).send().await?;
    let message = answer.messages().first().context("no message came")?;
    same(
        "system attributes",
        message.attributes().map(|all| all.keys().cloned().collect::<Vec<_>>()),
        Some(vec![ApproximateReceiveCount]),
    )
}

#[allow(deprecated, reason = "it is what is checked")]
async fn older_attribute_names_work(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    queue.send("a").await?;
    let request = queue.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(5);
    let answer = request.attribute_names(aws_sdk_sqs::types::QueueAttributeName::All).send().await?;
    let message = answer.messages().first().context("no message came")?;
    same("ApproximateReceiveCount", receives(message)?, 1)
}

async fn deleted_message_is_gone(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "1")]).await?;
    queue.send("a").await?;
    queue.delete(&queue.one().await?).await?;
    queue.stays_empty(2).await?;
    becomes("visible, in flight, delayed", ARRIVAL, (0, 0, 0), async || queue.counts().await).await
}

async fn message_is_deleted_twice(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    queue.send("a").await?;
    let message = queue.one().await?;
    queue.delete(&message).await?;
    queue.delete(&message).await
}

async fn older_handle_deletes_nothing(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "1")]).await?;
    queue.send("a").await?;
    let (first, second) = (queue.one().await?, queue.one().await?);
    ensure!(first.receipt_handle() != second.receipt_handle(), "two receives gave the same handle");
    queue.delete(&first).await?;
    queue.one().await.context("after a delete with the older handle").map(drop)
}

async fn visible_message_is_deleted(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "1")]).await?;
    queue.send("a").await?;
    let message = queue.one().await?;
    sleep_ms(1_500).await;
    queue.delete(&message).await?;
    queue.stays_empty(1).await
}

async fn unknown_handle_is_refused(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let codes = ["ReceiptHandleIsInvalid"];
    let delete = queue.sqs.delete_message().queue_url(&queue.url).receipt_handle("no handle");
    refused(delete.send().await, &codes)?;
    let change = queue.sqs.change_message_visibility().queue_url(&queue.url).receipt_handle("no handle");
    refused(change.visibility_timeout(1).send().await, &codes)
}
