//! The analytics tables: everything is counted once, on an embedded DynamoDB.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::float_arithmetic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test may stop at the first surprise; write units are fractions"
)]

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use florin_domain::{
    analytics::{Ended, latency_bucket, percentile},
    ids::{EventId, MerchantId},
    money::Currency,
    payment::Status,
    time::{MS_PER_HOUR, Timestamp},
};
use florin_store::analytics::{Analytics, COUNTED_TTL_SECONDS, COUNTER_SHARDS, Counters, EVENTS_PER_TRANSACTION_MAX};
use florin_testing::{
    build::{self, START},
    dynamo::Dynamo,
};
use proptest::prelude::*;

const NINE: Timestamp = START;

struct World {
    dynamo: Dynamo,
    analytics: Analytics,
}

impl World {
    async fn start() -> Self {
        let dynamo = Dynamo::start().await;
        Self { analytics: Analytics::new(dynamo.client.clone(), "analytics", "idempotency"), dynamo }
    }

    /// The merchant's counters of the day, all hours and currencies added up.
    async fn sum(&self, merchant: &MerchantId) -> Counters {
        let mut sum = Counters::default();
        let day = 24 * MS_PER_HOUR;
        for hour in self.analytics.hours(merchant, NINE.plus_ms(-day), NINE.plus_ms(day)).await.unwrap() {
            sum.merge(&hour.counters);
        }
        sum
    }
}

fn shop() -> MerchantId {
    build::merchant("shop").id
}

/// A payment of 100.00 NGN, created at nine and completed `latency_ms` later.
fn ended(key: &str, latency_ms: i64) -> Ended {
    Ended::from_event(&build::ended(&build::completed(&build::payment(&shop(), key), latency_ms))).unwrap()
}

fn many(count: usize) -> Vec<Ended> {
    (0..count).map(|n| ended(&n.to_string(), i64::try_from(n).unwrap() * 10)).collect()
}

/// What counting these should come to.
fn expected<'a>(events: impl IntoIterator<Item = &'a Ended>) -> Counters {
    let mut sum = Counters::default();
    for ended in events {
        let status = ended.status.as_str().to_owned();
        *sum.count.entry(status.clone()).or_default() += 1;
        *sum.amount.entry(status).or_default() += ended.amount;
        if let Some(code) = &ended.failure_code {
            *sum.failure_codes.entry(code.clone()).or_default() += 1;
        }
        *sum.latency.entry(latency_bucket(ended.latency_ms())).or_default() += 1;
    }
    sum
}

#[tokio::test]
async fn counts_by_status_amount_code_and_latency() {
    let World { analytics, .. } = World::start().await;
    let declined = build::declined(&build::payment(&shop(), "2"), "insufficient_funds", 300);
    let declined = Ended::from_event(&build::ended(&declined)).unwrap();
    analytics.count(&[ended("1", 120), declined, ended("3", 120)], 0).await.unwrap();
    let hours = analytics.hours(&shop(), NINE, NINE.plus_ms(1)).await.unwrap();
    assert_eq!(hours.len(), 1);
    assert_eq!((hours[0].hour, hours[0].currency.code()), (NINE, "NGN"));
    let counters = &hours[0].counters;
    assert_eq!(counters.count, BTreeMap::from([("completed".to_owned(), 2), ("failed".to_owned(), 1)]));
    assert_eq!(counters.amount, BTreeMap::from([("completed".to_owned(), 20_000), ("failed".to_owned(), 10_000)]));
    assert_eq!(counters.failure_codes, BTreeMap::from([("insufficient_funds".to_owned(), 1)]));
    let buckets: Vec<(u64, u64)> = counters.latency.iter().map(|(bucket, count)| (*bucket, *count)).collect();
    assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 3);
    let median = percentile(&buckets, 50).unwrap();
    assert!((120..=135).contains(&median), "{median}");
    let highest = percentile(&buckets, 99).unwrap();
    assert!((300..=337).contains(&highest), "{highest}");
}

#[tokio::test]
async fn an_event_is_counted_once_however_often_it_is_told() {
    let world = World::start().await;
    let events = many(10);
    let twice: Vec<Ended> = events.iter().chain(&events).cloned().collect();
    world.analytics.count(&twice, 0).await.unwrap();
    world.analytics.count(&events, 1).await.unwrap();
    // A batch that was split elsewhere: some are known, some are new, and they lie in the same slices of time.
    world.analytics.count(&[events[3].clone(), ended("new", 35), events[9].clone()], 2).await.unwrap();
    world.analytics.count(&[ended("new", 35)], 3).await.unwrap();
    assert_eq!(world.sum(&shop()).await, expected(events.iter().chain([&ended("new", 35)])));
}

