//! Drains the processing queue: every payment is claimed, charged and ended, whatever crashes on the way.
//!
//! What to do is decided by the pure reducer in `florin_domain::saga`; this crate does it, one outside step a turn:
//! journal the intent, act, journal what came of it (both by conditional writes), publish, acknowledge.

use std::{sync::Arc, time::Duration};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use florin_domain::{
    event::{Event, EventType},
    ids::MerchantId,
    journal::{Failure, Step},
    payment::Payment,
    saga::{self, Next, StepResult, Turn},
};
use florin_gateway::{ChargeRequest, Gateway, GatewayError};
use florin_messaging::{
    Delivered, Outcome, PublishError, Publisher, Queue,
    batch::{self, UnanswerableBatch},
};
use florin_platform::{cache::Cache, clock::Clock};
use florin_store::{
    StoreError,
    merchants::Merchants,
    payments::{Payments, Written},
};

/// For how long a merchant's state is believed, in milliseconds.
pub const MERCHANT_AGE_MS_MAX: i64 = 30_000;
/// Merchants remembered by one instance.
const MERCHANTS_REMEMBERED_MAX: usize = 10_000;
/// How far the gateway's clock may be behind ours, in seconds.
const CLOCK_SKEW_SECONDS: i64 = 60;
/// After a lost race the winner's state is looked at again: in milliseconds.
const LOST_RACE_WAIT_MS: i64 = 1_000;

/// The processor and what it works with.
pub struct Processor {
    payments: Payments,
    merchants: Merchants,
    gateway: Arc<dyn Gateway>,
    publisher: Arc<dyn Publisher>,
    queue: Queue,
    clock: Clock,
    active_merchants: Cache<MerchantId, bool>,
}

/// Why a message could not be brought to an end in this turn. It comes again when its visibility time-out ends.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("there is no such payment")]
    UnknownPayment,
}

/// What came of trying to claim a payment.
enum Claim {
    /// It is ours for this turn.
    Ours(Payment),
    /// There is nothing to do for us, now.
    Not(Outcome),
}

impl Processor {
    /// A processor that works with these.
    pub fn new(
        payments: Payments,
        merchants: Merchants,
        gateway: Arc<dyn Gateway>,
        publisher: Arc<dyn Publisher>,
        queue: Queue,
        clock: Clock,
    ) -> Self {
        let active_merchants = Cache::new(MERCHANT_AGE_MS_MAX, MERCHANTS_REMEMBERED_MAX);
        Self { payments, merchants, gateway, publisher, queue, clock, active_merchants }
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
        let (payment_id, merchant_id, correlation_id) = (&event.subject, &event.merchantid, &event.correlationid);
        match outcome {
            Ok(outcome) => {
                tracing::info!(%payment_id, %merchant_id, correlation_id, receives, ?outcome, "turn ended");
                outcome
            }
            Err(trouble) => {
                tracing::error!(%payment_id, %merchant_id, correlation_id, receives, error = %trouble, "turn broke off");
                Outcome::Retry(trouble.to_string())
            }
        }
    }

    /// One turn of a payment: claim, act, write down what came of it, announce the end.
    async fn turn(&self, event: &Event) -> Result<Outcome, Trouble> {
        if event.event_type != EventType::PaymentInitiated {
            return Ok(Outcome::Done);
        }
        let claimed = match self.claim(event).await? {
            Claim::Ours(payment) => payment,
            Claim::Not(outcome) => return Ok(outcome),
        };
        let (to, next) = self.act(&claimed).await;
        match self.payments.save(&claimed, &to).await? {
            None => Err(Trouble::UnknownPayment),
            // Our lease had run out and another processor went on: what it found stands.
            Some(Written::Lost(winner)) if winner.status.is_terminal() => self.announce(&winner, event).await,
            Some(Written::Lost(_)) => Ok(wait(LOST_RACE_WAIT_MS)),
            Some(Written::Done(payment)) => match next {
                Next::Ended => self.announce(&payment, event).await,
                Next::Again { wait_ms } => Ok(wait(wait_ms)),
                Next::Stuck => {
                    tracing::error!(payment_id = %payment.id, "payment stuck: the gateway does not say whether it was charged");
                    Ok(Outcome::Done)
                }
            },
        }
    }

