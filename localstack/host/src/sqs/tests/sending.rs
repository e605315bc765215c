//! What may be sent.

use super::*;

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let attributes = json!({
        "kind": { "DataType": "String", "StringValue": "payment" },
        "count": { "DataType": "Number.int", "StringValue": "-12.5e3" },
        "blob": { "DataType": "Binary.png", "BinaryValue": "AAEC" },
    });
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793";
    let input = json!({
        "QueueUrl": url("a"),
        "MessageBody": "h\u{e4}llo",
        "MessageAttributes": attributes,
        "MessageSystemAttributes": { "AWSTraceHeader": { "DataType": "String", "StringValue": trace } },
    });
    let sent = ok(&queues, "SendMessage", input).await;

    let got = receive_json(&queues, "a").await;

    assert_eq!(got["Body"], "h\u{e4}llo");
    assert_eq!(got["MessageId"], sent["MessageId"]);
    assert_eq!(got["MD5OfBody"], sent["MD5OfMessageBody"]);
    assert_eq!(got["MessageAttributes"], attributes);
    assert_eq!(got["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    assert_eq!(got["Attributes"]["AWSTraceHeader"], trace);
    assert_eq!(got["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(got["Attributes"]["SenderId"], model::ACCOUNT_ID);
    assert!(sent["MD5OfMessageSystemAttributes"].is_string());
}

#[tokio::test]
async fn digests_are_those_of_aws() {
    // The second is a value that botocore's and the Java SDK's own tests check against the service.
    let (_folder, queues) = with_queues(&["a"]).await;
    let timestamp = json!({ "timestamp": { "DataType": "Number", "StringValue": "1493147359900" } });
    let input =
        json!({ "QueueUrl": url("a"), "MessageBody": "This is a test message", "MessageAttributes": timestamp });
    let sent = ok(&queues, "SendMessage", input).await;
    assert_eq!(sent["MD5OfMessageBody"], "fafb00f5732ab283681e124bf8747ed1");
    assert_eq!(sent["MD5OfMessageAttributes"], "235c5c510d26fb653d073faed50ae77c");
}

#[tokio::test]
async fn a_receiver_gets_the_attributes_it_names() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let text = json!({ "DataType": "String", "StringValue": "x" });
    let attributes = json!({ "bar": text, "bar.one": text, "bar.two": text, "barn.x": text });
    for (names, expected) in [
        (json!([]), vec![]),
        (json!(["bar"]), vec!["bar"]),
        (json!(["bar.*"]), vec!["bar.one", "bar.two"]),
        (json!([".*"]), vec!["bar", "bar.one", "bar.two", "barn.x"]),
        (json!(["All"]), vec!["bar", "bar.one", "bar.two", "barn.x"]),
        (json!(["absent"]), vec![]),
    ] {
        let input = json!({ "QueueUrl": url("a"), "MessageBody": "x", "MessageAttributes": attributes });
        ok(&queues, "SendMessage", input).await;
        let input =
            json!({ "QueueUrl": url("a"), "MessageAttributeNames": names, "AttributeNames": ["SentTimestamp"] });
        let got = ok(&queues, "ReceiveMessage", input).await["Messages"][0].clone();
        let got_names: Vec<&str> = got["MessageAttributes"]
            .as_object()
            .map(|map| map.keys().map(String::as_str).collect())
            .unwrap_or_default();
        assert_eq!(got_names, expected, "{names}");
        assert_eq!(got["Attributes"].as_object().unwrap().len(), 1);
        assert_eq!(got.get("MD5OfMessageAttributes").is_some(), !expected.is_empty());
    }
    let input = json!({ "QueueUrl": url("a"), "AttributeNames": ["Nonsense"] });
    assert_eq!(refusal(&queues, "ReceiveMessage", input).await, "InvalidAttributeName");
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_not_sent() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let attribute = |name: &str, kind: &str, value: &str| {
        let attribute = json!({ "DataType": kind, "StringValue": value });
        json!({ "MessageBody": "x", "MessageAttributes": { name: attribute } })
    };
    let other = json!({ "DataType": "String", "StringValue": "x" });
    let eleven: serde_json::Map<String, Value> =
        (0..11).map(|n| (format!("n{n}"), json!({ "DataType": "String", "StringValue": "x" }))).collect();
    for (input, code) in [
        (json!({}), "MissingParameter"),
        (json!({ "MessageBody": "" }), "MissingParameter"),
        (json!({ "MessageBody": 5 }), "SerializationException"),
        (json!({ "MessageBody": "a\u{1}" }), "InvalidMessageContents"),
        (json!({ "MessageBody": "a\u{ffff}" }), "InvalidMessageContents"),
        (json!({ "MessageBody": "x", "DelaySeconds": 901 }), "InvalidParameterValue"),
        (json!({ "MessageBody": "x", "DelaySeconds": -1 }), "InvalidParameterValue"),
        (json!({ "MessageBody": "x", "MessageDeduplicationId": "x" }), "InvalidParameterValue"),
        (json!({ "MessageBody": "x", "MessageGroupId": "x" }), "AWS.SimpleQueueService.UnsupportedOperation"),
        (json!({ "MessageBody": "x".repeat(1_048_577) }), "InvalidParameterValue"),
        (json!({ "MessageBody": "x", "MessageAttributes": eleven }), "InvalidParameterValue"),
        (attribute("AWS.x", "String", "x"), "InvalidParameterValue"),
        (attribute("amazon.x", "String", "x"), "InvalidParameterValue"),
        (attribute(".x", "String", "x"), "InvalidParameterValue"),
        (attribute("x.", "String", "x"), "InvalidParameterValue"),
        (attribute("x..y", "String", "x"), "InvalidParameterValue"),
        (attribute("x y", "String", "x"), "InvalidParameterValue"),
        (attribute(&"x".repeat(257), "String", "x"), "InvalidParameterValue"),
        (attribute("x", "Text", "x"), "InvalidParameterValue"),
        (attribute("x", "", "x"), "InvalidParameterValue"),
        (attribute("x", "Strings", "x"), "InvalidParameterValue"),
        (attribute("x", "String", ""), "InvalidParameterValue"),
        (attribute("x", "String", "\u{0}"), "InvalidMessageContents"),
        (attribute("x", "Number", "twelve"), "InvalidParameterValue"),
        (attribute("x", "Number", &"1".repeat(39)), "InvalidParameterValue"),
        (attribute("x", "Binary", "x"), "InvalidParameterValue"),
        (json!({ "MessageBody": "x", "MessageSystemAttributes": { "Other": other } }), "InvalidParameterValue"),
    ] {
        let mut whole = input.clone();
        whole["QueueUrl"] = json!(url("a"));
        assert_eq!(
            refusal(&queues, "SendMessage", whole).await,
            code,
            "{}",
            &input.to_string()[..input.to_string().len().min(200)]
        );
    }
    assert_eq!(queues.counts("a").unwrap(), Counts::default());
}

#[tokio::test]
async fn attributes_count_against_the_size() {
    let (_folder, queues) = with_queues(&["a"]).await;
    ok(&queues, "SetQueueAttributes", json!({ "QueueUrl": url("a"), "Attributes": { "MaximumMessageSize": "1024" } }))
        .await;
    // "n" + "String" + "v" are 8 bytes.
    for (body, fits) in [(1_016, true), (1_017, false)] {
        let input = json!({
            "QueueUrl": url("a"),
            "MessageBody": "x".repeat(body),
            "MessageAttributes": { "n": { "DataType": "String", "StringValue": "v" } },
        });
        assert_eq!(queues.call("SendMessage", input).await.is_ok(), fits, "{body}");
    }
}

#[tokio::test]
async fn send_all_is_all_or_nothing() {
    let (_folder, queues) = with_queues(&["a", "b"]).await;
    let message = |body: &str| NewMessage { body: body.to_owned(), ..NewMessage::default() };
    let to = |name: &str| (name.to_owned(), message("x"));

    assert!(queues.send_all(vec![to("a"), to("absent")]).await.is_err());
    assert!(queues.send_all(vec![to("a"), ("b".to_owned(), message(""))]).await.is_err());
    assert_eq!(queues.counts("a").unwrap().visible, 0);

    let ids = queues.send_all(vec![to("a"), to("b"), to("a")]).await.unwrap();
    assert_eq!(ids.len(), 3);
    assert_eq!((queues.counts("a").unwrap().visible, queues.counts("b").unwrap().visible), (2, 1));
}

#[tokio::test]
async fn a_delay_of_the_message_beats_that_of_the_queue() {
    let (_folder, queues) = with_queues(&["a"]).await;
    ok(&queues, "SetQueueAttributes", json!({ "QueueUrl": url("a"), "Attributes": { "DelaySeconds": "900" } })).await;
    send(&queues, "a", "late").await;
    ok(&queues, "SendMessage", json!({ "QueueUrl": url("a"), "MessageBody": "now", "DelaySeconds": 0 })).await;
    assert_eq!(bodies(&receive(&queues, "a").await), ["now"]);
    assert_eq!(queues.counts("a").unwrap(), Counts { visible: 0, in_flight: 1, delayed: 1 });
}
