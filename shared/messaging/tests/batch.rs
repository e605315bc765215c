//! The batch driver: one bad message never costs the others of its batch.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may stop at the first surprise"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use florin_messaging::{
    Delivered, Failed, FailureLog, Later, Outcome, Queue,
    batch::{REQUEUE_AFTER_RECEIVES, each, whole},
};
use florin_testing::{
    build,
    fakes::{RecordingFailures, RecordingVisibility, queue},
};
use serde_json::json;

/// A queue in memory, and what was done with it.
struct Given {
    visibility: Arc<RecordingVisibility>,
    failures: Arc<RecordingFailures>,
    queue: Queue,
}

impl Given {
    fn changes(&self) -> Vec<(String, i32)> {
        self.visibility.changes()
    }

    /// Why messages failed, by message id.
    fn reasons(&self) -> Vec<(String, String)> {
        self.failures.reasons()
    }
}

fn given() -> Given {
    let (visibility, failures) = (Arc::default(), Arc::default());
    Given { queue: queue(&visibility, &failures), visibility, failures }
}

fn retry() -> Outcome {
    Outcome::Retry("told to".to_owned())
}

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
    delivered.event.data.id() == payment(place).id.as_str()
}

fn failed(response: &SqsBatchResponse) -> Vec<&str> {
    response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
}

#[tokio::test]
async fn poison_fails_alone_and_is_shown_again_at_once() {
    for poison in
        ["", "{", "[]", "null", "{}", "\u{0}", &message(1).replace("\"1.0\"", "\"2.0\""), &"x".repeat(200_000)]
    {
        let given = given();
        let batch = build::batch([message(0), poison.to_owned(), message(2)]);
        let handled = AtomicUsize::new(0);
        let response = each(batch, None, &given.queue, |_| async {
            handled.fetch_add(1, Ordering::SeqCst);
            Outcome::Done
        });
        assert_eq!(failed(&response.await.unwrap()), ["m1"], "{poison:.20}");
        assert_eq!(handled.into_inner(), 2);
        assert_eq!(given.changes(), [("r1".to_owned(), 0)]);
        let [(message, reason)] = given.reasons().try_into().unwrap();
        assert!(message == "m1" && (reason.contains("not an event") || reason.contains("longer than")), "{reason}");
    }
}

#[tokio::test]
async fn a_message_without_a_body_is_poison() {
    let given = given();
    let mut batch = batch(2);
    batch.records[0].body = None;
    let response = each(batch, None, &given.queue, |_| async { Outcome::Done }).await.unwrap();
    assert_eq!(failed(&response), ["m0"]);
}

#[tokio::test]
async fn a_panic_fails_its_record_alone() {
    let given = given();
    let response = each(batch(3), None, &given.queue, |delivered| async move {
        assert!(!is(&delivered, 1), "told to");
        Outcome::Done
    });
    assert_eq!(failed(&response.await.unwrap()), ["m1"]);
    assert_eq!(given.changes(), [], "it waits out the queue's time-out");
    assert_eq!(given.reasons(), [("m1".to_owned(), "its handler panicked: told to".to_owned())]);
}

