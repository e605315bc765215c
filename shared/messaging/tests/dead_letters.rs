//! Looking at dead letters and replaying them, over the real SDK and the SQS protocol, against queues in this process
//! that can be told to fail.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may stop at the first surprise"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_sqs::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use florin_domain::{event::Event, time::Timestamp};
use florin_messaging::dead_letters::{
    Action, DeadLetters, DeadLettersError, Depth, End, Fate, Filter, NO_REASON, Order, Records, Seen, Selection, Tally,
};
use florin_store::{
    audit::{Audit, AuditEntry, OPERATIONS},
    failures::{Failed, Failures},
};
use florin_testing::{build, dynamo::Dynamo};
use serde_json::{Value, json};

const QUEUE: &str = "florin-webhook";
const DEAD: &str = "florin-webhook-dead-letters";

#[derive(Debug, Clone)]
struct Stored {
    id: String,
    body: String,
    attributes: Value,
    trace: Value,
    receipt: Option<String>,
    receives: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// The call is refused and has no effect.
    Refused,
    /// The call is never answered and has no effect.
    Hangs,
}

#[derive(Debug, Default)]
struct Queues {
    stored: BTreeMap<String, Vec<Stored>>,
    ids: u32,
    receipts: u32,
    send: Fault,
    delete: Fault,
    receive: Fault,
    /// Only this many sends are refused.
    refusals: Option<u32>,
    /// What is sent to the queue comes straight back as a dead letter, as poison does.
    poison: bool,
    /// Whether the endpoint has `StartMessageMoveTask`.
    moves: bool,
    calls: Vec<(String, Value)>,
}

impl Queues {
    fn bodies(&self, queue: &str) -> Vec<String> {
        let mut bodies: Vec<String> = self.stored[queue].iter().map(|stored| stored.body.clone()).collect();
        bodies.sort();
        bodies
    }

    fn put(&mut self, queue: &str, body: &str, attributes: Value, trace: Value) -> String {
        self.ids += 1;
        let id = format!("id-{}", self.ids);
        let stored = Stored { id: id.clone(), body: body.to_owned(), attributes, trace, receipt: None, receives: 8 };
        self.stored.get_mut(queue).unwrap().push(stored);
        id
    }

    fn receive(&mut self, queue: &str, request: &Value) -> Value {
        let most = usize::try_from(request["MaxNumberOfMessages"].as_u64().unwrap()).unwrap();
        assert!((1..=10).contains(&most), "SQS gives 1 to 10 messages");
        let mut messages = Vec::new();
        for stored in self.stored.get_mut(queue).unwrap().iter_mut().filter(|m| m.receipt.is_none()).take(most) {
            self.receipts += 1;
            stored.receives += 1;
            stored.receipt = Some(format!("receipt-{}", self.receipts));
            let mut message = json!({
                "MessageId": stored.id, "ReceiptHandle": stored.receipt, "Body": stored.body,
                "Attributes": {"SentTimestamp": "1795251600000", "ApproximateReceiveCount": stored.receives.to_string()},
            });
            if !stored.attributes.is_null() {
                message["MessageAttributes"] = stored.attributes.clone();
            }
            if !stored.trace.is_null() {
                message["Attributes"]["AWSTraceHeader"] = stored.trace.clone();
            }
            messages.push(message);
        }
        json!({"Messages": messages})
    }

