//! Waiting without being billed: a message that is to be tried later stays hidden in its queue.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::{
    Client,
    types::{ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue, SendMessageBatchRequestEntry},
};

use crate::{
    call::{self, ENTRIES_PER_CALL_MAX},
    publisher::error_text,
};

/// The longest time that SQS hides a message, in seconds (12 hours, less a margin for the time it is hidden already).
pub const VISIBILITY_SECONDS_MAX: i32 = 43_000;
/// The longest delay of a message that is sent, in seconds.
pub const DELAY_SECONDS_MAX: u64 = 900;

/// When a message is to be seen again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The receipt handle of this receive.
    pub receipt_handle: String,
    /// Seconds from now.
    pub seconds: i32,
}

/// A fresh copy of a message, which is given out after a delay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    /// What it says.
    pub body: String,
    /// Its message attributes: all of ours are strings.
    pub attributes: BTreeMap<String, String>,
    /// Seconds from now, `DELAY_SECONDS_MAX` at most.
    pub seconds: i32,
}

impl Later {
    /// A copy of this message.
    pub fn copy(record: &SqsMessage, seconds: i32) -> Self {
        let attributes = record.message_attributes.iter();
        Self {
            body: record.body.clone().unwrap_or_default(),
            attributes: attributes
                .filter_map(|(name, value)| Some((name.clone(), value.string_value.clone()?)))
                .collect(),
            seconds,
        }
    }

    fn bytes(&self) -> usize {
        call::bytes(&self.body, self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    fn entry(&self, place: usize) -> Option<SendMessageBatchRequestEntry> {
        let mut entry = SendMessageBatchRequestEntry::builder()
            .id(place.to_string())
            .message_body(&self.body)
            .delay_seconds(self.seconds.clamp(0, i32::try_from(DELAY_SECONDS_MAX).unwrap_or(0)));
        for (name, value) in &self.attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build().ok()?;
            entry = entry.message_attributes(name, value);
        }
        entry.build().ok()
    }
}

/// Makes messages wait.
#[async_trait]
pub trait Visibility: Send + Sync {
    /// Changes what it can. What it cannot change comes back when the queue's own time-out ends: later, but not lost.
    async fn change(&self, changes: Vec<Change>);

    /// Sends copies to the same queue. Says for each, in order, whether it is certain to be there.
    async fn send_later(&self, messages: Vec<Later>) -> Vec<bool>;
}

/// The queue that a function drains.
#[derive(Debug, Clone)]
pub struct SqsVisibility {
    client: Client,
    queue_url: String,
}

impl SqsVisibility {
    /// The queue at this URL.
    pub fn new(client: Client, queue_url: impl Into<String>) -> Self {
        Self { client, queue_url: queue_url.into() }
    }
}

#[async_trait]
impl Visibility for SqsVisibility {
    async fn change(&self, changes: Vec<Change>) {
        for chunk in changes.chunks(ENTRIES_PER_CALL_MAX) {
            let mut entries = Vec::new();
            for (place, change) in chunk.iter().enumerate() {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(place.to_string())
                    .receipt_handle(&change.receipt_handle)
                    .visibility_timeout(change.seconds.clamp(0, VISIBILITY_SECONDS_MAX));
                entries.extend(entry.build());
            }
            let request = self.client.change_message_visibility_batch().queue_url(&self.queue_url);
            match request.set_entries(Some(entries)).send().await {
                Ok(output) => {
                    for failed in output.failed() {
                        tracing::warn!(code = failed.code(), "a message keeps its queue's visibility time-out");
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error_text(&error), "messages keep their queue's visibility time-out");
                }
            }
        }
    }
    async fn send_later(&self, messages: Vec<Later>) -> Vec<bool> {
        let mut sent = Vec::with_capacity(messages.len());
        let mut rest = messages.as_slice();
        while !rest.is_empty() {
            let (call, after) = rest.split_at(call::of_one_call(rest.iter().map(Later::bytes)));
            let entries = call.iter().zip(0..).filter_map(|(message, place)| message.entry(place)).collect();
            let request = self.client.send_message_batch().queue_url(&self.queue_url).set_entries(Some(entries));
            let result = request.send().await.inspect_err(|error| {
                tracing::warn!(error = %error_text(error), "copies of messages were not sent");
            });
            let successful = result.as_ref().map_or(&[][..], |output| output.successful());
            sent.extend((0..call.len()).map(|place| successful.iter().any(|entry| entry.id() == place.to_string())));
            rest = after;
        }
        sent
    }
}
