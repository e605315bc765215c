//! Making and describing topics and subscriptions.

use anyhow::{Context as _, Result, ensure};

use crate::conformance::{
    Case, Context, case,
    check::{refused, same},
};

const CREATE: &str = "SNS API Reference, CreateTopic";
const GET: &str = "SNS API Reference, GetTopicAttributes";
const DELETE: &str = "SNS API Reference, DeleteTopic";
const SUBSCRIBE: &str = "SNS API Reference, Subscribe";
const UNSUBSCRIBE: &str = "SNS API Reference, Unsubscribe";
const GET_SUBSCRIPTION: &str = "SNS API Reference, GetSubscriptionAttributes";
const LIST: &str = "SNS API Reference, ListSubscriptionsByTopic";

pub(super) const CASES: &[Case] = &[
    case!(sns, create_is_idempotent, CREATE, "The name of an existing topic gives its ARN"),
    case!(sns, names_are_checked, CREATE, "A name is 1 to 256 of letters, digits, hyphen and underscore"),
    case!(sns, topic_is_described, GET, "A topic has its ARN, its owner, and the number of its subscriptions"),
    case!(sns, absent_topic_is_not_described, GET, "A topic that does not exist: NotFound"),
    case!(sns, delete_is_idempotent, DELETE, "Deleting a topic that does not exist succeeds"),
    case!(sns, deleted_topic_is_gone, DELETE, "A deleted topic does not exist: NotFound"),
    case!(sns, subscribe_is_idempotent, SUBSCRIBE, "The same endpoint with the same attributes gives the same ARN"),
    case!(sns, subscribe_conflicts, SUBSCRIBE, "The same endpoint with other attributes: InvalidParameter"),
    case!(sns, subscribe_to_absent_topic, SUBSCRIBE, "A topic that does not exist: NotFound"),
    case!(sns, unknown_protocol_is_refused, SUBSCRIBE, "A protocol that does not exist: InvalidParameter"),
    case!(sns, unknown_attribute_is_refused, SUBSCRIBE, "An attribute that does not exist: InvalidParameter"),
    case!(
        sns,
        subscription_is_described,
        GET_SUBSCRIPTION,
        "A subscription has topic, protocol, endpoint and settings"
    ),
    case!(sns, absent_subscription_is_not_described, GET_SUBSCRIPTION, "A subscription that does not exist: NotFound"),
    case!(sns, unsubscribed_queue_gets_nothing, UNSUBSCRIBE, "After Unsubscribe nothing arrives any more"),
    case!(sns, subscriptions_are_listed, LIST, "A topic's subscriptions are listed"),
];

async fn create_is_idempotent(context: Context) -> Result<()> {
    let topic = context.topic().await?;
    let name = topic.rsplit(':').next().unwrap_or_default();
    let again = context.sns.create_topic().name(name).send().await?;
    same("the second ARN", again.topic_arn(), Some(topic.as_str()))
}

async fn names_are_checked(context: Context) -> Result<()> {
    for name in ["a b", "a/b", "", &"x".repeat(257)] {
        let answer = context.sns.create_topic().name(name).send().await;
        if let Ok(topic) = &answer {
            context.forget_topic_later(topic.topic_arn().unwrap_or_default());
        }
        refused(answer, &["InvalidParameter"]).with_context(|| format!("the name {name:?}"))?;
    }
    Ok(())
}

async fn topic_is_described(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    context.subscribe(&topic, &queue, &[]).await?;
    let attributes = context.sns.get_topic_attributes().topic_arn(&topic).send().await?.attributes.unwrap_or_default();
    same("TopicArn", attributes.get("TopicArn"), Some(&topic))?;
    same("Owner", attributes.get("Owner").map(String::as_str), topic.split(':').nth(4))?;
    for (name, value) in [("SubscriptionsConfirmed", "1"), ("SubscriptionsPending", "0")] {
        same(name, attributes.get(name).map(String::as_str), Some(value))?;
    }
    Ok(())
}

