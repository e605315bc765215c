//! Florin in one thread: the functions' own handlers on a database, queues, a gateway and a receiver that repeat
//! themselves exactly, on a clock that the run moves.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request},
};
use florin_analytics::Counter;
use florin_api::Limiter;
use florin_domain::{
    card::Mode,
    ids::{ApiKeyId, PaymentId, PaymentMethodId, RefundId, WebhookEndpointId},
    merchant::{ApiKeyRecord, Merchant},
    payment::{Payment, Status},
    rate::{BURST_MAX, PER_SECOND_MAX, Rate},
    time::Timestamp,
    webhook::WebhookEndpoint,
};
use florin_messaging::{Queue, dead_letters::Records};
use florin_platform::{clock::Clock, guard::Guard, secrets::RootKey, tokens::Tokens};
use florin_processor::{Gate, Processor};
use florin_store::{
    analytics::Analytics,
    audit::Audit,
    breaker::SharedBreaker,
    failures::Failures,
    limits::Limits,
    merchants::Merchants,
    payment_methods::{Kept, PaymentMethods},
    payments::Payments,
    webhooks::Webhooks,
};
use florin_sweeper::Sweeper;
use florin_testing::{
    build,
    bus::{Bus, Manners},
    faults::{Faults, Kind, Plan, dynamo::InProcess},
};
use florin_webhook_sender::{Post, Sender};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    gateway::CardGateway,
    receiver::Receiver,
    template::{self, ANALYTICS, PROCESSING, WEBHOOK},
};

pub(crate) const API: &str = "api";
pub(crate) const PROCESSOR: &str = "processor";
pub(crate) const SENDER: &str = "webhook-sender";
pub(crate) const COUNTER: &str = "analytics";
pub(crate) const SWEEPER: &str = "sweeper";

const KEY: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";
/// The first digits of every card.
pub(crate) const CARD_PREFIX: &str = "424242424242";
/// Where the shop's endpoint listens.
pub(crate) const ENDPOINT_PATH: &str = "/endpoint";
/// So long every invocation takes.
const INVOCATION_MS: i64 = 7;
/// A client that hears nothing asks again after this time.
const CLIENT_PATIENCE_MS: i64 = 1_000;
/// So often a client asks before it calls somebody.
const CLIENT_TRIES_MAX: usize = 10;
/// How often the sweeper runs.
const SWEEP_EVERY_MS: i64 = 60_000;
/// So many sweeps find nothing, and still happen.
const SWEEPS_IN_ANY_CASE: usize = 2;
/// Deliveries, sweeps and waits after which a run that is not quiet never will be.
const STEPS_MAX: usize = 3_000;

/// How a payment may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Completed,
    Failed,
    Canceled,
    Stuck,
}

/// A payment that a client asked for.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) key: String,
    pub(crate) body: String,
    /// What the client was answered in the end.
    pub(crate) answer: String,
    pub(crate) id: PaymentId,
    pub(crate) amount: i64,
    /// Where this payment's own webhook goes.
    pub(crate) path: Option<String>,
    pub(crate) may_end: Vec<End>,
}

/// A refund that a client asked for.
#[derive(Debug, Clone)]
pub(crate) struct RefundOrder {
    pub(crate) id: RefundId,
    pub(crate) payment_id: PaymentId,
}

/// A card that a client stored.
#[derive(Debug, Clone)]
pub(crate) struct CardOrder {
    pub(crate) key: String,
    pub(crate) body: String,
    /// What the client was answered in the end.
    pub(crate) answer: String,
    pub(crate) id: PaymentMethodId,
    /// What the gateway calls it.
    pub(crate) token: String,
    pub(crate) is_deleted: bool,
}

/// What lasts longer than a run: one for each worker.
pub(crate) struct Outside {
    pub(crate) receiver: Receiver,
    post: Post,
}

