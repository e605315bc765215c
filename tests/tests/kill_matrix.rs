//! Every function is killed at every call that it makes, before the call and after it, while payments of every kind go
//! through the real binaries. Then nothing may be lost, nothing done twice, and nothing given up.
//!
//! A first round without faults shows which calls there are: by function, service and operation, as the host counts
//! them. Then, for each kind of fault, one rule for each call is put in force, and payments are made until every rule
//! has hit. Where the gateway is called the host cannot tell who calls: the call is delayed, and the test kills the
//! caller meanwhile.
//!
//! It runs a stack of its own in `.florin/kill-matrix`, and only where `FLORIN_EMULATOR` is `host`.
//! `FLORIN_KILL_KINDS=error_after,drop_reply` has calls fail after they were done, or their answers lost, instead.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it counted"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use florin_tests::{
    chaos::{Own, is_wanted, kill},
    orders::{Order, Plan, check, listen, order, read},
    receiver::Receiver,
    stack::{Stack, until},
};
use serde_json::{Value, json};

const PORT: u16 = 16_568;
/// The kinds of faults when no option says otherwise.
const KINDS: &str = "kill_before,kill_after";
/// From the last request until everything has ended: visibility time-outs, several times over.
const DRAIN: Duration = Duration::from_secs(150);
/// Rounds of payments in which every rule has to hit.
const ROUNDS_MAX: usize = 6;
/// How long a delayed call of the gateway leaves the test to kill its caller, and its answer nobody waits for.
const GATEWAY_DELAY_MS: u64 = 2_500;
/// Payments of a round whose events are lost.
const LOST: usize = 3;
/// The sweeper is killed too; the next one goes on.
const SWEEPS_MAX: usize = 12;
const BETWEEN_SWEEPS: Duration = Duration::from_millis(300);
/// Fewer kinds of calls than these, and the counters are not read as they should be.
const POINTS_MIN: usize = 25;

/// What one round asks for: every way that a payment can go, those that are quick several times, so that batches and
/// processes differ.
const ROUND: [(&str, Plan, usize); 9] = [
    ("4242", Plan::Pay, 8),
    ("0000", Plan::Pay, 2),
    ("0119", Plan::Pay, 1),
    ("4242", Plan::Schedule, 2),
    ("4242", Plan::HoldAndResume, 2),
    ("4242", Plan::Cancel, 3),
    ("0119", Plan::CancelWhileCharged, 1),
    ("4242", Plan::ScheduleAndCancel, 2),
    ("4242", Plan::Refund, 3),
];

/// Calls of the gateway, and who makes them.
const GATEWAY_CALLS: [(&str, &str, &str); 4] = [
    ("api", "POST", "/v1/payment_methods"),
    ("processor", "POST", "/v1/payment_intents"),
    ("processor", "GET", "/v1/payment_intents"),
    ("processor", "POST", "/v1/refunds"),
];

const CALLERS_OF_THE_GATEWAY: [&str; 2] = ["api", "processor"];

/// A kind of call that a function makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    function: String,
    service: String,
    operation: String,
}

struct Matrix {
    own: Arc<Own>,
    receiver: Receiver,
    orders: Vec<Order>,
    rounds: usize,
}

impl Matrix {
    /// Payments of every kind, all at once, and a sweep over some whose messages are lost.
    async fn round(&mut self) {
        self.rounds += 1;
        let round = self.rounds;
        let lost = self.lose_some(round).await;
        let wanted = ROUND.iter().flat_map(|(last4, plan, times)| (0..*times).map(|_| (*last4, *plan)));
        let orders = wanted.enumerate().map(|(n, (last4, plan))| {
            let stack = self.own.stack.clone();
            tokio::spawn(async move { order(&stack, &format!("matrix-{round}-{n}"), last4, plan, DRAIN).await })
        });
        let orders: Vec<_> = orders.collect();
        self.sweep(&lost).await;
        for order in orders {
            self.orders.push(order.await.unwrap());
        }
        for path in ["/ready", "/v1/payments", "/v1/refunds", "/v1/analytics/payments"] {
            let read = async || read(&self.own.stack, path).await;
            until(path, DRAIN, read).await;
        }
        self.orders.extend(lost);
        self.own.drained(DRAIN).await;
    }

