//! Refunds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use axum::body::Body;
use common::{Answer, KEY, World, body, request};
use florin_domain::{
    effect::StepResult,
    journal::{Failure, Step},
    payment::{Payment, REFUNDS_PER_PAYMENT_MAX},
    refund::Refund,
    time::Timestamp,
};
use florin_testing::build;
use serde_json::{Value, json};

async fn completed(world: &World, key: &str) -> Payment {
    let payment = world.payment(key, &body()).await;
    let completed = build::completed(&payment, 100);
    world.payments.save(&payment, &completed).await.unwrap();
    world.clock.advance_ms(1_000);
    completed
}

async fn refund(world: &World, payment: &Payment, key: &str, body: Value, expected: u16) -> Answer {
    world.post_to(&format!("/v1/payments/{}/refunds", payment.id), key, body.to_string(), expected).await
}

/// Ends the refund as the processor does.
async fn end(world: &World, answer: &Answer, result: StepResult) -> Refund {
    let id = answer.body["id"].as_str().unwrap().parse().unwrap();
    let stored = world.payments.refund_of_any_merchant(&id).await.unwrap().unwrap();
    let claimed = stored.claim(Step::Refund, world.clock.now());
    world.payments.claim_refund(&stored, &claimed).await.unwrap();
    let (ended, _) = claimed.apply(result, world.clock.now(), 0, false);
    world.payments.save_refund(&claimed, &ended).await.unwrap();
    ended
}

fn done() -> StepResult {
    StepResult::Done { reference: "re_gateway".to_owned() }
}

fn refused() -> StepResult {
    StepResult::Refused { failure: Failure::new("charge_disputed", "No."), reference: None }
}

