//! Pollers between real queues and a function that is made up.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};

use super::*;
use crate::{
    model,
    sqs::{Attribute, AttributeValue, NewMessage},
};

const QUEUE: &str = "work";
const ARN: &str = "arn:aws:sqs:eu-central-1:000000000000:work";

type Result = std::result::Result<Value, InvokeError>;

/// A function that is called with events and answers what a test says.
struct Made {
    answer: Box<dyn Fn(&Value) -> Result + Send + Sync>,
    takes: Duration,
    events: Mutex<Vec<Value>>,
    at_work: Mutex<(usize, usize)>,
}

impl Target for Made {
    fn invoke<'a>(
        &'a self,
        _function: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, std::result::Result<Bytes, InvokeError>> {
        Box::pin(async move {
            let event: Value = serde_json::from_slice(&payload).unwrap();
            self.events.lock().unwrap().push(event.clone());
            {
                let mut at_work = self.at_work.lock().unwrap();
                at_work.0 += 1;
                at_work.1 = at_work.1.max(at_work.0);
            }
            tokio::time::sleep(self.takes).await;
            self.at_work.lock().unwrap().0 -= 1;
            (self.answer)(&event).map(|answer| answer.to_string().into())
        })
    }
}

/// A queue, a function and a poller between them.
struct Bench {
    queues: Queues,
    made: Arc<Made>,
    said: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    poller: Option<JoinHandle<()>>,
    _folder: TempDir,
}

fn settings() -> Settings {
    Settings {
        queue: QUEUE.to_owned(),
        queue_arn: ARN.to_owned(),
        function: "Tested".to_owned(),
        batch_size: 10,
        window: Duration::ZERO,
        concurrency_max: None,
        reports_item_failures: true,
        filters: Vec::new(),
        visibility: Duration::from_secs(1),
    }
}

fn queue(visibility_timeout: Duration) -> model::Queue {
    model::Queue {
        name: QUEUE.to_owned(),
        visibility_timeout,
        retention: Duration::from_secs(600),
        delay: Duration::ZERO,
        receive_wait: Duration::ZERO,
        message_bytes_max: 1024 * 1024,
        redrive: None,
        redrive_allow: model::RedriveAllow::All,
    }
}

impl Bench {
    async fn new(takes: Duration, answer: impl Fn(&Value) -> Result + Send + Sync + 'static) -> Self {
        let folder = TempDir::new().unwrap();
        let place = model::Place {
            stack_name: "shop".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: "http://127.0.0.1:1".to_owned(),
        };
        let queues = Queues::open(&folder.path().join("queues"), place).unwrap();
        queues.declare(&queue(Duration::from_secs(1))).await.unwrap();
        let made = Made { answer: Box::new(answer), takes, events: Mutex::default(), at_work: Mutex::default() };
        let said = Arc::default();
        let stop = watch::channel(false).0;
        Self { queues, made: Arc::new(made), said, stop, poller: None, _folder: folder }
    }

    async fn send(&self, bodies: &[&str]) {
        let message =
            |body: &&str| (QUEUE.to_owned(), NewMessage { body: (*body).to_owned(), ..NewMessage::default() });
        self.queues.send_all(bodies.iter().map(message).collect()).await.unwrap();
    }

    fn poll(mut self, settings: Settings) -> Self {
        let said = Arc::clone(&self.said);
        let say = Box::new(move |line: &str| said.lock().unwrap().push(line.to_owned()));
        let poller = Poller::new(settings, Arc::new(Polled::plain(self.queues.clone())), self.made.clone(), say);
        self.poller = Some(tokio::spawn(poller.run(self.stop.subscribe())));
        self
    }

    /// Messages visible, and hidden.
    fn counts(&self) -> (u64, u64) {
        let counts = self.queues.counts(QUEUE).unwrap();
        (counts.visible, counts.in_flight)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{what}: {:?}", self.counts());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn drained(&self) {
        self.until("the queue is empty", |bench| bench.counts() == (0, 0)).await;
    }

    /// The bodies of each batch.
    fn batches(&self) -> Vec<Vec<String>> {
        let bodies = |event: &Value| {
            let records = event["Records"].as_array().unwrap().iter();
            records.map(|record| record["body"].as_str().unwrap().to_owned()).collect()
        };
        self.made.events.lock().unwrap().iter().map(bodies).collect()
    }
}

fn failures(event: &Value, body: &str) -> Result {
    let failed = event["Records"].as_array().unwrap().iter().filter(|record| record["body"] == body);
    let items: Vec<Value> = failed.map(|record| json!({ "itemIdentifier": record["messageId"] })).collect();
    Ok(json!({ "batchItemFailures": items }))
}

fn all_is_well(_event: &Value) -> Result {
    Ok(Value::Null)
}

