//! What merchants ask for, and what must hold of it in the end, whatever happened on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::{
    chaos::Own,
    receiver::Receiver,
    stack::{Stack, until},
};

/// Of every payment, in minor units.
pub const AMOUNT: i64 = 10_000;
/// Where the merchant hears of everything.
pub const ENDPOINT: &str = "endpoint";
/// Requests at once.
const CLIENTS: usize = 8;
/// From the last end until all of it is told and counted: visibility time-outs, several times over.
const QUIET: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a merchant does with a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: it is charged, or declined.
    Pay,
    /// Cancels it at once: before, while or after it is charged.
    Cancel,
    /// Cancels it as soon as it is processed.
    CancelWhileCharged,
    /// Holds it, and lets it go on.
    HoldAndResume,
    /// Gives a part back, and then the rest.
    Refund,
    /// Wants it in two seconds.
    Schedule,
    /// Wants it in an hour, and cancels it.
    ScheduleAndCancel,
}

/// A payment that was made, and how it may end.
#[derive(Debug, Clone)]
pub struct Order {
    pub id: String,
    pub may_end: &'static [&'static str],
    pub refunds: Vec<String>,
}

/// Makes a payment with this card and does with it what is planned. Every request is repeated until it is answered.
pub async fn order(stack: &Stack, key: &str, last4: &str, plan: Plan, within: Duration) -> Order {
    let mut order = Order::make(stack, key, last4, plan).await;
    order.follow(stack, key, plan, within).await;
    order
}

impl Order {
    /// Makes the payment.
    pub async fn make(stack: &Stack, key: &str, last4: &str, plan: Plan) -> Self {
        let mut body = Stack::payment(last4);
        match plan {
            Plan::Schedule | Plan::HoldAndResume => body["delay_seconds"] = json!(2),
            Plan::ScheduleAndCancel => body["delay_seconds"] = json!(3_600),
            Plan::Pay | Plan::Cancel | Plan::CancelWhileCharged | Plan::Refund => {}
        }
        let payment = stack.pay(key, &body).await;
        let may_end: &[&str] = if matches!(last4, "0000" | "9999") { &["failed"] } else { &["completed"] };
        Self { id: payment["id"].as_str().unwrap().to_owned(), may_end, refunds: Vec::new() }
    }

    /// Does with it what is planned.
    pub async fn follow(&mut self, stack: &Stack, key: &str, plan: Plan, within: Duration) {
        match plan {
            Plan::Pay | Plan::Schedule => {}
            Plan::Cancel | Plan::ScheduleAndCancel => self.cancel(stack).await,
            Plan::CancelWhileCharged => {
                self.wait(stack, within, |status| status != "pending").await;
                self.cancel(stack).await;
            }
            Plan::HoldAndResume => self.hold_and_resume(stack).await,
            Plan::Refund => self.refund(stack, key, within).await,
        }
    }

