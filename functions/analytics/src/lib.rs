//! Drains the analytics queue: every payment that has ended is counted once, however often its event comes.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use florin_domain::analytics::Ended;
use florin_messaging::{
    Delivered, Outcome, Queue,
    batch::{self, UnanswerableBatch},
};
use florin_store::analytics::{Analytics, COUNTER_SHARDS, EVENTS_PER_TRANSACTION_MAX};

/// The counter and what it works with.
pub struct Counter {
    analytics: Analytics,
    queue: Queue,
    random: fn() -> u8,
}

impl Counter {
    /// A counter that works with these; `random` spreads its writes over a hot merchant's items.
    pub fn new(analytics: Analytics, queue: Queue, random: fn() -> u8) -> Self {
        Self { analytics, queue, random }
    }

    /// Counts a batch; what does not parse fails alone.
    pub async fn handle(
        &self,
        batch: SqsEvent,
        time_left: Option<Duration>,
    ) -> Result<SqsBatchResponse, UnanswerableBatch> {
        batch::whole(batch, time_left, &self.queue, |delivered| self.count(delivered)).await
    }

    /// Counts what announces an end; other events are nothing to count. If a transaction fails all messages come again,
    /// and what an earlier transaction counted is not counted twice.
    async fn count(&self, delivered: Vec<Delivered>) -> Outcome {
        let ended: Vec<Ended> = delivered.iter().filter_map(|message| Ended::from_event(&message.event)).collect();
        for events in ended.chunks(EVENTS_PER_TRANSACTION_MAX) {
            if let Err(error) = self.analytics.count(events, (self.random)() % COUNTER_SHARDS).await {
                let retryable = error.is_retryable();
                tracing::error!(messages = delivered.len(), retryable, %error, "a batch was not counted");
                return Outcome::Retry(error.to_string());
            }
        }
        tracing::info!(messages = delivered.len(), counted = ended.len(), "a batch was counted");
        Outcome::Done
    }
}
