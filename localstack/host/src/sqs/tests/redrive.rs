//! Dead letters.

use super::*;

#[tokio::test]
async fn the_receive_after_the_last_moves_the_message() {
    let (_folder, queues) = with_dead_letters(2).await;
    let id = send(&queues, "source", "x").await;
    for count in 1..=2 {
        assert_eq!(receive(&queues, "source").await[0].receive_count, count);
    }
    let old = receive_sent_at(&queues).await;
    assert!(receive(&queues, "source").await.is_empty());
    assert_eq!(queues.counts("source").unwrap(), Counts::default());

    let dead = receive_json(&queues, "dead").await;
    assert_eq!(dead["MessageId"], id);
    assert_eq!(dead["Attributes"]["DeadLetterQueueSourceArn"], arn("source"));
    // "The number of times a message has been received across all queues but not deleted".
    assert_eq!(dead["Attributes"]["ApproximateReceiveCount"], "3");
    assert!(dead["Attributes"]["SentTimestamp"].as_str().unwrap().parse::<u64>().unwrap() <= old);
}

/// Now, in milliseconds; the message was sent before.
async fn receive_sent_at(queues: &Queues) -> u64 {
    queues.flush().await;
    now_ms()
}

#[tokio::test]
async fn a_waiter_at_the_dead_letter_queue_is_woken() {
    let (_folder, queues) = with_dead_letters(1).await;
    let waiting = tokio::spawn({
        let queues = queues.clone();
        async move { queues.receive("dead", 1, PATIENCE, None).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    send(&queues, "source", "x").await;
    receive(&queues, "source").await;
    receive(&queues, "source").await;
    assert_eq!(bodies(&waiting.await.unwrap()), ["x"]);
}

#[tokio::test]
async fn dead_letters_do_not_hold_up_the_living() {
    let (_folder, queues) = with_dead_letters(1).await;
    for body in ["1", "2", "3"] {
        send(&queues, "source", body).await;
    }
    receive(&queues, "source").await;
    send(&queues, "source", "4").await;
    // One receive buries three and finds the fourth.
    assert_eq!(bodies(&queues.receive("source", 1, Duration::ZERO, None).await.unwrap()), ["4"]);
    assert_eq!(queues.counts("dead").unwrap().visible, 3);
}

#[tokio::test]
async fn a_dead_letter_queue_with_one_of_its_own_counts_from_the_beginning() {
    let (_folder, queues) = with_dead_letters(2).await;
    ok(&queues, "CreateQueue", json!({ "QueueName": "deader" })).await;
    let policy = json!({ "deadLetterTargetArn": arn("deader"), "maxReceiveCount": 2 }).to_string();
    let attributes = json!({ "RedrivePolicy": policy, "VisibilityTimeout": "0" });
    ok(&queues, "SetQueueAttributes", json!({ "QueueUrl": url("dead"), "Attributes": attributes })).await;
    send(&queues, "source", "x").await;
    let mut counts = Vec::new();
    for name in ["source", "source", "source", "dead", "dead", "dead", "deader"] {
        counts.push(receive(&queues, name).await.first().map(|message| message.receive_count));
    }
    assert_eq!(counts, [Some(1), Some(2), None, Some(3), Some(4), None, Some(5)]);
}

#[tokio::test]
async fn without_its_dead_letter_queue_a_queue_keeps_its_messages() {
    let (_folder, queues) = with_dead_letters(1).await;
    send(&queues, "source", "x").await;
    ok(&queues, "DeleteQueue", json!({ "QueueUrl": url("dead") })).await;
    for count in 1..=3 {
        assert_eq!(receive(&queues, "source").await[0].receive_count, count);
    }
}

#[tokio::test]
async fn redrive_policies_are_checked() {
    let (_folder, queues) = with_dead_letters(1).await;
    let policy =
        |arn: String, count: Value| json!({ "deadLetterTargetArn": arn, "maxReceiveCount": count }).to_string();
    for value in [
        "x".to_owned(),
        "{}".to_owned(),
        json!({ "deadLetterTargetArn": arn("dead") }).to_string(),
        policy(arn("dead"), json!(0)),
        policy(arn("dead"), json!(1_001)),
        policy(arn("absent"), json!(1)),
        policy(arn("source"), json!(1)),
        policy("arn:aws:sqs:eu-west-1:000000000000:dead".to_owned(), json!(1)),
    ] {
        let input = json!({ "QueueUrl": url("source"), "Attributes": { "RedrivePolicy": value } });
        let error = refused(&queues, "SetQueueAttributes", input).await;
        assert_eq!(error.query_code.as_deref(), Some("InvalidParameterValue"), "{value}");
        assert!(error.message.contains("RedrivePolicy"), "{}", error.message);
    }
    let set = |value: String| json!({ "QueueUrl": url("source"), "Attributes": { "RedrivePolicy": value } });
    // AWS takes the number as text too.
    ok(&queues, "SetQueueAttributes", set(policy(arn("dead"), json!("5")))).await;
    let sources = ok(&queues, "ListDeadLetterSourceQueues", json!({ "QueueUrl": url("dead") })).await;
    assert_eq!(sources, json!({ "queueUrls": [url("source")] }));
    ok(&queues, "SetQueueAttributes", set(String::new())).await;
    let sources = ok(&queues, "ListDeadLetterSourceQueues", json!({ "QueueUrl": url("dead") })).await;
    assert_eq!(sources, json!({ "queueUrls": [] }));
}

#[tokio::test]
async fn a_dead_letter_queue_chooses_its_sources() {
    let (_folder, queues) = with_queues(&["dead", "source"]).await;
    let allow =
        |value: Value| json!({ "QueueUrl": url("dead"), "Attributes": { "RedriveAllowPolicy": value.to_string() } });
    let policy = json!({ "deadLetterTargetArn": arn("dead"), "maxReceiveCount": 1 }).to_string();
    let use_it = json!({ "QueueUrl": url("source"), "Attributes": { "RedrivePolicy": policy } });
    for (value, is_allowed) in [
        (json!({ "redrivePermission": "denyAll" }), false),
        (json!({ "redrivePermission": "byQueue", "sourceQueueArns": [arn("other")] }), false),
        (json!({ "redrivePermission": "byQueue", "sourceQueueArns": [arn("other"), arn("source")] }), true),
        (json!({ "redrivePermission": "allowAll" }), true),
    ] {
        ok(&queues, "SetQueueAttributes", allow(value.clone())).await;
        assert_eq!(queues.call("SetQueueAttributes", use_it.clone()).await.is_ok(), is_allowed, "{value}");
    }
    let eleven: Vec<String> = (0..11).map(|n| arn(&n.to_string())).collect();
    for value in [
        json!({}),
        json!({ "redrivePermission": "sometimes" }),
        json!({ "redrivePermission": "byQueue" }),
        json!({ "redrivePermission": "byQueue", "sourceQueueArns": [] }),
        json!({ "redrivePermission": "byQueue", "sourceQueueArns": eleven }),
        json!({ "redrivePermission": "allowAll", "sourceQueueArns": [arn("source")] }),
    ] {
        let error = refused(&queues, "SetQueueAttributes", allow(value)).await;
        assert!(error.message.contains("RedriveAllowPolicy"), "{}", error.message);
    }
}
