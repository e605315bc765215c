//! What payments depend on is away for minutes, or what was on its way to them is thrown away: the gateway does not
//! answer, the queues are purged. Nothing is given up for it, and everything goes on by itself.
//!
//! Each test runs a stack of its own in `.florin`, and only where `FLORIN_EMULATOR` is `host`. `FLORIN_BREAKER_SECONDS`
//! has the gateway away for another time, such as the 120 of the whole run.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it counted"
)]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use florin_tests::{
    chaos::{Own, is_wanted, option},
    orders::{Order, Plan, check, listen},
    receiver::Receiver,
    stack::until,
};
use futures::{StreamExt as _, stream};
use serde_json::Value;

const BREAKER_PORT: u16 = 16_572;
const ALONE_PORT: u16 = 16_574;
const PURGE_PORT: u16 = 16_576;
/// How long the gateway is away when no option says otherwise.
const AWAY_SECONDS: u64 = 40;
/// From the gateway's return until all that waited for it has ended.
const RETURN: Duration = Duration::from_secs(45);
/// A single payment opens no breaker. Its attempts, and so its waits, get longer by themselves: it is done when a last
/// such wait is over, which is no longer than the outage was.
const ALONE_RETURN: Duration = Duration::from_secs(120);
const WAITING: u64 = 20;
const BURST: u64 = 100;
const CLIENTS: usize = 10;
/// What is lost is due after a minute; the sweeper comes every minute, and the second run has the rest.
const SWEPT: Duration = Duration::from_secs(180);

async fn make(own: &Own, name: &str, numbers: std::ops::Range<u64>) -> Vec<Order> {
    let orders = stream::iter(numbers).map(|n| {
        let (stack, key) = (own.stack.clone(), format!("{name}-{n}"));
        async move { Order::make(&stack, &key, "4242", Plan::Pay).await }
    });
    orders.buffer_unordered(CLIENTS).collect().await
}

/// What the API says of the breaker.
async fn breaker(own: &Own) -> String {
    own.stack.get("/ready", 200).await["checks"]["gateway"].as_str().unwrap().to_owned()
}

/// So many payments meet a gateway that is away, and end within this time after its return. Returns the states in which
/// the breaker was seen meanwhile.
async fn survive(own: &Own, receiver: &Receiver, payments: u64, within: Duration) -> BTreeSet<String> {
    let seconds = option("FLORIN_BREAKER_SECONDS", AWAY_SECONDS);
    // Given payments that are made, but have not met the gateway
    let held = own.hold_back("-processing").await;
    let orders = make(own, "outage", 0..payments).await;
    assert_eq!(breaker(own).await, "closed");

    // When it is away
    own.gateway_away(seconds).await;
    let away = Instant::now();
    own.clear_fault(held).await;
    let mut states = BTreeSet::new();
    while away.elapsed() < Duration::from_secs(seconds) {
        states.insert(breaker(own).await);
        // Then nothing is given up,
        for order in &orders {
            let payment = order.payment(&own.stack).await.unwrap_or_default();
            assert!(payment["status"] != "failed" && payment["stuck"] != Value::Bool(true), "{payment}");
        }
        own.has_no_dead_letters().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // and everything is done when it is back.
    println!("the gateway was away for {seconds} s; the breaker was {states:?}");
    check(own, receiver, &orders, within).await;
    until("the breaker is closed", RETURN, async || (breaker(own).await == "closed").then_some(())).await;
    states
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_breaker_opens_and_payments_wait_for_the_gateway() {
    if !is_wanted() {
        println!("skipped: FLORIN_EMULATOR is not host");
        return;
    }
    let receiver = Receiver::start().await;
    let own = Own::start("breaker", BREAKER_PORT).await;
    listen(&own, &receiver).await;
    let states = survive(&own, &receiver, WAITING, RETURN).await;
    assert!(states.contains("open"), "{states:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_payment_waits_for_the_gateway_too() {
    if !is_wanted() {
        println!("skipped: FLORIN_EMULATOR is not host");
        return;
    }
    let receiver = Receiver::start().await;
    let own = Own::start("alone", ALONE_PORT).await;
    listen(&own, &receiver).await;
    survive(&own, &receiver, 1, ALONE_RETURN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_whose_messages_are_purged_end_all_the_same() {
    if !is_wanted() {
        println!("skipped: FLORIN_EMULATOR is not host");
        return;
    }
    let receiver = Receiver::start().await;
    let own = Own::start("purge", PURGE_PORT).await;
    listen(&own, &receiver).await;
    // Given a burst of payments, half of which have been made,
    let held = own.hold_back("-processing").await;
    let mut orders = make(&own, "purge", 0..BURST / 2).await;
    let processing = own.stack.setting("FLORIN_PROCESSING_QUEUE_URL");
    let (waiting, _) = own.stack.depth(processing).await;
    assert_eq!(waiting, BURST / 2);

    // when every queue is purged
    for queue in ["PROCESSING", "WEBHOOK", "ANALYTICS"] {
        let url = own.stack.setting(&format!("FLORIN_{queue}_QUEUE_URL"));
        own.stack.sqs.purge_queue().queue_url(url).send().await.unwrap();
    }
    assert_eq!(own.stack.depth(processing).await, (0, 0));
    own.clear_fault(held).await;

    // then those that lost their message end too, by the sweeper.
    orders.extend(make(&own, "purge", BURST / 2..BURST).await);
    check(&own, &receiver, &orders, SWEPT).await;
}