#[tokio::test]
async fn a_refund_is_created_announced_and_read_back() {
    let world = World::start().await;
    let payment = completed(&world, "k").await;
    let asked = json!({ "amount": 4_000, "reason": "Too large", "metadata": { "return": "9" } });
    let answer = refund(&world, &payment, "r", asked, 201).await;
    let id = answer.body["id"].as_str().unwrap().to_owned();
    let expected = json!({
        "id": id, "object": "refund", "payment_id": payment.id, "status": "pending", "amount": 4000, "currency": "NGN",
        "reason": "Too large", "metadata": { "return": "9" }, "failure": null, "gateway_reference": null,
        "stuck": false, "created_at": "2026-11-21T09:00:01.000Z", "updated_at": "2026-11-21T09:00:01.000Z", "version": 1
    });
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("location"), Some(format!("/v1/refunds/{id}").as_str()));
    assert_eq!(world.get(&format!("/v1/refunds/{id}"), 200).await.body, expected);
    assert_eq!(world.get("/v1/refunds", 200).await.body["data"], json!([expected]));
    let of_payment = world.get(&format!("/v1/payments/{}/refunds", payment.id), 200).await.body;
    assert_eq!((&of_payment["data"], &of_payment["has_more"]), (&json!([expected]), &json!(false)));
    let event = world.publisher.events().pop().unwrap();
    assert_eq!((event.event_type.as_str(), event.subject.as_str()), ("refund.initiated", id.as_str()));
    assert_eq!(serde_json::to_value(&event.data).unwrap(), expected);

    end(&world, &answer, done()).await;
    let refunded = world.get(&format!("/v1/payments/{}", payment.id), 200).await.body;
    assert_eq!((&refunded["status"], &refunded["amount_refunded"]), (&json!("completed"), &json!(4_000)));
    let timeline = world.get(&format!("/v1/payments/{}/timeline", payment.id), 200).await.body;
    let steps: Vec<_> = timeline["data"].as_array().unwrap().iter().map(|e| e["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["validate", "reserve", "charge", "settle", "refund"]);
    assert_eq!(timeline["data"][4]["input"]["refund_id"], id);
    assert_eq!(timeline["data"][4]["output"]["gateway_reference"], "re_gateway");
}

#[tokio::test]
async fn refunds_never_exceed_what_was_captured_and_a_failed_one_releases_its_amount() {
    let world = World::start().await;
    let payment = completed(&world, "k").await;
    refund(&world, &payment, "a", json!({ "amount": 4_000 }), 201).await;
    let too_much = refund(&world, &payment, "b", json!({ "amount": 6_001 }), 422).await;
    assert_eq!(too_much.errors(), [("/amount", "refund_amount_too_large")]);
    assert_eq!(too_much.body["detail"], "Of the payment 6000 minor units are left to refund.");
    let rest = refund(&world, &payment, "rest", json!({}), 201).await;
    assert_eq!(rest.body["amount"], 6_000);
    for asked in [json!({}), json!({ "amount": 1 })] {
        assert_eq!(refund(&world, &payment, "c", asked, 422).await.code(), "refund_amount_too_large");
    }
    end(&world, &rest, refused()).await;
    assert_eq!(refund(&world, &payment, "c", json!({ "amount": 6_000 }), 201).await.body["amount"], 6_000);
}

#[tokio::test]
async fn the_same_refund_is_answered_the_same_even_when_nothing_is_left() {
    let world = World::start().await;
    let payment = completed(&world, "k").await;
    for (key, asked) in [("part", json!({ "amount": 1_000 })), ("rest", json!({ "reason": "All of it" }))] {
        let first = refund(&world, &payment, key, asked.clone(), 201).await;
        assert_eq!(first.header("idempotent-replayed"), None);
        world.clock.advance_ms(1);
        let again = refund(&world, &payment, key, asked.clone(), 201).await;
        assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
        end(&world, &first, done()).await;
        let published = world.published().len();
        let late = refund(&world, &payment, key, asked, 201).await;
        assert_eq!((late.header("idempotent-replayed"), &late.body), (Some("true"), &first.body));
        assert_eq!(world.published().len(), published, "a refund that has ended is not announced again");
    }
    assert_eq!(world.published().iter().filter(|kind| **kind == "refund.initiated").count(), 4);
    for (key, asked, pointer) in [
        ("part", json!({ "amount": 1_001 }), "/amount"),
        ("part", json!({}), "/amount"),
        ("part", json!({ "amount": 1_000, "reason": "x" }), "/reason"),
        ("rest", json!({ "amount": 9_000, "reason": "All of it" }), "/amount"),
        ("rest", json!({ "reason": "All of it", "metadata": { "a": "b" } }), "/metadata"),
    ] {
        let answer = refund(&world, &payment, key, asked, 422).await;
        assert_eq!(answer.errors(), [(pointer, "idempotency_key_reused")]);
    }
    assert_eq!(world.stored().await, 3);
}

#[tokio::test]
async fn the_same_key_for_another_payment_makes_another_refund() {
    let world = World::start().await;
    let (one, other) = (completed(&world, "one").await, completed(&world, "other").await);
    let first = refund(&world, &one, "r", json!({}), 201).await;
    assert_ne!(first.body["id"], refund(&world, &other, "r", json!({}), 201).await.body["id"]);
}

#[tokio::test]
async fn ten_refunds_at_once_of_a_third_each_give_back_three_thirds() {
    let world = World::start().await;
    let payment = completed(&world, "k").await;
    let path = format!("/v1/payments/{}/refunds", payment.id);
    let send = |n: usize| {
        let request = request("POST", &path)
            .header("x-api-key", KEY)
            .header("content-type", "application/json")
            .header("idempotency-key", format!("r{n}"));
        world.raw_status(request.body(Body::from("{\"amount\":3333}")).unwrap())
    };
    let (a, b, c, d, e) = tokio::join!(send(0), send(1), send(2), send(3), send(4));
    let mut statuses = [a, b, c, d, e];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 201, 422, 422]);
    assert_eq!(world.stored_payment(&payment.id).await.amount_reserved, 9_999);
}

#[tokio::test]
async fn what_cannot_be_refunded_is_a_conflict() {
    let world = World::start().await;
    let pending = world.payment("pending", &body()).await;
    assert_eq!(refund(&world, &pending, "r", json!({}), 409).await.code(), "payment_not_refundable");

    let payment = completed(&world, "k").await;
    for n in 0..REFUNDS_PER_PAYMENT_MAX {
        refund(&world, &payment, &format!("r{n}"), json!({ "amount": 1 }), 201).await;
    }
    assert_eq!(refund(&world, &payment, "more", json!({ "amount": 1 }), 409).await.code(), "refunds_too_many");
    refund(&world, &payment, "r0", json!({ "amount": 1 }), 201).await;
}

