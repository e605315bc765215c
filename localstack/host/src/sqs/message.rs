//! A message as the engine keeps it.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use md5::{Digest, Md5};

use super::{Attribute, Received, attributes, handle::Handle};
use crate::model::ACCOUNT_ID;

/// What a message never changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Message id.
    pub(super) id: String,
    /// Body.
    pub(super) body: String,
    /// Message attributes.
    pub(super) attributes: BTreeMap<String, Attribute>,
    /// `AWSTraceHeader`.
    pub(super) trace_header: Option<String>,
    /// Milliseconds since 1970. Retention counts from here, in a dead-letter queue too.
    pub(super) sent_at_ms: u64,
}

/// Where a message stands in the queue that holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// From when on it can be received, in milliseconds since 1970.
    pub(super) visible_at_ms: u64,
    /// The last receive, in milliseconds since 1970; 0 before the first.
    pub(super) received_at_ms: u64,
    /// The first receive, in milliseconds since 1970; 0 before it.
    pub(super) first_received_at_ms: u64,
    /// Receives in all queues: `ApproximateReceiveCount`.
    pub(super) receives: u64,
    /// Receives in this queue: what its redrive policy counts.
    pub(super) receives_here: u64,
    /// Of the last receipt handle.
    pub(super) nonce: u64,
    /// ARN of the queue it was a message of before it became a dead letter.
    pub(super) dead_letter_source: Option<Arc<str>>,
}

/// What the fault "deliver twice" owes for a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Doubled {
    /// Nothing so far.
    #[default]
    No,
    /// One more receive, even if the message is deleted before it.
    Owed,
    /// Nothing any more: each message is delivered twice at most once, or it would never leave.
    Done,
}

/// A message of a queue.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// What never changes.
    pub(super) content: Arc<Content>,
    /// What changes.
    pub(super) position: Position,
    /// In memory only: a restart forgives a fault.
    pub(super) doubled: Doubled,
}

/// A message that was just received. Text is copied from it after the engine is let go.
#[derive(Debug)]
pub(super) struct Taken {
    /// The message.
    pub(super) content: Arc<Content>,
    /// Where it stands since.
    pub(super) position: Position,
    /// Its receipt handle.
    pub(super) handle: Handle,
}

impl Taken {
    /// As callers see it.
    pub(super) fn into_received(self) -> Received {
        let content = self.content;
        Received {
            id: content.id.clone(),
            receipt_handle: self.handle.to_text(),
            body: content.body.clone(),
            md5_of_body: md5_of(content.body.as_bytes()),
            attributes: content.attributes.clone(),
            md5_of_attributes: attributes::md5_of_attributes(&content.attributes),
            receive_count: u32::try_from(self.position.receives).unwrap_or(u32::MAX),
            sent_at_ms: content.sent_at_ms,
            first_received_at_ms: self.position.first_received_at_ms,
            sender_id: ACCOUNT_ID.to_owned(),
            trace_header: content.trace_header.clone(),
            dead_letter_source: self.position.dead_letter_source.as_deref().map(str::to_owned),
        }
    }
}

/// MD5 in hexadecimal.
pub(super) fn md5_of(bytes: &[u8]) -> String {
    hexadecimal(&Md5::digest(bytes))
}

/// Bytes in hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        if write!(text, "{byte:02x}").is_err() {
            // Writing to a string cannot fail.
        }
        text
    })
}
