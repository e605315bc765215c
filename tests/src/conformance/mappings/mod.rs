//! Event source mappings: how Lambda feeds functions from queues.
//!
//! Every case has a queue that the function tells what it saw, so that cases share the template's mappings.

mod failures;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::{
    primitives::Blob,
    types::{MessageAttributeValue, QueueAttributeName::VisibilityTimeout},
};
use serde_json::{Value, json};

use super::{
    Case, Context, case,
    check::{becomes, same, took},
    context::{ARRIVAL, Queue, json_of},
};

const EVENT: &str = "Lambda Developer Guide, Using Lambda with Amazon SQS";
const BATCHES: &str = "Lambda Developer Guide, Polling and batching streams and queues";
const SCALING: &str = "Lambda Developer Guide, Scaling behavior for SQS event source mappings";
const FILTERS: &str = "Lambda Developer Guide, Using event filtering with an SQS event source";
const RUNTIME: &str = "Lambda Developer Guide, Defined runtime environment variables";
const CONTEXT: &str = "Lambda Developer Guide, Runtime API";

/// A mapping whose function fails is fed ever more slowly; an invocation comes within this time all the same.
const INVOKED_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn cases() -> Vec<Case> {
    [CASES, failures::CASES].concat()
}

const CASES: &[Case] = &[
    case!(mappings, record_shape, EVENT, "A record has the message, its system attributes, its queue's ARN and region"),
    case!(mappings, record_attributes, EVENT, "Attributes of messages come with type and value, bytes as base64"),
    case!(mappings, success_deletes, EVENT, "When the function returns, the batch's messages are deleted"),
    case!(mappings, request_context, CONTEXT, "An invocation has an id, the function's ARN and a deadline"),
    case!(mappings, environment, RUNTIME, "A function finds its name, memory, region and handler in its environment"),
    case!(mappings, environment_is_reused, CONTEXT, "A process takes one invocation after the other"),
    case!(mappings, batch_size, BATCHES, "A batch never has more records than BatchSize"),
    case!(mappings, batch_of_more_than_ten, BATCHES, "With a window a batch may have more than ten records"),
    case!(mappings, window_fills, BATCHES, "MaximumBatchingWindowInSeconds gathers records from the first one on"),
    case!(mappings, window_ends, BATCHES, "A batch that does not fill goes when its window ends"),
    case!(mappings, filter_takes, FILTERS, "Records that match one of the filters reach the function"),
    case!(mappings, filter_deletes_others, FILTERS, "Records that match no filter are deleted unseen"),
    case!(mappings, filter_on_json, FILTERS, "A filter on fields of the body does not match a body that is no JSON"),
    case!(mappings, maximum_concurrency, SCALING, "MaximumConcurrency limits the batches at work at once"),
    case!(mappings, disabled_mapping, EVENT, "A mapping that is not enabled reads nothing"),
];

/// The queue of a mapping, and one that is told what the function saw.
async fn queues(context: &Context, name: &str) -> Result<(Queue, Queue)> {
    let probe = context.probe()?;
    // Where the functions are, which is not where the other cases run.
    let reports = context.clone().with_sqs(probe.sqs.clone());
    Ok((probe.queue(name)?, reports.queue(&[(VisibilityTimeout, "60")]).await?))
}

/// What one invocation saw.
async fn report(reports: &Queue) -> Result<Value> {
    let message = reports.some(1, INVOKED_WITHIN).await.context("what the function reports")?.remove(0);
    reports.delete(&message).await?;
    json_of(&message)
}

/// Sends a body that asks for this, and says whom to tell.
async fn ask(queue: &Queue, reports: &Queue, mut body: Value) -> Result<String> {
    body["report"] = json!(reports.url);
    queue.send(&body.to_string()).await?.message_id.context("SendMessage gives no id")
}

fn records(report: &Value) -> Vec<Value> {
    report["event"]["Records"].as_array().cloned().unwrap_or_default()
}

/// The records that tell this queue: others may be of other cases.
fn own_records(report: &Value, reports: &Queue) -> Vec<Value> {
    let mut records = records(report);
    records.retain(|record| record["body"].as_str().is_some_and(|body| body.contains(&reports.url)));
    records
}

fn receive_count(record: &Value) -> &str {
    record["attributes"]["ApproximateReceiveCount"].as_str().unwrap_or_default()
}