#[tokio::test]
async fn every_wrong_field_of_a_refund_has_its_code_and_pointer() {
    let world = World::start().await;
    let payment = completed(&world, "k").await;
    for (asked, pointer, code) in [
        (json!({ "amount": 0 }), "/amount", "amount_out_of_range"),
        (json!({ "amount": -5 }), "/amount", "amount_out_of_range"),
        (json!({ "amount": "100" }), "/amount", "amount_invalid"),
        (json!({ "amount": 1.5 }), "/amount", "amount_invalid"),
        (json!({ "reason": 1 }), "/reason", "reason_invalid"),
        (json!({ "reason": "x".repeat(501) }), "/reason", "reason_too_long"),
        (json!({ "reason": "card 4242-4242-4242-4242" }), "/reason", "card_number_in_text"),
        (json!({ "metadata": { "a": "4242424242424242" } }), "/metadata/a", "card_number_in_text"),
        (json!({ "metadata": [] }), "/metadata", "metadata_invalid"),
        (json!({ "currency": "NGN" }), "/currency", "field_unknown"),
    ] {
        let answer = refund(&world, &payment, "r", asked.clone(), 422).await;
        assert_eq!(answer.errors(), [(pointer, code)], "{asked}");
    }
    let path = format!("/v1/payments/{}/refunds", payment.id);
    let without_key = request("POST", &path)
        .header("x-api-key", KEY)
        .header("content-type", "application/json")
        .body(Body::from("{}"))
        .unwrap();
    assert_eq!(world.send(without_key, 400).await.code(), "idempotency_key_missing");
    let untyped = request("POST", &path).header("x-api-key", KEY).header("idempotency-key", "r");
    assert_eq!(world.send(untyped.body(Body::from("{}")).unwrap(), 415).await.code(), "content_type_unsupported");
    assert_eq!(world.stored_payment(&payment.id).await.refunds, []);
}

#[tokio::test]
async fn a_refund_whose_event_was_lost_is_left_in_the_due_index() {
    let world = World::start().await;
    let payment = completed(&world, "k").await;
    assert_eq!(world.due(Timestamp::MAX).await, Vec::<String>::new());
    world.publisher.fail_next(1);
    let answer = refund(&world, &payment, "r", json!({}), 201).await;
    let due = world.clock.now().plus_ms(florin_store::payments::DUE_AFTER_MS);
    assert_eq!(world.due(due).await, [answer.body["id"].as_str().unwrap()]);
}

#[tokio::test]
async fn refunds_are_listed_newest_first_and_only_to_their_merchant() {
    let world = World::start().await;
    let payment = completed(&world, "k").await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let answer = refund(&world, &payment, &format!("r{n}"), json!({ "amount": 10 }), 201).await;
        if n == 2 {
            end(&world, &answer, done()).await;
        }
        ids.insert(0, answer.body["id"].clone());
        world.clock.advance_ms(1_000);
    }
    let first = world.get("/v1/refunds?limit=3", 200).await.body;
    let rest = world.get(&format!("/v1/refunds?cursor={}", first["next_cursor"].as_str().unwrap()), 200).await.body;
    let shown: Vec<_> = [&first, &rest].iter().flat_map(|page| page["data"].as_array().unwrap()).collect();
    assert_eq!(shown.iter().map(|refund| refund["id"].clone()).collect::<Vec<_>>(), ids);
    let completed = world.get("/v1/refunds?status=completed", 200).await.body;
    assert_eq!((completed["data"].as_array().unwrap().len(), &completed["data"][0]["id"]), (1, &ids[2]));
    assert_eq!(world.get("/v1/refunds?currency=KES", 200).await.body["data"], json!([]));
    for query in ["status=canceled", "status=held"] {
        assert_eq!(world.get(&format!("/v1/refunds?{query}"), 400).await.code(), "status_invalid");
    }
    assert_eq!(
        world.get("/v1/payments", 200).await.body["data"].as_array().unwrap().len(),
        1,
        "a refund is no payment"
    );

    let id = ids[0].as_str().unwrap();
    assert_eq!(world.get_as_other("/v1/refunds", 200).await.body["data"], json!([]));
    assert_eq!(world.get_as_other(&format!("/v1/refunds/{id}"), 404).await.code(), "refund_not_found");
    let of_payment = format!("/v1/payments/{}/refunds", payment.id);
    assert_eq!(world.get_as_other(&of_payment, 404).await.code(), "payment_not_found");
    for id in ["re_x", payment.id.as_str(), "re_00000000000000000000000001"] {
        assert_eq!(world.get(&format!("/v1/refunds/{id}"), 404).await.code(), "refund_not_found");
    }
}
