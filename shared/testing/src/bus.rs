//! SNS and SQS inside the test, on a clock that the test moves: subscriptions by event type, visibility time-outs,
//! delays, receive counts and dead-letter queues, as the documentation has them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use florin_domain::{event::Event, time::Timestamp};
use florin_messaging::{Later, PublishError, Publisher, Visibility, visibility::Change};
use florin_platform::clock::Clock;

use crate::{
    faults::{Faults, Kind},
    seeded::Seeded,
};

/// The body of a message that no function can read.
pub const POISON: &str = "{poison";

/// A queue and what it subscribes to.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The queue's name.
    pub queue: &'static str,
    /// The event types it takes.
    pub types: Vec<String>,
    /// For how long a received message is hidden, in milliseconds.
    pub visibility_ms: i64,
    /// After so many receives it is a dead letter.
    pub receives_max: u32,
}

/// How unkind the queues are, all within what SQS may do.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// Every message comes twice.
    pub duplicates: bool,
    /// Messages come in this order rather than in that of their sending.
    pub order: Option<Seeded>,
    /// A message that nobody can read comes with every batch.
    pub poison: bool,
}

#[derive(Debug, Clone)]
struct Message {
    id: String,
    body: String,
    receives: u32,
    receipt: String,
    visible_at: Timestamp,
}

#[derive(Debug, Default)]
struct Queue {
    messages: Vec<Message>,
    dead: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<&'static str, Queue>,
    published: Vec<Event>,
    manners: Manners,
    numbers: usize,
    poison: usize,
}

/// A topic and the queues that subscribe to it.
#[derive(Debug, Clone)]
pub struct Bus {
    subscriptions: Arc<[Subscription]>,
    state: Arc<Mutex<State>>,
    clock: Clock,
}

impl Bus {
    /// Empty queues.
    pub fn new(subscriptions: &[Subscription], manners: Manners, clock: Clock) -> Self {
        let queues = subscriptions.iter().map(|subscription| (subscription.queue, Queue::default())).collect();
        let state = State { queues, manners, ..State::default() };
        Self { subscriptions: subscriptions.into(), state: Arc::new(Mutex::new(state)), clock }
    }

    /// Everything published so far.
    pub fn published(&self) -> Vec<Event> {
        self.state.lock().unwrap().published.clone()
    }

    /// How many messages that nobody can read were added.
    pub fn poison_planted(&self) -> usize {
        self.state.lock().unwrap().poison
    }

    /// The bodies of a queue's dead letters.
    pub fn dead(&self, queue: &str) -> Vec<String> {
        self.state.lock().unwrap().queues[queue].dead.clone()
    }

    /// The moment at which the next message can be received, in whichever queue.
    pub fn next_visible(&self) -> Option<Timestamp> {
        let state = self.state.lock().unwrap();
        state.queues.values().flat_map(|queue| &queue.messages).map(|message| message.visible_at).min()
    }