async fn record_shape(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "SmallQueue").await?;
    let id = ask(&queue, &reports, json!({})).await?;
    let report = report(&reports).await?;
    let record = records(&report).into_iter().find(|record| record["messageId"] == id.as_str());
    let record = record.context("no record has the message's id")?;
    for field in ["receiptHandle", "md5OfBody", "body"] {
        ensure!(record[field].as_str().is_some_and(|text| !text.is_empty()), "{field} is {}", record[field]);
    }
    same("messageAttributes", &record["messageAttributes"], &json!({}))?;
    same("eventSource", record["eventSource"].as_str(), Some("aws:sqs"))?;
    let arn = queue.arn().await?;
    same("eventSourceARN", record["eventSourceARN"].as_str(), Some(arn.as_str()))?;
    same("awsRegion", record["awsRegion"].as_str(), arn.split(':').nth(3))?;
    same("ApproximateReceiveCount", receive_count(&record), "1")?;
    for name in ["SentTimestamp", "ApproximateFirstReceiveTimestamp"] {
        let time = record["attributes"][name].as_str().unwrap_or_default();
        ensure!(time.len() == 13 && time.parse::<u64>().is_ok(), "{name} is {time:?}");
    }
    ensure!(record["attributes"]["SenderId"].is_string(), "SenderId is missing");
    Ok(())
}

async fn record_attributes(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "SmallQueue").await?;
    let bytes = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 255])).build()?;
    let number = MessageAttributeValue::builder().data_type("Number.x").string_value("1.5").build()?;
    let body = json!({ "report": reports.url }).to_string();
    let request = queue.sqs.send_message().queue_url(&queue.url).message_body(body);
    request.message_attributes("bytes", bytes).message_attributes("number", number).send().await?;
    let record = own_records(&report(&reports).await?, &reports).pop().context("no record")?;
    let attributes = &record["messageAttributes"];
    same("bytes", [&attributes["bytes"]["binaryValue"], &attributes["bytes"]["dataType"]], ["AP8=", "Binary"])?;
    same("number", [&attributes["number"]["stringValue"], &attributes["number"]["dataType"]], ["1.5", "Number.x"])?;
    for list in ["stringListValues", "binaryListValues"] {
        same(list, &attributes["number"][list], &json!([]))?;
    }
    Ok(())
}

async fn success_deletes(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "SmallQueue").await?;
    ask(&queue, &reports, json!({})).await?;
    report(&reports).await?;
    becomes("visible, in flight, delayed", Duration::from_secs(20), (0, 0, 0), async || queue.counts().await).await
}

async fn request_context(context: Context) -> Result<()> {
    const TIMEOUT_MS: u64 = 2_000;
    let (queue, reports) = queues(&context, "SmallQueue").await?;
    ask(&queue, &reports, json!({})).await?;
    let report = report(&reports).await?;
    ensure!(report["request_id"].as_str().is_some_and(|id| id.len() == 36), "the id is {}", report["request_id"]);
    let arn = report["function_arn"].as_str().unwrap_or_default();
    ensure!(arn.starts_with("arn:aws") && arn.contains(":function:"), "the function's ARN is {arn:?}");
    let left = report["deadline_ms"].as_u64().unwrap_or(0).saturating_sub(report["began_ms"].as_u64().unwrap_or(0));
    ensure!(
        (1_000..=TIMEOUT_MS + 100).contains(&left),
        "the deadline leaves {left} ms of a time-out of {TIMEOUT_MS} ms"
    );
    Ok(())
}

async fn environment(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "SmallQueue").await?;
    ask(&queue, &reports, json!({})).await?;
    let report = report(&reports).await?;
    let environment = &report["environment"];
    let name = environment["AWS_LAMBDA_FUNCTION_NAME"].as_str().unwrap_or_default();
    ensure!(name.ends_with("-batch"), "AWS_LAMBDA_FUNCTION_NAME is {name:?}");
    same("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"].as_str(), Some("128"))?;
    same("AWS_LAMBDA_FUNCTION_VERSION", environment["AWS_LAMBDA_FUNCTION_VERSION"].as_str(), Some("$LATEST"))?;
    same("_HANDLER", environment["_HANDLER"].as_str(), Some("bootstrap"))?;
    same("PROBE, of the template", environment["PROBE"].as_str(), Some("batch"))?;
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_LAMBDA_LOG_GROUP_NAME", "LAMBDA_TASK_ROOT"] {
        ensure!(environment[name].as_str().is_some_and(|value| !value.is_empty()), "{name} is missing");
    }
    Ok(())
}

async fn environment_is_reused(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "SmallQueue").await?;
    let mut processes = BTreeSet::new();
    const INVOCATIONS: usize = 8;
    for _ in 0..INVOCATIONS {
        ask(&queue, &reports, json!({})).await?;
        processes.insert(report(&reports).await?["process"].as_u64());
    }
    ensure!(processes.len() < INVOCATIONS, "{INVOCATIONS} invocations had {} processes", processes.len());
    Ok(())
}