#[tokio::test]
async fn nothing_to_count_is_no_call() {
    let world = World::start().await;
    world.analytics.count(&[], 0).await.unwrap();
    assert!(world.dynamo.meter.counts().calls.is_empty());
}

#[tokio::test]
async fn a_transaction_has_a_limit() {
    let world = World::start().await;
    let error = world.analytics.count(&many(EVENTS_PER_TRANSACTION_MAX + 1), 0).await.unwrap_err();
    assert!(!error.is_retryable());
    // The most that it may have: every event in a slice and an hour of its own.
    let apart: Vec<Ended> = (0..EVENTS_PER_TRANSACTION_MAX)
        .map(|n| {
            let ms = i64::try_from(n).unwrap() * MS_PER_HOUR;
            let event = ended(&n.to_string(), 0);
            Ended { created_at: NINE.plus_ms(ms), ended_at: NINE.plus_ms(ms), ..event }
        })
        .collect();
    world.analytics.count(&apart, 0).await.unwrap();
    let hours = world.analytics.hours(&shop(), NINE, NINE.plus_ms(100 * MS_PER_HOUR)).await.unwrap();
    assert_eq!(hours.len(), EVENTS_PER_TRANSACTION_MAX);
}

#[tokio::test]
async fn a_failed_transaction_counts_nothing() {
    let world = World::start().await;
    let broken = Analytics::new(world.dynamo.client.clone(), "analytics", "no_such_table");
    broken.count(&many(5), 0).await.unwrap_err();
    assert_eq!(world.sum(&shop()).await, Counters::default());
    let broken = Analytics::new(world.dynamo.client.clone(), "no_such_table", "idempotency");
    broken.count(&many(5), 0).await.unwrap_err();
    world.analytics.count(&many(5), 0).await.unwrap();
    assert_eq!(world.sum(&shop()).await, expected(&many(5)), "nothing was noted as counted either");
}

#[tokio::test]
async fn shards_currencies_and_merchants_are_kept_apart_and_added_up() {
    let World { analytics, .. } = World::start().await;
    for shard in 0..COUNTER_SHARDS {
        analytics.count(&[ended(&format!("ngn{shard}"), 10)], shard).await.unwrap();
    }
    let jpy = Ended { currency: Currency::parse("JPY").unwrap(), ..ended("jpy", 10) };
    let other = Ended { merchant_id: build::merchant("other").id, ..ended("other", 10) };
    analytics.count(&[jpy, other], 0).await.unwrap();
    let hours = analytics.hours(&shop(), NINE, NINE.plus_ms(1)).await.unwrap();
    let counts: Vec<_> = hours.iter().map(|hour| (hour.currency.code(), hour.counters.count["completed"])).collect();
    assert_eq!(counts, [("JPY", 1), ("NGN", i64::from(COUNTER_SHARDS))]);
}

#[tokio::test]
async fn a_range_holds_the_hours_that_begin_in_it() {
    let World { analytics, .. } = World::start().await;
    for hour in 0..4 {
        let created_at = NINE.plus_ms(hour * MS_PER_HOUR + 1_800_000);
        let event = Ended { created_at, ended_at: created_at.plus_ms(5), ..ended(&hour.to_string(), 0) };
        analytics.count(&[event], 0).await.unwrap();
    }
    for (from, to, hours) in [
        (0, 4 * MS_PER_HOUR, vec![0, 1, 2, 3]),
        (MS_PER_HOUR, 3 * MS_PER_HOUR, vec![1, 2]),
        (MS_PER_HOUR, 3 * MS_PER_HOUR + 1, vec![1, 2, 3]),
        (MS_PER_HOUR, 3 * MS_PER_HOUR - 1, vec![1, 2]),
        (MS_PER_HOUR + 1, 3 * MS_PER_HOUR, vec![2]),
        (MS_PER_HOUR - 1, MS_PER_HOUR, vec![]),
        (MS_PER_HOUR, MS_PER_HOUR, vec![]),
        (3 * MS_PER_HOUR, MS_PER_HOUR, vec![]),
        (-100 * MS_PER_HOUR, 100 * MS_PER_HOUR, vec![0, 1, 2, 3]),
    ] {
        let found = analytics.hours(&shop(), NINE.plus_ms(from), NINE.plus_ms(to)).await.unwrap();
        let found: Vec<i64> = found.iter().map(|hour| hour.hour.ms_since(NINE) / MS_PER_HOUR).collect();
        assert_eq!(found, hours, "{from} to {to}");
    }
}

