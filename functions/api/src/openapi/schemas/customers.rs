//! What is kept of a customer.

use utoipa::ToSchema;

use super::{Cursor, ListObject, payment_methods::PaymentMethod, payments::TimelineEntry, refunds::Refund};

/// A payment with everything that hangs on it.
// The members of a payment are added by `openapi::document`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerPayment {
    /// Its refunds, oldest first.
    pub refunds: Vec<Refund>,
    /// Everything that was tried, oldest first.
    pub timeline: Vec<TimelineEntry>,
}

/// What an export has; `object` tells which.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Exported {
    /// A payment method.
    PaymentMethod(PaymentMethod),
    /// A payment.
    Payment(CustomerPayment),
}

/// A page of what is kept of a customer: payment methods, then payments, each newest first.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerExport {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// What is kept.
    #[schema(max_items = 100)]
    pub data: Vec<Exported>,
    /// There are more behind them.
    pub has_more: bool,
    /// Where the next page begins.
    #[schema(required)]
    pub next_cursor: Option<Cursor>,
}

/// Always `customer_erasure`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureObject {
    /// An erasure.
    CustomerErasure,
}

/// How much this call erased.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasedCounts {
    /// Payments.
    #[schema(minimum = 0)]
    pub payments: i64,
    /// Refunds.
    #[schema(minimum = 0)]
    pub refunds: i64,
    /// Payment methods.
    #[schema(minimum = 0)]
    pub payment_methods: i64,
}

/// What an erasure did.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerErasure {
    /// Always `customer_erasure`.
    #[schema(inline)]
    pub object: ErasureObject,
    /// How much this call erased.
    pub erased: ErasedCounts,
    /// There is more: send the request again.
    pub has_more: bool,
}
