//! The counter against an embedded DynamoDB: exact, whatever the queue does.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::float_arithmetic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test may stop at the first surprise; write units are fractions"
)]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use aws_lambda_events::sqs::SqsEvent;
use florin_analytics::Counter;
use florin_domain::{
    effect::StepResult,
    event::Event,
    ids::RefundId,
    journal::Step,
    payment::Payment,
    refund::{NewRefund, Refund},
    saga::{self, Command},
    time::MS_PER_HOUR,
};
use florin_store::analytics::{Analytics, Counters};
use florin_testing::{
    build::{self, START},
    dynamo::Dynamo,
    fakes::{RecordingFailures, RecordingVisibility, queue},
};

struct World {
    dynamo: Dynamo,
    analytics: Analytics,
    visibility: Arc<RecordingVisibility>,
    failures: Arc<RecordingFailures>,
}

impl World {
    async fn start() -> Self {
        let dynamo = Dynamo::start().await;
        let analytics = Analytics::new(dynamo.client.clone(), "analytics", "idempotency");
        Self { dynamo, analytics, visibility: Arc::default(), failures: Arc::default() }
    }

    fn counter(&self) -> Counter {
        Counter::new(self.analytics.clone(), queue(&self.visibility, &self.failures), florin_platform::random::percent)
    }

    /// What the shop's counters of the day add up to.
    async fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        let (from, to) = (START.plus_ms(-MS_PER_HOUR), START.plus_ms(24 * MS_PER_HOUR));
        for hour in self.analytics.hours(&build::merchant("shop").id, from, to).await.unwrap() {
            sum.merge(&hour.counters);
        }
        sum
    }
}

fn payment(key: usize) -> Payment {
    build::payment(&build::merchant("shop").id, &key.to_string())
}

/// A payment that ended somehow, some time within `within_ms`.
fn ended(key: usize, within_ms: i64) -> Event {
    let latency = i64::try_from(random(usize::try_from(within_ms).unwrap())).unwrap();
    build::ended(&match random(3) {
        0 => build::declined(&payment(key), "insufficient_funds", latency),
        1 => build::declined(&payment(key), "invalid_card", latency),
        _ => build::completed(&payment(key), latency),
    })
}

/// A random number below `limit`.
fn random(limit: usize) -> usize {
    usize::try_from(u32::from_be_bytes(florin_platform::random::bytes())).unwrap() % limit
}

fn shuffle<T>(items: &mut [T]) {
    for place in (1..items.len()).rev() {
        items.swap(place, random(place + 1));
    }
}

fn batch(events: &[Event]) -> SqsEvent {
    build::batch(events.iter().map(build::body))
}

fn sum(counts: &BTreeMap<String, i64>) -> i64 {
    counts.values().sum()
}

#[tokio::test]
async fn counts_are_exact_under_duplicates_disorder_and_concurrency() {
    let world = World::start().await;
    let events: Vec<Event> = (0..120).map(|key| ended(key, 3_000)).collect();
    let mut messages: Vec<Event> = events.iter().chain(&events).cloned().collect();
    shuffle(&mut messages);
    let mut queue = VecDeque::new();
    while !messages.is_empty() {
        let size = (1 + random(50)).min(messages.len());
        queue.push_back(messages.drain(..size).collect::<Vec<_>>());
    }
    let queue = Mutex::new(queue);
    let drain = || async {
        let counter = world.counter();
        loop {
            let Some(messages) = queue.lock().unwrap().pop_front() else { return };
            // What was not counted comes again, as the queue would have it.
            if !counter.handle(batch(&messages), None).await.unwrap().batch_item_failures.is_empty() {
                queue.lock().unwrap().push_back(messages);
            }
        }
    };
    tokio::join!(drain(), drain(), drain(), drain());

    let counters = world.counters().await;
    let with_status =
        |name: &str| events.iter().filter(|event| event.data.payment().unwrap().status.as_str() == name).count();
    let with_code = |code: &str| {
        let failures = events.iter().filter_map(|event| event.data.payment().unwrap().failure.as_ref());
        failures.filter(|failure| failure.code == code).count()
    };
    for status in ["completed", "failed"] {
        let count = i64::try_from(with_status(status)).unwrap();
        assert_eq!(counters.count[status], count);
        assert_eq!(counters.amount[status], count * 10_000);
    }
    assert_eq!(sum(&counters.count), 120);
    for code in ["insufficient_funds", "invalid_card"] {
        assert_eq!(counters.failure_codes[code], i64::try_from(with_code(code)).unwrap());
    }
    assert_eq!(counters.latency.values().sum::<u64>(), 120);
}

