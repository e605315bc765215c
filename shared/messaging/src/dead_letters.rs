//! Looking after dead letters: what lies in a dead-letter queue, and putting it back into the queue it came from.
//!
//! Replaying moves a message by sending it first and deleting it then. A crash in between leaves it in both queues,
//! never in none; a duplicate is harmless, since every consumer acts once per event.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use aws_sdk_sqs::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        Message, MessageAttributeValue, MessageSystemAttributeName, MessageSystemAttributeNameForSends,
        MessageSystemAttributeValue, QueueAttributeName,
    },
};
use florin_domain::{
    event::{Event, InvalidEvent},
    time::Timestamp,
};
use tokio::time::Instant;

use crate::{
    mask::excerpt,
    publisher::error_text,
    visibility::{Change, SqsVisibility, Visibility},
};

/// Dead letters that one look shows.
pub const PEEK_MESSAGES_MAX: u32 = 100;
/// Dead letters that one run replays: whoever has more looks at the outcome first.
pub const REPLAY_MESSAGES_MAX: u32 = 10_000;
/// The fastest replay that can be asked for: what `StartMessageMoveTask` allows.
pub const REPLAY_PER_SECOND_MAX: u32 = 500;
/// For how long a look hides what it shows, in seconds, should it never come to show it again itself.
pub const PEEK_HIDDEN_S: i32 = 30;
/// For how long a replay hides what it works on, in seconds: longer than sending and deleting take with all tries, and
/// short enough to wait for after a crash.
pub const REPLAY_HIDDEN_S: i32 = 60;

/// Messages that SQS gives in one call.
const MESSAGES_PER_RECEIVE_MAX: u32 = 10;
/// A receive that waits asks all of a queue's servers, so that its emptiness means something.
const RECEIVE_WAIT_S: i32 = 1;
/// Failed sends and deletes after which a replay gives up: it is not one message, it is the queue.
const FAILURES_MAX: u32 = 10;
/// Receives in a row that bring nothing but what this run has replayed already.
const FRUITLESS_RECEIVES_MAX: u32 = 50;
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
}

/// How many messages are in the two queues. SQS counts approximately, and lags by up to a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// In the consumer's queue: waiting, in flight and delayed.
    pub queued: u64,
    /// Dead letters that can be seen.
    pub dead: u64,
    /// Dead letters that somebody looks at or replays just now.
    pub hidden: u64,
}

/// What a replay has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Sent to the consumer's queue.
    pub sent: u32,
    /// Of these, not deleted from the dead-letter queue: they are there twice, which is harmless.
    pub undeleted: u32,
    /// Not sent: still in the dead-letter queue.
    pub unsent: u32,
    /// Sent, failed again and back in the dead-letter queue: they stay there.
    pub came_back: u32,
}

/// Why a replay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing is left, except what came back.
    Empty,
    /// As many as were asked for.
    Limit,
    /// Too many calls failed; the reason of the last.
    Failing(String),
}

/// How far a `StartMessageMoveTask` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveProgress {
    /// Whether it has ended.
    pub ended: bool,
    /// `RUNNING`, `COMPLETED`, `FAILED` …
    pub status: String,
    /// Messages moved so far, approximately.
    pub moved: i64,
    /// Why it failed.
    pub failure: Option<String>,
}

/// A message that used up its receives. It does not print its body: whoever sent it may have put anything in.
#[derive(Clone)]
pub struct DeadLetter {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: HashMap<String, MessageAttributeValue>,
    system: HashMap<MessageSystemAttributeName, String>,
}

impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

impl DeadLetter {
    fn of(message: Message) -> Option<Self> {
        Some(Self {
            message_id: message.message_id?,
            receipt_handle: message.receipt_handle?,
            body: message.body?,
            attributes: message.message_attributes.unwrap_or_default(),
            system: message.attributes.unwrap_or_default(),
        })
    }

    /// The id that SQS gave it.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// What it says, or why it says nothing.
    pub fn event(&self) -> Result<Event, InvalidEvent> {
        Event::parse(&self.body)
    }

