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
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout;
use florin_tests::{
    place::{built_beside, is_release, root},
    receiver::Receiver,
    stack::{Stack, until},
};
use futures::{StreamExt as _, stream};
use serde_json::json;

const STATE: &str = ".florin/kill-test";
/// Below the ports that the system gives to outgoing connections.
const PORT: u16 = 16_566;
/// What the binaries that are deployed manage within the time that this test may take, and a quick build.
const PAYMENTS_RELEASE: usize = 2_000;
const PAYMENTS_QUICK: usize = 600;
const CLIENTS: usize = 16;
/// The host is killed when so many of a hundred payments have been answered.
const KILLS_AT_PERCENT: [usize; 2] = [30, 65];
/// How long a message of a killed function stays hidden. The template's own time-outs, up to three minutes, would only
/// make the test wait.
const VISIBILITY_S: &str = "10";
/// From the last answer until everything has ended.
const DRAIN: Duration = Duration::from_secs(120);
const WEBHOOKS: &str = "kill";

/// The command-line tool on the stack of this test. Cargo builds it; after that it is run directly, which is quicker.
fn tool(build: bool, arguments: &[&str]) -> Command {
    let built = built_beside(Path::new(env!("CARGO_BIN_EXE_conformance-probe")), "florin");
    let mut command = match built {
        Ok(path) if !build => Command::new(path),
        _ => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--bin", "florin", "--"]);
            cargo
        }
    };
    command.args(arguments).args(["--state-dir", STATE]).current_dir(root()).stdin(Stdio::null());
    command
}

/// Starts the stack: with nothing, or with what it has kept.
async fn up(fresh: bool) -> Stack {
    tokio::task::spawn_blocking(move || {
        let port = PORT.to_string();
        let mut arguments = vec!["up", "--detach", "--emulator", "host", "--port", &port];
        arguments.push(if fresh { "--fresh" } else { "--no-build" });
        arguments.extend(is_release().then_some("--release"));
        let output = tool(fresh, &arguments).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}{}", said(&output.stdout), said(&output.stderr));
    })
    .await
    .unwrap();
    let stack = Stack::from_file(&root().join(STATE).join("local.env")).await;
    for queue in ["PROCESSING", "WEBHOOK", "ANALYTICS"] {
        let request = stack.sqs.set_queue_attributes().queue_url(stack.setting(&format!("FLORIN_{queue}_QUEUE_URL")));
        request.attributes(VisibilityTimeout, VISIBILITY_S).send().await.unwrap();
    }
    stack
}

/// Ends the stack when the test does, however it does.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        drop(tool(false, &["down"]).stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

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
async fn kill_and_restart(mut stack: Stack, payments: usize, answered: Arc<AtomicUsize>) -> Stack {
    for percent in KILLS_AT_PERCENT {
        while answered.load(Ordering::Relaxed) < payments * percent / 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let pid = stack.setting("FLORIN_EMULATOR_PID");
        let kill = tokio::process::Command::new("kill").args(["-9", pid]).status();
        assert!(kill.await.unwrap().success(), "process {pid}, the host, was not there");
        let killed = Instant::now();
        stack = up(false).await;
        println!(
            "killed after {} answers; up again {} ms later",
            answered.load(Ordering::Relaxed),
            killed.elapsed().as_millis()
        );
    }
    stack
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_while_the_host_is_killed() {
    if std::env::var("FLORIN_EMULATOR").as_deref() != Ok("host") {
        println!("skipped: FLORIN_EMULATOR is not host");
        return;
    }
    let default = if is_release() { PAYMENTS_RELEASE } else { PAYMENTS_QUICK };
    let payments = std::env::var("FLORIN_KILL_PAYMENTS").map_or(default, |number| number.parse().unwrap());
    let receiver = Receiver::start().await;
    let _down = Down;
    let stack = up(true).await;

    // When the host is killed twice while payments are made
    let (started, answered) = (Instant::now(), Arc::<AtomicUsize>::default());
    let killer = tokio::spawn(kill_and_restart(stack.clone(), payments, Arc::clone(&answered)));
    let ids = make_payments(&stack, &receiver, payments, &answered).await;
    let stack = killer.await.unwrap();
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
    for queue in ["PROCESSING_DEAD_LETTERS", "WEBHOOK_DEAD_LETTERS", "ANALYTICS_DEAD_LETTERS", "UNDELIVERED_EVENTS"] {
        assert_eq!(stack.depth(stack.setting(&format!("FLORIN_{queue}_URL"))).await, (0, 0), "{queue}");
    }
    println!("host-kill: {payments} payments, {} kills, {} ms", KILLS_AT_PERCENT.len(), started.elapsed().as_millis());
}
