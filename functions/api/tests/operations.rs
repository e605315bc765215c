//! What operators see and do.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use axum::body::Body;
use common::{KEY, World, body, request};
use florin_domain::{
    payment::Status,
    refund::{Refund, RefundStatus},
    saga::OPERATOR_RETRIES_MAX,
    time::Timestamp,
};
use florin_testing::build;
use serde_json::{Value, json};

fn retry() -> Value {
    json!({ "actor": "ada@example.com", "note": "The gateway is back." })
}

fn settled(outcome: &str, name: &str, value: &str) -> Value {
    json!({ "actor": "ada@example.com", "note": "Asked the gateway.", "outcome": outcome, name: value })
}

#[tokio::test]
async fn only_the_operator_key_opens_the_operations() {
    let world = World::start().await;
    let payment = world.stuck("k").await;
    let operator_key = world.root_key.operator_key().expose_text();
    let retry_path = format!("/v1/ops/payments/{}/retry", payment.id);
    for (method, path) in [("GET", "/v1/ops/stuck"), ("POST", retry_path.as_str())] {
        for (name, value) in [
            ("authorization", format!("Bearer {KEY}")),
            ("authorization", format!("Bearer {}", "op_0".repeat(16))),
            ("authorization", format!("Basic {operator_key}")),
            ("x-api-key", operator_key.clone()),
            ("x-other", String::new()),
        ] {
            let request = request(method, path).header(name, value).body(Body::empty()).unwrap();
            let answer = world.send(request, 401).await;
            assert_eq!((answer.code(), answer.header("www-authenticate")), ("operator_key_invalid", Some("Bearer")));
        }
    }
    let as_merchant = request("GET", "/v1/payments").header("authorization", format!("Bearer {operator_key}"));
    assert_eq!(world.send(as_merchant.body(Body::empty()).unwrap(), 401).await.code(), "api_key_invalid");
    assert_eq!(world.audited().await, []);
}

#[tokio::test]
async fn what_is_stuck_is_listed_with_its_reason() {
    let world = World::start().await;
    assert_eq!(world.look("stuck", 200).await.body, json!({ "object": "list", "data": [], "has_more": false }));
    world.payment("fine", &body()).await;
    let (payment, refund) = (world.stuck("k").await, world.stuck_refund().await);
    let listed = world.look("stuck?limit=2", 200).await.body;
    assert_eq!(listed["has_more"], false);
    let found = |id: &str| listed["data"].as_array().unwrap().iter().find(|item| item["id"] == id).unwrap().clone();
    assert_eq!(
        found(payment.id.as_str()),
        json!({
            "object": "payment", "id": payment.id, "merchant_id": payment.merchant_id, "status": "processing",
            "reason": { "code": "outcome_unknown", "message": "The gateway does not say whether the money moved." },
            "since": "2026-11-21T09:00:00.000Z"
        })
    );
    let shown = found(refund.id.as_str());
    assert_eq!((&shown["object"], &shown["payment_id"]), (&json!("refund"), &json!(refund.payment_id)));
    let one = world.look("stuck?limit=1", 200).await.body;
    assert_eq!((one["data"].as_array().unwrap().len(), &one["has_more"]), (1, &json!(true)));
    assert_eq!(world.look("stuck?colour=blue", 400).await.code(), "parameter_unknown");
}

