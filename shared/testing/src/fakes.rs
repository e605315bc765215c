//! Fakes of the ports. They keep the promises of the real ones, and can be told to fail.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use florin_domain::event::Event;
use florin_messaging::{Failed, FailureLog, Later, PublishError, Publisher, Queue, Visibility, visibility::Change};

pub use crate::gateway::{FakeGateway, Script};

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
