#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise"
)]

mod batches;
mod durability;
mod faults;
mod limits;
mod model_check;
mod move_tasks;
mod queues;
mod receiving;
mod redrive;
mod sdk;
mod sending;
mod speed;
mod virtual_time;

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// Long enough for a loaded machine, short enough to wait for.
const PATIENCE: Duration = Duration::from_secs(10);

fn place() -> model::Place {
    model::Place {
        stack_name: "test".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: "http://127.0.0.1:1".to_owned(),
    }
}

fn open(folder: &Path) -> Queues {
    Queues::open(&folder.join("queues.sqlite"), place()).unwrap()
}

/// Queues in a folder of their own, with these names.
async fn with_queues(names: &[&str]) -> (TempDir, Queues) {
    let folder = tempfile::tempdir().unwrap();
    let queues = open(folder.path());
    for name in names {
        ok(&queues, "CreateQueue", json!({ "QueueName": name })).await;
    }
    (folder, queues)
}

async fn ok(queues: &Queues, operation: &str, input: Value) -> Value {
    queues.call(operation, input.clone()).await.unwrap_or_else(|error| panic!("{operation} {input}: {error}"))
}

async fn refused(queues: &Queues, operation: &str, input: Value) -> ServiceError {
    match queues.call(operation, input.clone()).await {
        Ok(answer) => panic!("{operation} {input} was not refused: {answer}"),
        Err(error) => error,
    }
}

/// The code of the query protocol: what most SDKs show.
async fn refusal(queues: &Queues, operation: &str, input: Value) -> String {
    let error = refused(queues, operation, input).await;
    error.query_code.unwrap_or(error.code)
}

fn url(name: &str) -> String {
    place().queue_url(name)
}

fn arn(name: &str) -> String {
    place().arn("sqs", name)
}

async fn send(queues: &Queues, name: &str, body: &str) -> String {
    let answer = ok(queues, "SendMessage", json!({ "QueueUrl": url(name), "MessageBody": body })).await;
    answer["MessageId"].as_str().unwrap().to_owned()
}

/// Receives at once, up to 10.
async fn receive(queues: &Queues, name: &str) -> Vec<Received> {
    queues.receive(name, 10, Duration::ZERO, None).await.unwrap()
}

/// Receives one message with all its attributes, waiting for it.
async fn receive_json(queues: &Queues, name: &str) -> Value {
    let input = json!({
        "QueueUrl": url(name),
        "WaitTimeSeconds": 10,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    });
    ok(queues, "ReceiveMessage", input).await["Messages"][0].clone()
}

fn bodies(messages: &[Received]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

/// Source with dead letters after `receives` receives.
async fn with_dead_letters(receives: u32) -> (TempDir, Queues) {
    let (folder, queues) = with_queues(&["dead"]).await;
    let policy = json!({ "deadLetterTargetArn": arn("dead"), "maxReceiveCount": receives }).to_string();
    let attributes = json!({ "RedrivePolicy": policy, "VisibilityTimeout": "0" });
    ok(&queues, "CreateQueue", json!({ "QueueName": "source", "Attributes": attributes })).await;
    (folder, queues)
}
