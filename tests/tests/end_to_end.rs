//! The deployed local stack through HTTP: the real template, the real binaries, real webhooks.
//!
//! `./scripts/test` starts a stack of its own for it; to run it against yours: `. .florin/local.env` first.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it counted"
)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use florin_domain::time::Timestamp;
use florin_tests::{
    receiver::Receiver,
    stack::{SETTLE, Stack, setting, until},
};
use serde_json::{Value, json};

/// Unique for every run, so that a stack may be tested twice.
fn key(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Last four digits, status, failure code, timeline, charges.
type Case = (&'static str, &'static str, Option<&'static str>, &'static [&'static str], usize);

#[tokio::test]
async fn every_test_card_reaches_the_right_state_and_its_timeline_tells_the_story() {
    let stack = Stack::from_env().await;
    const COMPLETED: [&str; 4] =
        ["validate 1 succeeded", "reserve 1 skipped", "charge 1 succeeded", "settle 1 succeeded"];
    const DECLINED: [&str; 3] = ["validate 1 succeeded", "reserve 1 skipped", "charge 1 failed"];
    let cases: [Case; 5] = [
        ("4242", "completed", None, &COMPLETED, 1),
        ("0000", "failed", Some("insufficient_funds"), &DECLINED, 0),
        ("1111", "failed", Some("invalid_card"), &DECLINED, 0),
        (
            "9999",
            "failed",
            Some("gateway_error"),
            &["validate 1 succeeded", "reserve 1 skipped", "charge 1 retrying", "charge 2 retrying", "charge 3 failed"],
            0,
        ),
        (
            "0119",
            "completed",
            None,
            &[
                "validate 1 succeeded",
                "reserve 1 skipped",
                "charge 1 retrying",
                "charge 2 succeeded",
                "settle 1 succeeded",
            ],
            1,
        ),
    ];
    let mut payments = Vec::new();
    for (last4, ..) in cases {
        payments.push(stack.pay(&key(last4), &Stack::payment(last4)).await);
    }
    for ((last4, status, failure, story, charges), payment) in cases.into_iter().zip(payments) {
        assert_eq!(payment["status"], "pending");
        let id = payment["id"].as_str().unwrap();
        let ended = stack.ended(id, SETTLE).await;
        assert_eq!((ended["status"].as_str(), ended["failure"]["code"].as_str()), (Some(status), failure), "{last4}");
        assert_eq!(stack.story(id).await, story, "{last4}");
        let taken = stack.charges().await.into_iter().filter(|(payment, _)| payment == id).collect::<Vec<_>>();
        assert_eq!(taken, vec![(id.to_owned(), 10_000); charges], "{last4}");

        let again = stack.try_post(&key(last4), &Stack::payment(last4)).await.unwrap();
        assert_eq!((again.status().as_u16(), &again.headers()["idempotent-replayed"]), (201, &"true".parse().unwrap()));
        assert_eq!(again.json::<Value>().await.unwrap(), payment, "{last4}: the same answer as the first time");
    }
}

#[tokio::test]
async fn a_webhook_arrives_once_and_verifies() {
    let (stack, receiver) = (Stack::from_env().await, Receiver::start().await);
    let path = key("webhook");
    let mut body = Stack::payment("4242");
    body["webhook_url"] = json!(receiver.url(&path));
    let id = stack.pay(&path, &body).await["id"].as_str().unwrap().to_owned();
    let payment = stack.ended(&id, SETTLE).await;
    let received = until("the webhook arrives", SETTLE, async || receiver.received(&path).pop()).await;
    assert!(received.verifies(&setting("FLORIN_WEBHOOK_SECRET")));
    let event = received.json();
    assert_eq!((event["type"].as_str(), &event["data"]), (Some("payment.completed"), &payment));
    assert_eq!(
        (event["id"].as_str(), event["timestamp"].as_str()),
        (Some(received.id()), payment["updated_at"].as_str())
    );
    let mut forged = received.clone();
    forged.body.extend_from_slice(b" ");
    assert!(!forged.verifies(&setting("FLORIN_WEBHOOK_SECRET")));
    stack.drained(SETTLE).await;
    assert_eq!(receiver.received(&path).len(), 1);
}

#[tokio::test]
async fn a_receiver_that_fails_hears_again_with_the_same_id() {
    let (stack, receiver) = (Stack::from_env().await, Receiver::start().await);
    let path = key("failing");
    receiver.fail_next(&path, 1);
    let mut body = Stack::payment("0000");
    body["webhook_url"] = json!(receiver.url(&path));
    stack.pay(&path, &body).await;
    let received =
        until("the second try", SETTLE, async || Some(receiver.received(&path)).filter(|received| received.len() == 2))
            .await;
    assert_eq!(received[0].id(), received[1].id());
    assert!(received.iter().all(|received| received.verifies(&setting("FLORIN_WEBHOOK_SECRET"))));
    assert_eq!(received[1].json()["data"]["failure"]["code"], "insufficient_funds");
    stack.drained(SETTLE).await;
}

/// A merchant of this test's own, whose endpoint hears of everything.
async fn shop(path: &str) -> (Stack, Receiver) {
    let (stack, receiver) = (Stack::from_env().await, Receiver::start().await);
    let said = florin(&["seed", "merchant", "--name", path]);
    let field = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    florin(&["seed", "endpoint", "--merchant", &field("id"), "--url", &receiver.url(path)]);
    (stack.with_key(&field("api_key")), receiver)
}

/// The types of the events that the endpoint has heard of, once so many have arrived, in the order of their versions.
async fn heard(receiver: &Receiver, path: &str, id: &str, count: usize) -> Vec<String> {
    let mut events = until(&format!("{count} events of {id} arrive"), SETTLE, async || {
        let events = receiver.received(path).into_iter().map(|received| received.json());
        let events: Vec<Value> = events.filter(|event| event["data"]["id"] == *id).collect();
        (events.len() >= count).then_some(events)
    })
    .await;
    events.sort_by_key(|event| event["data"]["version"].as_i64());
    events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

fn moment(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_scheduled_payment_is_charged_at_its_moment() {
    let stack = Stack::from_env().await;
    let (key, mut body) = (key("scheduled"), Stack::payment("4242"));
    body["delay_seconds"] = json!(3);
    let first = stack.try_post(&key, &body).await.unwrap();
    assert_eq!(first.status(), 201);
    let first = first.text().await.unwrap();
    let payment: Value = serde_json::from_str(&first).unwrap();
    let (id, process_at) = (payment["id"].as_str().unwrap(), moment(&payment["process_at"]));
    assert_eq!((&payment["status"], process_at.ms_since(moment(&payment["created_at"]))), (&json!("scheduled"), 3_000));

    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stack.get(&format!("/v1/payments/{id}"), 200).await["status"], "scheduled");
    assert_eq!(stack.ended(id, SETTLE).await["status"], "completed");

    let timeline = stack.get(&format!("/v1/payments/{id}/timeline"), 200).await;
    let settled = timeline["data"].as_array().unwrap().iter().find(|entry| entry["step"] == "settle").unwrap();
    let late_ms = moment(&settled["started_at"]).ms_since(process_at);
    println!("charged {late_ms} ms after its moment");
    assert!((0..=2_000).contains(&late_ms), "{late_ms} ms after its moment");
    const STORY: [&str; 5] = [
        "schedule 1 succeeded",
        "validate 1 succeeded",
        "reserve 1 skipped",
        "charge 1 succeeded",
        "settle 1 succeeded",
    ];
    assert_eq!(stack.story(id).await, STORY);
    let again = stack.try_post(&key, &body).await.unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()["idempotent-replayed"]), (201, &"true".parse().unwrap()));
    assert_eq!(again.text().await.unwrap(), first, "the same answer as the first time");
}

#[tokio::test]
async fn a_held_payment_waits_until_it_is_resumed() {
    let path = key("held");
    let (stack, receiver) = shop(&path).await;
    let mut body = Stack::payment("4242");
    body["delay_seconds"] = json!(2);
    let id = stack.pay(&path, &body).await["id"].as_str().unwrap().to_owned();
    let url = format!("/v1/payments/{id}");
    let (status, held) = stack.insist(&format!("{url}/hold"), None, &json!({})).await;
    assert_eq!((status, &held["status"]), (200, &json!("on_hold")));

    // Its moment and its message pass.
    tokio::time::sleep(Duration::from_secs(3)).await;
    stack.drained(SETTLE).await;
    assert_eq!(stack.get(&url, 200).await, held);
    let (status, resumed) = stack.insist(&format!("{url}/resume"), None, &json!({})).await;
    assert_eq!((status, &resumed["status"]), (200, &json!("pending")));
    assert_eq!(stack.ended(&id, SETTLE).await["status"], "completed");
    const STORY: [&str; 6] = [
        "hold 1 succeeded",
        "resume 1 succeeded",
        "validate 1 succeeded",
        "reserve 1 skipped",
        "charge 1 succeeded",
        "settle 1 succeeded",
    ];
    assert_eq!(stack.story(&id).await, STORY);
    assert_eq!(heard(&receiver, &path, &id, 3).await, ["payment.held", "payment.resumed", "payment.completed"]);
    let (status, problem) = stack.insist(&format!("{url}/hold"), None, &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("payment_not_holdable")));
    // Or the queue would keep what nobody hears any more.
    stack.drained(SETTLE).await;
}

#[tokio::test]
async fn a_canceled_payment_is_never_charged_and_a_completed_one_cannot_be_canceled() {
    let path = key("canceled");
    let (stack, receiver) = shop(&path).await;
    let mut body = Stack::payment("4242");
    body["delay_seconds"] = json!(3_600);
    let id = stack.pay(&path, &body).await["id"].as_str().unwrap().to_owned();
    let cancel = format!("/v1/payments/{id}/cancel");
    let (status, canceled) = stack.insist(&cancel, None, &json!({})).await;
    assert_eq!((status, &canceled["status"]), (200, &json!("canceled")));
    assert_eq!(heard(&receiver, &path, &id, 1).await, ["payment.canceled"]);
    // Its record is written by then. Two senders that have the same event at the same moment may both tell of it.
    stack.drained(SETTLE).await;
    assert_eq!(stack.insist(&cancel, None, &json!({})).await, (200, canceled), "once more changes nothing");
    assert_eq!(stack.story(&id).await, ["cancel 1 succeeded"]);
    stack.drained(SETTLE).await;
    assert!(stack.charges().await.iter().all(|(payment, _)| *payment != id));
    assert_eq!(heard(&receiver, &path, &id, 1).await.len(), 1, "an event that is published again is told once");

    let id = stack.pay(&format!("{path}-late"), &Stack::payment("4242")).await["id"].as_str().unwrap().to_owned();
    let completed = stack.ended(&id, SETTLE).await;
    let (status, problem) = stack.insist(&format!("/v1/payments/{id}/cancel"), None, &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("payment_not_cancelable")));
    assert_eq!(stack.get(&format!("/v1/payments/{id}"), 200).await, completed);
    stack.drained(SETTLE).await;
}

