//! What is kept of a merchant's customer: exported, and erased whatever goes wrong.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::collections::BTreeSet;

use axum::{body::Body, http::Request};
use common::{CARD_NUMBER, KEY, OTHER_KEY, World, body, request};
use florin_api::PAYMENTS_PER_ERASURE_MAX;
use florin_domain::{effect::StepResult, ids::RefundId, journal::Step, payment::Payment, time::Timestamp};
use florin_store::{audit::Audit, payments::Due};
use florin_testing::{
    build,
    faults::{Faults, Kind, Plan, dynamo::InProcess},
};
use serde_json::{Value, json};

const CUSTOMER: &str = "cust-7";
const ERASE: &str = "/v1/customers/cust-7/erase";
const EXPORT: &str = "/v1/customers/cust-7/export";

/// A payment that tells of somebody wherever it can.
fn telling() -> Value {
    let mut body = body();
    body["source"]["holder_name"] = json!("Ada Trace");
    body["customer"] = json!(CUSTOMER);
    body["description"] = json!("For Ada Trace");
    body["metadata"] = json!({ "who": "Ada Trace" });
    body["webhook_url"] = json!("https://shop.example/trace");
    body
}

async fn completed(world: &World, key: &str, body: &Value) -> Payment {
    let headers = [("idempotency-key", key), ("x-correlation-id", "order-of-trace")];
    let payment = world.payment_in(&world.post_with("/v1/payments", &headers, body.to_string(), 201).await).await;
    let completed = build::completed(&payment, 100);
    world.payments.save(&payment, &completed).await.unwrap();
    world.clock.advance_ms(1_000);
    completed
}

fn refund_body() -> String {
    json!({ "amount": 1_000, "reason": "Ada Trace moved", "metadata": { "to": "Trace" } }).to_string()
}

/// A refund; ended, and its event published, if so wished.
async fn refund(world: &World, payment: &Payment, key: &str, ends: bool) -> RefundId {
    let path = format!("/v1/payments/{}/refunds", payment.id);
    let id = world.post_to(&path, key, refund_body(), 201).await.body["id"].as_str().unwrap().parse().unwrap();
    if ends {
        end(world, &id, true).await;
    }
    id
}

async fn end(world: &World, id: &RefundId, published: bool) {
    let stored = world.payments.refund_of_any_merchant(id).await.unwrap().unwrap();
    let claimed = stored.claim(Step::Refund, world.clock.now());
    world.payments.claim_refund(&stored, &claimed).await.unwrap();
    let (ended, _) = claimed.apply(StepResult::Done { reference: "re_1".to_owned() }, world.clock.now(), 0, false);
    world.payments.save_refund(&claimed, &ended).await.unwrap();
    if published {
        world.payments.leave_due(&Due::Refund(ended)).await.unwrap();
    }
}

async fn stored_card(world: &World, key: &str) -> String {
    let body = json!({
        "card": { "number": CARD_NUMBER, "expiry": "12/30", "cvv": "987", "holder_name": "Ada Trace" },
        "customer": CUSTOMER, "metadata": { "note": "Trace" }
    });
    world.post_to("/v1/payment_methods", key, body.to_string(), 201).await.body["id"].as_str().unwrap().to_owned()
}

/// Two payments that have ended, one with two refunds and one by a stored card, and the card.
async fn populate(world: &World) -> Payment {
    let first = completed(world, "a", &telling()).await;
    for key in ["r1", "r2"] {
        refund(world, &first, key, true).await;
    }
    let card = stored_card(world, "m").await;
    let mut paid = telling();
    paid["source"] = json!({ "type": "payment_method", "id": card });
    paid.as_object_mut().unwrap().remove("customer");
    completed(world, "b", &paid).await;
    first
}

fn erasure(customer: &str, key: &str) -> Request<Body> {
    let path = format!("/v1/customers/{customer}/erase");
    request("POST", &path).header("x-api-key", key).body(Body::empty()).unwrap()
}

