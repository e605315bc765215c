//! Queues in this process, over the real SDK and the SQS protocol.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_sdk_sqs::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};

/// The stack's name.
pub const PREFIX: &str = "florin";

struct Stored {
    id: String,
    body: String,
    receipt: Option<String>,
}

/// All queues by their names.
#[derive(Clone, Default)]
pub struct Sqs(Arc<Mutex<Messages>>);

#[derive(Default)]
struct Messages {
    queues: BTreeMap<String, Vec<Stored>>,
    ids: u32,
    /// The call that is refused.
    refused: Option<&'static str>,
}

impl Sqs {
    /// The queues of all consumers, empty.
    pub fn new() -> Self {
        let names = ["processing", "webhook", "analytics"];
        let names = names.iter().flat_map(|name| [format!("{PREFIX}-{name}"), format!("{PREFIX}-{name}-dead-letters")]);
        let queues = names.map(|name| (name, Vec::new())).collect();
        Self(Arc::new(Mutex::new(Messages { queues, ..Messages::default() })))
    }

    /// Puts a message into a queue. Returns its id.
    pub fn put(&self, queue: &str, body: &str) -> String {
        self.0.lock().unwrap().put(&format!("{PREFIX}-{queue}"), body)
    }

    /// Refuses all calls of this name.
    pub fn refuse(&self, call: &'static str) {
        self.0.lock().unwrap().refused = Some(call);
    }

    /// How many messages a queue has, and how many of them are hidden.
    pub fn count(&self, queue: &str) -> (usize, usize) {
        let state = self.0.lock().unwrap();
        let stored = &state.queues[&format!("{PREFIX}-{queue}")];
        (stored.len(), stored.iter().filter(|message| message.receipt.is_some()).count())
    }

    /// A client of these queues.
    pub async fn client(&self) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(serve)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(endpoint)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled());
        Client::from_conf(config.build())
    }
}

impl Messages {
    fn put(&mut self, queue: &str, body: &str) -> String {
        self.ids += 1;
        let id = format!("00000000-0000-4000-8000-{:012}", self.ids);
        let stored = Stored { id: id.clone(), body: body.to_owned(), receipt: None };
        self.queues.get_mut(queue).unwrap().push(stored);
        id
    }

    fn answer(&mut self, call: &str, request: &Value) -> Result<Value, &'static str> {
        if self.refused.is_some_and(|refused| refused == call) {
            return Err("AccessDeniedException");
        }
        if call == "GetQueueUrl" {
            let name = request["QueueName"].as_str().unwrap();
            let known = self.queues.contains_key(name);
            return known.then(|| json!({"QueueUrl": format!("http://queues/{name}")})).ok_or("QueueDoesNotExist");
        }
        let queue = request["QueueUrl"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        if call == "SendMessage" {
            let id = self.put(&queue, request["MessageBody"].as_str().unwrap());
            return Ok(json!({"MessageId": id, "MD5OfMessageBody": ""}));
        }
        let stored = self.queues.get_mut(&queue).unwrap();
        match call {
            "GetQueueAttributes" => {
                let hidden = stored.iter().filter(|message| message.receipt.is_some()).count();
                Ok(json!({"Attributes": {
                    "ApproximateNumberOfMessages": (stored.len() - hidden).to_string(),
                    "ApproximateNumberOfMessagesNotVisible": hidden.to_string(),
                    "ApproximateNumberOfMessagesDelayed": "0",
                }}))
            }
            "ReceiveMessage" => {
                let most = usize::try_from(request["MaxNumberOfMessages"].as_u64().unwrap()).unwrap();
                let visible = stored.iter_mut().filter(|message| message.receipt.is_none()).take(most);
                let received = visible.map(|message| {
                    let receipt = format!("receipt-{}", message.id);
                    message.receipt = Some(receipt.clone());
                    json!({"MessageId": message.id, "ReceiptHandle": receipt, "Body": message.body,
                           "Attributes": {"SentTimestamp": "1795251600000", "ApproximateReceiveCount": "9"}})
                });
                Ok(json!({"Messages": received.collect::<Vec<_>>()}))
            }
            "DeleteMessage" => {
                let receipt = request["ReceiptHandle"].as_str();
                stored.retain(|message| message.receipt.as_deref() != receipt);
                Ok(json!({}))
            }
            "ChangeMessageVisibilityBatch" => {
                for entry in request["Entries"].as_array().unwrap() {
                    assert_eq!(entry["VisibilityTimeout"], 0, "a message is shown again at once");
                    let receipt = entry["ReceiptHandle"].as_str();
                    let shown = stored.iter_mut().filter(|message| message.receipt.as_deref() == receipt);
                    shown.for_each(|message| message.receipt = None);
                }
                Ok(json!({"Successful": [], "Failed": []}))
            }
            _ => Err("InvalidAction"),
        }
    }
}

async fn serve(State(sqs): State<Sqs>, headers: HeaderMap, body: String) -> Response {
    let call = headers["x-amz-target"].to_str().unwrap().split_once('.').unwrap().1;
    let answer = sqs.0.lock().unwrap().answer(call, &serde_json::from_str(&body).unwrap());
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(code) => (StatusCode::BAD_REQUEST, json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "no"})),
    };
    (status, [("content-type", "application/x-amz-json-1.0")], body.to_string()).into_response()
}
