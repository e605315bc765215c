//! The payment: its life cycle (product.md §2) and its shape in the API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    card::{Brand, Expiry},
    ids::{MerchantId, PaymentId, PaymentMethodId, RefundId},
    journal::{Failure, JournalEntry, Step},
    money::{Currency, Money},
    mutation::{Mutation, mutated},
    time::{MS_PER_SECOND, Timestamp},
};

/// Longest description, in characters.
pub const DESCRIPTION_CHARACTERS_MAX: usize = 500;
/// Entries of `metadata`.
pub const METADATA_ENTRIES_MAX: usize = 20;
/// Longest key of a metadata entry, in characters.
pub const METADATA_KEY_CHARACTERS_MAX: usize = 40;
/// Longest value of a metadata entry, in characters.
pub const METADATA_VALUE_CHARACTERS_MAX: usize = 500;
/// Longest webhook URL, in characters.
pub const WEBHOOK_URL_CHARACTERS_MAX: usize = 2_000;

/// The longest delay: 366 days, in seconds.
pub const DELAY_SECONDS_MAX: i64 = 366 * 24 * 60 * 60;
/// How far in the past `process_at` may lie and still mean at once, in milliseconds: clocks differ.
pub const PROCESS_AT_PAST_MS_MAX: i64 = 60_000;
/// Refunds of one payment.
pub const REFUNDS_PER_PAYMENT_MAX: usize = 20;

/// Where a payment stands. `Completed`, `Failed` and `Canceled` are terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its moment.
    Scheduled,
    /// Waits for the processor.
    Pending,
    /// Held by an operator or merchant.
    OnHold,
    /// The processor has claimed it.
    Processing,
    /// The money has moved.
    Completed,
    /// It ended without moving money.
    Failed,
    /// Withdrawn before anything happened.
    Canceled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 7] =
        [Self::Scheduled, Self::Pending, Self::OnHold, Self::Processing, Self::Completed, Self::Failed, Self::Canceled];

    /// The status' name in the API and in the tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Pending => "pending",
            Self::OnHold => "on_hold",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// The status by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// No transition leaves a terminal status.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }

    /// Whether the diagram of product.md §2 has an arrow from this status to `to`.
    pub const fn may_become(self, to: Self) -> bool {
        matches!(
            (self, to),
            (Self::Scheduled, Self::Pending | Self::OnHold | Self::Canceled)
                | (Self::Pending, Self::Processing | Self::OnHold | Self::Canceled)
                | (Self::OnHold, Self::Scheduled | Self::Pending | Self::Canceled)
                | (Self::Processing, Self::Completed | Self::Failed)
        )
    }
}

/// What a payment is paid from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardSource {
    /// The card's brand.
    pub brand: Brand,
    /// Its last four digits.
    pub last4: String,
    /// The month in which it ends.
    pub expiry: Expiry,
    /// Its holder.
    pub holder_name: String,
    /// The gateway's name for the card. It is no secret (it works only with the gateway's key) but is not shown.
    pub token: String,
    /// The payment method that it is, if it was not typed for this payment alone.
    pub stored: Option<StoredCard>,
}

/// The payment method that a payment is paid with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCard {
    /// Its id.
    pub id: PaymentMethodId,
    /// The gateway's customer that it is attached to: the charge names it.
    pub gateway_customer: String,
}

/// The source as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SourceView {
    /// A card.
    Card {
        /// The card's brand.
        brand: Brand,
        /// Its last four digits.
        last4: String,
        /// `MM/YY`.
        expiry: String,
        /// Its holder.
        holder_name: String,
    },
    /// A stored card.
    PaymentMethod {
        /// The payment method.
        id: PaymentMethodId,
        /// The card's brand.
        brand: Brand,
        /// Its last four digits.
        last4: String,
        /// `MM/YY`.
        expiry: String,
        /// Its holder.
        holder_name: String,
    },
}

impl SourceView {
    /// The month in which the card ends: `MM/YY`.
    pub fn expiry(&self) -> &str {
        match self {
            Self::Card { expiry, .. } | Self::PaymentMethod { expiry, .. } => expiry,
        }
    }
}

impl Serialize for CardSource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view().serialize(serializer)
    }
}

impl CardSource {
    /// The source as the API shows it.
    pub fn view(&self) -> SourceView {
        let (brand, last4, expiry) = (self.brand, self.last4.clone(), self.expiry.to_string());
        let holder_name = self.holder_name.clone();
        match &self.stored {
            None => SourceView::Card { brand, last4, expiry, holder_name },
            Some(StoredCard { id, .. }) => {
                SourceView::PaymentMethod { id: id.clone(), brand, last4, expiry, holder_name }
            }
        }
    }

    /// The pointer of the first field in which a request's source differs from this one. Of a payment method only the
    /// id counts: it may have been deleted since.
    fn differs_from(&self, asked: &Self) -> Option<&'static str> {
        match (&self.stored, &asked.stored) {
            (Some(old), Some(asked)) => (old.id != asked.id).then_some("/source/id"),
            (None, None) => [
                (self.last4 != asked.last4 || self.brand != asked.brand, "/source/number"),
                (self.expiry != asked.expiry, "/source/expiry"),
                (self.holder_name != asked.holder_name, "/source/holder_name"),
            ]
            .into_iter()
            .find_map(|(differs, pointer)| differs.then_some(pointer)),
            _ => Some("/source/type"),
        }
    }
}