#[tokio::test]
async fn the_event_is_that_of_lambda() {
    let bench = Bench::new(Duration::ZERO, all_is_well).await;
    let text = Attribute { data_type: "String".to_owned(), value: AttributeValue::Text("blue".to_owned()) };
    let bytes = Attribute { data_type: "Binary".to_owned(), value: AttributeValue::Binary(vec![0, 255]) };
    let message = NewMessage {
        body: "{\"a\": 1}".to_owned(),
        attributes: BTreeMap::from([("colour".to_owned(), text), ("raw".to_owned(), bytes)]),
        delay: None,
        trace_header: Some("Root=1-5759e988-bd862e3fe1be46a994272793".to_owned()),
    };
    bench.queues.send_all(vec![(QUEUE.to_owned(), message)]).await.unwrap();
    let bench = bench.poll(settings());
    bench.drained().await;
    let event = bench.made.events.lock().unwrap()[0].clone();
    let record = &event["Records"][0];
    assert_eq!(record["body"], "{\"a\": 1}");
    assert_eq!(record["messageId"].as_str().unwrap().len(), 36);
    assert!(!record["receiptHandle"].as_str().unwrap().is_empty());
    let attributes = record["attributes"].as_object().unwrap();
    let names: Vec<&str> = attributes.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["AWSTraceHeader", "ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp"]
    );
    assert_eq!(attributes["ApproximateReceiveCount"], "1");
    assert_eq!(attributes["SentTimestamp"].as_str().unwrap().len(), 13);
    assert_eq!(
        record["messageAttributes"],
        json!({
            "colour": {
                "stringValue": "blue", "stringListValues": [], "binaryListValues": [], "dataType": "String",
            },
            "raw": { "binaryValue": "AP8=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary" },
        })
    );
    assert_eq!(record["md5OfBody"].as_str().unwrap().len(), 32);
    assert_eq!(record["md5OfMessageAttributes"].as_str().unwrap().len(), 32);
    assert_eq!(record["eventSource"], "aws:sqs");
    assert_eq!(record["eventSourceARN"], ARN);
    assert_eq!(record["awsRegion"], "eu-central-1");
}

#[tokio::test]
async fn only_the_records_that_failed_come_again_after_their_visibility_time_out() {
    let bench = Bench::new(Duration::ZERO, |event| {
        let again = event["Records"][0]["attributes"]["ApproximateReceiveCount"] != "1";
        if again { all_is_well(event) } else { failures(event, "b") }
    })
    .await;
    bench.send(&["a", "b", "c"]).await;
    let begun = Instant::now();
    let bench = bench.poll(settings());
    bench.until("one is left", |bench| bench.counts() == (0, 1)).await;
    bench.drained().await;
    assert!(begun.elapsed() >= Duration::from_millis(950), "{:?}", begun.elapsed());
    assert_eq!(bench.batches()[1], ["b"]);
}

