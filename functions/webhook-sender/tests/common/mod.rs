//! A world for the sender: an embedded DynamoDB, a receiver on loopback, and a clock that tests move.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::operation::update_item::UpdateItemInput;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeSerializationInterceptorContextMut},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header::LOCATION},
    response::{IntoResponse, Response},
};
use florin_domain::{
    event::Event,
    ids::WebhookEndpointId,
    merchant::MERCHANT_SECRET_GENERATION,
    payment::Payment,
    webhook::{Delivery, Target, WebhookEndpoint},
};
use florin_platform::{
    clock::Clock,
    guard::Guard,
    secrets::{RootKey, WebhookSecret},
};
use florin_store::webhooks::Webhooks;
use florin_testing::{
    build,
    dynamo::Dynamo,
    fakes::{RecordingFailures, RecordingVisibility, queue},
};
use florin_webhook_sender::{Post, Sender};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// The time-out of a try in most tests.
pub(crate) const TOTAL: Duration = Duration::from_millis(600);

/// What the sender works with.
pub(crate) struct World {
    pub(crate) dynamo: Dynamo,
    pub(crate) webhooks: Webhooks,
    pub(crate) write_fault: WriteFault,
    pub(crate) receiver: Receiver,
    pub(crate) clock: Clock,
    pub(crate) visibility: Arc<RecordingVisibility>,
    pub(crate) failures: Arc<RecordingFailures>,
    pub(crate) guard: Guard,
    pub(crate) total: Duration,
}

impl World {
    pub(crate) async fn start() -> Self {
        let dynamo = Dynamo::start().await;
        let write_fault = WriteFault::default();
        let config = dynamo.client.config().to_builder().interceptor(write_fault.clone()).build();
        Self {
            webhooks: Webhooks::new(aws_sdk_dynamodb::Client::from_conf(config), "webhooks"),
            dynamo,
            write_fault,
            receiver: Receiver::start().await,
            // The reference library compares with the time of day.
            clock: Clock::set_to(Clock::System.now()),
            visibility: Arc::default(),
            failures: Arc::default(),
            guard: Guard::new(true),
            total: TOTAL,
        }
    }

    /// A sender as a new execution environment has it: it remembers nothing.
    pub(crate) fn sender(&self) -> Sender {
        let post = Post::with_timeouts(self.guard.clone(), self.total, self.total).unwrap();
        Sender::new(
            self.webhooks.clone(),
            root(),
            post,
            queue(&self.visibility, &self.failures),
            self.clock.clone(),
            || 0,
        )
    }

    /// Delivers these messages as a batch to a new environment, and returns which failed.
    pub(crate) async fn deliver(&self, events: &[&Event]) -> Vec<String> {
        self.deliver_bodies(events.iter().map(|event| build::body(event))).await
    }

    pub(crate) async fn deliver_bodies(&self, bodies: impl IntoIterator<Item = String>) -> Vec<String> {
        let response = self.sender().handle(build::batch(bodies), None).await.unwrap();
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    /// For how long the last message was hidden, in seconds.
    pub(crate) fn hidden(&self) -> i32 {
        self.visibility.changes().last().unwrap().1
    }

    /// An event whose payment names this path of the receiver as its own URL.
    pub(crate) fn event(&self, key: &str, path: &str) -> Event {
        event_to(key, Some(self.receiver.url(path)))
    }

    /// An endpoint of the shop at this path of the receiver.
    pub(crate) async fn endpoint(&self, path: &str) -> WebhookEndpoint {
        let endpoint = WebhookEndpoint {
            id: WebhookEndpointId::derive(&[path]),
            merchant_id: build::merchant("shop").id,
            url: self.receiver.url(path),
            secret_generation: 3,
            enabled: true,
        };
        self.webhooks.put_endpoint(&endpoint).await.unwrap();
        endpoint
    }

    /// The delivery of the event to the payment's own URL.
    pub(crate) async fn own_delivery(&self, event: &Event) -> Option<Delivery> {
        let target = Target::PaymentUrl(event.data.payment().unwrap().webhook_url.clone().unwrap());
        self.webhooks.deliveries(&[(event, &target)]).await.unwrap().remove(&target.delivery_id(event))
    }

    /// The results of all recorded attempts at the payment's own URL, in order.
    pub(crate) async fn own_results(&self, event: &Event) -> Vec<String> {
        let items = self.dynamo.client.scan().table_name("webhooks").send().await.unwrap().items.unwrap();
        let item = items.iter().find(|item| item["pk"].as_s().unwrap() == &event.subject).unwrap();
        let attempts = item["a"].as_l().unwrap();
        attempts.iter().map(|attempt| attempt.as_m().unwrap()["r"].as_s().unwrap().clone()).collect()
    }
}

pub(crate) fn root() -> RootKey {
    RootKey::from_hex(&"5a".repeat(32)).unwrap()
}

/// The shop's signing secret.
pub(crate) fn shop_secret() -> WebhookSecret {
    root().webhook_secret(build::merchant("shop").id.as_str(), MERCHANT_SECRET_GENERATION)
}

pub(crate) fn event_to(key: &str, webhook_url: Option<String>) -> Event {
    build::ended(&build::completed(&payment_to(key, webhook_url), 100))
}

/// A pending payment with this URL of its own.
pub(crate) fn payment_to(key: &str, webhook_url: Option<String>) -> Payment {
    Payment { webhook_url, ..build::payment(&build::merchant("shop").id, key) }
}

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16),
    Redirect(u16, String),
    Hang,
}