#[tokio::test]
async fn a_stuck_payment_is_tried_again_and_the_audit_says_who_wanted_it() {
    let world = World::start().await;
    let payment = world.stuck("k").await;
    let path = format!("payments/{}/retry", payment.id);
    world.clock.advance_ms(1_000);
    let answer = world.operate(&path, &retry(), 200).await;
    assert_eq!((&answer.body["status"], &answer.body["stuck"]), (&json!("processing"), &json!(false)));
    assert_eq!(world.published(), ["payment.initiated", "payment.initiated"]);
    let due = world.clock.now().plus_ms(florin_store::payments::DUE_AFTER_MS);
    assert_eq!(world.due(due).await, [payment.id.to_string()]);
    let last = world.get(&format!("/v1/payments/{}/timeline", payment.id), 200).await.body["data"][3].clone();
    assert_eq!((&last["step"], &last["output"]["note"]), (&json!("resolve"), &json!("The gateway is back.")));

    let audited = world.audited().await;
    let actions: Vec<_> = audited.iter().map(|entry| (entry.actor.as_str(), entry.action.as_str())).collect();
    assert_eq!(actions, [("ada@example.com", "ops.payment.retry"), ("ada@example.com", "ops.payment.retry.end")]);
    assert_eq!(audited[0].details["id"], payment.id.as_str());
    assert_eq!((audited[0].details.get("outcome"), audited[1].details["outcome"].as_str()), (None, "processing"));

    assert_eq!(world.operate(&path, &retry(), 409).await.code(), "payment_not_stuck");
    assert_eq!(world.audited().await.len(), 2, "what was not done is not in the audit");
}

#[tokio::test]
async fn after_the_last_retry_a_payment_can_only_be_settled() {
    let world = World::start().await;
    let mut payment = world.stuck("k").await;
    for _ in 0..OPERATOR_RETRIES_MAX {
        world.operate(&format!("payments/{}/retry", payment.id), &retry(), 200).await;
        let again = world.stored_payment(&payment.id).await;
        let stuck = florin_domain::payment::Payment {
            version: again.version + 1,
            stuck: payment.stuck.clone(),
            ..again.clone()
        };
        world.payments.save(&again, &stuck).await.unwrap();
        payment = stuck;
    }
    let refused = world.operate(&format!("payments/{}/retry", payment.id), &retry(), 409).await;
    assert_eq!(refused.code(), "operator_retries_exhausted");
    let settle = settled("failed", "code", "lost_at_gateway");
    world.operate(&format!("payments/{}/settle", payment.id), &settle, 200).await;
    assert_eq!(world.stored_payment(&payment.id).await.status, Status::Failed);
}

#[tokio::test]
async fn a_stuck_payment_is_settled_by_hand_announced_and_closed() {
    let world = World::start().await;
    for (key, settlement, status, event) in [
        ("a", settled("completed", "reference", "pi_1"), "completed", "payment.completed"),
        ("b", settled("failed", "code", "not_charged"), "failed", "payment.failed"),
    ] {
        let payment = world.stuck(key).await;
        let path = format!("payments/{}/settle", payment.id);
        let answer = world.operate(&path, &settlement, 200).await;
        assert_eq!((&answer.body["status"], &answer.body["stuck"]), (&json!(status), &json!(false)));
        assert_eq!(world.published().last(), Some(&event));
        assert_eq!(world.operate(&path, &settlement, 409).await.code(), "payment_not_stuck");
    }
    assert_eq!(world.due(Timestamp::MAX).await, Vec::<String>::new());
    let words: Vec<_> = world.audited().await.iter().map(|entry| entry.details["settlement"].clone()).collect();
    assert!(words.contains(&"completed as pi_1".to_owned()) && words.contains(&"failed for not_charged".to_owned()));
}

#[tokio::test]
async fn a_stuck_refund_is_tried_again_or_settled_and_its_payment_knows() {
    let world = World::start().await;
    let refund = world.stuck_refund().await;
    world.operate(&format!("refunds/{}/retry", refund.id), &retry(), 200).await;
    assert_eq!(world.published().last(), Some(&"refund.initiated"));
    let again = world.payments.refund_of_any_merchant(&refund.id).await.unwrap().unwrap();
    let stuck = Refund { version: again.version + 1, stuck: refund.stuck.clone(), ..again.clone() };
    world.payments.save_refund(&again, &stuck).await.unwrap();

    let settle = settled("failed", "code", "not_given_back");
    let answer = world.operate(&format!("refunds/{}/settle", refund.id), &settle, 200).await;
    assert_eq!((&answer.body["object"], &answer.body["status"]), (&json!("refund"), &json!("failed")));
    assert_eq!(world.published().last(), Some(&"refund.failed"));
    assert_eq!(world.stored_payment(&refund.payment_id).await.amount_reserved, 0);
    assert_eq!(world.due(Timestamp::MAX).await, Vec::<String>::new());
    assert_eq!(world.operate(&format!("refunds/{}/retry", refund.id), &retry(), 409).await.code(), "refund_not_stuck");
    let stored = world.payments.refund_of_any_merchant(&refund.id).await.unwrap().unwrap();
    assert_eq!(stored.status, RefundStatus::Failed);
}

