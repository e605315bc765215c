//! Messages and their attributes in JSON.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    Attribute, AttributeValue, NewMessage, Received, attributes,
    errors::{invalid_parameter, unknown_attribute, unsupported, wrong_type},
    fields::Fields,
    settings::DELAY_SECONDS,
};
use crate::error::ServiceError;

/// System attributes that a receiver may ask for. Those of FIFO queues have no value here.
const SYSTEM_ATTRIBUTES: [&str; 10] = [
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
];

/// Reads the message of `SendMessage`, or of one entry of its batch.
///
/// # Errors
/// A field of the wrong type, a delay out of its limits, a parameter of FIFO queues.
pub(super) fn new_message(fields: Fields<'_>) -> Result<NewMessage, ServiceError> {
    fields.refuse(&["MessageGroupId", "MessageDeduplicationId"])?;
    let delay = fields.number("DelaySeconds", &DELAY_SECONDS)?.map(Duration::from_secs);
    let mut system = attributes_from_json(fields.get("MessageSystemAttributes").unwrap_or(&Value::Null))?;
    let trace_header = match system.remove("AWSTraceHeader") {
        Some(Attribute { data_type, value: AttributeValue::Text(text) }) if data_type == "String" => Some(text),
        Some(_) => return Err(invalid_parameter("The message system attribute AWSTraceHeader must be a String.")),
        None => None,
    };
    if let Some(name) = system.keys().next() {
        return Err(invalid_parameter(format!(
            "Message system attribute name '{name}' is invalid: only AWSTraceHeader can be sent."
        )));
    }
    Ok(NewMessage {
        body: fields.text("MessageBody")?.unwrap_or_default().to_owned(),
        attributes: attributes_from_json(fields.get("MessageAttributes").unwrap_or(&Value::Null))?,
        delay,
        trace_header,
    })
}

/// Reads a map of message attributes.
///
/// # Errors
/// What has no type or no value of its type; lists, which AWS reserves.
pub(super) fn attributes_from_json(value: &Value) -> Result<BTreeMap<String, Attribute>, ServiceError> {
    let map = match value {
        Value::Object(map) => map,
        Value::Null => return Ok(BTreeMap::new()),
        _ => return Err(wrong_type("MessageAttributes", "a map")),
    };
    map.iter().map(|(name, value)| Ok((name.clone(), attribute_from_json(name, value)?))).collect()
}

fn attribute_from_json(name: &str, value: &Value) -> Result<Attribute, ServiceError> {
    let fields = Fields::of(value, name)?;
    for list in ["StringListValues", "BinaryListValues"] {
        if !fields.list(list)?.is_empty() {
            return Err(unsupported(format!("{list} of the message attribute '{name}'")));
        }
    }
    let data_type = fields.text("DataType")?.filter(|text| !text.is_empty());
    let data_type = data_type.ok_or_else(|| {
        invalid_parameter(format!("The message attribute '{name}' must contain a non-empty DataType."))
    })?;
    let value = match (fields.text("StringValue")?, fields.text("BinaryValue")?) {
        (Some(text), None) => AttributeValue::Text(text.to_owned()),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|_| wrong_type(&format!("BinaryValue of {name}"), "base64"))?;
            AttributeValue::Binary(bytes)
        }
        (None, None) => {
            return Err(invalid_parameter(format!(
                "The message attribute '{name}' must contain a non-empty message attribute value."
            )));
        }
        (Some(_), Some(_)) => {
            return Err(invalid_parameter(format!("The message attribute '{name}' has more than one value.")));
        }
    };
    Ok(Attribute { data_type: data_type.to_owned(), value })
}

/// Writes message attributes.
pub(super) fn attributes_to_json<'a>(attributes: impl Iterator<Item = (&'a String, &'a Attribute)>) -> Value {
    let entry = |(name, attribute): (&String, &Attribute)| {
        let value = match &attribute.value {
            AttributeValue::Text(text) => json!({ "DataType": attribute.data_type, "StringValue": text }),
            AttributeValue::Binary(bytes) => {
                json!({ "DataType": attribute.data_type, "BinaryValue": STANDARD.encode(bytes) })
            }
        };
        (name.clone(), value)
    };
    Value::Object(attributes.map(entry).collect())
}

/// What a receiver wants to see of a message besides its body.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    system: Vec<String>,
    attributes: Vec<String>,
}

impl Wanted {
    /// Reads the three lists of names of `ReceiveMessage`.
    ///
    /// # Errors
    /// A system attribute that does not exist.
    pub(super) fn read(fields: Fields<'_>) -> Result<Self, ServiceError> {
        let mut system = fields.texts("AttributeNames")?;
        system.extend(fields.texts("MessageSystemAttributeNames")?);
        if let Some(unknown) = system.iter().find(|name| !SYSTEM_ATTRIBUTES.contains(name)) {
            return Err(unknown_attribute(unknown));
        }
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Ok(Self { system: owned(system), attributes: owned(fields.texts("MessageAttributeNames")?) })
    }

    fn has_system(&self, name: &str) -> bool {
        self.system.iter().any(|wanted| wanted == "All" || wanted == name)
    }

    /// `All` and `.*` mean every attribute, `prefix.*` those that begin with `prefix.`.
    fn has_attribute(&self, name: &str) -> bool {
        self.attributes.iter().any(|wanted| match wanted.strip_suffix(".*") {
            Some(prefix) => prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')),
            None => wanted == "All" || wanted == name,
        })
    }

    /// Writes a message. The digest is over the attributes that are returned, so that SDKs can check it.
    pub(super) fn to_json(&self, mut message: Received) -> Value {
        message.attributes.retain(|name, _| self.has_attribute(name));
        let system: Map<String, Value> = [
            ("SenderId", Some(message.sender_id)),
            ("SentTimestamp", Some(message.sent_at_ms.to_string())),
            ("ApproximateReceiveCount", Some(message.receive_count.to_string())),
            ("ApproximateFirstReceiveTimestamp", Some(message.first_received_at_ms.to_string())),
            ("AWSTraceHeader", message.trace_header),
            ("DeadLetterQueueSourceArn", message.dead_letter_source),
        ]
        .into_iter()
        .filter(|(name, _)| self.has_system(name))
        .filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))))
        .collect();
        let mut written = json!({
            "MessageId": message.id,
            "ReceiptHandle": message.receipt_handle,
            "MD5OfBody": message.md5_of_body,
            "Body": message.body,
        });
        if let Some(written) = written.as_object_mut() {
            if !system.is_empty() {
                written.insert("Attributes".to_owned(), Value::Object(system));
            }
            if let Some(digest) = attributes::md5_of_attributes(&message.attributes) {
                written.insert("MessageAttributes".to_owned(), attributes_to_json(message.attributes.iter()));
                written.insert("MD5OfMessageAttributes".to_owned(), Value::String(digest));
            }
        }
        written
    }
}
