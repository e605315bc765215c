//! The card gateway: what Florin asks of one, and the adapter for Stripe's HTTP API.
//!
//! Every call that changes something carries a key that stays the same between attempts, so repeating it is safe
//! (architecture, invariant 5). What an error says about repeating is in [`GatewayError`]; `docs/gateway.md` has the
//! table from Stripe's answers to ours.

mod answer;
mod stripe;

use async_trait::async_trait;
use florin_domain::card::Card;

pub use stripe::{GATEWAY_REQUEST_TIMEOUT_MS, StripeGateway};

/// A card gateway, as much of it as Florin uses.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Exchanges a card for a token that may be stored. Idempotent by key.
    ///
    /// # Errors
    /// See [`GatewayError`]; a card the gateway refuses is `Declined`.
    async fn tokenise(&self, card: &Card, key: &str) -> Result<CardToken, GatewayError>;

    /// Attaches a token to a new customer of the gateway, whose id it answers: from then on the token may be charged
    /// any number of times, with that customer. `reference` is our name for it, by which people find it. Idempotent by
    /// key.
    ///
    /// # Errors
    /// See [`GatewayError`]; a card that the gateway refuses to keep is `Declined`.
    async fn attach(&self, token: &str, reference: &str, key: &str) -> Result<String, GatewayError>;

    /// Detaches a token from its customer, for good: nothing can be charged with it any more. A token that is not
    /// attached, or that there is none of, is as good as detached.
    ///
    /// # Errors
    /// See [`GatewayError`].
    async fn detach(&self, token: &str, key: &str) -> Result<(), GatewayError>;

    /// Takes the money. Idempotent by key.
    ///
    /// # Errors
    /// See [`GatewayError`]; a token that is not attached to the customer that the charge names is `Declined` with
    /// [`CODE_PAYMENT_METHOD_DELETED`].
    async fn charge(&self, charge: &ChargeRequest<'_>) -> Result<Charge, GatewayError>;

    /// Looks up whether a payment was charged, among the charges since `created_after` (Unix seconds); `None` says that
    /// there is no charge. An attempt that was declined is not a charge.
    ///
    /// It says what is true now: a charge request that the gateway still works on can show up afterwards.
    ///
    /// # Errors
    /// See [`GatewayError`]; `Unknown` also where there are more charges to look through than the adapter reads, or
    /// where the gateway is still working on this payment's charge.
    async fn find_charge(&self, payment_id: &str, created_after: i64) -> Result<Option<Charge>, GatewayError>;

    /// Gives money back and answers the gateway's reference of the refund. Idempotent by key.
    ///
    /// # Errors
    /// See [`GatewayError`]; what cannot be given back (already refunded, more than is left, refused by the card's
    /// issuer) is `Declined`.
    async fn refund(&self, refund: &RefundRequest<'_>) -> Result<String, GatewayError>;

    /// Looks up whether a refund of the charge `reference` was made, and answers the gateway's reference of it; `None`
    /// says that there is none. Like [`Self::find_charge`] it says what is true now.
    ///
    /// # Errors
    /// See [`GatewayError`]; `Declined` where the refund is there and has failed, `Unknown` also where the charge has
    /// more refunds than the adapter reads.
    async fn find_refund(&self, reference: &str, refund_id: &str) -> Result<Option<String>, GatewayError>;
}

/// Why a charge with a stored card is declined whose card the gateway does not keep any more.
pub const CODE_PAYMENT_METHOD_DELETED: &str = "payment_method_deleted";

/// A card at the gateway, without its number.
#[derive(Clone, PartialEq, Eq)]
pub struct CardToken {
    /// The gateway's id of the payment method, `pm_…`.
    pub token: String,
    /// The gateway's name for the number, the same for the same number.
    pub fingerprint: Option<String>,
}

/// One charge to make.
#[derive(Clone, Copy)]
pub struct ChargeRequest<'a> {
    /// Goes along as metadata, so that the charge can be found again.
    pub payment_id: &'a str,
    /// What [`Gateway::tokenise`] answered.
    pub token: &'a str,
    /// What [`Gateway::attach`] answered. A token without a customer can be charged once.
    pub customer: Option<&'a str>,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217, in any case.
    pub currency: &'a str,
    /// Shown to people at the gateway.
    pub description: Option<&'a str>,
    /// The same for every attempt of this charge.
    pub key: &'a str,
}

/// A charge that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The gateway's id of it, `pi_…`.
    pub reference: String,
}

/// One refund to make.
#[derive(Debug, Clone, Copy)]
pub struct RefundRequest<'a> {
    /// Goes along as metadata, so that the refund can be found again.
    pub refund_id: &'a str,
    /// What [`Gateway::charge`] answered.
    pub reference: &'a str,
    /// Minor units.
    pub amount: i64,
    /// The same for every attempt of this refund.
    pub key: &'a str,
}

/// Why the gateway did not do what it was asked, sorted by what the caller may do next.
///
/// No message contains a card number, a CVV, a token or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// The gateway refused for good; the same key gets the same answer for ever.
    #[error("the gateway declined: {code}")]
    Declined {
        /// One of the codes of product.md, such as `insufficient_funds`.
        code: String,
        /// Safe to show to a customer.
        message: String,
        /// The gateway's id of the refused attempt, if it has one.
        reference: Option<String>,
    },
    /// The request certainly did not get to the gateway: there was no connection. Trying again later can work.
    #[error("the gateway cannot be reached: {message}")]
    Unreachable {
        /// For the log.
        message: String,
    },
    /// The gateway answered that it did nothing; trying again later can work.
    #[error("the gateway is unavailable: {message}")]
    Unavailable {
        /// For the log.
        message: String,
    },
    /// Nobody knows whether it happened; try again with the same key, or look with [`Gateway::find_charge`] or
    /// [`Gateway::find_refund`].
    #[error("it is unknown whether the gateway acted: {message}")]
    Unknown {
        /// For the log.
        message: String,
    },
    /// Our own fault, a bug or a misconfiguration; trying again changes nothing.
    #[error("the gateway rejected the request: {message}")]
    Rejected {
        /// For the log.
        message: String,
    },
}

impl GatewayError {
    /// Whether repeating the call with the same key can end differently.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable { .. } | Self::Unknown { .. })
    }
}

impl std::fmt::Debug for CardToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CardToken(****)")
    }
}

impl std::fmt::Debug for ChargeRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChargeRequest")
            .field("payment_id", &self.payment_id)
            .field("amount", &self.amount)
            .field("currency", &self.currency)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
