//! Every minute: looks at what is overdue in the due index and sets it going again.
//!
//! An event that was lost between the write and the publish, a purged queue, a processor that died and whose message is
//! gone: the payment still ends (invariant 3). The sweeper decides nothing itself. It publishes `payment.initiated`
//! once more, and the processor does the rest, as it does for every duplicate. Two sweepers may overlap.

use std::sync::Arc;

use florin_domain::{
    event::{Correlation, Event},
    payment::Payment,
    saga::{self, Turn},
    time::{MS_PER_HOUR, Timestamp},
};
use florin_messaging::Publisher;
use florin_platform::clock::Clock;
use florin_store::{
    StoreError,
    payments::{DUE_AFTER_MS, DUE_SHARDS, Payments},
};

/// Payments of one shard in one run; with all shards a run re-drives up to 800. The rest is still due a minute later.
pub const PAYMENTS_PER_SHARD_MAX: usize = 100;
/// When a stuck payment is reported again, in milliseconds.
pub const STUCK_REPORT_MS: i64 = MS_PER_HOUR;

/// The sweeper and what it works with.
pub struct Sweeper {
    payments: Payments,
    publisher: Arc<dyn Publisher>,
    clock: Clock,
}

/// What a run did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Payments whose `payment.initiated` was published again.
    pub redriven: usize,
    /// Payments that a processor has, or that wait for their next attempt.
    pub under_way: usize,
    /// Payments that wait for a person.
    pub stuck: usize,
    /// Payments that could not be looked after in this run; they stay due.
    pub failed: usize,
}

impl Sweeper {
    /// A sweeper that works with these.
    pub fn new(payments: Payments, publisher: Arc<dyn Publisher>, clock: Clock) -> Self {
        Self { payments, publisher, clock }
    }

    /// One run over all shards.
    pub async fn run(&self) -> Result<Swept, StoreError> {
        let now = self.clock.now();
        let shards = (0..DUE_SHARDS).map(|shard| self.payments.due(shard, now, PAYMENTS_PER_SHARD_MAX));
        let mut swept = Swept::default();
        for due in futures::future::join_all(shards).await {
            let due = due?;
            for outcome in futures::future::join_all(due.iter().map(|payment| self.look_after(payment, now))).await {
                match outcome {
                    Some(Turn::Run(_)) => swept.redriven += 1,
                    Some(Turn::Wait { .. }) => swept.under_way += 1,
                    Some(Turn::Parked) => swept.stuck += 1,
                    Some(Turn::Ended) => {}
                    None => swept.failed += 1,
                }
            }
        }
        tracing::info!(
            redriven = swept.redriven,
            under_way = swept.under_way,
            stuck = swept.stuck,
            failed = swept.failed,
            "swept"
        );
        Ok(swept)
    }

    /// Sets a payment going if nobody has it, and says when it is to be looked at again. First the publish, then the
    /// new moment: a sweeper that dies between the two is repeated by the next.
    async fn look_after(&self, payment: &Payment, now: Timestamp) -> Option<Turn> {
        let turn = saga::turn(payment, now);
        let again_at = match &turn {
            Turn::Run(_) => {
                let correlation = Correlation { id: payment.id.to_string(), traceparent: None };
                if let Err(error) = self.publisher.publish(&Event::initiated(payment, &correlation)).await {
                    tracing::error!(payment_id = %payment.id, %error, "the payment stays due");
                    return None;
                }
                now.plus_ms(DUE_AFTER_MS)
            }
            Turn::Wait { wait_ms } => now.plus_ms(wait_ms.saturating_add(DUE_AFTER_MS)),
            Turn::Parked => {
                tracing::error!(payment_id = %payment.id, merchant_id = %payment.merchant_id, "payment is stuck");
                now.plus_ms(STUCK_REPORT_MS)
            }
            // It ended after the index was read.
            Turn::Ended => return Some(turn),
        };
        match self.payments.postpone_due(payment, again_at).await {
            Ok(()) => Some(turn),
            Err(error) => {
                tracing::error!(payment_id = %payment.id, %error, "the payment stays due");
                None
            }
        }
    }
}
