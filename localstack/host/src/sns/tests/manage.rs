//! Topics and subscriptions as they are made, told, kept and ended.

use serde_json::json;

use super::*;

#[tokio::test]
async fn what_was_answered_survives_a_killed_process() {
    let fixture = Fixture::new(&["a"]);
    let topic = fixture.topic("events").await;
    let subscription = fixture.subscribe(&topic, "a", &[]).await;
    let set = [
        ("Action", "SetSubscriptionAttributes"),
        ("SubscriptionArn", subscription.as_str()),
        ("AttributeName", "RawMessageDelivery"),
        ("AttributeValue", "true"),
    ];
    fixture.ok(&set).await;
    fixture.ok(&[("Action", "TagResource"), ("ResourceArn", &topic), ("Tags.member.1.Key", "k")]).await;

    let fixture = fixture.killed();
    fixture.publish(&topic, "hello").await;

    assert_eq!(fixture.queues.bodies(), [("a".to_owned(), "hello".to_owned())]);
    let tags = fixture.ok(&[("Action", "ListTagsForResource"), ("ResourceArn", &topic)]).await;
    assert!(tags.contains("<member><Key>k</Key><Value></Value></member>"), "{tags}");
}

fn declared(queue: &str, filter: Option<serde_json::Value>) -> model::Subscription {
    model::Subscription {
        topic_arn: place().arn("sns", "declared"),
        queue_arn: place().arn("sqs", queue),
        raw: true,
        filter,
        filter_scope: model::FilterScope::Attributes,
        dead_letter_arn: None,
    }
}

#[tokio::test]
async fn a_template_replaces_what_an_earlier_one_declared() {
    let fixture = Fixture::new(&["a", "b", "by-call"]);
    let topic = model::Topic { name: "declared".to_owned(), arn: place().arn("sns", "declared") };
    let topics = [topic.clone()];
    let of_calls = fixture.topic("by-call").await;
    fixture.topics.declare(&topics, &[declared("a", None), declared("b", None)]).unwrap();
    fixture.subscribe(&topic.arn, "by-call", &[("RawMessageDelivery", "true")]).await;
    let before = fixture.ok(&[("Action", "ListSubscriptions")]).await;

    let fixture = fixture.killed();
    fixture.topics.declare(&topics, &[declared("b", Some(json!({"k": [{"exists": false}]})))]).unwrap();
    fixture.publish(&topic.arn, "hello").await;

    let mut queues: Vec<_> = fixture.queues.bodies().into_iter().map(|(queue, _)| queue).collect();
    queues.sort();
    assert_eq!(queues, ["b", "by-call"]);
    // A subscription that stays keeps its ARN.
    let after = fixture.ok(&[("Action", "ListSubscriptionsByTopic"), ("TopicArn", &topic.arn)]).await;
    for arn in after.split("<SubscriptionArn>").skip(1).map(|rest| rest.split_once('<').unwrap().0) {
        assert!(before.contains(arn), "{arn} is new");
    }

    fixture.topics.declare(&[], &[]).unwrap();
    let left = fixture.ok(&[("Action", "ListTopics")]).await;
    assert!(left.contains(&of_calls) && !left.contains(&topic.arn), "{left}");
    assert!(!fixture.ok(&[("Action", "ListSubscriptions")]).await.contains("<member>"));
}

#[tokio::test]
async fn a_bad_declaration_changes_nothing() {
    let fixture = Fixture::new(&["a"]);
    let topics = [model::Topic { name: "declared".to_owned(), arn: place().arn("sns", "declared") }];
    for (topics, subscriptions, code) in [
        (&topics[..], vec![declared("a", Some(json!({"k": "v"})))], "InvalidParameter"),
        (&topics[..], vec![declared("a", None), declared("a", None)], "InvalidParameter"),
        (&[][..], vec![declared("a", None)], "NotFound"),
    ] {
        let error = fixture.topics.declare(topics, &subscriptions).unwrap_err();
        assert_eq!(error.code, code);
    }
    assert!(!fixture.ok(&[("Action", "ListTopics")]).await.contains("<member>"));
}

#[tokio::test]
async fn making_the_same_again_is_no_error_but_something_else_is() {
    let fixture = Fixture::new(&["a"]);
    let topic = fixture.topic("events").await;
    let subscription = fixture.subscribe(&topic, "a", &[("RawMessageDelivery", "true")]).await;

    assert_eq!(fixture.topic("events").await, topic);
    assert_eq!(fixture.subscribe(&topic, "a", &[("RawMessageDelivery", "TRUE")]).await, subscription);
    let queue = place().arn("sqs", "a");
    let again = [("Action", "Subscribe"), ("TopicArn", &topic), ("Protocol", "sqs"), ("Endpoint", &queue)];
    let (code, message) = fixture.refused(&again).await;
    assert_eq!(code, "InvalidParameter");
    assert!(message.contains("already exists with different attributes"), "{message}");
    let again = [
        ("Action", "CreateTopic"),
        ("Name", "events"),
        ("Attributes.entry.1.key", "DisplayName"),
        ("Attributes.entry.1.value", "Other"),
    ];
    assert!(fixture.refused(&again).await.1.contains("Topic already exists with different attributes"));
}

