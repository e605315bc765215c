//! Calling the gateway through the circuit breaker, and reading its answers as results of a step.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use florin_domain::{
    effect::StepResult,
    journal::{Failure, Step},
    payment::Payment,
    refund::Refund,
    saga,
};
use florin_gateway::{ChargeRequest, Gateway, GatewayError, RefundRequest};
use florin_platform::clock::Clock;
use florin_store::{
    StoreError,
    breaker::{Permit, SharedBreaker},
};

/// How far the gateway's clock may be behind ours, in seconds.
const CLOCK_SKEW_SECONDS: i64 = 60;
/// Longest question, in milliseconds: one that reads many pages must end while its answer can still be written down.
const ASK_MS_MAX: u64 = 5_000;
/// The gateway's word for a refund of what was given back already, by whomever.
const ALREADY_REFUNDED: &str = "already_refunded";

/// The gateway, and the breaker in front of it.
pub struct Gate {
    gateway: Arc<dyn Gateway>,
    breaker: SharedBreaker,
    clock: Clock,
}

/// Leave to call the gateway in this turn.
pub(crate) struct Passage {
    is_probe: bool,
    was_used: AtomicBool,
}

/// What a call came to, and whether the gateway is away for everybody.
pub(crate) struct Answer {
    pub(crate) result: StepResult,
    pub(crate) away: bool,
}

impl Gate {
    /// The gateway behind this breaker.
    pub fn new(gateway: Arc<dyn Gateway>, breaker: SharedBreaker, clock: Clock) -> Self {
        Self { gateway, breaker, clock }
    }

    /// Leave to call, or for how many milliseconds there is none.
    pub(crate) async fn enter(&self) -> Result<Result<Passage, i64>, StoreError> {
        let passage = |is_probe| Ok(Passage { is_probe, was_used: AtomicBool::new(false) });
        Ok(match self.breaker.admit(self.clock.now()).await? {
            Permit::Pass => passage(false),
            Permit::Probe => passage(true),
            Permit::Wait { wait_ms } => Err(wait_ms),
        })
    }

    /// Gives back a probe that was not needed, so that the next one need not wait.
    pub(crate) async fn leave(&self, passage: &Passage) {
        if passage.is_probe
            && !passage.was_used.load(Ordering::Relaxed)
            && let Err(error) = self.breaker.release(self.clock.now()).await
        {
            tracing::warn!(%error, "the probe of the breaker ends by itself");
        }
    }

    /// Takes the step whose intent stands last in the payment's journal.
    pub(crate) async fn take(&self, passage: &Passage, payment: &Payment) -> Answer {
        let step = payment.journal.last().map(|entry| entry.step);
        let result = match (step, &payment.gateway_reference) {
            (Some(Step::Reconcile), Some(reference)) if saga::is_charged(payment) => {
                ask(self.gateway.find_refund(reference, payment.id.as_str())).await.map(found)
            }
            (Some(Step::Reconcile), _) => {
                let charge = ask(self.gateway.find_charge(payment.id.as_str(), first_charge(payment))).await;
                charge.map(|charge| found(charge.map(|charge| charge.reference)))
            }
            (_, Some(reference)) if saga::is_charged(payment) => self.compensate(payment, reference).await,
            _ => self.charge(payment).await,
        };
        self.answer(passage, payment.id.as_str(), result).await
    }

    /// Takes the step whose intent stands last in the refund's journal.
    pub(crate) async fn take_refund(&self, passage: &Passage, refund: &Refund) -> Answer {
        let asking = refund.journal.last().is_some_and(|entry| entry.step == Step::Reconcile);
        let result = if asking {
            ask(self.gateway.find_refund(&refund.charge_reference, refund.id.as_str())).await.map(found)
        } else {
            let request = RefundRequest {
                refund_id: refund.id.as_str(),
                reference: &refund.charge_reference,
                amount: refund.money.amount(),
                key: &refund.key(),
            };
            self.gateway.refund(&request).await.map(done)
        };
        self.answer(passage, refund.id.as_str(), result).await
    }

    async fn charge(&self, payment: &Payment) -> Result<StepResult, GatewayError> {
        let request = ChargeRequest {
            payment_id: payment.id.as_str(),
            token: &payment.source.token,
            customer: payment.source.stored.as_ref().map(|stored| stored.gateway_customer.as_str()),
            amount: payment.money.amount(),
            currency: payment.money.currency().code(),
            description: payment.description.as_deref(),
            key: &payment.step_key(Step::Charge),
        };
        self.gateway.charge(&request).await.map(|charge| done(charge.reference))
    }

    /// Gives back what was charged, whole.
    async fn compensate(&self, payment: &Payment, reference: &str) -> Result<StepResult, GatewayError> {
        let request = RefundRequest {
            refund_id: payment.id.as_str(),
            reference,
            amount: payment.money.amount(),
            key: &payment.step_key(Step::Compensate),
        };
        match self.gateway.refund(&request).await {
            Err(GatewayError::Declined { code, .. }) if code == ALREADY_REFUNDED => Ok(done(reference.to_owned())),
            result => result.map(done),
        }
    }

    /// Tells the breaker how the call went, and reads the answer.
    async fn answer(&self, passage: &Passage, id: &str, result: Result<StepResult, GatewayError>) -> Answer {
        passage.was_used.store(true, Ordering::Relaxed);
        let now = self.clock.now();
        let failed = matches!(
            result,
            Err(GatewayError::Unavailable { .. } | GatewayError::Unreachable { .. } | GatewayError::Unknown { .. })
        );
        let closed =
            if failed { self.breaker.failed(now).await } else { self.breaker.succeeded(now).await.map(|()| true) };
        // A breaker that cannot be written is as good as closed: it protects the gateway, not the payment.
        let closed = closed.unwrap_or_else(|error| {
            tracing::warn!(%error, "the breaker was not told of a call");
            true
        });
        Answer { result: result.unwrap_or_else(|error| read(id, error)), away: !closed }
    }
}

/// When the first charge was tried, in Unix seconds: no charge of this payment is older.
fn first_charge(payment: &Payment) -> i64 {
    let charges = payment.journal.iter().filter(|entry| entry.step == Step::Charge);
    let first = charges.map(|entry| entry.started_at).min().unwrap_or(payment.created_at);
    first.seconds() - CLOCK_SKEW_SECONDS
}

async fn ask<T>(question: impl Future<Output = Result<T, GatewayError>>) -> Result<T, GatewayError> {
    let in_time = tokio::time::timeout(Duration::from_millis(ASK_MS_MAX), question).await;
    in_time.unwrap_or_else(|_| Err(GatewayError::Unknown { message: "the list did not end in time".to_owned() }))
}

fn done(reference: String) -> StepResult {
    StepResult::Done { reference }
}

fn found(reference: Option<String>) -> StepResult {
    reference.map_or(StepResult::NotDone, done)
}

/// What an error of the gateway says about the step.
fn read(id: &str, error: GatewayError) -> StepResult {
    match error {
        GatewayError::Declined { code, message, reference } => {
            StepResult::Refused { failure: Failure::new(&code, &message), reference }
        }
        GatewayError::Unavailable { message } => StepResult::Unavailable { message },
        GatewayError::Unreachable { message } => StepResult::Unreachable { message },
        GatewayError::Unknown { message } => StepResult::Unknown { message },
        GatewayError::Rejected { message } => {
            tracing::error!(id, error = message, "the gateway rejected our request");
            StepResult::Unavailable { message: "The gateway rejected the request.".to_owned() }
        }
    }
}