/// When a merchant wants a payment to be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// At once.
    #[default]
    Now,
    /// So many seconds after it was created.
    After(i64),
    /// At this moment.
    At(Timestamp),
}

impl When {
    /// The moment, for a payment that is created at `now`; nothing if that is at once.
    pub fn moment(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Now => None,
            Self::After(seconds) => Some(now.plus_ms(seconds.saturating_mul(MS_PER_SECOND))),
            Self::At(moment) => Some(moment),
        }
        .filter(|moment| *moment > now)
    }

    /// Whether the moment lies in what Florin can promise, for a payment that is created at `now`.
    pub fn is_in_range(self, now: Timestamp) -> bool {
        match self {
            Self::Now => true,
            Self::After(seconds) => (0..=DELAY_SECONDS_MAX).contains(&seconds),
            Self::At(moment) => {
                (-PROCESS_AT_PAST_MS_MAX..=DELAY_SECONDS_MAX * MS_PER_SECOND).contains(&moment.ms_since(now))
            }
        }
    }
}

/// What a merchant asks for. Together with the merchant and the `Idempotency-Key` it makes a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayment {
    /// How much.
    pub money: Money,
    /// From what.
    pub source: CardSource,
    /// The merchant's reference of who pays.
    pub customer: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// For the merchant's programs.
    pub metadata: BTreeMap<String, String>,
    /// Where this payment's terminal event goes besides the merchant's endpoints.
    pub webhook_url: Option<String>,
    /// When it is to be processed.
    pub when: When,
}

/// An intent to move money from a source to the merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Derived from merchant, operation and `Idempotency-Key`.
    pub id: PaymentId,
    /// Whose payment it is.
    pub merchant_id: MerchantId,
    /// Where it stands.
    pub status: Status,
    /// Counts transitions and journal writes; every write is conditional on it. Refunds do not move it, for the event
    /// that tells of the payment's end is named by it.
    pub version: i64,
    /// How much.
    pub money: Money,
    /// How much of it has been given back, in minor units.
    pub amount_refunded: i64,
    /// How much of it refunds have given back or are about to, in minor units: never more than `money`.
    pub amount_reserved: i64,
    /// Its refunds, oldest first, at most `REFUNDS_PER_PAYMENT_MAX`.
    pub refunds: Vec<RefundId>,
    /// When a refund last gave money back, and how many have.
    pub refunded: Option<(Timestamp, i64)>,
    /// From what.
    pub source: CardSource,
    /// The merchant's reference of who pays.
    pub customer: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// For the merchant's programs.
    pub metadata: BTreeMap<String, String>,
    /// Where this payment's terminal event goes besides the merchant's endpoints.
    pub webhook_url: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The gateway's name for the charge.
    pub gateway_reference: Option<String>,
    /// When it is to be processed; nothing for at once.
    pub process_at: Option<Timestamp>,
    /// When the merchant asked, while it was processed, for its withdrawal.
    pub cancel_requested_at: Option<Timestamp>,
    /// Why a person must look at it: it could not be brought to its end.
    pub stuck: Option<Failure>,
    /// When everything that tells of a person was erased.
    pub erased_at: Option<Timestamp>,
    /// The `X-Correlation-Id` of the request that created it, which its events have when no request causes them.
    pub correlation_id: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What has been tried.
    pub journal: Vec<JournalEntry>,
    /// Until when the processor that claimed it has it for itself, or when the next attempt is due.
    pub lease_until: Option<Timestamp>,
}

/// A payment as the API, the events and the webhooks show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentView {
    /// `pay_…`
    pub id: PaymentId,
    /// `payment`
    pub object: PaymentObject,
    /// Where it stands.
    pub status: Status,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: Currency,
    /// Minor units given back.
    pub amount_refunded: i64,
    /// From what.
    pub source: SourceView,
    /// The merchant's reference of who pays. Events of earlier releases have none.
    #[serde(default)]
    pub customer: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// For the merchant's programs.
    pub metadata: BTreeMap<String, String>,
    /// Where its terminal event goes.
    pub webhook_url: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The gateway's name for the charge.
    pub gateway_reference: Option<String>,
    /// When it is to be processed; `null` for at once.
    pub process_at: Option<Timestamp>,
    /// Its withdrawal was asked for while it was processed: what is charged is given back.
    #[serde(default)]
    pub cancel_requested: bool,
    /// A person must look at it.
    pub stuck: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts changes.
    pub version: i64,
}

/// The constant `payment` in the field `object`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentObject {
    /// `payment`
    Payment,
}

impl Payment {
    /// The operation's name inside derived ids.
    pub const CREATE: &'static str = "payments.create";

