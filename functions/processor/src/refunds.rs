//! One turn of a refund. As a payment's, but for two things: it is read first, since refunds are few, and it stays in
//! the due index until its end is announced.

use florin_domain::{
    event::Event,
    refund::{Refund, RefundView},
    saga::{Next, Turn},
};
use florin_messaging::Outcome;
use florin_store::payments::{Due, RefundWritten};

use crate::{LOST_RACE_WAIT_MS, Processor, Trouble, call_a_person, gate::Passage, wait};

impl Processor {
    pub(crate) async fn refund_turn(
        &self,
        passage: &Passage,
        event: &Event,
        view: &RefundView,
    ) -> Result<Outcome, Trouble> {
        let now = self.clock.now();
        let current = self.payments.refund_of_any_merchant(&view.id).await?.ok_or(Trouble::Unknown)?;
        let step = match current.turn(now) {
            Turn::Ended => return self.announce_refund(current, event).await,
            Turn::Wait { wait_ms } => return Ok(wait(wait_ms)),
            Turn::Run(step) => step,
            Turn::GiveUp => {
                return match self.payments.save_refund(&current, &current.give_up(now)).await? {
                    None => Err(Trouble::Unknown),
                    Some(RefundWritten::Done(stuck)) => Ok(call_a_person(stuck.id.as_str(), stuck.stuck.as_ref())),
                    Some(RefundWritten::Lost(_)) => Ok(wait(LOST_RACE_WAIT_MS)),
                };
            }
            Turn::Parked | Turn::Withdraw => return Ok(Outcome::Done),
        };
        let claimed = match self.payments.claim_refund(&current, &current.claim(step, now)).await? {
            None => return Err(Trouble::Unknown),
            Some(RefundWritten::Done(claimed)) => claimed,
            Some(RefundWritten::Lost(_)) => return Ok(wait(LOST_RACE_WAIT_MS)),
        };
        let answer = self.gate.take_refund(passage, &claimed).await;
        let jitter = (self.jitter)();
        let (to, next) = claimed.apply(answer.result, self.clock.now(), jitter, answer.away);
        let refund = match self.payments.save_refund(&claimed, &to).await? {
            None => return Err(Trouble::Unknown),
            Some(RefundWritten::Done(refund)) => refund,
            Some(RefundWritten::Lost(_)) => return Ok(wait(LOST_RACE_WAIT_MS)),
        };
        match next {
            Next::Ended => self.announce_refund(refund, event).await,
            Next::Again { wait_ms } => Ok(wait(wait_ms)),
            Next::Run => Ok(wait(LOST_RACE_WAIT_MS)),
            Next::Stuck => Ok(call_a_person(refund.id.as_str(), refund.stuck.as_ref())),
        }
    }

    async fn announce_refund(&self, refund: Refund, cause: &Event) -> Result<Outcome, Trouble> {
        let outcome = self.announce(Event::refund_ended(&refund, &cause.correlation())).await?;
        self.payments.leave_due(&Due::Refund(refund)).await?;
        Ok(outcome)
    }
}
