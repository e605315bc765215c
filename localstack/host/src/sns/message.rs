//! What is published: read from the form, checked, and written as a queue gets it.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::Value;

use super::fields::{Fields, invalid};
use crate::{
    error::ServiceError,
    ids::uuid,
    sqs::{Attribute, AttributeValue},
};

/// Bytes of a message with its attributes, and of all messages of a batch.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Characters of a subject.
const SUBJECT_CHARACTERS_MAX: usize = 99;
/// Characters of an attribute's name.
const NAME_CHARACTERS_MAX: usize = 256;
/// Stands where a signature would be. Nothing local is signed.
const NO_SIGNATURE: &str = "local-messages-are-not-signed";

/// A message that may be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: String,
    /// What queues get: with `MessageStructure` the part for them.
    pub(super) body: String,
    pub(super) subject: Option<String>,
    pub(super) attributes: BTreeMap<String, Attribute>,
    /// As published, with attributes.
    pub(super) bytes: usize,
}

impl Message {
    /// Reads `Message`, `Subject`, `MessageStructure` and `MessageAttributes`.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, ServiceError> {
        for name in ["MessageDeduplicationId", "MessageGroupId"] {
            if fields.get(name).is_some() {
                return Err(invalid(format!(
                    "Invalid parameter: {name} Reason: The request includes {name} parameter that is not valid for \
                     this topic type"
                )));
            }
        }
        let message = fields.get("Message").filter(|message| !message.is_empty());
        let message = message.ok_or_else(|| invalid("Invalid parameter: Empty message"))?;
        if !message.chars().all(is_xml) {
            return Err(invalid("Invalid parameter: Message Reason: it holds characters that XML does not allow"));
        }
        let subject = fields.get("Subject").map(str::to_owned);
        if subject.as_deref().is_some_and(|subject| !is_subject(subject)) {
            return Err(invalid("Invalid parameter: Subject"));
        }
        let attributes = read_attributes(fields)?;
        let body = match fields.get("MessageStructure") {
            None => message.to_owned(),
            Some("json") => part_for_queues(message)?,
            Some(_) => return Err(invalid("Invalid parameter: MessageStructure Reason: only json is a structure")),
        };
        let bytes =
            message.len() + attributes.iter().map(|(name, attribute)| attribute_bytes(name, attribute)).sum::<usize>();
        Ok(Self { id: uuid(), body, subject, attributes, bytes })
    }

    /// The notification that wraps the message on its way to a queue without raw delivery.
    pub(super) fn envelope(&self, topic_arn: &str, subscription_arn: &str, endpoint: &str, now_ms: u64) -> String {
        let envelope = Envelope {
            kind: "Notification",
            message_id: &self.id,
            topic_arn,
            subject: self.subject.as_deref(),
            message: &self.body,
            timestamp: timestamp(now_ms),
            signature_version: "1",
            signature: NO_SIGNATURE,
            signing_cert_url: format!("{endpoint}/SimpleNotificationService-{NO_SIGNATURE}.pem"),
            unsubscribe_url: format!("{endpoint}/?Action=Unsubscribe&SubscriptionArn={subscription_arn}"),
            message_attributes: self.attributes.iter().map(|(name, value)| (name.as_str(), value.into())).collect(),
        };
        serde_json::to_string_pretty(&envelope).unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<'a> {
    #[serde(rename = "Type")]
    kind: &'a str,
    message_id: &'a str,
    topic_arn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    message: &'a str,
    timestamp: String,
    signature_version: &'a str,
    signature: &'a str,
    #[serde(rename = "SigningCertURL")]
    signing_cert_url: String,
    #[serde(rename = "UnsubscribeURL")]
    unsubscribe_url: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: BTreeMap<&'a str, EnvelopeAttribute<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EnvelopeAttribute<'a> {
    #[serde(rename = "Type")]
    kind: &'a str,
    value: String,
}

impl<'a> From<&'a Attribute> for EnvelopeAttribute<'a> {
    fn from(attribute: &'a Attribute) -> Self {
        let value = match &attribute.value {
            AttributeValue::Text(text) => text.clone(),
            AttributeValue::Binary(bytes) => BASE64_STANDARD.encode(bytes),
        };
        Self { kind: &attribute.data_type, value }
    }
}

