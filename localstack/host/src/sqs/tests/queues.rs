//! Queues come, change and go.

use super::*;

async fn attributes(queues: &Queues, name: &str) -> Value {
    let input = json!({ "QueueUrl": url(name), "AttributeNames": ["All"] });
    ok(queues, "GetQueueAttributes", input).await["Attributes"].clone()
}

#[tokio::test]
async fn the_same_queue_can_be_created_again_another_one_of_its_name_cannot() {
    let (_folder, queues) = with_queues(&[]).await;
    let input = json!({ "QueueName": "a", "Attributes": { "VisibilityTimeout": "7" }, "tags": { "k": "v" } });
    let created = ok(&queues, "CreateQueue", input.clone()).await;
    assert_eq!(created["QueueUrl"], url("a"));
    assert_eq!(ok(&queues, "CreateQueue", input).await, created);
    assert_eq!(ok(&queues, "CreateQueue", json!({ "QueueName": "a" })).await, created);
    let other = json!({ "QueueName": "a", "Attributes": { "VisibilityTimeout": "8" } });
    let error = refused(&queues, "CreateQueue", other).await;
    assert_eq!((error.code.as_str(), error.query_code.as_deref()), ("QueueNameExists", Some("QueueAlreadyExists")));
    assert!(error.message.contains("VisibilityTimeout"), "{}", error.message);
    assert_eq!(ok(&queues, "ListQueueTags", json!({ "QueueUrl": url("a") })).await["Tags"], json!({ "k": "v" }));
}

#[tokio::test]
async fn attributes_are_those_of_aws() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let all = attributes(&queues, "a").await;
    for (name, value) in [
        ("VisibilityTimeout", "30"),
        ("MessageRetentionPeriod", "345600"),
        ("DelaySeconds", "0"),
        ("ReceiveMessageWaitTimeSeconds", "0"),
        ("MaximumMessageSize", "1048576"),
        ("SqsManagedSseEnabled", "true"),
        ("ApproximateNumberOfMessages", "0"),
        ("ApproximateNumberOfMessagesNotVisible", "0"),
        ("ApproximateNumberOfMessagesDelayed", "0"),
        ("QueueArn", "arn:aws:sqs:us-east-1:000000000000:a"),
    ] {
        assert_eq!(all[name], value, "{name}");
    }
    assert_eq!(all.as_object().unwrap().len(), 12, "{all}");
    let one =
        ok(&queues, "GetQueueAttributes", json!({ "QueueUrl": url("a"), "AttributeNames": ["QueueArn", "Policy"] }));
    assert_eq!(one.await["Attributes"], json!({ "QueueArn": arn("a") }));
    assert_eq!(ok(&queues, "GetQueueAttributes", json!({ "QueueUrl": url("a") })).await, json!({}));
    let unknown = json!({ "QueueUrl": url("a"), "AttributeNames": ["Nonsense"] });
    assert_eq!(refusal(&queues, "GetQueueAttributes", unknown).await, "InvalidAttributeName");
}

#[tokio::test]
async fn attributes_out_of_their_limits_are_refused_and_nothing_changes() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let before = attributes(&queues, "a").await;
    let unsupported = "AWS.SimpleQueueService.UnsupportedOperation";
    for (name, value, code) in [
        ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
        ("VisibilityTimeout", "x", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "59", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "1209601", "InvalidAttributeValue"),
        ("DelaySeconds", "901", "InvalidAttributeValue"),
        ("ReceiveMessageWaitTimeSeconds", "21", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1023", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1048577", "InvalidAttributeValue"),
        ("SqsManagedSseEnabled", "maybe", "InvalidAttributeValue"),
        ("FifoQueue", "true", unsupported),
        ("Policy", "{}", unsupported),
        ("KmsMasterKeyId", "x", unsupported),
        ("QueueArn", "x", "InvalidAttributeName"),
        ("Nonsense", "x", "InvalidAttributeName"),
    ] {
        let input = json!({ "QueueUrl": url("a"), "Attributes": { "VisibilityTimeout": "9", name: value } });
        assert_eq!(refusal(&queues, "SetQueueAttributes", input).await, code, "{name}={value}");
        let input = json!({ "QueueName": "b", "Attributes": { name: value } });
        assert_eq!(refusal(&queues, "CreateQueue", input).await, code, "{name}={value}");
    }
    assert_eq!(attributes(&queues, "a").await, before);
    assert_eq!(queues.names(), ["a"]);
}