#[tokio::test]
async fn a_panic_before_the_first_await_fails_its_record_alone_too() {
    let given = given();
    let response = each(batch(3), None, &given.queue, |delivered| {
        assert!(!is(&delivered, 1), "told to");
        std::future::ready(Outcome::Done)
    });
    assert_eq!(failed(&response.await.unwrap()), ["m1"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_runs_out_of_time_fails_alone_and_leaves_time_to_report() {
    let given = given();
    let started = tokio::time::Instant::now();
    let left = Duration::from_secs(30);
    let response = each(batch(3), Some(left), &given.queue, |delivered| async move {
        if is(&delivered, 1) {
            std::future::pending::<()>().await;
        }
        Outcome::Done
    });
    assert_eq!(failed(&response.await.unwrap()), ["m1"]);
    assert_eq!(started.elapsed(), left - Duration::from_secs(1));
    assert_eq!(given.reasons(), [("m1".to_owned(), "not handled within the function's time".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn no_deadline_is_no_limit() {
    // A runtime that sends no deadline, or one in the past, leaves nothing or zero here.
    for left in [None, Some(Duration::ZERO)] {
        let given = given();
        let response = each(batch(1), left, &given.queue, |_| async {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            Outcome::Done
        });
        assert_eq!(failed(&response.await.unwrap()), [""; 0], "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_handled_at_the_same_time() {
    let given = given();
    let started = tokio::time::Instant::now();
    let response = each(batch(10), None, &given.queue, |_| async {
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
        let given = given();
        let response = each(batch(1), None, &given.queue, |_| async { Outcome::RetryAfter(wait) }).await.unwrap();
        assert_eq!(failed(&response), ["m0"]);
        assert_eq!(given.changes(), [("r0".to_owned(), seconds)], "{wait:?}");
    }
}

#[tokio::test]
async fn retry_leaves_the_visibility_alone() {
    let given = given();
    let response = each(batch(1), None, &given.queue, |_| async { retry() }).await.unwrap();
    assert_eq!(failed(&response), ["m0"]);
    assert_eq!(given.changes(), []);
    assert_eq!(given.reasons(), [("m0".to_owned(), "told to".to_owned())]);
}

#[tokio::test]
async fn a_failed_record_without_a_name_fails_the_batch() {
    for (id, receipt) in [(None, Some("r")), (Some(""), Some("r")), (Some("m"), None), (Some("m"), Some(""))] {
        let given = given();
        let mut batch = batch(2);
        batch.records[1].message_id = id.map(str::to_owned);
        batch.records[1].receipt_handle = receipt.map(str::to_owned);
        let done = each(batch.clone(), None, &given.queue, |_| async { Outcome::Done }).await;
        assert_eq!(failed(&done.unwrap()), [""; 0], "a record that is done needs no name");
        // An answer with an empty name would be taken for the failure of all, one without it for success.
        assert!(each(batch, None, &given.queue, |_| async { retry() }).await.is_err(), "{id:?} {receipt:?}");
    }
}

#[tokio::test]
async fn the_answer_is_what_lambda_reads() {
    let given = given();
    let response = each(batch(2), None, &given.queue, |delivered| async move {
        if is(&delivered, 1) { retry() } else { Outcome::Done }
    });
    let json = serde_json::to_string(&response.await.unwrap()).unwrap();
    assert_eq!(json, r#"{"batchItemFailures":[{"itemIdentifier":"m1"}]}"#);
    let none = each(batch(2), None, &given.queue, |_| async { Outcome::Done }).await.unwrap();
    assert_eq!(serde_json::to_string(&none).unwrap(), r#"{"batchItemFailures":[]}"#);
}

#[tokio::test]
async fn an_empty_batch_is_answered() {
    let given = given();
    assert_eq!(failed(&each(batch(0), None, &given.queue, |_| async { retry() }).await.unwrap()), [""; 0]);
    assert_eq!(failed(&whole(batch(0), None, &given.queue, |_| async { retry() }).await.unwrap()), [""; 0]);
}

#[tokio::test]
async fn receives_are_counted() {
    let given = given();
    let mut batch = batch(2);
    batch.records[0].attributes.insert("ApproximateReceiveCount".to_owned(), "4".to_owned());
    batch.records[1].attributes.clear();
    let response = each(batch, None, &given.queue, |delivered| async move {
        assert_eq!(delivered.receives, if is(&delivered, 0) { 4 } else { 1 });
        Outcome::Done
    });
    assert_eq!(failed(&response.await.unwrap()), [""; 0]);
}

#[tokio::test]
async fn a_whole_batch_has_one_outcome_but_for_its_poison() {
    for (outcome, failures, changes) in [
        (Outcome::Done, vec!["m1"], vec![("r1".to_owned(), 0)]),
        (retry(), vec!["m0", "m1", "m2"], vec![("r1".to_owned(), 0)]),
        (
            Outcome::RetryAfter(Duration::from_secs(7)),
            vec!["m0", "m1", "m2"],
            vec![("r0".to_owned(), 7), ("r1".to_owned(), 0), ("r2".to_owned(), 7)],
        ),
    ] {
        let given = given();
        let batch = build::batch([message(0), "poison".to_owned(), message(2)]);
        let response = whole(batch, None, &given.queue, |delivered| {
            assert_eq!(delivered.len(), 2);
            std::future::ready(outcome)
        });
        assert_eq!(failed(&response.await.unwrap()), failures);
        assert_eq!(given.changes(), changes);
    }
}

#[tokio::test]
async fn a_whole_batch_of_poison_is_not_handled() {
    let given = given();
    let batch = build::batch(["poison".to_owned(), "poison".to_owned()]);
    let response = whole(batch, None, &given.queue, |_| async { panic!("there is nothing to handle") });
    assert_eq!(failed(&response.await.unwrap()), ["m0", "m1"]);
}

#[tokio::test(start_paused = true)]
async fn a_whole_batch_comes_again_after_a_panic_and_after_a_time_out() {
    let given = given();
    let panicked = whole(batch(2), None, &given.queue, |_| async { panic!("told to") }).await.unwrap();
    assert_eq!(failed(&panicked), ["m0", "m1"]);
    let left = Some(Duration::from_secs(10));
    let late = whole(batch(2), left, &given.queue, |_| std::future::pending()).await.unwrap();
    assert_eq!(failed(&late), ["m0", "m1"]);
    assert_eq!(given.changes(), []);
}

/// A batch of one message that has been received so often.
fn received(receives: u32) -> SqsEvent {
    let mut batch = batch(1);
    batch.records[0].attributes.insert("ApproximateReceiveCount".to_owned(), receives.to_string());
    batch
}

fn with_attributes(mut batch: SqsEvent) -> SqsEvent {
    let attributes = json!({
        "type": { "stringValue": "payment.initiated", "dataType": "String" },
        "subject": { "stringValue": "pay_1", "dataType": "String" },
        "raw": { "binaryValue": "AAEC", "dataType": "Binary" },
    });
    batch.records[0].message_attributes = serde_json::from_value(attributes).unwrap();
    batch
}

#[tokio::test]
async fn a_requeued_message_is_copied_with_its_strings_and_then_deleted() {
    for (wait, seconds) in
        [(Duration::ZERO, 0), (Duration::from_millis(1_001), 2), (Duration::from_secs(900), 900), (Duration::MAX, 900)]
    {
        let given = given();
        let batch = with_attributes(batch(2));
        let response = each(batch, None, &given.queue, |delivered| async move {
            if is(&delivered, 0) { Outcome::Requeue(wait) } else { Outcome::Done }
        });
        assert_eq!(failed(&response.await.unwrap()), [""; 0]);
        let attributes = [("type", "payment.initiated"), ("subject", "pay_1")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(given.visibility.copies(), [Later { body: message(0), attributes, seconds }], "{wait:?}");
        assert_eq!((given.changes(), given.reasons()), (vec![], vec![]), "waiting is no failure");
    }
}

#[tokio::test]
async fn a_message_whose_copy_cannot_be_sent_stays_and_waits_itself() {
    let given = given();
    given.visibility.refuse_copies(true);
    let response = each(batch(2), None, &given.queue, |_| async { Outcome::Requeue(Duration::from_secs(7)) });
    assert_eq!(failed(&response.await.unwrap()), ["m0", "m1"]);
    assert_eq!(given.changes(), [("r0".to_owned(), 7), ("r1".to_owned(), 7)]);
    assert!(given.reasons()[0].1.contains("could not be sent"), "{:?}", given.reasons());
}

#[tokio::test]
async fn a_message_with_few_receives_left_waits_as_a_copy_if_the_wait_is_short_enough() {
    let last = REQUEUE_AFTER_RECEIVES;
    for (receives, wait_s, copied) in
        [(last - 1, 60, false), (last, 60, true), (last, 900, true), (last, 901, false), (last + 5, 0, true)]
    {
        let given = given();
        let wait = Duration::from_secs(wait_s);
        let response = each(received(receives), None, &given.queue, |_| async { Outcome::RetryAfter(wait) });
        let failures = failed(&response.await.unwrap()).len();
        let outcome = (failures, given.visibility.copies().len(), given.changes().len());
        assert_eq!(outcome, if copied { (0, 1, 0) } else { (1, 0, 1) }, "{receives} receives, {wait_s} s");
    }
}

#[tokio::test]
async fn what_failed_comes_again_and_is_never_copied() {
    let given = given();
    let response = each(received(50), None, &given.queue, |_| async { retry() });
    assert_eq!(failed(&response.await.unwrap()), ["m0"]);
    assert_eq!(given.visibility.copies(), []);
}

#[tokio::test]
async fn a_reason_shows_no_secret() {
    let given = given();
    let reason = "refused 4242 4242 4242 4242 with sk_test_abcdefghjkmnpqrstvwxyz";
    let response = each(batch(1), None, &given.queue, |_| async { Outcome::Retry(reason.to_owned()) });
    assert_eq!(failed(&response.await.unwrap()), ["m0"]);
    assert_eq!(given.reasons()[0].1, "refused #### #### #### #### with [long word]");
}

/// Never answers.
struct Hangs;

#[async_trait]
impl FailureLog for Hangs {
    async fn record(&self, _failures: Vec<Failed>) {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_of_failures_that_hangs_does_not_cost_the_batch() {
    let given = given();
    let queue = Queue { failures: Arc::new(Hangs), ..given.queue };
    let started = tokio::time::Instant::now();
    let response = each(batch(2), None, &queue, |delivered| async move {
        if is(&delivered, 1) { Outcome::Poison } else { Outcome::Done }
    });
    assert_eq!(failed(&response.await.unwrap()), ["m1"]);
    assert_eq!(given.visibility.changes(), [("r1".to_owned(), 0)]);
    assert!(started.elapsed() < Duration::from_secs(1), "the answer comes before the function's time ends");
}
