//! What arrives in queues.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_message_arrives_in_every_queue_in_one_step() {
    let fixture = Fixture::new(&["a", "b"]);
    let topic = fixture.topic("events").await;
    fixture.subscribe(&topic, "a", &[("RawMessageDelivery", "true")]).await;
    fixture.subscribe(&topic, "b", &[("RawMessageDelivery", "true")]).await;

    fixture.publish(&topic, "hello").await;

    let (mut taken, steps) = fixture.queues.taken();
    taken.sort_by(|one, other| one.0.cmp(&other.0));
    let hello = NewMessage { body: "hello".to_owned(), ..NewMessage::default() };
    assert_eq!(taken, [("a".to_owned(), hello.clone()), ("b".to_owned(), hello)]);
    assert_eq!(steps, 1);
    assert_eq!(fixture.topics.dropped(), 0);
}

#[tokio::test]
async fn raw_delivery_keeps_attributes_and_the_envelope_holds_them() {
    let fixture = Fixture::new(&["raw", "wrapped"]);
    let topic = fixture.topic("events").await;
    fixture.subscribe(&topic, "raw", &[("RawMessageDelivery", "true")]).await;
    let wrapped = fixture.subscribe(&topic, "wrapped", &[]).await;

    let answer = fixture
        .ok(&[
            ("Action", "Publish"),
            ("TopicArn", &topic),
            ("Message", "hello"),
            ("Subject", "greeting"),
            ("MessageAttributes.entry.1.Name", "kind"),
            ("MessageAttributes.entry.1.Value.DataType", "String"),
            ("MessageAttributes.entry.1.Value.StringValue", "x"),
            ("MessageAttributes.entry.2.Name", "blob"),
            ("MessageAttributes.entry.2.Value.DataType", "Binary"),
            ("MessageAttributes.entry.2.Value.BinaryValue", "AgME"),
        ])
        .await;

    let (taken, _) = fixture.queues.taken();
    let message = |queue: &str| taken.iter().find(|(name, _)| name == queue).unwrap().1.clone();
    let blob = Attribute { data_type: "Binary".to_owned(), value: AttributeValue::Binary(vec![2, 3, 4]) };
    assert_eq!(message("raw").body, "hello");
    assert_eq!(message("raw").attributes, [("kind".to_owned(), text("String", "x")), ("blob".to_owned(), blob)].into());
    assert_eq!(message("wrapped").attributes, <_>::default());
    let envelope: Value = serde_json::from_str(&message("wrapped").body).unwrap();
    let timestamp = envelope["Timestamp"].as_str().unwrap();
    assert_eq!((timestamp.len(), &timestamp[10..11], &timestamp[23..]), (24, "T", "Z"));
    assert_eq!(
        envelope,
        json!({
            "Type": "Notification",
            "MessageId": text_of(&answer, "MessageId"),
            "TopicArn": topic,
            "Subject": "greeting",
            "Message": "hello",
            "Timestamp": timestamp,
            "SignatureVersion": "1",
            "Signature": "local-messages-are-not-signed",
            "SigningCertURL":
                "http://127.0.0.1:4566/SimpleNotificationService-local-messages-are-not-signed.pem",
            "UnsubscribeURL": format!("http://127.0.0.1:4566/?Action=Unsubscribe&SubscriptionArn={wrapped}"),
            "MessageAttributes": {
                "kind": {"Type": "String", "Value": "x"},
                "blob": {"Type": "Binary", "Value": "AgME"},
            },
        })
    );
}