async fn absent_topic_is_not_described(context: Context) -> Result<()> {
    let arn = format!("{}-absent", context.topic().await?);
    refused(context.sns.get_topic_attributes().topic_arn(arn).send().await, &["NotFound"])
}

async fn delete_is_idempotent(context: Context) -> Result<()> {
    let topic = context.topic().await?;
    context.sns.delete_topic().topic_arn(&topic).send().await?;
    context.sns.delete_topic().topic_arn(&topic).send().await?;
    Ok(())
}

async fn deleted_topic_is_gone(context: Context) -> Result<()> {
    let topic = context.topic().await?;
    context.sns.delete_topic().topic_arn(&topic).send().await?;
    refused(context.sns.publish().topic_arn(&topic).message("a").send().await, &["NotFound"])
}

async fn subscribe_is_idempotent(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    let attributes = [("RawMessageDelivery", "true")];
    let first = context.subscribe(&topic, &queue, &attributes).await?;
    same("the second ARN", context.subscribe(&topic, &queue, &attributes).await?, first)
}

async fn subscribe_conflicts(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    context.subscribe(&topic, &queue, &[("FilterPolicy", r#"{"a":["b"]}"#)]).await?;
    let request = context.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(queue.arn().await?);
    refused(request.attributes("FilterPolicy", r#"{"a":["c"]}"#).send().await, &["InvalidParameter"])
}

async fn subscribe_to_absent_topic(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    let request = context.sns.subscribe().topic_arn(format!("{topic}-absent")).protocol("sqs");
    refused(request.endpoint(queue.arn().await?).send().await, &["NotFound"])
}

async fn unknown_protocol_is_refused(context: Context) -> Result<()> {
    let request = context.sns.subscribe().topic_arn(context.topic().await?).protocol("pigeon").endpoint("x");
    refused(request.send().await, &["InvalidParameter"])
}

async fn unknown_attribute_is_refused(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    let request = context.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(queue.arn().await?);
    refused(request.attributes("Colour", "red").send().await, &["InvalidParameter"])
}

async fn subscription_is_described(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    let policy = r#"{"a":["b"]}"#;
    let subscription =
        context.subscribe(&topic, &queue, &[("RawMessageDelivery", "true"), ("FilterPolicy", policy)]).await?;
    let request = context.sns.get_subscription_attributes().subscription_arn(&subscription);
    let attributes = request.send().await?.attributes.unwrap_or_default();
    let arn = queue.arn().await?;
    for (name, value) in [
        ("SubscriptionArn", subscription.as_str()),
        ("TopicArn", topic.as_str()),
        ("Protocol", "sqs"),
        ("Endpoint", arn.as_str()),
        ("RawMessageDelivery", "true"),
        ("FilterPolicy", policy),
        ("FilterPolicyScope", "MessageAttributes"),
        ("PendingConfirmation", "false"),
    ] {
        same(name, attributes.get(name).map(String::as_str), Some(value))?;
    }
    Ok(())
}

async fn absent_subscription_is_not_described(context: Context) -> Result<()> {
    let arn = format!("{}:00000000-0000-4000-8000-000000000000", context.topic().await?);
    refused(context.sns.get_subscription_attributes().subscription_arn(arn).send().await, &["NotFound"])
}

async fn unsubscribed_queue_gets_nothing(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    let subscription = context.subscribe(&topic, &queue, &[]).await?;
    context.sns.unsubscribe().subscription_arn(subscription).send().await?;
    context.sns.publish().topic_arn(topic).message("a").send().await?;
    queue.stays_empty(1).await
}

async fn subscriptions_are_listed(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    let subscription = context.subscribe(&topic, &queue, &[]).await?;
    let listed = context.sns.list_subscriptions_by_topic().topic_arn(&topic).send().await?;
    let found = listed.subscriptions().iter().find(|found| found.subscription_arn() == Some(&subscription));
    let found = found.context("the subscription is not listed")?;
    ensure!(listed.subscriptions().len() == 1, "{} subscriptions are listed", listed.subscriptions().len());
    let arn = queue.arn().await?;
    same("the endpoint", (found.protocol(), found.endpoint()), (Some("sqs"), Some(arn.as_str())))
}
