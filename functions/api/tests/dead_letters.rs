//! What operators see of the queues, and what they do with dead letters.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use axum::body::Body;
use common::{CARD_NUMBER, KEY, World, request};
use florin_domain::event::Event;
use florin_messaging::dead_letters::NO_REASON;
use florin_store::failures::{Failed, Failures};
use florin_testing::build;
use serde_json::{Value, json};

const DEAD: &str = "webhook-dead-letters";

fn event(merchant: &str, key: &str) -> Event {
    build::ended(&build::completed(&build::payment(&build::merchant(merchant).id, key), 100))
}

/// Dead letters of two merchants and one that is no event; the ids of their messages.
async fn given_dead_letters(world: &World) -> [String; 3] {
    let bodies = [
        json!(event("shop", "a")).to_string(),
        json!(event("other", "b")).to_string(),
        format!("{{\"card\": \"{CARD_NUMBER}\""),
    ];
    let ids = bodies.map(|body| world.sqs.put(DEAD, &body));
    let failures = Failures::new(world.dynamo.client.clone(), "idempotency", "webhook", || build::START);
    let reason = "the table is not available: ThrottlingException".to_owned();
    failures.put(&[Failed { message_id: ids[0].clone(), reason, receives: 8 }]).await.unwrap();
    ids
}

