//! What a payment costs in AWS calls, DynamoDB write units and billed time, as the local host counts them while the
//! real functions do the work; and whether every function may do what it did.
//!
//! `./scripts/test` runs it on a stack of its own; to run it against yours: `. .florin/local.env` first, then
//! `cargo test -p florin-tests --test bill -- --nocapture` prints the table.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a test stops at the first surprise, and prints fractions of units, which are no money"
)]

use std::collections::{BTreeMap, BTreeSet};

use florin_tests::{
    receiver::Receiver,
    stack::{SETTLE, Stack, setting, until},
};
use reqwest::Method;
use serde_json::{Value, json};

const PAYMENTS: u32 = 100;
const CLIENTS: u32 = 10;
/// What the design allows for a payment that is stored, charged, told and counted.
const WRITE_UNITS_MAX: f64 = 8.0;
const CALLS_MAX: f64 = 6.0;
/// Who reads queues for the functions: billed as calls of SQS, not as calls of ours.
const POLLER: &str = "poller";
/// Who works for a payment. The gateway is not ours, and the sweeper works by the clock.
const FUNCTIONS: [&str; 4] = ["api", "processor", "webhook-sender", "analytics"];

/// What a function did, by the host's counters.
#[derive(Debug, Default)]
struct Work {
    calls: BTreeMap<String, u64>,
    write_units: f64,
    invocations: u64,
    billed_ms: f64,
}

#[tokio::test]
async fn a_payment_stays_within_its_write_units_and_calls() {
    assert_eq!(setting("FLORIN_EMULATOR"), "host", "only the local host counts");
    let (stack, receiver) = (Stack::from_env().await, Receiver::start().await);
    // The first round warms as many environments as the second one needs: warm ones are what payments meet.
    let mut ids = Vec::new();
    for round in ["warm", "counted"] {
        // Queues give nothing out until all of a round's messages are there, so that batches are full, as under load.
        let held = ["-processing", "-webhook", "-analytics"].map(|queue| hold_back(&stack, queue));
        let [processing, webhook, analytics] = futures::future::join_all(held).await.try_into().unwrap();
        host(&stack, Method::POST, "/_host/counters/reset", None).await;
        ids = pay(&stack, round, &receiver.url(round)).await;
        release(&stack, &processing).await;
        let processed = async || (stack.depth(&setting("FLORIN_PROCESSING_QUEUE_URL")).await == (0, 0)).then_some(());
        until("all payments are processed", SETTLE, processed).await;
        release(&stack, &webhook).await;
        release(&stack, &analytics).await;
        stack.drained(SETTLE).await;
    }
    let counters = host(&stack, Method::GET, "/_host/counters", None).await;
    for id in &ids {
        assert_eq!(stack.ended(id, SETTLE).await["status"], "completed");
    }
    assert_eq!((ids.len(), receiver.received("counted").len()), (100, 100), "every payment was made and told, once");

    let work = read(&counters);
    for (function, work) in work.iter().filter(|(function, _)| *function != POLLER) {
        let missing = ungranted(&granted(function), work.calls.keys());
        assert!(missing.is_empty(), "{function} calls {missing:?}, which its role in template.yaml does not allow");
    }
    assert!(!ungranted(&granted("sweeper"), work["api"].calls.keys()).is_empty(), "the check can fail");
    let (units, calls) = print_table(&work);
    assert!(units <= WRITE_UNITS_MAX, "{units} write units a payment");
    assert!(calls <= CALLS_MAX, "{calls} calls a payment");
}

