//! The payment method: a card that a merchant keeps at the gateway for later payments (product.md §1).
//!
//! Kept are what may be shown of the card and the gateway's names for it. Its number and CVV are the gateway's.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    card::{Brand, Card, Expiry, contains_card_number},
    ids::{MerchantId, PaymentMethodId},
    payment::{CardSource, StoredCard},
    time::Timestamp,
};

/// Longest name of a merchant's customer, in characters.
pub const CUSTOMER_CHARACTERS_MAX: usize = 64;

/// Whether a text can name a merchant's customer: the merchant's own reference, with no card number in it.
pub fn is_customer(text: &str) -> bool {
    (1..=CUSTOMER_CHARACTERS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-'))
        && !contains_card_number(text)
}

/// What may be shown of a stored card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardDetails {
    /// The card's brand.
    pub brand: Brand,
    /// Its last four digits.
    pub last4: String,
    /// The month in which it ends.
    pub expiry: Expiry,
    /// Its holder.
    pub holder_name: String,
    /// The gateway's name for the number: the same for the same number. Florin never makes one of a number itself.
    pub fingerprint: Option<String>,
}

/// What the gateway calls a card that it keeps. No secret: it works only with the gateway's key; but it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct AtGateway {
    /// The payment method.
    pub token: String,
    /// The gateway's customer that the payment method is attached to: charges must name it.
    pub customer: String,
}

impl std::fmt::Debug for AtGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtGateway")
    }
}

/// What a merchant asks for. Together with the merchant and the `Idempotency-Key` it makes a payment method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPaymentMethod {
    /// The card.
    pub card: CardDetails,
    /// The merchant's reference of whom it belongs to.
    pub customer: Option<String>,
    /// For the merchant's programs.
    pub metadata: BTreeMap<String, String>,
}

impl NewPaymentMethod {
    /// For this card. `fingerprint` is the gateway's, if it was asked.
    pub fn new(
        card: &Card,
        fingerprint: Option<String>,
        customer: Option<String>,
        metadata: BTreeMap<String, String>,
    ) -> Self {
        let card = CardDetails {
            brand: card.brand(),
            last4: card.last4().to_owned(),
            expiry: card.expiry(),
            holder_name: card.holder_name().to_owned(),
            fingerprint,
        };
        Self { card, customer, metadata }
    }
}

/// A stored card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentMethod {
    /// Derived from merchant, operation and `Idempotency-Key`.
    pub id: PaymentMethodId,
    /// Whose it is.
    pub merchant_id: MerchantId,
    /// The card.
    pub card: CardDetails,
    /// The merchant's reference of whom it belongs to.
    pub customer: Option<String>,
    /// For the merchant's programs.
    pub metadata: BTreeMap<String, String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// What the gateway calls it.
    pub at_gateway: AtGateway,
}

/// A payment method as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentMethodView {
    /// `pm_…`
    pub id: PaymentMethodId,
    /// `payment_method`
    pub object: PaymentMethodObject,
    /// What it is: a card.
    pub r#type: PaymentMethodType,
    /// The card.
    pub card: CardView,
    /// The merchant's reference of whom it belongs to.
    pub customer: Option<String>,
    /// For the merchant's programs.
    pub metadata: BTreeMap<String, String>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// The constant `payment_method` in the field `object`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethodObject {
    /// `payment_method`
    PaymentMethod,
}

/// What a payment method can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethodType {
    /// `card`
    Card,
}

/// A stored card as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CardView {
    /// The card's brand.
    pub brand: Brand,
    /// Its last four digits.
    pub last4: String,
    /// `MM/YY`.
    pub expiry: String,
    /// Its holder.
    pub holder_name: String,
    /// The gateway's name for the number.
    pub fingerprint: Option<String>,
}

impl PaymentMethod {
    /// The operation's name inside derived ids.
    pub const CREATE: &'static str = "payment_methods.create";

    /// The id that this merchant's `Idempotency-Key` always yields.
    pub fn id_for(merchant_id: &MerchantId, idempotency_key: &str) -> PaymentMethodId {
        PaymentMethodId::derive(&[merchant_id.as_str(), Self::CREATE, idempotency_key])
    }

