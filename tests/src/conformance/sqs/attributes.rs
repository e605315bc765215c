//! Attributes of messages, and how they are digested.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aws_sdk_sqs::{primitives::Blob, types::MessageAttributeValue};
use md5::{Digest, Md5};

use crate::conformance::{
    Case, Context, case,
    check::{refused, same},
    context::Queue,
};

const GUIDE: &str = "SQS Developer Guide, Message metadata";
const RECEIVE: &str = "SQS API Reference, ReceiveMessage";

pub(super) const CASES: &[Case] = &[
    case!(sqs, attributes_arrive, GUIDE, "Attributes arrive with name, type and value; types may have a suffix"),
    case!(sqs, binary_attribute_arrives, GUIDE, "A Binary value is any bytes"),
    case!(sqs, attributes_are_digested, GUIDE, "MD5OfMessageAttributes: names in order, lengths, types, values"),
    case!(sqs, attributes_come_when_asked_for, RECEIVE, "Attributes come only if MessageAttributeNames names them"),
    case!(sqs, attributes_by_prefix, RECEIVE, "`prefix.*` names every attribute that begins so"),
    case!(sqs, ten_attributes_at_most, GUIDE, "A message has up to ten attributes"),
    case!(sqs, attribute_names_are_checked, GUIDE, "A name has no `AWS.` or period at its start, none at its end"),
    case!(sqs, attribute_types_are_checked, GUIDE, "A type is String, Number or Binary, with or without a suffix"),
    case!(sqs, attribute_values_are_checked, GUIDE, "A value is neither absent nor empty, and a Number is one"),
];

/// Hexadecimal MD5.
pub(super) fn md5_hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As the guide says: for each attribute by name: length and bytes of name, of type, a byte for the kind of value,
/// length and bytes of the value.
fn md5_of_attributes(attributes: &BTreeMap<&str, MessageAttributeValue>) -> String {
    let mut bytes = Vec::new();
    let mut field = |prefix: &[u8], field: &[u8]| {
        bytes.extend_from_slice(prefix);
        bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(field);
    };
    for (name, value) in attributes {
        field(&[], name.as_bytes());
        field(&[], value.data_type().as_bytes());
        match (value.string_value(), value.binary_value()) {
            (Some(text), _) => field(&[1], text.as_bytes()),
            (None, value) => field(&[2], value.map(Blob::as_ref).unwrap_or_default()),
        }
    }
    md5_hex(&bytes)
}

fn text(data_type: &str, value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type(data_type).string_value(value).build().unwrap()
}

fn bytes(data_type: &str, value: &[u8]) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type(data_type).binary_value(Blob::new(value)).build().unwrap()
}

fn samples() -> BTreeMap<&'static str, MessageAttributeValue> {
    BTreeMap::from([
        ("type", text("String", "payment.initiated")),
        ("amount", text("Number", "-12.50")),
        ("Amount.Kind_1-x", text("Number.int", "7")),
        ("tag", text("String.tag", "caf\u{e9} \u{1f600}")),
        ("bytes", bytes("Binary", &[0, 1, 255, 128])),
        ("image", bytes("Binary.png", b"\x89PNG")),
    ])
}

async fn send_with(
    queue: &Queue,
    attributes: &BTreeMap<&'static str, MessageAttributeValue>,
) -> Result<aws_sdk_sqs::operation::send_message::SendMessageOutput> {
    let mut request = queue.sqs.send_message().queue_url(&queue.url).message_body("a");
    for (name, value) in attributes {
        request = request.message_attributes(*name, value.clone());
    }
    Ok(request.send().await?)
}

async fn attributes_arrive(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let mut samples = samples();
    samples.retain(|_, value| value.string_value().is_some());
    send_with(&queue, &samples).await?;
    let message = queue.one().await?;
    let attributes = message.message_attributes().context("no attributes came")?;
    same("the number of attributes", attributes.len(), samples.len())?;
    for (name, documented) in &samples {
        let found = attributes.get(*name).map(|value| (value.data_type(), value.string_value()));
        same(name, found, Some((documented.data_type(), documented.string_value())))?;
    }
    Ok(())
}