impl Outside {
    pub(crate) async fn start() -> Self {
        let guard = Guard::new(true);
        // A receiver that does not answer is waited for in real time.
        let timeout = std::time::Duration::from_millis(1_500);
        Self { receiver: Receiver::start().await, post: Post::with_timeouts(guard, timeout, timeout).unwrap() }
    }
}

/// What is to happen to a run besides its story.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    pub(crate) plan: Plan,
    pub(crate) manners: Manners,
    /// After so many batches all queues are emptied, once.
    pub(crate) purge_after: Option<usize>,
}

impl Weather {
    pub(crate) fn new(plan: Plan, manners: Manners) -> Self {
        Self { plan, manners, purge_after: None }
    }
}

struct Functions {
    api: Router,
    processor: Processor,
    sender: Sender,
    counter: Counter,
    sweeper: Sweeper,
}

/// A run.
pub(crate) struct World {
    pub(crate) faults: Faults,
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) gateway: CardGateway,
    pub(crate) receiver: Receiver,
    pub(crate) dynamo: InProcess,
    pub(crate) orders: Vec<Order>,
    pub(crate) refunds: Vec<RefundOrder>,
    pub(crate) cards: Vec<CardOrder>,
    pub(crate) merchant: Merchant,
    pub(crate) root: RootKey,
    pub(crate) endpoint: Option<WebhookEndpoint>,
    /// The queues that lost messages on purpose.
    pub(crate) purged: Vec<&'static str>,
    post: Post,
    functions: Functions,
    purge_after: Option<usize>,
    batches: usize,
    repeats_exactly: bool,
    next_sweep: Timestamp,
    sweeps: usize,
}

impl World {
    pub(crate) async fn start(outside: &Outside, weather: Weather) -> Self {
        let repeats_exactly = matches!(weather.plan, Plan::Random { .. });
        let faults = Faults::new(weather.plan);
        let clock = Clock::set_to(build::START);
        let bus = Bus::new(&template::subscriptions(), weather.manners, clock.clone());
        let dynamo = InProcess::start().await;
        let gateway = CardGateway::new(&faults, &clock, Payments::new(dynamo.test_client(), "payments"));
        let root = RootKey::from_hex(&"5a".repeat(32)).unwrap();
        let merchant = build::merchant("shop");
        let merchants = Merchants::new(dynamo.test_client(), "merchants");
        merchants.put_merchant(&merchant).await.unwrap();
        merchants.put_api_key(&api_key(&root, &merchant)).await.unwrap();
        outside.receiver.begin(&faults);
        let wiring =
            Wiring { faults: &faults, bus: &bus, clock: &clock, dynamo: &dynamo, gateway: &gateway, root: &root };
        let functions = Functions {
            api: wiring.api(),
            processor: wiring.processor(),
            sender: wiring.sender(&outside.post),
            counter: wiring.counter(),
            sweeper: wiring.sweeper(),
        };
        Self {
            next_sweep: clock.now().plus_ms(SWEEP_EVERY_MS),
            receiver: outside.receiver.clone(),
            post: outside.post.clone(),
            purge_after: weather.purge_after,
            orders: Vec::new(),
            refunds: Vec::new(),
            cards: Vec::new(),
            endpoint: None,
            purged: Vec::new(),
            batches: 0,
            repeats_exactly,
            sweeps: 0,
            faults,
            bus,
            clock,
            gateway,
            dynamo,
            merchant,
            root,
            functions,
        }
    }

    pub(crate) fn payments(&self) -> Payments {
        Payments::new(self.dynamo.test_client(), "payments")
    }

    pub(crate) fn webhooks(&self) -> Webhooks {
        Webhooks::new(self.dynamo.test_client(), "webhooks")
    }

    pub(crate) fn analytics(&self) -> Analytics {
        Analytics::reader(self.dynamo.test_client(), "analytics")
    }

    /// The payment of an order, as it stands in the table.
    pub(crate) async fn payment(&self, order: &Order) -> Option<Payment> {
        self.payments().get_of_any_merchant(&order.id).await.unwrap()
    }

