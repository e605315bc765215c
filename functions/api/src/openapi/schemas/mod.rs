//! What goes in and comes out, as JSON Schema. These types are never built: they are read by `utoipa`, and the tests
//! hold every answer of the API against them. A limit stands in them as a literal, for the macros take nothing else;
//! `tests/openapi.rs` compares it with the constant.

pub mod analytics;
pub mod audit;
pub mod customers;
pub mod errors;
pub mod health;
pub mod merchants;
pub mod oauth;
pub mod operations;
pub mod payment_methods;
pub mod payments;
pub mod people;
pub mod refunds;

use utoipa::ToSchema;

/// An amount in minor units: `10000` NGN is ₦100.00, `100` JPY is ¥100.
#[derive(ToSchema)]
#[schema(minimum = 1, maximum = 999_999_999_999_i64, format = Int64)]
pub struct Amount(pub i64);

/// An ISO 4217 code in capitals. Its codes are filled in by `openapi::document`.
#[derive(ToSchema)]
pub struct Currency(pub String);

/// A date and time of RFC 3339, in UTC and with milliseconds.
#[derive(ToSchema)]
#[schema(format = DateTime, example = "2026-11-21T09:00:00.000Z")]
pub struct Moment(pub String);

/// A name: printable characters, not only spaces, no card number.
#[derive(ToSchema)]
#[schema(
    max_length = 100,
    pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
    example = "Ada's Shop"
)]
pub struct Name(pub String);

/// Your own reference of one of your customers.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Za-z0-9_.:-]{1,64}$", example = "cust-7")]
pub struct Customer(pub String);

/// Strings for your programs, by key; only what you put there.
#[derive(ToSchema)]
pub struct Metadata(pub std::collections::BTreeMap<String, String>);

/// Why something failed, or waits for a person.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Stable; see "A failed payment" in the list of errors.
    pub code: String,
    /// For a person.
    pub message: String,
}

/// Where the next page begins. Opaque: send it back as `cursor`.
#[derive(ToSchema)]
#[schema(min_length = 1)]
pub struct Cursor(pub String);

/// Always `list`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListObject {
    /// A list.
    List,
}
