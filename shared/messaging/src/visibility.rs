//! Waiting without being billed: a message that is to be tried later stays hidden in its queue.

use async_trait::async_trait;
use aws_sdk_sqs::{Client, types::ChangeMessageVisibilityBatchRequestEntry};

use crate::publisher::error_text;

/// The longest time that SQS hides a message, in seconds (12 hours, less a margin for the time it is hidden already).
pub const VISIBILITY_SECONDS_MAX: i32 = 43_000;
/// Entries of one call.
const CHANGES_PER_CALL_MAX: usize = 10;

/// When a message is to be seen again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The receipt handle of this receive.
    pub receipt_handle: String,
    /// Seconds from now.
    pub seconds: i32,
}

/// Hides messages, or shows them again.
#[async_trait]
pub trait Visibility: Send + Sync {
    /// Changes what it can. What it cannot change comes back when the queue's own time-out ends: later, but not lost.
    async fn change(&self, changes: Vec<Change>);
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
        for chunk in changes.chunks(CHANGES_PER_CALL_MAX) {
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
}