    /// The shop registers an endpoint for all of its events.
    pub(crate) async fn register_endpoint(&mut self) {
        let endpoint = WebhookEndpoint {
            id: WebhookEndpointId::derive(&["shop"]),
            merchant_id: self.merchant.id.clone(),
            url: self.receiver.url(ENDPOINT_PATH),
            secret_generation: 1,
            enabled: true,
        };
        self.webhooks().put_endpoint(&endpoint).await.unwrap();
        self.endpoint = Some(endpoint);
    }

    /// A client pays with a card, and asks until it is answered.
    pub(crate) async fn pay(&mut self, last4: &str, own_webhook: bool, may_end: &[End]) {
        self.pay_later(last4, own_webhook, 0, may_end).await;
    }

    /// The same, to be processed after so many seconds.
    pub(crate) async fn pay_later(&mut self, last4: &str, own_webhook: bool, seconds: i64, may_end: &[End]) {
        let source = json!({ "type": "card", "number": format!("{CARD_PREFIX}{last4}"), "expiry": "12/30",
                             "cvv": "123", "holder_name": "Ada Obi" });
        self.pay_from(source, own_webhook, seconds, may_end).await;
    }

    /// The same with a card that was stored.
    pub(crate) async fn pay_with(&mut self, card: usize, seconds: i64, may_end: &[End]) {
        let source = json!({ "type": "payment_method", "id": self.cards[card].id });
        self.pay_from(source, true, seconds, may_end).await;
    }

    async fn pay_from(&mut self, source: Value, own_webhook: bool, seconds: i64, may_end: &[End]) {
        let key = format!("order-{}", self.orders.len());
        let amount = 1_000 + i64::try_from(self.orders.len()).unwrap();
        let path = own_webhook.then(|| format!("/{key}"));
        let body = json!({
            "amount": amount, "currency": "NGN", "metadata": { "order": key },
            "source": source, "delay_seconds": seconds,
            "webhook_url": path.as_ref().map(|path| self.receiver.url(path)),
        });
        let body = body.to_string();
        let (status, _, answer) = self.post("/v1/payments", &key, &body).await;
        assert_eq!(status, 201, "{answer}");
        let id = serde_json::from_str::<Value>(&answer).unwrap()["id"].as_str().unwrap().parse().unwrap();
        self.orders.push(Order { key, body, answer, id, amount, path, may_end: may_end.to_vec() });
    }

    /// A client stores a card.
    pub(crate) async fn store_card(&mut self, last4: &str) {
        let key = format!("card-{}", self.cards.len());
        let card = json!({ "number": format!("{CARD_PREFIX}{last4}"), "expiry": "12/30", "cvv": "123",
                           "holder_name": "Ada Obi" });
        let body = json!({ "card": card, "customer": "cust-1" }).to_string();
        let (status, _, answer) = self.post("/v1/payment_methods", &key, &body).await;
        assert_eq!(status, 201, "{answer}");
        let id = serde_json::from_str::<Value>(&answer).unwrap()["id"].as_str().unwrap().parse().unwrap();
        let Some(Kept::Live(method)) = self.kept_card(&id).await else { panic!("it is not kept") };
        self.cards.push(CardOrder { key, body, answer, id, token: method.at_gateway.token, is_deleted: false });
    }

    /// And deletes it.
    pub(crate) async fn delete_card(&mut self, card: usize) {
        let path = format!("/v1/payment_methods/{}", self.cards[card].id);
        let (status, _, answer) = self.ask("DELETE", &path, "", "").await;
        assert_eq!(status, 204, "{answer}");
        self.cards[card].is_deleted = true;
    }

    /// What is kept of a stored card.
    pub(crate) async fn kept_card(&self, id: &PaymentMethodId) -> Option<Kept> {
        let methods = PaymentMethods::new(self.dynamo.test_client(), "merchants");
        methods.kept(&self.merchant.id, id).await.unwrap()
    }

