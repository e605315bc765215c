#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod deliver;
mod manage;
mod queues;
mod sdk;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use tempfile::TempDir;

use super::{Topics, publish::Outbox};
use crate::{
    error::ServiceError,
    model,
    sqs::{Attribute, AttributeValue, NewMessage},
};

/// Bytes that the queues of the fake take, at most.
const BODY_BYTES_MAX: usize = 300_000;

/// Messages with their queues.
type Sent = Vec<(String, NewMessage)>;

/// Queues that remember what was sent to them, in steps.
#[derive(Debug, Clone, Default)]
struct FakeQueues {
    names: Arc<Mutex<HashSet<String>>>,
    steps: Arc<Mutex<Vec<Sent>>>,
    broken: Arc<Mutex<bool>>,
}

impl FakeQueues {
    fn with(names: &[&str]) -> Self {
        let fake = Self::default();
        fake.names.lock().unwrap().extend(names.iter().map(|name| (*name).to_owned()));
        fake
    }

    /// What came in, in order, and in how many steps.
    fn taken(&self) -> (Sent, usize) {
        let steps = std::mem::take(&mut *self.steps.lock().unwrap());
        let count = steps.len();
        (steps.into_iter().flatten().collect(), count)
    }

    /// The bodies that came in, each with its queue.
    fn bodies(&self) -> Vec<(String, String)> {
        self.taken().0.into_iter().map(|(queue, message)| (queue, message.body)).collect()
    }
}

impl Outbox for FakeQueues {
    fn send_all(&self, messages: Sent) -> BoxFuture<'_, Result<Vec<String>, ServiceError>> {
        let names = self.names.lock().unwrap();
        let result = if *self.broken.lock().unwrap() {
            Err(ServiceError::internal("the disk is full"))
        } else if messages.iter().any(|(queue, _)| !names.contains(queue)) {
            Err(ServiceError::sender("QueueDoesNotExist", "no such queue"))
        } else if messages.iter().any(|(_, message)| message.body.len() > BODY_BYTES_MAX) {
            Err(ServiceError::sender("InvalidParameterValue", "too long"))
        } else {
            let ids = messages.iter().map(|_| "id".to_owned()).collect();
            self.steps.lock().unwrap().push(messages);
            Ok(ids)
        };
        Box::pin(std::future::ready(result))
    }

    fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().iter().cloned().collect()
    }
}

fn place() -> model::Place {
    model::Place {
        stack_name: "test".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: "http://127.0.0.1:4566".to_owned(),
    }
}

struct Fixture {
    folder: TempDir,
    queues: FakeQueues,
    topics: Topics,
}

impl Fixture {
    fn new(queues: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let queues = FakeQueues::with(queues);
        let topics = open(&folder, &queues);
        Self { folder, queues, topics }
    }

    /// What a killed process leaves to the next one.
    fn killed(self) -> Self {
        let topics = open(&self.folder, &self.queues);
        Self { topics, ..self }
    }

    async fn call(&self, fields: &[(&str, &str)]) -> Result<String, ServiceError> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.topics.call(&fields).await
    }

    async fn ok(&self, fields: &[(&str, &str)]) -> String {
        self.call(fields).await.unwrap()
    }

    /// A refusal's code and message.
    async fn refused(&self, fields: &[(&str, &str)]) -> (String, String) {
        let error = self.call(fields).await.unwrap_err();
        (error.code, error.message)
    }

    async fn topic(&self, name: &str) -> String {
        text_of(&self.ok(&[("Action", "CreateTopic"), ("Name", name)]).await, "TopicArn")
    }

    async fn subscribe(&self, topic: &str, queue: &str, attributes: &[(&str, &str)]) -> String {
        let endpoint = place().arn("sqs", queue);
        let names: Vec<_> = (1..=attributes.len())
            .map(|n| (format!("Attributes.entry.{n}.key"), format!("Attributes.entry.{n}.value")))
            .collect();
        let mut fields =
            vec![("Action", "Subscribe"), ("TopicArn", topic), ("Protocol", "sqs"), ("Endpoint", endpoint.as_str())];
        for ((key, value), names) in attributes.iter().zip(&names) {
            fields.extend([(names.0.as_str(), *key), (names.1.as_str(), *value)]);
        }
        text_of(&self.ok(&fields).await, "SubscriptionArn")
    }

    async fn publish(&self, topic: &str, message: &str) -> String {
        self.ok(&[("Action", "Publish"), ("TopicArn", topic), ("Message", message)]).await
    }
}

fn open(folder: &TempDir, queues: &FakeQueues) -> Topics {
    Topics::with_outbox(&folder.path().join("topics.json"), place(), Box::new(queues.clone())).unwrap()
}

/// The text of the first element with this name.
fn text_of(xml: &str, name: &str) -> String {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}"));
    rest.split_once("</").unwrap().0.to_owned()
}

fn text(data_type: &str, text: &str) -> Attribute {
    Attribute { data_type: data_type.to_owned(), value: AttributeValue::Text(text.to_owned()) }
}
