//! Reading a JSON body field by field, so that every wrong field gets its own code and pointer, and unknown ones are
//! refused.

use std::collections::BTreeMap;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use florin_domain::{
    card::contains_card_number,
    field::FieldError,
    money::AMOUNT_MAX_MINOR_UNITS,
    payment::{METADATA_ENTRIES_MAX, METADATA_KEY_CHARACTERS_MAX, METADATA_VALUE_CHARACTERS_MAX},
    payment_method::{CUSTOMER_CHARACTERS_MAX, is_customer},
};
use serde_json::{Map, Value};

use crate::problem::Problem;

/// Longest body, in bytes: a payment at all of its limits, in characters of four bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Unknown fields named in one answer.
const UNKNOWN_FIELDS_NAMED_MAX: usize = 10;
/// Characters of an unknown field's name that are repeated to the client.
pub(crate) const FIELD_NAME_CHARACTERS_MAX: usize = 60;
const CARD_NUMBER_IN_TEXT: &str = "This looks like a card number, which Florin refuses to store.";

/// Refuses every `Content-Type` but `application/json` (with or without parameters).
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    if is_of_type(headers, "application/json") { Ok(()) } else { Err(Problem::ContentTypeUnsupported) }
}

/// Whether the body is said to be of this media type, whatever its parameters.
pub(crate) fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

/// Whether a text can be stored and shown as one line: it is not blank, and has no card number in it.
pub(crate) fn is_plain_line(text: &str, characters_max: usize) -> bool {
    (1..=characters_max).contains(&text.chars().count())
        && !text.trim().is_empty()
        && !text.chars().any(char::is_control)
        && !contains_card_number(text)
}

/// How a customer is named.
pub(crate) fn customer_rule() -> String {
    format!("The customer is a reference of yours: 1 to {CUSTOMER_CHARACTERS_MAX} characters A-Z a-z 0-9 _ . : -.")
}

/// Reads the whole body as one JSON object.
pub(crate) async fn object(body: Body, headers: &HeaderMap) -> Result<Map<String, Value>, Problem> {
    parse(&bytes(body, headers).await?)
}

/// Reads the whole body as one JSON object; a request without a body is as good as one with an empty object.
pub(crate) async fn object_if_any(body: Body, headers: &HeaderMap) -> Result<Map<String, Value>, Problem> {
    let bytes = bytes(body, headers).await;
    if bytes.as_ref().is_ok_and(Bytes::is_empty) {
        return Ok(Map::new());
    }
    check_content_type(headers)?;
    parse(&bytes?)
}

/// The whole body, if it is not too long.
pub(crate) async fn bytes(body: Body, headers: &HeaderMap) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return Err(Problem::BodyTooLarge);
    }
    axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
        // axum says what its limit did only in the error's text.
        if error.to_string().contains("length limit") { Problem::BodyTooLarge } else { Problem::BodyUnreadable }
    })
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::JsonInvalid("The body is a JSON object.".to_owned())),
        // The message of serde_json may repeat a value, so only the place is told.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            Err(Problem::JsonInvalid(format!("The body is no JSON: line {line}, column {column}.")))
        }
    }
}

/// The fields of an object: each is taken once, what is left over is unknown. Errors are gathered in the order in
/// which fields are taken.
pub(crate) struct Fields {
    object: Map<String, Value>,
    pointer: String,
    pub(crate) errors: Vec<FieldError>,
}

impl Fields {
    pub(crate) fn new(object: Map<String, Value>, pointer: impl Into<String>) -> Self {
        Self { object, pointer: pointer.into(), errors: Vec::new() }
    }

    pub(crate) fn pointer_to(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"))
    }

    /// Where the object stands.
    pub(crate) fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Notes that the field breaks a rule.
    pub(crate) fn wrong(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.errors.push(FieldError::new(self.pointer_to(name), code, detail));
    }

