//! Purging, and moving dead letters back.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::conformance::{
    Case, Context, case,
    check::{becomes, refused, same},
    context::{ARRIVAL, Queue},
};

const PURGE: &str = "SQS API Reference, PurgeQueue";
const MOVE: &str = "SQS API Reference, StartMessageMoveTask";
const LIST: &str = "SQS API Reference, ListMessageMoveTasks";
const CANCEL: &str = "SQS API Reference, CancelMessageMoveTask";
/// How long a move of a few messages may take.
const MOVE_WITHIN: Duration = Duration::from_secs(15);

pub(super) const CASES: &[Case] = &[
    case!(sqs, purge_empties, PURGE, "A purge deletes every message, in flight or delayed ones too"),
    case!(sqs, purge_once_a_minute, PURGE, "A second purge within 60 s: PurgeQueueInProgress"),
    case!(sqs, move_back_to_sources, MOVE, "Without a destination each dead letter returns to its own queue"),
    case!(sqs, move_to_destination, MOVE, "With a destination all dead letters go there"),
    case!(sqs, move_is_listed, LIST, "A task that has ended is listed as COMPLETED with what it moved"),
    case!(sqs, move_needs_dead_letter_queue, MOVE, "The source is some queue's dead-letter queue"),
    case!(sqs, move_of_absent_queue, MOVE, "A source that does not exist: ResourceNotFoundException"),
    case!(sqs, move_rate_is_bounded, MOVE, "MaxNumberOfMessagesPerSecond is at most 500"),
    case!(sqs, cancel_needs_a_task, CANCEL, "A handle of no task is refused"),
];

async fn purge_empties(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    queue.send("in flight").await?;
    queue.one().await?;
    queue.send("visible").await?;
    queue.sqs.send_message().queue_url(&queue.url).message_body("delayed").delay_seconds(60).send().await?;
    queue.sqs.purge_queue().queue_url(&queue.url).send().await?;
    // AWS takes up to a minute; here it is there at once or soon.
    becomes("visible, in flight, delayed", ARRIVAL, (0, 0, 0), async || queue.counts().await).await
}

async fn purge_once_a_minute(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    queue.sqs.purge_queue().queue_url(&queue.url).send().await?;
    let answer = queue.sqs.purge_queue().queue_url(&queue.url).send().await;
    refused(answer, &["PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress"])
}

/// Two queues with the same dead-letter queue, and one dead letter of each, named as its queue.
async fn dead_letters(context: &Context) -> Result<(Queue, Queue, Queue)> {
    let dead_letters = context.queue(&[]).await?;
    let first = context.queue_with_dead_letters(1, "0", &dead_letters).await?;
    let second = context.queue_with_dead_letters(1, "0", &dead_letters).await?;
    for (queue, body) in [(&first, "first"), (&second, "second")] {
        queue.send(body).await?;
        queue.one().await?;
        queue.stays_empty(0).await?;
    }
    becomes("dead letters", ARRIVAL, (2, 0, 0), async || dead_letters.counts().await).await?;
    Ok((first, second, dead_letters))
}

async fn move_back_to_sources(context: Context) -> Result<()> {
    let (first, second, dead_letters) = dead_letters(&context).await?;
    let arn = dead_letters.arn().await?;
    context.sqs.start_message_move_task().source_arn(arn).send().await?;
    for (queue, body) in [(&first, "first"), (&second, "second")] {
        same("what returns", queue.some(1, MOVE_WITHIN).await?.first().and_then(|message| message.body()), Some(body))?;
    }
    becomes("dead letters left", ARRIVAL, (0, 0, 0), async || dead_letters.counts().await).await
}

async fn move_to_destination(context: Context) -> Result<()> {
    let (_, _, dead_letters) = dead_letters(&context).await?;
    let destination = context.queue(&[]).await?;
    let task = context.sqs.start_message_move_task().source_arn(dead_letters.arn().await?);
    task.destination_arn(destination.arn().await?).send().await?;
    destination.some(2, MOVE_WITHIN).await.map(drop)
}

async fn move_is_listed(context: Context) -> Result<()> {
    let (_, _, dead_letters) = dead_letters(&context).await?;
    let (arn, destination) = (dead_letters.arn().await?, context.queue(&[]).await?);
    let task = context.sqs.start_message_move_task().source_arn(&arn).destination_arn(destination.arn().await?);
    task.send().await?.task_handle.context("StartMessageMoveTask gives no handle")?;
    becomes("status, moved", MOVE_WITHIN, (Some("COMPLETED".to_owned()), 2), async || {
        let tasks = context.sqs.list_message_move_tasks().source_arn(&arn).send().await?;
        let task = tasks.results().first().context("no task is listed")?;
        Ok((task.status().map(str::to_owned), task.approximate_number_of_messages_moved()))
    })
    .await
}

async fn move_needs_dead_letter_queue(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let answer = context.sqs.start_message_move_task().source_arn(queue.arn().await?).send().await;
    refused(answer, &["InvalidParameterValue"])
}

async fn move_of_absent_queue(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let arn = format!("{}-absent", queue.arn().await?);
    refused(context.sqs.start_message_move_task().source_arn(arn).send().await, &["ResourceNotFoundException"])
}

async fn move_rate_is_bounded(context: Context) -> Result<()> {
    let dead_letters = context.queue(&[]).await?;
    context.queue_with_dead_letters(1, "0", &dead_letters).await?;
    let task = context.sqs.start_message_move_task().source_arn(dead_letters.arn().await?);
    refused(task.max_number_of_messages_per_second(501).send().await, &["InvalidParameterValue"])
}

async fn cancel_needs_a_task(context: Context) -> Result<()> {
    let answer = context.sqs.cancel_message_move_task().task_handle("no handle").send().await;
    refused(answer, &["ResourceNotFoundException", "InvalidParameterValue", "InvalidAddress"])
}