#[tokio::test]
async fn what_ends_takes_nothing_any_more() {
    let fixture = Fixture::new(&["a", "b"]);
    let topic = fixture.topic("events").await;
    let subscription = fixture.subscribe(&topic, "a", &[]).await;
    fixture.subscribe(&topic, "b", &[("RawMessageDelivery", "true")]).await;

    for _ in 0..2 {
        fixture.ok(&[("Action", "Unsubscribe"), ("SubscriptionArn", &subscription)]).await;
    }
    fixture.publish(&topic, "hello").await;
    assert_eq!(fixture.queues.bodies(), [("b".to_owned(), "hello".to_owned())]);

    for _ in 0..2 {
        fixture.ok(&[("Action", "DeleteTopic"), ("TopicArn", &topic)]).await;
    }
    assert!(!fixture.ok(&[("Action", "ListSubscriptions")]).await.contains("<member>"));
    let gone = fixture.refused(&[("Action", "GetTopicAttributes"), ("TopicArn", &topic)]).await;
    assert_eq!(gone, ("NotFound".to_owned(), "Topic does not exist".to_owned()));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let fixture = Fixture::new(&[]);
    for number in 0..150 {
        fixture.topic(&format!("topic-{number}")).await;
    }

    let first = fixture.ok(&[("Action", "ListTopics")]).await;
    let token = text_of(&first, "NextToken");
    let second = fixture.ok(&[("Action", "ListTopics"), ("NextToken", &token)]).await;

    assert_eq!((first.matches("<member>").count(), second.matches("<member>").count()), (100, 50));
    assert!(!second.contains("NextToken"));
}

#[tokio::test]
async fn bad_requests_are_refused_by_name() {
    let fixture = Fixture::new(&[]);
    let topic = fixture.topic("events").await;
    let queue = place().arn("sqs", "a");
    let subscription = fixture.subscribe(&topic, "a", &[]).await;
    let subscribe = |protocol: &'static str, endpoint: &'static str| {
        vec![("Action", "Subscribe"), ("TopicArn", topic.as_str()), ("Protocol", protocol), ("Endpoint", endpoint)]
    };
    let attribute = |name: &'static str, value: &'static str| {
        let mut fields = subscribe("sqs", "");
        fields.retain(|(key, _)| *key != "Endpoint");
        fields.extend([
            ("Endpoint", queue.as_str()),
            ("Attributes.entry.1.key", name),
            ("Attributes.entry.1.value", value),
        ]);
        fields
    };
    let set = |name: &'static str, value: &'static str| {
        vec![
            ("Action", "SetSubscriptionAttributes"),
            ("SubscriptionArn", subscription.as_str()),
            ("AttributeName", name),
            ("AttributeValue", value),
        ]
    };
    let (bad, reason) = ("InvalidParameter", "Attributes Reason: ");
    for (fields, code, part) in [
        (vec![], "MissingAction", "Action"),
        (vec![("Action", "SetSMSAttributes")], "InvalidAction", "SetSMSAttributes"),
        (vec![("Action", "CreateTopic"), ("Name", "a.fifo")], bad, "FIFO"),
        (vec![("Action", "CreateTopic"), ("Name", "a b")], bad, "a b"),
        (vec![("Action", "CreateTopic")], bad, "Topic Name"),
        (
            vec![("Action", "CreateTopic"), ("Name", "x"), ("Attributes.entry.1.key", "FifoTopic")],
            bad,
            "FifoTopic is not supported",
        ),
        (subscribe("sms", "+49"), bad, "sms is not supported"),
        (subscribe("pigeon", "x"), bad, "does not support this protocol string: pigeon"),
        (subscribe("sqs", "http://127.0.0.1/q"), bad, "SQS endpoint ARN"),
        (subscribe("sqs", "arn:aws:sqs:eu-central-1:000000000000:a.fifo"), bad, "FIFO SQS Queues"),
        (attribute("RawMessageDelivery", "yes"), bad, "Attributes Reason: RawMessageDelivery: Invalid value [yes]"),
        (attribute("FilterPolicy", "{"), bad, "Attributes Reason: FilterPolicy: failed to parse JSON."),
        (attribute("FilterPolicy", r#"{"a": {"b": [1]}}"#), bad, "does not support nested filter policy"),
        (attribute("FilterPolicyScope", "Both"), bad, "FilterPolicyScope: Invalid value [Both]"),
        (attribute("RedrivePolicy", r#"{"deadLetterTargetArn": "x"}"#), bad, "deadLetterTargetArn is an invalid arn"),
        (attribute("ReplayPolicy", "{}"), bad, reason),
        (set("FilterPolicy", r#"{"a": "b"}"#), bad, r#"Invalid parameter: FilterPolicy: "a" must be an object"#),
        (set("DeliveryPolicy", "{}"), bad, "DeliveryPolicy is not supported"),
        (vec![("Action", "GetSubscriptionAttributes"), ("SubscriptionArn", &topic)], "NotFound", "Subscription"),
        (
            vec![("Action", "ListTagsForResource"), ("ResourceArn", "arn:aws:sns:eu-central-1:000000000000:none")],
            "ResourceNotFound",
            "Resource",
        ),
        (vec![("Action", "ListTopics"), ("NextToken", "?")], bad, "NextToken"),
    ] {
        let error = fixture.refused(&fields).await;
        assert_eq!(error.0, code, "{fields:?}");
        assert!(error.1.contains(part), "{error:?} has no {part}");
    }
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("topics.json");
    std::fs::write(&path, "{").unwrap();

    let error = Topics::with_outbox(&path, place(), Box::new(FakeQueues::default())).unwrap_err();

    assert!(format!("{error:#}").contains("topics.json is damaged"), "{error:#}");
}
