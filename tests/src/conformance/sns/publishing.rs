//! What may be published.

use anyhow::{Context as _, Result};
use aws_sdk_sns::types::MessageAttributeValue;

use crate::conformance::{
    Case, Context, case,
    check::{refused, same},
    context::json_of,
};

const PUBLISH: &str = "SNS API Reference, Publish";
const ATTRIBUTES: &str = "SNS Developer Guide, Message attributes";

pub(super) const CASES: &[Case] = &[
    case!(sns, publish_to_absent_topic, PUBLISH, "A topic that does not exist: NotFound"),
    case!(sns, publish_to_no_arn, PUBLISH, "A text that is no ARN: InvalidParameter"),
    case!(sns, empty_message_is_refused, PUBLISH, "A message is not empty"),
    case!(sns, message_of_256_kibibytes, PUBLISH, "A message has at most 262,144 bytes"),
    case!(sns, subject_is_checked, PUBLISH, "A subject has no line break and at most 100 characters"),
    case!(sns, attribute_values_are_checked, ATTRIBUTES, "A value is not empty, and its type is known"),
    case!(sns, message_by_protocol, PUBLISH, "MessageStructure json: each protocol gets its own text, or `default`"),
    case!(sns, message_by_protocol_needs_default, PUBLISH, "MessageStructure json needs a text as `default`"),
];

async fn publish_to_absent_topic(context: Context) -> Result<()> {
    let arn = format!("{}-absent", context.topic().await?);
    refused(context.sns.publish().topic_arn(arn).message("a").send().await, &["NotFound"])
}

async fn publish_to_no_arn(context: Context) -> Result<()> {
    refused(context.sns.publish().topic_arn("no-arn").message("a").send().await, &["InvalidParameter"])
}

async fn empty_message_is_refused(context: Context) -> Result<()> {
    let topic = context.topic().await?;
    refused(context.sns.publish().topic_arn(topic).message("").send().await, &["InvalidParameter"])
}

async fn message_of_256_kibibytes(context: Context) -> Result<()> {
    const BYTES_MAX: usize = 262_144;
    let topic = context.topic().await?;
    context.sns.publish().topic_arn(&topic).message("x".repeat(BYTES_MAX)).send().await?;
    let answer = context.sns.publish().topic_arn(&topic).message("x".repeat(BYTES_MAX + 1)).send().await;
    refused(answer, &["InvalidParameter"])
}

async fn subject_is_checked(context: Context) -> Result<()> {
    let topic = context.topic().await?;
    for subject in ["two\nlines", &"x".repeat(101)] {
        let request = context.sns.publish().topic_arn(&topic).message("a").subject(subject);
        refused(request.send().await, &["InvalidParameter"]).with_context(|| format!("{subject:?}"))?;
    }
    Ok(())
}

async fn attribute_values_are_checked(context: Context) -> Result<()> {
    let topic = context.topic().await?;
    for (data_type, value) in [("String", ""), ("Text", "a"), ("Number", "twelve")] {
        let value = MessageAttributeValue::builder().data_type(data_type).string_value(value).build()?;
        let request = context.sns.publish().topic_arn(&topic).message("a").message_attributes("k", value);
        let codes = ["InvalidParameterValue", "ParameterValueInvalid", "InvalidParameter"];
        refused(request.send().await, &codes).with_context(|| data_type)?;
    }
    Ok(())
}

async fn message_by_protocol(context: Context) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    context.subscribe(&topic, &queue, &[]).await?;
    for (message, arrives) in
        [(r#"{"default":"all","sqs":"queues","http":"h"}"#, "queues"), (r#"{"default":"all"}"#, "all")]
    {
        context.sns.publish().topic_arn(&topic).message(message).message_structure("json").send().await?;
        let came = queue.one().await?;
        same("Message", json_of(&came)?["Message"].as_str(), Some(arrives))?;
        queue.delete(&came).await?;
    }
    Ok(())
}

async fn message_by_protocol_needs_default(context: Context) -> Result<()> {
    let topic = context.topic().await?;
    for message in [r#"{"sqs":"queues"}"#, "no JSON"] {
        let request = context.sns.publish().topic_arn(&topic).message(message).message_structure("json");
        refused(request.send().await, &["InvalidParameter"]).with_context(|| message)?;
    }
    Ok(())
}