    fn answer(&mut self, call: &str, request: &Value) -> Result<Value, &'static str> {
        self.calls.push((call.to_owned(), request.clone()));
        let queue = request["QueueUrl"].as_str().unwrap_or_default().rsplit('/').next().unwrap().to_owned();
        match call {
            "GetQueueUrl" => {
                let name = request["QueueName"].as_str().unwrap();
                let known = self.stored.contains_key(name);
                known.then(|| json!({"QueueUrl": format!("http://queues/{name}")})).ok_or("QueueDoesNotExist")
            }
            "GetQueueAttributes" => {
                let stored = &self.stored[&queue];
                let hidden = stored.iter().filter(|message| message.receipt.is_some()).count();
                Ok(json!({"Attributes": {
                    "QueueArn": format!("arn:aws:sqs:us-east-1:000000000000:{queue}"),
                    "ApproximateNumberOfMessages": (stored.len() - hidden).to_string(),
                    "ApproximateNumberOfMessagesNotVisible": hidden.to_string(),
                    "ApproximateNumberOfMessagesDelayed": "0",
                }}))
            }
            "ReceiveMessage" => Ok(self.receive(&queue, request)),
            "SendMessage" => {
                let to = if self.poison { DEAD } else { &queue };
                let attributes = request["MessageAttributes"].clone();
                let trace = request["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"].clone();
                let id = self.put(to, request["MessageBody"].as_str().unwrap(), attributes, trace);
                Ok(json!({"MessageId": id, "MD5OfMessageBody": ""}))
            }
            "DeleteMessage" => {
                let receipt = request["ReceiptHandle"].as_str();
                self.stored.get_mut(&queue).unwrap().retain(|message| message.receipt.as_deref() != receipt);
                Ok(json!({}))
            }
            "ChangeMessageVisibilityBatch" => {
                for entry in request["Entries"].as_array().unwrap() {
                    assert_eq!(entry["VisibilityTimeout"], 0, "a message is shown again at once");
                    let receipt = entry["ReceiptHandle"].as_str();
                    let all = self.stored.get_mut(&queue).unwrap();
                    all.iter_mut().filter(|m| m.receipt.as_deref() == receipt).for_each(|m| m.receipt = None);
                }
                Ok(json!({"Successful": [], "Failed": []}))
            }
            "StartMessageMoveTask" if self.moves => Ok(json!({"TaskHandle": "task"})),
            "ListMessageMoveTasks" if self.moves => Ok(json!({"Results": [{
                "Status": "FAILED", "ApproximateNumberOfMessagesMoved": 7, "FailureReason": "AccessDenied"}]})),
            _ => Err("InvalidAction"),
        }
    }

    fn fault(&mut self, call: &str) -> Fault {
        match call {
            "SendMessage" => match &mut self.refusals {
                Some(0) => Fault::None,
                Some(left) => {
                    *left -= 1;
                    self.send
                }
                None => self.send,
            },
            "DeleteMessage" => self.delete,
            "ReceiveMessage" => self.receive,
            _ => Fault::None,
        }
    }
}

type Shared = Arc<Mutex<Queues>>;

async fn serve(State(queues): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let call = headers["x-amz-target"].to_str().unwrap().split_once('.').unwrap().1.to_owned();
    let fault = queues.lock().unwrap().fault(&call);
    let answer = match fault {
        Fault::None => queues.lock().unwrap().answer(&call, &serde_json::from_str(&body).unwrap()),
        Fault::Refused => Err("AccessDeniedException"),
        Fault::Hangs => std::future::pending().await,
    };
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(code) => (StatusCode::BAD_REQUEST, json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "no"})),
    };
    (status, [("content-type", "application/x-amz-json-1.0")], body.to_string()).into_response()
}

/// Queues with these dead letters, and what looks after them.
async fn given(bodies: &[&str]) -> (Shared, DeadLetters) {
    let stored = BTreeMap::from([(QUEUE.to_owned(), vec![]), (DEAD.to_owned(), vec![])]);
    let mut queues = Queues { stored, ..Queues::default() };
    for body in bodies {
        queues.put(DEAD, body, Value::Null, Value::Null);
    }
    let queues = Arc::new(Mutex::new(queues));
    let letters = DeadLetters::find(client(&queues).await, "florin", "webhook", records().await).await.unwrap();
    (queues, letters)
}

/// A little after everything that happens here.
const NOW: fn() -> Timestamp = || build::START.plus_ms(3_600_000);

async fn records() -> Records {
    let dynamodb = Dynamo::start().await.client;
    Records {
        failures: Failures::new(dynamodb.clone(), "idempotency", "webhook", NOW),
        audit: Audit::new(dynamodb, "audit"),
        now: NOW,
    }
}