async fn erase(world: &World, expected: u16) -> Value {
    world.send(erasure(CUSTOMER, KEY), expected).await.body
}

fn erased(payments: u32, refunds: u32, payment_methods: u32) -> Value {
    json!({ "payments": payments, "refunds": refunds, "payment_methods": payment_methods })
}

/// Everything that any table has, but for the audit.
async fn everything(client: &aws_sdk_dynamodb::Client) -> String {
    let mut all = String::new();
    for table in ["payments", "merchants", "webhooks", "idempotency", "analytics"] {
        let found = client.scan().table_name(table).send().await.unwrap();
        assert!(found.last_evaluated_key().is_none());
        all.push_str(&format!("{:?}", found.items()));
    }
    all
}

async fn assert_nothing_tells_of_the_customer(world: &World) {
    let all = everything(&world.dynamo.client).await;
    for trace in ["Trace", "trace", CUSTOMER] {
        assert!(!all.contains(trace), "{trace}: {all}");
    }
}

#[tokio::test]
async fn an_erasure_leaves_the_ledger_and_nothing_that_tells_of_the_customer() {
    let world = World::start().await;
    let payment = populate(&world).await;
    let before = world.get(&format!("/v1/payments/{}", payment.id), 200).await.body;
    assert_eq!(world.gateway.attached().len(), 1);

    let answer = erase(&world, 200).await;
    assert_eq!(answer, json!({ "object": "customer_erasure", "erased": erased(2, 2, 1), "has_more": false }));
    assert_nothing_tells_of_the_customer(&world).await;
    assert_eq!(world.gateway.attached().len(), 0, "the gateway has forgotten the card");

    let after = world.get(&format!("/v1/payments/{}", payment.id), 200).await.body;
    let mut expected = before;
    expected["customer"] = Value::Null;
    expected["description"] = Value::Null;
    expected["metadata"] = json!({});
    expected["webhook_url"] = Value::Null;
    expected["source"]["holder_name"] = json!("");
    assert_eq!(after, expected, "amounts, times, versions and references are the ledger's");
    let timeline = world.get(&format!("/v1/payments/{}/timeline", payment.id), 200).await.body;
    assert_eq!(timeline["data"].as_array().unwrap().len(), payment.journal.len() + 2);

    let again = erase(&world, 200).await;
    assert_eq!(again, json!({ "object": "customer_erasure", "erased": erased(0, 0, 0), "has_more": false }));
    let entries = Audit::new(world.dynamo.client.clone(), "audit");
    let entries = entries.page(payment.merchant_id.as_str(), None, 10, Timestamp::MIN).await.unwrap();
    let told: Vec<_> = entries.iter().filter(|entry| entry.action == "customer.erase").collect();
    assert_eq!(told.len(), 1, "what erases nothing is not told");
    assert_eq!(told[0].details["customer"], world.root_key.customer_hash(&payment.merchant_id, CUSTOMER));
    assert!(!format!("{told:?}").contains(CUSTOMER));
}

#[tokio::test]
async fn what_was_created_before_an_erasure_is_replayed_after_it() {
    let world = World::start().await;
    let payment = populate(&world).await;
    erase(&world, 200).await;
    let again = world.post("a", &telling(), 201).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!((&again.body["id"], &again.body["customer"]), (&json!(payment.id), &Value::Null));
    let path = format!("/v1/payments/{}/refunds", payment.id);
    assert_eq!(world.post_to(&path, "r1", refund_body(), 201).await.header("idempotent-replayed"), Some("true"));
    let mut other = telling();
    other["amount"] = json!(1);
    assert_eq!(world.post("a", &other, 422).await.errors(), [("/amount", "idempotency_key_reused")]);
    assert_nothing_tells_of_the_customer(&world).await;
}

