//! Receiving, waiting, deleting, hiding.

use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn the_oldest_comes_first_and_stays_hidden() {
    let (_folder, queues) = with_queues(&["a"]).await;
    for body in ["1", "2", "3"] {
        send(&queues, "a", body).await;
    }
    assert_eq!(bodies(&queues.receive("a", 2, Duration::ZERO, None).await.unwrap()), ["1", "2"]);
    assert_eq!(bodies(&receive(&queues, "a").await), ["3"]);
    assert!(receive(&queues, "a").await.is_empty());
    assert_eq!(queues.counts("a").unwrap(), Counts { visible: 0, in_flight: 3, delayed: 0 });
}

#[tokio::test]
async fn a_hidden_message_comes_back_on_time_to_a_waiter() {
    let (_folder, queues) = with_queues(&["a"]).await;
    send(&queues, "a", "x").await;
    let first = queues.receive("a", 1, Duration::ZERO, Some(Duration::from_millis(150))).await.unwrap();
    let begin = Instant::now();
    let second = queues.receive("a", 1, PATIENCE, None).await.unwrap();
    let took = begin.elapsed();
    assert_eq!(second[0].receive_count, 2);
    assert_eq!(second[0].first_received_at_ms, first[0].first_received_at_ms);
    assert_ne!(second[0].receipt_handle, first[0].receipt_handle);
    assert!(took >= Duration::from_millis(140) && took < Duration::from_millis(1_000), "{took:?}");
}

#[tokio::test]
async fn a_waiter_is_woken_by_a_send_a_delay_and_a_change_of_visibility() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let wait = |queues: &Queues| {
        let queues = queues.clone();
        tokio::spawn(async move { queues.receive("a", 10, PATIENCE, None).await.unwrap() })
    };
    let waiting = wait(&queues);
    tokio::time::sleep(Duration::from_millis(20)).await;
    send(&queues, "a", "sent").await;
    let received = timeout(Duration::from_secs(2), waiting).await.unwrap().unwrap();
    assert_eq!(bodies(&received), ["sent"]);

    let waiting = wait(&queues);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let input = json!({ "QueueUrl": url("a"), "ReceiptHandle": received[0].receipt_handle, "VisibilityTimeout": 0 });
    ok(&queues, "ChangeMessageVisibility", input).await;
    assert_eq!(bodies(&timeout(Duration::from_secs(2), waiting).await.unwrap().unwrap()), ["sent"]);

    let waiting = wait(&queues);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let message =
        NewMessage { body: "late".to_owned(), delay: Some(Duration::from_millis(100)), ..NewMessage::default() };
    queues.send_all(vec![("a".to_owned(), message)]).await.unwrap();
    assert_eq!(bodies(&timeout(Duration::from_secs(2), waiting).await.unwrap().unwrap()), ["late"]);
}

#[tokio::test]
async fn who_waits_longest_is_served_first() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..5 {
        let (waiter, served) = (queues.clone(), served.clone());
        tokio::spawn(async move {
            let received = waiter.receive("a", 1, PATIENCE, None).await.unwrap();
            served.send((number, received[0].body.clone())).unwrap();
        });
        // Each takes its place before the next.
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for number in 0..5 {
        send(&queues, "a", &number.to_string()).await;
        assert_eq!(timeout(PATIENCE, order.recv()).await.unwrap().unwrap(), (number, number.to_string()));
    }
}

#[tokio::test]
async fn a_newcomer_does_not_take_what_a_waiter_was_called_for() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let mut waiting = Box::pin(queues.receive("a", 1, PATIENCE, None));
    // It takes its place and is not polled again until the message is there.
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    send(&queues, "a", "x").await;
    assert!(receive(&queues, "a").await.is_empty());
    assert_eq!(bodies(&waiting.await.unwrap()), ["x"]);
}

#[tokio::test]
async fn a_waiter_that_is_dropped_takes_nothing_with_it() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let mut first = Box::pin(queues.receive("a", 1, PATIENCE, None));
    let mut second = Box::pin(queues.receive("a", 1, PATIENCE, None));
    assert!(futures::poll!(first.as_mut()).is_pending());
    assert!(futures::poll!(second.as_mut()).is_pending());
    send(&queues, "a", "x").await;
    // The first was called for the message; it goes without having come.
    drop(first);
    let received = timeout(Duration::from_secs(2), second).await.unwrap().unwrap();
    assert_eq!((received[0].body.as_str(), received[0].receive_count), ("x", 1));
}

