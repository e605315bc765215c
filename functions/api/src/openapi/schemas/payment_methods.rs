//! Payment methods.

use utoipa::ToSchema;

use super::{
    Cursor, Customer, ListObject, Metadata, Moment,
    payments::{Brand, CardNumber, CardType, Cvv, Expiry, HolderName, NewExpiry},
};

/// The id of a payment method.
#[derive(ToSchema)]
#[schema(pattern = "^pm_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "pm_3k8q1v5n2xr7d0gbwzb8m4t6c9")]
pub struct PaymentMethodId(pub String);

/// Always `payment_method`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethodObject {
    /// A payment method.
    PaymentMethod,
}

/// A card. Its number and CVV go to the gateway and nowhere else.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStoredCard {
    /// 12 to 19 digits, with spaces or dashes.
    pub number: CardNumber,
    /// `MM/YY`; not in the past.
    pub expiry: NewExpiry,
    /// Of three or four digits, as a string.
    pub cvv: Cvv,
    /// As it stands on the card.
    pub holder_name: HolderName,
}

/// What `POST /v1/payment_methods` takes. A field that is `null` is as good as absent.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPaymentMethod {
    /// The card.
    pub card: NewStoredCard,
    /// Your reference of whom it belongs to.
    pub customer: Option<Customer>,
    /// For your programs.
    pub metadata: Option<Metadata>,
}

/// The card as it is shown.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredCard {
    /// By the number's range.
    pub brand: Brand,
    /// The last four digits.
    #[schema(pattern = "^[0-9]{4}$")]
    pub last4: String,
    /// `MM/YY`.
    pub expiry: Expiry,
    /// As it stands on the card.
    pub holder_name: String,
    /// The gateway's name for the number: the same for the same number. `null` if the gateway has none.
    #[schema(required)]
    pub fingerprint: Option<String>,
}

/// A card that the gateway keeps for later payments.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentMethod {
    /// Its id.
    pub id: PaymentMethodId,
    /// Always `payment_method`.
    #[schema(inline)]
    pub object: PaymentMethodObject,
    /// Always `card`.
    #[serde(rename = "type")]
    #[schema(inline)]
    pub kind: CardType,
    /// The card.
    pub card: StoredCard,
    /// Your reference of whom it belongs to.
    #[schema(required)]
    pub customer: Option<Customer>,
    /// For your programs.
    pub metadata: Metadata,
    /// When it was created.
    pub created_at: Moment,
}

/// A page of payment methods, newest first.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentMethodList {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// The payment methods.
    #[schema(max_items = 100)]
    pub data: Vec<PaymentMethod>,
    /// There are more behind them.
    pub has_more: bool,
    /// Where the next page begins.
    #[schema(required)]
    pub next_cursor: Option<Cursor>,
}
