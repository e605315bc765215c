//! The calls of the JSON protocol.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::{
    NewMessage, Queues, attributes, batch,
    errors::{invalid_parameter, missing, no_queue, unknown_attribute, unsupported},
    fields::Fields,
    message::md5_of,
    settings::{VISIBILITY_SECONDS, WAIT_SECONDS},
    wire_message::{Wanted, new_message},
};
use crate::{counters::CLIENT, error::ServiceError, model::ACCOUNT_ID};

/// Messages of one `ReceiveMessage`.
const RECEIVE_MESSAGES: RangeInclusive<u64> = 1..=10;
/// Queues of one page.
const PAGE_QUEUES: RangeInclusive<u64> = 1..=1_000;
/// Tasks that `ListMessageMoveTasks` lists.
const LISTED_MOVES: RangeInclusive<u64> = 1..=10;
/// Messages that a move task moves in a second.
const MOVES_PER_SECOND: RangeInclusive<u64> = 1..=500;
/// Attributes of a queue that cannot be set.
const READ_ONLY_ATTRIBUTES: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];
/// Attributes that can be asked for and have no value on a standard queue without KMS and IAM.
const EMPTY_ATTRIBUTES: [&str; 7] = [
    "Policy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
];
/// Attributes that can be set.
const SETTABLE_ATTRIBUTES: [&str; 8] = [
    "VisibilityTimeout",
    "MessageRetentionPeriod",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "MaximumMessageSize",
    "SqsManagedSseEnabled",
    "RedrivePolicy",
    "RedriveAllowPolicy",
];

/// Answers one call.
///
/// # Errors
/// The service's refusal.
pub(super) async fn call(queues: &Queues, operation: &str, input: &Value) -> Result<Value, ServiceError> {
    let fields = Fields::of(input, "The request")?;
    match operation {
        "SendMessage" => send(queues, fields).await,
        "SendMessageBatch" => batch::send(queues, fields).await,
        "ReceiveMessage" => receive(queues, fields).await,
        "DeleteMessage" => {
            let (name, handle) = (fields.queue()?, fields.required_text("ReceiptHandle"));
            queues.look(|state| state.queue(name).map(|_| ()))?;
            queues.delete(name, &[handle?.to_owned()]).await.map(|()| json!({}))
        }
        "DeleteMessageBatch" => batch::delete(queues, fields).await,
        "ChangeMessageVisibility" => hide(queues, fields).await,
        "ChangeMessageVisibilityBatch" => batch::hide(queues, fields).await,
        "CreateQueue" => create(queues, fields).await,
        "DeleteQueue" => {
            let name = fields.queue()?;
            queues.commit(|state, now_ms| state.delete_queue(name, now_ms)).await.map(|()| json!({}))
        }
        "PurgeQueue" => {
            let name = fields.queue()?;
            queues.commit(|state, now_ms| state.purge(name, now_ms)).await.map(|()| json!({}))
        }
        "GetQueueUrl" => url(queues, fields),
        "ListQueues" => list(queues, fields),
        "ListDeadLetterSourceQueues" => {
            let name = fields.queue()?;
            let names = queues.look(|state| state.dead_letter_sources(name))?;
            page(queues, fields, names, "queueUrls")
        }
        "GetQueueAttributes" => attributes_of(queues, fields),
        "SetQueueAttributes" => {
            let (name, attributes) = (fields.queue()?, fields.text_map("Attributes")?);
            if attributes.is_empty() {
                return Err(missing("Attributes"));
            }
            queues.commit(|state, now_ms| state.set_attributes(name, &attributes, now_ms)).await.map(|()| json!({}))
        }
        _ => call_rarely(queues, operation, fields).await,
    }
}