#[tokio::test]
async fn names_follow_the_rules() {
    let (_folder, queues) = with_queues(&[]).await;
    for name in ["a b", "a.b", &"x".repeat(81), "\u{e4}"] {
        assert_eq!(
            refusal(&queues, "CreateQueue", json!({ "QueueName": name })).await,
            "InvalidParameterValue",
            "{name}"
        );
    }
    let error = refused(&queues, "CreateQueue", json!({ "QueueName": "a.fifo" })).await;
    assert_eq!(error.code, "UnsupportedOperation");
    assert!(error.message.contains("a.fifo"));
    assert_eq!(refusal(&queues, "CreateQueue", json!({})).await, "MissingParameter");
}

#[tokio::test]
async fn lists_come_in_pages_and_by_prefix() {
    let (_folder, queues) = with_queues(&["a1", "a2", "a3", "b1"]).await;
    assert_eq!(ok(&queues, "ListQueues", json!({})).await["QueueUrls"].as_array().unwrap().len(), 4);
    let first = ok(&queues, "ListQueues", json!({ "QueueNamePrefix": "a", "MaxResults": 2 })).await;
    assert_eq!(first["QueueUrls"], json!([url("a1"), url("a2")]));
    let input = json!({ "QueueNamePrefix": "a", "MaxResults": 2, "NextToken": first["NextToken"] });
    assert_eq!(ok(&queues, "ListQueues", input).await, json!({ "QueueUrls": [url("a3")] }));
    assert_eq!(ok(&queues, "ListQueues", json!({ "QueueNamePrefix": "z" })).await, json!({}));
    let wrong = json!({ "MaxResults": 0 });
    assert_eq!(refusal(&queues, "ListQueues", wrong).await, "InvalidParameterValue");
}

#[tokio::test]
async fn a_queue_is_found_by_the_end_of_its_address() {
    let (_folder, queues) = with_queues(&["a"]).await;
    assert_eq!(ok(&queues, "GetQueueUrl", json!({ "QueueName": "a" })).await["QueueUrl"], url("a"));
    for address in ["https://sqs.us-east-1.amazonaws.com/123/a", "http://localhost:9/000000000000/a/", "a"] {
        ok(&queues, "SendMessage", json!({ "QueueUrl": address, "MessageBody": "x" })).await;
    }
    let absent = "AWS.SimpleQueueService.NonExistentQueue";
    let error = refused(&queues, "SendMessage", json!({ "QueueUrl": url("zz"), "MessageBody": "x" })).await;
    assert_eq!((error.code.as_str(), error.query_code.as_deref()), ("QueueDoesNotExist", Some(absent)));
    assert!(error.message.contains("zz"));
    assert_eq!(refusal(&queues, "GetQueueUrl", json!({ "QueueName": "zz" })).await, absent);
    let foreign = json!({ "QueueName": "a", "QueueOwnerAWSAccountId": "123456789012" });
    assert_eq!(refusal(&queues, "GetQueueUrl", foreign).await, absent);
    assert_eq!(refusal(&queues, "SendMessage", json!({ "MessageBody": "x" })).await, "MissingParameter");
}

