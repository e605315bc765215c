//! A merchant's webhook receiver: takes down what it gets and verifies it with the reference library.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::Value;
use standardwebhooks::Webhook;

/// One call of a webhook.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }

    /// Verifies the signature as a receiver does.
    pub fn verifies(&self, secret: &str) -> bool {
        Webhook::new(secret).unwrap().verify(&self.body, &self.headers).is_ok()
    }
}

#[derive(Default)]
struct Inner {
    received: Mutex<Vec<Received>>,
    failures: Mutex<HashMap<String, u32>>,
}

/// Listens on loopback until the test ends; each path is a receiver of its own.
#[derive(Clone)]
pub struct Receiver {
    inner: Arc<Inner>,
    address: String,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::<Inner>::default();
        let app = Router::new().route("/{path}", post(take)).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { inner, address }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// The next `count` calls of this path are answered with 500.
    pub fn fail_next(&self, path: &str, count: u32) {
        self.inner.failures.lock().unwrap().insert(path.to_owned(), count);
    }

    /// Every call of this path so far.
    pub fn received(&self, path: &str) -> Vec<Received> {
        let received = self.inner.received.lock().unwrap();
        received.iter().filter(|received| received.path == path).cloned().collect()
    }
}

async fn take(
    State(inner): State<Arc<Inner>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> StatusCode {
    inner.received.lock().unwrap().push(Received { path: path.clone(), headers, body: body.to_vec() });
    let mut failures = inner.failures.lock().unwrap();
    match failures.get_mut(&path) {
        Some(left) if *left > 0 => {
            *left -= 1;
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::NO_CONTENT,
    }
}
