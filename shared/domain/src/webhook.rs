//! Webhooks: endpoints, deliveries and their attempts (<https://www.standardwebhooks.com>).

use serde::Serialize;

use crate::{
    event::{Event, EventData},
    ids::{DeliveryId, MerchantId, WebhookEndpointId},
    time::Timestamp,
};

/// Tries of one delivery. The waits between them are `WAITS_MS`.
pub const ATTEMPTS_MAX: u32 = 7;
/// Waits after the first, second, … failed try, in milliseconds, before jitter. All fit a message's visibility (12 h).
pub const WAITS_MS: [i64; 6] = [5_000, 30_000, 120_000, 600_000, 1_800_000, 7_200_000];
/// The jitter's share of a wait, in percent: a wait lasts between 100 % and 120 % of its value.
pub const WAIT_JITTER_PERCENT: i64 = 20;
/// Endpoints of one merchant.
pub const ENDPOINTS_PER_MERCHANT_MAX: usize = 10;

/// Where a merchant wants its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEndpoint {
    /// Id; its signing secret is derived from it.
    pub id: WebhookEndpointId,
    /// Whose endpoint it is.
    pub merchant_id: MerchantId,
    /// Where it listens.
    pub url: String,
    /// Which generation of its signing secret is in use.
    pub secret_generation: u32,
    /// Whether it gets events.
    pub enabled: bool,
}

/// Which secret signs a delivery: the merchant's for a payment's own `webhook_url`, an endpoint's for the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The payment's own `webhook_url`.
    PaymentUrl(String),
    /// A registered endpoint.
    Endpoint(WebhookEndpoint),
}

impl Target {
    /// Where the delivery goes.
    pub fn url(&self) -> &str {
        match self {
            Self::PaymentUrl(url) => url,
            Self::Endpoint(endpoint) => &endpoint.url,
        }
    }

    /// What deliveries are listed by: the endpoint, or the payment whose own URL it is.
    pub fn owner<'a>(&'a self, event: &'a Event) -> &'a str {
        match self {
            Self::PaymentUrl(_) => &event.subject,
            Self::Endpoint(endpoint) => endpoint.id.as_str(),
        }
    }

    /// The delivery's id: the same for every attempt.
    pub fn delivery_id(&self, event: &Event) -> DeliveryId {
        DeliveryId::derive(&[self.owner(event), event.id.as_str()])
    }
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Another attempt is due.
    Retrying,
    /// The receiver answered 2xx.
    Delivered,
    /// Every attempt failed, or the address may not be called.
    Failed,
}

impl DeliveryStatus {
    /// The name in the tables and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// The status by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Retrying, Self::Delivered, Self::Failed].into_iter().find(|status| status.as_str() == name)
    }
}

/// What one HTTP try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptResult {
    /// The receiver answered with this status.
    Answered(u16),
    /// There was no answer; a stable code such as `timeout`.
    Unanswered(&'static str),
    /// The address may not be called, now or ever: a stable code.
    Refused(&'static str),
}

impl AttemptResult {
    /// 2xx is success, everything else is not; redirects are not followed.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Answered(200..=299))
    }
}

/// One event for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Id.
    pub id: DeliveryId,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Tries so far.
    pub attempts: u32,
    /// When the next one is due.
    pub next_due: Option<Timestamp>,
}

/// What follows from an attempt: a pure function of the attempts so far and this one's result.
/// `jitter` is a random number from 0 to 99.
pub fn after_attempt(
    id: DeliveryId,
    attempts_before: u32,
    result: &AttemptResult,
    now: Timestamp,
    jitter: u8,
) -> Delivery {
    let attempts = attempts_before.saturating_add(1);
    let wait = usize::try_from(attempts_before).ok().and_then(|place| WAITS_MS.get(place)).copied();
    let (status, next_due) = match (result, wait) {
        (result, _) if result.is_success() => (DeliveryStatus::Delivered, None),
        (AttemptResult::Refused(_), _) | (_, None) => (DeliveryStatus::Failed, None),
        (_, Some(wait)) => {
            let extra = wait * WAIT_JITTER_PERCENT / 100 * i64::from(jitter.min(99)) / 100;
            (DeliveryStatus::Retrying, Some(now.plus_ms(wait + extra)))
        }
    };
    Delivery { id, status, attempts, next_due }
}

/// The body that a receiver gets.
#[derive(Debug, Serialize)]
pub struct Payload<'a> {
    /// The event's id, also in `webhook-id`: what a receiver tells duplicates by.
    pub id: &'a str,
    /// Such as `payment.completed`.
    #[serde(rename = "type")]
    pub event_type: &'a str,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The resource at that moment.
    pub data: &'a EventData,
}

impl<'a> Payload<'a> {
    /// The body for an event.
    pub fn of(event: &'a Event) -> Self {
        Self { id: event.id.as_str(), event_type: event.event_type.as_str(), timestamp: event.time, data: &event.data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delivery_ends() {
        let now = Timestamp::from_ms(1_000_000);
        let id = DeliveryId::derive(&["a"]);
        let mut waits = 0;
        let mut attempts = 0;
        loop {
            let delivery = after_attempt(id.clone(), attempts, &AttemptResult::Answered(500), now, 99);
            attempts = delivery.attempts;
            if delivery.status == DeliveryStatus::Failed {
                break;
            }
            let wait = delivery.next_due.unwrap().ms_since(now);
            assert!((WAITS_MS[waits]..=WAITS_MS[waits] * 6 / 5).contains(&wait));
            waits += 1;
        }
        assert_eq!((attempts, waits), (ATTEMPTS_MAX, WAITS_MS.len()));
    }

    #[test]
    fn only_2xx_is_success_and_a_refused_address_is_final() {
        let now = Timestamp::from_ms(0);
        let status = |result| after_attempt(DeliveryId::derive(&["a"]), 0, &result, now, 0).status;
        assert_eq!(status(AttemptResult::Answered(204)), DeliveryStatus::Delivered);
        assert_eq!(status(AttemptResult::Answered(302)), DeliveryStatus::Retrying);
        assert_eq!(status(AttemptResult::Answered(400)), DeliveryStatus::Retrying);
        assert_eq!(status(AttemptResult::Unanswered("timeout")), DeliveryStatus::Retrying);
        assert_eq!(status(AttemptResult::Refused("address_forbidden")), DeliveryStatus::Failed);
    }
}
