//! A simulator in the test's own process.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use florin_domain::time::Timestamp;
use florin_gateway_simulator::{Simulator, router};
use florin_platform::clock::Clock;
use florin_store::gateway::GatewayTable;
use florin_testing::dynamo::Dynamo;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) const API_KEY: &str = "sk_test_simulator";
pub(crate) const NOW_MS: i64 = 1_795_251_600_000;
pub(crate) const SIMULATED_TIMEOUT: Duration = Duration::from_millis(1_500);

/// One instance of the function.
#[derive(Clone)]
pub(crate) struct Gateway {
    dynamo: Arc<Dynamo>,
    pub(crate) clock: Clock,
    router: Router,
    key: &'static str,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    pub(crate) fn id(&self) -> String {
        self.json["id"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn basic(key: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{key}:")))
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let dynamo = Arc::new(Dynamo::start().await);
        let clock = Clock::set_to(Timestamp::from_ms(NOW_MS));
        let router = instance(&dynamo, &clock, API_KEY);
        Self { dynamo, clock, router, key: API_KEY }
    }

    /// The same function elsewhere, over the same table.
    pub(crate) fn another_instance(&self) -> Self {
        Self { router: instance(&self.dynamo, &self.clock, self.key), ..self.clone() }
    }

    /// A simulator that is let in by another key.
    pub(crate) fn with_key(&self, key: &'static str) -> Self {
        Self { router: instance(&self.dynamo, &self.clock, key), key, ..self.clone() }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status: parts.status, headers: parts.headers, text, json }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("authorization", &format!("Bearer {}", self.key))], Vec::new()).await
    }

    pub(crate) async fn post(&self, path: &str, key: Option<&str>, form: &str) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let mut headers =
            vec![("authorization", bearer.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        self.send("POST", path, &headers, form.as_bytes().to_vec()).await
    }

    pub(crate) async fn tokenise(&self, number: &str, key: Option<&str>) -> Answer {
        let number = number.replace(' ', "+");
        let form = format!(
            "type=card&card[number]={number}&card[exp_month]=12&card[exp_year]=2030&card[cvc]=5937\
             &billing_details[name]=Ada+Obi"
        );
        self.post("/v1/payment_methods", key, &form).await
    }

    /// A payment method of that number.
    pub(crate) async fn card(&self, number: &str) -> String {
        self.tokenise(number, None).await.expect(StatusCode::OK).id()
    }

    /// A payment method of that number and a new customer that it is attached to.
    pub(crate) async fn stored_card(&self, number: &str) -> (String, String) {
        let method = self.card(number).await;
        let form = format!("payment_method={method}&metadata[payment_method_id]=pm_ours");
        let customer = self.post("/v1/customers", None, &form).await.expect(StatusCode::OK).id();
        (method, customer)
    }

    /// One that may be charged again and again, as a form names it: with its customer.
    pub(crate) async fn reusable_card(&self, number: &str) -> String {
        let (method, customer) = self.stored_card(number).await;
        format!("{method}&customer={customer}")
    }

    pub(crate) async fn charge(&self, method: &str, payment: &str, key: Option<&str>) -> Answer {
        let form = format!(
            "amount=10000&currency=ngn&payment_method={method}&payment_method_types[]=card&confirm=true\
             &metadata[payment_id]={payment}&description=Order+17"
        );
        self.post("/v1/payment_intents", key, &form).await
    }

    /// Every payment intent, newest first.
    pub(crate) async fn intents(&self) -> Vec<Value> {
        let answer = self.get("/v1/payment_intents?limit=100").await.expect(StatusCode::OK);
        assert_eq!(answer.json["has_more"], false);
        answer.json["data"].as_array().unwrap().clone()
    }

    pub(crate) async fn behave(&self, form: &str) {
        self.post("/_simulator/behaviour", None, form).await.expect(StatusCode::OK);
    }

    /// Everything in the table, as text.
    pub(crate) async fn dump(&self) -> String {
        let output = self.dynamo.client.scan().table_name("gateway").send().await.unwrap();
        format!("{:?}", output.items())
    }
}

fn instance(dynamo: &Dynamo, clock: &Clock, key: &str) -> Router {
    let table = GatewayTable::new(dynamo.client.clone(), "gateway".to_owned());
    let simulator = Simulator::new(table, key.to_owned().into(), clock.clone());
    router(Arc::new(simulator.with_simulated_timeout(SIMULATED_TIMEOUT)))
}