/// Queues with these dead letters, what looks after them, and its records.
async fn given_with_records(bodies: &[&str]) -> (Shared, DeadLetters, Records) {
    let (queues, _) = given(bodies).await;
    let records = records().await;
    let letters = DeadLetters::find(client(&queues).await, "florin", "webhook", records.clone()).await.unwrap();
    (queues, letters, records)
}

/// The whole audit, oldest first.
async fn audited(records: &Records) -> Vec<AuditEntry> {
    let mut entries = records.audit.before(OPERATIONS, NOW().plus_ms(1), 100).await.unwrap();
    entries.reverse();
    entries
}

fn failed(message_id: &str, reason: &str) -> Failed {
    Failed { message_id: message_id.to_owned(), reason: reason.to_owned(), receives: 8 }
}

fn ended(key: &str) -> Event {
    build::ended(&build::completed(&build::payment(&build::merchant("shop").id, key), 100))
}

async fn client(queues: &Shared) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(serve)).with_state(Arc::clone(queues));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|place| format!("body {place:03}")).collect()
}

fn texts(bodies: &[String]) -> Vec<&str> {
    bodies.iter().map(String::as_str).collect()
}

/// So many in the consumer's queue, none of them received, and so many dead letters in sight.
fn depth(waiting: u64, dead: u64) -> Depth {
    Depth { waiting, in_flight: 0, delayed: 0, dead, hidden: 0 }
}

fn order(filter: &Filter, limit: u32) -> Order<'_> {
    Order { filter, limit, per_second: None, actor: "ada@desk", note: None, run: "run" }
}

async fn replay(letters: &DeadLetters, at_most: u32) -> (Tally, End) {
    letters.replay(&Order { run: &run(), ..order(&Filter::default(), at_most) }, |_| ()).await.unwrap()
}

/// No two runs have the same name.
fn run() -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    RUNS.fetch_add(1, Ordering::SeqCst).to_string()
}

fn sent(count: u32) -> Tally {
    Tally { done: count, ..Tally::default() }
}

async fn select(letters: &DeadLetters, at_most: u32) -> Result<Selection, DeadLettersError> {
    letters.select(&Filter::default(), at_most).await
}