/// The refund, once it has ended.
async fn refund_ended(stack: &Stack, refund: &Value) -> Value {
    let path = format!("/v1/refunds/{}", refund["id"].as_str().unwrap());
    until(&format!("{path} ends"), SETTLE, async || {
        let refund = stack.get(&path, 200).await;
        matches!(refund["status"].as_str(), Some("completed" | "failed")).then_some(refund)
    })
    .await
}

#[tokio::test]
async fn no_more_is_refunded_than_was_paid() {
    let path = key("refunded");
    let (stack, receiver) = shop(&path).await;
    let id = stack.pay(&path, &Stack::payment("4242")).await["id"].as_str().unwrap().to_owned();
    let payment = stack.ended(&id, SETTLE).await;
    let url = format!("/v1/payments/{id}/refunds");
    let refund = async |name: &str, body: Value| stack.insist(&url, Some(name), &body).await;

    // Two parts and the rest,
    let mut refunds = Vec::new();
    for (name, body, amount) in
        [("a", json!({ "amount": 2_500 }), 2_500), ("b", json!({ "amount": 500 }), 500), ("c", json!({}), 7_000)]
    {
        let (status, made) = refund(name, body).await;
        assert_eq!((status, &made["amount"], &made["status"]), (201, &json!(amount), &json!("pending")), "{made}");
        refunds.push(made);
    }
    // then one too many.
    let (status, problem) = refund("d", json!({ "amount": 1 })).await;
    assert_eq!((status, &problem["code"]), (422, &json!("refund_amount_too_large")), "{problem}");
    for made in &refunds {
        assert_eq!(refund_ended(&stack, made).await["status"], "completed");
        let events = heard(&receiver, &path, made["id"].as_str().unwrap(), 1).await;
        assert_eq!(events, ["refund.completed"]);
    }
    // The first, once more, is the same refund.
    assert_eq!(refund("a", json!({ "amount": 2_500 })).await, (201, refunds[0].clone()));
    assert_eq!(stack.get(&format!("/v1/payments/{id}"), 200).await["amount_refunded"], 10_000);
    let reference = payment["gateway_reference"].as_str().unwrap();
    let given_back = stack.gateway_list("/v1/refunds").await.into_iter();
    let given_back: Vec<_> = given_back.filter(|refund| refund["payment_intent"] == reference).collect();
    let sum: i64 = given_back.iter().map(|refund| refund["amount"].as_i64().unwrap()).sum();
    assert_eq!((given_back.len(), sum), (3, 10_000));
    let story = stack.story(&id).await;
    assert_eq!(story.iter().filter(|entry| *entry == "refund 1 succeeded").count(), 3, "{story:?}");
    stack.drained(SETTLE).await;
}

