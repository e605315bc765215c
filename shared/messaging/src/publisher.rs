//! Publishing events to SNS.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_sns::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    types::{MessageAttributeValue, PublishBatchRequestEntry},
};
use florin_domain::event::Event;
use tokio::sync::{Mutex, oneshot};

use crate::call::{self, ENTRIES_PER_CALL_MAX};

/// For how long an event waits for company: the records of a batch do not end at the same moment, and a call for ten
/// events costs what a call for one does. A quarter of a gibibyte for this time costs an eighth of such a call.
pub const PUBLISH_LINGER_MS: u64 = 25;
/// Message attributes of one message: with raw delivery SNS silently drops messages with more.
pub const MESSAGE_ATTRIBUTES_MAX: usize = 10;

/// An event that was not published. The state that it announces is stored; whoever publishes tries again later.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the event was not published: {0}")]
pub struct PublishError(pub String);

/// Announces events to whoever subscribed.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Returns once the event is certain to be delivered at least once.
    async fn publish(&self, event: &Event) -> Result<(), PublishError>;
}

type Answer = oneshot::Sender<Result<(), PublishError>>;
/// Messages that wait for company, and who waits for them.
type Waiting = Arc<Mutex<Vec<(Message, Answer)>>>;

/// Publishes to an SNS topic.
#[derive(Debug, Clone)]
pub struct SnsPublisher {
    client: Client,
    topic_arn: Arc<str>,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Message {
    body: String,
    attributes: Vec<(&'static str, String)>,
}

impl Message {
    fn of(event: &Event) -> Result<Self, PublishError> {
        let mut attributes = vec![
            ("type", event.event_type.as_str().to_owned()),
            ("merchant_id", event.merchantid.to_string()),
            ("subject", event.subject.clone()),
            ("correlation_id", event.correlationid.clone()),
        ];
        if let Some(traceparent) = &event.traceparent {
            attributes.push(("traceparent", traceparent.clone()));
        }
        let body = serde_json::to_string(event).map_err(|error| PublishError(error.to_string()))?;
        Ok(Self { body, attributes })
    }

    fn bytes(&self) -> usize {
        call::bytes(&self.body, self.attributes.iter().map(|(name, value)| (*name, value.as_str())))
    }

    fn attributes(&self) -> impl Iterator<Item = (String, MessageAttributeValue)> {
        self.attributes.iter().take(MESSAGE_ATTRIBUTES_MAX).filter_map(|(name, value)| {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build().ok()?;
            Some(((*name).to_owned(), value))
        })
    }
}

impl SnsPublisher {
    /// Publishes every event at once: for a request that waits for it.
    pub fn direct(client: Client, topic_arn: impl Into<Arc<str>>) -> Self {
        Self { client, topic_arn: topic_arn.into(), waiting: None }
    }

    /// Gathers the events that a batch of messages yields at about the same time into one call.
    pub fn gathering(client: Client, topic_arn: impl Into<Arc<str>>) -> Self {
        Self { client, topic_arn: topic_arn.into(), waiting: Some(Arc::default()) }
    }

    /// Opens the connection during init, where CPU is cheap.
    pub async fn warm(&self) {
        if let Err(error) = self.client.get_topic_attributes().topic_arn(&*self.topic_arn).send().await {
            tracing::warn!(error = %error_text(&error), "the connection to SNS could not be warmed");
        }
    }

    async fn publish_one(&self, message: &Message) -> Result<(), PublishError> {
        let request = self
            .client
            .publish()
            .topic_arn(&*self.topic_arn)
            .message(&message.body)
            .set_message_attributes(Some(message.attributes().collect()));
        request.send().await.map(|_| ()).map_err(|error| PublishError(error_text(&error)))
    }

    /// Sends messages in as few calls as they fit into, and answers each of them.
    async fn publish_batch(&self, mut batch: Vec<(Message, Answer)>) {
        while !batch.is_empty() {
            let rest = batch.split_off(call::of_one_call(batch.iter().map(|(message, _)| message.bytes())));
            self.publish_call(batch).await;
            batch = rest;
        }
    }

    /// Sends what fits into one call and answers each message.
    async fn publish_call(&self, batch: Vec<(Message, Answer)>) {
        let mut entries = Vec::new();
        for (place, (message, _)) in batch.iter().enumerate() {
            let entry = PublishBatchRequestEntry::builder()
                .id(place.to_string())
                .message(&message.body)
                .set_message_attributes(Some(message.attributes().collect()));
            entries.extend(entry.build());
        }
        let request = self.client.publish_batch().topic_arn(&*self.topic_arn);
        let result = request.set_publish_batch_request_entries(Some(entries)).send().await;
        for (place, (_, answer)) in batch.into_iter().enumerate() {
            let outcome = match &result {
                Ok(output) if output.successful().iter().any(|entry| entry.id() == Some(&place.to_string())) => Ok(()),
                Ok(_) => Err(PublishError("SNS refused this entry of the batch".to_owned())),
                Err(error) => Err(PublishError(error_text(error))),
            };
            // Whoever asked may have given up meanwhile; its message comes again then.
            if answer.send(outcome).is_err() {
                tracing::warn!("nobody waits for the answer to a publish any more");
            }
        }
    }
}

#[async_trait]
impl Publisher for SnsPublisher {
    async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        let message = Message::of(event)?;
        let Some(waiting) = &self.waiting else {
            return self.publish_one(&message).await;
        };
        let (answer, answered) = oneshot::channel();
        let mut queue = waiting.lock().await;
        queue.push((message, answer));
        if queue.len() >= ENTRIES_PER_CALL_MAX {
            let batch = std::mem::take(&mut *queue);
            drop(queue);
            self.publish_batch(batch).await;
        } else if queue.len() == 1 {
            drop(queue);
            // The first to wait sends for all, in a task of its own: should its own caller give up, the others do not.
            let (publisher, waiting) = (self.clone(), Arc::clone(waiting));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(PUBLISH_LINGER_MS)).await;
                let batch = std::mem::take(&mut *waiting.lock().await);
                if !batch.is_empty() {
                    publisher.publish_batch(batch).await;
                }
            });
        } else {
            drop(queue);
        }
        answered.await.unwrap_or_else(|_| Err(PublishError("the call was dropped".to_owned())))
    }
}

/// What SNS or SQS said, for the log: the service's code and message, or what happened to the connection.
pub(crate) fn error_text<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    match error.as_service_error() {
        Some(service) => {
            format!("{}: {}", service.code().unwrap_or("unknown"), service.message().unwrap_or_default())
        }
        None => DisplayErrorContext(error).to_string(),
    }
}