fn ids(seen: &[Seen]) -> Vec<&str> {
    let mut ids: Vec<&str> = seen.iter().map(|seen| seen.letter.message_id()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn every_dead_letter_goes_back_once() {
    let bodies = numbered(23);
    let (queues, letters) = given(&texts(&bodies)).await;
    assert_eq!(letters.depth().await.unwrap(), depth(0, 23));
    assert_eq!(replay(&letters, 1_000).await, (sent(23), End::Empty));
    assert_eq!(queues.lock().unwrap().bodies(QUEUE), bodies);
    assert_eq!(letters.depth().await.unwrap(), depth(23, 0));
}

#[tokio::test]
async fn a_message_goes_back_as_it_was() {
    let (queues, letters) = given(&[]).await;
    let attributes = json!({
        "type": {"DataType": "String", "StringValue": "payment.completed"},
        "attempt": {"DataType": "Number", "StringValue": "3"},
        "raw": {"DataType": "Binary", "BinaryValue": "AAEC"},
    });
    let body = "{\"ümlaut\": \"\u{1F980}\",\n\t\"x\": \"\\u0000\"}";
    queues.lock().unwrap().put(DEAD, body, attributes.clone(), json!("Root=1-5759e988"));
    assert_eq!(replay(&letters, 10).await, (sent(1), End::Empty));
    let queues = queues.lock().unwrap();
    let message = &queues.stored[QUEUE][0];
    assert_eq!((message.body.as_str(), &message.attributes), (body, &attributes));
    assert_eq!(message.trace, "Root=1-5759e988");
}

#[tokio::test]
async fn an_empty_queue_ends_at_once() {
    let (queues, letters) = given(&[]).await;
    assert_eq!(replay(&letters, 10).await, (sent(0), End::Empty));
    let sends = queues.lock().unwrap().calls.iter().filter(|(call, _)| call == "SendMessage").count();
    assert_eq!(sends, 0);
}

#[tokio::test]
async fn a_limit_is_never_passed() {
    for limit in [0, 1, 9, 10, 11, 22] {
        let bodies = numbered(23);
        let (queues, letters) = given(&texts(&bodies)).await;
        assert_eq!(replay(&letters, limit).await, (sent(limit), End::Limit));
        let rest = depth(u64::from(limit), u64::from(23 - limit));
        assert_eq!(letters.depth().await.unwrap(), rest, "nothing is left hidden");
        let mut all = queues.lock().unwrap().bodies(QUEUE);
        all.extend(queues.lock().unwrap().bodies(DEAD));
        all.sort();
        assert_eq!(all, bodies);
    }
}

#[tokio::test]
async fn a_rate_is_kept() {
    let bodies = numbered(25);
    let (_queues, letters) = given(&texts(&bodies)).await;
    let started = Instant::now();
    let mut batches = Vec::new();
    let everything = Filter::default();
    let order = Order { per_second: Some(20), ..order(&everything, 1_000) };
    let work = letters.replay(&order, |tally| batches.push((tally.done, started.elapsed())));
    let (done, end) = work.await.unwrap();
    assert_eq!((done, end), (sent(25), End::Empty));
    for (so_far, elapsed) in batches {
        // A batch may start early by itself, never by more.
        let earliest = Duration::from_millis(u64::from(so_far.saturating_sub(10)) * 1_000 / 20);
        assert!(elapsed >= earliest, "{so_far} after {elapsed:?}");
    }
}

#[tokio::test]
async fn a_slow_rate_takes_single_messages() {
    let (queues, letters) = given(&["a", "b", "c"]).await;
    let started = Instant::now();
    let everything = Filter::default();
    let order = Order { per_second: Some(2), ..order(&everything, 2) };
    let (done, _) = letters.replay(&order, |_| ()).await.unwrap();
    assert_eq!(done, sent(2));
    assert!(started.elapsed() < Duration::from_secs(2), "nobody waits after the last message");
    let receives = queues.lock().unwrap().calls.iter().filter(|(call, _)| call == "ReceiveMessage").count();
    assert_eq!(receives, 1, "two a second are one batch of two");
}

#[tokio::test]
async fn a_crash_between_send_and_delete_duplicates_and_loses_nothing() {
    let bodies = numbered(15);
    let (queues, letters) = given(&texts(&bodies)).await;
    queues.lock().unwrap().delete = Fault::Hangs;
    let crashed = tokio::time::timeout(Duration::from_millis(500), replay(&letters, 100)).await;
    assert!(crashed.is_err(), "the delete hangs");
    assert_eq!(queues.lock().unwrap().bodies(QUEUE).len(), 10, "one batch was sent");
    assert_eq!(queues.lock().unwrap().bodies(DEAD), bodies, "and is still there");

    // The visibility time-out ends, and the operator tries again.
    queues.lock().unwrap().delete = Fault::None;
    queues.lock().unwrap().stored.get_mut(DEAD).unwrap().iter_mut().for_each(|message| message.receipt = None);
    assert_eq!(replay(&letters, 100).await, (sent(15), End::Empty));
    let mut back = queues.lock().unwrap().bodies(QUEUE);
    assert_eq!(back.len(), 25);
    back.dedup();
    assert_eq!(back, bodies);
}

#[tokio::test]
async fn a_crash_before_the_send_loses_nothing() {
    let bodies = numbered(3);
    let (queues, letters) = given(&texts(&bodies)).await;
    queues.lock().unwrap().send = Fault::Hangs;
    assert!(tokio::time::timeout(Duration::from_millis(300), replay(&letters, 100)).await.is_err());
    let queues = queues.lock().unwrap();
    assert_eq!((queues.bodies(DEAD), queues.bodies(QUEUE)), (bodies, vec![]));
}

#[tokio::test]
async fn what_is_not_sent_is_not_deleted_and_shown_again() {
    let bodies = numbered(12);
    let (queues, letters) = given(&texts(&bodies)).await;
    queues.lock().unwrap().send = Fault::Refused;
    queues.lock().unwrap().refusals = Some(4);
    let done = Tally { done: 8, failed: 4, ..Tally::default() };
    assert_eq!(replay(&letters, 100).await, (done, End::Empty));
    assert_eq!(letters.depth().await.unwrap(), depth(8, 4));
    let mut all = queues.lock().unwrap().bodies(QUEUE);
    all.extend(queues.lock().unwrap().bodies(DEAD));
    all.sort();
    assert_eq!(all, bodies);
}

#[tokio::test]
async fn nothing_is_begun_when_the_time_is_over() {
    let (_, letters) = given(&texts(&numbered(3))).await;
    let letters = letters.within(Duration::ZERO);
    let everything = Filter::default();
    let selection = letters.select(&everything, 10).await.unwrap();
    assert_eq!((selection.examined, selection.more), (0, true), "there may be more");
    assert_eq!(replay(&letters, 10).await, (sent(0), End::Time));
    assert_eq!(letters.depth().await.unwrap(), depth(0, 3));
}

#[tokio::test]
async fn a_run_tells_what_became_of_each_message() {
    let (queues, letters, records) = given_with_records(&texts(&numbered(3))).await;
    queues.lock().unwrap().send = Fault::Refused;
    queues.lock().unwrap().refusals = Some(1);
    let everything = Filter::default();
    let mut told = Vec::new();
    let order = Order { note: Some("The table is back."), ..order(&everything, 3) };
    let heard = |_: &Tally, fates: &[(Seen, Fate)]| told.extend(fates.iter().map(|(_, fate)| fate.to_string()));
    let (done, _) = letters.run(Action::Replay, &order, heard).await.unwrap();
    told.sort();
    assert_eq!(done, Tally { done: 2, failed: 1, ..Tally::default() });
    assert_eq!(told[..2], ["sent", "sent"]);
    assert!(told[2].starts_with("still a dead letter: SendMessage failed"), "{told:?}");
    assert_eq!(audited(&records).await[0].details["note"], "The table is back.");
}

#[tokio::test]
async fn a_queue_that_refuses_everything_ends_the_run() {
    let (queues, letters) = given(&texts(&numbered(50))).await;
    queues.lock().unwrap().send = Fault::Refused;
    let (done, end) = replay(&letters, 100).await;
    assert_eq!(done, Tally { failed: 10, ..Tally::default() });
    let End::Failing(reason) = end else { panic!("{end:?}") };
    assert!(reason.contains("SendMessage") && reason.contains("AccessDenied"), "{reason}");
    assert_eq!(letters.depth().await.unwrap(), depth(0, 50));
}

#[tokio::test]
async fn a_queue_that_refuses_deletes_ends_the_run() {
    let (queues, letters) = given(&texts(&numbered(50))).await;
    queues.lock().unwrap().delete = Fault::Refused;
    let (done, end) = replay(&letters, 100).await;
    assert_eq!(done, Tally { done: 10, undeleted: 10, ..Tally::default() });
    assert!(matches!(end, End::Failing(reason) if reason.contains("DeleteMessage")));
    assert_eq!(queues.lock().unwrap().bodies(DEAD).len(), 50);
}

#[tokio::test]
async fn poison_that_comes_back_does_not_circle() {
    let (queues, letters) = given(&texts(&numbered(15))).await;
    queues.lock().unwrap().poison = true;
    let done = Tally { done: 15, came_back: 15, ..Tally::default() };
    assert_eq!(replay(&letters, 1_000).await, (done, End::Empty));
    assert_eq!(letters.depth().await.unwrap(), depth(0, 15));
}

#[tokio::test]
async fn looking_leaves_everything_where_it_is() {
    let bodies = numbered(23);
    let (queues, letters) = given(&texts(&bodies)).await;
    for (at_most, seen) in [(0, 0), (1, 1), (12, 12), (100, 23)] {
        let selection = select(&letters, at_most).await.unwrap();
        let mut ids = ids(&selection.seen);
        ids.dedup();
        assert_eq!(ids.len(), seen, "each is shown once");
        assert_eq!(selection.more, at_most < 23);
        assert_eq!(letters.depth().await.unwrap(), depth(0, 23));
    }
    assert_eq!(queues.lock().unwrap().bodies(DEAD), bodies);
}

#[tokio::test]
async fn a_look_tells_events_from_poison() {
    let event = ended("1");
    let (queues, letters) = given(&[&build::body(&event)]).await;
    let attributes = json!({"type": {"DataType": "String", "StringValue": "payment.completed"}});
    queues.lock().unwrap().put(DEAD, "{\"number\": \"4242 4242 4242 4242\"", attributes, Value::Null);
    let seen: Vec<_> = select(&letters, 10).await.unwrap().seen.into_iter().map(|seen| seen.letter).collect();
    assert_eq!(seen[0].event().unwrap(), event);
    assert_eq!((seen[0].sent_at(), seen[0].receives()), (Some(build::START), Some(9)));
    assert!(seen[1].event().is_err());
    assert_eq!(seen[1].attribute("type").as_deref(), Some("payment.completed"));
    assert_eq!(seen[1].excerpt(), "{\"number\": \"#### #### #### ####\"");
    assert!(!format!("{seen:?}").contains("4242"), "a log of it shows no body");
}

#[tokio::test]
async fn a_failing_look_shows_everything_again() {
    let (queues, letters) = given(&["a"]).await;
    queues.lock().unwrap().receive = Fault::Refused;
    let error = select(&letters, 10).await.unwrap_err();
    assert!(matches!(error, DeadLettersError::Call { call: "ReceiveMessage", .. }), "{error}");
    let (_, end) = replay(&letters, 10).await;
    assert!(matches!(end, End::Failing(reason) if reason.contains("ReceiveMessage")));
}

#[tokio::test]
async fn sqs_moves_by_itself_where_it_can() {
    let (queues, letters, records) = given_with_records(&["a"]).await;
    let everything = Filter::default();
    let order = Order { per_second: Some(5), ..order(&everything, 1_000) };
    let selection = select(&letters, 10).await.unwrap();
    assert_eq!(letters.start_move(&order, &selection).await, Ok(false), "this endpoint does not know the call");
    queues.lock().unwrap().moves = true;
    assert_eq!(letters.start_move(&Order { run: "other", ..order }, &selection).await, Ok(true));
    let start = queues.lock().unwrap().calls.last().unwrap().clone();
    assert_eq!(start.1["SourceArn"], "arn:aws:sqs:us-east-1:000000000000:florin-webhook-dead-letters");
    assert_eq!(start.1["DestinationArn"], "arn:aws:sqs:us-east-1:000000000000:florin-webhook");
    assert_eq!(start.1["MaxNumberOfMessagesPerSecond"], 5);
    let progress = letters.move_progress().await.unwrap().unwrap();
    assert!(progress.ended);
    assert_eq!((progress.moved, progress.failure.as_deref()), (7, Some("AccessDenied")));

    let trail: Vec<String> = audited(&records).await.into_iter().map(|entry| entry.action).collect();
    let (begin, end) = ("dead_letters.move.begin", "dead_letters.move.end");
    assert_eq!(trail.iter().filter(|action| *action == begin).count(), 2);
    assert_eq!(trail.iter().filter(|action| *action == end).count(), 2);
    assert_eq!(trail.iter().filter(|action| *action == "dead_letters.move").count(), 1, "what SQS took is named");
}

#[tokio::test]
async fn a_missing_queue_is_named() {
    let (queues, _) = given(&[]).await;
    let error = DeadLetters::find(client(&queues).await, "other", "webhook", records().await).await.unwrap_err();
    assert_eq!(error, DeadLettersError::NoQueue("other-webhook".to_owned()));
}

#[tokio::test]
async fn the_reason_of_the_last_failure_is_shown_beside_its_message() {
    let (_, letters, records) = given_with_records(&["a", "b"]).await;
    records.failures.put(&[failed("id-1", "the table is not available")]).await.unwrap();
    let selection = select(&letters, 10).await.unwrap();
    let reasons: Vec<&str> = selection.seen.iter().map(Seen::reason).collect();
    assert_eq!(reasons, ["the table is not available", NO_REASON]);
    let counts: Vec<_> = selection.counts().into_iter().collect();
    let count = |reason: &str| (("without a type".to_owned(), reason.to_owned()), 1);
    assert_eq!(counts, [count(NO_REASON), count("the table is not available")]);
}

#[tokio::test]
async fn only_what_is_meant_is_touched() {
    let bodies = [build::body(&ended("1")), build::body(&ended("2")), "poison".to_owned()];
    let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let all = Filter::default;
    let text = |text: &str| text.to_owned();
    for (filter, meant) in [
        (Filter { types: [text("payment.completed")].into(), ..all() }, vec!["id-1", "id-2"]),
        (Filter { types: [text("payment.failed")].into(), ..all() }, vec![]),
        (Filter { types: [text("without a type")].into(), ..all() }, vec!["id-3"]),
        (Filter { merchant: Some(build::merchant("shop").id.to_string()), ..all() }, vec!["id-1", "id-2"]),
        (Filter { merchant: Some(build::merchant("other").id.to_string()), ..all() }, vec![]),
        (Filter { error: Some(text("THROTTLED")), ..all() }, vec!["id-2"]),
        (Filter { error: Some(text("no reason recorded")), ..all() }, vec!["id-1", "id-3"]),
        (Filter { sent_before: Some(build::START.plus_ms(1)), ..all() }, vec!["id-1", "id-2", "id-3"]),
        (Filter { sent_before: Some(build::START), ..all() }, vec![]),
        (Filter { sent_after: Some(build::START), ..all() }, vec![]),
        (Filter { sent_after: Some(build::START.plus_ms(-1)), ..all() }, vec!["id-1", "id-2", "id-3"]),
        (Filter { messages: [text("id-3"), text("id-1")].into(), ..all() }, vec!["id-1", "id-3"]),
        (Filter { messages: [text("id-1")].into(), error: Some(text("throttled")), ..all() }, vec![]),
    ] {
        let (_, letters, records) = given_with_records(&texts).await;
        records.failures.put(&[failed("id-2", "the table was throttled")]).await.unwrap();
        assert_eq!(ids(&letters.select(&filter, 10).await.unwrap().seen), meant, "{filter:?}");
        let (done, end) = letters.replay(&order(&filter, 10), |_| ()).await.unwrap();
        let count = u32::try_from(meant.len()).unwrap();
        assert_eq!((done, end), (Tally { done: count, passed_over: 3 - count, ..Tally::default() }, End::Empty));
        let expected = depth(u64::from(count), u64::from(3 - count));
        assert_eq!(letters.depth().await.unwrap(), expected, "the others are where they were: {filter:?}");
    }
}

#[tokio::test]
async fn a_replay_leaves_a_trail_from_beginning_to_end() {
    let (queues, letters, records) = given_with_records(&[&build::body(&ended("1")), "poison", "refused"]).await;
    records.failures.put(&[failed("id-1", "the table was throttled")]).await.unwrap();
    let only_two = Filter { messages: ["id-1".to_owned(), "id-2".to_owned()].into(), ..Filter::default() };
    queues.lock().unwrap().delete = Fault::Refused;
    letters.replay(&order(&only_two, 10), |_| ()).await.unwrap();

    let trail = audited(&records).await;
    let actions: Vec<&str> = trail.iter().map(|entry| entry.action.as_str()).collect();
    let action = "dead_letters.replay";
    assert_eq!(actions, ["dead_letters.replay.begin", action, action, "dead_letters.replay.end"]);
    assert!(trail.iter().all(|entry| entry.actor == "ada@desk" && entry.at == NOW()));
    assert!(trail.iter().all(|entry| entry.details["queue"] == "webhook" && entry.details["run"] == "run"));
    assert_eq!(trail[0].details["filter"], "message: id-1 id-2");
    let event = ended("1");
    let message = &trail[1].details;
    assert_eq!((message["event"].as_str(), message["subject"].as_str()), (event.id.as_str(), event.subject.as_str()));
    assert_eq!(
        (message["type"].as_str(), message["reason"].as_str()),
        ("payment.completed", "the table was throttled")
    );
    assert!(message["outcome"].starts_with("sent, and still a dead letter"), "{}", message["outcome"]);
    assert_eq!(trail[2].details["body"], "poison");
    assert!(trail[3].details["outcome"].contains("2 done, 2 of them undeleted"), "{:?}", trail[3].details);
}

#[tokio::test]
async fn nothing_happens_that_cannot_be_audited() {
    let (queues, _) = given(&["a", "b"]).await;
    let dynamodb = Dynamo::start().await.client;
    let records = Records { audit: Audit::new(dynamodb, "missing"), ..records().await };
    let letters = DeadLetters::find(client(&queues).await, "florin", "webhook", records).await.unwrap();
    let everything = Filter::default();
    let order = order(&everything, 10);
    queues.lock().unwrap().moves = true;
    for outcome in [
        letters.replay(&order, |_| ()).await.map(|_| ()),
        letters.discard(&order, |_| ()).await.map(|_| ()),
        letters.start_move(&order, &Selection::default()).await.map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(DeadLettersError::Audit(_))), "{outcome:?}");
    }
    let queues = queues.lock().unwrap();
    assert_eq!((queues.bodies(DEAD).len(), queues.bodies(QUEUE).len()), (2, 0));
    let touched = ["ReceiveMessage", "DeleteMessage", "SendMessage", "StartMessageMoveTask"];
    assert!(queues.calls.iter().all(|(call, _)| !touched.contains(&call.as_str())));
}