    /// When it was sent to the consumer's queue.
    pub fn sent_at(&self) -> Option<Timestamp> {
        let ms = self.system.get(&MessageSystemAttributeName::SentTimestamp)?;
        Some(Timestamp::from_ms(ms.parse().ok()?))
    }

    /// How often it has been received, looks at it included.
    pub fn receives(&self) -> Option<u32> {
        self.system.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok()
    }

    /// A message attribute (`type`, `subject` …), made safe to show.
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.get(name)?.string_value().map(excerpt)
    }

    /// How the body begins, made safe to show.
    pub fn excerpt(&self) -> String {
        excerpt(&self.body)
    }

    /// The body's length in bytes.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    fn shown_again(&self) -> Change {
        Change { receipt_handle: self.receipt_handle.clone(), seconds: 0 }
    }
}

/// A consumer's queue and its dead-letter queue.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    client: Client,
    queue_url: String,
    dead_letters_url: String,
}

impl DeadLetters {
    /// Finds both queues by their names, which `template.yaml` derives from the stack's.
    pub async fn find(client: Client, stack_name: &str, consumer: &str) -> Result<Self, DeadLettersError> {
        let queue_url = url(&client, &format!("{stack_name}-{consumer}")).await?;
        let dead_letters_url = url(&client, &format!("{stack_name}-{consumer}-dead-letters")).await?;
        Ok(Self { client, queue_url, dead_letters_url })
    }

    /// How full both queues are.
    pub async fn depth(&self) -> Result<Depth, DeadLettersError> {
        let [waiting, in_flight, delayed] = counts(&self.client, &self.queue_url).await?;
        let [dead, hidden, _] = counts(&self.client, &self.dead_letters_url).await?;
        Ok(Depth { queued: waiting + in_flight + delayed, dead, hidden })
    }

