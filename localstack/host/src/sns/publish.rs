//! Publishing: from a message to the queues that take it.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::atomic::Ordering,
};

use futures::future::BoxFuture;

use super::{
    Topics,
    fields::{Fields, invalid},
    filter,
    manage::arn,
    message::{MESSAGE_BYTES_MAX, Message},
    state::Subscription,
    xml,
};
use crate::{
    clock,
    error::ServiceError,
    log::{self, HOST},
    model::FilterScope,
    sqs::{NewMessage, Queues},
};

/// Entries of a batch.
const BATCH_ENTRIES_MAX: usize = 10;
/// Characters of an entry's id.
const ENTRY_ID_CHARACTERS_MAX: usize = 80;
/// Attributes of a message of a queue: with raw delivery, a message with more cannot be delivered.
const RAW_ATTRIBUTES_MAX: usize = 10;

/// Where messages go: the queues.
pub(super) trait Outbox: fmt::Debug + Send + Sync {
    /// See [`Queues::send_all`].
    fn send_all(&self, messages: Vec<(String, NewMessage)>) -> BoxFuture<'_, Result<Vec<String>, ServiceError>>;

    /// See [`Queues::names`].
    fn names(&self) -> Vec<String>;
}

impl Outbox for Queues {
    fn send_all(&self, messages: Vec<(String, NewMessage)>) -> BoxFuture<'_, Result<Vec<String>, ServiceError>> {
        Box::pin(self.send_all(messages))
    }

    fn names(&self) -> Vec<String> {
        self.names()
    }
}

/// One message on its way to one queue.
#[derive(Debug, Clone)]
struct Delivery {
    queue_arn: String,
    dead_letter_arn: Option<String>,
    message: NewMessage,
    /// Whether a queue can take it at all.
    possible: bool,
}

impl Topics {
    pub(super) async fn publish(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let topic_arn = target(fields)?;
        let message = Message::read(fields)?;
        if message.bytes > MESSAGE_BYTES_MAX {
            return Err(invalid("Invalid parameter: Message too long"));
        }
        self.deliver(topic_arn, std::slice::from_ref(&message)).await?;
        xml::answer("Publish", &xml::element("MessageId", &message.id))
    }

