//! Payments, refunds and cancellations while everything breaks: function processes are killed at random, the host is
//! killed and started again, the gateway is away for 20 seconds. A minute after the last of it everything has ended,
//! once.
//!
//! It runs a stack of its own in `.florin/chaos`, and only where `FLORIN_EMULATOR` is `host`. `FLORIN_TEST_RELEASE=1`
//! runs the binaries that are deployed, `FLORIN_CHAOS_PAYMENTS` another number, `FLORIN_CHAOS_SEED` the kills of an
//! earlier run.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it counted"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use florin_tests::{
    chaos::{Own, is_wanted, kill, option},
    orders::{Order, Plan, check, listen},
    place::is_release,
    receiver::Receiver,
};
use tokio::sync::RwLock;

const PORT: u16 = 16_570;
const PAYMENTS_RELEASE: u64 = 500;
const PAYMENTS_QUICK: u64 = 150;
const CLIENTS: u64 = 12;
/// The host is killed when so many of a hundred payments have been made, and the gateway is away from then on.
const HOST_KILLED_AT_PERCENT: u64 = 30;
const GATEWAY_AWAY_AT_PERCENT: u64 = 60;
const GATEWAY_AWAY_SECONDS: u64 = 20;
/// Between two kills of function processes, on average.
const KILL_EVERY: Duration = Duration::from_millis(700);
/// From the last fault until everything has ended.
const DRAIN: Duration = Duration::from_secs(60);
/// From an order's first request to its last: all of the chaos.
const PATIENCE: Duration = Duration::from_secs(180);

/// Which of ten payments is what.
fn kind(n: u64) -> (&'static str, Plan) {
    match n % 10 {
        1 => ("4242", Plan::Cancel),
        3 => ("0000", Plan::Pay),
        5 => ("4242", Plan::Refund),
        7 => ("4242", Plan::Schedule),
        8 if n % 50 == 8 => ("0119", Plan::Pay),
        _ => ("4242", Plan::Pay),
    }
}

/// SplitMix64: any seed will do.
fn draw(state: &AtomicU64) -> u64 {
    let mut mixed = state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Kills function processes at random until it is told to stop. Returns how many.
async fn kill_functions(own: Arc<RwLock<Own>>, seed: u64, stop: Arc<AtomicBool>) -> u64 {
    let (random, mut killed) = (AtomicU64::new(seed), 0);
    while !stop.load(Ordering::Relaxed) {
        let wait = u64::try_from(KILL_EVERY.as_millis()).unwrap();
        tokio::time::sleep(Duration::from_millis(wait / 2 + draw(&random) % wait)).await;
        // While the host is away there is nothing to kill.
        let Ok(own) = own.try_read() else { continue };
        let mut processes = own.processes("");
        processes.sort_unstable();
        if let Some(pid) = usize::try_from(draw(&random)).unwrap().checked_rem(processes.len()) {
            killed += u64::from(kill(processes[pid]));
        }
    }
    killed
}

async fn until_made(made: &AtomicU64, payments: u64, percent: u64) {
    while made.load(Ordering::Relaxed) < payments * percent / 100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_ends_once_whatever_breaks() {
    if !is_wanted() {
        println!("skipped: FLORIN_EMULATOR is not host");
        return;
    }
    let payments = option("FLORIN_CHAOS_PAYMENTS", if is_release() { PAYMENTS_RELEASE } else { PAYMENTS_QUICK });
    let seed = option("FLORIN_CHAOS_SEED", u64::from(std::process::id()));
    println!("chaos: {payments} payments, seed {seed}");
    let receiver = Receiver::start().await;
    let own = Own::start("chaos", PORT).await.with_short_visibility().await;
    listen(&own, &receiver).await;
    let stack = own.stack.clone();
    let own = Arc::new(RwLock::new(own));

    // When payments are made while functions are killed,
    let (started, made, stop) = (Instant::now(), Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let killer = tokio::spawn(kill_functions(Arc::clone(&own), seed, Arc::clone(&stop)));
    let clients = (0..CLIENTS).map(|client| {
        let (stack, made) = (stack.clone(), Arc::clone(&made));
        tokio::spawn(async move {
            let mut orders = Vec::new();
            for n in (client..payments).step_by(usize::try_from(CLIENTS).unwrap()) {
                let ((last4, plan), key) = (kind(n), format!("chaos-{n}"));
                let mut order = Order::make(&stack, &key, last4, plan).await;
                made.fetch_add(1, Ordering::Relaxed);
                let stack = stack.clone();
                orders.push(tokio::spawn(async move {
                    order.follow(&stack, &key, plan, PATIENCE).await;
                    order
                }));
            }
            orders
        })
    });
    let clients: Vec<_> = clients.collect();
    // the host is killed,
    until_made(&made, payments, HOST_KILLED_AT_PERCENT).await;
    let away = own.write().await.kill_host().await;
    println!("{} ms: the host was away for {} ms", started.elapsed().as_millis(), away.as_millis());
    // and the gateway is away,
    until_made(&made, payments, GATEWAY_AWAY_AT_PERCENT).await;
    own.read().await.gateway_away(GATEWAY_AWAY_SECONDS).await;
    println!("{} ms: the gateway is away", started.elapsed().as_millis());
    tokio::time::sleep(Duration::from_secs(GATEWAY_AWAY_SECONDS)).await;
    stop.store(true, Ordering::Relaxed);
    println!("{} ms: the last of {} processes was killed", started.elapsed().as_millis(), killer.await.unwrap());
    let calm = Instant::now();
    let mut orders: Vec<Order> = Vec::new();
    for client in clients {
        for ordered in client.await.unwrap() {
            orders.push(ordered.await.unwrap());
        }
    }
    println!("{} ms after that every request was answered", calm.elapsed().as_millis());

    // Then everything ends within a minute, once.
    check(&*own.read().await, &receiver, &orders, DRAIN.saturating_sub(calm.elapsed())).await;
    println!("chaos: {payments} payments, seed {seed}, ended {} ms after the last fault", calm.elapsed().as_millis());
}
