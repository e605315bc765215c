//! The API with an embedded DynamoDB, and verbs that cannot forget the expected status.
#![allow(dead_code, reason = "not every test file needs everything")]

pub mod described;
pub mod people;
pub mod sqs;

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use florin_api::{Dependencies, Limiter, Queues, SignUp, router};
use florin_domain::{
    card::Mode,
    ids::{ApiKeyId, PaymentId},
    journal::{Failure, Step},
    merchant::ApiKeyRecord,
    payment::Payment,
    permission::Permissions,
    rate::{BURST_MAX, PER_SECOND_MAX, Rate},
    refund::Refund,
    saga,
    time::Timestamp,
};
use florin_messaging::dead_letters::Records;
use florin_platform::{
    clock::Clock,
    guard::Guard,
    http,
    oidc::{self, Oidc},
    secrets::RootKey,
    tokens::Tokens,
};
use florin_store::{
    analytics::Analytics,
    audit::{Audit, AuditEntry, OPERATIONS},
    breaker::SharedBreaker,
    failures::Failures,
    limits::Limits,
    merchants::Merchants,
    payment_methods::PaymentMethods,
    payments::{DUE_SHARDS, Payments},
};
use florin_testing::{
    build,
    dynamo::Dynamo,
    fakes::{FakeGateway, RecordingPublisher},
    faults::dynamo::InProcess,
    meter::Meter,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use self::sqs::Sqs;

pub const KEY: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";
pub const LIVE_KEY: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
pub const OTHER_KEY: &str = "sk_test_BQokikJOvBiI2HlWgH4olfQ2";
pub const PUBLIC_URL: &str = "https://api.florin.example";
pub const CARD_NUMBER: &str = "4242 4242 4242 4242";

pub struct World {
    app: Router,
    pub dynamo: Dynamo,
    pub payments: Payments,
    pub merchants: Merchants,
    pub gateway: Arc<FakeGateway>,
    pub publisher: Arc<RecordingPublisher>,
    pub clock: Clock,
    pub root_key: RootKey,
    pub sqs: Sqs,
    /// Everything that was asked and answered.
    pub calls: Arc<Mutex<Vec<Call>>>,
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub request: Value,
    pub status: u16,
    pub answer: Value,
}

pub struct Answer {
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// (pointer, code) of every wrong field.
    pub fn errors(&self) -> Vec<(&str, &str)> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|e| (e["pointer"].as_str().unwrap(), e["code"].as_str().unwrap())).collect()
    }
}

impl World {
    pub async fn start() -> Self {
        Self::start_in(Mode::Test).await
    }

    /// A deployment of this mode.
    pub async fn start_in(mode: Mode) -> Self {
        Self::start_as(mode, never_met(), None).await
    }

    pub async fn with_rate(rate: Rate) -> Self {
        Self::start_as(Mode::Test, rate, None).await
    }

    /// The API that accepts the tokens of this issuer, too.
    pub async fn with_issuer(settings: oidc::Settings) -> Self {
        let oidc = Oidc::new(settings, http::client().unwrap(), Guard::new(true));
        Self::start_as(Mode::Test, never_met(), Some(oidc)).await
    }

    async fn start_as(mode: Mode, rate: Rate, oidc: Option<Oidc>) -> Self {
        let world = Self::without_api(Dynamo::start().await).await;
        let app = world.instance(&world.dynamo.client, mode, rate, oidc).await;
        Self { app, ..world }
    }

    /// In this database. The API's own calls go through `client`, those of the test do not.
    pub async fn start_on(database: &InProcess, client: &Client) -> Self {
        let (client_of_test, endpoint) = (database.test_client(), "in process".to_owned());
        let dynamo = Dynamo { client: client_of_test, meter: Meter::default(), endpoint };
        let world = Self::without_api(dynamo).await;
        let app = world.instance(client, Mode::Test, never_met(), None).await;
        Self { app, ..world }
    }

