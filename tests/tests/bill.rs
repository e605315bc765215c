//! What a payment costs in AWS calls and DynamoDB write units, counted: the functions' real handlers, the real SDK, an
//! embedded DynamoDB that reports consumed capacity, and a topic that counts.
//!
//! `cargo test -p florin-tests --test bill -- --nocapture` prints the table.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::as_conversions,
    reason = "a test stops at the first surprise, and prints fractions of units, which are no money"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode},
    routing::post,
};
use florin_analytics::Counter;
use florin_api::{Dependencies, router};
use florin_domain::{card::Mode, event::Event, ids::ApiKeyId, merchant::ApiKeyRecord};
use florin_messaging::SnsPublisher;
use florin_platform::{clock::Clock, guard::Guard, secrets::RootKey};
use florin_processor::Processor;
use florin_store::{analytics::Analytics, merchants::Merchants, payments::Payments, webhooks::Webhooks};
use florin_testing::{
    build,
    dynamo::{Dynamo, test_config},
    fakes::{FakeGateway, RecordingVisibility},
    meter::Meter,
};
use florin_tests::{receiver::Receiver, stack::Stack};
use florin_webhook_sender::{Post, Sender};
use tower::ServiceExt;

const PAYMENTS: usize = 100;
const BATCH: usize = 10;
/// What the design allows for a payment that is stored, charged, told and counted.
const WRITE_UNITS_MAX: f64 = 8.0;
const CALLS_MAX: f64 = 6.0;
const API_KEY: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";

/// Services whose calls a meter counts.
const AWS_SERVICES: [&str; 2] = ["dynamodb", "sns"];

/// The bodies published so far.
type Published = Arc<Mutex<Vec<String>>>;

/// Answers `Publish` and `PublishBatch` as SNS does, and keeps the messages.
async fn topic() -> (String, Published) {
    let published = Published::default();
    let app = Router::new().route("/", post(publish)).with_state(Arc::clone(&published));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, published)
}

async fn publish(State(published): State<Published>, form: String) -> (StatusCode, String) {
    let fields: BTreeMap<String, String> = serde_urlencoded::from_str(&form).unwrap();
    let mut members = String::new();
    let mut published = published.lock().unwrap();
    if fields["Action"] == "Publish" {
        published.push(fields["Message"].clone());
    }
    for place in 1.. {
        let entry = format!("PublishBatchRequestEntries.member.{place}");
        let Some(message) = fields.get(&format!("{entry}.Message")) else { break };
        published.push(message.clone());
        let id = &fields[&format!("{entry}.Id")];
        members.push_str(&format!("<member><Id>{id}</Id><MessageId>m</MessageId></member>"));
    }
    let action = &fields["Action"];
    let result = format!("<MessageId>m</MessageId><Successful>{members}</Successful><Failed/>");
    (StatusCode::OK, format!("<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"))
}

async fn sns(endpoint: &str) -> (aws_sdk_sns::Client, Meter) {
    let meter = Meter::default();
    let config = test_config(endpoint).await;
    let config = aws_sdk_sns::config::Builder::from(&config).interceptor(meter.clone()).build();
    (aws_sdk_sns::Client::from_conf(config), meter)
}

fn take(published: &Published) -> Vec<Event> {
    published.lock().unwrap().drain(..).map(|body| Event::parse(&body).unwrap()).collect()
}

/// Hands the events over in batches, as the queue would.
async fn drain<R>(events: &[Event], mut handle: impl AsyncFnMut(aws_lambda_events::sqs::SqsEvent) -> R) {
    for batch in events.chunks(BATCH) {
        handle(build::batch(batch.iter().map(build::body))).await;
    }
}