/// A request that the receiver got.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }

    /// Whether the reference library accepts the signature.
    pub(crate) fn verifies(&self, secret: &WebhookSecret) -> bool {
        let webhook = standardwebhooks::Webhook::new(&secret.expose_text()).unwrap();
        webhook.verify(self.body.as_bytes(), &self.headers).is_ok()
    }
}

/// A merchant's server.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<ReceiverState>,
}

#[derive(Debug, Default)]
struct ReceiverState {
    requests: Mutex<Vec<Request>>,
    script: Mutex<VecDeque<Reply>>,
    got_one: Notify,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(ReceiverState::default());
        let router = Router::new().fallback(receive).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the next requests get, in order; afterwards 200.
    pub(crate) fn script(&self, script: impl IntoIterator<Item = Reply>) {
        self.state.script.lock().unwrap().extend(script);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The paths asked for, sorted.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.requests().into_iter().map(|request| request.path).collect();
        paths.sort();
        paths
    }

    /// Returns when a request has come.
    pub(crate) async fn got_one(&self) {
        self.state.got_one.notified().await;
    }
}

async fn receive(State(state): State<Arc<ReceiverState>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    state.requests.lock().unwrap().push(Request { path: uri.to_string(), headers, body });
    state.got_one.notify_one();
    let reply = state.script.lock().unwrap().pop_front().unwrap_or(Reply::Status(200));
    match reply {
        Reply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Reply::Redirect(status, to) => {
            (StatusCode::from_u16(status).unwrap(), [(LOCATION, HeaderValue::try_from(to).unwrap())]).into_response()
        }
        Reply::Hang => std::future::pending().await,
    }
}

/// A server that answers every connection with this, byte by byte or again and again, as long as anyone listens.
pub(crate) struct Endless {
    pub(crate) address: SocketAddr,
    /// Connections accepted.
    pub(crate) connections: Arc<AtomicU64>,
    /// Bytes written.
    pub(crate) written: Arc<AtomicU64>,
    /// Told when the other side has gone.
    pub(crate) gone: Arc<Notify>,
}

impl Endless {
    pub(crate) async fn start(head: &'static str, again: &'static [u8], pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            written: Arc::default(),
            gone: Arc::default(),
        };
        let (connections, written, gone) = (server.connections.clone(), server.written.clone(), server.gone.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (written, gone) = (written.clone(), gone.clone());
                tokio::spawn(async move {
                    talk(&mut stream, head, again, pause, &written).await;
                    gone.notify_one();
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

/// Talks until the other side has gone.
async fn talk(stream: &mut TcpStream, head: &str, again: &[u8], pause: Duration, written: &AtomicU64) {
    let mut request = [0; 16 * 1024];
    let Ok(1..) = stream.read(&mut request).await else { return };
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    while stream.write_all(again).await.is_ok() {
        written.fetch_add(u64::try_from(again.len()).unwrap(), Ordering::SeqCst);
        tokio::time::sleep(pause).await;
    }
}

/// Makes records of attempts fail while it is on.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteFault(Arc<AtomicBool>);

impl WriteFault {
    pub(crate) fn set(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for WriteFault {
    fn name(&self) -> &'static str {
        "WriteFault"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_update = context.input().downcast_ref::<UpdateItemInput>().is_some();
        if is_update && self.0.load(Ordering::SeqCst) { Err("told to fail".into()) } else { Ok(()) }
    }
}