#[tokio::test]
async fn poison_fails_alone_and_other_events_are_done() {
    let world = World::start().await;
    let initiated = Event::initiated(&payment(3), &build::correlation());
    let bodies = [build::body(&ended(1, 10)), "poison".to_owned(), build::body(&initiated), build::body(&ended(2, 10))];
    let response = world.counter().handle(build::batch(bodies), None).await.unwrap();
    let failed: Vec<_> = response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    assert_eq!(failed, ["m1"]);
    assert_eq!(world.visibility.changes(), [("r1".to_owned(), 0)]);
    assert_eq!(sum(&world.counters().await.count), 2);
}

#[tokio::test]
async fn a_batch_that_announces_no_end_costs_no_call() {
    let world = World::start().await;
    let (payment, correlation) = (payment(1), build::correlation());
    let completed = build::completed(&payment, 10);
    let all = NewRefund { amount: None, reason: None, metadata: BTreeMap::new() };
    let refund = Refund::create(RefundId::derive(&["r"]), &completed, all, START).unwrap();
    let given_back = StepResult::Done { reference: "re_1".to_owned() };
    let refunded = refund.claim(Step::Refund, START).apply(given_back, START, 0, false).0;
    let Command::Store(held) = saga::hold(&payment, START) else { unreachable!("it is pending") };
    let Command::Store(resumed) = saga::resume(&held, START) else { unreachable!("it is held") };
    let events = [
        Event::initiated(&payment, &correlation),
        Event::held(&held, &correlation),
        Event::resumed(&resumed, &correlation),
        Event::refund_initiated(&refund, &correlation),
        Event::refund_ended(&refunded, &correlation).unwrap(),
    ];
    assert!(world.counter().handle(batch(&events), None).await.unwrap().batch_item_failures.is_empty());
    assert!(world.dynamo.meter.counts().calls.is_empty());
}

#[tokio::test]
async fn a_failing_transaction_counts_nothing_and_comes_again() {
    let world = World::start().await;
    let events: Vec<Event> = (0..10).map(|key| ended(key, 2_000)).collect();
    let broken = Analytics::new(world.dynamo.client.clone(), "analytics", "no_such_table");
    let counter = Counter::new(broken, queue(&world.visibility, &world.failures), || 0);
    let response = counter.handle(batch(&events), None).await.unwrap();
    assert_eq!(response.batch_item_failures.len(), 10);
    assert_eq!(world.counters().await, Counters::default());
    assert!(world.counter().handle(batch(&events), None).await.unwrap().batch_item_failures.is_empty());
    assert_eq!(sum(&world.counters().await.count), 10);
}

#[tokio::test]
async fn a_batch_of_more_than_a_transaction_takes_is_counted() {
    let world = World::start().await;
    let events: Vec<Event> = (0..130).map(|key| ended(key, 500)).collect();
    assert!(world.counter().handle(batch(&events), None).await.unwrap().batch_item_failures.is_empty());
    assert_eq!(world.dynamo.meter.counts().calls["TransactWriteItems"], 3);
    assert_eq!(sum(&world.counters().await.count), 130);
}

#[tokio::test]
async fn an_event_costs_at_most_a_write_unit() {
    for size in [10, 50] {
        let world = World::start().await;
        // A burst of 100 payments within a second, in the order in which they ended.
        let mut events: Vec<Event> = (0..100).map(|key| ended(key, 1_000)).collect();
        events.sort_by_key(|event| event.time);
        for messages in events.chunks(size) {
            world.counter().handle(batch(messages), None).await.unwrap();
        }
        let counts = world.dynamo.meter.counts();
        let units = counts.write_units.values().sum::<f64>() / 100.0;
        println!("batches of {size}: {units:.2} write units for an event ({:?})", counts.write_units);
        assert!(units <= 1.0, "batches of {size}: {units}");
        assert_eq!(counts.calls["TransactWriteItems"], 100 / u64::try_from(size).unwrap());
    }
}
