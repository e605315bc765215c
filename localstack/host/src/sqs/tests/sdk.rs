//! The real SDK understands the answers. Only what it reads by itself is looked at here.

use std::net::Ipv4Addr;

use aws_sdk_sqs::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::ProvideErrorMetadata,
    primitives::Blob,
    types::{
        MessageAttributeValue, MessageSystemAttributeName, MessageSystemAttributeNameForSends,
        MessageSystemAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry,
    },
};
use axum::{Router, body::Bytes, extract::State as Part, http::HeaderMap, response::Response};
use tokio::net::TcpListener;

use super::*;

/// The host's front door, as small as it can be.
async fn answer(Part(queues): Part<Queues>, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers["x-amz-target"].to_str().unwrap().strip_prefix("AmazonSQS.").unwrap().to_owned();
    let input = serde_json::from_slice(&body).unwrap();
    let response = Response::builder().header("content-type", "application/x-amz-json-1.0");
    match queues.call(&operation, input).await {
        Ok(answer) => response.body(answer.to_string().into()).unwrap(),
        Err(error) => {
            let code = error.query_code.clone().unwrap_or(error.code.clone());
            let body = json!({ "__type": format!("com.amazonaws.sqs#{}", error.code), "message": error.message });
            let response = response.status(error.status).header("x-amzn-query-error", format!("{code};Sender"));
            response.body(body.to_string().into()).unwrap()
        }
    }
}

async fn client() -> (TempDir, Client) {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let place = model::Place { endpoint: endpoint.clone(), ..place() };
    let queues = Queues::open(&folder.path().join("queues.sqlite"), place).unwrap();
    let router = Router::new().fallback(answer).with_state(queues);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint)
        .build();
    (folder, Client::from_conf(config))
}

#[tokio::test]
async fn messages_go_round() {
    let (_folder, client) = client().await;
    let created =
        client.create_queue().queue_name("a").attributes(QueueAttributeName::VisibilityTimeout, "9").send().await;
    let queue = created.unwrap().queue_url.unwrap();
    let text = MessageAttributeValue::builder().data_type("String").string_value("v").build().unwrap();
    let blob = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 255])).build().unwrap();
    let trace = MessageSystemAttributeValue::builder().data_type("String").string_value("Root=1").build().unwrap();
    let sent = client
        .send_message()
        .queue_url(&queue)
        .message_body("hello")
        .message_attributes("text", text)
        .message_attributes("blob", blob)
        .message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, trace)
        .send()
        .await
        .unwrap();
    let received = client
        .receive_message()
        .queue_url(&queue)
        .wait_time_seconds(1)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .send()
        .await
        .unwrap();
    let message = &received.messages()[0];
    assert_eq!((message.body(), message.message_id()), (Some("hello"), sent.message_id()));
    assert_eq!(message.md5_of_message_attributes(), sent.md5_of_message_attributes());
    let attributes = message.message_attributes().unwrap();
    assert_eq!(attributes["blob"].binary_value().unwrap().as_ref(), [0, 255]);
    assert_eq!(message.attributes().unwrap()[&MessageSystemAttributeName::AwsTraceHeader], "Root=1");
    let handle = message.receipt_handle().unwrap();
    client
        .change_message_visibility()
        .queue_url(&queue)
        .receipt_handle(handle)
        .visibility_timeout(20)
        .send()
        .await
        .unwrap();
    client.delete_message().queue_url(&queue).receipt_handle(handle).send().await.unwrap();

    let entry =
        |id: &str, body: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap();
    let batch = client.send_message_batch().queue_url(&queue).entries(entry("1", "x")).entries(entry("2", "\u{1}"));
    let batch = batch.send().await.unwrap();
    assert_eq!((batch.successful()[0].id(), batch.failed()[0].code()), ("1", "InvalidMessageContents"));
    let attributes =
        client.get_queue_attributes().queue_url(&queue).attribute_names(QueueAttributeName::All).send().await;
    let attributes = attributes.unwrap().attributes.unwrap();
    assert_eq!(attributes[&QueueAttributeName::ApproximateNumberOfMessages], "1");
    assert_eq!(attributes[&QueueAttributeName::VisibilityTimeout], "9");
}

#[tokio::test]
async fn refusals_are_the_ones_that_the_sdk_knows() {
    let (_folder, client) = client().await;
    let error = client.send_message().queue_url("http://x/y/zz").message_body("x").send().await.unwrap_err();
    assert!(error.into_service_error().is_queue_does_not_exist());
    let queue = client.create_queue().queue_name("a").send().await.unwrap().queue_url.unwrap();
    let error = client.delete_message().queue_url(&queue).receipt_handle("x").send().await.unwrap_err();
    assert!(error.into_service_error().is_receipt_handle_is_invalid());
    let error = client.send_message().queue_url(&queue).message_body("\u{1}").send().await.unwrap_err();
    assert!(error.into_service_error().is_invalid_message_contents());
    let other = client.create_queue().queue_name("a").attributes(QueueAttributeName::DelaySeconds, "9").send().await;
    assert!(other.unwrap_err().into_service_error().is_queue_name_exists());
    let error = client.receive_message().queue_url(&queue).max_number_of_messages(11).send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValue"));
    client.purge_queue().queue_url(&queue).send().await.unwrap();
    let error = client.purge_queue().queue_url(&queue).send().await.unwrap_err();
    assert!(error.into_service_error().is_purge_queue_in_progress());
    let error = client.delete_message_batch().queue_url(&queue).set_entries(Some(Vec::new())).send().await.unwrap_err();
    assert!(error.into_service_error().is_empty_batch_request());
    let error = client.start_message_move_task().source_arn("arn:aws:sqs:us-east-1:000000000000:zz").send().await;
    assert!(error.unwrap_err().into_service_error().is_resource_not_found_exception());
}