#[tokio::test]
async fn a_refund_that_fails_says_so_and_one_whose_answer_is_lost_happens_once() {
    let stack = Stack::from_env().await;
    for (last4, status, given_back) in [("5126", "failed", 0), ("5134", "completed", 1)] {
        let name = key(&format!("refund-{last4}"));
        let id = stack.pay(&name, &Stack::payment(last4)).await["id"].as_str().unwrap().to_owned();
        let payment = stack.ended(&id, SETTLE).await;
        let (made, refund) = stack.insist(&format!("/v1/payments/{id}/refunds"), Some(&name), &json!({})).await;
        assert_eq!(made, 201, "{refund}");
        let refund = refund_ended(&stack, &refund).await;
        assert_eq!(refund["status"], status, "{refund}");
        assert_eq!(refund["failure"]["code"] == "refund_failed", status == "failed", "{refund}");
        let left = if status == "failed" { 0 } else { 10_000 };
        assert_eq!(stack.get(&format!("/v1/payments/{id}"), 200).await["amount_refunded"], left);
        let refunds = stack.gateway_list("/v1/refunds").await.into_iter();
        let refunds = refunds.filter(|refund| refund["payment_intent"] == payment["gateway_reference"]);
        assert_eq!(refunds.filter(|refund| refund["status"] == "succeeded").count(), given_back, "{last4}");
    }
}

