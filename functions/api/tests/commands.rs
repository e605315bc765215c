//! Cancel, hold and resume.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use axum::body::Body;
use common::{KEY, OTHER_KEY, World, body, body_with, request};
use florin_domain::{effect::StepResult, payment::Status, saga, saga::HOLDS_MAX, time::Timestamp};
use florin_testing::build;
use serde_json::{Value, json};

#[tokio::test]
async fn a_waiting_payment_is_canceled_and_that_is_announced() {
    let world = World::start().await;
    for (key, delay) in [("pending", 0), ("scheduled", 86_400)] {
        let payment = world.payment(key, &body_with("/delay_seconds", json!(delay))).await;
        let answer = world.command(&payment.id, "cancel", 200).await;
        assert_eq!((&answer.body["status"], &answer.body["version"]), (&json!("canceled"), &json!(2)));
        assert_eq!(world.publisher.events().last().unwrap().event_type.as_str(), "payment.canceled");
        assert_eq!(world.publisher.events().last().unwrap().subject, payment.id.as_str());
        let timeline = world.get(&format!("/v1/payments/{}/timeline", payment.id), 200).await.body;
        assert_eq!(timeline["data"][0]["step"], "cancel");
    }
    assert_eq!(world.due(Timestamp::MAX).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_repeated_command_changes_nothing_and_publishes_the_same_event_again() {
    let world = World::start().await;
    let payment = world.payment("k", &body()).await;
    for (command, event, status) in [
        ("hold", "payment.held", "on_hold"),
        ("resume", "payment.resumed", "pending"),
        ("cancel", "payment.canceled", "canceled"),
    ] {
        let first = world.command(&payment.id, command, 200).await;
        world.clock.advance_ms(1_000);
        let again = world.command(&payment.id, command, 200).await;
        assert_eq!((&first.body["status"], &first.body), (&json!(status), &again.body));
        let events: Vec<_> = world.publisher.events().into_iter().filter(|e| e.event_type.as_str() == event).collect();
        assert_eq!((events.len(), &events[0]), (2, &events[1]));
        assert_eq!(serde_json::to_value(&events[0].data).unwrap(), first.body);
    }
    let initiated = world.published().iter().filter(|kind| **kind == "payment.initiated").count();
    assert_eq!(initiated, 3, "created, resumed, resumed again");
}

#[tokio::test]
async fn a_lost_event_of_a_command_is_left_in_the_due_index() {
    let world = World::start().await;
    let payment = world.payment("k", &body()).await;
    world.clock.advance_ms(500);
    world.publisher.fail_next(1);
    assert_eq!(world.command(&payment.id, "cancel", 200).await.body["status"], "canceled");
    let due = world.clock.now().plus_ms(florin_store::payments::DUE_AFTER_MS);
    assert_eq!(world.due(due).await, [payment.id.to_string()]);
    world.command(&payment.id, "cancel", 200).await;
    assert_eq!(world.due(Timestamp::MAX).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_payment_that_is_processed_is_asked_to_give_back_what_it_takes() {
    let world = World::start().await;
    let payment = world.payment("k", &body()).await;
    let claimed = world.claimed(&payment).await;
    for _ in 0..2 {
        let answer = world.command(&payment.id, "cancel", 202).await;
        assert_eq!((&answer.body["status"], &answer.body["cancel_requested"]), (&json!("processing"), &json!(true)));
        assert_eq!(answer.body["version"], 2, "the processor can still write down what it did");
    }
    assert_eq!(world.published(), ["payment.initiated"]);
    for command in ["hold", "resume"] {
        world.command(&payment.id, command, 409).await;
    }

    let declined = StepResult::NotDone;
    let mut claimed = claimed;
    claimed.cancel_requested_at = world.stored_payment(&payment.id).await.cancel_requested_at;
    let (mut ended, mut next) = saga::apply(&claimed, declined.clone(), world.clock.now(), 0, false);
    while next != saga::Next::Ended {
        let again = saga::claim(&ended, florin_domain::journal::Step::Reconcile, None, world.clock.now());
        (ended, next) = saga::apply(&again, declined.clone(), world.clock.now(), 0, false);
    }
    world.payments.save(&claimed, &ended).await.unwrap();
    let answer = world.command(&payment.id, "cancel", 200).await;
    assert_eq!((&answer.body["status"], &answer.body["failure"]["code"]), (&json!("failed"), &json!("canceled")));
}

#[tokio::test]
async fn what_the_status_does_not_allow_is_a_conflict_that_names_it() {
    let world = World::start().await;
    let refused = async |id: &_, command: &str, code: &str, detail: &str| {
        let answer = world.command(id, command, 409).await;
        assert_eq!((answer.code(), answer.body["detail"].as_str()), (code, Some(detail)));
    };
    let payment = world.payment("k", &body()).await;
    refused(&payment.id, "resume", "payment_not_resumable", "The payment is pending.").await;
    world.payments.save(&payment, &build::completed(&payment, 100)).await.unwrap();
    refused(&payment.id, "cancel", "payment_not_cancelable", "The payment is completed.").await;
    refused(&payment.id, "hold", "payment_not_holdable", "The payment is completed.").await;
    refused(&payment.id, "resume", "payment_not_resumable", "The payment is completed.").await;

    let often = world.payment("often", &body()).await;
    for _ in 0..HOLDS_MAX {
        world.command(&often.id, "hold", 200).await;
        world.command(&often.id, "resume", 200).await;
    }
    let detail = format!("The payment is pending, and was held {HOLDS_MAX} times already.");
    refused(&often.id, "hold", "payment_not_holdable", &detail).await;
}

#[tokio::test]
async fn a_scheduled_payment_waits_again_after_it_was_held() {
    let world = World::start().await;
    let payment = world.payment("k", &body_with("/delay_seconds", json!(86_400))).await;
    assert_eq!(world.command(&payment.id, "hold", 200).await.body["status"], "on_hold");
    assert_eq!(world.command(&payment.id, "resume", 200).await.body["status"], "scheduled");
    assert_eq!(world.published(), ["payment.held", "payment.resumed"], "its moment is far");
    world.command(&payment.id, "hold", 200).await;
    world.clock.advance_ms(86_400_001);
    assert_eq!(world.command(&payment.id, "resume", 200).await.body["status"], "pending");
    assert_eq!(world.published().last(), Some(&"payment.initiated"));
}

#[tokio::test]
async fn of_a_cancel_and_a_claim_at_once_one_wins_and_both_see_it() {
    let world = World::start().await;
    for n in 0..20 {
        let payment = world.payment(&format!("k{n}"), &body()).await;
        let cancel = request("POST", &format!("/v1/payments/{}/cancel", payment.id)).header("x-api-key", KEY);
        let claim = saga::first_journal(None, world.clock.now());
        let (status, claimed) = tokio::join!(
            world.raw_status(cancel.body(Body::empty()).unwrap()),
            world.payments.claim_pending(&payment.id, &claim, world.clock.now()),
        );
        let stored = world.stored_payment(&payment.id).await;
        match claimed.unwrap().unwrap() {
            florin_store::payments::Written::Done(_) => {
                assert_eq!((status, stored.status, stored.is_cancel_requested()), (202, Status::Processing, true));
            }
            florin_store::payments::Written::Lost(winner) => {
                assert_eq!((status, stored.status, winner.status), (200, Status::Canceled, Status::Canceled));
            }
        }
    }
}

#[tokio::test]
async fn the_body_of_a_command_is_empty_and_the_payment_is_the_callers() {
    let world = World::start().await;
    let payment = world.payment("k", &body()).await;
    let path = format!("/v1/payments/{}/hold", payment.id);
    let send = async |key: &str, body: Option<&str>, content_type: Option<&str>, expected: u16| {
        let mut request = request("POST", &path).header("x-api-key", key);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let body = Body::from(body.unwrap_or_default().to_owned());
        world.send(request.body(body).unwrap(), expected).await.body["code"].as_str().map(str::to_owned)
    };
    let json = Some("application/json");
    assert_eq!(send("sk_test_wrong", None, None, 401).await.unwrap(), "api_key_invalid");
    assert_eq!(send(OTHER_KEY, None, None, 404).await.unwrap(), "payment_not_found");
    assert_eq!(send(KEY, Some("{}"), None, 415).await.unwrap(), "content_type_unsupported");
    assert_eq!(send(KEY, Some("[]"), json, 400).await.unwrap(), "json_invalid");
    assert_eq!(send(KEY, Some("{\"why\":1}"), json, 422).await.unwrap(), "field_unknown");
    assert_eq!(send(OTHER_KEY, Some("{\"why\":1}"), json, 422).await.unwrap(), "field_unknown");
    assert_eq!(world.stored_payment(&payment.id).await.status, Status::Pending);
    assert_eq!(send(KEY, Some("{}"), json, 200).await, None);
    let unknown: Value = world.command(&build::unknown_payment(), "cancel", 404).await.body;
    assert_eq!(unknown["code"], "payment_not_found");
}