#[tokio::test]
async fn while_a_payment_or_a_refund_is_open_nothing_is_erased() {
    let world = World::start().await;
    let first = populate(&world).await;
    let open = world.payment("open", &telling()).await;
    let pending = refund(&world, &first, "r3", false).await;
    let before = everything(&world.dynamo.client).await.len();
    let refused = erase(&world, 409).await;
    assert_eq!(refused["code"], "customer_has_open_payments");
    assert!(refused["detail"].as_str().unwrap().starts_with("2 of"), "{refused}");
    assert_eq!(everything(&world.dynamo.client).await.len(), before);
    assert_eq!(world.gateway.attached().len(), 1);

    world.command(&open.id, "cancel", 200).await;
    end(&world, &pending, false).await;
    // The refund has ended, but its event may still have to be published.
    let left = erase(&world, 200).await;
    assert_eq!((&left["erased"], &left["has_more"]), (&erased(2, 2, 1), &json!(true)));
    let ended = world.payments.refund_of_any_merchant(&pending).await.unwrap().unwrap();
    world.payments.leave_due(&Due::Refund(ended)).await.unwrap();
    let rest = erase(&world, 200).await;
    assert_eq!((&rest["erased"], &rest["has_more"]), (&erased(1, 1, 0), &json!(false)));
    assert_nothing_tells_of_the_customer(&world).await;
}

#[tokio::test]
async fn a_refund_that_comes_between_is_not_missed() {
    let world = World::start().await;
    let payment = completed(&world, "a", &telling()).await;
    let read = world.stored_payment(&payment.id).await;
    refund(&world, &payment, "r", true).await;
    assert!(!world.payments.erase(&read, world.clock.now()).await.unwrap(), "it was read before the refund");
    assert_eq!(erase(&world, 200).await["erased"], erased(1, 1, 0));
    assert_nothing_tells_of_the_customer(&world).await;
}

#[tokio::test]
async fn another_merchants_customer_of_the_same_name_is_another_one() {
    let world = World::start().await;
    let payment = populate(&world).await;
    let nothing = world.send(erasure(CUSTOMER, OTHER_KEY), 200).await.body;
    assert_eq!((&nothing["erased"], &nothing["has_more"]), (&erased(0, 0, 0), &json!(false)));
    assert_eq!(world.get_as_other(EXPORT, 200).await.body["data"], json!([]));
    assert_eq!(world.stored_payment(&payment.id).await.customer.as_deref(), Some(CUSTOMER));
    assert_eq!(world.gateway.attached().len(), 1);
}

#[tokio::test]
async fn a_customer_is_named_well_or_not_at_all() {
    let world = World::start().await;
    for name in ["Ada%20Obi", "4242424242424242", &"x".repeat(65), "a%2Fb"] {
        let answer = world.send(erasure(name, KEY), 400).await;
        assert_eq!(answer.errors(), [("customer", "customer_invalid")], "{name}");
        assert_eq!(world.get(&format!("/v1/customers/{name}/export"), 400).await.code(), "customer_invalid");
    }
    assert_eq!(world.get("/v1/customers/nobody/export", 200).await.body["data"], json!([]));
    assert_eq!(world.get(&format!("{EXPORT}?limit=0"), 400).await.code(), "limit_out_of_range");
    assert_eq!(world.get(&format!("{EXPORT}?cursor=x"), 400).await.code(), "cursor_invalid");
    world.send(request("POST", ERASE).body(Body::empty()).unwrap(), 401).await;
}

