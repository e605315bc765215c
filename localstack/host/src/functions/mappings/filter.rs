//! Which messages a mapping takes.

use serde_json::Value;

use crate::sns::pattern::matches;

/// Whether a message with this record matches one of the patterns. The body is matched as JSON when it is an object or
/// a list, as text otherwise.
pub(super) fn takes(patterns: &[Value], record: &[u8]) -> bool {
    if patterns.is_empty() {
        return true;
    }
    let Ok(mut record) = serde_json::from_slice::<Value>(record) else { return false };
    if let Some(body) = record.get_mut("body")
        && let Some(parsed @ (Value::Object(_) | Value::Array(_))) =
            body.as_str().and_then(|text| serde_json::from_str(text).ok())
    {
        *body = parsed;
    }
    patterns.iter().any(|pattern| matches(pattern, &record))
}