/// `2021-09-14T12:53:31.210Z`.
fn timestamp(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).map(|time| format!("{time:.3}")).unwrap_or_default()
}

/// With `MessageStructure` json, a message is an object with a text for each protocol and one for all others.
fn part_for_queues(message: &str) -> Result<String, ServiceError> {
    let parts: Value = serde_json::from_str(message)
        .map_err(|_| invalid("Invalid parameter: Message Structure - JSON message body failed to parse"))?;
    let text = |key| parts.get(key).and_then(Value::as_str);
    let default = text("default")
        .ok_or_else(|| invalid("Invalid parameter: Message Structure - No default entry in JSON message body"))?;
    Ok(text("sqs").unwrap_or(default).to_owned())
}

/// Less than 100 characters of UTF-8, no line breaks, no control characters.
fn is_subject(subject: &str) -> bool {
    let length = subject.chars().count();
    (1..=SUBJECT_CHARACTERS_MAX).contains(&length) && !subject.chars().any(char::is_control)
}

/// Characters that SNS accepts: those of XML 1.0.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn read_attributes(fields: &Fields<'_>) -> Result<BTreeMap<String, Attribute>, ServiceError> {
    let mut attributes = BTreeMap::new();
    for member in fields.members("MessageAttributes") {
        let member = fields.within(&member);
        let name = member.get("Name").unwrap_or_default();
        if !is_attribute_name(name) {
            return Err(bad_value(format!("The message attribute name '{name}' is not allowed.")));
        }
        let attribute = read_attribute(name, &member)?;
        if attributes.insert(name.to_owned(), attribute).is_some() {
            return Err(invalid(format!("Invalid parameter: MessageAttributes Reason: '{name}' is there twice")));
        }
    }
    Ok(attributes)
}

fn read_attribute(name: &str, member: &Fields<'_>) -> Result<Attribute, ServiceError> {
    let data_type = member.get("Value.DataType").unwrap_or_default();
    if data_type.is_empty() {
        return Err(bad_value(format!(
            "The message attribute '{name}' must contain non-empty message attribute type."
        )));
    }
    let empty = || {
        bad_value(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type \
             '{data_type}'."
        ))
    };
    let text = member.get("Value.StringValue").filter(|text| !text.is_empty());
    let value = match data_type.split('.').next() {
        Some("String") => AttributeValue::Text(text.ok_or_else(empty)?.to_owned()),
        Some("Number") => {
            let text = text.ok_or_else(empty)?;
            if !text.trim().parse::<f64>().is_ok_and(f64::is_finite) {
                return Err(bad_value(format!("Could not cast message attribute '{name}' value to number.")));
            }
            AttributeValue::Text(text.to_owned())
        }
        Some("Binary") => {
            let encoded = member.get("Value.BinaryValue").filter(|value| !value.is_empty()).ok_or_else(empty)?;
            let bytes = BASE64_STANDARD.decode(encoded);
            AttributeValue::Binary(
                bytes.map_err(|_| bad_value(format!("The message attribute '{name}' is not base64.")))?,
            )
        }
        _ => {
            return Err(bad_value(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of supported type \
                 prefixes is Binary, Number, and String."
            )));
        }
    };
    if matches!(&value, AttributeValue::Text(text) if !text.chars().all(is_xml)) {
        return Err(bad_value(format!("The message attribute '{name}' holds characters that XML does not allow.")));
    }
    Ok(Attribute { data_type: data_type.to_owned(), value })
}

/// Letters, digits, underscores, hyphens and dots; no dot at an end or beside another; no prefix of AWS.
fn is_attribute_name(name: &str) -> bool {
    let characters = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let lower = name.to_lowercase();
    (1..=NAME_CHARACTERS_MAX).contains(&name.len())
        && name.chars().all(characters)
        && !name.split('.').any(str::is_empty)
        && !["aws.", "amazon."].iter().any(|prefix| lower.starts_with(prefix))
}

fn attribute_bytes(name: &str, attribute: &Attribute) -> usize {
    let value = match &attribute.value {
        AttributeValue::Text(text) => text.len(),
        AttributeValue::Binary(bytes) => bytes.len(),
    };
    name.len() + attribute.data_type.len() + value
}

fn bad_value(message: String) -> ServiceError {
    ServiceError::sender("InvalidParameterValue", message).with_query_code("ParameterValueInvalid")
}
