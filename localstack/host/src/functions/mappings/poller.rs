//! One mapping at work: it collects batches, hands them to the function, and deletes what succeeded.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use serde_json::Value;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{sleep, sleep_until},
};

use super::{
    Source, Target,
    answer::{Verdict, verdict},
    event, filter,
    pace::Pace,
};
use crate::{
    functions::{InvokeError, PAYLOAD_BYTES_MAX},
    sqs::Received,
};

/// Messages of one receive, as SQS allows.
const RECEIVE_MAX: usize = 10;
/// How long one receive waits for messages, as Lambda's pollers do.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);
/// Batches at once of a mapping without `MaximumConcurrency`: AWS goes up to 1,250, a machine has fewer CPUs.
const CONCURRENCY_DEFAULT: u32 = 10;
/// A receive that took longer than this found an empty queue first.
const WAITED_MS: u64 = 10;
/// A throttled batch is offered again after this time, then after twice as long and so on, as long as its messages are
/// hidden.
const THROTTLED_MS_MIN: u64 = 100;
/// At most.
const THROTTLED_MS_MAX: u64 = 5_000;

/// What a poller is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// Name of the queue.
    pub(crate) queue: String,
    /// ARN of the queue.
    pub(crate) queue_arn: String,
    /// Logical id of the function.
    pub(crate) function: String,
    /// Records of a batch, at most.
    pub(crate) batch_size: usize,
    /// How long a batch may fill.
    pub(crate) window: Duration,
    /// Batches at once.
    pub(crate) concurrency_max: Option<u32>,
    /// Whether the answer names the failed records.
    pub(crate) reports_item_failures: bool,
    /// Records that match none of these are deleted unseen.
    pub(crate) filters: Vec<Value>,
    /// How long a received message stays hidden.
    pub(crate) visibility: Duration,
}

/// Drains a queue into a function.
pub(crate) struct Poller {
    settings: Settings,
    source: Arc<dyn Source>,
    target: Arc<dyn Target>,
    say: Box<dyn Fn(&str) + Send + Sync>,
}

/// A message with its record as JSON.
struct Item {
    id: String,
    receipt_handle: String,
    record: Vec<u8>,
}

/// A batch that is done: when it began, and whether it succeeded as far as the pace is concerned.
type Done = (Instant, bool);

impl Poller {
    /// A poller that tells what goes wrong through `say`.
    pub(crate) fn new(
        settings: Settings,
        source: Arc<dyn Source>,
        target: Arc<dyn Target>,
        say: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        Self { settings, source, target, say }
    }

