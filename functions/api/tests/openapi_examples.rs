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
const DRAWN: [(&str, &str); 5] = [
    ("request_id", "req_9f2c41d07ab84e6db5c0f38e17a6d24b"),
    ("run", "5b1f0c7e9a3d4286b7e1d05c8f92a36e"),
    // Of the audit log: it names an entry.
    ("next_cursor", "MS4xNzk1MjUxNjAwMDAw…"),
    ("access_token", "eyJ…"),
    ("refresh_token", "rft_…"),
];
/// Members that open something, and what stands in the examples instead: whoever searches for secrets finds none.
const SECRET: [(&str, &str); 3] =
    [("secret", "sk_test_…"), ("invitation_token", "inv_…"), ("client_secret", "sk_test_…")];

#[tokio::test]
async fn the_examples_are_what_the_api_answers() {
    let world = World::start().await;
    open_routes(&world).await;
    payments(&world).await;
    refunds_and_counts(&world).await;
    what_is_stuck(&world).await;
    dead_letters(&world).await;
    payment_methods_and_customers(&world).await;
    people(&world).await;
    clients(&world).await;

    let recorded = format!("{}\n", serde_json::to_string_pretty(&examples(&world)).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/examples.json");
    if std::env::var_os(REWRITE).is_some() {
        fs::write(&path, &recorded).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == recorded, "{} is old; run ./scripts/openapi", path.display());
}

async fn open_routes(world: &World) {
    for path in ["/live", "/health", "/ready", "/.well-known/jwks.json", "/.well-known/openid-configuration"] {
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

async fn payment_methods_and_customers(world: &World) {
    let card = json!({ "number": "4242 4242 4242 4242", "expiry": "12/30", "cvv": "123", "holder_name": "Ada Obi" });
    let asked = json!({ "card": card, "customer": "cust-7", "metadata": { "nickname": "work" } });
    let method = world.post_to("/v1/payment_methods", "card-1", asked.to_string(), 201).await;
    let path = format!("/v1/payment_methods/{}", method.body["id"].as_str().unwrap());
    world.get(&path, 200).await;
    world.get("/v1/payment_methods?limit=1", 200).await;
    let stored = json!({ "type": "payment_method", "id": method.body["id"] });
    let payment = world.payment("order-23", &body_with("/source", stored)).await;
    world.get("/v1/customers/cust-7/export", 200).await;
    let (erase, key) = ("/v1/customers/cust-7/erase", common::KEY);
    world.call("POST", erase, key, None, 409).await;
    world.payments.save(&payment, &build::completed(&payment, 420)).await.unwrap();
    world.call("POST", erase, key, None, 200).await;
    world.delete(&path, 204).await;
    world.get(&path, 404).await;
}

async fn people(world: &World) {
    let shop = world.sign_up("ada").await;
    let session = world.login(&shop.email).await;
    let owner = session["access_token"].as_str().unwrap();
    let call = async |method: &str, path: &str, body: Option<Value>, expected: u16| {
        // Entries of the audit log are ordered by their moments.
        world.clock.advance_ms(1_000);
        world.call(method, path, owner, body.as_ref(), expected).await.body
    };
    call("GET", "/v1/merchants/me", None, 200).await;
    call("PATCH", "/v1/merchants/me", Some(json!({ "name": "Ada's Shop" })), 200).await;
    let key = call("POST", "/v1/api_keys", Some(json!({ "name": "till", "scopes": ["payments:read"] })), 201).await;
    let key = format!("/v1/api_keys/{}", key["id"].as_str().unwrap());
    for (method, path) in [("GET", "/v1/api_keys"), ("GET", &key), ("DELETE", &key)] {
        call(method, path, None, 200).await;
    }
    let (id, _, viewer) = world.person(owner, "viewer").await;
    world.call("GET", "/v1/users", &viewer, None, 403).await;
    let user = format!("/v1/users/{id}");
    call("GET", "/v1/users", None, 200).await;
    call("GET", &user, None, 200).await;
    call("PATCH", &user, Some(json!({ "role": "developer" })), 200).await;
    call("POST", &format!("{user}/invite"), None, 200).await;
    call("DELETE", &user, None, 204).await;
    call("DELETE", &format!("/v1/users/{}", shop.owner_id), None, 409).await;
    call("GET", "/v1/audit_log?limit=2", None, 200).await;
    let token = json!({ "refresh_token": session["refresh_token"] });
    let next = world.call("POST", "/v1/auth/refresh", "", Some(&token), 200).await.body;
    let token = json!({ "refresh_token": next["refresh_token"] });
    world.call("POST", "/v1/auth/logout", "", Some(&token), 204).await;
    world.call("POST", "/v1/auth/refresh", "", Some(&token), 401).await;
}

async fn clients(world: &World) {
    let shop = world.sign_up("obi").await;
    let owner = world.token(&shop.email).await;
    let asked = json!({ "name": "ledger", "kind": "client", "scopes": ["payments:read"] });
    let client = world.call("POST", "/v1/api_keys", &owner, Some(&asked), 201).await.body;
    let (id, secret) = (client["id"].as_str().unwrap(), client["secret"].as_str().unwrap());
    for (secret, expected) in [(secret, 200), ("sk_test_wrong", 401)] {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let request = request("POST", "/oauth/token").header("content-type", "application/x-www-form-urlencoded");
        world.send(request.body(Body::from(form)).unwrap(), expected).await;
    }
}

/// The first answer of each operation with each status, and the first request that was answered well.
fn examples(world: &World) -> Value {
    let mut examples = BTreeMap::<String, Value>::new();
    for call in world.calls.lock().unwrap().iter() {
        let Some(route) = route(&call.method, &call.path) else { continue };
        let id = DOCUMENT["paths"][route][call.method.to_lowercase()]["operationId"].as_str().unwrap();
        let example = examples.entry(id.to_owned()).or_insert_with(|| json!({ "request": null, "responses": {} }));
        if call.status < 400 && example["request"].is_null() {
            example["request"] = fixed(&call.request);
        }
        let responses = example["responses"].as_object_mut().unwrap();
        responses.entry(call.status.to_string()).or_insert_with(|| fixed(&call.answer));
    }
    json!(examples)
}

/// With nothing in it that is drawn at random, and no secret.
fn fixed(answer: &Value) -> Value {
    match answer {
        Value::Array(values) => values.iter().map(fixed).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| member(members, name, value)).collect())
        }
        other => other.clone(),
    }
}

fn member(members: &Map<String, Value>, name: &str, value: &Value) -> (String, Value) {
    let instead = DRAWN.iter().chain(&SECRET).find(|(hidden, _)| *hidden == name && value.is_string());
    let is_audit_id = name == "id" && members.get("object").is_some_and(|object| object == "audit_entry");
    let value = match instead {
        Some((_, instead)) => json!(instead),
        None if is_audit_id => json!("4e1d05c8f92a36e5b1f0c7e9a3d4286b"),
        None => fixed(value),
    };
    (name.to_owned(), value)
}
