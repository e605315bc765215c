//! Drains the webhook queue: the end of every payment is told to whoever asked for it, signed, until the receiver
//! answers 2xx or the attempts are used up.
//!
//! One read for a batch says what has been told already; one write for each attempt says what came of it. A crash
//! between the two means that a receiver hears of an event again, with the same `webhook-id`.

mod post;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use florin_domain::{
    event::{Event, EventType},
    ids::{EventId, MerchantId},
    merchant::MERCHANT_SECRET_GENERATION,
    time::Timestamp,
    webhook::{self, Delivery, DeliveryStatus, Payload, Target, WebhookEndpoint},
};
use florin_messaging::{
    Delivered, Outcome, Queue,
    batch::{self, UnanswerableBatch},
};
use florin_platform::{
    cache::Cache,
    clock::Clock,
    secrets::{RootKey, WebhookSecret},
};
use florin_store::{
    StoreError,
    webhooks::{Attempt, Webhooks},
};
use futures::future::{join_all, try_join_all};
use tokio::sync::{OnceCell, Semaphore};

pub use post::{CONNECT_TIMEOUT_MS, Post, RESPONSE_BYTES_MAX, Signed, TOTAL_TIMEOUT_MS};

/// For how long a merchant's endpoints are believed, in milliseconds.
pub const ENDPOINTS_AGE_MS_MAX: i64 = 30_000;
/// Merchants whose endpoints one instance remembers.
const MERCHANTS_REMEMBERED_MAX: usize = 10_000;
/// Sends under way at once. A batch of ten events has at most 110 deliveries, so two rounds of `TOTAL_TIMEOUT_MS` fit
/// into the function's time.
pub const SENDS_MAX: usize = 64;
/// How much later than its first delivery a message waits for the others that come due, in milliseconds. Receives are
/// scarce (the queue's `maxReceiveCount`), so deliveries that failed together are retried together: they came due apart
/// by no more than one of them took.
const GATHER_MS: i64 = 12_000;

/// The webhook sender and what it works with.
pub struct Sender {
    webhooks: Webhooks,
    root: RootKey,
    post: Post,
    queue: Queue,
    clock: Clock,
    jitter: fn() -> u8,
    endpoints: Cache<MerchantId, Arc<[WebhookEndpoint]>>,
    sends: Semaphore,
}

/// An event, whom to tell of it and what they have been told. Two messages of a batch may carry the same event: its
/// outcome is found once, for both.
struct Notice {
    event: Event,
    targets: Vec<(Target, Option<Delivery>)>,
    outcome: OnceCell<Outcome>,
}

type Notices = HashMap<EventId, Notice>;

impl Sender {
    /// A sender that works with these; `jitter` yields random numbers from 0 to 99.
    pub fn new(webhooks: Webhooks, root: RootKey, post: Post, queue: Queue, clock: Clock, jitter: fn() -> u8) -> Self {
        let endpoints = Cache::new(ENDPOINTS_AGE_MS_MAX, MERCHANTS_REMEMBERED_MAX);
        Self { webhooks, root, post, queue, clock, jitter, endpoints, sends: Semaphore::new(SENDS_MAX) }
    }

    /// Handles a batch; every message is done, or waits for the next attempt, by itself.
    pub async fn handle(
        &self,
        batch: SqsEvent,
        time_left: Option<Duration>,
    ) -> Result<SqsBatchResponse, UnanswerableBatch> {
        // What does not parse is left to the driver, which names it.
        let bodies = batch.records.iter().filter_map(|record| record.body.as_deref());
        let events: Vec<Event> = bodies.filter_map(|body| Event::parse(body).ok()).collect();
        // Read by the first message, for all of them, within the time that a message has.
        let notices = OnceCell::new();
        let (notices, events) = (&notices, &events);
        batch::each(batch, time_left, &self.queue, |Delivered { event, .. }| async move {
            match notices.get_or_init(|| self.notices(events)).await {
                Ok(notices) => match notices.get(&event.id) {
                    Some(notice) => notice.outcome.get_or_init(|| self.tell(notice)).await.clone(),
                    None => Outcome::Done,
                },
                Err(error) => {
                    tracing::error!(event_id = %event.id, %error, "what was delivered could not be read");
                    Outcome::Retry(error.to_string())
                }
            }
        })
        .await
    }