    /// The queues with messages that can be received now.
    pub fn ready(&self) -> Vec<&'static str> {
        let (now, state) = (self.clock.now(), self.state.lock().unwrap());
        let ready = |queue: &Queue| queue.messages.iter().any(|message| message.visible_at <= now);
        state.queues.iter().filter(|(_, queue)| ready(queue)).map(|(name, _)| *name).collect()
    }

    /// Removes every message from every queue; in which queues there were any.
    pub fn purge(&self) -> Vec<&'static str> {
        let mut state = self.state.lock().unwrap();
        let emptied =
            |(name, queue): (&&'static str, &mut Queue)| (queue.messages.drain(..).count() > 0).then_some(*name);
        state.queues.iter_mut().filter_map(emptied).collect()
    }

    /// Receives up to `messages_max` messages, as Lambda does.
    pub fn receive(&self, name: &str, messages_max: usize) -> SqsEvent {
        let now = self.clock.now();
        let subscription = self.subscription(name);
        let mut state = self.state.lock().unwrap();
        state.bury(name, subscription.receives_max, now);
        if state.manners.poison && state.queues[name].has_good(now) {
            state.poison += 1;
            state.send(subscription.queue, POISON.to_owned(), now);
        }
        let mut places = state.queues[name].visible(now);
        if let Some(seeded) = &mut state.manners.order {
            seeded.shuffle(&mut places);
        }
        places.truncate(messages_max);
        let mut event = SqsEvent::default();
        for place in places {
            state.numbers += 1;
            let receipt = format!("receipt-{}", state.numbers);
            let message = &mut state.queues.get_mut(name).unwrap().messages[place];
            message.receives += 1;
            message.receipt = receipt;
            message.visible_at = now.plus_ms(subscription.visibility_ms);
            event.records.push(message.as_record());
        }
        event
    }

    /// Deletes the messages of these receipts, as Lambda does with those that a function has handled.
    pub fn delete(&self, name: &str, receipts: &[String]) {
        let mut state = self.state.lock().unwrap();
        let queue = state.queues.get_mut(name).unwrap();
        queue.messages.retain(|message| !receipts.contains(&message.receipt));
    }

    /// A publisher for a function.
    pub fn publisher(&self, component: &'static str, faults: &Faults) -> Arc<dyn Publisher> {
        Arc::new(BusPublisher { bus: self.clone(), component, faults: faults.clone() })
    }

    /// The queue that a function drains, for the function.
    pub fn visibility(&self, component: &'static str, queue: &'static str, faults: &Faults) -> Arc<dyn Visibility> {
        Arc::new(BusVisibility { bus: self.clone(), component, queue, faults: faults.clone() })
    }

    fn subscription(&self, queue: &str) -> &Subscription {
        self.subscriptions.iter().find(|subscription| subscription.queue == queue).unwrap()
    }

    fn deliver(&self, event: &Event) {
        let body = serde_json::to_string(event).unwrap();
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        state.published.push(event.clone());
        let copies = if state.manners.duplicates { 2 } else { 1 };
        let takes = |subscription: &&Subscription| subscription.types.iter().any(|t| t == event.event_type.as_str());
        for subscription in self.subscriptions.iter().filter(takes) {
            for _ in 0..copies {
                state.send(subscription.queue, body.clone(), now);
            }
        }
    }

    fn send(&self, queue: &'static str, messages: &[Later]) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        for message in messages {
            state.send(queue, message.body.clone(), now.plus_ms(i64::from(message.seconds) * 1_000));
        }
    }

    fn hide(&self, name: &str, changes: &[Change]) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        for message in &mut state.queues.get_mut(name).unwrap().messages {
            if let Some(change) = changes.iter().find(|change| change.receipt_handle == message.receipt) {
                message.visible_at = now.plus_ms(i64::from(change.seconds) * 1_000);
            }
        }
    }
}

impl State {
    fn send(&mut self, queue: &'static str, body: String, visible_at: Timestamp) {
        self.numbers += 1;
        let id = format!("message-{}", self.numbers);
        let message = Message { receipt: String::new(), id, body, receives: 0, visible_at };
        self.queues.entry(queue).or_default().messages.push(message);
    }

    /// What used up its receives is a dead letter when it would be received once more.
    fn bury(&mut self, name: &str, receives_max: u32, now: Timestamp) {
        let queue = self.queues.get_mut(name).unwrap();
        let is_dead = |message: &mut Message| message.visible_at <= now && message.receives >= receives_max;
        queue.dead.extend(queue.messages.extract_if(.., is_dead).map(|message| message.body));
    }
}

impl Queue {
    fn visible(&self, now: Timestamp) -> Vec<usize> {
        let messages = self.messages.iter().enumerate();
        messages.filter(|(_, message)| message.visible_at <= now).map(|(place, _)| place).collect()
    }

    fn has_good(&self, now: Timestamp) -> bool {
        self.messages.iter().any(|message| message.visible_at <= now && message.body != POISON)
    }
}

impl Message {
    fn as_record(&self) -> SqsMessage {
        let mut record = SqsMessage::default();
        record.message_id = Some(self.id.clone());
        record.receipt_handle = Some(self.receipt.clone());
        record.body = Some(self.body.clone());
        record.attributes.insert("ApproximateReceiveCount".to_owned(), self.receives.to_string());
        record
    }
}

struct BusPublisher {
    bus: Bus,
    component: &'static str,
    faults: Faults,
}