    /// The id that this merchant's `Idempotency-Key` always yields.
    pub fn id_for(merchant_id: &MerchantId, idempotency_key: &str) -> PaymentId {
        PaymentId::derive(&[merchant_id.as_str(), Self::CREATE, idempotency_key])
    }

    /// A payment that waits for the processor, or for its moment.
    pub fn create(id: PaymentId, merchant_id: MerchantId, new: NewPayment, now: Timestamp) -> Self {
        let process_at = new.when.moment(now);
        Self {
            id,
            merchant_id,
            status: if process_at.is_some() { Status::Scheduled } else { Status::Pending },
            version: 1,
            money: new.money,
            amount_refunded: 0,
            amount_reserved: 0,
            refunds: Vec::new(),
            refunded: None,
            source: new.source,
            customer: new.customer,
            description: new.description,
            metadata: new.metadata,
            webhook_url: new.webhook_url,
            failure: None,
            gateway_reference: None,
            process_at,
            cancel_requested_at: None,
            stuck: None,
            erased_at: None,
            correlation_id: None,
            created_at: now,
            updated_at: now,
            journal: Vec::new(),
            lease_until: None,
        }
    }

    /// The payment as it was when it was created: what a replayed request is answered with.
    pub fn as_created(&self) -> Self {
        let new = NewPayment {
            money: self.money,
            source: self.source.clone(),
            customer: self.customer.clone(),
            description: self.description.clone(),
            metadata: self.metadata.clone(),
            webhook_url: self.webhook_url.clone(),
            when: self.process_at.map_or(When::Now, When::At),
        };
        let created = Self::create(self.id.clone(), self.merchant_id.clone(), new, self.created_at);
        Self { correlation_id: self.correlation_id.clone(), ..created }
    }

    /// The payment as it was when its status last changed, whatever has been refunded since: what its events tell.
    pub fn before_refunds(&self) -> Self {
        Self { amount_refunded: 0, refunded: None, ..self.clone() }
    }

    /// Whether its withdrawal was asked for while it was processed.
    pub const fn is_cancel_requested(&self) -> bool {
        self.cancel_requested_at.is_some()
    }

    /// Minor units that can still be refunded.
    pub fn refundable(&self) -> i64 {
        match self.status {
            Status::Completed => self.money.amount().saturating_sub(self.amount_reserved),
            _ => 0,
        }
    }

    /// The pointer of the first field in which a request differs from the one that created this payment.
    ///
    /// The stored fields are the request's fingerprint: nothing else is kept of it, and nothing of the card's number.
    /// What was erased cannot be compared.
    pub fn differs_from(&self, new: &NewPayment) -> Option<&'static str> {
        let left = self.erased_at.map(|_| new.erased());
        let new = left.as_ref().unwrap_or(new);
        let source = self.source.differs_from(&new.source);
        // Where none is named it was the payment method's.
        let is_same_customer = self.customer == new.customer || new.customer.is_none() && self.source.stored.is_some();
        let when = if matches!(new.when, When::At(_)) { "/process_at" } else { "/delay_seconds" };
        [
            (self.money.amount() != new.money.amount(), "/amount"),
            (self.money.currency() != new.money.currency(), "/currency"),
            (source.is_some(), source.unwrap_or_default()),
            (!is_same_customer, "/customer"),
            (self.description != new.description, "/description"),
            (self.metadata != new.metadata, "/metadata"),
            (self.webhook_url != new.webhook_url, "/webhook_url"),
            (self.process_at != new.when.moment(self.created_at), when),
        ]
        .into_iter()
        .find_map(|(differs, pointer)| differs.then_some(pointer))
    }

    /// The key under which a step's outside effect happens: the same for every attempt (invariant 5).
    pub fn step_key(&self, step: Step) -> String {
        if mutated(Mutation::FreshKeyPerAttempt) {
            return format!("{}/{}/{}", self.id, step.as_str(), self.journal.len());
        }
        format!("{}/{}", self.id, step.as_str())
    }

    /// The payment as the API shows it.
    pub fn view(&self) -> PaymentView {
        let (refunded_at, refunds) = self.refunded.unwrap_or((self.updated_at, 0));
        PaymentView {
            id: self.id.clone(),
            object: PaymentObject::Payment,
            status: self.status,
            amount: self.money.amount(),
            currency: self.money.currency(),
            amount_refunded: self.amount_refunded,
            source: self.source.view(),
            customer: self.customer.clone(),
            description: self.description.clone(),
            metadata: self.metadata.clone(),
            webhook_url: self.webhook_url.clone(),
            failure: self.failure.clone(),
            gateway_reference: self.gateway_reference.clone(),
            process_at: self.process_at,
            cancel_requested: self.is_cancel_requested(),
            stuck: self.stuck.is_some(),
            created_at: self.created_at,
            updated_at: self.updated_at.max(refunded_at),
            version: self.version.saturating_add(refunds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_terminal_status() {
        for from in Status::ALL {
            assert_eq!(Status::from_name(from.as_str()), Some(from));
            for to in Status::ALL {
                assert!(!(from.is_terminal() && from.may_become(to)), "{from:?} -> {to:?}");
            }
        }
    }
}
