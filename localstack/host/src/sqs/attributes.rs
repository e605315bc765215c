//! The rules of messages: characters, attributes, sizes, and the digest of attributes.
//!
//! From "Amazon SQS message metadata" and "Amazon SQS message quotas" of the developer guide.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use super::{Attribute, AttributeValue, NewMessage, errors::invalid_parameter, message::hexadecimal};
use crate::error::ServiceError;

/// Message attributes of one message.
pub(super) const ATTRIBUTES_MAX: usize = 10;
/// Characters of an attribute's name, and of its type.
const NAME_CHARACTERS_MAX: usize = 256;
/// Digits of a number, as its precision is documented.
const NUMBER_DIGITS_MAX: usize = 38;
/// Bytes of `AWSTraceHeader`. The service takes X-Ray headers only, which are far shorter.
const TRACE_HEADER_BYTES_MAX: usize = 1_024;

/// Whether SQS takes the character: what XML 1.0 can write.
fn is_allowed(character: char) -> bool {
    matches!(character,
        '\u{9}' | '\u{A}' | '\u{D}' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

/// What counts against the size of a message: the body, and names, types and values of its attributes.
pub(super) fn size_bytes(message: &NewMessage) -> usize {
    let of = |(name, attribute): (&String, &Attribute)| {
        let value = match &attribute.value {
            AttributeValue::Text(text) => text.len(),
            AttributeValue::Binary(bytes) => bytes.len(),
        };
        name.len() + attribute.data_type.len() + value
    };
    message.body.len() + message.attributes.iter().map(of).sum::<usize>()
}

/// Every rule about a message that does not depend on its queue.
///
/// # Errors
/// The service's refusal; the first rule broken in the order body, attributes by name, trace header.
pub(super) fn check(message: &NewMessage) -> Result<(), ServiceError> {
    if message.body.is_empty() {
        return Err(super::errors::missing("MessageBody"));
    }
    check_text("message body", &message.body)?;
    if message.attributes.len() > ATTRIBUTES_MAX {
        return Err(invalid_parameter(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
            message.attributes.len()
        )));
    }
    message.attributes.iter().try_for_each(|(name, attribute)| check_attribute(name, attribute))?;
    match &message.trace_header {
        Some(header) if header.is_empty() || header.len() > TRACE_HEADER_BYTES_MAX => Err(invalid_parameter(format!(
            "The message system attribute AWSTraceHeader must hold 1 to {TRACE_HEADER_BYTES_MAX} bytes."
        ))),
        Some(header) => check_text("message system attribute AWSTraceHeader", header),
        None => Ok(()),
    }
}

fn check_text(place: &str, text: &str) -> Result<(), ServiceError> {
    let Some(character) = text.chars().find(|character| !is_allowed(*character)) else { return Ok(()) };
    let message = format!(
        "Invalid binary character '#x{:X}' was found in the {place}, the set of allowed characters is #x9 | #xA | \
         #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF",
        u32::from(character)
    );
    Err(ServiceError::sender("InvalidMessageContents", message))
}

fn check_attribute(name: &str, attribute: &Attribute) -> Result<(), ServiceError> {
    check_name(name)?;
    let kind = attribute.data_type.split('.').next().unwrap_or_default();
    if attribute.data_type.chars().count() > NAME_CHARACTERS_MAX || attribute.data_type.chars().any(|c| !is_allowed(c))
    {
        return Err(invalid_parameter(format!(
            "The type of message (user) attribute '{name}' must be at most {NAME_CHARACTERS_MAX} allowed characters."
        )));
    }
    match (kind, &attribute.value) {
        ("String" | "Number", AttributeValue::Text(text)) if text.is_empty() => Err(empty_value(name, kind)),
        ("Binary", AttributeValue::Binary(bytes)) if bytes.is_empty() => Err(empty_value(name, kind)),
        ("String", AttributeValue::Text(text)) => check_text(&format!("message (user) attribute '{name}'"), text),
        ("Number", AttributeValue::Text(text)) if !is_number(text) => {
            Err(invalid_parameter(format!("Can't cast the value of message (user) attribute '{name}' to a number.")))
        }
        ("Number", AttributeValue::Text(_)) | ("Binary", AttributeValue::Binary(_)) => Ok(()),
        ("String" | "Number" | "Binary", _) => Err(invalid_parameter(format!(
            "The message attribute '{name}' with type '{kind}' must use field '{}'.",
            if kind == "Binary" { "Binary" } else { "String" }
        ))),
        _ => Err(invalid_parameter(format!(
            "The type of message (user) attribute '{name}' is invalid. You must use only the following supported type \
             prefixes: Binary, Number, String."
        ))),
    }
}

fn empty_value(name: &str, kind: &str) -> ServiceError {
    let field = if kind == "Binary" { "binary" } else { "string" };
    invalid_parameter(format!("Message (user) attribute '{name}' must contain a non-empty value of type '{field}'."))
}

fn check_name(name: &str) -> Result<(), ServiceError> {
    let lower = name.to_ascii_lowercase();
    let wrong = if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX {
        "must have 1 to 256 characters"
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        "can contain only A-Z, a-z, 0-9, underscores, hyphens and periods"
    } else if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        "must not start or end with a period, nor hold two in a row"
    } else if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        "must not start with a prefix that is reserved for AWS"
    } else {
        return Ok(());
    };
    Err(invalid_parameter(format!("Message (user) attribute name '{name}' {wrong}.")))
}

/// A decimal number of up to 38 digits, with an exponent if need be.
fn is_number(text: &str) -> bool {
    let text = text.trim();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let unsigned = |text: &str| text.strip_prefix(['-', '+']).unwrap_or(text).to_owned();
    let digits = unsigned(mantissa).replacen('.', "", 1);
    let is_decimal = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal(&digits)
        && digits.trim_start_matches('0').len() <= NUMBER_DIGITS_MAX
        && exponent.is_none_or(|exponent| is_decimal(&unsigned(exponent)) && unsigned(exponent).len() <= 3)
}

/// AWS's digest of message attributes: by name, each as name, data type, one byte for the kind of value, and value,
/// with the length of each (4 bytes, big-endian) before it. `None` without attributes.
pub(super) fn md5_of_attributes(attributes: &BTreeMap<String, Attribute>) -> Option<String> {
    // Names and types are ASCII or at most 1 MiB of text, so lengths fit.
    fn part(digest: &mut Md5, bytes: &[u8]) {
        digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(bytes);
    }
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    for (name, attribute) in attributes {
        part(&mut digest, name.as_bytes());
        part(&mut digest, attribute.data_type.as_bytes());
        match &attribute.value {
            AttributeValue::Text(text) => {
                digest.update([1]);
                part(&mut digest, text.as_bytes());
            }
            AttributeValue::Binary(bytes) => {
                digest.update([2]);
                part(&mut digest, bytes);
            }
        }
    }
    Some(hexadecimal(&digest.finalize()))
}