#[async_trait]
impl Publisher for BusPublisher {
    async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        let label = format!("sns.Publish {}", event.event_type.as_str());
        let passed = self.faults.pass(self.component, Kind::Publish, &label, async || self.bus.deliver(event));
        passed.await.map_err(|fault| PublishError(format!("told to: {}", fault.as_str())))
    }
}

struct BusVisibility {
    bus: Bus,
    component: &'static str,
    queue: &'static str,
    faults: Faults,
}

#[async_trait]
impl Visibility for BusVisibility {
    async fn change(&self, changes: Vec<Change>) {
        let passed = self.faults.pass(self.component, Kind::Queue, "sqs.ChangeMessageVisibilityBatch", async || {
            self.bus.hide(self.queue, &changes);
        });
        // As with SQS itself, whoever hides messages does not ask whether it worked.
        passed.await.unwrap_or_default();
    }

    async fn send_later(&self, messages: Vec<Later>) -> Vec<bool> {
        let passed = self.faults.pass(self.component, Kind::Queue, "sqs.SendMessageBatch", async || {
            self.bus.send(self.queue, &messages);
        });
        vec![passed.await.is_ok(); messages.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build, faults::Plan};

    fn bus(manners: Manners) -> Bus {
        let types = vec!["payment.initiated".to_owned()];
        let subscription = Subscription { queue: "q", types, visibility_ms: 60_000, receives_max: 2 };
        Bus::new(&[subscription], manners, Clock::set_to(build::START))
    }

    async fn publish(bus: &Bus, key: &str) {
        let payment = build::payment(&build::merchant("shop").id, key);
        let event = Event::initiated(&payment, &build::correlation());
        bus.publisher("f", &Faults::new(Plan::Calm)).publish(&event).await.unwrap();
        bus.publisher("f", &Faults::new(Plan::Calm))
            .publish(&build::ended(&build::completed(&payment, 1)))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_message_is_hidden_comes_again_and_dies() {
        let bus = bus(Manners::default());
        publish(&bus, "k").await;
        assert_eq!(bus.receive("q", 10).records.len(), 1, "of two events one is subscribed to");
        assert!(bus.receive("q", 10).records.is_empty() && bus.ready().is_empty());
        bus.clock.advance_ms(60_000);
        let again = bus.receive("q", 10);
        assert_eq!(again.records[0].attributes["ApproximateReceiveCount"], "2");
        let receipt_handle = again.records[0].receipt_handle.clone().unwrap();
        bus.visibility("f", "q", &Faults::new(Plan::Calm)).change(vec![Change { receipt_handle, seconds: 5 }]).await;
        assert_eq!(bus.next_visible(), Some(bus.clock.now().plus_ms(5_000)));
        bus.clock.advance_ms(5_000);
        assert!(bus.receive("q", 10).records.is_empty());
        assert_eq!((bus.dead("q").len(), bus.purge().len()), (1, 0));
    }

    #[tokio::test]
    async fn a_receipt_deletes_only_the_receive_it_belongs_to() {
        let bus = bus(Manners::default());
        publish(&bus, "k").await;
        let first = bus.receive("q", 10).records[0].receipt_handle.clone().unwrap();
        bus.clock.advance_ms(60_000);
        let second = bus.receive("q", 10).records[0].receipt_handle.clone().unwrap();
        bus.delete("q", &[first]);
        assert!(bus.next_visible().is_some());
        bus.delete("q", &[second]);
        assert_eq!(bus.next_visible(), None);
    }

    #[tokio::test]
    async fn unkind_queues_repeat_shuffle_and_poison() {
        let bus = bus(Manners { duplicates: true, order: Some(Seeded::new(1)), poison: true });
        for n in 0..5 {
            publish(&bus, &format!("k{n}")).await;
        }
        let batch = bus.receive("q", 20).records;
        assert_eq!((batch.len(), bus.poison_planted()), (11, 1));
        let ids: Vec<_> = batch.iter().map(|record| record.message_id.clone().unwrap()).collect();
        let mut sorted = ids.clone();
        sorted.sort();
        assert_ne!(ids, sorted);
    }
}