async fn batch_size(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "SmallQueue").await?;
    let mut seen = 0;
    const MESSAGES: usize = 12;
    for _ in 0..MESSAGES {
        ask(&queue, &reports, json!({ "ms": 150 })).await?;
    }
    while seen < MESSAGES {
        let report = report(&reports).await?;
        let count = records(&report).len();
        ensure!(count <= 3, "a batch of {count} records");
        seen += own_records(&report, &reports).len();
    }
    Ok(())
}

async fn batch_of_more_than_ten(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "LargeQueue").await?;
    const MESSAGES: usize = 30;
    for _ in 0..MESSAGES {
        ask(&queue, &reports, json!({})).await?;
    }
    let (mut seen, mut largest) = (0, 0);
    while seen < MESSAGES {
        let report = report(&reports).await?;
        largest = largest.max(records(&report).len());
        seen += own_records(&report, &reports).len();
    }
    ensure!(largest > 10 && largest <= 40, "the largest batch of {MESSAGES} messages has {largest} records");
    Ok(())
}

async fn window_fills(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "WindowQueue").await?;
    for _ in 0..4 {
        ask(&queue, &reports, json!({})).await?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let first = records(&report(&reports).await?).len();
    same("the first batch of four messages within a second, with a window of 3 s", first, 4)
}

async fn window_ends(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "PartialQueue").await?;
    let sent = Instant::now();
    ask(&queue, &reports, json!({})).await?;
    report(&reports).await?;
    took("the batch", sent, 0, 5_000)
}

async fn filter_takes(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "FilteredQueue").await?;
    let mut sent = BTreeSet::new();
    for kind in ["wanted", "also-wanted"] {
        sent.insert(ask(&queue, &reports, json!({ "kind": kind })).await?);
    }
    let value = MessageAttributeValue::builder().data_type("String").string_value("wanted").build()?;
    let body = json!({ "report": reports.url }).to_string();
    let request = queue.sqs.send_message().queue_url(&queue.url).message_body(body);
    sent.extend(request.message_attributes("kind", value).send().await?.message_id);
    let mut came = BTreeSet::new();
    while came.len() < sent.len() {
        let records = own_records(&report(&reports).await?, &reports);
        came.extend(records.iter().filter_map(|record| record["messageId"].as_str().map(str::to_owned)));
    }
    same("what came", came, sent)
}

async fn filter_deletes_others(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "FilteredQueue").await?;
    ask(&queue, &reports, json!({ "kind": "unwanted" })).await?;
    ask(&queue, &reports, json!({})).await?;
    let wanted = ask(&queue, &reports, json!({ "kind": "wanted" })).await?;
    let came = own_records(&report(&reports).await?, &reports);
    let came: Vec<_> = came.iter().filter_map(|record| record["messageId"].as_str()).collect();
    same("what came", came, [wanted.as_str()])?;
    becomes("visible, in flight, delayed", ARRIVAL, (0, 0, 0), async || queue.counts().await).await?;
    reports.stays_empty(1).await
}

async fn filter_on_json(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "FilteredQueue").await?;
    let value = MessageAttributeValue::builder().data_type("String").string_value(&reports.url).build()?;
    let request = queue.sqs.send_message().queue_url(&queue.url).message_body("no JSON, but wanted");
    request.message_attributes("report", value).send().await?;
    becomes("visible, in flight, delayed", ARRIVAL, (0, 0, 0), async || queue.counts().await).await?;
    reports.stays_empty(1).await
}

async fn maximum_concurrency(context: Context) -> Result<()> {
    const MESSAGES: usize = 8;
    let (queue, reports) = queues(&context, "ConcurrentQueue").await?;
    for _ in 0..MESSAGES {
        ask(&queue, &reports, json!({ "ms": 500 })).await?;
    }
    let mut invocations = Vec::new();
    for _ in 0..MESSAGES {
        let report = report(&reports).await?;
        let time = |name: &str| report[name].as_u64().unwrap_or_default();
        invocations.push((time("began_ms"), time("ended_ms")));
    }
    let at_once = |moment: u64| invocations.iter().filter(|(began, ended)| (*began..*ended).contains(&moment)).count();
    let most = invocations.iter().map(|(began, _)| at_once(*began)).max();
    same("the most invocations at once", most, Some(2))
}

async fn disabled_mapping(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "DisabledQueue").await?;
    let id = ask(&queue, &reports, json!({})).await?;
    reports.stays_empty(3).await?;
    same("what is in the queue", queue.one().await?.message_id(), Some(id.as_str()))?;
    queue.sqs.purge_queue().queue_url(&queue.url).send().await?;
    Ok(())
}