    /// The pointer of the first field in which a request differs from the one that created this payment method.
    ///
    /// The number is not kept. Where the gateway was asked, its fingerprint stands for the number.
    pub fn differs_from(&self, new: &NewPaymentMethod) -> Option<&'static str> {
        let (old, asked) = (&self.card, &new.card);
        let is_other_number = matches!((&old.fingerprint, &asked.fingerprint), (Some(old), Some(new)) if old != new);
        [
            (is_other_number || old.last4 != asked.last4 || old.brand != asked.brand, "/card/number"),
            (old.expiry != asked.expiry, "/card/expiry"),
            (old.holder_name != asked.holder_name, "/card/holder_name"),
            (self.customer != new.customer, "/customer"),
            (self.metadata != new.metadata, "/metadata"),
        ]
        .into_iter()
        .find_map(|(differs, pointer)| differs.then_some(pointer))
    }

    /// The source of a payment that is paid with it: a copy, so that whoever charges need not read it again.
    pub fn source(&self) -> CardSource {
        CardSource {
            brand: self.card.brand,
            last4: self.card.last4.clone(),
            expiry: self.card.expiry,
            holder_name: self.card.holder_name.clone(),
            token: self.at_gateway.token.clone(),
            stored: Some(StoredCard { id: self.id.clone(), gateway_customer: self.at_gateway.customer.clone() }),
        }
    }

    /// The payment method as the API shows it.
    pub fn view(&self) -> PaymentMethodView {
        PaymentMethodView {
            id: self.id.clone(),
            object: PaymentMethodObject::PaymentMethod,
            r#type: PaymentMethodType::Card,
            card: CardView {
                brand: self.card.brand,
                last4: self.card.last4.clone(),
                expiry: self.card.expiry.to_string(),
                holder_name: self.card.holder_name.clone(),
                fingerprint: self.card.fingerprint.clone(),
            },
            customer: self.customer.clone(),
            metadata: self.metadata.clone(),
            created_at: self.created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method() -> PaymentMethod {
        let merchant_id = MerchantId::derive(&["shop"]);
        PaymentMethod {
            id: PaymentMethod::id_for(&merchant_id, "k"),
            merchant_id,
            card: CardDetails {
                brand: Brand::Visa,
                last4: "4242".to_owned(),
                expiry: Expiry { year: 2030, month: 12 },
                holder_name: "Ada Obi".to_owned(),
                fingerprint: Some("f1".to_owned()),
            },
            customer: Some("cust-7".to_owned()),
            metadata: BTreeMap::new(),
            created_at: Timestamp::MIN,
            at_gateway: AtGateway { token: "pm_token".to_owned(), customer: "cus_1".to_owned() },
        }
    }

    fn asked(method: &PaymentMethod) -> NewPaymentMethod {
        NewPaymentMethod {
            card: method.card.clone(),
            customer: method.customer.clone(),
            metadata: method.metadata.clone(),
        }
    }

    #[test]
    fn the_first_field_that_differs_is_named() {
        let method = method();
        let differs = |change: &dyn Fn(&mut NewPaymentMethod)| {
            let mut new = asked(&method);
            change(&mut new);
            method.differs_from(&new)
        };
        assert_eq!(differs(&|_| ()), None);
        assert_eq!(differs(&|new| new.card.fingerprint = None), None, "the gateway could not be asked");
        assert_eq!(differs(&|new| new.card.fingerprint = Some("f2".to_owned())), Some("/card/number"));
        assert_eq!(differs(&|new| new.card.last4 = "4444".to_owned()), Some("/card/number"));
        assert_eq!(differs(&|new| new.card.expiry.month = 11), Some("/card/expiry"));
        assert_eq!(differs(&|new| new.card.holder_name = "Eve".to_owned()), Some("/card/holder_name"));
        assert_eq!(differs(&|new| new.customer = None), Some("/customer"));
        assert_eq!(differs(&|new| new.metadata = [("a".to_owned(), "b".to_owned())].into()), Some("/metadata"));
    }

    #[test]
    fn neither_view_nor_debug_shows_what_the_gateway_calls_it() {
        let method = method();
        let shown = format!("{} {method:?}", serde_json::to_string(&method.view()).unwrap());
        assert!(!shown.contains("pm_token") && !shown.contains("cus_1"), "{shown}");
        assert!(shown.contains(r#""object":"payment_method","type":"card""#), "{shown}");
    }

    #[test]
    fn customers_are_named_by_short_plain_references() {
        for good in ["a", "cust_1", "A.b:c-9", &"x".repeat(64)] {
            assert!(is_customer(good), "{good}");
        }
        for wrong in ["", "a b", "a/b", "ä", "a#b", &"x".repeat(65), "4242424242424242", "no-4242-4242-4242-4242"] {
            assert!(!is_customer(wrong), "{wrong}");
        }
    }
}
