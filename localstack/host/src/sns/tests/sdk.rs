//! The answers, read by the SDK.

use aws_sdk_sns::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::ProvideErrorMetadata,
    types::{MessageAttributeValue, PublishBatchRequestEntry, Tag},
};
use axum::{Router, extract::State, http::StatusCode, response::IntoResponse};

use super::*;

/// The little of a front that these tests need.
async fn front(State(topics): State<Topics>, body: String) -> impl IntoResponse {
    let fields: Vec<(String, String)> = serde_urlencoded::from_str(&body).unwrap();
    match topics.call(&fields).await {
        Ok(xml) => (StatusCode::OK, xml),
        Err(error) => {
            let code = error.query_code.unwrap_or(error.code);
            let message = error.message;
            let xml = format!(
                "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
            );
            (error.status, xml)
        }
    }
}

async fn client(fixture: &Fixture) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(front).with_state(fixture.topics.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = aws_sdk_sns::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(format!("http://{address}"))
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn the_sdk_reads_every_answer() {
    let fixture = Fixture::new(&["a"]);
    let client = client(&fixture).await;
    let tag = Tag::builder().key("team").value("<payments> & co").build().unwrap();

    let topic = client.create_topic().name("events").tags(tag.clone()).send().await.unwrap().topic_arn.unwrap();
    assert_eq!(client.list_topics().send().await.unwrap().topics()[0].topic_arn(), Some(topic.as_str()));
    let tags = client.list_tags_for_resource().resource_arn(&topic).send().await.unwrap();
    assert_eq!(tags.tags(), [tag]);
    client.untag_resource().resource_arn(&topic).tag_keys("team").send().await.unwrap();
    assert!(client.list_tags_for_resource().resource_arn(&topic).send().await.unwrap().tags().is_empty());
    client
        .set_topic_attributes()
        .topic_arn(&topic)
        .attribute_name("DisplayName")
        .attribute_value("Ev\"ents")
        .send()
        .await
        .unwrap();

    let subscription = client
        .subscribe()
        .topic_arn(&topic)
        .protocol("sqs")
        .endpoint(place().arn("sqs", "a"))
        .attributes("RawMessageDelivery", "true")
        .attributes("FilterPolicy", r#"{"kind": ["x", {"prefix": "y"}]}"#)
        .return_subscription_arn(true)
        .send()
        .await
        .unwrap()
        .subscription_arn
        .unwrap();
    let attributes = client.get_topic_attributes().topic_arn(&topic).send().await.unwrap().attributes.unwrap();
    assert_eq!(attributes["DisplayName"], "Ev\"ents");
    assert_eq!(attributes["SubscriptionsConfirmed"], "1");
    let attributes =
        client.get_subscription_attributes().subscription_arn(&subscription).send().await.unwrap().attributes.unwrap();
    assert_eq!(attributes["RawMessageDelivery"], "true");
    assert_eq!(attributes["FilterPolicy"], r#"{"kind":["x",{"prefix":"y"}]}"#);
    assert_eq!(attributes["FilterPolicyScope"], "MessageAttributes");
    let listed = client.list_subscriptions_by_topic().topic_arn(&topic).send().await.unwrap();
    assert_eq!(listed.subscriptions()[0].subscription_arn(), Some(subscription.as_str()));
    assert_eq!(client.list_subscriptions().send().await.unwrap().subscriptions().len(), 1);
    client.unsubscribe().subscription_arn(&subscription).send().await.unwrap();
    client.delete_topic().topic_arn(&topic).send().await.unwrap();
}

#[tokio::test]
async fn the_sdk_publishes_with_attributes_of_every_type() {
    let fixture = Fixture::new(&["a"]);
    let client = client(&fixture).await;
    let topic = fixture.topic("events").await;
    fixture.subscribe(&topic, "a", &[("RawMessageDelivery", "true")]).await;
    let value = |data_type: &str| MessageAttributeValue::builder().data_type(data_type);
    let binary = value("Binary").binary_value(aws_sdk_sns::primitives::Blob::new([1, 2])).build().unwrap();

    let published = client
        .publish()
        .topic_arn(&topic)
        .message("grüße & <more>")
        .message_attributes("kind", value("String").string_value("x").build().unwrap())
        .message_attributes("count", value("Number").string_value("5").build().unwrap())
        .message_attributes("blob", binary)
        .send()
        .await
        .unwrap();

    assert_eq!(published.message_id().unwrap().len(), 36);
    let (taken, _) = fixture.queues.taken();
    assert_eq!(taken[0].1.body, "grüße & <more>");
    let blob = Attribute { data_type: "Binary".to_owned(), value: AttributeValue::Binary(vec![1, 2]) };
    let expected = [("kind", text("String", "x")), ("count", text("Number", "5")), ("blob", blob)];
    assert_eq!(taken[0].1.attributes, expected.map(|(name, value)| (name.to_owned(), value)).into());
}

#[tokio::test]
async fn the_sdk_tells_errors_and_entries_apart() {
    let fixture = Fixture::new(&["a"]);
    let client = client(&fixture).await;
    let topic = fixture.topic("events").await;
    let entry = |id: &str, message: &str| PublishBatchRequestEntry::builder().id(id).message(message).build().unwrap();

    let batch = client
        .publish_batch()
        .topic_arn(&topic)
        .publish_batch_request_entries(entry("good", "m"))
        .publish_batch_request_entries(entry("bad", ""))
        .send()
        .await
        .unwrap();
    let none = client.publish().topic_arn(place().arn("sns", "none")).message("m").send().await.unwrap_err();
    let empty = client.publish_batch().topic_arn(&topic).send().await.unwrap_err();
    let attribute = MessageAttributeValue::builder().data_type("Number").string_value("x").build().unwrap();
    let number = client.publish().topic_arn(&topic).message("m").message_attributes("n", attribute).send().await;

    assert_eq!(batch.successful()[0].id(), Some("good"));
    assert_eq!((batch.failed()[0].id(), batch.failed()[0].sender_fault()), ("bad", true));
    assert!(none.into_service_error().is_not_found_exception());
    assert_eq!(empty.code(), Some("EmptyBatchRequest"));
    assert!(number.unwrap_err().into_service_error().is_invalid_parameter_value_exception());
}
