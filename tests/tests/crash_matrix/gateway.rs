//! A gateway that acts once per key and behaves as the card's last four digits say, whatever happens to its answers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use florin_domain::{card::Card, time::Timestamp};
use florin_gateway::{
    CODE_PAYMENT_METHOD_DELETED, CardToken, Charge, ChargeRequest, Gateway, GatewayError, RefundRequest,
};
use florin_platform::clock::Clock;
use florin_store::payments::Payments;
use florin_testing::faults::{Fault, Faults, Kind};

/// How a card behaves, by its last four digits.
pub(crate) mod cards {
    /// Approved.
    pub(crate) const APPROVED: &str = "4242";
    /// Declined: insufficient funds.
    pub(crate) const DECLINED: &str = "0000";
    /// The gateway is never available for it.
    pub(crate) const UNAVAILABLE: &str = "9999";
    /// Unavailable twice, then approved.
    pub(crate) const FLAKY: &str = "0555";
    /// The first charge is taken, but its answer is lost.
    pub(crate) const LOST_ONCE: &str = "0119";
    /// The charge is taken, but no answer to it ever comes.
    pub(crate) const LOST_ALWAYS: &str = "0223";
    /// The charge is never taken, and no answer to it ever comes.
    pub(crate) const NEVER_TAKEN: &str = "0333";
    /// The charge is taken, and neither it nor a question about it is ever answered.
    pub(crate) const SILENT: &str = "0444";
    /// Approved, but the merchant cancels while the gateway is at it.
    pub(crate) const CANCELED_MEANWHILE: &str = "0666";
    /// Approved, but nothing can be given back.
    pub(crate) const NOT_REFUNDABLE: &str = "0777";
    /// Approved, but the first answer to a refund is lost.
    pub(crate) const REFUND_LOST_ONCE: &str = "0888";
}

/// A charge or refund that was made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// The payment's id, or the refund's.
    pub(crate) ours: String,
    pub(crate) amount: i64,
    pub(crate) reference: String,
    /// Of the charge, if this is a refund of it.
    pub(crate) charge: String,
    card: String,
}

#[derive(Debug, Default)]
struct State {
    /// By key.
    charges: BTreeMap<String, Made>,
    /// By key.
    refunds: BTreeMap<String, Made>,
    /// Calls under a key so far.
    calls: BTreeMap<String, u32>,
    /// The customer that a token is attached to, by token; `None` once it was detached.
    customers: BTreeMap<String, Option<String>>,
    silent: Vec<String>,
    tokens: usize,
    asked_for_too_much: usize,
    away_until: Option<Timestamp>,
}

/// The gateway as one function sees it.
#[derive(Clone)]
pub(crate) struct CardGateway {
    state: Arc<Mutex<State>>,
    faults: Faults,
    clock: Clock,
    /// Where the merchant cancels what the gateway is at.
    payments: Payments,
    component: &'static str,
}

impl CardGateway {
    pub(crate) fn new(faults: &Faults, clock: &Clock, payments: Payments) -> Self {
        Self { state: Arc::default(), faults: faults.clone(), clock: clock.clone(), payments, component: "" }
    }

    /// The same gateway for a function of this name.
    pub(crate) fn seen_by(&self, component: &'static str) -> Arc<dyn Gateway> {
        Arc::new(Self { component, ..self.clone() })
    }

    /// Nothing reaches it before this moment.
    pub(crate) fn away_until(&self, until: Timestamp) {
        self.state.lock().unwrap().away_until = Some(until);
    }

    /// The charges taken for a payment.
    pub(crate) fn charged(&self, payment_id: &str) -> Vec<Made> {
        let state = self.state.lock().unwrap();
        state.charges.values().filter(|made| made.ours == payment_id).cloned().collect()
    }

    /// What was given back of a charge.
    pub(crate) fn refunded(&self, charge: &str) -> Vec<Made> {
        let state = self.state.lock().unwrap();
        state.refunds.values().filter(|made| made.charge == charge).cloned().collect()
    }

    /// The customer that a token is attached to.
    pub(crate) fn customer_of(&self, token: &str) -> Option<String> {
        self.state.lock().unwrap().customers.get(token).cloned().flatten()
    }

    /// How often more was to be given back than had been taken.
    pub(crate) fn asked_for_too_much(&self) -> usize {
        self.state.lock().unwrap().asked_for_too_much
    }

    async fn pass<T>(
        &self,
        label: &str,
        effect: impl Fn(&mut State) -> Result<T, GatewayError>,
    ) -> Result<T, GatewayError> {
        let effect = async || {
            let mut state = self.state.lock().unwrap();
            if state.away_until.is_some_and(|until| self.clock.now() < until) {
                return Err(unreachable());
            }
            effect(&mut state)
        };
        match self.faults.pass(self.component, Kind::Gateway, label, effect).await {
            Ok(result) => result,
            Err(Fault::ErrorBefore) => Err(unavailable()),
            Err(Fault::Unreachable) => Err(unreachable()),
            Err(_) => Err(unknown()),
        }
    }
}

fn unavailable() -> GatewayError {
    GatewayError::Unavailable { message: "told to".to_owned() }
}

fn unreachable() -> GatewayError {
    GatewayError::Unreachable { message: "told to".to_owned() }
}

fn unknown() -> GatewayError {
    GatewayError::Unknown { message: "told to".to_owned() }
}