    async fn wait(&self, stack: &Stack, within: Duration, is_enough: fn(&str) -> bool) {
        let started = Instant::now();
        loop {
            let payment = self.payment(stack).await.unwrap_or_default();
            if payment["status"].as_str().is_some_and(is_enough) {
                return;
            }
            assert!(started.elapsed() < within, "within {within:?} it is still {payment}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// As it is now, unless it cannot be read now.
    pub async fn payment(&self, stack: &Stack) -> Option<Value> {
        read(stack, &format!("/v1/payments/{}", self.id)).await
    }

    async fn cancel(&mut self, stack: &Stack) {
        let (status, answer) = stack.insist(&format!("/v1/payments/{}/cancel", self.id), None, &json!({})).await;
        self.may_end = match status {
            200 | 202 => &["canceled", "failed"],
            409 => &["completed", "failed"],
            _ => panic!("{status} {answer}"),
        };
    }

    /// Both may come too late.
    async fn hold_and_resume(&self, stack: &Stack) {
        for command in ["hold", "resume"] {
            let path = format!("/v1/payments/{}/{command}", self.id);
            let (status, answer) = stack.insist(&path, None, &json!({})).await;
            assert!([200, 409].contains(&status), "{command}: {status} {answer}");
        }
    }

    async fn refund(&mut self, stack: &Stack, key: &str, within: Duration) {
        self.wait(stack, within, |status| status == "completed").await;
        for body in [json!({ "amount": AMOUNT / 4 }), json!({})] {
            let (path, key) = (format!("/v1/payments/{}/refunds", self.id), format!("{key}-{}", self.refunds.len()));
            let (status, answer) = stack.insist(&path, Some(&key), &body).await;
            assert_eq!(status, 201, "{answer}");
            self.refunds.push(answer["id"].as_str().unwrap().to_owned());
        }
    }
}

/// What the API shows there, unless it cannot be read now.
pub async fn read(stack: &Stack, path: &str) -> Option<Value> {
    let answer = stack.http.get(format!("{}{path}", stack.api_url)).bearer_auth(&stack.api_key).send().await.ok()?;
    answer.error_for_status().ok()?.json().await.ok()
}

/// Has the merchant told of everything that happens from now on.
pub async fn listen(own: &Own, receiver: &Receiver) {
    let merchant = own.stack.setting("FLORIN_MERCHANT_ID").to_owned();
    own.florin(&["seed", "endpoint", "--merchant", &merchant, "--url", &receiver.url(ENDPOINT)]).await;
}

/// Checks what must hold of payments and refunds, which all have to end within this time.
pub async fn check(own: &Own, receiver: &Receiver, orders: &[Order], within: Duration) {
    let (stack, started) = (&own.stack, Instant::now());
    let statuses = each(orders, async |order| {
        let payment = ended(stack, &format!("/v1/payments/{}", order.id), started, within).await;
        let status = payment["status"].as_str().unwrap().to_owned();
        assert!(order.may_end.contains(&status.as_str()), "{:?}: {payment}", order.may_end);
        (order.id.clone(), status)
    });
    let statuses = statuses.await;
    let refunds: Vec<&String> = orders.iter().flat_map(|order| &order.refunds).collect();
    let refunds = each(&refunds, async |id| {
        let refund = ended(stack, &format!("/v1/refunds/{id}"), started, within).await;
        assert_eq!(refund["status"], "completed", "{refund}");
        ((*id).clone(), refund)
    });
    let refunds = refunds.await;
    let elapsed = started.elapsed().as_millis();
    println!(
        "{} payments and {} refunds have ended, {elapsed} ms after the last request",
        statuses.len(),
        refunds.len()
    );

    own.drained(QUIET).await;
    money_is_right(stack, &statuses, &refunds).await;
    told(receiver, &statuses, &refunds).await;
    let mut counts = BTreeMap::<&str, i64>::new();
    statuses.values().for_each(|status| *counts.entry(status).or_default() += 1);
    let counted = counts.into_iter().map(|(status, count)| (status.to_owned(), count, count * AMOUNT));
    assert_eq!(stack.totals().await, counted.collect::<Vec<_>>(), "every end is counted once");
    own.has_no_dead_letters().await;
}

/// Asks about each, some at once.
async fn each<T, V>(wanted: &[T], ask: impl AsyncFn(&T) -> (String, V)) -> BTreeMap<String, V> {
    stream::iter(wanted).map(|one| ask(one)).buffer_unordered(CLIENTS).collect().await
}

async fn ended(stack: &Stack, path: &str, started: Instant, within: Duration) -> Value {
    loop {
        let found = read(stack, path).await.unwrap_or_default();
        if matches!(found["status"].as_str(), Some("completed" | "failed" | "canceled")) {
            return found;
        }
        assert_ne!(found["stuck"], true, "{found}");
        assert!(started.elapsed() < within, "not ended within {within:?}: {found}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// One charge for each completed payment, none kept for any other, and every refund once.
async fn money_is_right(stack: &Stack, statuses: &BTreeMap<String, String>, refunds: &BTreeMap<String, Value>) {
    let mut kept = BTreeMap::<String, i64>::new();
    let mut payment_of = BTreeMap::new();
    for intent in stack.gateway_list("/v1/payment_intents").await {
        if intent["status"] == "succeeded" {
            let payment = intent["metadata"]["payment_id"].as_str().unwrap().to_owned();
            payment_of.insert(intent["id"].as_str().unwrap().to_owned(), payment.clone());
            let before = kept.insert(payment.clone(), intent["amount_received"].as_i64().unwrap());
            assert_eq!(before, None, "{payment} was charged twice");
        }
    }
    let mut given_back = BTreeSet::new();
    for refund in stack.gateway_list("/v1/refunds").await {
        if refund["status"] == "succeeded" {
            let id = refund["metadata"]["refund_id"].as_str().unwrap().to_owned();
            let payment = &payment_of[refund["payment_intent"].as_str().unwrap()];
            *kept.get_mut(payment).unwrap() -= refund["amount"].as_i64().unwrap();
            assert!(given_back.insert(id.clone()), "{id} was given back twice");
        }
    }
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for (payment, status) in statuses {
        expected.insert(payment.clone(), if status == "completed" { AMOUNT } else { 0 });
    }
    for (id, refund) in refunds {
        assert!(given_back.contains(id), "{id} is completed, but nothing was given back");
        *expected.get_mut(refund["payment_id"].as_str().unwrap()).unwrap() -= refund["amount"].as_i64().unwrap();
    }
    let wrong: Vec<_> = expected
        .iter()
        .map(|(payment, amount)| (payment, amount, kept.get(payment).copied().unwrap_or(0)))
        .filter(|(_, amount, kept)| *amount != kept)
        .collect();
    assert!(wrong.is_empty(), "payment, what should be kept, what is kept: {wrong:?}");
    let unknown: Vec<_> = kept.keys().filter(|payment| !statuses.contains_key(*payment)).collect();
    assert!(unknown.is_empty(), "charged without a payment: {unknown:?}");
}

/// The merchant has heard of every end, by one event each, however often it came.
async fn told(receiver: &Receiver, statuses: &BTreeMap<String, String>, refunds: &BTreeMap<String, Value>) {
    let payments = statuses.iter().map(|(id, status)| (id.clone(), format!("payment.{status}")));
    let expected: BTreeSet<_> =
        payments.chain(refunds.keys().map(|id| (id.clone(), "refund.completed".to_owned()))).collect();
    let mut heard = BTreeMap::<(String, String), BTreeSet<String>>::new();
    until("the merchant has heard of every end", QUIET, async || {
        for received in receiver.received(ENDPOINT) {
            let event = received.json();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let what = (text(&event["data"]["id"]), text(&event["type"]));
            heard.entry(what).or_default().insert(received.id().to_owned());
        }
        expected.iter().all(|end| heard.contains_key(end)).then_some(())
    })
    .await;
    let ends = |kind: &str| ["completed", "failed", "canceled"].iter().any(|end| kind.ends_with(end));
    for (what, ids) in heard.iter().filter(|((_, kind), _)| ends(kind)) {
        assert!(expected.contains(what), "{what:?} was told, but is not so");
        assert_eq!(ids.len(), 1, "{what:?} was told by several events");
    }
}