    /// Claims the payment: in one write if it is pending, in two if it was under way before.
    async fn claim(&self, event: &Event) -> Result<Claim, Trouble> {
        let active = self.is_active(&event.merchantid).await?;
        let now = self.clock.now();
        let invalid = saga::validate(&event.data, active, now).err();
        let journal = saga::first_journal(invalid.clone(), now);
        let current = match self.payments.claim_pending(&event.data.id, &journal, now).await? {
            None => return Err(Trouble::UnknownPayment),
            Some(Written::Done(claimed)) => return Ok(Claim::Ours(claimed)),
            Some(Written::Lost(current)) => current,
        };
        match saga::turn(&current, now) {
            Turn::Ended => self.announce(&current, event).await.map(Claim::Not),
            Turn::Parked => Ok(Claim::Not(Outcome::Done)),
            Turn::Wait { wait_ms } => Ok(Claim::Not(wait(wait_ms))),
            Turn::Run(step) => {
                let claimed = saga::claim(&current, step, invalid, now);
                match self.payments.claim_again(&current, &claimed).await? {
                    None => Err(Trouble::UnknownPayment),
                    Some(Written::Done(claimed)) => Ok(Claim::Ours(claimed)),
                    Some(Written::Lost(_)) => Ok(Claim::Not(wait(LOST_RACE_WAIT_MS))),
                }
            }
        }
    }

    /// Takes the step whose intent stands last in the journal.
    async fn act(&self, claimed: &Payment) -> (Payment, Next) {
        if let Some(failure) = saga::invalid(claimed) {
            return (saga::fail_invalid(claimed, failure.clone(), self.clock.now()), Next::Ended);
        }
        let result = match claimed.journal.last().map(|entry| entry.step) {
            Some(Step::Reconcile) => self.reconcile(claimed).await,
            _ => self.charge(claimed).await,
        };
        saga::apply(claimed, result, self.clock.now(), florin_platform::random::percent())
    }

    async fn charge(&self, payment: &Payment) -> StepResult {
        let request = ChargeRequest {
            payment_id: payment.id.as_str(),
            token: &payment.source.token,
            amount: payment.money.amount(),
            currency: payment.money.currency().code(),
            description: payment.description.as_deref(),
            key: &payment.step_key(Step::Charge),
        };
        match self.gateway.charge(&request).await {
            Ok(charge) => StepResult::Charged { reference: charge.reference },
            Err(GatewayError::Declined { code, message, reference }) => {
                StepResult::Declined { failure: Failure::new(&code, &message), reference }
            }
            Err(error) => outage(payment, error),
        }
    }

    async fn reconcile(&self, payment: &Payment) -> StepResult {
        let since = payment.created_at.seconds() - CLOCK_SKEW_SECONDS;
        match self.gateway.find_charge(payment.id.as_str(), since).await {
            Ok(Some(charge)) => StepResult::Charged { reference: charge.reference },
            Ok(None) => StepResult::NotCharged,
            Err(error) => outage(payment, error),
        }
    }

    /// Publishes the payment's end. A message that comes again publishes again, with the same event id (invariant 2).
    async fn announce(&self, payment: &Payment, cause: &Event) -> Result<Outcome, Trouble> {
        if let Some(event) = Event::ended(payment, &cause.correlation()) {
            self.publisher.publish(&event).await?;
        }
        Ok(Outcome::Done)
    }

    async fn is_active(&self, id: &MerchantId) -> Result<bool, StoreError> {
        let now = self.clock.now();
        if let Some(active) = self.active_merchants.get(id, now) {
            return Ok(active);
        }
        let active = self.merchants.merchant(id).await?.is_some_and(|merchant| merchant.active);
        self.active_merchants.put(id.clone(), active, now);
        Ok(active)
    }
}

/// What an error that is no decline says about the step.
fn outage(payment: &Payment, error: GatewayError) -> StepResult {
    match error {
        GatewayError::Unreachable { message } | GatewayError::Unavailable { message } => {
            StepResult::Unavailable { message }
        }
        GatewayError::Rejected { message } => {
            tracing::error!(payment_id = %payment.id, error = message, "the gateway rejected our request");
            StepResult::Unavailable { message: "The gateway rejected the request.".to_owned() }
        }
        GatewayError::Unknown { message } | GatewayError::Declined { message, .. } => StepResult::Unknown { message },
    }
}

fn wait(ms: i64) -> Outcome {
    Outcome::RetryAfter(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}
