//! Drains the processing queue: every payment and refund is claimed, brought through its steps and ended, whatever
//! crashes on the way.
//!
//! What to do is decided by the pure reducers in `florin_domain::saga` and `florin_domain::refund`; this crate does it,
//! one outside step at a time: journal the intent, act, journal what came of it (both by conditional writes), publish,
//! acknowledge.

mod gate;
mod payments;
mod refunds;

use std::{sync::Arc, time::Duration};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use florin_domain::{
    event::{Event, EventData, EventType},
    ids::MerchantId,
    journal::Failure,
    mutation::{Mutation, mutated},
};
use florin_messaging::{
    Delivered, Outcome, PublishError, Publisher, Queue,
    batch::{self, UnanswerableBatch},
};
use florin_platform::{cache::Cache, clock::Clock};
use florin_store::{
    StoreError,
    merchants::Merchants,
    payments::{DUE_AFTER_MS, HANDOVER_MS, Payments},
};

pub use crate::gate::Gate;

/// For how long a merchant's state is believed, in milliseconds.
pub const MERCHANT_AGE_MS_MAX: i64 = 30_000;
/// Merchants remembered by one instance.
const MERCHANTS_REMEMBERED_MAX: usize = 10_000;
/// After a lost race the winner's state is looked at again: in milliseconds.
const LOST_RACE_WAIT_MS: i64 = 1_000;
/// Steps taken in one turn: a charge, and the compensation of one that was canceled meanwhile.
const STEPS_PER_TURN_MAX: usize = 2;
/// What waits for the gateway comes back this much later than the breaker's next probe, at most, in percent of the
/// wait: not everything at once.
const SPREAD_PERCENT_MAX: i64 = 25;
/// A wait that the due index keeps better than a queue, in milliseconds.
const LONG_WAIT_MS: i64 = HANDOVER_MS + 2 * DUE_AFTER_MS;

/// The processor and what it works with.
pub struct Processor {
    payments: Payments,
    merchants: Merchants,
    gate: Gate,
    publisher: Arc<dyn Publisher>,
    queue: Queue,
    clock: Clock,
    active_merchants: Cache<MerchantId, bool>,
    jitter: fn() -> u8,
}

/// Why a message could not be brought to an end in this turn. It comes again when its visibility time-out ends.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("there is no such payment or refund")]
    Unknown,
}

impl Processor {
    /// A processor that works with these.
    pub fn new(
        payments: Payments,
        merchants: Merchants,
        gate: Gate,
        publisher: Arc<dyn Publisher>,
        queue: Queue,
        clock: Clock,
    ) -> Self {
        let active_merchants = Cache::new(MERCHANT_AGE_MS_MAX, MERCHANTS_REMEMBERED_MAX);
        Self {
            payments,
            merchants,
            gate,
            publisher,
            queue,
            clock,
            active_merchants,
            jitter: florin_platform::random::percent,
        }
    }

    /// The processor with random numbers, from 0 to 99, of its caller's choice.
    #[must_use]
    pub fn with_jitter(self, jitter: fn() -> u8) -> Self {
        Self { jitter, ..self }
    }

    /// Handles a batch; every payment ends, waits or fails by itself.
    pub async fn handle(
        &self,
        batch: SqsEvent,
        time_left: Option<Duration>,
    ) -> Result<SqsBatchResponse, UnanswerableBatch> {
        batch::each(batch, time_left, &self.queue, |delivered| self.message(delivered)).await
    }

    async fn message(&self, Delivered { event, receives }: Delivered) -> Outcome {
        let outcome = self.turn(&event).await;
        let (subject, merchant_id, correlation_id) = (&event.subject, &event.merchantid, &event.correlationid);
        match outcome {
            Ok(outcome) => {
                tracing::info!(subject, %merchant_id, correlation_id, receives, ?outcome, "turn ended");
                outcome
            }
            Err(trouble) => {
                tracing::error!(subject, %merchant_id, correlation_id, receives, error = %trouble, "turn broke off");
                Outcome::Retry(trouble.to_string())
            }
        }
    }

    /// One turn of a payment or refund, unless the gateway is away: then it waits, untouched.
    async fn turn(&self, event: &Event) -> Result<Outcome, Trouble> {
        let passage = match self.gate.enter().await? {
            Ok(passage) => passage,
            Err(wait_ms) => return Ok(wait_for_gateway(wait_ms, (self.jitter)())),
        };
        let outcome = match (&event.data, event.event_type) {
            (EventData::Payment(payment), EventType::PaymentInitiated) => {
                self.payment_turn(&passage, event, payment).await
            }
            (EventData::Refund(refund), EventType::RefundInitiated) => self.refund_turn(&passage, event, refund).await,
            _ => Ok(Outcome::Done),
        };
        self.gate.leave(&passage).await;
        outcome
    }

    /// Publishes an end. A message that comes again publishes again, with the same event id (invariant 2).
    async fn announce(&self, end: Option<Event>) -> Result<Outcome, Trouble> {
        if let Some(event) = end {
            let published = self.publisher.publish(&event).await;
            if !mutated(Mutation::AckBeforePublish) {
                published?;
            }
        }
        Ok(Outcome::Done)
    }

    async fn is_active(&self, id: &MerchantId) -> Result<bool, StoreError> {
        let now = self.clock.now();
        if let Some(active) = self.active_merchants.get(id, now) {
            return Ok(active);
        }
        let active = self.merchants.merchant(id).await?.is_some_and(|merchant| merchant.active);
        // That a merchant is not active is not believed for longer than this once: it may just have become so.
        if active {
            self.active_merchants.put(id.clone(), active, now);
        }
        Ok(active)
    }
}

/// Nothing more can be done without one.
fn call_a_person(id: &str, reason: Option<&Failure>) -> Outcome {
    let reason = reason.map_or("", |reason| reason.code.as_str());
    tracing::error!(id, reason, "stuck: a person must look at it");
    Outcome::Done
}

/// Until the next attempt or the end of another's lease: the message is hidden.
fn wait(ms: i64) -> Outcome {
    Outcome::RetryAfter(duration(ms))
}

/// Until the moment of a scheduled payment: SQS keeps a fresh copy for exactly so long. Longer waits are the due
/// index'.
fn wait_for_moment(ms: i64) -> Outcome {
    if ms > LONG_WAIT_MS { Outcome::Done } else { Outcome::Requeue(duration(ms)) }
}

/// While the breaker is open. A fresh copy waits, so that a long outage uses up no receives.
fn wait_for_gateway(ms: i64, jitter: u8) -> Outcome {
    let spread = ms * SPREAD_PERCENT_MAX / 100 * i64::from(jitter) / 100;
    Outcome::Requeue(duration(ms + spread))
}

fn duration(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
