//! One turn of a payment: claim, act, write down what came of it, announce the end.

use florin_domain::{
    event::Event,
    payment::{Payment, PaymentView, Status},
    saga::{self, Next, Turn},
};
use florin_messaging::Outcome;
use florin_store::payments::Written;

use crate::{
    LOST_RACE_WAIT_MS, Processor, STEPS_PER_TURN_MAX, Trouble, call_a_person, gate::Passage, wait, wait_for_moment,
};

/// What came of trying to claim a payment.
enum Claim {
    /// It is ours for this turn.
    Ours(Payment),
    /// There is nothing to do for us, now.
    Not(Outcome),
}

/// What came of writing a step's result down.
enum Saved {
    /// It stands.
    Ours(Payment, Next),
    /// Our lease had run out and another processor went on: what it found stands.
    Theirs(Payment),
}

impl Processor {
    pub(crate) async fn payment_turn(
        &self,
        passage: &Passage,
        event: &Event,
        view: &PaymentView,
    ) -> Result<Outcome, Trouble> {
        let mut claimed = match self.claim(event, view).await? {
            Claim::Ours(payment) => payment,
            Claim::Not(outcome) => return Ok(outcome),
        };
        for _ in 0..STEPS_PER_TURN_MAX {
            let (payment, next) = match self.act(passage, claimed).await? {
                Saved::Ours(payment, next) => (payment, next),
                Saved::Theirs(winner) if winner.status.is_terminal() => {
                    return self.announce_payment(&winner, event).await;
                }
                Saved::Theirs(_) => return Ok(wait(LOST_RACE_WAIT_MS)),
            };
            match next {
                Next::Run => claimed = payment,
                Next::Ended => return self.announce_payment(&payment, event).await,
                Next::Again { wait_ms } => return Ok(wait(wait_ms)),
                Next::Stuck => return Ok(call_a_person(payment.id.as_str(), payment.stuck.as_ref())),
            }
        }
        Ok(wait(LOST_RACE_WAIT_MS))
    }

    /// Claims the payment: in one write if it is pending and untouched, in two otherwise.
    async fn claim(&self, event: &Event, view: &PaymentView) -> Result<Claim, Trouble> {
        let active = self.is_active(&event.merchantid).await?;
        let now = self.clock.now();
        let invalid = saga::validate(view, active, now).err();
        let journal = saga::first_journal(invalid.clone(), now);
        let current = match self.payments.claim_pending(&view.id, &journal, now).await? {
            None => return Err(Trouble::Unknown),
            Some(Written::Done(claimed)) => return Ok(Claim::Ours(claimed)),
            Some(Written::Lost(current)) => current,
        };
        match saga::turn(&current, now) {
            Turn::Ended => self.announce_payment(&current, event).await.map(Claim::Not),
            Turn::Parked => Ok(Claim::Not(Outcome::Done)),
            Turn::Wait { wait_ms } if current.status == Status::Processing => Ok(Claim::Not(wait(wait_ms))),
            Turn::Wait { wait_ms } => Ok(Claim::Not(wait_for_moment(wait_ms))),
            Turn::Withdraw => match self.payments.save(&current, &saga::withdraw(&current, now)).await? {
                None => Err(Trouble::Unknown),
                Some(Written::Done(ended)) => self.announce_payment(&ended, event).await.map(Claim::Not),
                Some(Written::Lost(_)) => Ok(Claim::Not(wait(LOST_RACE_WAIT_MS))),
            },
            Turn::GiveUp => match self.payments.save(&current, &saga::give_up(&current, now)).await? {
                None => Err(Trouble::Unknown),
                Some(Written::Done(stuck)) => Ok(Claim::Not(call_a_person(stuck.id.as_str(), stuck.stuck.as_ref()))),
                Some(Written::Lost(_)) => Ok(Claim::Not(wait(LOST_RACE_WAIT_MS))),
            },
            Turn::Run(step) => {
                let claimed = saga::claim(&current, step, invalid, now);
                match self.payments.claim_again(&current, &claimed).await? {
                    None => Err(Trouble::Unknown),
                    Some(Written::Done(claimed)) => Ok(Claim::Ours(claimed)),
                    Some(Written::Lost(_)) => Ok(Claim::Not(wait(LOST_RACE_WAIT_MS))),
                }
            }
        }
    }

    /// Takes the step whose intent stands last in the journal, and writes down what came of it.
    async fn act(&self, passage: &Passage, mut claimed: Payment) -> Result<Saved, Trouble> {
        if let Some(failure) = saga::invalid(&claimed).cloned() {
            let failed = saga::fail_invalid(&claimed, failure, self.clock.now());
            return self.save(&claimed, failed, Next::Ended).await;
        }
        let answer = self.gate.take(passage, &claimed).await;
        let (now, jitter) = (self.clock.now(), (self.jitter)());
        let (to, next) = saga::apply(&claimed, answer.result.clone(), now, jitter, answer.away);
        match self.save(&claimed, to, next).await? {
            // Its withdrawal was asked for while the step was taken: the same answer has another consequence now.
            Saved::Theirs(winner) if winner.version == claimed.version && winner.is_cancel_requested() => {
                claimed.cancel_requested_at = winner.cancel_requested_at;
                let (to, next) = saga::apply(&claimed, answer.result, now, jitter, answer.away);
                self.save(&claimed, to, next).await
            }
            saved => Ok(saved),
        }
    }

    async fn save(&self, from: &Payment, to: Payment, next: Next) -> Result<Saved, Trouble> {
        match self.payments.save(from, &to).await? {
            None => Err(Trouble::Unknown),
            Some(Written::Done(payment)) => Ok(Saved::Ours(payment, next)),
            Some(Written::Lost(winner)) => Ok(Saved::Theirs(winner)),
        }
    }

    async fn announce_payment(&self, payment: &Payment, cause: &Event) -> Result<Outcome, Trouble> {
        self.announce(Event::ended(payment, &cause.correlation())).await
    }
}
