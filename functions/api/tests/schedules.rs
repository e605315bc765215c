//! Payments that are processed later.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use common::{World, body_with};
use florin_domain::{payment::Status, time::Timestamp};
use florin_store::payments::{DUE_AFTER_MS, HANDOVER_MS};
use florin_testing::build::START;
use serde_json::{Value, json};

fn after(seconds: i64) -> Value {
    body_with("/delay_seconds", json!(seconds))
}

fn at(moment: Timestamp) -> Value {
    let mut body = body_with("/process_at", json!(moment));
    body.as_object_mut().unwrap().remove("delay_seconds");
    body
}

#[tokio::test]
async fn a_near_moment_is_announced_at_once_and_a_far_one_is_left_to_the_due_index() {
    let world = World::start().await;
    let near_seconds = (HANDOVER_MS + DUE_AFTER_MS) / 1_000;
    let near = world.payment("near", &after(near_seconds)).await;
    assert_eq!((near.status, near.process_at), (Status::Scheduled, Some(START.plus_ms(near_seconds * 1_000))));
    assert_eq!(world.published(), ["payment.initiated"]);

    let far = world.payment("far", &after(near_seconds + 1)).await;
    assert_eq!(world.published().len(), 1);
    assert_eq!(world.due(START.plus_ms(DUE_AFTER_MS)).await, Vec::<String>::new());
    assert_eq!(world.due(START.plus_ms(DUE_AFTER_MS + 1_000)).await, [far.id.to_string()]);

    let in_a_year = world.post("year", &after(366 * 86_400), 201).await;
    assert_eq!(in_a_year.body["status"], "scheduled");
    assert_eq!(in_a_year.body["process_at"], "2027-11-22T09:00:00.000Z");
}

#[tokio::test]
async fn a_moment_that_has_just_passed_means_at_once_and_one_out_of_range_is_refused() {
    let world = World::start().await;
    for (key, moment) in [("now", START), ("just", START.plus_ms(-60_000))] {
        let answer = world.post(key, &at(moment), 201).await;
        assert_eq!((&answer.body["status"], &answer.body["process_at"]), (&json!("pending"), &Value::Null));
    }
    let year_ms = 366 * 86_400_000;
    world.post("year", &at(START.plus_ms(year_ms)), 201).await;
    for moment in [START.plus_ms(-60_001), START.plus_ms(year_ms + 1)] {
        let answer = world.post("k", &at(moment), 422).await;
        assert_eq!(answer.errors(), [("/process_at", "process_at_out_of_range")]);
    }
    for wrong in [json!("tomorrow"), json!("2026-11-22"), json!(1_795_251_600)] {
        let mut body = at(START);
        body["process_at"] = wrong;
        assert_eq!(world.post("k", &body, 422).await.errors(), [("/process_at", "process_at_invalid")]);
    }
    assert_eq!(world.stored().await, 3);
}

#[tokio::test]
async fn a_replay_is_answered_as_the_first_time_even_after_its_moment_has_passed() {
    let world = World::start().await;
    let moment = START.plus_ms(3_600_000);
    let first = world.post("k", &at(moment), 201).await;
    assert_eq!(world.published(), Vec::<&str>::new());

    world.clock.advance_ms(3_600_000 - HANDOVER_MS);
    let near = world.post("k", &at(moment), 201).await;
    assert_eq!((near.header("idempotent-replayed"), &near.body), (Some("true"), &first.body));
    assert_eq!(world.published(), ["payment.initiated"]);

    world.clock.advance_ms(86_400_000);
    let late = world.post("k", &at(moment), 201).await;
    assert_eq!((late.header("idempotent-replayed"), &late.body), (Some("true"), &first.body));
    let other = world.post("k", &at(moment.plus_ms(1)), 422).await;
    assert_eq!(other.errors(), [("/process_at", "idempotency_key_reused")]);
    let sooner = world.post("k", &after(60), 422).await;
    assert_eq!(sooner.errors(), [("/delay_seconds", "idempotency_key_reused")]);
    assert_eq!(world.post("new", &at(moment), 422).await.code(), "process_at_out_of_range");
}

#[tokio::test]
async fn a_delay_is_replayed_from_the_moment_of_the_first_request() {
    let world = World::start().await;
    let first = world.post("k", &after(3_600), 201).await;
    world.clock.advance_ms(1_800_000);
    assert_eq!(world.post("k", &after(3_600), 201).await.body, first.body);
    assert_eq!(world.post("k", &after(1_800), 422).await.code(), "idempotency_key_reused");
    assert_eq!(world.stored().await, 1);
}
