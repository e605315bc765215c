//! Payments and their timelines.

use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Amount, Currency, Cursor, Customer, Failure, ListObject, Metadata, Moment, payment_methods::PaymentMethodId,
};

/// The id of a payment.
#[derive(ToSchema)]
#[schema(pattern = "^pay_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "pay_2xr5dgbwzb8n3m0v4m1x8q7k3f")]
pub struct PaymentId(pub String);

/// Where a payment stands. `completed`, `failed` and `canceled` are final.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/api.md and the domain explain them")]
pub enum PaymentStatus {
    Scheduled,
    Pending,
    OnHold,
    Processing,
    Completed,
    Failed,
    Canceled,
}

/// Always `payment`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentObject {
    /// A payment.
    Payment,
}

/// Always `card`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardType {
    /// A card.
    Card,
}

/// A card's brand.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are names")]
pub enum Brand {
    Visa,
    Mastercard,
    Amex,
    Discover,
    Jcb,
    Diners,
    Unionpay,
    Verve,
    Unknown,
}

/// The month in which a card ends, `MM/YY`.
#[derive(ToSchema)]
#[schema(pattern = "^(0[1-9]|1[0-2])/[0-9]{2}$", example = "12/30")]
pub struct Expiry(pub String);

/// 12 to 19 digits, with spaces or dashes.
#[derive(ToSchema)]
#[schema(max_length = 40, pattern = "^[ -]*([0-9][ -]*){12,19}$", example = "4242 4242 4242 4242")]
pub struct CardNumber(pub String);

/// `MM/YY`; not in the past.
#[derive(ToSchema)]
#[schema(pattern = "^(0[1-9]|1[0-2])/[0-9]{2}$", format = "card-expiry", example = "12/30")]
pub struct NewExpiry(pub String);

/// Of three or four digits, as a string.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9]{3,4}$", example = "123")]
pub struct Cvv(pub String);

/// As it stands on the card: printable characters, not only spaces.
#[derive(ToSchema)]
#[schema(
    max_length = 100,
    pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
    example = "Ada Obi"
)]
pub struct HolderName(pub String);

/// A card. Its number and CVV go to the gateway and nowhere else.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCard {
    /// Always `card`.
    #[serde(rename = "type")]
    #[schema(inline)]
    pub kind: CardType,
    /// 12 to 19 digits, with spaces or dashes.
    pub number: CardNumber,
    /// `MM/YY`; not in the past.
    pub expiry: NewExpiry,
    /// Of three or four digits, as a string.
    pub cvv: Cvv,
    /// As it stands on the card.
    pub holder_name: HolderName,
}

/// Always `payment_method`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoredType {
    /// A payment method.
    PaymentMethod,
}

/// A card that the gateway keeps.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStoredSource {
    /// Always `payment_method`.
    #[serde(rename = "type")]
    #[schema(inline)]
    pub kind: StoredType,
    /// Which one.
    pub id: PaymentMethodId,
}

/// What a payment is to be paid from.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum NewSource {
    /// A card, typed for this payment.
    Card(NewCard),
    /// A payment method.
    Stored(NewStoredSource),
}

/// What `POST /v1/payments` takes. A field that is `null` is as good as absent.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPayment {
    /// In minor units.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: Currency,
    /// What it is paid from.
    pub source: NewSource,
    /// Your reference of who pays; without it, the payment method's.
    pub customer: Option<Customer>,
    /// For people.
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// For your programs.
    pub metadata: Option<Metadata>,
    /// Where this payment's end is told, besides your endpoints: `https`, a public host, no user, no fragment.
    #[schema(max_length = 2000, format = "https-url", example = "https://shop.example/hooks")]
    pub webhook_url: Option<String>,
    /// How long it waits, in seconds.
    #[schema(minimum = 0, maximum = 31_622_400)]
    pub delay_seconds: Option<i64>,
    /// When it is charged, instead of a delay: within 366 days; up to a minute ago means at once.
    #[schema(format = "future-date-time", example = "2026-12-24T18:00:00Z")]
    pub process_at: Option<String>,
}

