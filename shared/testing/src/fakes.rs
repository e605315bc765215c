//! Fakes of the ports. They keep the promises of the real ones, and can be told to fail.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use florin_domain::{card::Card, event::Event};
use florin_gateway::{CardToken, Charge, ChargeRequest, Gateway, GatewayError};
use florin_messaging::{Failed, FailureLog, Later, PublishError, Publisher, Queue, Visibility, visibility::Change};

/// Remembers what was published; publishing can be made to fail.
#[derive(Debug, Default)]
pub struct RecordingPublisher {
    events: Mutex<Vec<Event>>,
    failures: Mutex<u32>,
}

impl RecordingPublisher {
    /// Everything published so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// The next `count` publishes fail.
    pub fn fail_next(&self, count: u32) {
        *self.failures.lock().unwrap() = count;
    }
}

#[async_trait]
impl Publisher for RecordingPublisher {
    async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(PublishError("told to fail".to_owned()));
        }
        self.events.lock().unwrap().push(event.clone());
        Ok(())
    }
}

/// Remembers which messages were hidden for how long, and which copies were sent.
#[derive(Debug, Default)]
pub struct RecordingVisibility {
    changes: Mutex<Vec<Change>>,
    copies: Mutex<Vec<Later>>,
    refuse_copies: Mutex<bool>,
}

impl RecordingVisibility {
    /// Every change so far, as (receipt handle, seconds).
    pub fn changes(&self) -> Vec<(String, i32)> {
        self.changes.lock().unwrap().iter().map(|change| (change.receipt_handle.clone(), change.seconds)).collect()
    }

    /// Every copy that was sent so far.
    pub fn copies(&self) -> Vec<Later> {
        self.copies.lock().unwrap().clone()
    }

    /// Whether copies cannot be sent.
    pub fn refuse_copies(&self, refuse: bool) {
        *self.refuse_copies.lock().unwrap() = refuse;
    }
}

#[async_trait]
impl Visibility for RecordingVisibility {
    async fn change(&self, changes: Vec<Change>) {
        self.changes.lock().unwrap().extend(changes);
    }

    async fn send_later(&self, messages: Vec<Later>) -> Vec<bool> {
        let sent = !*self.refuse_copies.lock().unwrap();
        let answers = vec![sent; messages.len()];
        if sent {
            self.copies.lock().unwrap().extend(messages);
        }
        answers
    }
}

/// Remembers why messages failed.
#[derive(Debug, Default)]
pub struct RecordingFailures(Mutex<Vec<Failed>>);

impl RecordingFailures {
    /// Every failure so far, as (message id, reason).
    pub fn reasons(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().iter().map(|failed| (failed.message_id.clone(), failed.reason.clone())).collect()
    }
}

#[async_trait]
impl FailureLog for RecordingFailures {
    async fn record(&self, failures: Vec<Failed>) {
        self.0.lock().unwrap().extend(failures);
    }
}

/// A queue that these look after.
pub fn queue(visibility: &Arc<RecordingVisibility>, failures: &Arc<RecordingFailures>) -> Queue {
    Queue { visibility: visibility.clone(), failures: failures.clone() }
}

/// What the gateway does with the next charge.
#[derive(Debug, Clone)]
pub enum Script {
    /// Declines with this code.
    Decline(&'static str),
    /// Nothing happens.
    Unavailable,
    /// The charge is taken, but its answer is lost.
    TakenThenLost,
    /// The charge is not taken, and nobody learns that.
    Lost,
    /// The charge panics, as a bug would.
    Panic,
}

/// A gateway that charges once per key, whatever happens to the answers.
#[derive(Debug, Default)]
pub struct FakeGateway {
    script: Mutex<VecDeque<Script>>,
    look_ups_fail: Mutex<bool>,
    charges: Mutex<HashMap<String, String>>,
    calls: Mutex<Vec<String>>,
}

impl FakeGateway {
    /// What happens with the next charges, in order; afterwards they are approved.
    pub fn script(&self, script: impl IntoIterator<Item = Script>) {
        self.script.lock().unwrap().extend(script);
    }

    /// Whether questions about charges go unanswered.
    pub fn fail_look_ups(&self, fail: bool) {
        *self.look_ups_fail.lock().unwrap() = fail;
    }

    /// How many charges were taken.
    pub fn charges(&self) -> usize {
        self.charges.lock().unwrap().len()
    }

    /// The keys under which charges were asked for, in order.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn take(&self, key: &str) -> Charge {
        let mut charges = self.charges.lock().unwrap();
        let next = format!("pi_{}", charges.len());
        Charge { reference: charges.entry(key.to_owned()).or_insert(next).clone() }
    }
}

#[async_trait]
impl Gateway for FakeGateway {
    async fn tokenise(&self, card: &Card, key: &str) -> Result<CardToken, GatewayError> {
        match self.script.lock().unwrap().pop_front() {
            None => Ok(CardToken { token: format!("pm_{}", key.replace('/', "_")) }),
            Some(Script::Decline(code)) => Err(GatewayError::Declined {
                code: code.to_owned(),
                message: format!("The card ending in {} was declined.", card.last4()),
                reference: None,
            }),
            Some(Script::Unavailable) => Err(GatewayError::Unavailable { message: "told to".to_owned() }),
            Some(_) => Err(GatewayError::Unknown { message: "told to".to_owned() }),
        }
    }

    async fn charge(&self, charge: &ChargeRequest<'_>) -> Result<Charge, GatewayError> {
        self.calls.lock().unwrap().push(charge.key.to_owned());
        let next = self.script.lock().unwrap().pop_front();
        let unknown = || Err(GatewayError::Unknown { message: "timed out".to_owned() });
        match next {
            None => Ok(self.take(charge.key)),
            Some(Script::Decline(code)) => Err(GatewayError::Declined {
                code: code.to_owned(),
                message: "Declined.".to_owned(),
                reference: Some("pi_declined".to_owned()),
            }),
            Some(Script::Unavailable) => Err(GatewayError::Unavailable { message: "503".to_owned() }),
            Some(Script::TakenThenLost) => {
                self.take(charge.key);
                unknown()
            }
            Some(Script::Lost) => unknown(),
            Some(Script::Panic) => panic!("told to"),
        }
    }

    async fn find_charge(&self, payment_id: &str, _created_after: i64) -> Result<Option<Charge>, GatewayError> {
        if *self.look_ups_fail.lock().unwrap() {
            return Err(GatewayError::Unavailable { message: "told to".to_owned() });
        }
        let charges = self.charges.lock().unwrap();
        let found = charges.iter().find(|(key, _)| key.starts_with(payment_id));
        Ok(found.map(|(_, reference)| Charge { reference: reference.clone() }))
    }

    async fn refund(&self, _reference: &str, _amount: i64, key: &str) -> Result<String, GatewayError> {
        Ok(format!("re_{key}"))
    }
}
