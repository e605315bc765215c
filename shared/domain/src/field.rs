//! One wrong field of a request: where, which rule, what to do about it.

use serde::Serialize;

/// A field that a request got wrong. Codes are stable: clients branch on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// RFC 6901 JSON pointer into the request body, or the name of a query parameter.
    pub pointer: String,
    /// Stable machine-readable code, such as `amount_out_of_range`.
    pub code: &'static str,
    /// What is allowed, for a person. It never repeats a secret or a card number.
    pub detail: String,
}

impl FieldError {
    /// Names the field at `pointer` and the rule `code` that it broke.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}