/// The card as it is shown.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Always `card`.
    #[serde(rename = "type")]
    #[schema(inline)]
    pub kind: CardType,
    /// By the number's range.
    pub brand: Brand,
    /// The last four digits.
    #[schema(pattern = "^[0-9]{4}$")]
    pub last4: String,
    /// `MM/YY`.
    pub expiry: Expiry,
    /// As it stands on the card.
    pub holder_name: String,
}

/// A card that the gateway keeps, as it is shown.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredSource {
    /// Always `payment_method`.
    #[serde(rename = "type")]
    #[schema(inline)]
    pub kind: StoredType,
    /// Which one.
    pub id: PaymentMethodId,
    /// By the number's range.
    pub brand: Brand,
    /// The last four digits.
    #[schema(pattern = "^[0-9]{4}$")]
    pub last4: String,
    /// `MM/YY`.
    pub expiry: Expiry,
    /// As it stands on the card.
    pub holder_name: String,
}

/// What a payment is paid from.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum Source {
    /// A card, typed for this payment.
    Card(Card),
    /// A payment method.
    Stored(StoredSource),
}

/// An intent to move money from a card to you.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Always `payment`.
    #[schema(inline)]
    pub object: PaymentObject,
    /// Where it stands.
    pub status: PaymentStatus,
    /// In minor units.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: Currency,
    /// Minor units given back.
    #[schema(minimum = 0)]
    pub amount_refunded: i64,
    /// What it is paid from.
    pub source: Source,
    /// Your reference of who pays.
    #[schema(required)]
    pub customer: Option<Customer>,
    /// For people.
    #[schema(required)]
    pub description: Option<String>,
    /// For your programs.
    pub metadata: Metadata,
    /// Where its end is told.
    #[schema(required)]
    pub webhook_url: Option<String>,
    /// Why it failed.
    #[schema(required)]
    pub failure: Option<Failure>,
    /// The gateway's name for the charge.
    #[schema(required)]
    pub gateway_reference: Option<String>,
    /// When it is charged; `null` for at once.
    #[schema(required)]
    pub process_at: Option<Moment>,
    /// Its withdrawal was asked for while it was processed: what is charged is given back.
    pub cancel_requested: bool,
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

/// A page of payments, newest first.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentList {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// The payments.
    #[schema(max_items = 100)]
    pub data: Vec<Payment>,
    /// There are more behind them.
    pub has_more: bool,
    /// Where the next page begins.
    #[schema(required)]
    pub next_cursor: Option<Cursor>,
}

/// What is tried for a payment or a refund.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the domain explains them")]
pub enum Step {
    Schedule,
    Validate,
    Reserve,
    Charge,
    Reconcile,
    Settle,
    Compensate,
    Refund,
    Hold,
    Resume,
    Cancel,
    Resolve,
}

/// How a step ended.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/api.md explains them")]
pub enum StepOutcome {
    Succeeded,
    Failed,
    Retrying,
    Skipped,
}

/// One attempt at one step.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TimelineEntry {
    /// 1 for the first entry; without gaps.
    #[schema(minimum = 1)]
    pub sequence: i64,
    /// Which step.
    pub step: Step,
    /// 1 for the first attempt at this step.
    #[schema(minimum = 1)]
    pub attempt: i64,
    /// `null` while the attempt is under way.
    #[schema(required)]
    pub outcome: Option<StepOutcome>,
    /// What the step was given; its fields depend on the step.
    #[schema(value_type = Object)]
    pub input: Value,
    /// What it yielded; its fields depend on the step.
    #[schema(value_type = Object)]
    pub output: Value,
    /// What went wrong.
    #[schema(required)]
    pub error: Option<Failure>,
    /// When the attempt began.
    pub started_at: Moment,
    /// When it ended.
    #[schema(required)]
    pub ended_at: Option<Moment>,
    /// When the next attempt is due.
    #[schema(required)]
    pub next_due: Option<Moment>,
}

/// Everything that was tried, oldest first, that of the refunds behind it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// The entries.
    pub data: Vec<TimelineEntry>,
}

/// A command says all by its path: no body, or an empty object.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoFields {}
