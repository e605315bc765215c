//! The batch driver: one bad message never costs the others of its batch.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may stop at the first surprise"
)]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use florin_messaging::{
    Delivered, Outcome,
    batch::{each, whole},
};
use florin_testing::{build, fakes::RecordingVisibility};

/// A batch of `count` messages about different payments.
fn batch(count: usize) -> SqsEvent {
    build::batch((0..count).map(message))
}

fn message(place: usize) -> String {
    build::body(&build::ended(&build::completed(&payment(place), 100)))
}

fn payment(place: usize) -> florin_domain::payment::Payment {
    build::payment(&build::merchant("shop").id, &place.to_string())
}

/// Whether the message is about the payment of this place.
fn is(delivered: &Delivered, place: usize) -> bool {
    delivered.event.data.id == payment(place).id
}

fn failed(response: &SqsBatchResponse) -> Vec<&str> {
    response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
}

#[tokio::test]
async fn poison_fails_alone_and_is_shown_again_at_once() {
    for poison in
        ["", "{", "[]", "null", "{}", "\u{0}", &message(1).replace("\"1.0\"", "\"2.0\""), &"x".repeat(200_000)]
    {
        let visibility = RecordingVisibility::default();
        let batch = build::batch([message(0), poison.to_owned(), message(2)]);
        let handled = AtomicUsize::new(0);
        let response = each(batch, None, &visibility, |_| async {
            handled.fetch_add(1, Ordering::SeqCst);
            Outcome::Done
        });
        assert_eq!(failed(&response.await.unwrap()), ["m1"], "{poison:.20}");
        assert_eq!(handled.into_inner(), 2);
        assert_eq!(visibility.changes(), [("r1".to_owned(), 0)]);
    }
}

#[tokio::test]
async fn a_message_without_a_body_is_poison() {
    let visibility = RecordingVisibility::default();
    let mut batch = batch(2);
    batch.records[0].body = None;
    let response = each(batch, None, &visibility, |_| async { Outcome::Done }).await.unwrap();
    assert_eq!(failed(&response), ["m0"]);
}

#[tokio::test]
async fn a_panic_fails_its_record_alone() {
    let visibility = RecordingVisibility::default();
    let response = each(batch(3), None, &visibility, |delivered| async move {
        assert!(!is(&delivered, 1), "told to");
        Outcome::Done
    });
    assert_eq!(failed(&response.await.unwrap()), ["m1"]);
    assert_eq!(visibility.changes(), [], "it waits out the queue's time-out");
}

