//! Making, finding and describing queues.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::types::QueueAttributeName::{
    self, ApproximateNumberOfMessages, CreatedTimestamp, DelaySeconds, LastModifiedTimestamp, MaximumMessageSize,
    MessageRetentionPeriod, QueueArn, ReceiveMessageWaitTimeSeconds, VisibilityTimeout,
};

use super::NO_QUEUE;
use crate::conformance::{
    Case, Context, case,
    check::{becomes, refused, same},
    context::ARRIVAL,
};

const CREATE: &str = "SQS API Reference, CreateQueue";
const GET: &str = "SQS API Reference, GetQueueAttributes";
const SET: &str = "SQS API Reference, SetQueueAttributes";
const URL: &str = "SQS API Reference, GetQueueUrl";
const LIST: &str = "SQS API Reference, ListQueues";
const ERRORS: &str = "SQS API Reference, Common errors";
const TAGS: &str = "SQS API Reference, TagQueue";

pub(super) const CASES: &[Case] = &[
    case!(sqs, create_is_idempotent, CREATE, "The same name with the same attributes gives the same URL"),
    case!(sqs, create_with_name_alone, CREATE, "The name of an existing queue, without attributes, gives its URL"),
    case!(sqs, create_conflicts, CREATE, "The same name with other attributes: QueueAlreadyExists"),
    case!(sqs, names_are_checked, CREATE, "A name is 1 to 80 of letters, digits, hyphen and underscore"),
    case!(sqs, attribute_bounds, SET, "Each attribute has its range: InvalidAttributeValue"),
    case!(sqs, unknown_attributes_are_refused, SET, "An attribute that does not exist: InvalidAttributeName"),
    case!(sqs, defaults, CREATE, "30 s hidden, kept 345,600 s, no delay, no wait"),
    case!(sqs, default_size_is_one_mebibyte, CREATE, "MaximumMessageSize is 1,048,576 without it"),
    case!(sqs, all_attributes_are_described, GET, "All names the ARN, timestamps, counts and settings"),
    case!(sqs, attributes_are_described_by_name, GET, "Only the attributes that are named are described"),
    case!(sqs, messages_are_counted, GET, "Visible and in-flight messages are counted apart"),
    case!(sqs, set_attributes_take_effect, SET, "A changed VisibilityTimeout counts for the next receive"),
    case!(sqs, url_is_found_by_name, URL, "GetQueueUrl finds a queue by its name"),
    case!(sqs, absent_queue_is_refused_everywhere, ERRORS, "Every operation refuses a queue that does not exist"),
    case!(sqs, deleted_queue_is_gone, ERRORS, "A deleted queue does not exist"),
    case!(sqs, queues_are_listed_by_prefix, LIST, "ListQueues takes a prefix"),
    case!(sqs, queues_are_listed_in_pages, LIST, "MaxResults makes pages, NextToken asks for the next one"),
    case!(sqs, tags, TAGS, "Tags are set, replaced, listed and removed"),
];

async fn create_is_idempotent(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "7")]).await?;
    let request = context.sqs.create_queue().queue_name(&queue.name).attributes(VisibilityTimeout, "7");
    same("the second URL", request.send().await?.queue_url(), Some(queue.url.as_str()))
}

async fn create_with_name_alone(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "7")]).await?;
    let again = context.sqs.create_queue().queue_name(&queue.name).send().await?;
    same("the second URL", again.queue_url(), Some(queue.url.as_str()))?;
    same("VisibilityTimeout", queue.attribute(VisibilityTimeout).await?, "7")
}

async fn create_conflicts(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "7")]).await?;
    let request = context.sqs.create_queue().queue_name(&queue.name).attributes(VisibilityTimeout, "8");
    refused(request.send().await, &["QueueAlreadyExists", "QueueNameExists"])
}