/// Makes `PAYMENTS` payments, `CLIENTS` at a time.
async fn pay(stack: &Stack, round: &str, webhook_url: &str) -> Vec<String> {
    let clients = (0..CLIENTS).map(|client| {
        let (stack, url, round) =
            (stack.clone(), webhook_url.to_owned(), format!("bill-{}-{round}", std::process::id()));
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for n in (client..PAYMENTS).step_by(usize::try_from(CLIENTS).unwrap()) {
                let mut body = Stack::payment("4242");
                body["webhook_url"] = url.clone().into();
                let payment = stack.pay(&format!("{round}-{n}"), &body).await;
                ids.push(payment["id"].as_str().unwrap().to_owned());
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

/// Has the queue give nothing to its function. Returns the number of the rule.
async fn hold_back(stack: &Stack, queue: &str) -> Value {
    let rule = json!({ "service": "sqs", "operation": "ReceiveMessage", "resource": queue, "function": POLLER,
                       "fault": { "kind": "outage" } });
    host(stack, Method::POST, "/_host/faults", Some(rule)).await["id"].clone()
}

async fn release(stack: &Stack, rule: &Value) {
    host(stack, Method::DELETE, &format!("/_host/faults/{rule}"), None).await;
}

/// A call of the host's control address.
async fn host(stack: &Stack, method: Method, path: &str, body: Option<Value>) -> Value {
    let mut request = stack.http.request(method, format!("{}{path}", setting("AWS_ENDPOINT_URL")));
    if let Some(body) = body {
        request = request.json(&body);
    }
    request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

/// The counters, by the functions' short names.
fn read(counters: &Value) -> BTreeMap<String, Work> {
    let prefix = format!("{}-", setting("FLORIN_STACK_NAME"));
    let name = |line: &Value| {
        let name = line["function"].as_str().unwrap();
        name.strip_prefix(&prefix).or_else(|| (name == POLLER).then_some(name)).map(str::to_owned)
    };
    let mut work = BTreeMap::<String, Work>::new();
    for line in counters["calls"].as_array().unwrap() {
        // Calls of no function are those of this test.
        let Some(function) = name(line) else { continue };
        let work = work.entry(function).or_default();
        *work.calls.entry(line["operation"].as_str().unwrap().to_owned()).or_default() +=
            line["count"].as_u64().unwrap();
        work.write_units += line["write_units"].as_f64().unwrap();
    }
    for line in counters["invocations"].as_array().unwrap() {
        let work = work.entry(name(line).unwrap()).or_default();
        work.invocations = line["count"].as_u64().unwrap();
        work.billed_ms = line["billed_ms"].as_f64().unwrap();
    }
    work
}

/// The actions that the template grants a function's role. No emulator enforces them.
fn granted(function: &str) -> BTreeSet<String> {
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml")).unwrap();
    let mut lines = template.lines().skip_while(|line| !line.ends_with(&format!("PolicyName: {function}")));
    assert!(lines.next().is_some(), "{function} has no policy");
    let policy = lines.take_while(|line| line.starts_with("     "));
    let words = policy.flat_map(|line| line.split([' ', ',', '[', ']']));
    let services = ["dynamodb", "sns", "sqs"];
    let action =
        |word: &str| Some(word.split_once(':').filter(|(service, _)| services.contains(service))?.1.to_owned());
    words.filter_map(action).collect()
}

/// The operations that were called although nothing allows them.
fn ungranted<'a>(granted: &BTreeSet<String>, called: impl Iterator<Item = &'a String>) -> Vec<String> {
    // A batch is allowed by what it holds. So is a transaction, of which the counters tell no more than that it writes.
    let allowed = |operation: &str| match operation {
        "TransactWriteItems" => granted.contains("PutItem") || granted.contains("UpdateItem"),
        batch => granted.contains(batch.strip_suffix("Batch").unwrap_or(batch)),
    };
    called.filter(|operation| !allowed(operation)).cloned().collect()
}

/// Prints what each function did, and returns write units and calls a payment.
fn print_table(work: &BTreeMap<String, Work>) -> (f64, f64) {
    let each = |number: f64| number / f64::from(PAYMENTS);
    let count = |number: u64| f64::from(u32::try_from(number).unwrap());
    let (mut all_units, mut all_calls) = (0.0, 0.0);
    println!("{PAYMENTS} card payments, one webhook each; per payment:");
    println!(
        "{:<16}{:>12}{:>8}{:>13}{:>11}  calls by operation",
        "function", "write units", "calls", "invocations", "billed ms"
    );
    for function in FUNCTIONS {
        let work = &work[function];
        let calls = each(count(work.calls.values().sum()));
        let operations: Vec<_> = work.calls.iter().map(|(name, n)| format!("{name} {:.2}", each(count(*n)))).collect();
        let (units, invocations, billed) =
            (each(work.write_units), each(count(work.invocations)), each(work.billed_ms));
        println!("{function:<16}{units:>12.2}{calls:>8.2}{invocations:>13.2}{billed:>11.2}  {}", operations.join(", "));
        all_units += units;
        all_calls += calls;
    }
    println!("{:<16}{all_units:>12.2}{all_calls:>8.2}", "total");
    let polled: Vec<_> = work[POLLER].calls.iter().map(|(name, n)| format!("{name} {:.2}", each(count(*n)))).collect();
    println!("Lambda's own calls of SQS: {}", polled.join(", "));
    (all_units, all_calls)
}