#[tokio::test]
async fn filters_decide_by_attributes_and_by_body() {
    let fixture = Fixture::new(&["by-attribute", "by-body", "all"]);
    let topic = fixture.topic("events").await;
    let raw = ("RawMessageDelivery", "true");
    fixture.subscribe(&topic, "by-attribute", &[raw, ("FilterPolicy", r#"{"kind": ["x"]}"#)]).await;
    let body = [raw, ("FilterPolicyScope", "MessageBody"), ("FilterPolicy", r#"{"a": {"b": [1]}}"#)];
    fixture.subscribe(&topic, "by-body", &body).await;
    fixture.subscribe(&topic, "all", &[raw]).await;
    let publish = async |message: &str, kind: &str| {
        let fields = [
            ("Action", "Publish"),
            ("TargetArn", &topic),
            ("Message", message),
            ("MessageAttributes.member.1.Name", "kind"),
            ("MessageAttributes.member.1.Value.DataType", "String"),
            ("MessageAttributes.member.1.Value.StringValue", kind),
        ];
        fixture.ok(&fields).await;
        let mut queues: Vec<_> = fixture.queues.bodies().into_iter().map(|(queue, _)| queue).collect();
        queues.sort();
        queues
    };

    assert_eq!(publish(r#"{"a": {"b": 1}}"#, "x").await, ["all", "by-attribute", "by-body"]);
    assert_eq!(publish(r#"{"a": {"b": 2}}"#, "y").await, ["all"]);
    assert_eq!(publish("text", "x").await, ["all", "by-attribute"]);
}

#[tokio::test]
async fn message_structure_chooses_the_part_for_queues() {
    let fixture = Fixture::new(&["a"]);
    let topic = fixture.topic("events").await;
    fixture.subscribe(&topic, "a", &[("RawMessageDelivery", "true")]).await;
    let publish = |message| fixture.call_owned(&topic, message, &[("MessageStructure", "json")]);

    publish(r#"{"default": "d", "sqs": "s"}"#).await.unwrap();
    publish(r#"{"default": "d", "email": "e"}"#).await.unwrap();
    let no_default = publish(r#"{"sqs": "s"}"#).await.unwrap_err();
    let no_json = publish("{").await.unwrap_err();

    assert_eq!(fixture.queues.bodies(), [("a".to_owned(), "s".to_owned()), ("a".to_owned(), "d".to_owned())]);
    assert!(no_default.message.contains("No default entry"));
    assert!(no_json.message.contains("failed to parse"));
}

impl Fixture {
    async fn call_owned(&self, topic: &str, message: &str, more: &[(&str, &str)]) -> Result<String, ServiceError> {
        let mut fields = vec![("Action", "Publish"), ("TopicArn", topic), ("Message", message)];
        fields.extend(more);
        self.call(&fields).await
    }
}

#[tokio::test]
async fn a_queue_that_is_gone_leaves_its_message_to_the_dead_letter_queue() {
    let fixture = Fixture::new(&["there", "dead"]);
    let topic = fixture.topic("events").await;
    let redrive = json!({"deadLetterTargetArn": place().arn("sqs", "dead")}).to_string();
    let raw = ("RawMessageDelivery", "true");
    fixture.subscribe(&topic, "there", &[raw]).await;
    fixture.subscribe(&topic, "gone", &[raw, ("RedrivePolicy", &redrive)]).await;
    fixture.subscribe(&topic, "gone-too", &[raw]).await;

    fixture.publish(&topic, "hello").await;

    let expected = [("there", "hello"), ("dead", "hello")].map(|(queue, body)| (queue.to_owned(), body.to_owned()));
    assert_eq!(fixture.queues.bodies(), expected);
    assert_eq!(fixture.topics.dropped(), 1);
}

#[tokio::test]
async fn a_raw_message_with_eleven_attributes_is_not_delivered() {
    let fixture = Fixture::new(&["lost", "kept", "wrapped", "dead"]);
    let topic = fixture.topic("events").await;
    let redrive = json!({"deadLetterTargetArn": place().arn("sqs", "dead")}).to_string();
    let raw = ("RawMessageDelivery", "true");
    fixture.subscribe(&topic, "lost", &[raw]).await;
    fixture.subscribe(&topic, "kept", &[raw, ("RedrivePolicy", &redrive)]).await;
    fixture.subscribe(&topic, "wrapped", &[]).await;
    let publish = async |count: usize| {
        let names: Vec<_> = (1..=count).map(|n| format!("MessageAttributes.entry.{n}.")).collect();
        let keys: Vec<_> = names
            .iter()
            .flat_map(|name| ["Name", "Value.DataType", "Value.StringValue"].map(|key| format!("{name}{key}")))
            .collect();
        let values: Vec<_> = (1..=count).flat_map(|n| [format!("a{n}"), "String".into(), "v".into()]).collect();
        let more: Vec<_> = keys.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
        fixture.call_owned(&topic, "hello", &more).await.unwrap();
        let mut queues: Vec<_> = fixture.queues.bodies().into_iter().map(|(queue, _)| queue).collect();
        queues.sort();
        queues
    };

    assert_eq!(publish(10).await, ["kept", "lost", "wrapped"]);
    assert_eq!(publish(11).await, ["dead", "wrapped"]);
    assert_eq!(fixture.topics.dropped(), 1);
}

#[tokio::test]
async fn a_queue_that_refuses_a_message_does_not_keep_it_from_the_others() {
    let fixture = Fixture::new(&["raw", "wrapped"]);
    let topic = fixture.topic("events").await;
    fixture.subscribe(&topic, "raw", &[("RawMessageDelivery", "true")]).await;
    fixture.subscribe(&topic, "wrapped", &[]).await;
    // Each quote takes two bytes in the envelope, which is then longer than the queue takes.
    let message = "\"".repeat(200_000);

    fixture.publish(&topic, &message).await;

    assert_eq!(fixture.queues.bodies(), [("raw".to_owned(), message)]);
    assert_eq!(fixture.topics.dropped(), 1);
}

#[tokio::test]
async fn queues_that_cannot_work_make_publishing_fail() {
    let fixture = Fixture::new(&["a"]);
    let topic = fixture.topic("events").await;
    fixture.subscribe(&topic, "a", &[]).await;
    *fixture.queues.broken.lock().unwrap() = true;

    let error = fixture.call_owned(&topic, "hello", &[]).await.unwrap_err();

    assert_eq!((error.status.as_u16(), error.message.as_str()), (500, "the disk is full"));
    assert_eq!(fixture.topics.dropped(), 0);
}

#[tokio::test]
async fn a_batch_is_sent_in_one_step_and_tells_of_each_entry() {
    let fixture = Fixture::new(&["a", "b"]);
    let topic = fixture.topic("events").await;
    fixture.subscribe(&topic, "a", &[("RawMessageDelivery", "true")]).await;
    fixture.subscribe(&topic, "b", &[("RawMessageDelivery", "true")]).await;
    let entry = "PublishBatchRequestEntries.member";

    let answer = fixture
        .ok(&[
            ("Action", "PublishBatch"),
            ("TopicArn", &topic),
            (&format!("{entry}.1.Id"), "one"),
            (&format!("{entry}.1.Message"), "1"),
            (&format!("{entry}.2.Id"), "two"),
            (&format!("{entry}.2.Message"), ""),
            (&format!("{entry}.3.Id"), "three"),
            (&format!("{entry}.3.Message"), "3"),
            (&format!("{entry}.3.MessageAttributes.entry.1.Name"), "n"),
            (&format!("{entry}.3.MessageAttributes.entry.1.Value.DataType"), "Number"),
            (&format!("{entry}.3.MessageAttributes.entry.1.Value.StringValue"), "5"),
        ])
        .await;

    let (taken, steps) = fixture.queues.taken();
    assert_eq!(steps, 1);
    assert_eq!(taken.iter().map(|(_, message)| message.body.as_str()).collect::<String>(), "1133");
    assert_eq!(taken[3].1.attributes, [("n".to_owned(), text("Number", "5"))].into());
    assert!(answer.contains("<Failed><member><Id>two</Id><Code>InvalidParameter</Code>"), "{answer}");
    assert_eq!(answer.matches("<MessageId>").count(), 2);
}

#[tokio::test]
async fn bad_batches_are_refused_whole() {
    let fixture = Fixture::new(&[]);
    let topic = fixture.topic("events").await;
    let long = "x".repeat(200_000);
    let refused = async |ids: &[&str], message: &str| {
        let entries: Vec<_> = (1..=ids.len()).map(|n| format!("PublishBatchRequestEntries.member.{n}.")).collect();
        let keys: Vec<_> = entries.iter().flat_map(|entry| [format!("{entry}Id"), format!("{entry}Message")]).collect();
        let values = ids.iter().flat_map(|id| [*id, message]);
        let mut fields = vec![("Action", "PublishBatch"), ("TopicArn", topic.as_str())];
        fields.extend(keys.iter().map(String::as_str).zip(values));
        fixture.refused(&fields).await.0
    };

    assert_eq!(refused(&[], "m").await, "EmptyBatchRequest");
    assert_eq!(refused(&["a"; 11], "m").await, "TooManyEntriesInBatchRequest");
    assert_eq!(refused(&["a", "a"], "m").await, "BatchEntryIdsNotDistinct");
    assert_eq!(refused(&["a b"], "m").await, "InvalidBatchEntryId");
    assert_eq!(refused(&["a", "b"], &long).await, "BatchRequestTooLong");
}

#[tokio::test]
async fn bad_messages_are_refused_by_field() {
    let fixture = Fixture::new(&[]);
    let topic = fixture.topic("events").await;
    let attribute = |name: &'static str, data_type: &'static str, value: &'static str| {
        vec![
            ("MessageAttributes.entry.1.Name", name),
            ("MessageAttributes.entry.1.Value.DataType", data_type),
            ("MessageAttributes.entry.1.Value.StringValue", value),
        ]
    };
    let (just, long) = ("x".repeat(256 * 1024), "x".repeat(256 * 1024 + 1));
    let subject = "s".repeat(100);
    for (message, more, expected) in [
        ("", vec![], "Invalid parameter: Empty message"),
        (long.as_str(), vec![], "Invalid parameter: Message too long"),
        (just.as_str(), attribute("a", "String", "b"), "Invalid parameter: Message too long"),
        ("\u{1}", vec![], "Invalid parameter: Message Reason"),
        ("m", vec![("Subject", "a\nb")], "Invalid parameter: Subject"),
        ("m", vec![("Subject", "")], "Invalid parameter: Subject"),
        ("m", vec![("Subject", subject.as_str())], "Invalid parameter: Subject"),
        ("m", vec![("MessageStructure", "xml")], "Invalid parameter: MessageStructure"),
        ("m", vec![("MessageGroupId", "g")], "Invalid parameter: MessageGroupId"),
        ("m", vec![("PhoneNumber", "+491")], "Invalid parameter: PhoneNumber"),
        ("m", attribute("a", "", "b"), "The message attribute 'a' must contain non-empty message attribute type"),
        ("m", attribute("a", "String", ""), "The message attribute 'a' must contain non-empty message attribute value"),
        ("m", attribute("a", "Number", "x"), "Could not cast message attribute 'a' value to number."),
        ("m", attribute("a", "Bool", "x"), "The message attribute 'a' has an invalid message attribute type"),
        ("m", attribute("aws.a", "String", "x"), "The message attribute name 'aws.a'"),
        ("m", attribute("a..b", "String", "x"), "The message attribute name 'a..b'"),
    ] {
        let error = fixture.call_owned(&topic, message, &more).await.unwrap_err();
        assert!(error.message.starts_with(expected), "{error} instead of {expected}");
        assert_eq!(error.status.as_u16(), 400);
    }
    fixture.call_owned(&topic, &just, &[]).await.unwrap();
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_not_found() {
    let fixture = Fixture::new(&[]);
    let topic = place().arn("sns", "none");

    let error = fixture.call_owned(&topic, "m", &[]).await.unwrap_err();
    let malformed = fixture.call_owned("none", "m", &[]).await.unwrap_err();
    let missing = fixture.refused(&[("Action", "Publish"), ("Message", "m")]).await;

    assert_eq!((error.status.as_u16(), error.code.as_str()), (404, "NotFound"));
    assert_eq!(malformed.message, "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1");
    assert_eq!(missing.0, "InvalidParameter");
}