#[tokio::test]
async fn a_merchant_sees_only_its_own() {
    let stack = Stack::from_env().await;
    let other = stack.as_other_merchant();
    let key = key("isolation");
    let mine = stack.pay(&key, &Stack::payment("4242")).await;
    let theirs = other.pay(&key, &Stack::payment("4242")).await;
    assert_ne!(mine["id"], theirs["id"], "the same Idempotency-Key of two merchants is two keys");
    let id = mine["id"].as_str().unwrap();
    assert_eq!(other.get(&format!("/v1/payments/{id}"), 404).await["code"], "payment_not_found");
    assert_eq!(other.get(&format!("/v1/payments/{id}/timeline"), 404).await["code"], "payment_not_found");
    let listed = other.get("/v1/payments?limit=100", 200).await;
    assert!(listed["data"].as_array().unwrap().iter().all(|payment| payment["id"] != mine["id"]));
    stack.ended(id, SETTLE).await;
    other.ended(theirs["id"].as_str().unwrap(), SETTLE).await;
}

#[tokio::test]
async fn bad_input_through_the_whole_stack() {
    let stack = Stack::from_env().await;
    let url = format!("{}/v1/payments", stack.api_url);
    let post = |key: &str| stack.http.post(&url).header("x-api-key", key).header("idempotency-key", "k");
    let json_type = ("content-type", "application/json");
    for (request, status, code) in [
        (stack.http.post(&url), 401, "api_key_missing"),
        (post("sk_test_nobody"), 401, "api_key_invalid"),
        (post(&stack.api_key).body("{}"), 415, "content_type_unsupported"),
        (post(&stack.api_key).header(json_type.0, json_type.1).body("{"), 400, "json_invalid"),
        (post(&stack.api_key).header(json_type.0, json_type.1).body("{}"), 422, "amount_missing"),
        (post(&stack.api_key).header(json_type.0, json_type.1).body(" ".repeat(70_000)), 413, "body_too_large"),
        (stack.http.delete(&url), 405, "method_not_allowed"),
        (stack.http.get(format!("{}/nowhere", stack.api_url)), 404, "route_not_found"),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code);
    }
}

