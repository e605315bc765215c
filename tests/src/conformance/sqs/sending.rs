//! What may be sent, and when it arrives.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use aws_sdk_sqs::types::{
    MessageAttributeValue,
    MessageSystemAttributeName::{AwsTraceHeader, SenderId, SentTimestamp},
    MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    QueueAttributeName::{DelaySeconds, MaximumMessageSize},
};

use super::attributes::md5_hex;
use crate::conformance::{
    Case, Context, case,
    check::{becomes, refused, same, took},
    context::{ARRIVAL, system},
};

const SEND: &str = "SQS API Reference, SendMessage";
const SYSTEM: &str = "SQS Developer Guide, Message system attributes";
const DELAY: &str = "SQS Developer Guide, Delay queues";
const TIMERS: &str = "SQS Developer Guide, Message timers";
const QUOTAS: &str = "SQS Developer Guide, Message quotas";

pub(super) const CASES: &[Case] = &[
    case!(sqs, message_arrives_as_sent, SEND, "A message has the id and the MD5 that its sender was told"),
    case!(sqs, sent_timestamp_and_sender, SYSTEM, "SentTimestamp is the time of sending in ms, SenderId who sent it"),
    case!(sqs, trace_header_travels, SYSTEM, "AWSTraceHeader arrives with the message and is digested"),
    case!(sqs, message_delay, TIMERS, "DelaySeconds of a message hides it until then"),
    case!(sqs, queue_delay, DELAY, "DelaySeconds of a queue hides every new message until then"),
    case!(sqs, message_delay_goes_before_queues, TIMERS, "DelaySeconds of a message goes before the queue's"),
    case!(sqs, delay_is_bounded, SEND, "DelaySeconds is 0 to 900"),
    case!(sqs, delayed_messages_are_counted, DELAY, "A delayed message is counted as delayed, not as visible"),
    case!(sqs, body_of_one_mebibyte, QUOTAS, "A message may have 1,048,576 bytes, and no more"),
    case!(sqs, queue_limits_size, SEND, "A message larger than the queue's MaximumMessageSize is refused"),
    case!(sqs, attributes_count_in_size, QUOTAS, "Names, types and values of attributes count in the size"),
    case!(sqs, empty_body_is_refused, SEND, "A body has at least one character"),
    case!(sqs, control_characters_are_refused, SEND, "Characters outside the allowed set: InvalidMessageContents"),
    case!(sqs, allowed_characters_arrive, SEND, "Tab, line ends and everything above U+0020 arrive unchanged"),
];

async fn message_arrives_as_sent(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let sent = queue.send("one body").await?;
    let message = queue.one().await?;
    same("the body", message.body(), Some("one body"))?;
    same("MessageId", message.message_id(), sent.message_id())?;
    same("MD5OfMessageBody at sending", sent.md5_of_message_body(), Some(md5_hex(b"one body").as_str()))?;
    same("MD5OfBody", message.md5_of_body(), sent.md5_of_message_body())
}

async fn sent_timestamp_and_sender(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let before = now_ms();
    queue.send("a").await?;
    let message = queue.one().await?;
    let sent: u128 = system(&message, SentTimestamp)?.parse()?;
    // Clocks of two machines differ by less.
    ensure!(
        (before.saturating_sub(2_000)..=now_ms() + 2_000).contains(&sent),
        "SentTimestamp is {sent}, now is {before}"
    );
    ensure!(!system(&message, SenderId)?.is_empty(), "SenderId is empty");
    Ok(())
}

async fn trace_header_travels(context: Context) -> Result<()> {
    const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let queue = context.queue(&[]).await?;
    let value = MessageSystemAttributeValue::builder().data_type("String").string_value(HEADER).build()?;
    let request = queue.sqs.send_message().queue_url(&queue.url).message_body("a");
    let sent =
        request.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value).send().await?;
    ensure!(sent.md5_of_message_system_attributes().is_some(), "MD5OfMessageSystemAttributes is missing");
    same("AWSTraceHeader", system(&queue.one().await?, AwsTraceHeader)?, HEADER)
}

