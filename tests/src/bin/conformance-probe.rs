//! The function behind the conformance suite: it does what each message asks for, and tells what it saw.
//!
//! A message's body is JSON: `report` is the queue that is told, `do` what is done (`succeed` without it), `ms` how
//! long the invocation takes at least, `answer` what the function answers. Requests of the HTTP API are answered by
//! path.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    reason = "a binary of the tests, which looks at the clock and sleeps"
)]

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_config::BehaviorVersion;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sqs = aws_sdk_sqs::Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    lambda_runtime::run(service_fn(|event| handle(&sqs, event))).await
}

async fn handle(sqs: &aws_sdk_sqs::Client, event: LambdaEvent<Value>) -> Result<Value, Error> {
    match event.payload.get("Records").and_then(Value::as_array) {
        Some(records) => batch(sqs, &event, records).await,
        None => request(&event.payload),
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A record with what its body asks for.
struct Asked<'a> {
    record: &'a Value,
    body: Value,
}

impl Asked<'_> {
    fn text(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

async fn batch(sqs: &aws_sdk_sqs::Client, event: &LambdaEvent<Value>, records: &[Value]) -> Result<Value, Error> {
    let began_ms = now_ms();
    let text = |record: &Value, name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let asked: Vec<_> = records
        .iter()
        .map(|record| {
            let body = text(record, "body");
            // Where there is no JSON, the attribute says whom to tell.
            let report = record.pointer("/messageAttributes/report/stringValue");
            let body = serde_json::from_str(&body).unwrap_or_else(|_| json!({ "report": report }));
            Asked { record, body }
        })
        .collect();
    let takes_ms = asked.iter().filter_map(|asked| asked.body.get("ms")?.as_u64()).max().unwrap_or(0);
    let holds = |what: &str| asked.iter().any(|asked| asked.text("do") == what);
    // Who does not answer tells before, the others when they know how long they took.
    let told_before = holds("exit") || holds("time-out");
    if !told_before {
        tokio::time::sleep(Duration::from_millis(takes_ms)).await;
    }
    let report = json!({
        "event": event.payload, "began_ms": began_ms, "ended_ms": now_ms(), "process": std::process::id(),
        "request_id": event.context.request_id, "deadline_ms": event.context.deadline,
        "function_arn": event.context.invoked_function_arn, "environment": environment(),
    });
    for queue in asked.iter().map(|asked| asked.text("report")).filter(|url| !url.is_empty()).collect::<BTreeSet<_>>() {
        sqs.send_message().queue_url(queue).message_body(report.to_string()).send().await?;
    }
    if holds("exit") {
        std::process::exit(3);
    }
    if holds("time-out") {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    if holds("error") {
        return Err("asked to fail".into());
    }
    if let Some(answer) = asked.iter().find_map(|asked| asked.body.get("answer")) {
        return Ok(answer.clone());
    }
    let mut failures = Vec::new();
    for asked in &asked {
        if asked.text("do") == "hide" {
            let request = sqs.change_message_visibility().queue_url(asked.text("queue")).visibility_timeout(6);
            request.receipt_handle(text(asked.record, "receiptHandle")).send().await?;
        }
        if ["fail", "hide"].contains(&asked.text("do")) {
            failures.push(json!({ "itemIdentifier": text(asked.record, "messageId") }));
        }
    }
    Ok(json!({ "batchItemFailures": failures }))
}

/// What Lambda documents that a function finds in its environment.
fn environment() -> Value {
    const NAMES: [&str; 9] = [
        "_HANDLER",
        "AWS_REGION",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_ACCESS_KEY_ID",
        "LAMBDA_TASK_ROOT",
        "PROBE",
    ];
    NAMES.iter().map(|name| ((*name).to_owned(), json!(std::env::var(name).ok()))).collect()
}

/// `/answer` answers what the body says, `/fail` fails, everything else answers the event.
fn request(event: &Value) -> Result<Value, Error> {
    match event.get("rawPath").and_then(Value::as_str).unwrap_or_default() {
        "/answer" => Ok(serde_json::from_str(event.get("body").and_then(Value::as_str).unwrap_or_default())?),
        "/fail" => Err("asked to fail".into()),
        _ => {
            let headers = json!({ "content-type": "application/json" });
            Ok(json!({ "statusCode": 200, "headers": headers, "body": event.to_string() }))
        }
    }
}