/// What the command-line tool says, of the stack that is tested: its log lies in its folder.
fn florin(arguments: &[&str]) -> String {
    let log = setting("FLORIN_EMULATOR_LOG");
    let state_dir = Path::new(&log).parent().unwrap();
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--bin", "florin", "--"]).args(arguments).arg("--state-dir").arg(state_dir);
    let output = command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test]
async fn poison_goes_to_the_dead_letters_alone_and_duplicates_change_nothing() {
    let stack = Stack::from_env().await;
    let payment = stack.pay(&key("duplicates"), &Stack::payment("4242")).await;
    let id = payment["id"].as_str().unwrap();
    let ended = stack.ended(id, SETTLE).await;
    stack.drained(SETTLE).await;
    let totals = stack.totals().await;

    let queue = setting("FLORIN_PROCESSING_QUEUE_URL");
    let initiated = json!({
        "id": "evt_00000000000000000000000001", "source": "/florin/payments", "specversion": "1.0",
        "type": "payment.initiated", "subject": id, "time": payment["created_at"],
        "datacontenttype": "application/json", "merchantid": setting("FLORIN_MERCHANT_ID"),
        "correlationid": "test", "sequence": 1, "data": payment
    });
    let dead_letters = setting("FLORIN_PROCESSING_DEAD_LETTERS_URL");
    let (before, _) = stack.depth(&dead_letters).await;
    for body in [initiated.to_string(), "no event".to_owned(), initiated.to_string()] {
        stack.sqs.send_message().queue_url(&queue).message_body(body).send().await.unwrap();
    }
    let poison_alone = async || {
        until("the poison, and nothing else, is a dead letter", Duration::from_secs(60), async || {
            (stack.depth(&dead_letters).await == (before + 1, 0)).then_some(())
        })
        .await;
    };
    poison_alone().await;

    // A replay brings back what can be handled; the poison returns.
    stack.sqs.send_message().queue_url(&dead_letters).message_body(initiated.to_string()).send().await.unwrap();
    let said = florin(&["dead-letters", "replay", "processing", "--yes"]);
    assert!(said.contains(&format!("{} replayed", before + 2)), "{said}");
    stack.drained(Duration::from_secs(60)).await;
    poison_alone().await;
    assert_eq!(stack.get(&format!("/v1/payments/{id}"), 200).await, ended);
    assert_eq!(stack.charges().await.iter().filter(|(payment, _)| payment == id).count(), 1);
    assert_eq!(stack.totals().await, totals, "an event that comes again is not counted again");
    stack.sqs.purge_queue().queue_url(&dead_letters).send().await.unwrap();
}

/// The functions' processes, as children of the emulator.
fn function_processes() -> Vec<i32> {
    let emulator: i32 = setting("FLORIN_EMULATOR_PID").parse().unwrap();
    let mut parents = HashMap::new();
    let mut bootstraps = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The command stands in parentheses and may hold anything; the parent is the second field behind it.
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let parent = tail.split(' ').nth(1).and_then(|parent| parent.parse::<i32>().ok());
        parents.insert(pid, parent.unwrap_or(0));
        if head.ends_with("(bootstrap") {
            bootstraps.push(pid);
        }
    }
    let descends = |mut pid: i32| {
        while let Some(parent) = parents.get(&pid) {
            if *parent == emulator {
                return true;
            }
            pid = *parent;
        }
        false
    };
    bootstraps.retain(|pid| descends(*pid));
    bootstraps
}