    /// Works until it is told to stop, then until its last batch is done.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let this = Arc::new(self);
        let width_max = usize::try_from(this.settings.concurrency_max.unwrap_or(CONCURRENCY_DEFAULT));
        let mut pace = Pace::new(width_max.unwrap_or(usize::MAX), Instant::now());
        let mut at_work: JoinSet<Done> = JoinSet::new();
        let (mut carried, mut filling) = (VecDeque::new(), Batch::default());
        while this.has_room(&mut pace, &mut at_work, &mut stop).await {
            let asked = Instant::now();
            let collected = {
                let collecting = this.collect(&mut filling, &mut carried);
                tokio::pin!(collecting);
                loop {
                    tokio::select! {
                        biased;
                        _ = stop.wait_for(|stop| *stop) => break None,
                        Some(done) = at_work.join_next() => note(&mut pace, done),
                        collected = &mut collecting => break Some(collected),
                    }
                }
            };
            let Some(collected) = collected else { break };
            if asked.elapsed() > Duration::from_millis(WAITED_MS) {
                pace.waited();
            }
            match collected {
                Ok(()) if filling.items.is_empty() => {}
                Ok(()) => {
                    let batch = mem::take(&mut filling).items;
                    at_work.spawn(Arc::clone(&this).work(batch, stop.clone()));
                }
                Err(why) => {
                    (this.say)(&format!("{} cannot be received from: {why}", this.settings.queue));
                    pace.failed(asked, Instant::now());
                }
            }
        }
        // What was received by then is handed over.
        loop {
            filling.fill(&mut carried, this.settings.batch_size);
            let batch = mem::take(&mut filling).items;
            if batch.is_empty() {
                break;
            }
            at_work.spawn(Arc::clone(&this).work(batch, stop.clone()));
        }
        while at_work.join_next().await.is_some() {}
    }

    /// Waits until another batch may be at work; false when it is time to stop.
    async fn has_room(&self, pace: &mut Pace, at_work: &mut JoinSet<Done>, stop: &mut watch::Receiver<bool>) -> bool {
        loop {
            let now = Instant::now();
            if *stop.borrow() {
                return false;
            }
            let look_again = match pace.resume_at() > now {
                true => pace.resume_at(),
                false if at_work.len() < pace.width() => return true,
                false => pace.full(now),
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return false,
                Some(done) = at_work.join_next() => note(pace, done),
                () = sleep_until(look_again.into()) => {}
            }
        }
    }

    /// Waits for a batch: until it is full, or its window, which begins with its first message, is over. What no longer
    /// fits is carried into the next batch. A batch may be empty. Nothing is lost when the wait is given up.
    async fn collect(&self, batch: &mut Batch, carried: &mut VecDeque<Item>) -> Result<(), String> {
        let settings = &self.settings;
        batch.fill(carried, settings.batch_size);
        if !carried.is_empty() {
            return Ok(());
        }
        let mut ends_at = (!batch.items.is_empty()).then(|| Instant::now() + settings.window);
        while batch.items.len() < settings.batch_size {
            let wait = match ends_at {
                Some(ends_at) => ends_at.saturating_duration_since(Instant::now()),
                None => RECEIVE_WAIT,
            };
            if ends_at.is_some() && wait.is_zero() {
                break;
            }
            let max = RECEIVE_MAX.min(settings.batch_size - batch.items.len());
            let received = match self.source.receive(&settings.queue, max, wait.min(RECEIVE_WAIT)).await {
                Ok(received) if received.is_empty() => continue,
                Ok(received) => received,
                Err(error) if batch.items.is_empty() => return Err(error.to_string()),
                Err(_) => break,
            };
            ends_at.get_or_insert_with(|| Instant::now() + settings.window);
            let (taken, unwanted) = self.sort(received);
            for item in taken {
                carried.extend(batch.push(item, settings.batch_size));
            }
            self.delete(unwanted).await;
            if !carried.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The messages that the filters take, and the receipt handles of the others.
    fn sort(&self, received: Vec<Received>) -> (Vec<Item>, Vec<String>) {
        let (mut taken, mut unwanted) = (Vec::with_capacity(received.len()), Vec::new());
        for message in received {
            match event::record(&message, &self.settings.queue_arn) {
                Ok(record) if !filter::takes(&self.settings.filters, &record) => unwanted.push(message.receipt_handle),
                Ok(record) => taken.push(Item { id: message.id, receipt_handle: message.receipt_handle, record }),
                Err(error) => (self.say)(&format!("message {} cannot be written: {error}", message.id)),
            }
        }
        (taken, unwanted)
    }

    async fn work(self: Arc<Self>, batch: Vec<Item>, stop: watch::Receiver<bool>) -> Done {
        let began = Instant::now();
        let event = Bytes::from(event::event(batch.iter().map(|item| item.record.as_slice())));
        let verdict = match self.invoke(event, began, stop).await {
            Err(InvokeError::Throttled) => {
                Verdict::Malformed("the function was throttled for as long as its messages were hidden".to_owned())
            }
            // The function's own log tells.
            Err(_) => return (began, false),
            Ok(_) if !self.settings.reports_item_failures => Verdict::Failed(BTreeSet::new()),
            Ok(answer) => verdict(&answer, &batch.iter().map(|item| item.id.as_str()).collect()),
        };
        match verdict {
            Verdict::Failed(failed) => {
                let done = batch.into_iter().filter(|item| !failed.contains(&item.id));
                self.delete(done.map(|item| item.receipt_handle).collect()).await;
                (began, true)
            }
            Verdict::Malformed(why) => {
                (self.say)(&format!("the whole batch of {} failed: {why}", batch.len()));
                (began, false)
            }
        }
    }

    /// A throttled batch is offered again until its messages would be visible, or the poller is told to stop.
    async fn invoke(
        &self,
        event: Bytes,
        began: Instant,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Bytes, InvokeError> {
        let mut wait = Duration::from_millis(THROTTLED_MS_MIN);
        loop {
            match self.target.invoke(&self.settings.function, event.clone()).await {
                Err(InvokeError::Throttled) if began.elapsed() + wait < self.settings.visibility => {
                    tokio::select! {
                        () = sleep(wait) => {}
                        _ = stop.wait_for(|stop| *stop) => return Err(InvokeError::Throttled),
                    }
                    wait = (wait * 2).min(Duration::from_millis(THROTTLED_MS_MAX));
                }
                result => return result,
            }
        }
    }

    /// What cannot be deleted comes again, as in AWS.
    async fn delete(&self, receipt_handles: Vec<String>) {
        if receipt_handles.is_empty() {
            return;
        }
        if let Err(error) = self.source.delete(&self.settings.queue, &receipt_handles).await {
            (self.say)(&format!("{} messages cannot be deleted and will come again: {error}", receipt_handles.len()));
        }
    }
}

/// A batch that fills.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    bytes: usize,
}

impl Batch {
    /// Takes what was carried over, as far as it fits.
    fn fill(&mut self, carried: &mut VecDeque<Item>, items_max: usize) {
        while let Some(item) = carried.pop_front() {
            if let Some(item) = self.push(item, items_max) {
                carried.push_front(item);
                return;
            }
        }
    }

    /// Adds the item, or gives it back when the batch is full. A first item always fits.
    fn push(&mut self, item: Item, items_max: usize) -> Option<Item> {
        let bytes = self.bytes + item.record.len() + 1;
        let fits = self.items.len() < items_max && bytes + event::ENVELOPE_BYTES <= PAYLOAD_BYTES_MAX;
        if !fits && !self.items.is_empty() {
            return Some(item);
        }
        self.bytes = bytes;
        self.items.push(item);
        None
    }
}

fn note(pace: &mut Pace, done: Result<Done, JoinError>) {
    match done {
        Ok((_, true)) => pace.succeeded(),
        Ok((began, false)) => pace.failed(began, Instant::now()),
        // A batch that panicked comes again.
        Err(_) => pace.failed(Instant::now(), Instant::now()),
    }
}
