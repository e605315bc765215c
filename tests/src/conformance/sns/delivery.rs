//! How messages arrive at queues.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sns::{primitives::Blob, types::MessageAttributeValue};
use serde_json::json;

use crate::conformance::{
    Case, Context, case,
    check::same,
    context::{Queue, json_of},
};

const JSON_FORMAT: &str = "SNS Developer Guide, Message and JSON formats";
const RAW: &str = "SNS Developer Guide, Raw message delivery";
const FANOUT: &str = "SNS Developer Guide, Fanout to SQS queues";
const DEAD_LETTERS: &str = "SNS Developer Guide, Dead-letter queues";
const SUBSCRIBE: &str = "SNS API Reference, SetSubscriptionAttributes";

pub(super) const CASES: &[Case] = &[
    case!(sns, envelope, JSON_FORMAT, "Without raw delivery a Notification arrives: type, id, topic, message, time"),
    case!(sns, envelope_has_subject, JSON_FORMAT, "Subject is in the envelope if one was published, and not otherwise"),
    case!(
        sns,
        envelope_has_attributes,
        JSON_FORMAT,
        "Attributes are in the envelope with type and value, bytes as base64"
    ),
    case!(sns, raw_message, RAW, "With raw delivery the message arrives as published"),
    case!(sns, raw_attributes, RAW, "With raw delivery attributes become attributes of the queue's message"),
    case!(sns, raw_takes_ten_attributes, RAW, "With raw delivery a message with more than ten attributes is discarded"),
    case!(sns, envelope_takes_more_attributes, RAW, "Without raw delivery more than ten attributes arrive"),
    case!(
        sns,
        discarded_raw_message_is_dead_letter,
        RAW,
        "What raw delivery discards goes to the subscription's dead letters"
    ),
    case!(sns, fanout, FANOUT, "Every subscribed queue gets the message"),
    case!(
        sns,
        deleted_queue_leads_to_dead_letters,
        DEAD_LETTERS,
        "A message for a deleted queue goes to the subscription's dead-letter queue"
    ),
    case!(sns, deleted_queue_holds_up_nobody, FANOUT, "A deleted queue does not keep the message from the others"),
    case!(sns, raw_is_switched, SUBSCRIBE, "RawMessageDelivery of a subscription can be switched"),
];

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
}

async fn subscribed(context: &Context, attributes: &[(&str, &str)]) -> Result<(String, Queue)> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    context.subscribe(&topic, &queue, attributes).await?;
    Ok((topic, queue))
}

async fn envelope(context: Context) -> Result<()> {
    let (topic, queue) = subscribed(&context, &[]).await?;
    let published = context.sns.publish().topic_arn(&topic).message("a \"message\"").send().await?;
    let body = json_of(&queue.one().await?)?;
    same("Type", body["Type"].as_str(), Some("Notification"))?;
    same("MessageId", body["MessageId"].as_str(), published.message_id())?;
    same("TopicArn", body["TopicArn"].as_str(), Some(topic.as_str()))?;
    same("Message", body["Message"].as_str(), Some("a \"message\""))?;
    let time = body["Timestamp"].as_str().unwrap_or_default();
    ensure!(time.len() == 24 && time.ends_with('Z'), "Timestamp is {time:?}, documented is 2012-05-02T00:54:06.655Z");
    for field in ["SignatureVersion", "Signature", "SigningCertURL", "UnsubscribeURL"] {
        ensure!(body[field].is_string(), "{field} is missing");
    }
    Ok(())
}

async fn envelope_has_subject(context: Context) -> Result<()> {
    let (topic, queue) = subscribed(&context, &[]).await?;
    context.sns.publish().topic_arn(&topic).message("a").subject("About").send().await?;
    let came = queue.one().await?;
    same("Subject", json_of(&came)?["Subject"].as_str(), Some("About"))?;
    queue.delete(&came).await?;
    context.sns.publish().topic_arn(&topic).message("a").send().await?;
    same("Subject", json_of(&queue.one().await?)?.get("Subject").cloned(), None)
}

async fn envelope_has_attributes(context: Context) -> Result<()> {
    let (topic, queue) = subscribed(&context, &[]).await?;
    let bytes = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 255])).build()?;
    let request = context.sns.publish().topic_arn(&topic).message("a").message_attributes("text", text("v"));
    request.message_attributes("bytes", bytes).send().await?;
    let documented =
        json!({ "text": { "Type": "String", "Value": "v" }, "bytes": { "Type": "Binary", "Value": "AP8=" } });
    same("MessageAttributes", &json_of(&queue.one().await?)?["MessageAttributes"], &documented)
}

async fn raw_message(context: Context) -> Result<()> {
    let (topic, queue) = subscribed(&context, &[("RawMessageDelivery", "true")]).await?;
    let message = "{\"a\": 1}\n \u{e9}\u{1f600} &<>\"'";
    context.sns.publish().topic_arn(&topic).message(message).subject("lost").send().await?;
    same("the body", queue.one().await?.body(), Some(message))
}

