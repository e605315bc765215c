//! Fakes of the ports. They keep the promises of the real ones, and can be told to fail.

use std::sync::Mutex;

use async_trait::async_trait;
use florin_domain::event::Event;
use florin_messaging::{PublishError, Publisher, Visibility, visibility::Change};

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

/// Remembers which messages were hidden for how long.
#[derive(Debug, Default)]
pub struct RecordingVisibility(Mutex<Vec<Change>>);

impl RecordingVisibility {
    /// Every change so far, as (receipt handle, seconds).
    pub fn changes(&self) -> Vec<(String, i32)> {
        self.0.lock().unwrap().iter().map(|change| (change.receipt_handle.clone(), change.seconds)).collect()
    }
}

#[async_trait]
impl Visibility for RecordingVisibility {
    async fn change(&self, changes: Vec<Change>) {
        self.0.lock().unwrap().extend(changes);
    }
}
