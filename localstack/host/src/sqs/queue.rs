//! One queue: its messages, and which of them can be received.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Counts,
    handle::Handle,
    message::{Doubled, Message, Position, Taken},
    settings::Settings,
    waiters::Waiters,
};
use crate::deliveries::DeliveryFault;

/// Messages of a queue that were received and are neither deleted nor visible again.
pub(super) const IN_FLIGHT_MAX: usize = 120_000;
/// From how many of the oldest messages the fault "shuffled" chooses.
const SHUFFLED_FROM_MAX: usize = 1_000;

/// What is kept of a queue besides its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Name.
    pub(super) name: String,
    /// Attributes.
    pub(super) settings: Settings,
    /// Tags.
    pub(super) tags: BTreeMap<String, String>,
    /// Milliseconds since 1970.
    pub(super) created_at_ms: u64,
    /// Milliseconds since 1970.
    pub(super) modified_at_ms: u64,
    /// Milliseconds since 1970; 0 if it never was.
    pub(super) purged_at_ms: u64,
}

/// A queue.
#[derive(Debug)]
pub(super) struct QueueState {
    /// Never used again, so that a receipt handle is of one queue.
    pub(super) id: u64,
    pub(super) arn: std::sync::Arc<str>,
    pub(super) record: Record,
    pub(super) waiters: Waiters,
    /// By sequence number, which is the order of sending.
    messages: BTreeMap<u64, Message>,
    order: Order,
}

/// Every message of a queue, by when it can be received.
#[derive(Debug, Default)]
struct Order {
    /// (visible since, sequence) of the messages that can be received.
    ready: BTreeSet<(u64, u64)>,
    /// (visible at, sequence) of all others.
    hidden: BTreeSet<(u64, u64)>,
    /// Those of `hidden` that were received.
    in_flight: usize,
}

impl Order {
    fn attach(&mut self, sequence: u64, position: &Position, now_ms: u64) {
        if position.visible_at_ms <= now_ms {
            self.ready.insert((position.visible_at_ms, sequence));
        } else {
            self.hidden.insert((position.visible_at_ms, sequence));
            self.in_flight += usize::from(position.receives_here > 0);
        }
    }

    fn detach(&mut self, sequence: u64, position: &Position) {
        let key = (position.visible_at_ms, sequence);
        if !self.ready.remove(&key) && self.hidden.remove(&key) {
            self.in_flight -= usize::from(position.receives_here > 0);
        }
    }
}

/// What a receive took out of one queue.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// For the receiver.
    pub(super) taken: Vec<Taken>,
    /// Received too often: for the dead-letter queue.
    pub(super) dead: Vec<(u64, Message)>,
}

/// How a receive takes messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Take {
    /// Messages at most.
    pub(super) max: usize,
    /// How long they stay hidden.
    pub(super) visibility_ms: u64,
    /// What a fault rule asks for.
    pub(super) fault: DeliveryFault,
    /// Receives after which a message is dead; `None` without a dead-letter queue.
    pub(super) receives_max: Option<u64>,
}

impl QueueState {
    /// A queue without messages.
    pub(super) fn new(id: u64, arn: String, record: Record) -> Self {
        Self {
            id,
            arn: arn.into(),
            record,
            waiters: Waiters::default(),
            messages: BTreeMap::new(),
            order: Order::default(),
        }
    }

    /// Adds a message.
    pub(super) fn insert(&mut self, sequence: u64, message: Message, now_ms: u64) {
        self.order.attach(sequence, &message.position, now_ms);
        self.messages.insert(sequence, message);
    }

