//! From Rust values to attribute values and back.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use aws_sdk_dynamodb::types::AttributeValue;
use florin_domain::{ids::MerchantId, time::Timestamp};

use crate::StoreError;

/// An item, or a map inside one.
pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn moment(value: Timestamp) -> AttributeValue {
    number(value.ms())
}

/// By what an index finds what belongs to a merchant's customer. Merchants' references have no `#`, and neither have
/// ids.
pub(crate) fn customer_of(merchant: &MerchantId, customer: &str) -> String {
    format!("{merchant}#{customer}")
}

/// Texts by name.
pub(crate) fn texts(values: &BTreeMap<String, String>) -> AttributeValue {
    AttributeValue::M(values.iter().map(|(name, value)| (name.clone(), text(value))).collect())
}

/// Reads attributes by name, and says which one is missing or malformed.
pub(crate) struct Reader<'a>(pub(crate) &'a Item);

impl<'a> Reader<'a> {
    pub(crate) fn text(&self, name: &'static str) -> Result<&'a str, StoreError> {
        self.text_if_any(name).ok_or(StoreError::Corrupt { attribute: name })
    }

    pub(crate) fn text_if_any(&self, name: &'static str) -> Option<&'a str> {
        self.0.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
    }

    pub(crate) fn parsed<T: FromStr>(&self, name: &'static str) -> Result<T, StoreError> {
        self.text(name)?.parse().map_err(|_| StoreError::Corrupt { attribute: name })
    }

    pub(crate) fn number<T: FromStr>(&self, name: &'static str) -> Result<T, StoreError> {
        self.number_if_any(name)?.ok_or(StoreError::Corrupt { attribute: name })
    }

    pub(crate) fn number_if_any<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        let corrupt = StoreError::Corrupt { attribute: name };
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(digits)) => digits.parse().map(Some).map_err(|_| corrupt),
            Some(_) => Err(corrupt),
        }
    }

    pub(crate) fn moment(&self, name: &'static str) -> Result<Timestamp, StoreError> {
        self.number(name).map(Timestamp::from_ms)
    }

    pub(crate) fn moment_if_any(&self, name: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.number_if_any(name)?.map(Timestamp::from_ms))
    }

    pub(crate) fn flag(&self, name: &'static str) -> bool {
        matches!(self.0.get(name), Some(AttributeValue::Bool(true)))
    }

    pub(crate) fn map(&self, name: &'static str) -> Result<Reader<'a>, StoreError> {
        let map = self.0.get(name).and_then(|value| value.as_m().ok());
        map.map(Reader).ok_or(StoreError::Corrupt { attribute: name })
    }

    /// The texts by name that `texts` wrote.
    pub(crate) fn texts(&self, name: &'static str) -> Result<BTreeMap<String, String>, StoreError> {
        let texts = |(name, value): (&String, &AttributeValue)| Some((name.clone(), value.as_s().ok()?.clone()));
        Ok(self.map(name)?.0.iter().filter_map(texts).collect())
    }

    pub(crate) fn list(&self, name: &'static str) -> &'a [AttributeValue] {
        self.0.get(name).and_then(|value| value.as_l().ok()).map_or(&[], Vec::as_slice)
    }
}