    async fn without_api(dynamo: Dynamo) -> Self {
        let root_key = RootKey::from_hex(&"5a".repeat(32)).unwrap();
        let merchants = Merchants::new(dynamo.client.clone(), "merchants");
        for (name, key) in [("shop", KEY), ("shop", LIVE_KEY), ("other", OTHER_KEY)] {
            merchants.put_api_key(&api_key(&root_key, name, key)).await.unwrap();
        }
        Self {
            app: Router::new(),
            payments: Payments::new(dynamo.client.clone(), "payments"),
            merchants,
            gateway: Arc::default(),
            publisher: Arc::default(),
            clock: Clock::set_to(build::START),
            root_key,
            sqs: Sqs::new(),
            calls: Arc::default(),
            dynamo,
        }
    }

    /// An instance of the API, with this client of DynamoDB: it remembers nothing yet.
    async fn instance(&self, client: &Client, mode: Mode, rate: Rate, oidc: Option<Oidc>) -> Router {
        let queues = self.sqs.client().await;
        let records = Records {
            failures: Failures::new(client.clone(), "idempotency", "api", || build::START),
            audit: Audit::new(client.clone(), "audit"),
            now: || build::START,
        };
        router(Dependencies {
            payments: Payments::new(client.clone(), "payments"),
            merchants: Merchants::new(client.clone(), "merchants"),
            limiter: Limiter::new(Limits::new(client.clone(), "merchants"), rate),
            payment_methods: PaymentMethods::new(client.clone(), "merchants"),
            analytics: Analytics::reader(client.clone(), "analytics"),
            breaker: SharedBreaker::new(client.clone(), "payments"),
            audit: records.audit.clone(),
            queues: Queues::new(|| queues, sqs::PREFIX, records),
            gateway: self.gateway.clone(),
            publisher: self.publisher.clone(),
            sign_up: SignUp::Open,
            tokens: self.tokens(),
            oidc,
            root_key: self.root_key.clone(),
            guard: Guard::new(true),
            mode,
            clock: self.clock.clone(),
        })
    }

    /// What another instance of the same deployment answers, again and again the same one.
    pub async fn another_instance(&self) -> impl AsyncFn(&str, &str) -> u16 {
        let app = self.instance(&self.dynamo.client, Mode::Test, never_met(), None).await;
        async move |path: &str, bearer: &str| {
            let request = request("GET", path).header("authorization", format!("Bearer {bearer}"));
            let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            answer.status().as_u16()
        }
    }

    /// What makes and checks access tokens here.
    pub fn tokens(&self) -> Tokens {
        Tokens::new(&self.root_key, PUBLIC_URL.to_owned(), 1)
    }

    pub async fn send(&self, request: Request<Body>, expected: u16) -> Answer {
        let (parts, body) = request.into_parts();
        let (method, path) = (parts.method.to_string(), parts.uri.to_string());
        let sent = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let asked = serde_json::from_slice(&sent).unwrap_or(Value::Null);
        let is_oauth = path == "/oauth/token";
        let response = self.app.clone().oneshot(Request::from_parts(parts, Body::from(sent))).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        assert_eq!(parts.status, StatusCode::from_u16(expected).unwrap(), "{body:#}");
        // OAuth has a shape of errors of its own.
        if expected >= 400 && !(is_oauth && body.get("error").is_some()) {
            assert_eq!(parts.headers["content-type"], "application/problem+json");
            assert_eq!(body["status"], expected);
            assert_eq!(body["type"], format!("https://florin.dev/errors/{}", body["code"].as_str().unwrap()));
            assert_eq!(body["request_id"], parts.headers["x-request-id"].to_str().unwrap());
            assert!(!bytes.windows(16).any(|window| window == b"4242424242424242"));
        }
        described::knows(&method, &path, expected, &body);
        let call = Call { method, path, request: asked, status: expected, answer: body.clone() };
        self.calls.lock().unwrap().push(call);
        Answer { headers: parts.headers, body }
    }

    /// Status, headers and JSON, whatever they are.
    pub async fn raw(&self, request: Request<Body>) -> (u16, Answer) {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        (parts.status.as_u16(), Answer { headers: parts.headers, body })
    }

