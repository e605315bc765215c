//! Refunds.

use utoipa::ToSchema;

use super::{Amount, Currency, Cursor, Failure, ListObject, Metadata, Moment, payments::PaymentId};

/// The id of a refund.
#[derive(ToSchema)]
#[schema(pattern = "^re_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "re_6w4y1n8q2kz5t0c3m7b9d1f2g4")]
pub struct RefundId(pub String);

/// Where a refund stands. `completed` and `failed` are final.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the domain explains them")]
pub enum RefundStatus {
    Pending,
    Processing,
    Completed,
    Failed,
}

/// Always `refund`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundObject {
    /// A refund.
    Refund,
}

/// What `POST /v1/payments/{id}/refunds` takes. A field that is `null` is as good as absent.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRefund {
    /// In minor units, up to what is left of the payment; without it, all that is left.
    pub amount: Option<Amount>,
    /// For people.
    #[schema(max_length = 500)]
    pub reason: Option<String>,
    /// For your programs.
    pub metadata: Option<Metadata>,
}

/// Money given back for a payment.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    /// Its id.
    pub id: RefundId,
    /// Always `refund`.
    #[schema(inline)]
    pub object: RefundObject,
    /// The payment that is given back.
    pub payment_id: PaymentId,
    /// Where it stands.
    pub status: RefundStatus,
    /// In minor units.
    pub amount: Amount,
    /// The payment's.
    pub currency: Currency,
    /// For people.
    #[schema(required)]
    pub reason: Option<String>,
    /// For your programs.
    pub metadata: Metadata,
    /// Why it failed.
    #[schema(required)]
    pub failure: Option<Failure>,
    /// The gateway's name for the refund.
    #[schema(required)]
    pub gateway_reference: Option<String>,
    /// Waits for an operator.
    pub stuck: bool,
    /// When it was created.
    pub created_at: Moment,
    /// When it last changed.
    pub updated_at: Moment,
    /// Counts changes.
    #[schema(minimum = 1)]
    pub version: i64,
}

/// A page of refunds.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundList {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// The refunds.
    #[schema(max_items = 100)]
    pub data: Vec<Refund>,
    /// There are more behind them.
    pub has_more: bool,
    /// Where the next page begins.
    #[schema(required)]
    pub next_cursor: Option<Cursor>,
}
