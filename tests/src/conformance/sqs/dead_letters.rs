//! Messages that were received too often.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::types::{
    MessageAttributeValue,
    MessageSystemAttributeName::{DeadLetterQueueSourceArn, SentTimestamp},
    QueueAttributeName::{RedriveAllowPolicy, RedrivePolicy, VisibilityTimeout},
};
use serde_json::{Value, json};

use crate::conformance::{
    Case, Context, case,
    check::{becomes, refused, same, took},
    context::{ARRIVAL, Queue, receives, system},
};

const GUIDE: &str = "SQS Developer Guide, Dead-letter queues";
const SET: &str = "SQS API Reference, SetQueueAttributes";
const LIST: &str = "SQS API Reference, ListDeadLetterSourceQueues";

pub(super) const CASES: &[Case] = &[
    case!(sqs, redrive_after_max_receives, GUIDE, "After maxReceiveCount receives a message goes to the other queue"),
    case!(sqs, redrive_wakes_waiting_receive, GUIDE, "A receive that waits at the dead-letter queue gets it"),
    case!(sqs, dead_letter_keeps_identity, GUIDE, "A dead letter keeps id, body, attributes and SentTimestamp"),
    case!(sqs, dead_letter_names_its_source, SET, "DeadLetterQueueSourceArn of a dead letter names its queue"),
    case!(sqs, deleted_in_time_is_no_dead_letter, GUIDE, "The last allowed receive may still delete the message"),
    case!(sqs, redrive_counts_are_bounded, SET, "maxReceiveCount is 1 to 1,000"),
    case!(sqs, redrive_needs_a_queue, SET, "A dead-letter queue exists when it is named"),
    case!(sqs, redrive_policy_is_json, SET, "RedrivePolicy is JSON with both of its fields"),
    case!(sqs, redrive_denied_to_all, SET, "redrivePermission denyAll: no queue may name it"),
    case!(sqs, redrive_allowed_by_queue, SET, "redrivePermission byQueue: the queues listed may name it, others not"),
    case!(sqs, redrive_allows_ten_queues, SET, "byQueue lists 1 to 10 queues; the other permissions none"),
    case!(sqs, source_queues_are_listed, LIST, "The queues that name a dead-letter queue are listed"),
    case!(sqs, redrive_policy_is_removed, SET, "An empty RedrivePolicy ends the redrive"),
];

/// A message that has become a dead letter, with its queues.
async fn dead_letter(context: &Context) -> Result<(Queue, Queue, aws_sdk_sqs::types::Message)> {
    let dead_letters = context.queue(&[]).await?;
    let queue = context.queue_with_dead_letters(1, "0", &dead_letters).await?;
    let value = MessageAttributeValue::builder().data_type("String").string_value("v").build()?;
    queue.sqs.send_message().queue_url(&queue.url).message_body("a").message_attributes("k", value).send().await?;
    let received = queue.one().await?;
    // The receive that would be the second one moves it.
    queue.stays_empty(0).await?;
    Ok((queue, dead_letters, received))
}

async fn redrive_after_max_receives(context: Context) -> Result<()> {
    let dead_letters = context.queue(&[]).await?;
    let queue = context.queue_with_dead_letters(2, "1", &dead_letters).await?;
    queue.send("a").await?;
    same("the first receive", receives(&queue.one().await?)?, 1)?;
    same("the second receive", receives(&queue.one().await?)?, 2)?;
    dead_letters.stays_empty(0).await?;
    queue.stays_empty(2).await?;
    same("the dead letter", dead_letters.one().await?.body(), Some("a"))?;
    becomes("what is left of the queue", ARRIVAL, (0, 0, 0), async || queue.counts().await).await
}

async fn redrive_wakes_waiting_receive(context: Context) -> Result<()> {
    let dead_letters = context.queue(&[]).await?;
    let queue = context.queue_with_dead_letters(1, "0", &dead_letters).await?;
    queue.send("a").await?;
    queue.one().await?;
    let waiting = tokio::spawn(async move { dead_letters.receive(1, 10).await });
    let started = std::time::Instant::now();
    queue.stays_empty(1).await?;
    same("the receive", waiting.await??.len(), 1)?;
    took("the receive", started, 0, 4_000)
}

async fn dead_letter_keeps_identity(context: Context) -> Result<()> {
    let (_, dead_letters, received) = dead_letter(&context).await?;
    let letter = dead_letters.one().await?;
    same("MessageId", letter.message_id(), received.message_id())?;
    same("the body", letter.body(), received.body())?;
    same("the attributes", letter.message_attributes(), received.message_attributes())?;
    same("SentTimestamp", system(&letter, SentTimestamp)?, system(&received, SentTimestamp)?)
}

async fn dead_letter_names_its_source(context: Context) -> Result<()> {
    let (queue, dead_letters, _) = dead_letter(&context).await?;
    let letter = dead_letters.one().await?;
    same("DeadLetterQueueSourceArn", system(&letter, DeadLetterQueueSourceArn)?, queue.arn().await?)
}