async fn names_are_checked(context: Context) -> Result<()> {
    for name in ["a b", "a.b", "a/b", "", &"x".repeat(81)] {
        let answer = context.sqs.create_queue().queue_name(name).send().await;
        if let Ok(queue) = &answer {
            context.forget_queue_later(queue.queue_url().unwrap_or_default());
        }
        let codes = ["InvalidParameterValue", "MissingParameter"];
        refused(answer, &codes).with_context(|| format!("the name {name:?}"))?;
    }
    Ok(())
}

async fn attribute_bounds(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let outside: [(QueueAttributeName, &[&str]); 5] = [
        (VisibilityTimeout, &["-1", "43201", "x"]),
        (DelaySeconds, &["-1", "901"]),
        (ReceiveMessageWaitTimeSeconds, &["-1", "21"]),
        (MessageRetentionPeriod, &["59", "1209601"]),
        (MaximumMessageSize, &["1023", "1048577"]),
    ];
    for (name, values) in outside {
        for value in values {
            let request = queue.sqs.set_queue_attributes().queue_url(&queue.url).attributes(name.clone(), *value);
            let answer = refused(request.send().await, &["InvalidAttributeValue"]);
            answer.with_context(|| format!("{} {value}", name.as_str()))?;
        }
    }
    Ok(())
}

async fn unknown_attributes_are_refused(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let unknown = QueueAttributeName::from("Colour");
    let set = queue.sqs.set_queue_attributes().queue_url(&queue.url).attributes(unknown.clone(), "red");
    refused(set.send().await, &["InvalidAttributeName"]).context("SetQueueAttributes")?;
    let get = queue.sqs.get_queue_attributes().queue_url(&queue.url).attribute_names(unknown);
    refused(get.send().await, &["InvalidAttributeName"]).context("GetQueueAttributes")
}

async fn defaults(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    for (name, value) in [
        (VisibilityTimeout, "30"),
        (MessageRetentionPeriod, "345600"),
        (DelaySeconds, "0"),
        (ReceiveMessageWaitTimeSeconds, "0"),
    ] {
        same(name.as_str(), queue.attribute(name.clone()).await?, value)?;
    }
    Ok(())
}

async fn default_size_is_one_mebibyte(context: Context) -> Result<()> {
    same("MaximumMessageSize", context.queue(&[]).await?.attribute(MaximumMessageSize).await?, "1048576")
}

async fn all_attributes_are_described(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let request = queue.sqs.get_queue_attributes().queue_url(&queue.url).attribute_names(QueueAttributeName::All);
    let attributes = request.send().await?.attributes.unwrap_or_default();
    let arn = attributes.get(&QueueArn).cloned().unwrap_or_default();
    ensure!(arn.starts_with("arn:aws") && arn.ends_with(&format!(":{}", queue.name)), "QueueArn is {arn:?}");
    for name in [CreatedTimestamp, LastModifiedTimestamp] {
        // Seconds since 1970, not milliseconds.
        let time = attributes.get(&name).cloned().unwrap_or_default();
        ensure!(time.len() == 10 && time.parse::<u64>().is_ok(), "{} is {time:?}", name.as_str());
    }
    let counts = [ApproximateNumberOfMessages, QueueAttributeName::ApproximateNumberOfMessagesDelayed];
    for name in counts.into_iter().chain([VisibilityTimeout, DelaySeconds, MessageRetentionPeriod]) {
        ensure!(attributes.contains_key(&name), "{} is missing", name.as_str());
    }
    Ok(())
}

async fn attributes_are_described_by_name(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let request = queue.sqs.get_queue_attributes().queue_url(&queue.url).attribute_names(DelaySeconds);
    let attributes = request.send().await?.attributes.unwrap_or_default();
    same("the names", attributes.into_keys().collect::<Vec<_>>(), [DelaySeconds])
}

async fn messages_are_counted(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "60")]).await?;
    for body in ["a", "b", "c"] {
        queue.send(body).await?;
    }
    queue.one().await?;
    becomes("visible, in flight, delayed", ARRIVAL, (2, 1, 0), async || queue.counts().await).await
}