/// Calls about tags and move tasks, and what is refused.
async fn call_rarely(queues: &Queues, operation: &str, fields: Fields<'_>) -> Result<Value, ServiceError> {
    match operation {
        "TagQueue" => {
            let (name, tags) = (fields.queue()?, fields.text_map("Tags")?);
            queues.commit(|state, _| state.tag(name, tags)).await.map(|()| json!({}))
        }
        "UntagQueue" => {
            let name = fields.queue()?;
            let keys: Vec<String> = fields.texts("TagKeys")?.into_iter().map(str::to_owned).collect();
            queues.commit(|state, _| state.untag(name, &keys)).await.map(|()| json!({}))
        }
        "ListQueueTags" => {
            let name = fields.queue()?;
            let tags = queues.look(|state| Ok(state.queue(name)?.record.tags.clone()))?;
            Ok(if tags.is_empty() { json!({}) } else { json!({ "Tags": tags }) })
        }
        "StartMessageMoveTask" => {
            let source = fields.required_text("SourceArn")?;
            let destination = fields.text("DestinationArn")?.filter(|arn| !arn.is_empty());
            let rate = fields.number("MaxNumberOfMessagesPerSecond", &MOVES_PER_SECOND)?;
            let started = queues.commit(|state, now_ms| state.start_move(source, destination, rate, now_ms)).await;
            let (id, handle) = started?;
            queues.drive_move(id)?;
            Ok(json!({ "TaskHandle": handle }))
        }
        "ListMessageMoveTasks" => {
            let source = fields.required_text("SourceArn")?;
            let max = fields.number("MaxResults", &LISTED_MOVES)?.unwrap_or(*LISTED_MOVES.start());
            let tasks = queues.look(|state| state.list_moves(source, usize::try_from(max).unwrap_or(1)))?;
            Ok(json!({ "Results": tasks }))
        }
        "CancelMessageMoveTask" => {
            let handle = fields.required_text("TaskHandle")?;
            let moved = queues.commit(|state, _| state.cancel_move(handle)).await?;
            Ok(json!({ "ApproximateNumberOfMessagesMoved": moved }))
        }
        "AddPermission" | "RemovePermission" => Err(unsupported(format!("The operation {operation}"))),
        _ => Err(ServiceError::sender(
            "InvalidAction",
            format!("The action {operation} is not valid for this web service."),
        )),
    }
}

/// The digests in the answer to a send.
pub(super) fn sent(message: &NewMessage) -> Value {
    let mut answer = Map::from_iter([("MD5OfMessageBody".to_owned(), Value::String(md5_of(message.body.as_bytes())))]);
    if let Some(digest) = attributes::md5_of_attributes(&message.attributes) {
        answer.insert("MD5OfMessageAttributes".to_owned(), Value::String(digest));
    }
    if let Some(header) = &message.trace_header {
        let attribute =
            super::Attribute { data_type: "String".to_owned(), value: super::AttributeValue::Text(header.clone()) };
        let digest = attributes::md5_of_attributes(&BTreeMap::from([("AWSTraceHeader".to_owned(), attribute)]));
        answer.insert("MD5OfMessageSystemAttributes".to_owned(), json!(digest));
    }
    Value::Object(answer)
}

async fn send(queues: &Queues, fields: Fields<'_>) -> Result<Value, ServiceError> {
    let name = fields.queue()?;
    queues.look(|state| state.queue(name).map(|_| ()))?;
    let message = new_message(fields)?;
    let mut answer = sent(&message);
    let ids = queues.send_all(vec![(name.to_owned(), message)]).await?;
    if let (Some(answer), Some(id)) = (answer.as_object_mut(), ids.into_iter().next()) {
        answer.insert("MessageId".to_owned(), Value::String(id));
    }
    Ok(answer)
}

async fn receive(queues: &Queues, fields: Fields<'_>) -> Result<Value, ServiceError> {
    let name = fields.queue()?;
    let default_wait_ms = queues.look(|state| Ok(state.queue(name)?.record.settings.wait_ms))?;
    fields.refuse(&["ReceiveRequestAttemptId"])?;
    let max = fields.number("MaxNumberOfMessages", &RECEIVE_MESSAGES)?.unwrap_or(*RECEIVE_MESSAGES.start());
    let wait = fields.number("WaitTimeSeconds", &WAIT_SECONDS)?.map(Duration::from_secs);
    let wait = wait.unwrap_or(Duration::from_millis(default_wait_ms));
    let visibility = fields.number("VisibilityTimeout", &VISIBILITY_SECONDS)?.map(Duration::from_secs);
    let wanted = Wanted::read(fields)?;
    let messages = queues.receive_as(CLIENT, name, usize::try_from(max).unwrap_or(1), wait, visibility).await?;
    if messages.is_empty() {
        return Ok(json!({}));
    }
    let messages: Vec<Value> = messages.into_iter().map(|message| wanted.to_json(message)).collect();
    Ok(json!({ "Messages": messages }))
}

