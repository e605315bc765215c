//! Topics in front of the queues that they deliver to in earnest.

use std::time::Duration;

use super::*;
use crate::sqs::{Queues, Received};

fn queue(name: &str) -> model::Queue {
    model::Queue {
        name: name.to_owned(),
        visibility_timeout: Duration::from_secs(30),
        retention: Duration::from_secs(3_600),
        delay: Duration::ZERO,
        receive_wait: Duration::ZERO,
        message_bytes_max: 256 * 1024,
        redrive: None,
        redrive_allow: model::RedriveAllow::All,
    }
}

fn subscription(queue: &str, raw: bool) -> model::Subscription {
    model::Subscription {
        topic_arn: place().arn("sns", "events"),
        queue_arn: place().arn("sqs", queue),
        raw,
        filter: None,
        filter_scope: model::FilterScope::Attributes,
        dead_letter_arn: Some(place().arn("sqs", "undelivered")),
    }
}

async fn received(queues: &Queues, queue: &str) -> Vec<Received> {
    queues.receive(queue, 10, Duration::ZERO, None).await.unwrap()
}

#[tokio::test]
async fn messages_arrive_and_those_that_no_queue_takes_are_dead_letters() {
    let folder = tempfile::tempdir().unwrap();
    let queues = Queues::open(&folder.path().join("queues.sqlite"), place()).unwrap();
    for name in ["raw", "wrapped", "undelivered"] {
        queues.declare(&queue(name)).await.unwrap();
    }
    let topics = Topics::open(&folder.path().join("topics.json"), place(), queues.clone()).unwrap();
    let topic = model::Topic { name: "events".to_owned(), arn: place().arn("sns", "events") };
    let subscriptions = [subscription("raw", true), subscription("wrapped", false), subscription("gone", true)];
    topics.declare(std::slice::from_ref(&topic), &subscriptions).unwrap();
    let publish = async |message: &str| {
        let fields = [
            ("Action", "Publish"),
            ("TopicArn", topic.arn.as_str()),
            ("Message", message),
            ("MessageAttributes.entry.1.Name", "kinds"),
            ("MessageAttributes.entry.1.Value.DataType", "String.Array"),
            ("MessageAttributes.entry.1.Value.StringValue", r#"["a"]"#),
        ];
        topics.call(&fields.map(|(name, value)| (name.to_owned(), value.to_owned()))).await.unwrap();
    };

    publish("hello").await;

    let raw = received(&queues, "raw").await;
    assert_eq!((raw.len(), raw[0].body.as_str()), (1, "hello"));
    assert_eq!(raw[0].attributes, [("kinds".to_owned(), text("String.Array", r#"["a"]"#))].into());
    assert!(received(&queues, "wrapped").await[0].body.contains(r#""Message": "hello""#));
    let undelivered = received(&queues, "undelivered").await;
    assert_eq!((undelivered.len(), undelivered[0].body.as_str()), (1, "hello"));
    assert_eq!(undelivered[0].attributes, raw[0].attributes);

    // Wrapped, it is larger than a queue takes: too large for the dead-letter queue, too.
    let large = "x".repeat(256 * 1024 - 100);
    publish(&large).await;

    assert_eq!(received(&queues, "raw").await[0].body.len(), large.len());
    assert!(received(&queues, "wrapped").await.is_empty());
    assert_eq!(received(&queues, "undelivered").await.len(), 1);
    assert_eq!(topics.dropped(), 1);
}