/// 200 payments while the functions are killed with SIGKILL again and again.
#[tokio::test]
async fn nothing_is_lost_or_charged_twice_while_functions_are_killed() {
    const PAYMENTS: usize = 200;
    const CLIENTS: usize = 8;
    const KILLING: Duration = Duration::from_secs(12);
    /// The longest visibility time-out (180 s), twice, and the work.
    const DRAIN: Duration = Duration::from_secs(420);
    let stack = Stack::from_env().await;
    stack.drained(SETTLE).await;
    let before: BTreeMap<String, (i64, i64)> =
        stack.totals().await.into_iter().map(|(status, count, amount)| (status, (count, amount))).collect();

    let killer = tokio::spawn(async {
        let (started, mut killed) = (Instant::now(), 0);
        while started.elapsed() < KILLING {
            for pid in function_processes() {
                let kill = tokio::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
                killed += i32::from(kill.await.is_ok_and(|status| status.success()));
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        killed
    });
    let clients = (0..CLIENTS).map(|client| {
        let stack = stack.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for n in (client..PAYMENTS).step_by(CLIENTS) {
                let last4 = if n % 10 == 3 { "0000" } else { "4242" };
                let payment = stack.pay(&key(&format!("kill-{n}")), &Stack::payment(last4)).await;
                ids.push((payment["id"].as_str().unwrap().to_owned(), last4));
            }
            ids
        })
    });
    let mut ids = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        ids.extend(client.await.unwrap());
    }
    let killed = killer.await.unwrap();
    println!("killed {killed} function processes while {} payments were made", ids.len());
    assert!(killed >= 5, "only {killed} processes were killed");

    let started = Instant::now();
    let mut charged = BTreeSet::new();
    for (id, last4) in &ids {
        let payment = stack.ended(id, DRAIN.saturating_sub(started.elapsed()).max(SETTLE)).await;
        assert_eq!(payment["status"], if *last4 == "4242" { "completed" } else { "failed" }, "{payment}");
        if *last4 == "4242" {
            charged.insert(id.clone());
        }
    }
    stack.drained(DRAIN).await;
    println!("all ended and drained {} s after the last kill", started.elapsed().as_secs());

    let ours: BTreeSet<&str> = ids.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ours.len(), PAYMENTS);
    let charges: Vec<_> = stack.charges().await.into_iter().filter(|(id, _)| ours.contains(id.as_str())).collect();
    assert_eq!(charges.len(), charged.len(), "one charge each");
    assert_eq!(charges.iter().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>(), charged);
    for (status, count, amount) in stack.totals().await {
        let (count_before, amount_before) = before.get(&status).copied().unwrap_or_default();
        let ended =
            i64::try_from(if status == "completed" { charged.len() } else { PAYMENTS - charged.len() }).unwrap();
        assert_eq!((count - count_before, amount - amount_before), (ended, ended * 10_000), "{status}");
    }
    for queue in ["PROCESSING", "WEBHOOK", "ANALYTICS"] {
        assert_eq!(stack.depth(&setting(&format!("FLORIN_{queue}_DEAD_LETTERS_URL"))).await, (0, 0), "{queue}");
    }
}

/// A merchant signs up, people come and go, programs get tokens: by real functions, on the deployed roles' tables.
#[tokio::test]
async fn people_sign_in_and_programs_get_tokens() {
    let stack = Stack::from_env().await;
    let shop = Shop::sign_up(&stack, "people").await;
    let owner = stack.with_key(&shop.access_token);
    let (status, invited) = owner
        .post(
            "/v1/users",
            Some("invite"),
            &json!({ "email": format!("{}@bo.example", key("bo")), "name": "Bo", "role": "viewer" }),
        )
        .await
        .unwrap();
    assert_eq!(status, 201, "{invited}");
    let accept = json!({ "invitation_token": invited["invitation_token"], "password": PASSWORD });
    let (status, session) = stack.post("/v1/auth/accept_invitation", None, &accept).await.unwrap();
    assert_eq!(status, 200, "{session}");
    let viewer = stack.with_key(session["access_token"].as_str().unwrap());
    viewer.get("/v1/payments", 200).await;
    let (status, _) = viewer.post("/v1/payments", Some("k"), &Stack::payment("4242")).await.unwrap();
    assert_eq!(status, 403);

    // A refresh token that comes twice ends the session.
    let refresh = json!({ "refresh_token": session["refresh_token"] });
    assert_eq!(stack.post("/v1/auth/refresh", None, &refresh).await.unwrap().0, 200);
    assert_eq!(stack.post("/v1/auth/refresh", None, &refresh).await.unwrap().0, 401);

    // A third party's program.
    let client = json!({ "name": "partner", "kind": "client", "scopes": ["payments:read", "payments:write"] });
    let (status, client) = owner.post("/v1/api_keys", Some("client"), &client).await.unwrap();
    assert_eq!(status, 201, "{client}");
    let form = [("grant_type", "client_credentials"), ("scope", "payments:read")];
    let request = stack.http.post(format!("{}/oauth/token", stack.api_url)).form(&form);
    let request = request.basic_auth(client["id"].as_str().unwrap(), client["secret"].as_str());
    let token: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let partner = stack.with_key(token["access_token"].as_str().unwrap());
    partner.get("/v1/payments", 200).await;
    let (status, _) = partner.post("/v1/payments", Some("k"), &Stack::payment("4242")).await.unwrap();
    assert_eq!(status, 403);

    // A payment with the first key belongs to the new merchant alone.
    let paid = stack.with_key(&shop.api_key).pay("first", &Stack::payment("4242")).await;
    owner.ended(paid["id"].as_str().unwrap(), SETTLE).await;
    stack.get(&format!("/v1/payments/{}", paid["id"].as_str().unwrap()), 404).await;
    let log = owner.get("/v1/audit_log", 200).await;
    let actions: Vec<_> =
        log["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    for action in ["merchant.sign_up", "user.invite", "user.accept_invitation", "api_key.create"] {
        assert!(actions.contains(&action), "{actions:?}");
    }
}