    pub(super) async fn publish_batch(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let topic_arn = arn(fields, "TopicArn")?;
        let entries = fields.members("PublishBatchRequestEntries");
        let ids = entry_ids(fields, &entries)?;
        let (mut successful, mut failed, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        for (id, entry) in ids.into_iter().zip(&entries) {
            match Message::read(&fields.within(entry)) {
                Ok(message) => {
                    successful.push(xml::element("Id", id) + &xml::element("MessageId", &message.id));
                    messages.push(message);
                }
                Err(error) if !error.is_sender_fault() => return Err(error),
                Err(error) => failed.push(failure(id, &error)),
            }
        }
        if messages.iter().map(|message| message.bytes).sum::<usize>() > MESSAGE_BYTES_MAX {
            let message = "The length of all the messages put together is more than the limit.";
            return Err(ServiceError::sender("BatchRequestTooLong", message));
        }
        self.deliver(topic_arn, &messages).await?;
        xml::answer("PublishBatch", &(xml::list("Successful", successful) + &xml::list("Failed", failed)))
    }

    /// Hands messages to the queues whose subscriptions take them, all in one step if every queue is there.
    async fn deliver(&self, topic_arn: &str, messages: &[Message]) -> Result<(), ServiceError> {
        let (deliveries, mut failed): (Vec<_>, Vec<_>) =
            self.deliveries(topic_arn, messages)?.into_iter().partition(|delivery| delivery.possible);
        failed.extend(self.send(deliveries).await?);
        let failures = failed.len();
        let dead_letter = |delivery: Delivery| {
            delivery.dead_letter_arn.map(|queue_arn| Delivery {
                queue_arn,
                dead_letter_arn: None,
                message: delivery.message,
                possible: true,
            })
        };
        let dead_letters: Vec<_> = failed.into_iter().filter_map(dead_letter).collect();
        let kept = dead_letters.len();
        let lost = failures - kept + self.send(dead_letters).await?.len();
        if failures > 0 {
            let text = format!(
                "{failures} deliveries of {topic_arn} failed: {} went to dead letters, {lost} were lost",
                failures - lost
            );
            log::line(HOST, &text);
        }
        self.inner.dropped.fetch_add(u64::try_from(lost).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }

    fn deliveries(&self, topic_arn: &str, messages: &[Message]) -> Result<Vec<Delivery>, ServiceError> {
        let (endpoint, now_ms) = (&self.inner.place.endpoint, clock::now_ms());
        let state = self.inner.store.read();
        state.topic(topic_arn)?;
        let mut deliveries = Vec::new();
        for message in messages {
            let takers = state.subscriptions_of(topic_arn).filter(|(_, subscription)| takes(subscription, message));
            for (arn, subscription) in takers {
                let raw = subscription.settings.raw;
                let possible = !raw || message.attributes.len() <= RAW_ATTRIBUTES_MAX;
                // A message with too many attributes fits into no queue raw; wrapped, it loses nothing.
                let message = if raw && possible {
                    NewMessage { body: message.body.clone(), attributes: message.attributes.clone(), ..<_>::default() }
                } else {
                    NewMessage { body: message.envelope(topic_arn, arn, endpoint, now_ms), ..<_>::default() }
                };
                let (queue_arn, dead_letter_arn) =
                    (subscription.queue_arn.clone(), subscription.settings.dead_letter_arn.clone());
                deliveries.push(Delivery { queue_arn, dead_letter_arn, message, possible });
            }
        }
        Ok(deliveries)
    }

    /// Sends and returns what no queue took. An error is the queues' own fault; the publisher may try again.
    async fn send(&self, deliveries: Vec<Delivery>) -> Result<Vec<Delivery>, ServiceError> {
        let (local, mut failed): (Vec<_>, Vec<_>) =
            deliveries.into_iter().partition(|delivery| self.queue_name(delivery).is_some());
        if self.try_send(&local).await? {
            return Ok(failed);
        }
        let names: HashSet<String> = self.inner.outbox.names().into_iter().collect();
        let is_there = |delivery: &Delivery| self.queue_name(delivery).is_some_and(|name| names.contains(name));
        let (present, absent): (Vec<_>, Vec<_>) = local.into_iter().partition(is_there);
        let none_absent = absent.is_empty();
        failed.extend(absent);
        if !none_absent && self.try_send(&present).await? {
            return Ok(failed);
        }
        // Some queue refuses a message, for its size perhaps.
        for delivery in present {
            if !self.try_send(std::slice::from_ref(&delivery)).await? {
                failed.push(delivery);
            }
        }
        Ok(failed)
    }

    /// Sends all or, when the queues refuse, nothing.
    async fn try_send(&self, deliveries: &[Delivery]) -> Result<bool, ServiceError> {
        let message = |delivery: &Delivery| Some((self.queue_name(delivery)?.to_owned(), delivery.message.clone()));
        let messages: Vec<_> = deliveries.iter().filter_map(message).collect();
        if messages.is_empty() {
            return Ok(true);
        }
        match self.inner.outbox.send_all(messages).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_sender_fault() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The queue's name, if it is one of this place.
    fn queue_name<'a>(&self, delivery: &'a Delivery) -> Option<&'a str> {
        let (_, name) = delivery.queue_arn.rsplit_once(':')?;
        (self.inner.place.arn("sqs", name) == delivery.queue_arn).then_some(name)
    }
}

fn takes(subscription: &Subscription, message: &Message) -> bool {
    let settings = &subscription.settings;
    settings.filter.as_ref().is_none_or(|policy| match settings.scope() {
        FilterScope::Attributes => filter::takes_attributes(policy, &message.attributes),
        FilterScope::Body => filter::takes_body(policy, &message.body),
    })
}

/// The topic of `Publish`.
fn target<'a>(fields: &Fields<'a>) -> Result<&'a str, ServiceError> {
    if fields.get("PhoneNumber").is_some() {
        return Err(invalid("Invalid parameter: PhoneNumber Reason: text messages are not supported by this host"));
    }
    let name = if fields.get("TargetArn").is_some() { "TargetArn" } else { "TopicArn" };
    if fields.get(name).is_none() {
        let reason = "no value for required parameter";
        return Err(invalid(format!("Invalid parameter: TopicArn or TargetArn Reason: {reason}")));
    }
    let arn = arn(fields, name)?;
    if arn.split(':').nth(5).is_some_and(|resource| resource.contains('/')) {
        return Err(invalid(format!(
            "Invalid parameter: {name} Reason: push endpoints are not supported by this host"
        )));
    }
    Ok(arn)
}

fn entry_ids<'a>(fields: &Fields<'a>, entries: &[String]) -> Result<Vec<&'a str>, ServiceError> {
    if entries.is_empty() {
        let message = "The batch request doesn't contain any entries.";
        return Err(ServiceError::sender("EmptyBatchRequest", message));
    }
    if entries.len() > BATCH_ENTRIES_MAX {
        let message = "The batch request contains more entries than permissible.";
        return Err(ServiceError::sender("TooManyEntriesInBatchRequest", message));
    }
    let ids: Vec<&str> = entries.iter().map(|entry| entry_id(fields, entry)).collect::<Result<_, _>>()?;
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        let message = "Two or more batch entries in the request have the same Id.";
        return Err(ServiceError::sender("BatchEntryIdsNotDistinct", message));
    }
    Ok(ids)
}

fn entry_id<'a>(fields: &Fields<'a>, entry: &str) -> Result<&'a str, ServiceError> {
    let id = fields.get(&format!("{entry}Id")).unwrap_or_default();
    let character = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if (1..=ENTRY_ID_CHARACTERS_MAX).contains(&id.len()) && id.chars().all(character) {
        return Ok(id);
    }
    let message = format!("The Id of a batch entry in a batch request doesn't abide by the specification: {id}");
    Err(ServiceError::sender("InvalidBatchEntryId", message))
}

fn failure(id: &str, error: &ServiceError) -> String {
    let code = error.query_code.as_ref().unwrap_or(&error.code);
    [
        xml::element("Id", id),
        xml::element("Code", code),
        xml::element("Message", &error.message),
        xml::element("SenderFault", "true"),
    ]
    .concat()
}
