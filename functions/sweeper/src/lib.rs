//! Every minute: looks at what is overdue in the due index and sets it going again.
//!
//! An event that was lost between the write and the publish, a purged queue, a processor that died and whose message is
//! gone: the payment still ends (invariant 3). The sweeper decides nothing itself. It publishes once more what should
//! have been published, and the consumers do the rest, as they do for every duplicate. Two sweepers may overlap.

use std::sync::Arc;

use florin_domain::{
    breaker::Breaker,
    event::{Correlation, Event},
    journal::Step,
    payment::{Payment, Status},
    refund::Refund,
    saga::{self, Turn},
    time::Timestamp,
};
use florin_messaging::{PublishError, Publisher};
use florin_platform::clock::Clock;
use florin_store::{
    StoreError,
    breaker::SharedBreaker,
    payments::{DUE_AFTER_MS, DUE_SHARDS, Due, HELD_REVIEW_MS, Payments, STUCK_REPORT_MS, due_at, is_far},
};

/// Items of one shard in one run; with all shards a run looks after up to 800. The rest is still due a minute later.
pub const ITEMS_PER_SHARD_MAX: usize = 100;

/// The sweeper and what it works with.
pub struct Sweeper {
    payments: Payments,
    breaker: SharedBreaker,
    publisher: Arc<dyn Publisher>,
    clock: Clock,
}

/// What a run did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Set going again: `payment.initiated` or `refund.initiated` was published.
    pub redriven: usize,
    /// A processor has them, or they wait for their next attempt or their moment.
    pub under_way: usize,
    /// Announced: they had ended, or were held, and it was not certain that this was published.
    pub announced: usize,
    /// Waiting for a person.
    pub stuck: usize,
    /// Left for the next run, because the gateway is away: their messages wait for it.
    pub left: usize,
    /// Could not be looked after in this run; they stay due.
    pub failed: usize,
}

/// What is done about an item.
enum Care {
    Redriven(Timestamp),
    UnderWay(Timestamp),
    Announced(Option<Timestamp>),
    Stuck(Timestamp),
    Left(Timestamp),
}