    /// What there is to tell: each event once, its targets, and what is known of their deliveries.
    async fn notices(&self, events: &[Event]) -> Result<Notices, StoreError> {
        let events: HashMap<&EventId, &Event> =
            events.iter().filter(|event| is_told(event)).map(|event| (&event.id, event)).collect();
        let merchants: BTreeSet<&MerchantId> = events.values().map(|event| &event.merchantid).collect();
        let endpoints = merchants.into_iter().map(async |id| Ok::<_, StoreError>((id, self.endpoints(id).await?)));
        let endpoints: HashMap<_, _> = try_join_all(endpoints).await?.into_iter().collect();

        let targets: Vec<(&Event, Target)> = events
            .into_values()
            .flat_map(|event| {
                let own = own_url(event).map(Target::PaymentUrl);
                let registered = endpoints.get(&event.merchantid).into_iter().flat_map(|endpoints| endpoints.iter());
                let registered = registered.filter(|endpoint| endpoint.enabled).cloned().map(Target::Endpoint);
                own.into_iter().chain(registered).map(move |target| (event, target))
            })
            .collect();
        let wanted: Vec<(&Event, &Target)> = targets.iter().map(|(event, target)| (*event, target)).collect();
        let mut known = self.webhooks.deliveries(&wanted).await?;

        let mut notices = Notices::new();
        for (event, target) in targets {
            let delivery = known.remove(&target.delivery_id(event));
            let new = || Notice { event: event.clone(), targets: Vec::new(), outcome: OnceCell::new() };
            notices.entry(event.id.clone()).or_insert_with(new).targets.push((target, delivery));
        }
        Ok(notices)
    }

    async fn endpoints(&self, merchant: &MerchantId) -> Result<Arc<[WebhookEndpoint]>, StoreError> {
        let now = self.clock.now();
        if let Some(endpoints) = self.endpoints.get(merchant, now) {
            return Ok(endpoints);
        }
        let endpoints: Arc<[WebhookEndpoint]> = self.webhooks.endpoints(merchant).await?.into();
        self.endpoints.put(merchant.clone(), endpoints.clone(), now);
        Ok(endpoints)
    }

    /// Tells everyone who is due to be told, all at once.
    async fn tell(&self, notice: &Notice) -> Outcome {
        let Ok(body) = serde_json::to_string(&Payload::of(&notice.event)) else {
            tracing::error!(event_id = %notice.event.id, "the event cannot be written as a webhook");
            return Outcome::Poison;
        };
        // One jitter for all: what failed together comes due together.
        let jitter = (self.jitter)();
        let deliveries = notice.targets.iter().map(|(target, known)| async {
            match known {
                Some(known) if !is_due(known, self.clock.now()) => Some(known.clone()),
                _ => self.deliver(&notice.event, target, known.as_ref(), &body, jitter).await,
            }
        });
        outcome(join_all(deliveries).await, self.clock.now())
    }

    /// One attempt and its record; nothing if the record could not be written.
    async fn deliver(
        &self,
        event: &Event,
        target: &Target,
        known: Option<&Delivery>,
        body: &str,
        jitter: u8,
    ) -> Option<Delivery> {
        // The semaphore is never closed; a send without a permit would only be one too many.
        let _permit = self.sends.acquire().await.ok();
        let attempt = self.attempt(event, target, body).await;
        let before = known.map_or(0, |known| known.attempts);
        let delivery_id = target.delivery_id(event);
        let delivery = webhook::after_attempt(delivery_id, before, &attempt.result, self.clock.now(), jitter);
        let recorded = self.webhooks.record(event, target, &delivery, &attempt).await;
        tracing::info!(
            subject = event.subject,
            merchant_id = %event.merchantid,
            event_id = %event.id,
            correlation_id = event.correlationid,
            delivery_id = %delivery.id,
            host = post::host(target.url()),
            status = delivery.status.as_str(),
            result = ?attempt.result,
            attempt = delivery.attempts,
            duration_ms = attempt.duration_ms,
            recorded = recorded.is_ok(),
            "delivery attempted"
        );
        recorded.inspect_err(|error| tracing::error!(event_id = %event.id, %error, "an attempt was not recorded")).ok()
    }

