//! The examples of the description: what a merchant and an operator asked on one morning, and what they were answered.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use axum::body::Body;
use common::{
    World, body, body_with,
    described::{DOCUMENT, route},
    request,
};
use florin_domain::{analytics::Ended, ids::PaymentId};
use florin_store::{
    analytics::Analytics,
    failures::{Failed, Failures},
};
use florin_testing::build;
use serde_json::{Map, Value, json};

/// Set to anything, it makes this test write the file that it otherwise compares.
const REWRITE: &str = "FLORIN_REWRITE_OPENAPI";
/// Members that are drawn at random, and what stands in the examples instead.
const DRAWN: [(&str, &str); 2] =
    [("request_id", "req_9f2c41d07ab84e6db5c0f38e17a6d24b"), ("run", "5b1f0c7e9a3d4286b7e1d05c8f92a36e")];

#[tokio::test]
async fn the_examples_are_what_the_api_answers() {
    let world = World::start().await;
    open_routes(&world).await;
    payments(&world).await;
    refunds_and_counts(&world).await;
    what_is_stuck(&world).await;
    dead_letters(&world).await;

    let recorded = format!("{}\n", serde_json::to_string_pretty(&examples(&world)).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/examples.json");
    if std::env::var_os(REWRITE).is_some() {
        fs::write(&path, &recorded).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == recorded, "{} is old; run ./scripts/openapi", path.display());
}

async fn open_routes(world: &World) {
    for path in ["/live", "/health", "/ready"] {
        world.send(request("GET", path).body(Body::empty()).unwrap(), 200).await;
    }
}

async fn payments(world: &World) {
    let id = &world.payment("order-17", &body()).await.id;
    world.post("order-17", &body_with("/amount", json!(20_000)), 422).await;
    world.get(&format!("/v1/payments/{id}"), 200).await;
    world.get(&format!("/v1/payments/{}", build::unknown_payment()), 404).await;
    world.get("/v1/payments?limit=1", 200).await;
    world.get("/v1/payments?limit=0", 400).await;
    world.command(id, "resume", 409).await;
    for (command, status) in [("hold", 200), ("resume", 200), ("cancel", 200), ("hold", 409)] {
        world.clock.advance_ms(1_000);
        world.command(id, command, status).await;
    }
    let claimed = world.payment("order-18", &body()).await;
    world.claimed(&claimed).await;
    world.command(&claimed.id, "cancel", 202).await;
}

async fn refunds_and_counts(world: &World) {
    let payment = world.payment("order-19", &body()).await;
    let path = format!("/v1/payments/{}/refunds", payment.id);
    world.post_to(&path, "return-9", "{}".to_owned(), 409).await;
    let completed = build::completed(&payment, 420);
    world.payments.save(&payment, &completed).await.unwrap();
    world.clock.advance_ms(1_000);
    let asked = json!({ "amount": 4_000, "reason": "Too large", "metadata": { "return_id": "9" } });
    let refund = world.post_to(&path, "return-9", asked.to_string(), 201).await;
    world.get(&path, 200).await;
    world.get("/v1/refunds?limit=1", 200).await;
    world.get(&format!("/v1/refunds/{}", refund.body["id"].as_str().unwrap()), 200).await;
    world.get(&format!("/v1/payments/{}/timeline", payment.id), 200).await;
    world.command(&payment.id, "cancel", 409).await;

    let declined = build::declined(&world.payment("order-20", &body()).await, "insufficient_funds", 360);
    let ended = [&completed, &declined].map(|payment| Ended::from_event(&build::ended(payment)).unwrap());
    Analytics::new(world.dynamo.client.clone(), "analytics", "idempotency").count(&ended, 0).await.unwrap();
    world.get("/v1/analytics/payments", 200).await;
}

async fn what_is_stuck(world: &World) {
    let why = json!({ "actor": "ada@example.com", "note": "The gateway is back." });
    let retry = |id: &PaymentId| format!("payments/{id}/retry");
    let (payment, refund) = (world.stuck("order-21").await, world.stuck_refund().await);
    world.look("stuck", 200).await;
    world.operate(&format!("refunds/{}/retry", refund.id), &why, 200).await;
    world.operate(&retry(&payment.id), &why, 200).await;
    world.operate(&retry(&payment.id), &why, 409).await;
    let found = json!({ "actor": "ada@example.com", "note": "The gateway has the charge.", "outcome": "completed",
                        "reference": "pi_3QKx7e" });
    world.operate(&format!("payments/{}/settle", world.stuck("order-22").await.id), &found, 200).await;
    let lost = json!({ "actor": "ada@example.com", "note": "The gateway knows of none.", "outcome": "failed",
                       "code": "not_refunded" });
    let refund = world.stuck_again(refund).await;
    world.operate(&format!("refunds/{}/settle", refund.id), &lost, 200).await;
}

async fn dead_letters(world: &World) {
    let event = build::ended(&build::completed(&build::payment(&build::merchant("shop").id, "a"), 100));
    let id = world.sqs.put("analytics-dead-letters", &json!(event).to_string());
    let failures = Failures::new(world.dynamo.client.clone(), "idempotency", "analytics", || build::START);
    let reason = "the table is not available: ThrottlingException".to_owned();
    failures.put(&[Failed { message_id: id, reason, receives: 8 }]).await.unwrap();
    world.look("queues", 200).await;
    world.look("dead_letters/analytics", 200).await;
    world.look("dead_letters/mail", 404).await;
    let order = json!({ "actor": "ada@example.com", "note": "It is counted by hand." });
    world.operate("dead_letters/analytics/discard", &order, 200).await;
    let order =
        json!({ "actor": "ada@example.com", "note": "The table is back.", "error": "throttl", "confirm": true });
    world.operate("dead_letters/analytics/replay", &order, 200).await;
}

/// The first answer of each operation with each status, and the first request that was answered well.
fn examples(world: &World) -> Value {
    let mut examples = BTreeMap::<String, Value>::new();
    for call in world.calls.lock().unwrap().iter() {
        let Some(route) = route(&call.method, &call.path) else { continue };
        let id = DOCUMENT["paths"][route][call.method.to_lowercase()]["operationId"].as_str().unwrap();
        let example = examples.entry(id.to_owned()).or_insert_with(|| json!({ "request": null, "responses": {} }));
        if call.status < 400 && example["request"].is_null() {
            example["request"] = call.request.clone();
        }
        let responses = example["responses"].as_object_mut().unwrap();
        responses.entry(call.status.to_string()).or_insert_with(|| fixed(&call.answer));
    }
    json!(examples)
}

/// With nothing in it that is drawn at random.
fn fixed(answer: &Value) -> Value {
    let mut answer = answer.clone();
    let members: &mut Map<String, Value> = answer.as_object_mut().unwrap();
    for (name, instead) in DRAWN {
        members.entry(name).and_modify(|value| *value = json!(instead));
    }
    answer
}