    /// What is found with this as the bearer.
    pub async fn get_as(&self, bearer: &str, path: &str, expected: u16) -> Answer {
        let request = request("GET", path).header("authorization", format!("Bearer {bearer}"));
        self.send(request.body(Body::empty()).unwrap(), expected).await
    }

    /// The status alone, whatever it is.
    pub async fn raw_status(&self, request: Request<Body>) -> u16 {
        self.app.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    /// The body of an answer that is no JSON.
    pub async fn text(&self, request: Request<Body>) -> String {
        let response = self.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    pub async fn get(&self, path: &str, expected: u16) -> Answer {
        self.send(
            request("GET", path).header("authorization", format!("Bearer {KEY}")).body(Body::empty()).unwrap(),
            expected,
        )
        .await
    }

    pub async fn get_as_other(&self, path: &str, expected: u16) -> Answer {
        let request = request("GET", path).header("x-api-key", OTHER_KEY).body(Body::empty()).unwrap();
        self.send(request, expected).await
    }

    pub async fn post(&self, key: &str, body: &Value, expected: u16) -> Answer {
        self.post_text(key, body.to_string(), expected).await
    }

    pub async fn post_text(&self, key: &str, body: String, expected: u16) -> Answer {
        self.post_to("/v1/payments", key, body, expected).await
    }

    pub async fn post_to(&self, path: &str, key: &str, body: String, expected: u16) -> Answer {
        self.post_with(path, &[("idempotency-key", key)], body, expected).await
    }

    /// With these headers besides those of every POST.
    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: String, expected: u16) -> Answer {
        let request = request("POST", path)
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(Body::from(body)).unwrap(), expected).await
    }

    pub async fn delete(&self, path: &str, expected: u16) -> Answer {
        let request = request("DELETE", path).header("x-api-key", KEY).body(Body::empty()).unwrap();
        self.send(request, expected).await
    }

    /// A command: a POST without a body.
    pub async fn command(&self, id: &PaymentId, command: &str, expected: u16) -> Answer {
        let request = request("POST", &format!("/v1/payments/{id}/{command}")).header("x-api-key", KEY);
        self.send(request.body(Body::empty()).unwrap(), expected).await
    }

    /// A new payment, as it is stored.
    pub async fn payment(&self, key: &str, body: &Value) -> Payment {
        self.payment_in(&self.post(key, body, 201).await).await
    }

    /// The payment of this answer, as it is stored.
    pub async fn payment_in(&self, answer: &Answer) -> Payment {
        self.stored_payment(&answer.body["id"].as_str().unwrap().parse().unwrap()).await
    }

    pub async fn stored_payment(&self, id: &PaymentId) -> Payment {
        self.payments.get_of_any_merchant(id).await.unwrap().unwrap()
    }

    /// The payment after its first claim: a processor has it.
    pub async fn claimed(&self, payment: &Payment) -> Payment {
        let claimed = saga::claim(payment, Step::Charge, None, self.clock.now());
        self.payments.save(payment, &claimed).await.unwrap();
        claimed
    }

    /// The claimed payment, stuck: nobody knows whether it was charged.
    pub async fn stuck(&self, key: &str) -> Payment {
        let payment = self.payment(key, &body()).await;
        let claimed = self.claimed(&payment).await;
        let reason = Failure::new("outcome_unknown", "The gateway does not say whether the money moved.");
        let stuck = Payment { version: claimed.version + 1, stuck: Some(reason), ..claimed.clone() };
        self.payments.save(&claimed, &stuck).await.unwrap();
        stuck
    }

    /// A refund of a whole payment, of which nobody knows whether it happened.
    pub async fn stuck_refund(&self) -> Refund {
        let payment = self.payment("refunded", &body()).await;
        self.payments.save(&payment, &build::completed(&payment, 100)).await.unwrap();
        let path = format!("/v1/payments/{}/refunds", payment.id);
        let id = self.post_to(&path, "r", "{}".to_owned(), 201).await.body["id"].as_str().unwrap().parse().unwrap();
        let refund = self.payments.refund_of_any_merchant(&id).await.unwrap().unwrap();
        let claimed = refund.claim(Step::Refund, self.clock.now());
        self.payments.claim_refund(&refund, &claimed).await.unwrap();
        let reason = Failure::new("outcome_unknown", "The gateway does not say.");
        let stuck = Refund { version: claimed.version + 1, stuck: Some(reason), ..claimed.clone() };
        self.payments.save_refund(&claimed, &stuck).await.unwrap();
        stuck
    }

