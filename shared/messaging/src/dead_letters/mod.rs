//! Looking after dead letters: what lies in a dead-letter queue, why, and putting it back into the queue it came from
//! or discarding it. `select` shows, `replay` and `discard` act; all of them are bounded, and what acts leaves a trail
//! in the audit table.
//!
//! Replaying moves a message by sending it first and deleting it then. A crash in between leaves it in both queues,
//! never in none; a duplicate is harmless, since every consumer acts once per event.

mod filter;
mod letter;
mod moves;
mod trail;
mod work;

use std::{collections::HashMap, fmt, time::Duration};

use aws_sdk_sqs::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        MessageSystemAttributeName, MessageSystemAttributeNameForSends, MessageSystemAttributeValue, QueueAttributeName,
    },
};
use florin_domain::time::Timestamp;
use florin_store::{
    StoreError,
    audit::Audit,
    failures::{Failures, LastFailure},
};

pub use filter::{Filter, NO_REASON, Seen};
pub use letter::DeadLetter;
pub use moves::MoveProgress;
pub use work::{Action, End, Fate, Order, Selection, Tally};

use crate::{
    publisher::error_text,
    visibility::{Change, SqsVisibility, Visibility},
};

/// Dead letters that one look shows.
pub const SELECT_MESSAGES_MAX: u32 = 1_000;
/// Dead letters that one look examines to find those that are meant.
pub const SELECT_EXAMINED_MAX: u32 = 1_000;
/// Dead letters that one run replays or discards: whoever has more looks at the outcome first.
pub const RUN_MESSAGES_MAX: u32 = 10_000;
/// The fastest run that can be asked for: what `StartMessageMoveTask` allows.
pub const RUN_PER_SECOND_MAX: u32 = 500;
/// For how long a look hides what it shows, in seconds, should it never come to show it again itself.
pub const SELECT_HIDDEN_S: i32 = 30;
/// For how long a run hides what it works on, in seconds: longer than sending and deleting take with all tries, and
/// short enough to wait for after a crash.
pub const RUN_HIDDEN_S: i32 = 60;

/// Messages that SQS gives in one call.
const MESSAGES_PER_RECEIVE_MAX: u32 = 10;
/// A receive that waits asks all of a queue's servers, so that its emptiness means something.
const RECEIVE_WAIT_S: i32 = 1;
/// What an endpoint answers to a call that it does not know: AWS's own codes, and those of emulators.
const UNKNOWN_CALL: [&str; 4] = ["InvalidAction", "UnknownOperation", "UnknownOperationException", "NotImplemented"];
/// What it answers for a queue that it does not have: AWS's code in the header of its older protocol, and in the body.
const NO_QUEUE: [&str; 2] = ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"];
/// HTTP's word for a call that is not known.
const STATUS_NOT_IMPLEMENTED: u16 = 501;

/// Something that an endpoint did not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeadLettersError {
    /// No queue has this name.
    #[error("there is no queue {0}")]
    NoQueue(String),
    /// A call failed, for the reason that the service gave.
    #[error("{call} failed for {queue}: {reason}")]
    Call {
        /// The API's name of the call.
        call: &'static str,
        /// The queue's URL.
        queue: String,
        /// The service's code and message.
        reason: String,
    },
    /// The reasons of failures cannot be read.
    #[error("why messages failed cannot be read: {0}")]
    Reasons(String),
    /// What is to be done cannot be written down, so it is not done.
    #[error("the audit cannot be written: {0}")]
    Audit(String),
}

/// How many messages are in the two queues. SQS counts approximately, and lags by up to a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// In the consumer's queue, ready to be received.
    pub waiting: u64,
    /// In the consumer's queue, with the consumer or hidden until their next try.
    pub in_flight: u64,
    /// In the consumer's queue, not to be received yet.
    pub delayed: u64,
    /// Dead letters that can be seen.
    pub dead: u64,
    /// Dead letters that somebody looks at or replays just now.
    pub hidden: u64,
}

impl Depth {
    /// Everything in the consumer's queue.
    pub const fn queued(self) -> u64 {
        self.waiting.saturating_add(self.in_flight).saturating_add(self.delayed)
    }
}

/// What is known of dead letters, and what is written down about them.
#[derive(Debug, Clone)]
pub struct Records {
    /// Why messages failed.
    pub failures: Failures,
    /// What operators did.
    pub audit: Audit,
    /// The time of day.
    pub now: fn() -> Timestamp,
}

/// A consumer's queue and its dead-letter queue.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    client: Client,
    consumer: String,
    queue_url: String,
    dead_letters_url: String,
    records: Records,
    time_max: Option<Duration>,
}

impl DeadLetters {
    /// A consumer's queues at these URLs.
    pub fn at(
        client: Client,
        consumer: impl Into<String>,
        queue_url: impl Into<String>,
        dead_letters_url: impl Into<String>,
        records: Records,
    ) -> Self {
        let (consumer, queue_url) = (consumer.into(), queue_url.into());
        Self { client, consumer, queue_url, dead_letters_url: dead_letters_url.into(), records, time_max: None }
    }