#[tokio::test]
async fn a_visibility_that_the_function_changed_stays() {
    let bench = Bench::new(Duration::from_millis(100), |event| failures(event, "later")).await;
    bench.send(&["later"]).await;
    let begun = Instant::now();
    let bench = bench.poll(settings());
    bench.until("it is at work", |bench| bench.made.events.lock().unwrap().len() == 1).await;
    let handle = bench.made.events.lock().unwrap()[0]["Records"][0]["receiptHandle"].clone();
    let url = format!("http://127.0.0.1:1/000000000000/{QUEUE}");
    let change = json!({ "QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": 2 });
    bench.queues.call("ChangeMessageVisibility", change).await.unwrap();
    bench.until("it comes again", |bench| bench.made.events.lock().unwrap().len() == 2).await;
    assert!(begun.elapsed() >= Duration::from_millis(1_950), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_error_or_an_answer_that_is_not_understood_brings_the_whole_batch_back() {
    for wrong in [
        Err(InvokeError::Function(json!({ "errorType": "Broken" }))),
        Ok(json!({ "batchItemFailures": [{ "itemIdentifier": "nobody" }] })),
        Ok(json!("done")),
    ] {
        let bench = Bench::new(Duration::ZERO, move |event| {
            let again = event["Records"][0]["attributes"]["ApproximateReceiveCount"] != "1";
            if again { all_is_well(event) } else { wrong.clone() }
        })
        .await;
        bench.send(&["a", "b"]).await;
        let begun = Instant::now();
        let bench = bench.poll(settings());
        bench.drained().await;
        assert!(begun.elapsed() >= Duration::from_millis(950), "{:?}", begun.elapsed());
        let mut all = bench.batches().concat();
        all.sort_unstable();
        assert_eq!(all, ["a", "a", "b", "b"]);
    }
}

#[tokio::test]
async fn without_item_failures_any_answer_deletes_the_batch() {
    let bench = Bench::new(Duration::ZERO, |event| failures(event, "a")).await;
    bench.send(&["a"]).await;
    let bench = bench.poll(Settings { reports_item_failures: false, ..settings() });
    bench.drained().await;
    assert_eq!(bench.batches().len(), 1);
}

#[tokio::test]
async fn batches_are_as_large_as_they_may_be() {
    let bench = Bench::new(Duration::ZERO, all_is_well).await;
    let bodies: Vec<String> = (0..25).map(|number| number.to_string()).collect();
    bench.send(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let bench = bench.poll(settings());
    bench.drained().await;
    let sizes: Vec<usize> = bench.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 10, 5]);
}

#[tokio::test]
async fn a_window_begins_with_the_first_message_and_fills_a_batch() {
    let window = Duration::from_secs(2);
    let bench = Bench::new(Duration::ZERO, all_is_well).await;
    bench.queues.declare(&queue(Duration::from_secs(60))).await.unwrap();
    let bench = bench.poll(Settings { batch_size: 30, window, ..settings() });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    bench.send(&["a", "b"]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.send(&["c"]).await;
    bench.drained().await;
    assert_eq!(bench.batches(), [["a", "b", "c"]]);
    assert!(begun.elapsed() >= Duration::from_millis(1_900), "{:?}", begun.elapsed());

    // A full batch does not wait.
    let begun = Instant::now();
    bench.send(&["x"; 30]).await;
    bench.drained().await;
    assert!(begun.elapsed() < Duration::from_millis(1_800), "{:?}", begun.elapsed());
    assert_eq!(bench.batches()[1].len(), 30);
}

#[tokio::test]
async fn a_batch_ends_where_its_event_would_be_too_large() {
    let bench = Bench::new(Duration::ZERO, all_is_well).await;
    bench.queues.declare(&queue(Duration::from_secs(60))).await.unwrap();
    let large = "x".repeat(1024 * 1024);
    for _ in 0..8 {
        bench.send(&[&large]).await;
    }
    let bench = bench.poll(settings());
    bench.drained().await;
    let sizes: Vec<usize> = bench.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [5, 3]);
}

#[tokio::test]
async fn no_more_batches_are_at_work_than_allowed() {
    for (concurrency_max, most) in [(Some(2), 2), (None, 5)] {
        let bench = Bench::new(Duration::from_millis(50), all_is_well).await;
        bench.send(&["x"; 20]).await;
        let bench = bench.poll(Settings { batch_size: 1, concurrency_max, ..settings() });
        bench.drained().await;
        assert_eq!(bench.made.at_work.lock().unwrap().1, most);
    }
}

#[tokio::test]
async fn a_failing_function_is_left_alone_for_a_while() {
    let bench = Bench::new(Duration::ZERO, |_| Err(InvokeError::Function(Value::Null))).await;
    bench.send(&["x"; 50]).await;
    let bench = bench.poll(Settings { batch_size: 1, ..settings() });
    bench.until("it is tried", |bench| !bench.batches().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(bench.batches().len() <= 5, "{}", bench.batches().len());
}

#[tokio::test]
async fn a_throttled_batch_is_offered_until_its_messages_would_be_visible() {
    let bench = Bench::new(Duration::ZERO, |_| Err(InvokeError::Throttled)).await;
    bench.send(&["x"]).await;
    let bench = bench.poll(settings());
    bench.until("it is given up", |bench| !bench.said.lock().unwrap().is_empty()).await;
    assert!(bench.said.lock().unwrap()[0].contains("the function was throttled"));
    let tries = bench.batches().len();
    assert!((2..=5).contains(&tries), "{tries}");
    bench
        .until("it is received again", |bench| {
            let events = bench.made.events.lock().unwrap();
            events.last().unwrap()["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"
        })
        .await;
}

#[tokio::test]
async fn what_no_filter_takes_is_deleted_unseen() {
    let bench = Bench::new(Duration::ZERO, all_is_well).await;
    bench.send(&["{\"kind\": \"wanted\"}", "{\"kind\": \"other\"}", "no json", "[1]"]).await;
    let filters = vec![json!({ "body": { "kind": ["wanted"] } })];
    let bench = bench.poll(Settings { filters, ..settings() });
    bench.drained().await;
    assert_eq!(bench.batches(), [["{\"kind\": \"wanted\"}"]]);

    let bench = Bench::new(Duration::ZERO, all_is_well).await;
    bench.send(&["plain", "other"]).await;
    let bench = bench.poll(Settings { filters: vec![json!({ "body": ["plain"] })], ..settings() });
    bench.drained().await;
    assert_eq!(bench.batches(), [["plain"]]);
}

#[tokio::test]
async fn stopping_finishes_what_is_at_work_and_takes_nothing_more() {
    let bench = Bench::new(Duration::from_millis(300), all_is_well).await;
    bench.send(&["a"]).await;
    let mut bench = bench.poll(settings());
    bench.until("it is at work", |bench| !bench.made.events.lock().unwrap().is_empty()).await;
    bench.stop.send_replace(true);
    bench.poller.take().unwrap().await.unwrap();
    assert_eq!(bench.counts(), (0, 0));
    bench.send(&["b"]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.counts(), (1, 0));
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_reported_and_tried_again() {
    let bench = Bench::new(Duration::ZERO, all_is_well).await;
    let bench = bench.poll(Settings { queue: "nowhere".to_owned(), ..settings() });
    bench.until("it is reported", |bench| !bench.said.lock().unwrap().is_empty()).await;
    let said = bench.said.lock().unwrap()[0].clone();
    assert!(said.starts_with("nowhere cannot be received from: "), "{said}");
}