#[tokio::test]
async fn nothing_is_done_that_the_audit_cannot_hold_and_a_lost_event_stays_due() {
    let world = World::start().await;
    let payment = world.stuck("k").await;
    let path = format!("payments/{}/settle", payment.id);
    let settle = settled("completed", "reference", "pi_1");
    world.dynamo.client.delete_table().table_name("audit").send().await.unwrap();
    let request = request("POST", &format!("/v1/ops/{path}"))
        .header("authorization", format!("Bearer {}", world.root_key.operator_key().expose_text()))
        .header("content-type", "application/json");
    assert!(world.raw_status(request.body(Body::from(settle.to_string())).unwrap()).await >= 500);
    assert_eq!(world.stored_payment(&payment.id).await, payment);

    let world = World::start().await;
    let payment = world.stuck("k").await;
    world.publisher.fail_next(1);
    world.operate(&format!("payments/{}/settle", payment.id), &settle, 200).await;
    let due = world.clock.now().plus_ms(florin_store::payments::DUE_AFTER_MS);
    assert_eq!(world.due(due).await, [payment.id.to_string()]);
}

#[tokio::test]
async fn every_wrong_field_of_an_order_has_its_code() {
    let world = World::start().await;
    let payment = world.stuck("k").await;
    let with = |name: &str, value: Value| {
        let mut body = settled("completed", "reference", "pi_1");
        body[name] = value;
        body
    };
    for (body, pointer, code) in [
        (with("actor", json!(null)), "/actor", "actor_missing"),
        (with("actor", json!(1)), "/actor", "actor_invalid"),
        (with("actor", json!("a".repeat(101))), "/actor", "actor_invalid"),
        (with("note", json!(null)), "/note", "note_missing"),
        (with("note", json!(" ")), "/note", "note_invalid"),
        (with("note", json!("a\u{7}b")), "/note", "note_invalid"),
        (with("note", json!("x".repeat(201))), "/note", "note_invalid"),
        (with("note", json!("4242 4242 4242 4242")), "/note", "card_number_in_text"),
        (with("reference", json!(null)), "/reference", "reference_missing"),
        (with("reference", json!(5)), "/reference", "reference_invalid"),
        (with("code", json!("x")), "/code", "field_unknown"),
        (settled("failed", "code", "Not Charged"), "/code", "code_invalid"),
        (settled("failed", "reason", "x"), "/code", "code_missing"),
        (settled("maybe", "note", "x"), "/outcome", "outcome_invalid"),
        (json!({ "actor": "a", "note": "b" }), "/outcome", "outcome_missing"),
    ] {
        let answer = world.operate(&format!("payments/{}/settle", payment.id), &body, 422).await;
        assert_eq!(answer.errors()[0], (pointer, code), "{body}");
    }
    let answer = world.operate(&format!("payments/{}/retry", payment.id), &with("actor", json!("a")), 422).await;
    assert_eq!(answer.errors(), [("/outcome", "field_unknown"), ("/reference", "field_unknown")]);
    for (path, code) in [
        ("payments/pay_x/retry".to_owned(), "payment_not_found"),
        (format!("payments/{}/retry", build::unknown_payment()), "payment_not_found"),
        (format!("refunds/{}/retry", payment.id), "refund_not_found"),
    ] {
        assert_eq!(world.operate(&path, &retry(), 404).await.code(), code);
    }
    assert_eq!(world.stored_payment(&payment.id).await, payment);
    assert_eq!(world.audited().await, []);
}