#[tokio::test]
async fn a_payment_stays_within_its_write_units_and_calls() {
    let dynamo = Dynamo::start().await;
    let (topic_url, published) = topic().await;
    let receiver = Receiver::start().await;
    let root_key = RootKey::from_hex(&"5a".repeat(32)).unwrap();
    let merchant = build::merchant("shop");
    seed(&dynamo, &root_key, &merchant).await;
    let gateway = Arc::new(FakeGateway::default());
    let visibility = Arc::new(RecordingVisibility::default());
    let mut meters = Vec::new();

    // api
    let (client, tables) = dynamo.metered().await;
    let (sns_client, topic) = sns(&topic_url).await;
    meters.push(("api", vec![tables, topic]));
    let api = router(Dependencies {
        payments: Payments::new(client.clone(), "payments"),
        merchants: Merchants::new(client.clone(), "merchants"),
        analytics: Analytics::reader(client, "analytics"),
        gateway: gateway.clone(),
        publisher: Arc::new(SnsPublisher::direct(sns_client, "arn:aws:sns:us-east-1:000000000000:payment-events")),
        root_key: root_key.clone(),
        guard: Guard::new(true),
        mode: Mode::Test,
        clock: Clock::System,
    });
    for n in 0..PAYMENTS {
        let mut body = Stack::payment("4242");
        body["webhook_url"] = receiver.url("hooks").into();
        let request = Request::post("/v1/payments")
            .header("authorization", format!("Bearer {API_KEY}"))
            .header("content-type", "application/json")
            .header("idempotency-key", format!("bill-{n}"));
        let answer = api.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
    }
    let initiated = take(&published);

    // processor
    let (client, tables) = dynamo.metered().await;
    let (sns_client, topic) = sns(&topic_url).await;
    meters.push(("processor", vec![tables, topic]));
    let processor = Processor::new(
        Payments::new(client.clone(), "payments"),
        Merchants::new(client, "merchants"),
        gateway.clone(),
        Arc::new(SnsPublisher::gathering(sns_client, "arn:aws:sns:us-east-1:000000000000:payment-events")),
        visibility.clone(),
        Clock::System,
    );
    drain(&initiated, async |batch| processor.handle(batch, None).await.unwrap()).await;
    let ended = take(&published);
    assert_eq!((initiated.len(), ended.len(), gateway.charges()), (PAYMENTS, PAYMENTS, PAYMENTS));

    // webhook-sender
    let (client, tables) = dynamo.metered().await;
    meters.push(("webhook-sender", vec![tables]));
    let sender = Sender::new(
        Webhooks::new(client, "webhooks"),
        root_key,
        Post::new(Guard::new(true)).unwrap(),
        visibility.clone(),
        Clock::System,
        || 0,
    );
    drain(&ended, async |batch| sender.handle(batch, None).await.unwrap()).await;
    assert_eq!(receiver.received("hooks").len(), PAYMENTS);

    // analytics
    let (client, tables) = dynamo.metered().await;
    meters.push(("analytics", vec![tables]));
    let counter = Counter::new(Analytics::new(client, "analytics", "idempotency"), visibility.clone(), || 0);
    drain(&ended, async |batch| counter.handle(batch, None).await.unwrap()).await;
    assert!(visibility.changes().is_empty(), "nothing had to be tried again");

    for (function, meters) in &meters {
        let missing = ungranted(&granted(function), meters);
        assert!(missing.is_empty(), "{function} calls {missing:?}, which its role in template.yaml does not allow");
    }
    assert_eq!(ungranted(&granted("sweeper"), &meters[0].1), ["GetItem", "PutItem"], "the check can fail");
    let (units, calls) = print_table(&meters);
    assert!(units <= WRITE_UNITS_MAX, "{units} write units a payment");
    assert!(calls <= CALLS_MAX, "{calls} calls a payment");
}

/// The actions that the template grants a function's role. Emulators do not enforce them.
fn granted(function: &str) -> BTreeSet<String> {
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml")).unwrap();
    let mut lines = template.lines().skip_while(|line| !line.ends_with(&format!("PolicyName: {function}")));
    assert!(lines.next().is_some(), "{function} has no policy");
    let policy = lines.take_while(|line| line.starts_with("     "));
    let words = policy.flat_map(|line| line.split([' ', ',', '[', ']']));
    let action =
        |word: &str| Some(word.split_once(':').filter(|(service, _)| AWS_SERVICES.contains(service))?.1.to_owned());
    words.filter_map(action).collect()
}

/// The operations that were called although nothing allows them.
fn ungranted(granted: &BTreeSet<String>, meters: &[Meter]) -> Vec<String> {
    // A transaction is allowed by what it does to each item, a batch by what it holds.
    let action = |operation: &str| match operation {
        "TransactWriteItems" => "UpdateItem".to_owned(),
        "PublishBatch" => "Publish".to_owned(),
        other => other.to_owned(),
    };
    let called: BTreeSet<String> = meters.iter().flat_map(|meter| meter.counts().calls.into_keys()).collect();
    called.into_iter().filter(|operation| !granted.contains(&action(operation))).collect()
}

async fn seed(dynamo: &Dynamo, root_key: &RootKey, merchant: &florin_domain::merchant::Merchant) {
    let merchants = Merchants::new(dynamo.client.clone(), "merchants");
    merchants.put_merchant(merchant).await.unwrap();
    let record = ApiKeyRecord {
        hash: root_key.api_key_hash(API_KEY),
        id: ApiKeyId::derive(&[API_KEY]),
        merchant_id: merchant.id.clone(),
        prefix: "sk_test_".to_owned(),
        last4: "p7dc".to_owned(),
        revoked: false,
    };
    merchants.put_api_key(&record).await.unwrap();
}

/// Prints what each function did, and returns write units and calls a payment.
fn print_table(meters: &[(&str, Vec<Meter>)]) -> (f64, f64) {
    let payments = PAYMENTS as f64;
    let (mut all_units, mut all_calls) = (0.0, 0.0);
    println!("{PAYMENTS} card payments, batches of {BATCH}, one webhook each; per payment:");
    println!("{:<16}{:>12}{:>8}  calls by operation", "function", "write units", "calls");
    for (function, meters) in meters {
        let (mut units, mut calls, mut operations) = (0.0, 0_u64, Vec::new());
        for counts in meters.iter().map(Meter::counts) {
            units += counts.write_units.values().sum::<f64>();
            calls += counts.calls.values().sum::<u64>();
            operations.extend(counts.calls.into_iter().map(|(name, n)| format!("{name} {:.2}", n as f64 / payments)));
        }
        println!("{function:<16}{:>12.2}{:>8.2}  {}", units / payments, calls as f64 / payments, operations.join(", "));
        all_units += units;
        all_calls += calls as f64;
    }
    println!("{:<16}{:>12.2}{:>8.2}", "total", all_units / payments, all_calls / payments);
    (all_units / payments, all_calls / payments)
}