#[tokio::test]
async fn a_wait_ends_without_a_message() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let begin = Instant::now();
    assert!(queues.receive("a", 1, Duration::from_millis(100), None).await.unwrap().is_empty());
    assert!(begin.elapsed() >= Duration::from_millis(100));
    // The queue's own wait counts when the call names none.
    let input = json!({ "QueueUrl": url("a"), "Attributes": { "ReceiveMessageWaitTimeSeconds": "1" } });
    ok(&queues, "SetQueueAttributes", input).await;
    let begin = Instant::now();
    assert_eq!(ok(&queues, "ReceiveMessage", json!({ "QueueUrl": url("a") })).await, json!({}));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let begin = Instant::now();
    ok(&queues, "ReceiveMessage", json!({ "QueueUrl": url("a"), "WaitTimeSeconds": 0 })).await;
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn parameters_of_a_receive_have_limits() {
    let (_folder, queues) = with_queues(&["a"]).await;
    for (name, value) in [
        ("MaxNumberOfMessages", json!(0)),
        ("MaxNumberOfMessages", json!(11)),
        ("WaitTimeSeconds", json!(21)),
        ("WaitTimeSeconds", json!(-1)),
        ("VisibilityTimeout", json!(43_201)),
        ("ReceiveRequestAttemptId", json!("x")),
    ] {
        let error = refused(&queues, "ReceiveMessage", json!({ "QueueUrl": url("a"), name: value })).await;
        assert_eq!(error.query_code.as_deref(), Some("InvalidParameterValue"), "{name}");
        assert!(error.message.contains(name), "{}", error.message);
    }
}

#[tokio::test]
async fn only_the_latest_handle_deletes() {
    let (_folder, queues) = with_queues(&["a", "b"]).await;
    send(&queues, "a", "x").await;
    let now = Some(Duration::ZERO);
    let old = queues.receive("a", 1, Duration::ZERO, now).await.unwrap()[0].receipt_handle.clone();
    let new = queues.receive("a", 1, Duration::ZERO, now).await.unwrap()[0].receipt_handle.clone();
    let delete = |name: &str, handle: &str| json!({ "QueueUrl": url(name), "ReceiptHandle": handle });

    // An old handle succeeds without effect, as documented.
    ok(&queues, "DeleteMessage", delete("a", &old)).await;
    assert_eq!(queues.counts("a").unwrap().visible, 1);
    assert_eq!(refusal(&queues, "DeleteMessage", delete("b", &new)).await, "ReceiptHandleIsInvalid");
    assert_eq!(refusal(&queues, "DeleteMessage", delete("a", "nonsense")).await, "ReceiptHandleIsInvalid");
    assert_eq!(refusal(&queues, "DeleteMessage", delete("a", "")).await, "MissingParameter");
    ok(&queues, "DeleteMessage", delete("a", &new)).await;
    assert_eq!(queues.counts("a").unwrap(), Counts::default());
    // And again.
    ok(&queues, "DeleteMessage", delete("a", &new)).await;
}

#[tokio::test]
async fn visibility_changes_only_in_flight() {
    let (_folder, queues) = with_queues(&["a"]).await;
    send(&queues, "a", "x").await;
    let handle = receive(&queues, "a").await[0].receipt_handle.clone();
    let queue = url("a");
    let change = |handle: &str, timeout: Value| {
        let fields = [("QueueUrl", json!(queue)), ("ReceiptHandle", json!(handle)), ("VisibilityTimeout", timeout)];
        Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
    };
    ok(&queues, "ChangeMessageVisibility", change(&handle, json!(43_000))).await;
    for (handle, seconds, code) in [
        (handle.as_str(), json!(43_201), "InvalidParameterValue"),
        (handle.as_str(), json!(-1), "InvalidParameterValue"),
        (handle.as_str(), Value::Null, "MissingParameter"),
        ("nonsense", json!(1), "ReceiptHandleIsInvalid"),
    ] {
        assert_eq!(refusal(&queues, "ChangeMessageVisibility", change(handle, seconds)).await, code);
    }
    ok(&queues, "ChangeMessageVisibility", change(&handle, json!(0))).await;
    let code = refusal(&queues, "ChangeMessageVisibility", change(&handle, json!(5))).await;
    assert_eq!(code, "AWS.SimpleQueueService.MessageNotInflight");
    let newer = receive(&queues, "a").await[0].receipt_handle.clone();
    assert_eq!(refusal(&queues, "ChangeMessageVisibility", change(&handle, json!(5))).await, "InvalidParameterValue");
    queues.delete("a", std::slice::from_ref(&newer)).await.unwrap();
    assert_eq!(refusal(&queues, "ChangeMessageVisibility", change(&newer, json!(5))).await, "InvalidParameterValue");
}

#[tokio::test]
async fn a_mapping_receives_more_than_ten() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let message = NewMessage { body: "x".to_owned(), ..NewMessage::default() };
    queues.send_all(vec![("a".to_owned(), message); 2_500]).await.unwrap();
    let received = queues.receive("a", 2_000, Duration::ZERO, None).await.unwrap();
    assert_eq!(received.len(), 2_000);
    let handles: Vec<String> = received.into_iter().map(|message| message.receipt_handle).collect();
    queues.delete("a", &handles).await.unwrap();
    assert_eq!(queues.counts("a").unwrap(), Counts { visible: 500, in_flight: 0, delayed: 0 });
}