#[tokio::test]
async fn what_is_discarded_is_gone_but_for_the_audit() {
    let (queues, letters, records) = given_with_records(&[&build::body(&ended("1")), "4242 4242 4242 4242", "c"]).await;
    let everything = Filter::default();
    let (done, end) = letters.discard(&order(&everything, 2), |_| ()).await.unwrap();
    assert_eq!((done, end), (Tally { done: 2, ..Tally::default() }, End::Limit));
    assert_eq!(queues.lock().unwrap().bodies(DEAD), ["c"]);
    assert_eq!(letters.depth().await.unwrap(), depth(0, 1), "nothing was sent");

    let trail = audited(&records).await;
    assert_eq!(trail.len(), 4);
    let event = ended("1");
    let kept = |name: &str| trail[1].details[name].clone();
    assert_eq!(
        (kept("event"), kept("type"), kept("subject")),
        (event.id.to_string(), "payment.completed".to_owned(), event.subject)
    );
    assert_eq!(trail[2].details["body"], "#### #### #### ####");
    assert!(!format!("{trail:?}").contains("4242"));
}

#[tokio::test]
async fn a_message_that_cannot_be_deleted_is_not_said_to_be_discarded() {
    let (queues, letters, records) = given_with_records(&["a"]).await;
    queues.lock().unwrap().delete = Fault::Refused;
    let everything = Filter::default();
    let (done, end) = letters.discard(&order(&everything, 10), |_| ()).await.unwrap();
    assert_eq!((done, end), (Tally { failed: 1, ..Tally::default() }, End::Empty));
    assert_eq!(letters.depth().await.unwrap(), depth(0, 1));
    let trail = audited(&records).await;
    let outcomes: Vec<&str> = trail.iter().skip(1).map(|entry| entry.details["outcome"].as_str()).collect();
    assert_eq!(outcomes[0], "to be deleted");
    assert!(outcomes[1].starts_with("still a dead letter: DeleteMessage failed"), "{outcomes:?}");
}

#[tokio::test]
async fn a_crash_in_a_discard_leaves_what_it_meant_to_delete_in_the_audit() {
    let (queues, letters, records) = given_with_records(&["a"]).await;
    queues.lock().unwrap().delete = Fault::Hangs;
    let everything = Filter::default();
    let order = order(&everything, 10);
    let crashed = tokio::time::timeout(Duration::from_millis(500), letters.discard(&order, |_| ())).await;
    assert!(crashed.is_err(), "the delete hangs");
    let trail = audited(&records).await;
    assert_eq!(trail.len(), 2, "there is no end");
    let of_the_message = &trail[1].details;
    assert_eq!((of_the_message["message"].as_str(), of_the_message["outcome"].as_str()), ("id-#", "to be deleted"));
}
