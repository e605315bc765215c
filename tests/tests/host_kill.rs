//! The local host is killed with SIGKILL while payments are made at full speed, and started again on what it kept:
//! nothing that was answered is lost, and nothing happens twice.
//!
//! It runs a stack of its own in `.florin/kill-test`, and only where `FLORIN_EMULATOR` is `host`: other emulators
//! promise nothing. `FLORIN_TEST_RELEASE=1` runs the binaries that are deployed, `FLORIN_KILL_PAYMENTS` another number.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it counted"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use florin_tests::{
    chaos::{Own, is_wanted, option},
    place::is_release,
    receiver::Receiver,
    stack::{Stack, until},
};
use futures::{StreamExt as _, stream};
use serde_json::json;

/// Below the ports that the system gives to outgoing connections.
const PORT: u16 = 16_566;
/// What the binaries that are deployed manage within the time that this test may take, and a quick build.
const PAYMENTS_RELEASE: u64 = 2_000;
const PAYMENTS_QUICK: u64 = 600;
const CLIENTS: usize = 16;
/// The host is killed when so many of a hundred payments have been answered.
const KILLS_AT_PERCENT: [usize; 2] = [30, 65];
/// From the last answer until everything has ended.
const DRAIN: Duration = Duration::from_secs(120);
const WEBHOOKS: &str = "kill";

/// Makes so many payments. Clients ask again, with the same key, until each is answered.
async fn make_payments(
    stack: &Stack,
    receiver: &Receiver,
    payments: usize,
    answered: &Arc<AtomicUsize>,
) -> Vec<String> {
    let run = std::process::id();
    let clients = (0..CLIENTS).map(|client| {
        let (stack, webhooks, answered) = (stack.clone(), receiver.url(WEBHOOKS), Arc::clone(answered));
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for n in (client..payments).step_by(CLIENTS) {
                let mut body = Stack::payment("4242");
                body["webhook_url"] = json!(webhooks);
                let payment = stack.pay(&format!("kill-{run}-{n}"), &body).await;
                ids.push(payment["id"].as_str().unwrap().to_owned());
                answered.fetch_add(1, Ordering::Relaxed);
            }
            ids
        })
    });
    let mut ids = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        ids.extend(client.await.unwrap());
    }
    ids
}

/// Kills the host each time when it has answered so many payments, and starts it again.
async fn kill_and_restart(mut own: Own, payments: usize, answered: Arc<AtomicUsize>) -> Own {
    for percent in KILLS_AT_PERCENT {
        while answered.load(Ordering::Relaxed) < payments * percent / 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let away = own.kill_host().await;
        let answered = answered.load(Ordering::Relaxed);
        println!("killed after {answered} answers; up again {} ms later", away.as_millis());
    }
    own
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_while_the_host_is_killed() {
    if !is_wanted() {
        println!("skipped: FLORIN_EMULATOR is not host");
        return;
    }
    let default = if is_release() { PAYMENTS_RELEASE } else { PAYMENTS_QUICK };
    let payments = usize::try_from(option("FLORIN_KILL_PAYMENTS", default)).unwrap();
    let receiver = Receiver::start().await;
    let own = Own::start("kill-test", PORT).await.with_short_visibility().await;
    let stack = own.stack.clone();

    // When the host is killed twice while payments are made
    let (started, answered) = (Instant::now(), Arc::<AtomicUsize>::default());
    let killer = tokio::spawn(kill_and_restart(own, payments, Arc::clone(&answered)));
    let ids = make_payments(&stack, &receiver, payments, &answered).await;
    let own = killer.await.unwrap();
    println!("{payments} payments answered after {} ms", started.elapsed().as_millis());

    // Then every payment ends,
    let expected: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(expected.len(), payments, "each Idempotency-Key is one payment");
    let mut webhooks = BTreeMap::<String, BTreeSet<String>>::new();
    until("every payment has its webhook", DRAIN, async || {
        for received in receiver.received(WEBHOOKS) {
            let event = received.json();
            assert_eq!(event["type"], "payment.completed", "{event}");
            let payment = event["data"]["id"].as_str().unwrap().to_owned();
            webhooks.entry(payment).or_default().insert(received.id().to_owned());
        }
        (webhooks.len() >= payments).then_some(())
    })
    .await;
    stack.drained(DRAIN).await;
    println!("all have ended and drained after {} ms", started.elapsed().as_millis());
    let payments_now = stream::iter(&ids).map(|id| {
        let stack = stack.clone();
        async move { stack.get(&format!("/v1/payments/{id}"), 200).await }
    });
    let payments_now: Vec<_> = payments_now.buffer_unordered(CLIENTS).collect().await;
    assert!(payments_now.iter().all(|payment| payment["status"] == "completed"), "{payments_now:?}");

    // with one webhook, however often it came,
    assert_eq!(webhooks.keys().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(webhooks.values().all(|ids| ids.len() == 1), "a webhook that comes again has the same id");
    println!("{} deliveries of {payments} webhooks", receiver.received(WEBHOOKS).len());

    // one charge,
    let charges = stack.charges().await;
    assert_eq!(charges.len(), payments, "one charge each");
    assert_eq!(charges.iter().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>(), expected);
    assert!(charges.iter().all(|(_, amount)| *amount == 10_000));

    // one count,
    let count = i64::try_from(payments).unwrap();
    assert_eq!(stack.totals().await, [("completed".to_owned(), count, count * 10_000)]);

    // and no dead letter.
    own.has_no_dead_letters().await;
    println!("host-kill: {payments} payments, {} kills, {} ms", KILLS_AT_PERCENT.len(), started.elapsed().as_millis());
}