async fn deleted_in_time_is_no_dead_letter(context: Context) -> Result<()> {
    let dead_letters = context.queue(&[]).await?;
    let queue = context.queue_with_dead_letters(1, "1", &dead_letters).await?;
    queue.send("a").await?;
    queue.delete(&queue.one().await?).await?;
    queue.stays_empty(2).await?;
    dead_letters.stays_empty(0).await
}

async fn set(queue: &Queue, policy: &str) -> Result<(), anyhow::Error> {
    let request = queue.sqs.set_queue_attributes().queue_url(&queue.url);
    refused(request.attributes(RedrivePolicy, policy).send().await, &["InvalidParameterValue", "InvalidAttributeValue"])
}

async fn redrive_counts_are_bounded(context: Context) -> Result<()> {
    let (queue, dead_letters) = (context.queue(&[]).await?, context.queue(&[]).await?);
    let arn = dead_letters.arn().await?;
    for count in [0, 1_001] {
        let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": count }).to_string();
        set(&queue, &policy).await.with_context(|| policy)?;
    }
    Ok(())
}

async fn redrive_needs_a_queue(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let arn = format!("{}-absent", queue.arn().await?);
    let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 2 }).to_string();
    let request = queue.sqs.set_queue_attributes().queue_url(&queue.url).attributes(RedrivePolicy, policy);
    let codes = ["InvalidParameterValue", "InvalidAttributeValue"];
    refused(request.send().await, &[&codes[..], &super::NO_QUEUE[..]].concat())
}

async fn redrive_policy_is_json(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let arn = queue.arn().await?;
    for policy in [
        "2".to_owned(),
        "{".to_owned(),
        json!({ "deadLetterTargetArn": arn }).to_string(),
        json!({ "maxReceiveCount": 2 }).to_string(),
    ] {
        set(&queue, &policy).await.with_context(|| policy)?;
    }
    Ok(())
}

/// A queue with this permission, and what naming it as a dead-letter queue comes to.
async fn queue_that_allows(context: &Context, allow: Value) -> Result<Queue> {
    context.queue(&[(RedriveAllowPolicy, &allow.to_string())]).await
}

async fn redrive_denied_to_all(context: Context) -> Result<()> {
    let dead_letters = queue_that_allows(&context, json!({ "redrivePermission": "denyAll" })).await?;
    let queue = context.queue(&[]).await?;
    let policy = json!({ "deadLetterTargetArn": dead_letters.arn().await?, "maxReceiveCount": 2 }).to_string();
    set(&queue, &policy).await
}

async fn redrive_allowed_by_queue(context: Context) -> Result<()> {
    let (listed, other) = (context.queue(&[]).await?, context.queue(&[]).await?);
    let allow = json!({ "redrivePermission": "byQueue", "sourceQueueArns": [listed.arn().await?] });
    let dead_letters = queue_that_allows(&context, allow).await?;
    let policy = json!({ "deadLetterTargetArn": dead_letters.arn().await?, "maxReceiveCount": 2 }).to_string();
    let request = listed.sqs.set_queue_attributes().queue_url(&listed.url).attributes(RedrivePolicy, &policy);
    request.send().await.context("the queue that is listed")?;
    set(&other, &policy).await.context("a queue that is not listed")
}

async fn redrive_allows_ten_queues(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let arn = queue.arn().await?;
    let arns = |count: usize| (0..count).map(|n| format!("{arn}-{n}")).collect::<Vec<_>>();
    for allow in [
        json!({ "redrivePermission": "byQueue", "sourceQueueArns": arns(11) }),
        json!({ "redrivePermission": "byQueue" }),
        json!({ "redrivePermission": "allowAll", "sourceQueueArns": arns(1) }),
        json!({ "redrivePermission": "some" }),
    ] {
        let request = queue.sqs.set_queue_attributes().queue_url(&queue.url);
        let answer = request.attributes(RedriveAllowPolicy, allow.to_string()).send().await;
        refused(answer, &["InvalidParameterValue", "InvalidAttributeValue"]).with_context(|| allow.to_string())?;
    }
    Ok(())
}

async fn source_queues_are_listed(context: Context) -> Result<()> {
    let dead_letters = context.queue(&[]).await?;
    let queue = context.queue_with_dead_letters(3, "30", &dead_letters).await?;
    let other = context.queue(&[]).await?;
    let request = context.sqs.list_dead_letter_source_queues().queue_url(&dead_letters.url);
    let urls = request.send().await?.queue_urls;
    ensure!(
        urls.contains(&queue.url) && !urls.contains(&other.url),
        "{urls:?} are listed, documented is {}",
        queue.url
    );
    Ok(())
}

async fn redrive_policy_is_removed(context: Context) -> Result<()> {
    let dead_letters = context.queue(&[]).await?;
    let queue = context.queue_with_dead_letters(1, "0", &dead_letters).await?;
    let request = queue.sqs.set_queue_attributes().queue_url(&queue.url).attributes(RedrivePolicy, "");
    request.attributes(VisibilityTimeout, "0").send().await?;
    queue.send("a").await?;
    for count in 1..=3 {
        same("ApproximateReceiveCount", receives(&queue.one().await?)?, count)?;
    }
    Ok(())
}