    async fn attempt(&self, event: &Event, target: &Target, body: &str) -> Attempt {
        let (started_at, started) = (self.clock.now(), Instant::now());
        let timestamp = started_at.seconds();
        let signature = self.secret(event, target).sign(event.id.as_str(), timestamp, body);
        let result = self.post.send(target.url(), Signed { id: event.id.as_str(), timestamp, signature, body }).await;
        let duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Attempt { started_at, duration_ms, result }
    }

    fn secret(&self, event: &Event, target: &Target) -> WebhookSecret {
        match target {
            Target::PaymentUrl(_) => self.root.webhook_secret(event.merchantid.as_str(), MERCHANT_SECRET_GENERATION),
            Target::Endpoint(endpoint) => self.root.webhook_secret(endpoint.id.as_str(), endpoint.secret_generation),
        }
    }
}

/// Whether merchants are told of the event.
const fn is_told(event: &Event) -> bool {
    !matches!(event.event_type, EventType::PaymentInitiated | EventType::RefundInitiated)
}

/// Where the payment's own URL is told of its end, and of nothing else.
fn own_url(event: &Event) -> Option<String> {
    let payment = event.data.payment().filter(|payment| payment.status.is_terminal())?;
    payment.webhook_url.clone()
}

fn is_due(delivery: &Delivery, now: Timestamp) -> bool {
    delivery.status == DeliveryStatus::Retrying && delivery.next_due.is_none_or(|due| due <= now)
}

/// A message is done once every delivery has ended. Until then it is hidden until the first one is due, and those that
/// come due shortly after it.
fn outcome(deliveries: Vec<Option<Delivery>>, now: Timestamp) -> Outcome {
    let Some(deliveries) = deliveries.into_iter().collect::<Option<Vec<_>>>() else {
        return Outcome::Retry("an attempt was not recorded".to_owned());
    };
    let open = deliveries.iter().filter(|delivery| delivery.status == DeliveryStatus::Retrying);
    let dues: Vec<Timestamp> = open.map(|delivery| delivery.next_due.unwrap_or(now)).collect();
    let Some(first) = dues.iter().min() else {
        return Outcome::Done;
    };
    let gathered = dues.iter().filter(|due| due.ms_since(*first) <= GATHER_MS).max().unwrap_or(first);
    Outcome::RetryAfter(Duration::from_millis(u64::try_from(gathered.ms_since(now)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use florin_domain::ids::DeliveryId;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000);

    fn delivery(status: DeliveryStatus, due_in_ms: Option<i64>) -> Option<Delivery> {
        let next_due = due_in_ms.map(|ms| NOW.plus_ms(ms));
        Some(Delivery { id: DeliveryId::derive(&["a"]), status, attempts: 1, next_due })
    }

    fn retrying(due_in_ms: i64) -> Option<Delivery> {
        delivery(DeliveryStatus::Retrying, Some(due_in_ms))
    }

    #[test]
    fn a_message_is_done_when_every_delivery_has_ended() {
        let (delivered, failed) = (delivery(DeliveryStatus::Delivered, None), delivery(DeliveryStatus::Failed, None));
        assert_eq!(outcome(vec![], NOW), Outcome::Done);
        assert_eq!(outcome(vec![delivered.clone(), failed], NOW), Outcome::Done);
        assert_eq!(outcome(vec![delivered.clone(), retrying(5_000)], NOW), after(5_000));
        assert_eq!(
            outcome(vec![delivered, None, retrying(5_000)], NOW),
            Outcome::Retry("an attempt was not recorded".to_owned())
        );
    }

    #[test]
    fn a_message_waits_for_the_first_delivery_and_for_those_close_behind() {
        assert_eq!(outcome(vec![retrying(30_000), retrying(5_000), retrying(15_000)], NOW), after(15_000));
        assert_eq!(outcome(vec![retrying(-5_000)], NOW), after(0));
    }

    fn after(ms: u64) -> Outcome {
        Outcome::RetryAfter(Duration::from_millis(ms))
    }
}