async fn raw_attributes(context: Context) -> Result<()> {
    let (topic, queue) = subscribed(&context, &[("RawMessageDelivery", "true")]).await?;
    let number = MessageAttributeValue::builder().data_type("Number").string_value("1.50").build()?;
    let bytes = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 255])).build()?;
    let request = context.sns.publish().topic_arn(&topic).message("a").message_attributes("text", text("v"));
    request.message_attributes("number", number).message_attributes("bytes", bytes).send().await?;
    let message = queue.one().await?;
    let attributes = message.message_attributes().context("no attributes came")?;
    let text_of = |name: &str| attributes.get(name).map(|value| (value.data_type(), value.string_value()));
    same("text", text_of("text"), Some(("String", Some("v"))))?;
    same("number", text_of("number"), Some(("Number", Some("1.50"))))?;
    let bytes = attributes.get("bytes").and_then(|value| value.binary_value());
    same("bytes", bytes.map(|value| value.as_ref().to_vec()), Some(vec![0, 255]))
}

/// Publishes a message with eleven attributes.
async fn publish_eleven(context: &Context, topic: &str) -> Result<()> {
    let mut request = context.sns.publish().topic_arn(topic).message("eleven");
    for n in 0..11 {
        request = request.message_attributes(format!("k{n}"), text("v"));
    }
    request.send().await?;
    Ok(())
}

async fn raw_takes_ten_attributes(context: Context) -> Result<()> {
    let (topic, queue) = subscribed(&context, &[("RawMessageDelivery", "true")]).await?;
    publish_eleven(&context, &topic).await?;
    context.sns.publish().topic_arn(&topic).message("none").send().await?;
    same("what arrives", queue.one().await?.body(), Some("none"))?;
    queue.stays_empty(1).await
}

async fn envelope_takes_more_attributes(context: Context) -> Result<()> {
    let (topic, queue) = subscribed(&context, &[]).await?;
    publish_eleven(&context, &topic).await?;
    let body = json_of(&queue.one().await?)?;
    same("attributes", body["MessageAttributes"].as_object().map(|all| all.len()), Some(11))
}

async fn discarded_raw_message_is_dead_letter(context: Context) -> Result<()> {
    let dead_letters = context.queue(&[]).await?;
    // Made a subscriber of another topic only to be allowed to receive from topics.
    context.subscribe(&context.topic().await?, &dead_letters, &[]).await?;
    let redrive = json!({ "deadLetterTargetArn": dead_letters.arn().await? }).to_string();
    let attributes = [("RawMessageDelivery", "true"), ("RedrivePolicy", redrive.as_str())];
    let (topic, queue) = subscribed(&context, &attributes).await?;
    publish_eleven(&context, &topic).await?;
    let letter = dead_letters.one().await?;
    ensure!(letter.body().unwrap_or_default().contains("eleven"), "the dead letter is {:?}", letter.body());
    queue.stays_empty(0).await
}

async fn fanout(context: Context) -> Result<()> {
    let topic = context.topic().await?;
    let mut ids = BTreeSet::new();
    let queues = [context.queue(&[]).await?, context.queue(&[]).await?, context.queue(&[]).await?];
    for queue in &queues {
        context.subscribe(&topic, queue, &[("RawMessageDelivery", "true")]).await?;
    }
    context.sns.publish().topic_arn(&topic).message("for all").send().await?;
    for queue in &queues {
        let message = queue.one().await?;
        same("the body", message.body(), Some("for all"))?;
        ids.extend(message.message_id().map(str::to_owned));
    }
    same("messages of their own", ids.len(), 3)
}

async fn deleted_queue_leads_to_dead_letters(context: Context) -> Result<()> {
    let dead_letters = context.queue(&[]).await?;
    context.subscribe(&context.topic().await?, &dead_letters, &[]).await?;
    let redrive = json!({ "deadLetterTargetArn": dead_letters.arn().await? }).to_string();
    let attributes = [("RawMessageDelivery", "true"), ("RedrivePolicy", redrive.as_str())];
    let (topic, queue) = subscribed(&context, &attributes).await?;
    context.sqs.delete_queue().queue_url(&queue.url).send().await?;
    context.sns.publish().topic_arn(&topic).message("undelivered").send().await?;
    let letter = dead_letters.one().await?;
    ensure!(letter.body().unwrap_or_default().contains("undelivered"), "the dead letter is {:?}", letter.body());
    Ok(())
}

async fn deleted_queue_holds_up_nobody(context: Context) -> Result<()> {
    let (topic, queue) = subscribed(&context, &[("RawMessageDelivery", "true")]).await?;
    let gone = context.queue(&[]).await?;
    context.subscribe(&topic, &gone, &[]).await?;
    context.sqs.delete_queue().queue_url(&gone.url).send().await?;
    context.sns.publish().topic_arn(&topic).message("a").send().await?;
    same("the body", queue.one().await?.body(), Some("a"))
}

async fn raw_is_switched(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    let subscription = context.subscribe(&topic, &queue, &[]).await?;
    let request = context.sns.set_subscription_attributes().subscription_arn(subscription);
    request.attribute_name("RawMessageDelivery").attribute_value("true").send().await?;
    context.sns.publish().topic_arn(&topic).message("a").send().await?;
    same("the body", queue.one().await?.body(), Some("a"))
}
