//! Batches: errors of the whole and of entries.

use super::*;

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().map(|entry| entry["Id"].as_str().unwrap()).collect()).unwrap_or_default()
}

#[tokio::test]
async fn a_batch_is_refused_as_a_whole_in_a_fixed_order() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let entry = |id: &str| json!({ "Id": id, "MessageBody": "x", "ReceiptHandle": "x", "VisibilityTimeout": 1 });
    let eleven: Vec<Value> = (0..11).map(|_| entry("!")).collect();
    for (entries, code) in [
        (json!([]), "EmptyBatchRequest"),
        (json!(eleven), "TooManyEntriesInBatchRequest"),
        (json!([entry("a b"), entry("a b")]), "InvalidBatchEntryId"),
        (json!([entry("")]), "InvalidBatchEntryId"),
        (json!([entry(&"x".repeat(81))]), "InvalidBatchEntryId"),
        (json!([entry("a"), entry("a")]), "BatchEntryIdsNotDistinct"),
    ] {
        for operation in ["SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"] {
            let error = refused(&queues, operation, json!({ "QueueUrl": url("a"), "Entries": entries })).await;
            assert_eq!(error.code, code);
            assert_eq!(error.query_code, Some(format!("AWS.SimpleQueueService.{code}")));
        }
    }
    let half = "x".repeat(600_000);
    let entries = json!([{ "Id": "1", "MessageBody": half }, { "Id": "2", "MessageBody": half }]);
    let error = refused(&queues, "SendMessageBatch", json!({ "QueueUrl": url("a"), "Entries": entries })).await;
    assert_eq!(error.code, "BatchRequestTooLong");
    assert_eq!(queues.counts("a").unwrap().visible, 0);
}

#[tokio::test]
async fn each_entry_has_its_own_result() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let text = json!({ "DataType": "String", "StringValue": "v" });
    let entries = json!([
        { "Id": "good", "MessageBody": "1", "MessageAttributes": { "n": text } },
        { "Id": "bad", "MessageBody": "\u{1}" },
        { "Id": "late", "MessageBody": "2", "DelaySeconds": 900 },
        { "Id": "wrong", "MessageBody": "3", "DelaySeconds": 901 },
    ]);
    let answer = ok(&queues, "SendMessageBatch", json!({ "QueueUrl": url("a"), "Entries": entries })).await;
    assert_eq!(ids(&answer["Successful"]), ["good", "late"]);
    assert_eq!(ids(&answer["Failed"]), ["bad", "wrong"]);
    assert_eq!(answer["Failed"][0]["Code"], "InvalidMessageContents");
    assert_eq!(answer["Failed"][1]["SenderFault"], true);
    assert!(answer["Successful"][0]["MD5OfMessageAttributes"].is_string());
    assert_eq!(queues.counts("a").unwrap(), Counts { visible: 1, in_flight: 0, delayed: 1 });

    let handle = receive(&queues, "a").await[0].receipt_handle.clone();
    let entries = json!([
        { "Id": "good", "ReceiptHandle": handle, "VisibilityTimeout": 100 },
        { "Id": "long", "ReceiptHandle": handle, "VisibilityTimeout": 43_201 },
        { "Id": "bad", "ReceiptHandle": "nonsense", "VisibilityTimeout": 1 },
        { "Id": "none", "ReceiptHandle": handle },
    ]);
    let answer = ok(&queues, "ChangeMessageVisibilityBatch", json!({ "QueueUrl": url("a"), "Entries": entries })).await;
    assert_eq!(ids(&answer["Successful"]), ["good"]);
    let codes: Vec<&str> = answer["Failed"].as_array().unwrap().iter().map(|f| f["Code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["InvalidParameterValue", "ReceiptHandleIsInvalid", "MissingParameter"]);

    let entries = json!([{ "Id": "bad", "ReceiptHandle": "nonsense" }, { "Id": "good", "ReceiptHandle": handle }]);
    let answer = ok(&queues, "DeleteMessageBatch", json!({ "QueueUrl": url("a"), "Entries": entries })).await;
    assert_eq!((ids(&answer["Successful"]), ids(&answer["Failed"])), (vec!["good"], vec!["bad"]));
    assert_eq!(queues.counts("a").unwrap().in_flight, 0);
}