    /// Finds both queues by their names, which `template.yaml` derives from the stack's.
    pub async fn find(
        client: Client,
        stack_name: &str,
        consumer: &str,
        records: Records,
    ) -> Result<Self, DeadLettersError> {
        let queue_url = url(&client, &format!("{stack_name}-{consumer}")).await?;
        let dead_letters_url = url(&client, &format!("{stack_name}-{consumer}-dead-letters")).await?;
        Ok(Self::at(client, consumer, queue_url, dead_letters_url, records))
    }

    /// The same, but a look or a run begins nothing new after this time.
    #[must_use]
    pub fn within(self, time_max: Duration) -> Self {
        Self { time_max: Some(time_max), ..self }
    }

    /// How full both queues are.
    pub async fn depth(&self) -> Result<Depth, DeadLettersError> {
        let [waiting, in_flight, delayed] = counts(&self.client, &self.queue_url).await?;
        let [dead, hidden, _] = counts(&self.client, &self.dead_letters_url).await?;
        Ok(Depth { waiting, in_flight, delayed, dead, hidden })
    }

    async fn receive(&self, at_most: u32, hidden_s: i32) -> Result<Vec<DeadLetter>, DeadLettersError> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.dead_letters_url)
            .max_number_of_messages(i32::try_from(at_most.min(MESSAGES_PER_RECEIVE_MAX)).unwrap_or(1))
            .wait_time_seconds(RECEIVE_WAIT_S)
            .visibility_timeout(hidden_s)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        let answer = request.send().await.map_err(|error| failed("ReceiveMessage", &self.dead_letters_url, &error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(DeadLetter::of).collect())
    }

    /// Sends the message as it was, and returns the id of the new one.
    async fn send(&self, letter: &DeadLetter) -> Result<String, DeadLettersError> {
        let trace = letter.system.get(&MessageSystemAttributeName::AwsTraceHeader).and_then(|header| {
            let value = MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().ok()?;
            Some(HashMap::from([(MessageSystemAttributeNameForSends::AwsTraceHeader, value)]))
        });
        let request = self
            .client
            .send_message()
            .queue_url(&self.queue_url)
            .message_body(&letter.body)
            .set_message_attributes(Some(letter.attributes.clone()).filter(|attributes| !attributes.is_empty()))
            .set_message_system_attributes(trace);
        let answer = request.send().await.map_err(|error| failed("SendMessage", &self.queue_url, &error))?;
        Ok(answer.message_id.unwrap_or_default())
    }

    async fn delete(&self, letter: &DeadLetter) -> Result<(), DeadLettersError> {
        let request = self.client.delete_message().queue_url(&self.dead_letters_url);
        let answer = request.receipt_handle(&letter.receipt_handle).send().await;
        answer.map(|_| ()).map_err(|error| failed("DeleteMessage", &self.dead_letters_url, &error))
    }

    async fn show_again(&self, changes: Vec<Change>) {
        SqsVisibility::new(self.client.clone(), &self.dead_letters_url).change(changes).await;
    }

    /// The letters with the reasons of their last failures.
    async fn with_reasons(&self, letters: Vec<DeadLetter>) -> Result<Vec<Seen>, DeadLettersError> {
        let ids: Vec<&str> = letters.iter().map(DeadLetter::message_id).collect();
        let known = self.records.failures.last(&ids).await;
        let mut known: HashMap<String, LastFailure> =
            known.map_err(|error: StoreError| DeadLettersError::Reasons(error.to_string()))?;
        let seen = letters.into_iter().map(|letter| Seen { failure: known.remove(letter.message_id()), letter });
        Ok(seen.collect())
    }
}

async fn url(client: &Client, name: &str) -> Result<String, DeadLettersError> {
    match client.get_queue_url().queue_name(name).send().await {
        Ok(answer) => answer.queue_url.ok_or_else(|| DeadLettersError::NoQueue(name.to_owned())),
        Err(error) if NO_QUEUE.contains(&code(&error)) => Err(DeadLettersError::NoQueue(name.to_owned())),
        Err(error) => Err(failed("GetQueueUrl", name, &error)),
    }
}

/// Messages waiting, in flight and delayed.
async fn counts(client: &Client, url: &str) -> Result<[u64; 3], DeadLettersError> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    let attributes = attributes(client, url, &names).await?;
    Ok(names.map(|name| attributes.get(&name).and_then(|count| count.parse().ok()).unwrap_or(0)))
}

async fn arn(client: &Client, url: &str) -> Result<String, DeadLettersError> {
    let mut attributes = attributes(client, url, &[QueueAttributeName::QueueArn]).await?;
    Ok(attributes.remove(&QueueAttributeName::QueueArn).unwrap_or_default())
}

async fn attributes(
    client: &Client,
    url: &str,
    names: &[QueueAttributeName],
) -> Result<HashMap<QueueAttributeName, String>, DeadLettersError> {
    let request = client.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
    let answer = request.send().await.map_err(|error| failed("GetQueueAttributes", url, &error))?;
    Ok(answer.attributes.unwrap_or_default())
}

fn is_unknown_call<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    UNKNOWN_CALL.contains(&code(error))
        || error.raw_response().is_some_and(|answer| answer.status().as_u16() == STATUS_NOT_IMPLEMENTED)
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default()
}

fn failed<E, R>(call: &'static str, queue: &str, error: &SdkError<E, R>) -> DeadLettersError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug,
{
    DeadLettersError::Call { call, queue: queue.to_owned(), reason: error_text(error) }
}