async fn message_delay(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let sent = Instant::now();
    queue.sqs.send_message().queue_url(&queue.url).message_body("a").delay_seconds(2).send().await?;
    queue.stays_empty(0).await?;
    queue.one().await?;
    took("the arrival", sent, 1_900, 5_000)
}

async fn queue_delay(context: Context) -> Result<()> {
    let queue = context.queue(&[(DelaySeconds, "2")]).await?;
    let sent = Instant::now();
    queue.send("a").await?;
    queue.stays_empty(0).await?;
    queue.one().await?;
    took("the arrival", sent, 1_900, 5_000)
}

async fn message_delay_goes_before_queues(context: Context) -> Result<()> {
    let queue = context.queue(&[(DelaySeconds, "60")]).await?;
    queue.sqs.send_message().queue_url(&queue.url).message_body("a").delay_seconds(0).send().await?;
    queue.one().await.map(drop)
}

async fn delay_is_bounded(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    for seconds in [901, -1] {
        let request = queue.sqs.send_message().queue_url(&queue.url).message_body("a").delay_seconds(seconds);
        refused(request.send().await, &["InvalidParameterValue"])?;
    }
    Ok(())
}

async fn delayed_messages_are_counted(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    queue.sqs.send_message().queue_url(&queue.url).message_body("a").delay_seconds(60).send().await?;
    queue.send("b").await?;
    becomes("visible, in flight, delayed", ARRIVAL, (1, 0, 1), async || queue.counts().await).await
}

async fn body_of_one_mebibyte(context: Context) -> Result<()> {
    const BYTES_MAX: usize = 1_048_576;
    let queue = context.queue(&[(MaximumMessageSize, "1048576")]).await?;
    queue.send(&"x".repeat(BYTES_MAX)).await?;
    same("the body's length", queue.one().await?.body().map(str::len), Some(BYTES_MAX))?;
    let request = queue.sqs.send_message().queue_url(&queue.url).message_body("x".repeat(BYTES_MAX + 1));
    refused(request.send().await, &["InvalidParameterValue"])
}

async fn queue_limits_size(context: Context) -> Result<()> {
    let queue = context.queue(&[(MaximumMessageSize, "1024")]).await?;
    queue.send(&"x".repeat(1_024)).await?;
    let request = queue.sqs.send_message().queue_url(&queue.url).message_body("x".repeat(1_025));
    refused(request.send().await, &["InvalidParameterValue"])
}

async fn attributes_count_in_size(context: Context) -> Result<()> {
    let queue = context.queue(&[(MaximumMessageSize, "1024")]).await?;
    let value = |bytes: usize| {
        let value = MessageAttributeValue::builder().data_type("String").string_value("v".repeat(bytes));
        value.build()
    };
    // 1,000 of body, 4 of the name, 6 of the type.
    let send = |value| {
        let request = queue.sqs.send_message().queue_url(&queue.url).message_body("x".repeat(1_000));
        request.message_attributes("name", value).send()
    };
    send(value(14)?).await?;
    refused(send(value(15)?).await, &["InvalidParameterValue"])
}

async fn empty_body_is_refused(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let answer = queue.sqs.send_message().queue_url(&queue.url).message_body("").send().await;
    refused(answer, &["MissingParameter", "InvalidParameterValue"])
}

async fn control_characters_are_refused(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    for body in ["a\u{0}b", "a\u{1}b", "a\u{b}b", "a\u{fffe}b"] {
        let answer = queue.sqs.send_message().queue_url(&queue.url).message_body(body).send().await;
        refused(answer, &["InvalidMessageContents"])?;
    }
    Ok(())
}

async fn allowed_characters_arrive(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let body = "\t a \r\n <b>&amp;</b> \u{7f} \u{e9} \u{d7ff} \u{e000} \u{fffd} \u{10000} \u{1f600} \u{10ffff} \"\\";
    queue.send(body).await?;
    same("the body", queue.one().await?.body(), Some(body))
}
