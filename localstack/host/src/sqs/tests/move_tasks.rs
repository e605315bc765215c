//! Message move tasks.

use super::*;

/// Dead letters in `dead`, from `source`.
async fn bury(queues: &Queues, count: usize) {
    for number in 0..count {
        send(queues, "source", &number.to_string()).await;
    }
    let mut left = count;
    while left > 0 {
        left -= receive(queues, "source").await.len();
    }
    receive(queues, "source").await;
    let input = json!({ "QueueUrl": url("source"), "Attributes": { "VisibilityTimeout": "30" } });
    ok(queues, "SetQueueAttributes", input).await;
}

async fn latest(queues: &Queues) -> Value {
    ok(queues, "ListMessageMoveTasks", json!({ "SourceArn": arn("dead") })).await["Results"][0].clone()
}

async fn finished(queues: &Queues) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let task = latest(queues).await;
        if task["Status"] != "RUNNING" {
            return task;
        }
        assert!(Instant::now() < deadline, "{task}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn dead_letters_go_back_as_new_messages() {
    let (_folder, queues) = with_dead_letters(1).await;
    bury(&queues, 250).await;
    assert_eq!(queues.counts("dead").unwrap().visible, 250);
    ok(&queues, "StartMessageMoveTask", json!({ "SourceArn": arn("dead") })).await;
    let task = finished(&queues).await;
    assert_eq!(task["Status"], "COMPLETED", "{task}");
    assert_eq!(task["ApproximateNumberOfMessagesMoved"], 250);
    assert_eq!(task["ApproximateNumberOfMessagesToMove"], 250);
    assert_eq!(task["SourceArn"], arn("dead"));
    assert!(task.get("TaskHandle").is_none() && task.get("DestinationArn").is_none());
    assert_eq!(queues.counts("dead").unwrap(), Counts::default());
    let back = receive_json(&queues, "source").await;
    assert_eq!(back["Body"], "0");
    assert_eq!(back["Attributes"]["ApproximateReceiveCount"], "1");
}

#[tokio::test]
async fn a_destination_can_be_named() {
    let (_folder, queues) = with_dead_letters(1).await;
    ok(&queues, "CreateQueue", json!({ "QueueName": "elsewhere" })).await;
    bury(&queues, 3).await;
    let input = json!({ "SourceArn": arn("dead"), "DestinationArn": arn("elsewhere") });
    ok(&queues, "StartMessageMoveTask", input).await;
    let task = finished(&queues).await;
    assert_eq!((&task["Status"], &task["DestinationArn"]), (&json!("COMPLETED"), &json!(arn("elsewhere"))));
    assert_eq!(queues.counts("elsewhere").unwrap().visible, 3);
}

#[tokio::test]
async fn a_rate_is_kept_and_a_cancelled_task_stops() {
    let (_folder, queues) = with_dead_letters(1).await;
    bury(&queues, 50).await;
    let input = json!({ "SourceArn": arn("dead"), "MaxNumberOfMessagesPerSecond": 20 });
    let handle = ok(&queues, "StartMessageMoveTask", input.clone()).await["TaskHandle"].clone();
    let again = refused(&queues, "StartMessageMoveTask", input).await;
    assert_eq!(again.code, "UnsupportedOperation");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let task = latest(&queues).await;
    assert_eq!((&task["Status"], &task["TaskHandle"]), (&json!("RUNNING"), &handle));
    let answer = ok(&queues, "CancelMessageMoveTask", json!({ "TaskHandle": handle })).await;
    let moved = answer["ApproximateNumberOfMessagesMoved"].as_u64().unwrap();
    assert!((1..40).contains(&moved), "{moved}");
    assert_eq!(latest(&queues).await["Status"], "CANCELLED");
    assert_eq!(queues.counts("dead").unwrap().visible, 50 - moved);
    assert_eq!(
        refused(&queues, "CancelMessageMoveTask", json!({ "TaskHandle": handle })).await.code,
        "UnsupportedOperation"
    );
}

#[tokio::test]
async fn a_running_task_goes_on_after_a_restart() {
    let (folder, queues) = with_dead_letters(1).await;
    bury(&queues, 40).await;
    let input = json!({ "SourceArn": arn("dead"), "MaxNumberOfMessagesPerSecond": 40 });
    ok(&queues, "StartMessageMoveTask", input).await;
    drop(queues);
    let queues = open(folder.path());
    let task = finished(&queues).await;
    assert_eq!((&task["Status"], &task["ApproximateNumberOfMessagesMoved"]), (&json!("COMPLETED"), &json!(40)));
    assert_eq!(queues.counts("source").unwrap().visible, 40);
    assert_eq!(queues.counts("dead").unwrap(), Counts::default());
}

#[tokio::test]
async fn a_message_without_a_source_fails_the_task() {
    let (_folder, queues) = with_dead_letters(1).await;
    send(&queues, "dead", "sent here directly").await;
    ok(&queues, "StartMessageMoveTask", json!({ "SourceArn": arn("dead") })).await;
    let task = finished(&queues).await;
    assert_eq!((&task["Status"], &task["FailureReason"]), (&json!("FAILED"), &json!("CouldNotDetermineMessageSource")));
    assert_eq!(queues.counts("dead").unwrap().visible, 1);
}

#[tokio::test]
async fn tasks_are_refused_by_rule_and_remembered_up_to_ten() {
    let (_folder, queues) = with_dead_letters(1).await;
    for (input, code) in [
        (json!({}), "MissingParameter"),
        (json!({ "SourceArn": arn("absent") }), "ResourceNotFoundException"),
        (json!({ "SourceArn": arn("source") }), "InvalidParameterValue"),
        (json!({ "SourceArn": arn("dead"), "DestinationArn": arn("absent") }), "ResourceNotFoundException"),
        (json!({ "SourceArn": arn("dead"), "DestinationArn": arn("dead") }), "InvalidParameterValue"),
        (json!({ "SourceArn": arn("dead"), "MaxNumberOfMessagesPerSecond": 501 }), "InvalidParameterValue"),
    ] {
        assert_eq!(refusal(&queues, "StartMessageMoveTask", input.clone()).await, code, "{input}");
    }
    assert_eq!(
        refusal(&queues, "CancelMessageMoveTask", json!({ "TaskHandle": "x" })).await,
        "ResourceNotFoundException"
    );
    for _ in 0..12 {
        ok(&queues, "StartMessageMoveTask", json!({ "SourceArn": arn("dead") })).await;
        finished(&queues).await;
    }
    let list = |max: u64| json!({ "SourceArn": arn("dead"), "MaxResults": max });
    assert_eq!(ok(&queues, "ListMessageMoveTasks", list(10)).await["Results"].as_array().unwrap().len(), 10);
    assert_eq!(ok(&queues, "ListMessageMoveTasks", list(2)).await["Results"].as_array().unwrap().len(), 2);
    assert_eq!(refusal(&queues, "ListMessageMoveTasks", list(11)).await, "InvalidParameterValue");
}