    /// Takes a message out.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<Message> {
        let message = self.messages.remove(&sequence)?;
        self.order.detach(sequence, &message.position);
        Some(message)
    }

    /// The message.
    pub(super) fn message(&self, sequence: u64) -> Option<&Message> {
        self.messages.get(&sequence)
    }

    /// Changes where a message stands. Everything that moves a message goes through here, so that the two sets and the
    /// count of messages in flight always agree with it.
    pub(super) fn place(&mut self, sequence: u64, now_ms: u64, change: impl FnOnce(&mut Message)) -> Option<Position> {
        let message = self.messages.get_mut(&sequence)?;
        self.order.detach(sequence, &message.position);
        change(message);
        self.order.attach(sequence, &message.position, now_ms);
        Some(message.position.clone())
    }

    /// Removes every message.
    pub(super) fn purge(&mut self) {
        self.messages.clear();
        self.order = Order::default();
    }

    /// Lets time pass: what became visible is ready, what grew too old is dropped. Answers the numbers of the dropped.
    /// Numbers follow the time of sending (dead letters keep both), so a look at the first is enough.
    pub(super) fn settle(&mut self, now_ms: u64) -> Vec<u64> {
        while let Some(key) = self.order.hidden.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.order.hidden.remove(&key);
            self.order.ready.insert(key);
            let received = self.messages.get(&key.1).is_some_and(|message| message.position.receives_here > 0);
            self.order.in_flight -= usize::from(received);
        }
        let mut expired = Vec::new();
        while let Some(sequence) =
            self.messages.first_key_value().filter(|(_, message)| self.is_expired(message, now_ms)).map(|(key, _)| *key)
        {
            self.remove(sequence);
            expired.push(sequence);
        }
        expired
    }

    fn is_expired(&self, message: &Message, now_ms: u64) -> bool {
        message.content.sent_at_ms.saturating_add(self.record.settings.retention_ms) <= now_ms
    }

    /// How many messages can be received now.
    pub(super) fn takeable(&self) -> usize {
        self.order.ready.len().min(IN_FLIGHT_MAX.saturating_sub(self.order.in_flight))
    }

    /// Whether as many messages are in flight as may be.
    pub(super) fn is_over_limit(&self) -> bool {
        self.order.in_flight >= IN_FLIGHT_MAX
    }

    /// When the next hidden message becomes visible, in milliseconds since 1970; `u64::MAX` if there is none.
    pub(super) fn next_visible_ms(&self) -> u64 {
        self.order.hidden.first().map_or(u64::MAX, |(at_ms, _)| *at_ms)
    }

    /// Tells waiters what there is for them. Follows every change of the queue.
    pub(super) fn rouse(&mut self) {
        let (takeable, next_ms) = (self.takeable(), self.next_visible_ms());
        self.waiters.share_out(takeable, next_ms);
    }

    /// How many messages there are.
    pub(super) fn counts(&self) -> Counts {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Counts {
            visible: count(self.order.ready.len()),
            in_flight: count(self.order.in_flight),
            delayed: count(self.order.hidden.len() - self.order.in_flight),
        }
    }

    /// The messages that can be received, oldest first.
    pub(super) fn ready(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.order.ready.iter().filter_map(|(_, sequence)| Some((*sequence, self.messages.get(sequence)?)))
    }

    /// Takes the messages that have been visible for longest.
    pub(super) fn take(&mut self, take: Take, now_ms: u64, mut chance: impl FnMut() -> u64) -> Picked {
        let mut picked = Picked::default();
        // What a fault leaves visible is not met again by the same receive.
        let mut candidates = self.candidates(take, &mut chance).into_iter();
        while picked.taken.len() < take.max {
            let Some(sequence) = candidates.next() else { break };
            let Some(message) = self.messages.get(&sequence) else { continue };
            // What is owed one more receive by a fault is received, and not buried.
            let is_owed = message.doubled == Doubled::Owed;
            if !is_owed && take.receives_max.is_some_and(|max| message.position.receives_here >= max) {
                picked.dead.extend(self.remove(sequence).map(|message| (sequence, message)));
            } else {
                picked.taken.extend(self.receive_one(sequence, take, now_ms, chance()));
            }
        }
        picked
    }

    /// Numbers of the messages to look at, in order. Not more than needed, unless some of them are dead;
    /// then the caller finds fewer and asks again.
    fn candidates(&self, take: Take, chance: &mut impl FnMut() -> u64) -> Vec<u64> {
        let mut candidates: Vec<u64> = self.order.ready.iter().map(|(_, sequence)| *sequence).take(take.max).collect();
        if take.fault.shuffled {
            candidates =
                self.order.ready.iter().map(|(_, sequence)| *sequence).take(SHUFFLED_FROM_MAX.max(take.max)).collect();
            let mut dice: Vec<(u64, u64)> = candidates.into_iter().map(|sequence| (chance(), sequence)).collect();
            dice.sort_unstable();
            candidates = dice.into_iter().map(|(_, sequence)| sequence).collect();
        }
        candidates
    }

    fn receive_one(&mut self, sequence: u64, take: Take, now_ms: u64, nonce: u64) -> Option<Taken> {
        let (queue, mut content) = (self.id, None);
        let position = self.place(sequence, now_ms, |message| {
            let position = &mut message.position;
            position.receives += 1;
            position.receives_here += 1;
            position.nonce = nonce;
            position.received_at_ms = now_ms;
            if position.first_received_at_ms == 0 {
                position.first_received_at_ms = now_ms;
            }
            let leaves_visible = take.fault.twice && message.doubled == Doubled::No;
            message.doubled = match message.doubled {
                Doubled::No if leaves_visible => Doubled::Owed,
                Doubled::Owed => Doubled::Done,
                other => other,
            };
            if !leaves_visible {
                position.visible_at_ms = now_ms.saturating_add(take.visibility_ms);
            }
            content = Some(std::sync::Arc::clone(&message.content));
        })?;
        let handle = Handle { queue, sequence, receive: position.receives, nonce };
        Some(Taken { content: content?, position, handle })
    }
}
