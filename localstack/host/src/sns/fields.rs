//! The form of a call in the query protocol.

use std::collections::BTreeMap;

use crate::error::ServiceError;

/// Members of a list or map in one request; more are ignored, as no operation takes as many.
const MEMBERS_MAX: usize = 1_000;

/// The fields of a form, or of one member of a list in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    fields: &'a [(String, String)],
    prefix: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(fields: &'a [(String, String)]) -> Self {
        Self { fields, prefix: "" }
    }

    /// The fields that begin with this; it ends with a dot.
    pub(super) fn within<'b>(&self, prefix: &'b str) -> Fields<'b>
    where
        'a: 'b,
    {
        Fields { fields: self.fields, prefix }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.fields.iter().find(|(key, _)| key.strip_prefix(self.prefix) == Some(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A field that the operation cannot do without.
    pub(super) fn required(&self, name: &str) -> Result<&'a str, ServiceError> {
        let missing = || invalid(format!("Invalid parameter: {name} Reason: no value for required parameter {name}"));
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    }

    /// `LIST.member.N.` or `LIST.entry.N.` of each member, in order. SDKs write the one or the other.
    pub(super) fn members(&self, list: &str) -> Vec<String> {
        let begins = |prefix: &str| self.fields.iter().any(|(key, _)| key.starts_with(prefix));
        let mut members = Vec::new();
        for number in 1..=MEMBERS_MAX {
            let forms = ["member", "entry"].map(|kind| format!("{}{list}.{kind}.{number}.", self.prefix));
            match forms.into_iter().find(|form| begins(form)) {
                Some(form) => members.push(form),
                None => break,
            }
        }
        members
    }

    /// A map from text to text, such as `Attributes.entry.1.key` and `Attributes.entry.1.value`.
    pub(super) fn map(&self, list: &str, key: &str, value: &str) -> Result<BTreeMap<String, String>, ServiceError> {
        let mut map = BTreeMap::new();
        for member in self.members(list) {
            let member = self.within(&member);
            let value = member.get(value).unwrap_or_default();
            map.insert(member.required(key)?.to_owned(), value.to_owned());
        }
        Ok(map)
    }

    /// A list of texts, such as `TagKeys.member.1`.
    pub(super) fn texts(&self, list: &str) -> Vec<&'a str> {
        let text = |number| self.get(&format!("{list}.member.{number}"));
        (1..=MEMBERS_MAX).map_while(text).collect()
    }
}

/// `InvalidParameter`.
pub(super) fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::sender("InvalidParameter", message)
}