    /// The field's value; `null` is as good as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub(crate) fn required(&mut self, name: &str, missing: &'static str) -> Option<Value> {
        let value = self.take(name);
        if value.is_none() {
            self.wrong(name, missing, format!("The field {name} is required."));
        }
        value
    }

    /// A text that must be there.
    pub(crate) fn required_text(&mut self, name: &str, missing: &'static str, invalid: &'static str) -> Option<String> {
        match self.required(name, missing)? {
            Value::String(text) => Some(text),
            _ => {
                self.wrong(name, invalid, format!("The field {name} is a string."));
                None
            }
        }
    }

    /// One line of text that must be there.
    pub(crate) fn line(
        &mut self,
        name: &str,
        characters_max: usize,
        missing: &'static str,
        invalid: &'static str,
    ) -> Option<String> {
        let value = self.required(name, missing)?;
        self.plain_line(name, value, characters_max, invalid)
    }

    /// One line of text that may be left out.
    pub(crate) fn line_if_any(&mut self, name: &str, characters_max: usize, invalid: &'static str) -> Option<String> {
        let value = self.take(name)?;
        self.plain_line(name, value, characters_max, invalid)
    }

    fn plain_line(&mut self, name: &str, value: Value, characters_max: usize, invalid: &'static str) -> Option<String> {
        match value {
            Value::String(text) if is_plain_line(&text, characters_max) => return Some(text),
            Value::String(text) if contains_card_number(&text) => self.card_number_in_text(name),
            _ => self.wrong(
                name,
                invalid,
                format!("The field {name} is a string of 1 to {characters_max} printable characters."),
            ),
        }
        None
    }

    /// A field that may be left out, as `parse` reads it.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        invalid: &'static str,
        rule: &str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(&self.take(name)?);
        if parsed.is_none() {
            self.wrong(name, invalid, rule);
        }
        parsed
    }

    /// A whole number of minor units.
    pub(crate) fn amount(&mut self, value: &Value) -> Option<i64> {
        if !value.is_i64() && !value.is_u64() {
            self.wrong("amount", "amount_invalid", "The amount is a whole number of minor units.");
            return None;
        }
        let amount = value.as_i64().filter(|amount| (1..=AMOUNT_MAX_MINOR_UNITS).contains(amount));
        if amount.is_none() {
            let detail = format!("The amount is between 1 and {AMOUNT_MAX_MINOR_UNITS} minor units.");
            self.wrong("amount", "amount_out_of_range", detail);
        }
        amount
    }

    /// A text for people that may be left out.
    pub(crate) fn text(
        &mut self,
        name: &str,
        characters_max: usize,
        invalid: &'static str,
        too_long: &'static str,
    ) -> Option<String> {
        let Value::String(text) = self.take(name)? else {
            self.wrong(name, invalid, format!("The field {name} is a string."));
            return None;
        };
        if text.chars().count() > characters_max {
            self.wrong(name, too_long, format!("The field {name} has at most {characters_max} characters."));
        } else if contains_card_number(&text) {
            self.card_number_in_text(name);
        }
        Some(text)
    }

    /// The merchant's reference of one of its customers, which may be left out.
    pub(crate) fn customer(&mut self) -> Option<String> {
        match self.take("customer")? {
            Value::String(text) if is_customer(&text) => return Some(text),
            Value::String(text) if contains_card_number(&text) => self.card_number_in_text("customer"),
            _ => self.wrong("customer", "customer_invalid", customer_rule()),
        }
        None
    }

    pub(crate) fn card_number_in_text(&mut self, name: &str) {
        self.wrong(name, "card_number_in_text", CARD_NUMBER_IN_TEXT);
    }

    /// The metadata of whatever is created.
    pub(crate) fn metadata(&mut self) -> BTreeMap<String, String> {
        let entries = match self.take("metadata") {
            None => return BTreeMap::new(),
            Some(Value::Object(entries)) if entries.len() <= METADATA_ENTRIES_MAX => entries,
            Some(Value::Object(_)) => {
                let detail = format!("The metadata has at most {METADATA_ENTRIES_MAX} entries.");
                self.wrong("metadata", "metadata_too_many_entries", detail);
                return BTreeMap::new();
            }
            Some(_) => {
                self.wrong("metadata", "metadata_invalid", "The metadata is an object of strings.");
                return BTreeMap::new();
            }
        };
        let read =
            entries.into_iter().filter_map(|(name, value)| Some((name.clone(), self.metadata_value(&name, value)?)));
        read.collect()
    }

    fn metadata_value(&mut self, name: &str, value: Value) -> Option<String> {
        if !(1..=METADATA_KEY_CHARACTERS_MAX).contains(&name.chars().count()) || contains_card_number(name) {
            let detail = format!("A key of the metadata has 1 to {METADATA_KEY_CHARACTERS_MAX} characters.");
            self.wrong("metadata", "metadata_key_invalid", detail);
            return None;
        }
        let (code, detail) = match value {
            Value::String(text) if text.chars().count() > METADATA_VALUE_CHARACTERS_MAX => {
                let detail = format!("A value of the metadata has at most {METADATA_VALUE_CHARACTERS_MAX} characters.");
                ("metadata_value_too_long", detail)
            }
            Value::String(text) if contains_card_number(&text) => {
                ("card_number_in_text", CARD_NUMBER_IN_TEXT.to_owned())
            }
            Value::String(text) => return Some(text),
            _ => ("metadata_value_invalid", "A value of the metadata is a string.".to_owned()),
        };
        let pointer = Fields::new(Map::new(), self.pointer_to("metadata")).pointer_to(name);
        self.errors.push(FieldError::new(pointer, code, detail));
        None
    }

    /// Refuses the request if any field is wrong or unknown.
    pub(crate) fn check(self) -> Result<(), Problem> {
        let errors = self.finish();
        if errors.is_empty() { Ok(()) } else { Err(Problem::Fields(errors)) }
    }

    /// Every error, those of unknown fields last.
    pub(crate) fn finish(mut self) -> Vec<FieldError> {
        for name in self.object.keys().take(UNKNOWN_FIELDS_NAMED_MAX) {
            let name: String = name.chars().take(FIELD_NAME_CHARACTERS_MAX).collect();
            self.errors.push(FieldError::new(self.pointer_to(&name), "field_unknown", "There is no such field."));
        }
        self.errors
    }
}