#[tokio::test]
async fn a_payment_counts_in_the_hour_of_its_creation() {
    let World { analytics, .. } = World::start().await;
    analytics.count(&[ended("1", 2 * MS_PER_HOUR)], 0).await.unwrap();
    let hours = analytics.hours(&shop(), NINE, NINE.plus_ms(5 * MS_PER_HOUR)).await.unwrap();
    assert_eq!(hours.iter().map(|hour| hour.hour).collect::<Vec<_>>(), [NINE]);
}

#[tokio::test]
async fn what_was_counted_is_known_longer_than_a_message_lives() {
    let world = World::start().await;
    world.analytics.count(&[ended("1", 100)], 0).await.unwrap();
    let item = &world.dynamo.client.scan().table_name("idempotency").send().await.unwrap().items.unwrap()[0];
    let kept: i64 = item["ttl"].as_n().unwrap().parse::<i64>().unwrap() - NINE.seconds();
    assert_eq!(kept, COUNTED_TTL_SECONDS);
    // 14 days in its queue, and 14 more in the dead-letter queue.
    assert!(kept > 28 * 24 * 60 * 60);
}

#[tokio::test]
async fn counting_together_costs_less_than_a_write_unit_for_an_event() {
    for batch in [10, EVENTS_PER_TRANSACTION_MAX] {
        let world = World::start().await;
        // A burst of 50 payments within a second.
        let burst: Vec<Ended> = (0..50).map(|n| ended(&n.to_string(), n * 20)).collect();
        for events in burst.chunks(batch) {
            world.analytics.count(events, 0).await.unwrap();
        }
        let counts = world.dynamo.meter.counts();
        let units = counts.write_units.values().sum::<f64>() / 50.0;
        println!("write units for an event, batches of {batch}: {units:.2} {:?}", counts.write_units);
        assert!(units <= 1.0, "batches of {batch}: {units}");
    }
}

/// An event, still without an id of its own, of one of two merchants: created within a few hours, ended in some way.
fn any_ended() -> impl Strategy<Value = Ended> {
    let status = prop::sample::select(vec![Status::Completed, Status::Failed, Status::Canceled]);
    let currency = prop::sample::select(vec!["NGN", "JPY", "KWD"]);
    (any::<bool>(), 0..6 * MS_PER_HOUR, 0..10_000_i64, 1..1_000_000_i64, status, currency, 0..3_u8).prop_map(
        |(first, created, latency, amount, status, currency, code)| {
            let created_at = NINE.plus_ms(created);
            Ended {
                event_id: EventId::derive(&[]),
                ended_at: created_at.plus_ms(latency),
                merchant_id: build::merchant(if first { "first" } else { "second" }).id,
                created_at,
                currency: Currency::parse(currency).unwrap(),
                status,
                amount,
                failure_code: (status == Status::Failed).then(|| format!("code_{code}")),
            }
        },
    )
}

#[test]
fn the_hours_add_up_to_the_events() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::start());
    let case = AtomicU32::new(0);
    let config = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(events in prop::collection::vec(any_ended(), 1..60), size in 1..=EVENTS_PER_TRANSACTION_MAX)| {
        // Merchants and events of this case only: the database is shared by all.
        let salt = case.fetch_add(1, Ordering::SeqCst).to_string();
        let mut events = events;
        for (place, event) in events.iter_mut().enumerate() {
            event.merchant_id = MerchantId::derive(&[event.merchant_id.as_str(), &salt]);
            event.event_id = EventId::derive(&[&place.to_string(), &salt]);
        }
        runtime.block_on(async {
            for (place, chunk) in events.chunks(size).chain(events.rchunks(size)).enumerate() {
                let shard = u8::try_from(place % usize::from(COUNTER_SHARDS)).unwrap();
                world.analytics.count(chunk, shard).await.unwrap();
            }
        });
        for merchant in ["first", "second"] {
            let merchant = MerchantId::derive(&[build::merchant(merchant).id.as_str(), &salt]);
            let sum = runtime.block_on(world.sum(&merchant));
            prop_assert_eq!(sum, expected(events.iter().filter(|event| event.merchant_id == merchant)));
        }
    });
}
