//! What is asked of SQS to hide messages: a server on loopback writes it down.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a test may stop at the first surprise")]

use std::sync::{Arc, Mutex};

use aws_sdk_sqs::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};
use florin_messaging::{
    Later, SqsVisibility, Visibility,
    visibility::{Change, DELAY_SECONDS_MAX, VISIBILITY_SECONDS_MAX},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

type Asked = Arc<Mutex<Vec<Value>>>;

/// SQS that answers every call with this status and body, and the calls it got.
async fn sqs(status: &'static str, answer: Value) -> (SqsVisibility, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let calls = asked.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, status, &answer.to_string(), &calls).await;
        }
    });
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&endpoint)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(aws_sdk_sqs::config::retry::RetryConfig::disabled())
        .build();
    (SqsVisibility::new(Client::from_conf(config), format!("{endpoint}/queue")), asked)
}

/// Answers one request and closes the connection.
async fn serve(mut stream: TcpStream, status: &str, answer: &str, calls: &Asked) {
    let mut request = Vec::new();
    let body = loop {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request ended early");
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() == length.unwrap_or(0) {
            break body.to_owned();
        }
    };
    calls.lock().unwrap().push(serde_json::from_str(&body).unwrap());
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\nconnection: close\r\n");
    let response = format!("{head}content-length: {}\r\n\r\n{answer}", answer.len());
    stream.write_all(response.as_bytes()).await.unwrap();
}

fn change(place: usize, seconds: i32) -> Change {
    Change { receipt_handle: format!("r{place}"), seconds }
}

#[tokio::test]
async fn a_batch_is_hidden_in_calls_of_ten_within_what_sqs_takes() {
    let (visibility, asked) = sqs("200 OK", json!({ "Successful": [], "Failed": [] })).await;
    let seconds = |place| match place {
        0 => i32::MAX,
        1 => -1,
        2 => 0,
        _ => 7,
    };
    visibility.change((0..23).map(|place| change(place, seconds(place))).collect()).await;
    let asked = asked.lock().unwrap();
    let sizes: Vec<usize> = asked.iter().map(|call| call["Entries"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [10, 10, 3]);
    let entries: Vec<&Value> = asked.iter().flat_map(|call| call["Entries"].as_array().unwrap()).collect();
    for (place, entry) in entries.iter().enumerate() {
        assert_eq!(entry["ReceiptHandle"], format!("r{place}"));
        assert_eq!(entry["VisibilityTimeout"], seconds(place).clamp(0, VISIBILITY_SECONDS_MAX));
    }
}

#[tokio::test]
async fn a_refusal_is_not_an_error_and_the_other_calls_are_made() {
    let refused = json!({ "__type": "com.amazonaws.sqs#OverLimit", "message": "no" });
    let some_failed =
        json!({ "Successful": [], "Failed": [{ "Id": "0", "SenderFault": true, "Code": "ReceiptHandleIsInvalid" }] });
    for (status, answer) in [("400 Bad Request", refused), ("200 OK", some_failed)] {
        let (visibility, asked) = sqs(status, answer).await;
        visibility.change((0..11).map(|place| change(place, 7)).collect()).await;
        assert_eq!(asked.lock().unwrap().len(), 2);
    }
}

fn later(body: impl Into<String>, seconds: i32) -> Later {
    let attributes = [("type".to_owned(), "payment.initiated".to_owned())].into();
    Later { body: body.into(), attributes, seconds }
}

fn sizes(asked: &Asked) -> Vec<usize> {
    asked.lock().unwrap().iter().map(|call| call["Entries"].as_array().unwrap().len()).collect()
}

#[tokio::test]
async fn copies_are_sent_in_calls_of_ten_with_their_delay_and_attributes() {
    let successful: Vec<Value> =
        (0..10).map(|id| json!({ "Id": id.to_string(), "MessageId": "m", "MD5OfMessageBody": "" })).collect();
    let (visibility, asked) = sqs("200 OK", json!({ "Successful": successful, "Failed": [] })).await;
    let messages = (0..23).map(|place| later(format!("body {place}"), place * 60)).collect();
    assert_eq!(visibility.send_later(messages).await, vec![true; 23]);
    assert_eq!(sizes(&asked), [10, 10, 3]);
    let asked = asked.lock().unwrap();
    let entries: Vec<&Value> = asked.iter().flat_map(|call| call["Entries"].as_array().unwrap()).collect();
    for (place, entry) in entries.iter().enumerate() {
        let delay = (u64::try_from(place).unwrap() * 60).min(DELAY_SECONDS_MAX);
        assert_eq!((&entry["MessageBody"], &entry["DelaySeconds"]), (&json!(format!("body {place}")), &json!(delay)));
        let attribute = json!({ "DataType": "String", "StringValue": "payment.initiated" });
        assert_eq!(entry["MessageAttributes"]["type"], attribute);
    }
}

#[tokio::test]
async fn copies_that_are_long_together_are_sent_apart() {
    let (visibility, asked) = sqs("200 OK", json!({ "Successful": [], "Failed": [] })).await;
    let messages = [100, 100, 100, 300, 1].map(|kib| later("x".repeat(kib * 1_024), 0)).to_vec();
    assert_eq!(visibility.send_later(messages).await.len(), 5);
    assert_eq!(sizes(&asked), [2, 1, 1, 1]);
}

#[tokio::test]
async fn each_copy_that_is_not_certain_to_be_there_is_named() {
    let refused = json!({ "__type": "com.amazonaws.sqs#OverLimit", "message": "no" });
    let some = json!({ "Successful": [{ "Id": "1", "MessageId": "m", "MD5OfMessageBody": "" }],
                       "Failed": [{ "Id": "0", "SenderFault": false, "Code": "InternalError" }] });
    for (status, answer, sent) in
        [("400 Bad Request", refused, [false, false, false]), ("200 OK", some, [false, true, false])]
    {
        let (visibility, _) = sqs(status, answer).await;
        assert_eq!(visibility.send_later((0..3).map(|_| later("b", 7)).collect()).await, sent);
    }
    let (visibility, asked) = sqs("200 OK", json!({})).await;
    assert!(visibility.send_later(vec![]).await.is_empty());
    assert_eq!(sizes(&asked), [0; 0]);
}