    /// See [`Self::ask`].
    pub(crate) async fn post(&mut self, path: &str, key: &str, body: &str) -> (u16, HeaderMap, String) {
        self.ask("POST", path, key, body).await
    }

    /// Asks as a real client does: while it hears nothing, or of an error on our side, it asks again with the same key.
    async fn ask(&mut self, method: &str, path: &str, key: &str, body: &str) -> (u16, HeaderMap, String) {
        for _ in 0..CLIENT_TRIES_MAX {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("authorization", format!("Bearer {KEY}"))
                .header("content-type", "application/json")
                .header("idempotency-key", if key.is_empty() { "none" } else { key })
                .body(Body::from(body.to_owned()))
                .unwrap();
            self.clock.advance_ms(INVOCATION_MS);
            let router = self.functions.api.clone();
            match self.faults.invoke(async { answer(router.oneshot(request).await.unwrap()).await }).await {
                Some(answer) if answer.0 < 500 => return answer,
                Some(_) => {}
                None => self.replace(API),
            }
            self.clock.advance_ms(CLIENT_PATIENCE_MS);
        }
        panic!("the client was never answered");
    }

    /// The merchant commands what is to become of the payment of this order: `cancel`, `hold` or `resume`.
    pub(crate) async fn command(&mut self, order: usize, command: &str) {
        let path = format!("/v1/payments/{}/{command}", self.orders[order].id);
        let (status, _, answer) = self.post(&path, "", "{}").await;
        // What the payment's status does not allow is refused.
        assert!(matches!(status, 200 | 202 | 409), "{command}: {status} {answer}");
    }

    /// The merchant gives back this amount of the payment of this order, or all that is left, if the payment allows it.
    pub(crate) async fn refund(&mut self, order: usize, amount: Option<i64>, key: &str) {
        let payment_id = self.orders[order].id.clone();
        let body = amount.map_or_else(|| json!({}), |amount| json!({ "amount": amount }));
        let (status, _, answer) =
            self.post(&format!("/v1/payments/{payment_id}/refunds"), key, &body.to_string()).await;
        assert!(matches!(status, 201 | 409 | 422), "{status} {answer}");
        if status == 201 {
            let id = serde_json::from_str::<Value>(&answer).unwrap()["id"].as_str().unwrap().parse().unwrap();
            self.refunds.push(RefundOrder { id, payment_id });
        }
    }