    /// Payments that are due because their events never reached the topic.
    async fn lose_some(&self, round: usize) -> Vec<Order> {
        let lossy = json!({ "service": "sns", "function": "-api", "fault": { "kind": "outage" } });
        let lossy = self.own.add_fault(lossy).await;
        let mut lost = Vec::new();
        for n in 0..LOST {
            let (stack, key) = (&self.own.stack, format!("matrix-{round}-lost-{n}"));
            lost.push(order(stack, &key, "4242", Plan::Pay, DRAIN).await);
        }
        self.own.clear_fault(lossy).await;
        for order in &lost {
            make_due(&self.own.stack, &order.id).await;
        }
        lost
    }

    /// Runs the sweeper, which rules may kill, until what was lost goes on.
    async fn sweep(&self, lost: &[Order]) {
        let sweeper = format!("{}-sweeper", self.own.stack.setting("FLORIN_STACK_NAME"));
        for _ in 0..SWEEPS_MAX {
            self.own.invoke(&sweeper).await;
            tokio::time::sleep(BETWEEN_SWEEPS).await;
            let payments = lost.iter().map(|order| order.payment(&self.own.stack));
            let payments = futures::future::join_all(payments).await;
            if payments.iter().flatten().all(|payment| payment["status"] != "pending") {
                return;
            }
        }
    }

