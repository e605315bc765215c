//! Reading a query string parameter by parameter, as `body` reads fields.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use axum::{Json, http::Uri};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use florin_domain::{field::FieldError, money::Currency, payment_method::is_customer, time::Timestamp};
use florin_store::payments::{Listed, Listing, PAGE_ITEMS_MAX, Page, Place};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    body::{FIELD_NAME_CHARACTERS_MAX, customer_rule},
    problem::Problem,
};

/// Longest query string, in bytes.
const QUERY_BYTES_MAX: usize = 4_096;
/// Items on a page, unless asked otherwise.
const LIMIT_DEFAULT: usize = 20;
/// The version that a cursor begins with: an old one is refused, not misread.
const CURSOR_VERSION: &str = "1";

/// The parameters of a query: each is taken once, what is left over is unknown.
pub(crate) struct Parameters {
    values: BTreeMap<String, String>,
    errors: Vec<FieldError>,
}

impl Parameters {
    pub(crate) fn read(uri: &Uri) -> Self {
        let mut parameters = Self { values: BTreeMap::new(), errors: Vec::new() };
        let query = uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = if query.len() > QUERY_BYTES_MAX {
            parameters.wrong("", "query_too_long", format!("The query has at most {QUERY_BYTES_MAX} bytes."));
            Vec::new()
        } else {
            serde_urlencoded::from_str(query).unwrap_or_default()
        };
        for (name, value) in pairs {
            if parameters.values.contains_key(&name) {
                parameters.wrong(&name, "parameter_repeated", "The parameter is given once.");
            }
            parameters.values.insert(name, value);
        }
        parameters
    }

    /// Notes what is wrong with a parameter.
    pub(crate) fn wrong(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.errors.push(FieldError::new(name, code, detail));
    }

    /// The parameter, as `parse` reads it.
    pub(crate) fn take<T>(
        &mut self,
        name: &str,
        code: &'static str,
        rule: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.values.remove(name)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.wrong(name, code, rule);
        }
        parsed
    }

    pub(crate) fn moment(&mut self, name: &str, code: &'static str) -> Option<Timestamp> {
        self.take(name, code, "A date and time of RFC 3339, such as 2026-11-21T09:00:00Z.", Timestamp::parse)
    }

    /// How many are asked for.
    pub(crate) fn limit(&mut self) -> usize {
        let limit = self.take("limit", "limit_out_of_range", "A whole number from 1 to 100.", |text| {
            text.parse::<usize>().ok().filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit))
        });
        limit.unwrap_or(LIMIT_DEFAULT)
    }

    /// Where the list goes on.
    pub(crate) fn cursor<I: FromStr>(&mut self) -> Option<Place<I>> {
        self.take("cursor", "cursor_invalid", "The next_cursor of an earlier page.", decode_cursor)
    }

    /// Whose are asked for, of the merchant's customers.
    pub(crate) fn customer(&mut self) -> Option<String> {
        let text = |text: &str| is_customer(text).then(|| text.to_owned());
        self.take("customer", "customer_invalid", &customer_rule(), text)
    }

    pub(crate) fn currency(&mut self) -> Option<Currency> {
        self.take("currency", "currency_invalid", "An ISO 4217 code in capitals, such as NGN.", Currency::parse)
    }

    /// Every error, those of unknown parameters last.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.values).into_keys() {
            let name: String = name.chars().take(FIELD_NAME_CHARACTERS_MAX).collect();
            self.wrong(&name, "parameter_unknown", "There is no such parameter.");
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::Parameters(self.errors)) }
    }
}

/// What every list of payments or refunds may be asked for; `status` reads the name of a status.
pub(crate) fn listing<T: Listed>(
    uri: &Uri,
    status_rule: &str,
    status: impl FnOnce(&str) -> Option<T::Status>,
) -> Result<Listing<T>, Problem> {
    listing_from(Parameters::read(uri), status_rule, status)
}

/// What is left of these parameters, as of every list of payments or refunds.
pub(crate) fn listing_from<T: Listed>(
    mut parameters: Parameters,
    status_rule: &str,
    status: impl FnOnce(&str) -> Option<T::Status>,
) -> Result<Listing<T>, Problem> {
    let limit = parameters.limit();
    let after = parameters.cursor();
    let status = parameters.take("status", "status_invalid", status_rule, status);
    let currency = parameters.currency();
    let created_from = parameters.moment("created_from", "created_from_invalid").unwrap_or(Timestamp::MIN);
    let created_to = parameters.moment("created_to", "created_to_invalid").unwrap_or(Timestamp::MAX);
    if created_from > created_to {
        parameters.wrong("created_from", "range_invalid", "created_from is not after created_to.");
    } else if after.as_ref().is_some_and(|place: &Place<_>| !(created_from..=created_to).contains(&place.created_at)) {
        // DynamoDB refuses to begin where the range is not.
        parameters.wrong("cursor", "cursor_invalid", "The cursor is of a list of another range.");
    }
    parameters.finish()?;
    Ok(Listing { limit, after, status, currency, customer: None, created_from, created_to })
}

/// A page of a list, as clients see it.
pub(crate) fn page<T: Listed, V: Serialize>(page: &Page<T>, view: impl Fn(&T) -> V) -> Json<Value> {
    page_of(&page.items.iter().map(view).collect::<Vec<_>>(), page.next.as_ref())
}

/// A page of these views, and where the next one begins.
pub(crate) fn page_of<V: Serialize, I: Display>(views: &[V], next: Option<&Place<I>>) -> Json<Value> {
    Json(json!({
        "object": "list",
        "data": views,
        "has_more": next.is_some(),
        "next_cursor": next.map(encode_cursor),
    }))
}

/// A place in a list, as clients see it: opaque.
fn encode_cursor<I: Display>(place: &Place<I>) -> String {
    URL_SAFE_NO_PAD.encode(format!("{CURSOR_VERSION}.{}.{}", place.created_at.ms(), place.id))
}

/// Reads what `encode_cursor` wrote.
fn decode_cursor<I: FromStr>(text: &str) -> Option<Place<I>> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = text.split('.');
    let (version, ms, id) = (parts.next()?, parts.next()?, parts.next()?);
    if version != CURSOR_VERSION || parts.next().is_some() {
        return None;
    }
    Some(Place { created_at: Timestamp::from_ms(ms.parse().ok()?), id: id.parse().ok()? })
}