    /// Lets everything that waits happen, until nothing does.
    pub(crate) async fn drain(&mut self) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            if self.purge_after.is_some_and(|batches| self.batches >= batches) {
                self.purge();
            }
            if let Some(queue) = self.bus.ready().first() {
                self.deliver(queue).await;
                continue;
            }
            if self.is_quiet().await {
                return Ok(());
            }
            let next = self.bus.next_visible().map_or(self.next_sweep, |next| next.min(self.next_sweep));
            self.clock.advance_ms(next.ms_since(self.clock.now()));
            if self.next_sweep <= self.clock.now() {
                self.sweep().await;
            }
        }
        Err(format!("not quiet after {STEPS_MAX} steps, at {}", self.clock.now()))
    }

    /// Lets at most so many batches be delivered, without waiting for anything.
    pub(crate) async fn some_batches(&mut self, batches: usize) {
        for _ in 0..batches {
            let Some(queue) = self.bus.ready().first().copied() else { return };
            self.deliver(queue).await;
        }
    }

    /// Empties all queues.
    pub(crate) fn purge(&mut self) {
        self.purged.extend(self.bus.purge());
        self.purge_after = None;
    }

    /// Nothing is under way, and nobody has to look at anything but at what is stuck or held.
    async fn is_quiet(&self) -> bool {
        if self.bus.next_visible().is_some() || self.purge_after.is_some() {
            return false;
        }
        let mut waiting = 0;
        for order in &self.orders {
            match self.payment(order).await {
                Some(payment) if payment.stuck.is_some() || payment.status == Status::OnHold => waiting += 1,
                Some(payment) if payment.status.is_terminal() => {}
                _ => return false,
            }
        }
        for order in &self.refunds {
            match self.payments().refund_of_any_merchant(&order.id).await.unwrap() {
                Some(refund) if refund.stuck.is_some() => waiting += 1,
                Some(refund) if refund.status.is_terminal() => {}
                _ => return false,
            }
        }
        self.dynamo.count("payments", "da", "attribute_exists(#a)", None) == waiting
    }

    /// Lambda's poller: receive, invoke, delete what did not fail.
    async fn deliver(&mut self, queue: &'static str) {
        self.batches += 1;
        let messages_max = match queue {
            ANALYTICS => 50,
            // Posts that are under way at once end in an order that nobody can repeat.
            WEBHOOK if self.repeats_exactly => 1,
            _ => 10,
        };
        let batch = self.bus.receive(queue, messages_max);
        self.clock.advance_ms(INVOCATION_MS);
        let receipts: Vec<(String, String)> =
            batch.records.iter().map(|r| (r.message_id.clone().unwrap(), r.receipt_handle.clone().unwrap())).collect();
        if receipts.is_empty() {
            return;
        }
        let functions = &self.functions;
        let (component, answer) = match queue {
            PROCESSING => (PROCESSOR, self.faults.invoke(functions.processor.handle(batch, None)).await),
            WEBHOOK => (SENDER, self.faults.invoke(functions.sender.handle(batch, None)).await),
            _ => (COUNTER, self.faults.invoke(functions.counter.handle(batch, None)).await),
        };
        let Some(answer) = answer else {
            self.replace(component);
            return;
        };
        let failed: Vec<String> =
            answer.unwrap().batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
        let done: Vec<String> =
            receipts.into_iter().filter(|(id, _)| !failed.contains(id)).map(|(_, receipt)| receipt).collect();
        if !done.is_empty() {
            let delete = async || self.bus.delete(queue, &done);
            // What is not deleted comes again.
            self.faults.pass(component, Kind::Acknowledge, "sqs.DeleteMessageBatch", delete).await.unwrap_or_default();
        }
    }

    /// The first sweeps happen in any case; later ones only if there is something to find, for the others change
    /// nothing and a run may last for hours of its own time.
    async fn sweep(&mut self) {
        let now = self.clock.now();
        self.next_sweep = now.plus_ms(SWEEP_EVERY_MS);
        self.sweeps += 1;
        if self.sweeps > SWEEPS_IN_ANY_CASE && self.dynamo.count("payments", "da", "#a <= :value", Some(now.ms())) == 0
        {
            return;
        }
        self.clock.advance_ms(INVOCATION_MS);
        // A run that breaks off is made up for by the next.
        if self.faults.invoke(self.functions.sweeper.run()).await.is_none() {
            self.replace(SWEEPER);
        }
    }

    /// A new instance in place of one that died: it remembers nothing.
    fn replace(&mut self, component: &str) {
        let wiring = Wiring {
            faults: &self.faults,
            bus: &self.bus,
            clock: &self.clock,
            dynamo: &self.dynamo,
            gateway: &self.gateway,
            root: &self.root,
        };
        match component {
            API => self.functions.api = wiring.api(),
            PROCESSOR => self.functions.processor = wiring.processor(),
            SENDER => self.functions.sender = wiring.sender(&self.post),
            COUNTER => self.functions.counter = wiring.counter(),
            _ => self.functions.sweeper = wiring.sweeper(),
        }
    }
}

/// What functions are made of, in one place: as each `main.rs` does it.
struct Wiring<'a> {
    faults: &'a Faults,
    bus: &'a Bus,
    clock: &'a Clock,
    dynamo: &'a InProcess,
    gateway: &'a CardGateway,
    root: &'a RootKey,
}

