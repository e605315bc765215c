//! Reading a JSON body field by field, so that every wrong field gets its own code and pointer, and unknown ones are
//! refused.

use axum::{body::Body, http::HeaderMap, http::header};
use florin_domain::field::FieldError;
use serde_json::{Map, Value};

use crate::problem::Problem;

/// Longest body, in bytes: a payment at all of its limits, in characters of four bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Unknown fields named in one answer.
const UNKNOWN_FIELDS_NAMED_MAX: usize = 10;
/// Characters of an unknown field's name that are repeated to the client.
pub(crate) const FIELD_NAME_CHARACTERS_MAX: usize = 60;

/// Refuses every `Content-Type` but `application/json` (with or without parameters).
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Problem::ContentTypeUnsupported) }
}

/// Reads the whole body as one JSON object.
pub(crate) async fn object(body: Body, headers: &HeaderMap) -> Result<Map<String, Value>, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return Err(Problem::BodyTooLarge);
    }
    let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
        // axum says what its limit did only in the error's text.
        if error.to_string().contains("length limit") { Problem::BodyTooLarge } else { Problem::BodyUnreadable }
    })?;
    match serde_json::from_slice(&bytes) {
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

    /// Every error, those of unknown fields last.
    pub(crate) fn finish(mut self) -> Vec<FieldError> {
        for name in self.object.keys().take(UNKNOWN_FIELDS_NAMED_MAX) {
            let name: String = name.chars().take(FIELD_NAME_CHARACTERS_MAX).collect();
            self.errors.push(FieldError::new(self.pointer_to(&name), "field_unknown", "There is no such field."));
        }
        self.errors
    }
}
