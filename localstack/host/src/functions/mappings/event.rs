//! The event that a function gets for a batch of messages.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

use crate::sqs::{Attribute, AttributeValue, Received};

/// The record of one message. Records are written one by one, for a batch is full when their bytes are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    message_id: &'a str,
    receipt_handle: &'a str,
    body: &'a str,
    attributes: SystemAttributes<'a>,
    message_attributes: BTreeMap<&'a str, MessageAttribute<'a>>,
    md5_of_body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5_of_message_attributes: Option<&'a str>,
    event_source: &'a str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
    aws_region: &'a str,
}

/// Numbers are text here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SystemAttributes<'a> {
    approximate_receive_count: String,
    #[serde(rename = "AWSTraceHeader", skip_serializing_if = "Option::is_none")]
    aws_trace_header: Option<&'a str>,
    sent_timestamp: String,
    sender_id: &'a str,
    approximate_first_receive_timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_queue_source_arn: Option<&'a str>,
}

/// SQS has no lists, but the event has their places.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageAttribute<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
    string_list_values: [&'a str; 0],
    binary_list_values: [&'a str; 0],
    data_type: &'a str,
}

/// What an event begins and ends with.
const EVENT: (&[u8], &[u8]) = (br#"{"Records":["#, b"]}");

/// Bytes of an event without records.
pub(super) const ENVELOPE_BYTES: usize = EVENT.0.len() + EVENT.1.len();

/// The record of a message of the queue with this ARN, as JSON.
pub(super) fn record(message: &Received, queue_arn: &str) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Record {
        message_id: &message.id,
        receipt_handle: &message.receipt_handle,
        body: &message.body,
        attributes: SystemAttributes {
            approximate_receive_count: message.receive_count.to_string(),
            aws_trace_header: message.trace_header.as_deref(),
            sent_timestamp: message.sent_at_ms.to_string(),
            sender_id: &message.sender_id,
            approximate_first_receive_timestamp: message.first_received_at_ms.to_string(),
            dead_letter_queue_source_arn: message.dead_letter_source.as_deref(),
        },
        message_attributes: message.attributes.iter().map(|(name, value)| (name.as_str(), attribute(value))).collect(),
        md5_of_body: &message.md5_of_body,
        md5_of_message_attributes: message.md5_of_attributes.as_deref(),
        event_source: "aws:sqs",
        event_source_arn: queue_arn,
        aws_region: queue_arn.split(':').nth(3).unwrap_or_default(),
    })
}

fn attribute(attribute: &Attribute) -> MessageAttribute<'_> {
    let (string_value, binary_value) = match &attribute.value {
        AttributeValue::Text(text) => (Some(text.as_str()), None),
        AttributeValue::Binary(bytes) => (None, Some(BASE64_STANDARD.encode(bytes))),
    };
    MessageAttribute {
        string_value,
        binary_value,
        string_list_values: [],
        binary_list_values: [],
        data_type: &attribute.data_type,
    }
}

/// The event of these records.
pub(super) fn event<'a>(records: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let records = records.collect::<Vec<_>>().join(&b","[..]);
    [EVENT.0, &records, EVENT.1].concat()
}
