//! Queues: state in memory, every change on disk before it is answered.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::Value;

use crate::{deliveries::DeliveryFaults, error::ServiceError, model};

/// All queues. Clones share them.
#[derive(Debug, Clone)]
pub struct Queues {}

/// A message to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// Body.
    pub body: String,
    /// Message attributes.
    pub attributes: BTreeMap<String, Attribute>,
    /// Instead of the queue's own delay.
    pub delay: Option<Duration>,
    /// `AWSTraceHeader`.
    pub trace_header: Option<String>,
}

/// A message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// `String`, `Number`, `Binary`, or one of them with a suffix such as `Number.int`.
    pub data_type: String,
    /// The value; text of strings and numbers.
    pub value: AttributeValue,
}

/// The value of a message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// `StringValue`.
    Text(String),
    /// `BinaryValue`.
    Binary(Vec<u8>),
}

/// A message as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Message id.
    pub id: String,
    /// What deletes it or changes its visibility.
    pub receipt_handle: String,
    /// Body.
    pub body: String,
    /// MD5 of the body, in hexadecimal.
    pub md5_of_body: String,
    /// Message attributes.
    pub attributes: BTreeMap<String, Attribute>,
    /// MD5 over the attributes as AWS computes it; `None` without attributes.
    pub md5_of_attributes: Option<String>,
    /// Receives so far, this one included.
    pub receive_count: u32,
    /// Milliseconds since 1970.
    pub sent_at_ms: u64,
    /// Milliseconds since 1970.
    pub first_received_at_ms: u64,
    /// Who sent it: the access key id's account.
    pub sender_id: String,
    /// `AWSTraceHeader`.
    pub trace_header: Option<String>,
    /// ARN of the queue it was a message of before it became a dead letter.
    pub dead_letter_source: Option<String>,
}

/// Messages of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ready.
    pub visible: u64,
    /// Received, not deleted, not yet visible again.
    pub in_flight: u64,
    /// Sent with a delay that is not over.
    pub delayed: u64,
}

impl Queues {
    /// Opens the queues kept at `path`, or begins with none.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, place: model::Place) -> anyhow::Result<Self> {
        let _ = (path, place);
        anyhow::bail!("not written yet")
    }

    /// Asks `faults` before each receive from now on.
    pub fn set_delivery_faults(&self, faults: DeliveryFaults) {
        let _ = faults;
    }

    /// Creates the queue, or gives it these settings and keeps its messages.
    ///
    /// # Errors
    /// When its redrive policy names a queue that does not allow it.
    pub async fn declare(&self, queue: &model::Queue) -> Result<(), ServiceError> {
        let _ = queue;
        Ok(())
    }

    /// The names of all queues.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Sends each message to the queue with the name beside it: all of them or, after a crash, none. Used by topics.
    /// A queue that does not exist is an error and nothing is sent.
    ///
    /// # Errors
    /// The queue's refusal.
    pub async fn send_all(&self, messages: Vec<(String, NewMessage)>) -> Result<Vec<String>, ServiceError> {
        let _ = messages;
        Ok(Vec::new())
    }

    /// Waits up to `wait` for up to `max` messages, which then stay hidden for `visibility` or the queue's own time.
    ///
    /// # Errors
    /// The queue's refusal.
    pub async fn receive(
        &self,
        queue: &str,
        max: usize,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<Received>, ServiceError> {
        let _ = (queue, max, wait, visibility);
        Ok(Vec::new())
    }

    /// Deletes messages by their receipt handles.
    ///
    /// # Errors
    /// The queue's refusal; a handle that is out of date is none.
    pub async fn delete(&self, queue: &str, receipt_handles: &[String]) -> Result<(), ServiceError> {
        let _ = (queue, receipt_handles);
        Ok(())
    }

    /// How many messages there are.
    ///
    /// # Errors
    /// When there is no such queue.
    pub fn counts(&self, queue: &str) -> Result<Counts, ServiceError> {
        let _ = queue;
        Ok(Counts::default())
    }

    /// Answers one call of the JSON protocol: `operation` is what follows `AmazonSQS.` in `X-Amz-Target`.
    ///
    /// # Errors
    /// The service's refusal, by its own name.
    pub async fn call(&self, operation: &str, input: Value) -> Result<Value, ServiceError> {
        let _ = (operation, input);
        Ok(Value::Null)
    }

    /// Waits until everything that was changed is on disk; for an orderly end.
    pub async fn flush(&self) {}
}