impl Wiring<'_> {
    fn api(&self) -> Router {
        let client = self.dynamo.client(API, self.faults);
        let records = Records {
            failures: Failures::new(client.clone(), "idempotency", API, || build::START),
            audit: Audit::new(client.clone(), "audit"),
            now: || build::START,
        };
        florin_api::router(florin_api::Dependencies {
            payments: Payments::new(client.clone(), "payments"),
            merchants: Merchants::new(client.clone(), "merchants"),
            limiter: Limiter::new(
                Limits::new(client.clone(), "merchants"),
                Rate::new(PER_SECOND_MAX, BURST_MAX).unwrap(),
            ),
            payment_methods: PaymentMethods::new(client.clone(), "merchants"),
            analytics: Analytics::reader(client.clone(), "analytics"),
            breaker: SharedBreaker::new(client.clone(), "payments"),
            audit: records.audit.clone(),
            queues: florin_api::Queues::new(no_queues, "florin", records),
            gateway: self.gateway.seen_by(API),
            publisher: self.bus.publisher(API, self.faults),
            oidc: None,
            root_key: self.root.clone(),
            sign_up: florin_api::SignUp::Open,
            tokens: Tokens::new(self.root, "https://florin.example".to_owned(), 1),
            guard: Guard::new(true),
            mode: Mode::Test,
            clock: self.clock.clone(),
        })
    }

    fn processor(&self) -> Processor {
        let client = self.dynamo.client(PROCESSOR, self.faults);
        Processor::new(
            Payments::new(client.clone(), "payments"),
            Merchants::new(client.clone(), "merchants"),
            Gate::new(self.gateway.seen_by(PROCESSOR), SharedBreaker::new(client, "payments"), self.clock.clone()),
            self.bus.publisher(PROCESSOR, self.faults),
            self.queue(PROCESSOR, PROCESSING),
            self.clock.clone(),
        )
        .with_jitter(|| 50)
    }

    fn sender(&self, post: &Post) -> Sender {
        let webhooks = Webhooks::new(self.dynamo.client(SENDER, self.faults), "webhooks");
        let queue = self.queue(SENDER, WEBHOOK);
        Sender::new(webhooks, self.root.clone(), post.clone(), queue, self.clock.clone(), || 50)
    }

    fn queue(&self, component: &'static str, queue: &'static str) -> Queue {
        let client = self.dynamo.client(component, self.faults);
        let failures = Failures::new(client, "idempotency", queue, || build::START);
        Queue { visibility: self.bus.visibility(component, queue, self.faults), failures: Arc::new(failures) }
    }

    fn counter(&self) -> Counter {
        let analytics = Analytics::new(self.dynamo.client(COUNTER, self.faults), "analytics", "idempotency");
        Counter::new(analytics, self.queue(COUNTER, ANALYTICS), || 1)
    }

    fn sweeper(&self) -> Sweeper {
        let client = self.dynamo.client(SWEEPER, self.faults);
        let payments = Payments::new(client.clone(), "payments");
        let breaker = SharedBreaker::new(client, "payments");
        Sweeper::new(payments, breaker, self.bus.publisher(SWEEPER, self.faults), self.clock.clone())
    }
}

fn api_key(root: &RootKey, merchant: &Merchant) -> ApiKeyRecord {
    ApiKeyRecord {
        hash: root.api_key_hash(KEY),
        id: ApiKeyId::derive(&[KEY]),
        merchant_id: merchant.id.clone(),
        kind: florin_domain::merchant::KeyKind::Secret,
        scopes: florin_domain::permission::Permissions::of_keys(),
        revoked: false,
        last_used_at: None,
    }
}

async fn answer(response: axum::response::Response) -> (u16, HeaderMap, String) {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.status.as_u16(), parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

/// Only operators ask the API about queues, and no run has one.
fn no_queues() -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder().behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest());
    aws_sdk_sqs::Client::from_conf(config.build())
}
