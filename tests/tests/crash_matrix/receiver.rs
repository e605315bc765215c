//! A merchant's webhook receiver on loopback, one for each worker, that a run makes its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use florin_platform::secrets::WebhookSecret;
use florin_testing::faults::{Fault, Faults, Kind, Plan};
use serde_json::Value;

/// A request that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether the reference library would have signed it so. It would not verify it: runs have a time of their own.
    pub(crate) fn is_signed_with(&self, secret: &WebhookSecret) -> bool {
        let timestamp = self.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        let webhook = standardwebhooks::Webhook::new(&secret.expose_text()).unwrap();
        let expected = webhook.sign(self.id(), timestamp, self.body.as_bytes()).unwrap();
        self.headers["webhook-signature"].to_str().unwrap() == expected
    }
}

struct Run {
    faults: Faults,
    received: Vec<Received>,
    /// How often a path still answers 500.
    refusals: HashMap<String, u32>,
}

/// The receiver.
#[derive(Clone)]
pub(crate) struct Receiver {
    run: Arc<Mutex<Run>>,
    address: String,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let run = Run { faults: Faults::new(Plan::Calm), received: Vec::new(), refusals: HashMap::new() };
        let this = Self { run: Arc::new(Mutex::new(run)), address };
        let app = Router::new().fallback(take).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        this
    }

    /// Forgets everything: from now on it belongs to the run with these faults.
    pub(crate) fn begin(&self, faults: &Faults) {
        *self.run.lock().unwrap() = Run { faults: faults.clone(), received: Vec::new(), refusals: HashMap::new() };
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// The next `count` requests to this path are refused.
    pub(crate) fn refuse(&self, path: &str, count: u32) {
        self.run.lock().unwrap().refusals.insert(path.to_owned(), count);
    }

    /// What was accepted.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.run.lock().unwrap().received.clone()
    }

    fn accept(&self, received: &Received) -> StatusCode {
        let mut run = self.run.lock().unwrap();
        match run.refusals.get_mut(&received.path) {
            Some(left) if *left > 0 => {
                *left -= 1;
                StatusCode::INTERNAL_SERVER_ERROR
            }
            _ => {
                run.received.push(received.clone());
                StatusCode::NO_CONTENT
            }
        }
    }
}

async fn take(State(receiver): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let received = Received { path: uri.path().to_owned(), headers, body };
    let faults = receiver.run.lock().unwrap().faults.clone();
    match faults.pass("webhook-sender", Kind::Post, "receiver.post", async || receiver.accept(&received)).await {
        Ok(status) => status,
        // Until the sender gives up.
        Err(Fault::TimeoutBefore | Fault::TimeoutAfter) => std::future::pending().await,
        Err(_) => StatusCode::BAD_GATEWAY,
    }
}