const PASSWORD: &str = "plum tree under the window 4711";

/// A merchant that has signed up, and whose owner has signed in.
struct Shop {
    api_key: String,
    access_token: String,
    refresh_token: String,
}

impl Shop {
    async fn sign_up(stack: &Stack, name: &str) -> Self {
        let email = format!("{}@shop.example", key(name));
        let owner = json!({ "name": "Ada Obi", "email": email, "password": PASSWORD });
        let body = json!({ "name": name, "owner": owner });
        let (status, made) = stack.post("/v1/merchants", Some(&key(name)), &body).await.unwrap();
        assert_eq!(status, 201, "{made}");
        let login = json!({ "email": email, "password": PASSWORD });
        let (status, session) = stack.post("/v1/auth/login", None, &login).await.unwrap();
        assert_eq!(status, 200, "{session}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            api_key: text(&made["api_key"]["secret"]),
            access_token: text(&session["access_token"]),
            refresh_token: text(&session["refresh_token"]),
        }
    }
}

/// Runs last in the alphabet of this file: everything above has left its traces by then.
#[tokio::test]
async fn zz_no_card_number_cvv_key_password_or_token_is_in_any_table_queue_or_log() {
    let stack = Stack::from_env().await;
    let (api_key, root_key) = (setting("FLORIN_API_KEY"), setting("FLORIN_ROOT_KEY"));
    let (webhook_secret, operator_key) = (setting("FLORIN_WEBHOOK_SECRET"), setting("FLORIN_OPERATOR_KEY"));
    let shop = Shop::sign_up(&stack, "planted").await;
    let secrets = [
        "4242424242424242",
        "4242 4242 4242 4242",
        "\"917\"",
        PASSWORD,
        &setting("FLORIN_OWNER_PASSWORD"),
        &api_key,
        &root_key,
        &webhook_secret,
        &operator_key,
        &shop.api_key,
        &shop.access_token,
        &shop.refresh_token,
    ];
    // They come in every way in which they can, wrong ones included.
    let mut card = Stack::payment("4242");
    stack.with_key(&shop.api_key).pay(&key("secrets"), &card).await;
    stack.with_key(&shop.access_token).pay(&key("secrets-token"), &card).await;
    card["description"] = json!("4242 4242 4242 4242");
    stack.post("/v1/payments", Some(&shop.refresh_token), &card).await.unwrap();
    stack.with_key(&shop.refresh_token).get("/v1/payments", 401).await;
    stack.with_key(&operator_key).get("/v1/ops/queues", 200).await;
    stack.drained(SETTLE).await;
    let mut items = 0;
    let tables = stack.dynamodb.list_tables().send().await.unwrap();
    for table in tables.table_names() {
        let mut pages = stack.dynamodb.scan().table_name(table).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            items += page.items().len();
            let text = format!("{:?}", page.items());
            for secret in secrets {
                assert!(!text.contains(secret), "{table} holds a secret");
            }
        }
    }
    assert!(items > 0);
    for queue in stack.sqs.list_queues().send().await.unwrap().queue_urls() {
        let messages = stack.sqs.receive_message().queue_url(queue).max_number_of_messages(10).visibility_timeout(0);
        let text = format!("{:?}", messages.send().await.unwrap().messages());
        for secret in secrets {
            assert!(!text.contains(secret), "{queue} holds a secret");
        }
    }
    let log = fs::read_to_string(setting("FLORIN_EMULATOR_LOG")).unwrap();
    assert!(log.contains("florin_processor"), "the log has the functions' output");
    for secret in secrets {
        assert!(!log.contains(secret), "the log holds a secret");
    }
}