async fn set_attributes_take_effect(context: Context) -> Result<()> {
    let queue = context.queue(&[(VisibilityTimeout, "60")]).await?;
    let request = queue.sqs.set_queue_attributes().queue_url(&queue.url).attributes(VisibilityTimeout, "1");
    request.send().await?;
    same("VisibilityTimeout", queue.attribute(VisibilityTimeout).await?, "1")?;
    queue.send("a").await?;
    queue.one().await?;
    queue.one().await.map(drop)
}

async fn url_is_found_by_name(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let found = context.sqs.get_queue_url().queue_name(&queue.name).send().await?;
    same("QueueUrl", found.queue_url(), Some(queue.url.as_str()))?;
    refused(context.sqs.get_queue_url().queue_name(context.name()).send().await, &NO_QUEUE)
}

async fn absent_queue_is_refused_everywhere(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let url = format!("{}-absent", queue.url);
    let sqs = &context.sqs;
    refused(sqs.send_message().queue_url(&url).message_body("a").send().await, &NO_QUEUE)?;
    refused(sqs.receive_message().queue_url(&url).send().await, &NO_QUEUE)?;
    refused(sqs.delete_message().queue_url(&url).receipt_handle("x").send().await, &NO_QUEUE)?;
    refused(sqs.get_queue_attributes().queue_url(&url).send().await, &NO_QUEUE)?;
    refused(sqs.purge_queue().queue_url(&url).send().await, &NO_QUEUE)?;
    let answer = sqs.send_message().queue_url(&url).message_body("a").send().await;
    let typed = answer.is_err_and(|error| {
        use aws_sdk_sqs::operation::send_message::SendMessageError::QueueDoesNotExist;
        matches!(error.as_service_error(), Some(QueueDoesNotExist(_)))
    });
    ensure!(typed, "the SDK does not know the error as QueueDoesNotExist");
    Ok(())
}

async fn deleted_queue_is_gone(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    context.sqs.delete_queue().queue_url(&queue.url).send().await?;
    becomes("whether the queue is there", ARRIVAL, false, async || {
        Ok(context.sqs.get_queue_url().queue_name(&queue.name).send().await.is_ok())
    })
    .await?;
    refused(queue.sqs.send_message().queue_url(&queue.url).message_body("a").send().await, &NO_QUEUE)
}

async fn queues_are_listed_by_prefix(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    context.queue(&[]).await?;
    let listed = context.sqs.list_queues().queue_name_prefix(&queue.name).send().await?;
    same("the list", listed.queue_urls(), [queue.url])
}

async fn queues_are_listed_in_pages(context: Context) -> Result<()> {
    let queues = [context.queue(&[]).await?, context.queue(&[]).await?, context.queue(&[]).await?];
    let prefix = queues[0].name.trim_end_matches('0');
    let request = context.sqs.list_queues().queue_name_prefix(prefix).max_results(2);
    let first = request.clone().send().await?;
    same("the first page", first.queue_urls().len(), 2)?;
    let token = first.next_token().context("the first page has no NextToken")?;
    let second = request.next_token(token).send().await?;
    same("the second page", (second.queue_urls().len(), second.next_token()), (1, None))
}

async fn tags(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let tag = |key: &str, value: &str| context.sqs.tag_queue().queue_url(&queue.url).tags(key, value).send();
    tag("a", "1").await?;
    tag("b", "2").await?;
    tag("a", "3").await?;
    context.sqs.untag_queue().queue_url(&queue.url).tag_keys("b").send().await?;
    let tags = context.sqs.list_queue_tags().queue_url(&queue.url).send().await?.tags.unwrap_or_default();
    same("the tags", tags.into_iter().collect::<Vec<_>>(), [("a".to_owned(), "3".to_owned())])
}