fn ids(answer: &Value, list: &str) -> Vec<String> {
    let mut ids: Vec<String> =
        answer[list].as_array().unwrap().iter().map(|item| item["message_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn outcomes(answer: &Value) -> Vec<&str> {
    answer["messages"].as_array().unwrap().iter().map(|item| item["outcome"].as_str().unwrap()).collect()
}

fn by_ada(fields: Value) -> Value {
    let mut body = json!({ "actor": "ada@example.com", "note": "The table is back." });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn queues_show_how_full_they_are() {
    let world = World::start().await;
    given_dead_letters(&world).await;
    world.sqs.put("processing", "{}");
    let queues = world.look("queues", 200).await.body;
    let queue = |consumer: &str, waiting: u32, dead: u32| {
        json!({ "object": "queue", "consumer": consumer, "waiting": waiting, "in_flight": 0, "delayed": 0,
                "dead_letters": dead, "dead_letters_hidden": 0 })
    };
    let expected = [queue("processing", 1, 0), queue("webhook", 0, 3), queue("analytics", 0, 0)];
    assert_eq!(queues, json!({ "object": "list", "data": expected, "has_more": false }));
}

#[tokio::test]
async fn dead_letters_are_shown_with_their_reasons_and_without_their_bodies() {
    let world = World::start().await;
    let [first, second, poison] = given_dead_letters(&world).await;
    let seen = world.look("dead_letters/webhook", 200).await.body;
    assert_eq!(
        (ids(&seen, "data"), &seen["has_more"]),
        (vec![first.clone(), second.clone(), poison.clone()], &json!(false))
    );
    let event = event("shop", "a");
    assert_eq!(
        seen["data"][0],
        json!({
            "object": "dead_letter", "message_id": first, "event_id": event.id, "type": "payment.completed",
            "subject": event.subject, "merchant_id": event.merchantid, "sent_at": "2026-11-21T09:00:00.000Z",
            "receives": 9, "reason": "the table is not available: ThrottlingException",
            "failed_at": "2026-11-21T09:00:00.000Z"
        })
    );
    assert_eq!((&seen["data"][2]["event_id"], &seen["data"][2]["reason"]), (&Value::Null, &json!(NO_REASON)));
    assert!(!seen.to_string().contains("4242"), "{seen}");
    assert_eq!(world.sqs.count(DEAD), (3, 0), "they stay where they are, in sight");

    for (query, expected) in [
        (format!("merchant={}", event.merchantid), vec![&first]),
        ("error=THROTTL".to_owned(), vec![&first]),
        ("type=without%20a%20type".to_owned(), vec![&poison]),
        ("type=payment.completed".to_owned(), vec![&first, &second]),
        ("older_than_seconds=3600".to_owned(), vec![]),
    ] {
        let seen = world.look(&format!("dead_letters/webhook?{query}"), 200).await.body;
        assert_eq!(ids(&seen, "data").iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let one = world.look("dead_letters/webhook?limit=1", 200).await.body;
    assert_eq!((ids(&one, "data").len(), &one["has_more"]), (1, &json!(true)));
    world.clock.advance_ms(3_601_000);
    let old = world.look("dead_letters/webhook?older_than_seconds=3600", 200).await.body;
    assert_eq!(ids(&old, "data").len(), 3);
}

#[tokio::test]
async fn without_confirmation_nothing_is_done() {
    let world = World::start().await;
    let [first, ..] = given_dead_letters(&world).await;
    for (action, outcome) in [("replay", "would_be_replayed"), ("discard", "would_be_discarded")] {
        let path = format!("dead_letters/webhook/{action}");
        let answer = world.operate(&path, &by_ada(json!({ "error": "throttl" })), 200).await.body;
        assert_eq!((ids(&answer, "messages"), outcomes(&answer)), (vec![first.clone()], vec![outcome]));
        assert_eq!(
            (&answer["confirmed"], &answer["meant"], &answer["examined"]),
            (&json!(false), &json!(1), &json!(3))
        );
    }
    assert_eq!((world.sqs.count(DEAD), world.sqs.count("webhook")), ((3, 0), (0, 0)));
    assert_eq!(world.audited().await, []);
}

#[tokio::test]
async fn a_confirmed_replay_moves_what_is_meant_and_leaves_a_trail() {
    let world = World::start().await;
    let [first, second, _] = given_dead_letters(&world).await;
    let body = by_ada(json!({ "confirm": true, "message_ids": [first, second] }));
    let answer = world.operate("dead_letters/webhook/replay", &body, 200).await.body;
    assert_eq!((ids(&answer, "messages"), outcomes(&answer)), (vec![first, second], vec!["replayed", "replayed"]));
    assert_eq!((&answer["done"], &answer["failed"], &answer["passed_over"]), (&json!(2), &json!(0), &json!(1)));
    assert_eq!((world.sqs.count(DEAD), world.sqs.count("webhook")), ((1, 0), (2, 0)));

    let audited = world.audited().await;
    assert!(audited.iter().all(|entry| entry.actor == "ada@example.com" && entry.details["run"] == answer["run"]));
    let begin = audited.iter().find(|entry| entry.action == "dead_letters.replay.begin").unwrap();
    assert_eq!(begin.details["note"], "The table is back.");
    assert_eq!(audited.iter().filter(|entry| entry.action == "dead_letters.replay").count(), 2);
}

#[tokio::test]
async fn a_confirmed_discard_deletes_no_more_than_its_limit() {
    let world = World::start().await;
    given_dead_letters(&world).await;
    let body = by_ada(json!({ "confirm": true, "limit": 2 }));
    let answer = world.operate("dead_letters/webhook/discard", &body, 200).await.body;
    assert_eq!((outcomes(&answer), &answer["end"]), (vec!["discarded", "discarded"], &json!("the limit is reached")));
    assert_eq!((world.sqs.count(DEAD), world.sqs.count("webhook")), ((1, 0), (0, 0)));
}

#[tokio::test]
async fn what_the_queue_refuses_stays_a_dead_letter_and_says_so() {
    let world = World::start().await;
    given_dead_letters(&world).await;
    world.sqs.refuse("SendMessage");
    let answer = world.operate("dead_letters/webhook/replay", &by_ada(json!({ "confirm": true })), 200).await.body;
    assert_eq!((outcomes(&answer), &answer["failed"]), (vec!["failed"; 3], &json!(3)));
    assert!(answer["messages"][0]["error"].as_str().unwrap().starts_with("SendMessage failed"), "{answer}");
    assert_eq!(world.sqs.count(DEAD), (3, 0));
    world.sqs.refuse("ReceiveMessage");
    assert_eq!(world.look("dead_letters/webhook", 503).await.code(), "unavailable");
}

#[tokio::test]
async fn an_unknown_consumer_is_not_found_and_a_merchant_sees_nothing() {
    let world = World::start().await;
    assert_eq!(world.look("dead_letters/undelivered", 404).await.code(), "consumer_not_found");
    let replay = world.operate("dead_letters/undelivered/replay", &by_ada(json!({})), 404).await;
    assert_eq!(replay.code(), "consumer_not_found");
    for (method, path) in [
        ("GET", "queues"),
        ("GET", "dead_letters/webhook"),
        ("POST", "dead_letters/webhook/replay"),
        ("POST", "dead_letters/webhook/discard"),
    ] {
        let request = request(method, &format!("/v1/ops/{path}")).header("authorization", format!("Bearer {KEY}"));
        assert_eq!(world.send(request.body(Body::empty()).unwrap(), 401).await.code(), "operator_key_invalid");
    }
}

#[tokio::test]
async fn each_wrong_parameter_and_field_has_its_code() {
    let world = World::start().await;
    for (query, code) in [
        ("type=", "type_invalid"),
        ("merchant=shop", "merchant_invalid"),
        ("error=4242%204242%204242%204242", "error_invalid"),
        ("older_than_seconds=0", "older_than_seconds_invalid"),
        ("older_than_seconds=1209601", "older_than_seconds_invalid"),
        ("limit=51", "limit_out_of_range"),
        ("message_ids=x", "parameter_unknown"),
    ] {
        assert_eq!(world.look(&format!("dead_letters/webhook?{query}"), 400).await.code(), code, "{query}");
    }
    let long = "x".repeat(101);
    for (fields, code) in [
        (json!({ "actor": null }), "actor_missing"),
        (json!({ "actor": "a\nb" }), "actor_invalid"),
        (json!({ "note": 1 }), "note_invalid"),
        (json!({ "note": CARD_NUMBER }), "card_number_in_text"),
        (json!({ "confirm": "yes" }), "confirm_invalid"),
        (json!({ "message_ids": [] }), "message_ids_invalid"),
        (json!({ "message_ids": vec!["x"; 51] }), "message_ids_invalid"),
        (json!({ "message_ids": ["4242424242424242"] }), "message_ids_invalid"),
        (json!({ "type": long }), "type_invalid"),
        (json!({ "merchant": 7 }), "merchant_invalid"),
        (json!({ "error": "" }), "error_invalid"),
        (json!({ "older_than_seconds": 1.5 }), "older_than_seconds_invalid"),
        (json!({ "limit": 0 }), "limit_out_of_range"),
        (json!({ "colour": "blue" }), "field_unknown"),
    ] {
        let answer = world.operate("dead_letters/webhook/discard", &by_ada(fields.clone()), 422).await;
        assert_eq!(answer.code(), code, "{fields}");
    }
}