async fn hide(queues: &Queues, fields: Fields<'_>) -> Result<Value, ServiceError> {
    let name = fields.queue()?;
    queues.look(|state| state.queue(name).map(|_| ()))?;
    let text = fields.required_text("ReceiptHandle")?;
    let seconds = fields.number("VisibilityTimeout", &VISIBILITY_SECONDS)?;
    let seconds = seconds.ok_or_else(|| missing("VisibilityTimeout"))?;
    queues.act(|state, now_ms| {
        let handle = state.handle(name, text)?;
        state.hide(name, handle, seconds * 1_000, now_ms)
    })?;
    Ok(json!({}))
}

async fn create(queues: &Queues, fields: Fields<'_>) -> Result<Value, ServiceError> {
    let name = fields.required_text("QueueName")?;
    let (attributes, tags) = (fields.text_map("Attributes")?, fields.text_map("tags")?);
    queues.commit(|state, now_ms| state.create_queue(name, &attributes, tags, now_ms)).await?;
    Ok(json!({ "QueueUrl": queues.place().queue_url(name) }))
}

fn url(queues: &Queues, fields: Fields<'_>) -> Result<Value, ServiceError> {
    let name = fields.required_text("QueueName")?;
    if fields.text("QueueOwnerAWSAccountId")?.is_some_and(|account| account != ACCOUNT_ID) {
        return Err(no_queue(name));
    }
    queues.look(|state| state.queue(name).map(|_| ()))?;
    Ok(json!({ "QueueUrl": queues.place().queue_url(name) }))
}

fn list(queues: &Queues, fields: Fields<'_>) -> Result<Value, ServiceError> {
    let prefix = fields.text("QueueNamePrefix")?.unwrap_or_default();
    let names = queues.names().into_iter().filter(|name| name.starts_with(prefix)).collect();
    page(queues, fields, names, "QueueUrls")
}

/// A page of names in order, as addresses. The token holds the last name of the page before.
fn page(queues: &Queues, fields: Fields<'_>, names: Vec<String>, field: &str) -> Result<Value, ServiceError> {
    let max = fields.number("MaxResults", &PAGE_QUEUES)?;
    let after = match fields.text("NextToken")?.filter(|token| !token.is_empty()) {
        Some(token) => {
            let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            Some(name.ok_or_else(|| invalid_parameter("Invalid or expired next token: NextToken."))?)
        }
        None => None,
    };
    let mut names: Vec<String> =
        names.into_iter().filter(|name| after.as_ref().is_none_or(|after| name > after)).collect();
    // Without MaxResults there are up to 1,000 results and no token.
    let limit = usize::try_from(max.unwrap_or(*PAGE_QUEUES.end())).unwrap_or(usize::MAX);
    let has_more = max.is_some() && names.len() > limit;
    names.truncate(limit);
    let urls: Vec<String> = names.iter().map(|name| queues.place().queue_url(name)).collect();
    let mut answer = Map::new();
    if !urls.is_empty() || field == "queueUrls" {
        answer.insert(field.to_owned(), json!(urls));
    }
    if let Some(last) = names.last().filter(|_| has_more) {
        answer.insert("NextToken".to_owned(), Value::String(URL_SAFE_NO_PAD.encode(last)));
    }
    Ok(Value::Object(answer))
}

fn attributes_of(queues: &Queues, fields: Fields<'_>) -> Result<Value, ServiceError> {
    let name = fields.queue()?;
    let wanted = fields.texts("AttributeNames")?;
    let known = |name: &&&str| {
        **name == "All"
            || [&READ_ONLY_ATTRIBUTES[..], &EMPTY_ATTRIBUTES, &SETTABLE_ATTRIBUTES]
                .iter()
                .any(|list| list.contains(name))
    };
    let mut attributes: BTreeMap<&str, String> = queues.act(|state, now_ms| {
        state.settle(name, now_ms);
        let queue = state.queue(name)?;
        let (counts, record) = (queue.counts(), &queue.record);
        let mut attributes = record.settings.to_attributes();
        attributes.extend([
            ("ApproximateNumberOfMessages", counts.visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
            ("CreatedTimestamp", (record.created_at_ms / 1_000).to_string()),
            ("LastModifiedTimestamp", (record.modified_at_ms / 1_000).to_string()),
            ("QueueArn", queue.arn.to_string()),
        ]);
        Ok(attributes)
    })?;
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        return Err(unknown_attribute(unknown));
    }
    attributes.retain(|name, _| wanted.contains(&"All") || wanted.contains(name));
    Ok(if attributes.is_empty() { json!({}) } else { json!({ "Attributes": attributes }) })
}