#[tokio::test]
async fn an_export_has_everything_once_whatever_the_pages() {
    let world = World::start().await;
    let payment = populate(&world).await;
    stored_card(&world, "m2").await;
    let whole = world.get(EXPORT, 200).await.body;
    let kinds: Vec<_> = whole["data"].as_array().unwrap().iter().map(|one| one["object"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["payment_method", "payment_method", "payment", "payment"]);
    let last = &whole["data"][3];
    assert_eq!((&last["id"], &last["customer"]), (&json!(payment.id), &json!(CUSTOMER)));
    assert_eq!(last["refunds"][1]["reason"], "Ada Trace moved");
    assert_eq!(last["timeline"].as_array().unwrap().len(), payment.journal.len() + 2);
    for limit in 1..=4 {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        for _ in 0..10 {
            let page = world.get(&format!("{EXPORT}?limit={limit}{cursor}"), 200).await.body;
            let data = page["data"].as_array().unwrap();
            assert!(data.len() <= limit);
            ids.extend(data.iter().map(|one| one["id"].clone()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let expected: Vec<_> = whole["data"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
        assert_eq!(ids, expected, "in pages of {limit}");
    }
}

#[tokio::test]
async fn a_call_erases_so_many_payments_and_says_that_there_are_more() {
    let world = World::start().await;
    let merchant = build::merchant("shop").id;
    for n in 0..=PAYMENTS_PER_ERASURE_MAX {
        let payment = build::payment(&merchant, &n.to_string());
        let payment = Payment { customer: Some(CUSTOMER.to_owned()), ..payment };
        world.payments.create(&payment).await.unwrap();
        world.payments.save(&payment, &build::completed(&payment, 1)).await.unwrap();
    }
    let first = erase(&world, 200).await;
    let many = u32::try_from(PAYMENTS_PER_ERASURE_MAX).unwrap();
    assert_eq!((&first["erased"], &first["has_more"]), (&erased(many, 0, 0), &json!(true)));
    let rest = erase(&world, 200).await;
    assert_eq!((&rest["erased"], &rest["has_more"]), (&erased(1, 0, 0), &json!(false)));
}

#[tokio::test]
async fn the_gateways_absence_is_told_and_the_repeat_goes_on() {
    let world = World::start().await;
    populate(&world).await;
    world.gateway.away(true);
    assert_eq!(erase(&world, 503).await["code"], "gateway_unavailable");
    world.gateway.away(false);
    assert_eq!(erase(&world, 200).await["erased"], erased(2, 2, 1));
    assert_nothing_tells_of_the_customer(&world).await;
}

/// Erases with a fault at the call of this number, and repeats until there is nothing more. Which kinds of faults that
/// call can meet; nothing if the erasure has no such call.
async fn erased_despite(number: usize, place: usize) -> Option<Kind> {
    let (database, faults) = (InProcess::start().await, Faults::new(Plan::Calm));
    let world = World::start_on(&database, &database.client("api", &faults)).await;
    populate(&world).await;
    let before = faults.calls().len();
    faults.plan(Plan::Calm);
    let kind = {
        // What the call does is known once it was made: a dry run of the same world.
        let (database, faults) = (InProcess::start().await, Faults::new(Plan::Calm));
        let world = World::start_on(&database, &database.client("api", &faults)).await;
        populate(&world).await;
        erase(&world, 200).await;
        faults.calls().get(before + number - 1)?.kind
    };
    let fault = *kind.faults().get(place)?;
    faults.plan(Plan::At(before + number, fault));
    let _ = faults.invoke(world.raw_status(erasure(CUSTOMER, KEY))).await;
    assert_eq!(faults.struck().len(), 1, "{fault:?} at call {number}");
    faults.plan(Plan::Calm);
    let answer = erase(&world, 200).await;
    assert_eq!(answer["has_more"], false, "{fault:?} at call {number}");
    assert_nothing_tells_of_the_customer(&world).await;
    assert_eq!(world.gateway.attached().len(), 0, "{fault:?} at call {number}");
    Some(kind)
}

#[tokio::test]
async fn whatever_breaks_off_an_erasure_its_repeat_ends_it() {
    let mut kinds = BTreeSet::new();
    let mut runs = 0;
    for number in 1.. {
        let mut place = 0;
        while let Some(kind) = erased_despite(number, place).await {
            kinds.insert(format!("{kind:?}"));
            place += 1;
            runs += 1;
        }
        if place == 0 {
            break;
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["Read", "Transaction", "Write"]);
    assert!(runs > 60, "only {runs} runs");
}
