//! Batches: each entry has a result of its own; errors of the batch as a whole come before.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    NewMessage, Queues, attributes,
    engine::State,
    errors::{missing, namespaced},
    fields::Fields,
    settings::{MESSAGE_BYTES, VISIBILITY_SECONDS},
    wire::sent,
    wire_message,
};
use crate::error::ServiceError;

/// Entries of a batch.
const ENTRIES_MAX: usize = 10;
/// Characters of an entry's id.
const ID_CHARACTERS_MAX: usize = 80;

/// The results of a batch so far.
#[derive(Debug, Default)]
struct Results {
    successful: Vec<Value>,
    failed: Vec<Value>,
}

impl Results {
    /// An entry has its result, whose fields come beside its id.
    fn add(&mut self, id: &str, result: Result<Value, ServiceError>) {
        match result {
            Ok(mut fields) => {
                if let Some(fields) = fields.as_object_mut() {
                    fields.insert("Id".to_owned(), json!(id));
                }
                self.successful.push(fields);
            }
            Err(error) => self.failed.push(json!({
                "Id": id,
                "SenderFault": error.is_sender_fault(),
                "Code": error.query_code.as_ref().unwrap_or(&error.code),
                "Message": error.message,
            })),
        }
    }

    fn into_json(self) -> Value {
        let mut answer = Map::from_iter([("Successful".to_owned(), Value::Array(self.successful))]);
        if !self.failed.is_empty() {
            answer.insert("Failed".to_owned(), Value::Array(self.failed));
        }
        Value::Object(answer)
    }
}

/// The entries with their ids.
///
/// # Errors
/// Of the batch, in this order: `EmptyBatchRequest`, `TooManyEntriesInBatchRequest`, `InvalidBatchEntryId`,
/// `BatchEntryIdsNotDistinct`.
fn entries(fields: Fields<'_>) -> Result<Vec<(&str, Fields<'_>)>, ServiceError> {
    let list = fields.list("Entries")?;
    if list.is_empty() {
        return Err(namespaced("EmptyBatchRequest", "There should be at least one entry in Entries of the request."));
    }
    if list.len() > ENTRIES_MAX {
        return Err(namespaced(
            "TooManyEntriesInBatchRequest",
            format!("Maximum number of entries per request are {ENTRIES_MAX}. You have sent {}.", list.len()),
        ));
    }
    let mut entries = Vec::with_capacity(list.len());
    for value in list {
        let entry = Fields::of(value, "Entries")?;
        let id = entry.text("Id")?.ok_or_else(|| missing("Id"))?;
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        if id.is_empty() || id.len() > ID_CHARACTERS_MAX || !id.chars().all(is_allowed) {
            return Err(namespaced(
                "InvalidBatchEntryId",
                format!(
                    "The batch entry id {id:?} can only contain alphanumeric characters, hyphens and underscores. \
                     It can be at most {ID_CHARACTERS_MAX} letters long."
                ),
            ));
        }
        entries.push((id, entry));
    }
    let mut seen = BTreeSet::new();
    match entries.iter().find(|(id, _)| !seen.insert(*id)) {
        Some((id, _)) => Err(namespaced("BatchEntryIdsNotDistinct", format!("Id {id} repeated."))),
        None => Ok(entries),
    }
}

/// `SendMessageBatch`.
///
/// # Errors
/// Of the batch, `BatchRequestTooLong` last.
pub(super) async fn send(queues: &Queues, fields: Fields<'_>) -> Result<Value, ServiceError> {
    let name = fields.queue()?;
    queues.look(|state| state.queue(name).map(|_| ()))?;
    let entries = entries(fields)?;
    let mut parsed = Vec::with_capacity(entries.len());
    for (id, entry) in entries {
        parsed.push((id, wire_message::new_message(entry)));
    }
    let bytes: usize = parsed.iter().filter_map(|(_, message)| message.as_ref().ok()).map(attributes::size_bytes).sum();
    let bytes_max = *MESSAGE_BYTES.end();
    if u64::try_from(bytes).unwrap_or(u64::MAX) > bytes_max {
        return Err(namespaced(
            "BatchRequestTooLong",
            format!("Batch requests cannot be longer than {bytes_max} bytes. You have sent {bytes} bytes."),
        ));
    }
    let mut results = Results::default();
    let mut accepted: Vec<(&str, NewMessage)> = Vec::new();
    for (id, message) in parsed {
        let checked = message.and_then(|message| {
            attributes::check(&message)?;
            queues.look(|state| state.check(name, &message)).map(|()| message)
        });
        match checked {
            Ok(message) => accepted.push((id, message)),
            Err(error) => results.add(id, Err(error)),
        }
    }
    let (ids, messages): (Vec<&str>, Vec<NewMessage>) = accepted.into_iter().unzip();
    let mut answers: Vec<Value> = messages.iter().map(sent).collect();
    let messages = messages.into_iter().map(|message| (name.to_owned(), message)).collect();
    let message_ids = queues.send_all(messages).await?;
    for ((id, message_id), mut answer) in ids.into_iter().zip(message_ids).zip(answers.drain(..)) {
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("MessageId".to_owned(), Value::String(message_id));
        }
        results.add(id, Ok(answer));
    }
    Ok(results.into_json())
}

/// `DeleteMessageBatch`.
///
/// # Errors
/// Of the batch.
pub(super) async fn delete(queues: &Queues, fields: Fields<'_>) -> Result<Value, ServiceError> {
    each(queues, fields, |state, name, entry, now_ms| {
        let handle = state.handle(name, entry.required_text("ReceiptHandle")?)?;
        state.delete(name, handle, now_ms)
    })
    .await
}

/// `ChangeMessageVisibilityBatch`.
///
/// # Errors
/// Of the batch.
pub(super) async fn hide(queues: &Queues, fields: Fields<'_>) -> Result<Value, ServiceError> {
    each(queues, fields, |state, name, entry, now_ms| {
        let handle = state.handle(name, entry.required_text("ReceiptHandle")?)?;
        let seconds = entry.number("VisibilityTimeout", &VISIBILITY_SECONDS)?;
        let seconds = seconds.ok_or_else(|| missing("VisibilityTimeout"))?;
        state.hide(name, handle, seconds * 1_000, now_ms)
    })
    .await
}

/// Does something for each entry, in one step.
async fn each(
    queues: &Queues,
    fields: Fields<'_>,
    act: impl Fn(&mut State, &str, Fields<'_>, u64) -> Result<(), ServiceError>,
) -> Result<Value, ServiceError> {
    let name = fields.queue()?;
    queues.look(|state| state.queue(name).map(|_| ()))?;
    let entries = entries(fields)?;
    queues
        .commit(|state, now_ms| {
            let mut results = Results::default();
            for (id, entry) in entries {
                results.add(id, act(state, name, entry, now_ms).map(|()| json!({})));
            }
            Ok(results.into_json())
        })
        .await
}