#[tokio::test]
async fn every_call_about_an_absent_queue_says_so() {
    let (_folder, queues) = with_queues(&[]).await;
    let entries = json!([{ "Id": "1", "MessageBody": "x", "ReceiptHandle": "x", "VisibilityTimeout": 1 }]);
    let input = json!({
        "QueueUrl": url("zz"), "MessageBody": "x", "ReceiptHandle": "x", "VisibilityTimeout": 1, "Entries": entries,
        "Attributes": { "DelaySeconds": "1" }, "Tags": { "a": "b" }, "TagKeys": ["a"],
    });
    for operation in [
        "SendMessage",
        "SendMessageBatch",
        "ReceiveMessage",
        "DeleteMessage",
        "DeleteMessageBatch",
        "ChangeMessageVisibility",
        "ChangeMessageVisibilityBatch",
        "DeleteQueue",
        "PurgeQueue",
        "GetQueueAttributes",
        "SetQueueAttributes",
        "ListDeadLetterSourceQueues",
        "TagQueue",
        "UntagQueue",
        "ListQueueTags",
    ] {
        assert_eq!(refused(&queues, operation, input.clone()).await.code, "QueueDoesNotExist", "{operation}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_name() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let error = refused(&queues, "AddPermission", json!({ "QueueUrl": url("a") })).await;
    assert_eq!(error.code, "UnsupportedOperation");
    assert!(error.message.contains("AddPermission"));
    let error = refused(&queues, "Nonsense", json!({})).await;
    assert_eq!(error.code, "InvalidAction");
    assert!(error.message.contains("Nonsense"));
    assert_eq!(refused(&queues, "ListQueues", json!([])).await.code, "SerializationException");
}

#[tokio::test]
async fn a_deleted_queue_is_gone_with_its_messages_and_its_name_rests() {
    let (_folder, queues) = with_queues(&["a"]).await;
    send(&queues, "a", "x").await;
    let waiting = tokio::spawn({
        let queues = queues.clone();
        async move {
            receive(&queues, "a").await;
            queues.receive("a", 1, PATIENCE, None).await
        }
    });
    while queues.counts("a").unwrap().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    ok(&queues, "DeleteQueue", json!({ "QueueUrl": url("a") })).await;
    assert_eq!(waiting.await.unwrap().unwrap_err().code, "QueueDoesNotExist");
    assert_eq!(queues.names(), Vec::<String>::new());
    assert_eq!(refused(&queues, "CreateQueue", json!({ "QueueName": "a" })).await.code, "QueueDeletedRecently");
    // A deployment is not held up by it.
    queues.declare(&template_queue("a")).await.unwrap();
    assert_eq!(queues.counts("a").unwrap(), Counts::default());
}

#[tokio::test]
async fn a_purge_takes_everything_and_not_twice_in_a_minute() {
    let (_folder, queues) = with_queues(&["a", "b"]).await;
    send(&queues, "a", "1").await;
    let received = receive(&queues, "a").await;
    send(&queues, "a", "2").await;
    send(&queues, "b", "3").await;
    ok(&queues, "PurgeQueue", json!({ "QueueUrl": url("a") })).await;
    assert_eq!(queues.counts("a").unwrap(), Counts::default());
    assert_eq!(queues.counts("b").unwrap().visible, 1);
    queues.delete("a", &[received[0].receipt_handle.clone()]).await.unwrap();
    assert_eq!(refused(&queues, "PurgeQueue", json!({ "QueueUrl": url("a") })).await.code, "PurgeQueueInProgress");
}

#[tokio::test]
async fn tags_come_and_go() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let queue = url("a");
    ok(&queues, "TagQueue", json!({ "QueueUrl": queue, "Tags": { "a": "1", "b": "2" } })).await;
    ok(&queues, "TagQueue", json!({ "QueueUrl": queue, "Tags": { "b": "3" } })).await;
    ok(&queues, "UntagQueue", json!({ "QueueUrl": queue, "TagKeys": ["a", "absent"] })).await;
    assert_eq!(ok(&queues, "ListQueueTags", json!({ "QueueUrl": queue })).await, json!({ "Tags": { "b": "3" } }));
    let many: serde_json::Map<String, Value> = (0..51).map(|n| (n.to_string(), json!("x"))).collect();
    for tags in [json!(many), json!({ "x".repeat(129): "y" }), json!({ "": "y" }), json!({ "x": "y".repeat(257) })] {
        let input = json!({ "QueueUrl": queue, "Tags": tags });
        assert_eq!(refusal(&queues, "TagQueue", input).await, "InvalidParameterValue");
    }
}

pub(super) fn template_queue(name: &str) -> model::Queue {
    model::Queue {
        name: name.to_owned(),
        visibility_timeout: Duration::from_secs(30),
        retention: Duration::from_secs(345_600),
        delay: Duration::ZERO,
        receive_wait: Duration::ZERO,
        message_bytes_max: 1_048_576,
        redrive: None,
        redrive_allow: model::RedriveAllow::All,
    }
}

#[tokio::test]
async fn a_declared_queue_takes_its_settings_and_keeps_its_messages() {
    let (_folder, queues) = with_queues(&[]).await;
    let mut queue = template_queue("a");
    queues.declare(&queue).await.unwrap();
    send(&queues, "a", "x").await;
    queue.visibility_timeout = Duration::from_secs(5);
    // Its dead-letter queue comes later in the template.
    queue.redrive = Some(model::Redrive { dead_letter_arn: arn("dead"), receives_max: 3 });
    queues.declare(&queue).await.unwrap();
    let all = attributes(&queues, "a").await;
    assert_eq!(all["VisibilityTimeout"], "5");
    assert_eq!(all["ApproximateNumberOfMessages"], "1");

    for wrong in [
        model::Queue { visibility_timeout: Duration::MAX, ..queue.clone() },
        model::Queue { retention: Duration::from_secs(59), ..queue.clone() },
        model::Queue { delay: Duration::from_secs(901), ..queue.clone() },
        model::Queue { message_bytes_max: 1_048_577, ..queue.clone() },
    ] {
        assert_eq!(queues.declare(&wrong).await.unwrap_err().code, "InvalidAttributeValue");
    }

    let mut dead = template_queue("dead");
    dead.redrive_allow = model::RedriveAllow::Deny;
    queues.declare(&dead).await.unwrap();
    let error = queues.declare(&queue).await.unwrap_err();
    assert!(error.message.contains("RedriveAllowPolicy"), "{error}");
    dead.redrive_allow = model::RedriveAllow::ByQueue(vec![arn("a")]);
    queues.declare(&dead).await.unwrap();
    queues.declare(&queue).await.unwrap();
}
