//! Fields of a request, read with SQS's own refusals, which name the field.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde_json::{Map, Value};

use super::errors::{invalid_parameter, invalid_value, missing, no_queue, unsupported, wrong_type};
use crate::error::ServiceError;

/// The members of one JSON object. `null` is as good as absent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(Option<&'a Map<String, Value>>);

impl<'a> Fields<'a> {
    /// The fields of an object.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn of(value: &'a Value, name: &str) -> Result<Self, ServiceError> {
        match value {
            Value::Object(map) => Ok(Self(Some(map))),
            Value::Null => Ok(Self(None)),
            _ => Err(wrong_type(name, "an object")),
        }
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0?.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, ServiceError> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| wrong_type(name, "a string"))).transpose()
    }

    pub(super) fn required_text(self, name: &str) -> Result<&'a str, ServiceError> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| missing(name))
    }

    /// A whole number within limits.
    pub(super) fn number(self, name: &str, allowed: &RangeInclusive<u64>) -> Result<Option<u64>, ServiceError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if !value.is_i64() && !value.is_u64() {
            return Err(wrong_type(name, "a whole number"));
        }
        let reason = || format!("Must be between {} and {}, if provided.", allowed.start(), allowed.end());
        let number = value.as_u64().filter(|number| allowed.contains(number));
        number.map(Some).ok_or_else(|| invalid_value(name, value, &reason()))
    }

    pub(super) fn list(self, name: &str) -> Result<&'a [Value], ServiceError> {
        match self.get(name) {
            None => Ok(&[]),
            Some(value) => value.as_array().map(Vec::as_slice).ok_or_else(|| wrong_type(name, "a list")),
        }
    }

    pub(super) fn texts(self, name: &str) -> Result<Vec<&'a str>, ServiceError> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| wrong_type(name, "a list of strings"));
        self.list(name)?.iter().map(text).collect()
    }

    pub(super) fn text_map(self, name: &str) -> Result<BTreeMap<String, String>, ServiceError> {
        let Some(value) = self.get(name) else { return Ok(BTreeMap::new()) };
        let map = value.as_object().ok_or_else(|| wrong_type(name, "a map"))?;
        let entry = |(key, value): (&String, &Value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            _ => Err(wrong_type(&format!("{name}.{key}"), "a string")),
        };
        map.iter().map(entry).collect()
    }

    /// The queue that `QueueUrl` means: its last segment names it, whatever the host.
    pub(super) fn queue(self) -> Result<&'a str, ServiceError> {
        let url = self.required_text("QueueUrl")?;
        match url.trim_end_matches('/').rsplit('/').next() {
            Some(name) if !name.is_empty() => Ok(name),
            _ => Err(no_queue(url)),
        }
    }

    /// Refuses fields that only a FIFO queue, or a service with more than standard queues, can honour.
    pub(super) fn refuse(self, names: &[&str]) -> Result<(), ServiceError> {
        match names.iter().find(|name| self.get(name).is_some()) {
            None => Ok(()),
            Some(&"MessageGroupId") => Err(unsupported("The parameter MessageGroupId (fair queues, FIFO queues)")),
            Some(name) => Err(invalid_parameter(format!(
                "The request includes the parameter {name}, which is not valid for this queue type."
            ))),
        }
    }
}