#[tokio::test]
async fn a_panic_before_the_first_await_fails_its_record_alone_too() {
    let visibility = RecordingVisibility::default();
    let response = each(batch(3), None, &visibility, |delivered| {
        assert!(!is(&delivered, 1), "told to");
        std::future::ready(Outcome::Done)
    });
    assert_eq!(failed(&response.await.unwrap()), ["m1"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_runs_out_of_time_fails_alone_and_leaves_time_to_report() {
    let visibility = RecordingVisibility::default();
    let started = tokio::time::Instant::now();
    let left = Duration::from_secs(30);
    let response = each(batch(3), Some(left), &visibility, |delivered| async move {
        if is(&delivered, 1) {
            std::future::pending::<()>().await;
        }
        Outcome::Done
    });
    assert_eq!(failed(&response.await.unwrap()), ["m1"]);
    assert_eq!(started.elapsed(), left - Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn no_deadline_is_no_limit() {
    // A runtime that sends no deadline, or one in the past, leaves nothing or zero here.
    for left in [None, Some(Duration::ZERO)] {
        let visibility = RecordingVisibility::default();
        let response = each(batch(1), left, &visibility, |_| async {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            Outcome::Done
        });
        assert_eq!(failed(&response.await.unwrap()), [""; 0], "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_handled_at_the_same_time() {
    let visibility = RecordingVisibility::default();
    let started = tokio::time::Instant::now();
    let response = each(batch(10), None, &visibility, |_| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Outcome::Done
    });
    assert_eq!(failed(&response.await.unwrap()), [""; 0]);
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_is_rounded_up_to_seconds() {
    for (wait, seconds) in [
        (Duration::ZERO, 0),
        (Duration::from_nanos(1), 1),
        (Duration::from_millis(1), 1),
        (Duration::from_millis(1_000), 1),
        (Duration::from_micros(1_000_001), 2),
        (Duration::from_millis(5_200), 6),
        (Duration::MAX, i32::MAX),
    ] {
        let visibility = RecordingVisibility::default();
        let response = each(batch(1), None, &visibility, |_| async { Outcome::RetryAfter(wait) }).await.unwrap();
        assert_eq!(failed(&response), ["m0"]);
        assert_eq!(visibility.changes(), [("r0".to_owned(), seconds)], "{wait:?}");
    }
}

#[tokio::test]
async fn retry_leaves_the_visibility_alone() {
    let visibility = RecordingVisibility::default();
    let response = each(batch(1), None, &visibility, |_| async { Outcome::Retry }).await.unwrap();
    assert_eq!(failed(&response), ["m0"]);
    assert_eq!(visibility.changes(), []);
}

#[tokio::test]
async fn a_failed_record_without_a_name_fails_the_batch() {
    for (id, receipt) in [(None, Some("r")), (Some(""), Some("r")), (Some("m"), None), (Some("m"), Some(""))] {
        let visibility = RecordingVisibility::default();
        let mut batch = batch(2);
        batch.records[1].message_id = id.map(str::to_owned);
        batch.records[1].receipt_handle = receipt.map(str::to_owned);
        let done = each(batch.clone(), None, &visibility, |_| async { Outcome::Done }).await;
        assert_eq!(failed(&done.unwrap()), [""; 0], "a record that is done needs no name");
        // An answer with an empty name would be taken for the failure of all, one without it for success.
        assert!(each(batch, None, &visibility, |_| async { Outcome::Retry }).await.is_err(), "{id:?} {receipt:?}");
    }
}

#[tokio::test]
async fn the_answer_is_what_lambda_reads() {
    let visibility = RecordingVisibility::default();
    let response = each(batch(2), None, &visibility, |delivered| async move {
        if is(&delivered, 1) { Outcome::Retry } else { Outcome::Done }
    });
    let json = serde_json::to_string(&response.await.unwrap()).unwrap();
    assert_eq!(json, r#"{"batchItemFailures":[{"itemIdentifier":"m1"}]}"#);
    let none = each(batch(2), None, &visibility, |_| async { Outcome::Done }).await.unwrap();
    assert_eq!(serde_json::to_string(&none).unwrap(), r#"{"batchItemFailures":[]}"#);
}

#[tokio::test]
async fn an_empty_batch_is_answered() {
    let visibility = RecordingVisibility::default();
    assert_eq!(failed(&each(batch(0), None, &visibility, |_| async { Outcome::Retry }).await.unwrap()), [""; 0]);
    assert_eq!(failed(&whole(batch(0), None, &visibility, |_| async { Outcome::Retry }).await.unwrap()), [""; 0]);
}

#[tokio::test]
async fn receives_are_counted() {
    let visibility = RecordingVisibility::default();
    let mut batch = batch(2);
    batch.records[0].attributes.insert("ApproximateReceiveCount".to_owned(), "4".to_owned());
    batch.records[1].attributes.clear();
    let response = each(batch, None, &visibility, |delivered| async move {
        assert_eq!(delivered.receives, if is(&delivered, 0) { 4 } else { 1 });
        Outcome::Done
    });
    assert_eq!(failed(&response.await.unwrap()), [""; 0]);
}

#[tokio::test]
async fn a_whole_batch_has_one_outcome_but_for_its_poison() {
    for (outcome, failures, changes) in [
        (Outcome::Done, vec!["m1"], vec![("r1".to_owned(), 0)]),
        (Outcome::Retry, vec!["m0", "m1", "m2"], vec![("r1".to_owned(), 0)]),
        (
            Outcome::RetryAfter(Duration::from_secs(7)),
            vec!["m0", "m1", "m2"],
            vec![("r0".to_owned(), 7), ("r1".to_owned(), 0), ("r2".to_owned(), 7)],
        ),
    ] {
        let visibility = RecordingVisibility::default();
        let batch = build::batch([message(0), "poison".to_owned(), message(2)]);
        let response = whole(batch, None, &visibility, |delivered| {
            assert_eq!(delivered.len(), 2);
            std::future::ready(outcome)
        });
        assert_eq!(failed(&response.await.unwrap()), failures);
        assert_eq!(visibility.changes(), changes);
    }
}

#[tokio::test]
async fn a_whole_batch_of_poison_is_not_handled() {
    let visibility = RecordingVisibility::default();
    let batch = build::batch(["poison".to_owned(), "poison".to_owned()]);
    let response = whole(batch, None, &visibility, |_| async { panic!("there is nothing to handle") });
    assert_eq!(failed(&response.await.unwrap()), ["m0", "m1"]);
}

#[tokio::test(start_paused = true)]
async fn a_whole_batch_comes_again_after_a_panic_and_after_a_time_out() {
    let visibility = RecordingVisibility::default();
    let panicked = whole(batch(2), None, &visibility, |_| async { panic!("told to") }).await.unwrap();
    assert_eq!(failed(&panicked), ["m0", "m1"]);
    let left = Some(Duration::from_secs(10));
    let late = whole(batch(2), left, &visibility, |_| std::future::pending()).await.unwrap();
    assert_eq!(failed(&late), ["m0", "m1"]);
    assert_eq!(visibility.changes(), []);
}