/// Why an item could not be looked after.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Sweeper {
    /// A sweeper that works with these.
    pub fn new(payments: Payments, breaker: SharedBreaker, publisher: Arc<dyn Publisher>, clock: Clock) -> Self {
        Self { payments, breaker, publisher, clock }
    }

    /// One run over all shards. A shard that cannot be read keeps nobody from the others; the run then fails at its
    /// end.
    pub async fn run(&self) -> Result<Swept, StoreError> {
        let now = self.clock.now();
        let breaker = self.breaker.current(now).await?;
        let shards = (0..DUE_SHARDS).map(|shard| self.payments.due(shard, now, ITEMS_PER_SHARD_MAX));
        let (mut swept, mut unread) = (Swept::default(), None);
        for due in futures::future::join_all(shards).await {
            let due = match due {
                Ok((due, unreadable)) => {
                    unread = unreadable.or(unread);
                    due
                }
                Err(error) => {
                    tracing::error!(%error, "a shard of the due index could not be read");
                    unread = Some(error);
                    continue;
                }
            };
            let cares = futures::future::join_all(due.iter().map(|due| self.look_after(due, &breaker, now))).await;
            for (due, care) in due.iter().zip(cares) {
                match care {
                    Ok(Care::Redriven(_)) => swept.redriven += 1,
                    Ok(Care::UnderWay(_)) => swept.under_way += 1,
                    Ok(Care::Announced(_)) => swept.announced += 1,
                    Ok(Care::Stuck(_)) => swept.stuck += 1,
                    Ok(Care::Left(_)) => swept.left += 1,
                    Err(error) => {
                        tracing::error!(id = due.id(), %error, "it stays due");
                        swept.failed += 1;
                    }
                }
            }
        }
        tracing::info!(
            redriven = swept.redriven,
            under_way = swept.under_way,
            announced = swept.announced,
            stuck = swept.stuck,
            left = swept.left,
            failed = swept.failed,
            gateway = breaker.state.as_str(),
            "swept"
        );
        unread.map_or(Ok(swept), Err)
    }

    /// Does what is to be done, and says when it is to be looked at again. First the publish, then the new moment: a
    /// sweeper that dies between the two is repeated by the next.
    async fn look_after(&self, due: &Due, breaker: &Breaker, now: Timestamp) -> Result<Care, Trouble> {
        let care = match due {
            Due::Payment(payment) => self.care_for_payment(payment, breaker, now).await?,
            Due::Refund(refund) => self.care_for_refund(refund, breaker, now).await?,
        };
        match &care {
            Care::Redriven(again_at)
            | Care::UnderWay(again_at)
            | Care::Announced(Some(again_at))
            | Care::Left(again_at)
            | Care::Stuck(again_at) => {
                self.payments.postpone_due(due, *again_at).await?;
            }
            Care::Announced(None) => self.payments.leave_due(due).await?,
        }
        Ok(care)
    }

    async fn care_for_payment(&self, payment: &Payment, breaker: &Breaker, now: Timestamp) -> Result<Care, Trouble> {
        let correlation = Correlation::of_payment(payment);
        match saga::turn(payment, now) {
            Turn::Ended => {
                if let Some(event) = Event::ended(payment, &correlation) {
                    self.publisher.publish(&event).await?;
                }
                Ok(Care::Announced(None))
            }
            Turn::Parked if payment.status == Status::OnHold => {
                // Once: a week later whoever wanted to know has been told.
                if now.ms_since(payment.updated_at) < HELD_REVIEW_MS {
                    self.publisher.publish(&Event::held(payment, &correlation)).await?;
                }
                Ok(Care::Announced(Some(now.plus_ms(HELD_REVIEW_MS))))
            }
            Turn::Parked => {
                report_stuck(payment.id.as_str(), payment.merchant_id.as_str());
                Ok(Care::Stuck(now.plus_ms(STUCK_REPORT_MS)))
            }
            Turn::Wait { wait_ms } if payment.status == Status::Processing => {
                Ok(Care::UnderWay(now.plus_ms(wait_ms.saturating_add(DUE_AFTER_MS))))
            }
            Turn::Wait { wait_ms } if is_far(wait_ms) => {
                self.tell_of_resumption(payment, &correlation).await?;
                Ok(Care::UnderWay(due_at(payment, now)))
            }
            Turn::Run(_) | Turn::Withdraw | Turn::GiveUp if breaker.will_be_probed(now) => {
                Ok(Care::Left(now.plus_ms(DUE_AFTER_MS)))
            }
            // A scheduled payment whose moment is near: the processor hands the rest of the wait to SQS.
            Turn::Run(_) | Turn::Withdraw | Turn::GiveUp | Turn::Wait { .. } => {
                self.tell_of_resumption(payment, &correlation).await?;
                self.publisher.publish(&Event::initiated(payment, &correlation)).await?;
                Ok(Care::Redriven(due_at(payment, now)))
            }
        }
    }

    /// A payment that was resumed last may have lost the event that told of it.
    async fn tell_of_resumption(&self, payment: &Payment, correlation: &Correlation) -> Result<(), Trouble> {
        if payment.journal.last().is_some_and(|entry| entry.step == Step::Resume) {
            self.publisher.publish(&Event::resumed(payment, correlation)).await?;
        }
        Ok(())
    }

    async fn care_for_refund(&self, refund: &Refund, breaker: &Breaker, now: Timestamp) -> Result<Care, Trouble> {
        let correlation = Correlation::of_refund(refund);
        match refund.turn(now) {
            Turn::Ended => {
                if let Some(event) = Event::refund_ended(refund, &correlation) {
                    self.publisher.publish(&event).await?;
                }
                Ok(Care::Announced(None))
            }
            Turn::Parked => {
                report_stuck(refund.id.as_str(), refund.merchant_id.as_str());
                Ok(Care::Stuck(now.plus_ms(STUCK_REPORT_MS)))
            }
            Turn::Wait { wait_ms } => Ok(Care::UnderWay(now.plus_ms(wait_ms.saturating_add(DUE_AFTER_MS)))),
            Turn::Run(_) | Turn::Withdraw | Turn::GiveUp if breaker.will_be_probed(now) => {
                Ok(Care::Left(now.plus_ms(DUE_AFTER_MS)))
            }
            Turn::Run(_) | Turn::Withdraw | Turn::GiveUp => {
                self.publisher.publish(&Event::refund_initiated(refund, &correlation)).await?;
                Ok(Care::Redriven(now.plus_ms(DUE_AFTER_MS)))
            }
        }
    }
}

fn report_stuck(id: &str, merchant_id: &str) {
    tracing::error!(id, merchant_id, "stuck: a person must look at it");
}
