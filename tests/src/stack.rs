//! A running stack, as `local.env` describes it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::{config::Credentials, types::QueueAttributeName};
use reqwest::Response;
use serde_json::{Value, json};

/// How long anything may take to settle that nothing has disturbed.
pub const SETTLE: Duration = Duration::from_secs(30);

/// How often a client asks that wants an answer, and how long it waits in between.
const ASKS_MAX: usize = 240;
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How to reach it, and as whom.
#[derive(Clone)]
pub struct Stack {
    settings: Arc<BTreeMap<String, String>>,
    pub http: reqwest::Client,
    pub api_url: String,
    pub api_key: String,
    pub gateway_url: String,
    pub gateway_key: String,
    pub sqs: aws_sdk_sqs::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
}

/// The value of a variable of `local.env`.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: start the stack with ./scripts/up --detach and read .florin/local.env, or run ./scripts/test")
    })
}

impl Stack {
    /// The stack whose settings the environment holds.
    pub async fn from_env() -> Self {
        setting("FLORIN_API_URL");
        Self::with(std::env::vars().collect()).await
    }

    /// The stack that this `local.env` describes, whatever the environment holds.
    pub async fn from_file(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let pairs = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        Self::with(pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect()).await
    }

    async fn with(settings: BTreeMap<String, String>) -> Self {
        let get =
            |name: &str| settings.get(name).unwrap_or_else(|| panic!("the stack's settings have no {name}")).clone();
        let credentials =
            Credentials::new(get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), None, None, "local.env");
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(get("AWS_ENDPOINT_URL"))
            .region(Region::new(get("AWS_REGION")))
            .credentials_provider(credentials)
            .load()
            .await;
        Self {
            http: reqwest::Client::builder().no_proxy().timeout(SETTLE).build().unwrap(),
            api_url: get("FLORIN_API_URL"),
            api_key: get("FLORIN_API_KEY"),
            gateway_url: get("FLORIN_GATEWAY_URL"),
            gateway_key: get("FLORIN_GATEWAY_KEY"),
            sqs: aws_sdk_sqs::Client::new(&aws),
            dynamodb: aws_sdk_dynamodb::Client::new(&aws),
            settings: Arc::new(settings),
        }
    }

    /// One of the stack's settings.
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).unwrap_or_else(|| panic!("the stack's settings have no {name}"))
    }

    /// The same stack, called as the other merchant.
    pub fn as_other_merchant(&self) -> Self {
        self.with_key(self.setting("FLORIN_OTHER_API_KEY"))
    }

    /// The same stack, called with this key.
    pub fn with_key(&self, api_key: &str) -> Self {
        Self { api_key: api_key.to_owned(), ..self.clone() }
    }

    /// A request to pay 100.00 NGN with the card of these last four digits.
    pub fn payment(last4: &str) -> Value {
        json!({
            "amount": 10_000, "currency": "NGN",
            "source": { "type": "card", "number": format!("4242 4242 4242 {last4}"), "expiry": "12/30", "cvv": "917",
                        "holder_name": "Ada Obi" },
            "description": "Order 17", "metadata": { "order_id": "17" }
        })
    }

    pub async fn try_post(&self, key: &str, body: &Value) -> reqwest::Result<Response> {
        let request = self.http.post(format!("{}/v1/payments", self.api_url)).bearer_auth(&self.api_key);
        request.header("idempotency-key", key).json(body).send().await
    }

    /// Creates a payment, as a client does that wants it created: a lost or failed answer is asked for again.
    pub async fn pay(&self, key: &str, body: &Value) -> Value {
        let (status, answer) = self.insist("/v1/payments", Some(key), body).await;
        assert_eq!(status, 201, "{answer}");
        answer
    }

    /// A request of this merchant, once; the body as JSON, or null.
    pub async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> reqwest::Result<(u16, Value)> {
        let request = self.http.post(format!("{}{path}", self.api_url)).bearer_auth(&self.api_key).json(body);
        let request = key.iter().fold(request, |request, key| request.header("idempotency-key", *key));
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// The same, asked again until it is answered: a client that was cut off does not know what became of it.
    pub async fn insist(&self, path: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
        for _ in 0..ASKS_MAX {
            match self.post(path, key, body).await {
                Ok((status, body)) if status < 500 && status != 429 => return (status, body),
                Ok(_) | Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
        panic!("{path} was never answered")
    }

    pub async fn get(&self, path: &str, expected: u16) -> Value {
        let request = self.http.get(format!("{}{path}", self.api_url)).bearer_auth(&self.api_key);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.json().await.unwrap_or(Value::Null);
        assert_eq!(status, expected, "{path}: {body}");
        body
    }

    /// The payment, once it has ended.
    pub async fn ended(&self, id: &str, within: Duration) -> Value {
        until(&format!("{id} ends"), within, async || {
            let payment = self.get(&format!("/v1/payments/{id}"), 200).await;
            matches!(payment["status"].as_str(), Some("completed" | "failed" | "canceled")).then_some(payment)
        })
        .await
    }

    /// `step attempt outcome` of every entry of the timeline.
    pub async fn story(&self, id: &str) -> Vec<String> {
        let timeline = self.get(&format!("/v1/payments/{id}/timeline"), 200).await;
        let text = |value: &Value| value.as_str().unwrap_or("open").to_owned();
        let entries = timeline["data"].as_array().unwrap().iter();
        entries.map(|e| format!("{} {} {}", text(&e["step"]), e["attempt"], text(&e["outcome"]))).collect()
    }

    /// Every charge that the gateway has taken, as (payment id, amount), by its own list.
    pub async fn charges(&self) -> Vec<(String, i64)> {
        let intents = self.gateway_list("/v1/payment_intents").await.into_iter();
        let taken = intents.filter(|intent| intent["status"] == "succeeded");
        let payment = |intent: &Value| intent["metadata"]["payment_id"].as_str().unwrap_or_default().to_owned();
        taken.map(|intent| (payment(&intent), intent["amount_received"].as_i64().unwrap())).collect()
    }

    /// All records of one of the gateway's lists.
    pub async fn gateway_list(&self, path: &str) -> Vec<Value> {
        let mut records = Vec::new();
        let mut after = String::new();
        loop {
            let url = format!("{}{path}?limit=100{after}", self.gateway_url);
            let answer = self.http.get(url).bearer_auth(&self.gateway_key).send().await.unwrap();
            let page: Value = answer.error_for_status().unwrap().json().await.unwrap();
            let found = page["data"].as_array().unwrap();
            records.extend(found.iter().cloned());
            if page["has_more"] != true {
                return records;
            }
            after = format!("&starting_after={}", found.last().unwrap()["id"].as_str().unwrap());
        }
    }

    /// Messages of a queue: waiting, and in flight.
    pub async fn depth(&self, queue_url: &str) -> (u64, u64) {
        let request = self.sqs.get_queue_attributes().queue_url(queue_url).attribute_names(QueueAttributeName::All);
        let attributes = request.send().await.unwrap().attributes.unwrap_or_default();
        let number = |name| attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or(0);
        (
            number(QueueAttributeName::ApproximateNumberOfMessages)
                + number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
            number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        )
    }

    /// Waits until no queue holds a message.
    pub async fn drained(&self, within: Duration) {
        until("every queue is empty", within, async || {
            for queue in ["PROCESSING", "WEBHOOK", "ANALYTICS"] {
                if self.depth(self.setting(&format!("FLORIN_{queue}_QUEUE_URL"))).await != (0, 0) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// The merchant's counters of the last day: sums of (count, amount) by status.
    pub async fn totals(&self) -> Vec<(String, i64, i64)> {
        let mut totals = std::collections::BTreeMap::<String, (i64, i64)>::new();
        for bucket in self.get("/v1/analytics/payments", 200).await["data"].as_array().unwrap() {
            for (status, count) in bucket["count"].as_object().unwrap() {
                let total = totals.entry(status.clone()).or_default();
                total.0 += count.as_i64().unwrap();
                total.1 += bucket["amount"][status].as_i64().unwrap();
            }
        }
        totals.into_iter().map(|(status, (count, amount))| (status, count, amount)).collect()
    }
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, within: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
