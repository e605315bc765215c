//! The reasons of failures beside their messages.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a test stops at the first surprise")]

use florin_domain::time::Timestamp;
use florin_store::{
    StoreError,
    failures::{FAILURE_TTL_SECONDS, Failed, Failures, LastFailure},
};
use florin_testing::{build::START, dynamo::Dynamo};

const NOW: fn() -> Timestamp = || START;

fn failures(dynamo: &Dynamo) -> Failures {
    Failures::new(dynamo.client.clone(), "idempotency", "webhook", NOW)
}

fn failed(message_id: &str, reason: &str, receives: u32) -> Failed {
    Failed { message_id: message_id.to_owned(), reason: reason.to_owned(), receives }
}

#[tokio::test]
async fn the_last_reason_of_each_message_is_kept_until_its_message_is_gone() {
    let dynamo = Dynamo::start().await;
    failures(&dynamo).put(&[failed("a", "first", 1), failed("b", "other", 3)]).await.unwrap();
    failures(&dynamo).put(&[failed("a", "second", 2)]).await.unwrap();

    let found = failures(&dynamo).last(&["a", "b", "a", "unknown"]).await.unwrap();
    let last = |reason: &str, receives| LastFailure {
        consumer: "webhook".to_owned(),
        reason: reason.to_owned(),
        receives,
        at: START,
    };
    assert_eq!(found.len(), 2);
    assert_eq!((&found["a"], &found["b"]), (&last("second", 2), &last("other", 3)));
    let items = dynamo.client.scan().table_name("idempotency").send().await.unwrap().items.unwrap();
    for item in items {
        assert_eq!(item["ttl"].as_n().unwrap(), &(START.seconds() + FAILURE_TTL_SECONDS).to_string());
    }
}

#[tokio::test]
async fn a_batch_of_any_size_is_written_also_with_a_message_twice() {
    let dynamo = Dynamo::start().await;
    let mut many: Vec<Failed> = (0..60).map(|n| failed(&n.to_string(), "x", 1)).collect();
    many.push(failed("7", "x", 1));
    failures(&dynamo).put(&many).await.unwrap();
    failures(&dynamo).put(&[]).await.unwrap();
    let ids: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(failures(&dynamo).last(&ids).await.unwrap().len(), 60);
    assert!(failures(&dynamo).last(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_missing_table_is_told() {
    let dynamo = Dynamo::start().await;
    let failures = Failures::new(dynamo.client, "other", "webhook", NOW);
    assert!(matches!(failures.put(&[failed("a", "x", 1)]).await, Err(StoreError::Refused(_))));
}
