//! A gateway that charges once per key and behaves as the card's last four digits say, whatever happens to its answers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use florin_domain::card::Card;
use florin_gateway::{CardToken, Charge, ChargeRequest, Gateway, GatewayError};
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
}

/// A charge that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) payment_id: String,
    pub(crate) amount: i64,
    pub(crate) reference: String,
}

#[derive(Debug, Default)]
struct State {
    /// By key.
    charges: BTreeMap<String, Taken>,
    /// Calls under a key so far.
    calls: BTreeMap<String, u32>,
    silent: Vec<String>,
    tokens: usize,
}

/// The gateway as one function sees it.
#[derive(Clone)]
pub(crate) struct CardGateway {
    state: Arc<Mutex<State>>,
    faults: Faults,
    component: &'static str,
}

impl CardGateway {
    pub(crate) fn new(faults: &Faults) -> Self {
        Self { state: Arc::default(), faults: faults.clone(), component: "" }
    }

    /// The same gateway for a function of this name.
    pub(crate) fn seen_by(&self, component: &'static str) -> Arc<dyn Gateway> {
        Arc::new(Self { component, ..self.clone() })
    }

    /// The charges taken for a payment.
    pub(crate) fn taken(&self, payment_id: &str) -> Vec<Taken> {
        let state = self.state.lock().unwrap();
        state.charges.values().filter(|taken| taken.payment_id == payment_id).cloned().collect()
    }

    /// How many charges were taken in all.
    pub(crate) fn charges(&self) -> usize {
        self.state.lock().unwrap().charges.len()
    }

    async fn pass<T>(
        &self,
        label: &str,
        effect: impl Fn(&mut State) -> Result<T, GatewayError>,
    ) -> Result<T, GatewayError> {
        let effect = async || effect(&mut self.state.lock().unwrap());
        match self.faults.pass(self.component, Kind::Gateway, label, effect).await {
            Ok(result) => result,
            Err(Fault::ErrorBefore) => Err(unavailable()),
            Err(_) => Err(unknown()),
        }
    }
}

fn unavailable() -> GatewayError {
    GatewayError::Unavailable { message: "told to".to_owned() }
}

fn unknown() -> GatewayError {
    GatewayError::Unknown { message: "told to".to_owned() }
}

impl State {
    fn charge(&mut self, charge: &ChargeRequest<'_>) -> Result<Charge, GatewayError> {
        let calls = self.calls.entry(charge.key.to_owned()).or_default();
        *calls += 1;
        let (calls, card) = (*calls, charge.token.split('_').nth(1).unwrap_or_default());
        match card {
            cards::DECLINED => {
                return Err(GatewayError::Declined {
                    code: "insufficient_funds".to_owned(),
                    message: "Declined.".to_owned(),
                    reference: None,
                });
            }
            cards::UNAVAILABLE => return Err(unavailable()),
            cards::FLAKY if calls <= 2 => return Err(unavailable()),
            cards::NEVER_TAKEN => return Err(unknown()),
            cards::SILENT => self.silent.push(charge.payment_id.to_owned()),
            _ => {}
        }
        let reference = format!("pi_{}", self.charges.len());
        let (payment_id, amount) = (charge.payment_id.to_owned(), charge.amount);
        let taken = self.charges.entry(charge.key.to_owned()).or_insert(Taken { payment_id, amount, reference });
        let charge = Charge { reference: taken.reference.clone() };
        match card {
            cards::LOST_ONCE if calls == 1 => Err(unknown()),
            cards::LOST_ALWAYS | cards::SILENT => Err(unknown()),
            _ => Ok(charge),
        }
    }

    fn find(&self, payment_id: &str) -> Result<Option<Charge>, GatewayError> {
        if self.silent.iter().any(|silent| silent == payment_id) {
            return Err(unknown());
        }
        let taken = self.charges.values().find(|taken| taken.payment_id == payment_id);
        Ok(taken.map(|taken| Charge { reference: taken.reference.clone() }))
    }
}

#[async_trait]
impl Gateway for CardGateway {
    async fn tokenise(&self, card: &Card, _key: &str) -> Result<CardToken, GatewayError> {
        self.pass("gateway.tokenise", |state| {
            state.tokens += 1;
            Ok(CardToken { token: format!("pm_{}_{}", card.last4(), state.tokens) })
        })
        .await
    }

    async fn charge(&self, charge: &ChargeRequest<'_>) -> Result<Charge, GatewayError> {
        self.pass("gateway.charge", |state| state.charge(charge)).await
    }

    async fn find_charge(&self, payment_id: &str, _created_after: i64) -> Result<Option<Charge>, GatewayError> {
        self.pass("gateway.find_charge", |state| state.find(payment_id)).await
    }

    async fn refund(&self, _reference: &str, _amount: i64, key: &str) -> Result<String, GatewayError> {
        self.pass("gateway.refund", |_| Ok(format!("re_{key}"))).await
    }
}