async fn binary_attribute_arrives(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let samples = BTreeMap::from([("bytes", bytes("Binary.x", &(0..=255).collect::<Vec<u8>>()))]);
    send_with(&queue, &samples).await?;
    let message = queue.one().await?;
    let value = message.message_attributes().and_then(|attributes| attributes.get("bytes"));
    same("the attribute", value, samples.get("bytes"))
}

async fn attributes_are_digested(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    let samples = samples();
    let documented = md5_of_attributes(&samples);
    let sent = send_with(&queue, &samples).await?;
    same("MD5OfMessageAttributes at sending", sent.md5_of_message_attributes(), Some(documented.as_str()))?;
    let message = queue.one().await?;
    same("MD5OfMessageAttributes at receiving", message.md5_of_message_attributes(), Some(documented.as_str()))
}

/// The names that came when these were asked for.
async fn names_when_asked_for(queue: &Queue, asked: &[&str]) -> Result<Vec<String>> {
    send_with(queue, &samples()).await?;
    let mut request = queue.sqs.receive_message().queue_url(&queue.url).wait_time_seconds(5);
    for name in asked {
        request = request.message_attribute_names(*name);
    }
    let messages = request.send().await?.messages.unwrap_or_default();
    let message = messages.first().context("no message came")?;
    queue.delete(message).await?;
    let mut names: Vec<_> = message.message_attributes().map(|all| all.keys().cloned().collect()).unwrap_or_default();
    names.sort();
    Ok(names)
}

async fn attributes_come_when_asked_for(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    same("what comes unasked", names_when_asked_for(&queue, &[]).await?, Vec::<String>::new())?;
    same("what comes by name", names_when_asked_for(&queue, &["type", "absent"]).await?, ["type"])?;
    for all in ["All", ".*"] {
        same(all, names_when_asked_for(&queue, &[all]).await?.len(), samples().len())?;
    }
    Ok(())
}

async fn attributes_by_prefix(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    same("what comes by prefix", names_when_asked_for(&queue, &["Amount.*"]).await?, ["Amount.Kind_1-x"])
}

async fn ten_attributes_at_most(context: Context) -> Result<()> {
    const NAMES: [&str; 11] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    let queue = context.queue(&[]).await?;
    let attributes = |count| NAMES.iter().take(count).map(|name| (*name, text("String", "v"))).collect();
    send_with(&queue, &attributes(10)).await?;
    let mut request = queue.sqs.send_message().queue_url(&queue.url).message_body("a");
    for (name, value) in attributes(11) {
        request = request.message_attributes(name, value);
    }
    refused(request.send().await, &["InvalidParameterValue"])
}

async fn attribute_is_refused(queue: &Queue, name: &str, value: MessageAttributeValue) -> Result<()> {
    let request = queue.sqs.send_message().queue_url(&queue.url).message_body("a");
    let answer = request.message_attributes(name, value.clone()).send().await;
    refused(answer, &["InvalidParameterValue"]).with_context(|| format!("{name} = {value:?}"))
}

async fn attribute_names_are_checked(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    for name in ["AWS.x", "amazon.x", ".x", "x.", "x..y", "x y", "x/y"] {
        attribute_is_refused(&queue, name, text("String", "v")).await?;
    }
    Ok(())
}

async fn attribute_types_are_checked(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    for data_type in ["Text", "string", ""] {
        attribute_is_refused(&queue, "x", text(data_type, "v")).await?;
    }
    Ok(())
}

async fn attribute_values_are_checked(context: Context) -> Result<()> {
    let queue = context.queue(&[]).await?;
    attribute_is_refused(&queue, "x", text("String", "")).await?;
    attribute_is_refused(&queue, "x", bytes("Binary", b"")).await?;
    attribute_is_refused(&queue, "x", text("Number", "twelve")).await?;
    let absent = MessageAttributeValue::builder().data_type("String").build()?;
    attribute_is_refused(&queue, "x", absent).await
}