    /// Looks at dead letters and leaves them where they are.
    pub async fn peek(&self, at_most: u32) -> Result<Vec<DeadLetter>, DeadLettersError> {
        let at_most = at_most.min(PEEK_MESSAGES_MAX);
        let mut letters: Vec<DeadLetter> = Vec::new();
        let mut outcome = Ok(());
        loop {
            let seen = u32::try_from(letters.len()).unwrap_or(u32::MAX);
            let wanted = at_most.saturating_sub(seen);
            if wanted == 0 {
                break;
            }
            // What was received stays hidden meanwhile, so that it is not received again.
            match self.receive(wanted, PEEK_HIDDEN_S).await {
                Ok(received) if received.is_empty() => break,
                Ok(received) => letters.extend(received),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.show_again(letters.iter().map(DeadLetter::shown_again).collect()).await;
        outcome.map(|()| letters)
    }

    /// Puts dead letters back, at most `at_most` in all and `per_second` a second; `progress` hears of every batch.
    ///
    /// What fails again while this runs comes back to the dead-letter queue; it is left there, or a single poison
    /// message would circle until the limit. SQS keeps a message's id when it moves it to a dead-letter queue.
    pub async fn replay(
        &self,
        at_most: u32,
        per_second: Option<u32>,
        progress: impl FnMut(&Replayed),
    ) -> (Replayed, End) {
        let mut run = Run { letters: self, done: Replayed::default(), sent: HashSet::new(), kept: HashMap::new() };
        let end = run.drain(at_most.min(REPLAY_MESSAGES_MAX), per_second, progress).await;
        self.show_again(run.kept.into_values().map(|handle| Change { receipt_handle: handle, seconds: 0 }).collect())
            .await;
        (run.done, end)
    }

    /// Lets SQS itself move all dead letters back. `false` where the endpoint does not know the call.
    pub async fn start_move(&self, per_second: Option<u32>) -> Result<bool, DeadLettersError> {
        // The destination is named: without it SQS moves nothing that was sent to the dead-letter queue directly.
        let request = self
            .client
            .start_message_move_task()
            .source_arn(arn(&self.client, &self.dead_letters_url).await?)
            .destination_arn(arn(&self.client, &self.queue_url).await?)
            .set_max_number_of_messages_per_second(per_second.and_then(|rate| i32::try_from(rate).ok()));
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_unknown_call(&error) => Ok(false),
            Err(error) => Err(failed("StartMessageMoveTask", &self.dead_letters_url, &error)),
        }
    }

    /// How far the last move is; nothing if there was none.
    pub async fn move_progress(&self) -> Result<Option<MoveProgress>, DeadLettersError> {
        let source = arn(&self.client, &self.dead_letters_url).await?;
        let answer = self.client.list_message_move_tasks().source_arn(source).max_results(1).send().await;
        let answer = answer.map_err(|error| failed("ListMessageMoveTasks", &self.dead_letters_url, &error))?;
        Ok(answer.results().first().map(|task| {
            let status = task.status().unwrap_or("UNKNOWN").to_owned();
            MoveProgress {
                ended: !matches!(status.as_str(), "RUNNING" | "CANCELLING"),
                status,
                moved: task.approximate_number_of_messages_moved(),
                failure: task.failure_reason().map(str::to_owned),
            }
        }))
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
}

/// What became of one dead letter.
enum Moved {
    /// It is in the consumer's queue under this id, and the reason why it is still in the other one, too.
    Sent(String, Result<(), DeadLettersError>),
    /// It is where it was.
    Unsent(DeadLettersError),
}

struct Run<'a> {
    letters: &'a DeadLetters,
    done: Replayed,
    /// Ids of what this run sent.
    sent: HashSet<String>,
    /// Receipt handles by message id of what stays: hidden until the end, or it would be received over and over.
    kept: HashMap<String, String>,
}

impl Run<'_> {
    async fn drain(&mut self, at_most: u32, per_second: Option<u32>, mut progress: impl FnMut(&Replayed)) -> End {
        let started = Instant::now();
        let mut fruitless = 0;
        loop {
            let tried = self.done.sent + self.done.unsent;
            let wanted = at_most.saturating_sub(tried).min(per_second.unwrap_or(MESSAGES_PER_RECEIVE_MAX));
            if wanted == 0 {
                return End::Limit;
            }
            if let Some(rate) = per_second {
                tokio::time::sleep_until(started + Duration::from_millis(u64::from(tried) * 1_000 / u64::from(rate)))
                    .await;
            }
            let received = match self.letters.receive(wanted, REPLAY_HIDDEN_S).await {
                Ok(received) => received,
                Err(error) => return End::Failing(error.to_string()),
            };
            if received.is_empty() {
                return End::Empty;
            }
            let (back, to_move): (Vec<_>, Vec<_>) =
                received.into_iter().partition(|letter| self.sent.contains(&letter.message_id));
            fruitless = if to_move.is_empty() { fruitless + 1 } else { 0 };
            for letter in back {
                if self.kept.insert(letter.message_id, letter.receipt_handle).is_none() {
                    self.done.came_back += 1;
                }
            }
            let failure = self.move_all(to_move).await;
            progress(&self.done);
            if fruitless >= FRUITLESS_RECEIVES_MAX {
                return End::Empty;
            }
            if let Some(error) = failure
                && self.done.unsent + self.done.undeleted >= FAILURES_MAX
            {
                return End::Failing(error.to_string());
            }
        }
    }

    /// Moves letters side by side; the last failure, if there was one.
    async fn move_all(&mut self, letters: Vec<DeadLetter>) -> Option<DeadLettersError> {
        let queues = self.letters;
        let moves = letters.iter().map(|letter| async move {
            match queues.send(letter).await {
                // Only now: a crash before this line duplicates the message, and loses nothing.
                Ok(id) => Moved::Sent(id, queues.delete(letter).await),
                Err(error) => Moved::Unsent(error),
            }
        });
        let mut failure = None;
        for (letter, moved) in letters.iter().zip(futures::future::join_all(moves).await) {
            match moved {
                Moved::Sent(id, deleted) => {
                    self.done.sent += 1;
                    self.sent.insert(id);
                    if let Err(error) = deleted {
                        self.done.undeleted += 1;
                        failure = Some(error);
                    }
                }
                Moved::Unsent(error) => {
                    self.done.unsent += 1;
                    self.kept.insert(letter.message_id.clone(), letter.receipt_handle.clone());
                    failure = Some(error);
                }
            }
        }
        failure
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