    /// Which calls functions have made so far.
    async fn points(&self) -> Vec<Point> {
        let counters = self.own.counters().await;
        let prefix = format!("{}-", self.own.stack.setting("FLORIN_STACK_NAME"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let point = |line: &Value, service: &str, operation: &str| Point {
            function: text(&line["function"]),
            service: service.to_owned(),
            operation: operation.to_owned(),
        };
        let calls = counters["calls"].as_array().unwrap().iter();
        let calls = calls.map(|line| point(line, &text(&line["service"]), &text(&line["operation"])));
        let invocations = counters["invocations"].as_array().unwrap().iter();
        let points = calls.chain(invocations.map(|line| point(line, "function", "Invoke")));
        points.filter(|point| point.function.starts_with(&prefix)).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// One rule for each point. Returns the points by rule.
    async fn arm(&self, points: &[Point], kind: &str) -> BTreeMap<u64, Point> {
        let mut armed = BTreeMap::new();
        for (n, point) in points.iter().enumerate() {
            let mut rule = json!({ "service": point.service, "operation": point.operation, "nth": 1 + n % 2,
                                   "fault": { "kind": kind } });
            match point.service.as_str() {
                // An invocation has no connection that could be dropped.
                "function" if kind == "drop_reply" => continue,
                // Nor a caller: its resource is the function.
                "function" => rule["resource"] = json!(point.function),
                _ => rule["function"] = json!(point.function),
            }
            armed.insert(self.own.add_fault(rule).await, point.clone());
        }
        armed
    }

    /// The same for calls of the gateway: their caller is killed by the test, while they are delayed.
    async fn arm_gateway(&self, kind: &str) -> BTreeMap<u64, Point> {
        let mut armed = BTreeMap::new();
        for (function, method, path) in GATEWAY_CALLS {
            let fault = match kind {
                "kill_before" => json!({ "kind": "delay", "delay_ms": GATEWAY_DELAY_MS }),
                "kill_after" => json!({ "kind": "delay_after", "delay_ms": GATEWAY_DELAY_MS }),
                other => json!({ "kind": other }),
            };
            let rule = json!({ "service": "http", "operation": method, "nth": 1, "fault": fault,
                               "resource": format!("{} {path}", self.own.gateway_id()) });
            let (service, operation) = ("gateway".to_owned(), format!("{method} {path}"));
            let point = Point { function: function.to_owned(), service, operation };
            armed.insert(self.own.add_fault(rule).await, point);
        }
        armed
    }

    /// Payments until every rule has hit; then everything has to end well.
    async fn wave(&mut self, points: &[Point], kind: &str) -> Vec<Point> {
        let gateway = self.arm_gateway(kind).await;
        let killers: Vec<_> = CALLERS_OF_THE_GATEWAY
            .iter()
            .filter(|_| kind.starts_with("kill"))
            .map(|function| {
                let rules = gateway.iter().filter(|(_, point)| point.function == *function).map(|(id, _)| *id);
                let (own, rules) = (Arc::clone(&self.own), rules.collect::<Vec<_>>());
                tokio::spawn(async move { own.kill_when_fired(function, &rules).await })
            })
            .collect();
        let armed: BTreeMap<_, _> = gateway.into_iter().chain(self.arm(points, kind).await).collect();
        for _ in 0..ROUNDS_MAX {
            // Where nothing is killed anyway: what processes call at their start is called by new ones only.
            if !kind.starts_with("kill") {
                for pid in self.own.processes("") {
                    kill(pid);
                }
            }
            self.round().await;
            let unhit = self.unhit(&armed).await.len();
            println!("{kind}: after round {}, {unhit} of {} have not been hit", self.rounds, armed.len());
            if unhit == 0 {
                break;
            }
        }
        let unhit = self.unhit(&armed).await;
        assert!(unhit.is_empty(), "{kind}: never hit in {ROUNDS_MAX} rounds: {unhit:?}");
        killers.iter().for_each(tokio::task::JoinHandle::abort);
        self.own.clear_faults().await;
        check(&self.own, &self.receiver, &self.orders, DRAIN).await;
        println!("{kind}: {} points, {} payments so far", armed.len(), self.orders.len());
        armed.into_values().collect()
    }

    async fn unhit(&self, armed: &BTreeMap<u64, Point>) -> Vec<Point> {
        let faults = self.own.faults().await;
        let unhit = faults.iter().filter(|fault| fault["fired"] == 0);
        unhit.filter_map(|fault| armed.get(&fault["id"].as_u64()?).cloned()).collect()
    }
}

/// Moves a payment's place in the due index to now, so that its minute need not be waited for. It may have left the
/// index: a call that only seems to have failed has published its event.
async fn make_due(stack: &Stack, id: &str) {
    let update = stack.dynamodb.update_item().table_name(stack.setting("FLORIN_PAYMENTS_TABLE"));
    let update = update.key("pk", AttributeValue::S(id.to_owned()));
    let update = update.update_expression("SET da = :then").condition_expression("attribute_exists(ds)");
    let update = update.expression_attribute_values(":then", AttributeValue::N("0".to_owned()));
    if let Err(error) = update.send().await {
        let error = error.into_service_error();
        assert!(error.is_conditional_check_failed_exception(), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_function_may_be_killed_at_every_call() {
    if !is_wanted() {
        println!("skipped: FLORIN_EMULATOR is not host");
        return;
    }
    let receiver = Receiver::start().await;
    let own = Arc::new(Own::start("kill-matrix", PORT).await.with_short_visibility().await);
    listen(&own, &receiver).await;
    let mut matrix = Matrix { own, receiver, orders: Vec::new(), rounds: 0 };

    // Given every call that functions make when nothing goes wrong
    matrix.round().await;
    check(&matrix.own, &matrix.receiver, &matrix.orders, DRAIN).await;
    let points = matrix.points().await;
    assert!(points.len() >= POINTS_MIN, "functions make more kinds of calls than {points:?}");

    // When each is hit, then all ends well (`wave` checks that).
    let kinds = std::env::var("FLORIN_KILL_KINDS").unwrap_or_else(|_| KINDS.to_owned());
    let mut survived = BTreeMap::<Point, Vec<&str>>::new();
    for kind in kinds.split(',') {
        for point in matrix.wave(&points, kind).await {
            survived.entry(point).or_default().push(kind);
        }
    }
    let prefix = format!("{}-", matrix.own.stack.setting("FLORIN_STACK_NAME"));
    println!("{:<20}{:<10}{:<30}survived", "function", "service", "operation");
    for (Point { function, service, operation }, kinds) in &survived {
        let function = function.trim_start_matches(&prefix);
        println!("{function:<20}{service:<10}{operation:<30}{}", kinds.join(", "));
    }
    let number: usize = survived.values().map(Vec::len).sum();
    println!("kill points tried {number}, survived {number}");
}