fn declined(code: &str) -> GatewayError {
    GatewayError::Declined { code: code.to_owned(), message: "Declined.".to_owned(), reference: None }
}

fn card_of(token: &str) -> &str {
    token.split('_').nth(1).unwrap_or_default()
}

impl State {
    fn calls(&mut self, key: &str) -> u32 {
        let calls = self.calls.entry(key.to_owned()).or_default();
        *calls += 1;
        *calls
    }

    fn charge(&mut self, charge: &ChargeRequest<'_>) -> Result<Charge, GatewayError> {
        let (calls, card) = (self.calls(charge.key), card_of(charge.token));
        let attached = self.customers.get(charge.token).cloned().flatten();
        if attached.as_deref() != charge.customer && !self.charges.contains_key(charge.key) {
            return Err(declined(CODE_PAYMENT_METHOD_DELETED));
        }
        match card {
            cards::DECLINED => return Err(declined("insufficient_funds")),
            cards::UNAVAILABLE => return Err(unavailable()),
            cards::FLAKY if calls <= 2 => return Err(unavailable()),
            cards::NEVER_TAKEN => return Err(unknown()),
            cards::SILENT => self.silent.push(charge.payment_id.to_owned()),
            _ => {}
        }
        let made = Made {
            ours: charge.payment_id.to_owned(),
            amount: charge.amount,
            reference: format!("pi_{}", self.charges.len()),
            charge: String::new(),
            card: card.to_owned(),
        };
        let reference = self.charges.entry(charge.key.to_owned()).or_insert(made).reference.clone();
        match card {
            cards::LOST_ONCE if calls == 1 => Err(unknown()),
            cards::LOST_ALWAYS | cards::SILENT => Err(unknown()),
            _ => Ok(Charge { reference }),
        }
    }

    fn find_charge(&self, payment_id: &str) -> Result<Option<Charge>, GatewayError> {
        if self.silent.iter().any(|silent| silent == payment_id) {
            return Err(unknown());
        }
        let made = self.charges.values().find(|made| made.ours == payment_id);
        Ok(made.map(|made| Charge { reference: made.reference.clone() }))
    }

    fn refund(&mut self, refund: &RefundRequest<'_>) -> Result<String, GatewayError> {
        let calls = self.calls(refund.key);
        let charge = self.charges.values().find(|made| made.reference == refund.reference).cloned();
        let charge = charge.ok_or_else(|| declined("no_such_charge"))?;
        if charge.card == cards::NOT_REFUNDABLE {
            return Err(declined("refund_refused"));
        }
        if !self.refunds.contains_key(refund.key) {
            let before: i64 =
                self.refunds.values().filter(|made| made.charge == refund.reference).map(|made| made.amount).sum();
            if before + refund.amount > charge.amount {
                self.asked_for_too_much += 1;
                return Err(declined("already_refunded"));
            }
            let made = Made {
                ours: refund.refund_id.to_owned(),
                amount: refund.amount,
                reference: format!("re_{}", self.refunds.len()),
                charge: refund.reference.to_owned(),
                card: String::new(),
            };
            self.refunds.insert(refund.key.to_owned(), made);
        }
        match charge.card.as_str() {
            cards::REFUND_LOST_ONCE if calls == 1 => Err(unknown()),
            _ => Ok(self.refunds[refund.key].reference.clone()),
        }
    }
}

#[async_trait]
impl Gateway for CardGateway {
    async fn tokenise(&self, card: &Card, _key: &str) -> Result<CardToken, GatewayError> {
        self.pass("gateway.tokenise", |state| {
            state.tokens += 1;
            let token = format!("pm_{}_{}", card.last4(), state.tokens);
            Ok(CardToken { token, fingerprint: Some(format!("print_{}", card.last4())) })
        })
        .await
    }

    async fn attach(&self, token: &str, _reference: &str, _key: &str) -> Result<String, GatewayError> {
        self.pass("gateway.attach", |state| {
            let customer = format!("cus_of_{token}");
            state.customers.insert(token.to_owned(), Some(customer.clone()));
            Ok(customer)
        })
        .await
    }

    async fn detach(&self, token: &str, _key: &str) -> Result<(), GatewayError> {
        self.pass("gateway.detach", |state| {
            state.customers.insert(token.to_owned(), None);
            Ok(())
        })
        .await
    }

    async fn charge(&self, charge: &ChargeRequest<'_>) -> Result<Charge, GatewayError> {
        if card_of(charge.token) == cards::CANCELED_MEANWHILE {
            let payment =
                self.payments.get_of_any_merchant(&charge.payment_id.parse().unwrap()).await.unwrap().unwrap();
            self.payments.request_cancel(&payment, self.clock.now()).await.unwrap();
        }
        self.pass("gateway.charge", |state| state.charge(charge)).await
    }

    async fn find_charge(&self, payment_id: &str, _created_after: i64) -> Result<Option<Charge>, GatewayError> {
        self.pass("gateway.find_charge", |state| state.find_charge(payment_id)).await
    }

    async fn refund(&self, refund: &RefundRequest<'_>) -> Result<String, GatewayError> {
        self.pass("gateway.refund", |state| state.refund(refund)).await
    }

    async fn find_refund(&self, reference: &str, refund_id: &str) -> Result<Option<String>, GatewayError> {
        self.pass("gateway.find_refund", |state| {
            let made = state.refunds.values().find(|made| made.charge == reference && made.ours == refund_id);
            Ok(made.map(|made| made.reference.clone()))
        })
        .await
    }
}