    /// The refund, tried again and stuck again.
    pub async fn stuck_again(&self, refund: Refund) -> Refund {
        let again = self.payments.refund_of_any_merchant(&refund.id).await.unwrap().unwrap();
        let stuck = Refund { version: again.version + 1, stuck: refund.stuck, ..again.clone() };
        self.payments.save_refund(&again, &stuck).await.unwrap();
        stuck
    }

    /// What an operator posts.
    pub async fn operate(&self, path: &str, body: &Value, expected: u16) -> Answer {
        let request = request("POST", &format!("/v1/ops/{path}"))
            .header("authorization", format!("Bearer {}", self.root_key.operator_key().expose_text()))
            .header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap(), expected).await
    }

    /// What an operator sees.
    pub async fn look(&self, path: &str, expected: u16) -> Answer {
        let request = request("GET", &format!("/v1/ops/{path}"))
            .header("authorization", format!("bearer {}", self.root_key.operator_key().expose_text()));
        self.send(request.body(Body::empty()).unwrap(), expected).await
    }

    /// Actions and details in the audit, oldest first.
    pub async fn audited(&self) -> Vec<AuditEntry> {
        let audit = Audit::new(self.dynamo.client.clone(), "audit");
        let mut entries = audit.before(OPERATIONS, Timestamp::MAX, 100).await.unwrap();
        // Within a millisecond the order is random.
        entries.sort_by_key(|entry| (entry.at, entry.action.len()));
        entries
    }

    /// The types of all events so far, in the order in which they were published.
    pub fn published(&self) -> Vec<&'static str> {
        self.publisher.events().iter().map(|event| event.event_type.as_str()).collect()
    }

    /// Ids of what is due by this moment.
    pub async fn due(&self, by: Timestamp) -> Vec<String> {
        let mut ids = Vec::new();
        for shard in 0..DUE_SHARDS {
            ids.extend(self.payments.due(shard, by, 100).await.unwrap().0.iter().map(|due| due.id().to_owned()));
        }
        ids
    }

    /// How many payments are stored.
    pub async fn stored(&self) -> i32 {
        let scan = self.dynamo.client.scan().table_name("payments").select(aws_sdk_dynamodb::types::Select::Count);
        scan.send().await.unwrap().count()
    }
}

/// The rate limit of tests that are not about it: their clocks stand still.
fn never_met() -> Rate {
    Rate::new(PER_SECOND_MAX, BURST_MAX).unwrap()
}

pub fn api_key(root_key: &RootKey, merchant: &str, key: &str) -> ApiKeyRecord {
    ApiKeyRecord {
        hash: root_key.api_key_hash(key),
        id: ApiKeyId::derive(&[key]),
        merchant_id: build::merchant(merchant).id,
        kind: florin_domain::merchant::KeyKind::Secret,
        scopes: Permissions::of_keys(),
        revoked: false,
        // Noted already, so that reading costs no write.
        last_used_at: Some(build::START),
    }
}

pub fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

/// The request of product.md §6.
pub fn body() -> Value {
    json!({
        "amount": 10_000, "currency": "NGN",
        "source": { "type": "card", "number": CARD_NUMBER, "expiry": "12/30", "cvv": "123", "holder_name": "Ada Obi" },
        "description": "Order 17", "metadata": { "order_id": "17" },
        "webhook_url": "https://shop.example/hooks", "delay_seconds": 0
    })
}

/// The request with one field replaced; the pointer is an RFC 6901 one.
pub fn body_with(pointer: &str, value: Value) -> Value {
    let mut body = body();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    body
}
