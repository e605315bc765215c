//! Buckets on an embedded DynamoDB.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a test stops at the first surprise")]

use florin_domain::{
    rate::{Account, Arrival, Bucket, Rate, Settlement},
    time::Timestamp,
};
use florin_store::limits::Limits;
use florin_testing::{build::START, dynamo::Dynamo};

const KEY: &str = "key_a";

/// An instance of the API, as far as one caller is concerned.
struct Instance {
    limits: Limits,
    account: Account,
}

impl Instance {
    fn new(dynamo: &Dynamo) -> Self {
        Self { limits: Limits::new(dynamo.client.clone(), "merchants"), account: Account::default() }
    }

    async fn request(&mut self, rate: Rate, now: Timestamp) -> bool {
        let mut arrival = self.account.arrive(rate, now);
        if let Arrival::Settle(owed, known) = arrival {
            let settlement = self.limits.settle(KEY, rate, owed, known, now).await.unwrap();
            self.account.settled(settlement, rate, now);
            arrival = self.account.arrive(rate, now);
        }
        arrival == Arrival::Served
    }
}

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate::new(per_second, burst).unwrap()
}

fn updates(dynamo: &Dynamo) -> u64 {
    dynamo.meter.counts().calls.get("UpdateItem").copied().unwrap_or_default()
}

#[tokio::test]
async fn a_bucket_fills_and_empties() {
    let dynamo = Dynamo::start().await;
    let limits = Limits::new(dynamo.client.clone(), "merchants");
    let rate = rate(10, 20);
    let at_us = |ms: i64| START.ms() * 1_000 + ms * 1_000;

    let paid = limits.settle(KEY, rate, 10, Bucket::default(), START).await.unwrap();
    assert_eq!(paid, Settlement::Paid(Bucket(at_us(1_000))));
    // Another instance does not know of it, and finds out.
    let paid = limits.settle(KEY, rate, 10, Bucket::default(), START).await.unwrap();
    assert_eq!(paid, Settlement::Paid(Bucket(at_us(2_000))));
    let refused = limits.settle(KEY, rate, 1, Bucket::default(), START).await.unwrap();
    assert_eq!(refused, Settlement::Refused(Bucket(at_us(2_000))));
    let before = updates(&dynamo);
    assert_eq!(limits.settle(KEY, rate, 1, Bucket(at_us(2_000)), START).await.unwrap(), refused);
    assert_eq!(updates(&dynamo), before, "what is known to be refused is not written");

    let paid = limits.settle(KEY, rate, 1, Bucket(at_us(2_000)), START.plus_ms(100)).await.unwrap();
    assert_eq!(paid, Settlement::Paid(Bucket(at_us(2_100))));
    let paid = limits.settle(KEY, rate, 20, Bucket(at_us(2_100)), START.plus_ms(9_000)).await.unwrap();
    assert_eq!(paid, Settlement::Paid(Bucket(at_us(11_000))), "it was idle: nothing is saved up beyond the burst");
    let other = limits.settle("key_b", rate, 1, Bucket::default(), START).await.unwrap();
    assert_eq!(other, Settlement::Paid(Bucket(at_us(100))), "each caller has its own");
}

#[tokio::test]
async fn a_bucket_that_a_wrong_clock_filled_is_idle() {
    let dynamo = Dynamo::start().await;
    let limits = Limits::new(dynamo.client.clone(), "merchants");
    let hour = START.plus_ms(3_600_000);
    limits.settle(KEY, rate(10, 20), 10, Bucket::default(), hour).await.unwrap();
    let paid = limits.settle(KEY, rate(10, 20), 10, Bucket::default(), START).await.unwrap();
    assert_eq!(paid, Settlement::Paid(Bucket(START.plus_ms(1_000).ms() * 1_000)));
}

/// Six hundred requests, 500 a second, ten by ten at two instances: how many were served at what number of writes.
async fn six_hundred_requests(rate_per_second: u32) -> (u32, u64) {
    let dynamo = Dynamo::start().await;
    let rate = rate(rate_per_second, 50);
    let mut instances = [Instance::new(&dynamo), Instance::new(&dynamo)];
    let mut served = 0;
    for n in 0..600_u32 {
        let instance = &mut instances[usize::from(n % 20 < 10)];
        served += u32::from(instance.request(rate, START.plus_ms(i64::from(n) * 2)).await);
        let bound = 50 + 10 * 2 + n * 2 * rate_per_second / 1_000;
        assert!(served <= bound, "{served} requests, and {bound} are allowed");
    }
    (served, updates(&dynamo))
}

#[tokio::test]
async fn far_from_its_rate_a_caller_costs_one_write_for_ten_requests() {
    let (served, writes) = six_hundred_requests(2_000).await;
    assert_eq!(served, 600);
    assert!(writes <= 600 / 10 + 2, "{writes}");
}

#[tokio::test]
async fn at_its_rate_a_caller_is_served_and_costs_two_writes_for_ten_requests_at_most() {
    let (served, writes) = six_hundred_requests(500).await;
    assert_eq!(served, 600);
    assert!(writes <= 2 * 600 / 10 + 2, "{writes}");
}

#[tokio::test]
async fn above_its_rate_a_caller_gets_its_rate_and_refusals_are_not_written() {
    let (served, writes) = six_hundred_requests(100).await;
    assert!(served >= 120, "{served} in 1.2 seconds at 100 a second");
    // Refused, each instance asks again ten times a second at most.
    assert!(writes <= 2 * u64::from(served) / 10 + 2 * 12, "{writes} writes for {served} requests");
}

#[tokio::test]
async fn a_table_that_is_away_is_an_error_and_no_refusal() {
    let dynamo = Dynamo::start().await;
    let limits = Limits::new(dynamo.client.clone(), "no_such_table");
    assert!(limits.settle(KEY, rate(10, 20), 10, Bucket::default(), START).await.is_err());
}
