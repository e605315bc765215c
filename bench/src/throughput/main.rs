//! Measures payments through a running stack, from POST to the receipt of the webhook that says `payment.completed`.
//!
//! `. .florin/local.env && cargo run --release --bin throughput [-- PAYMENTS CLIENTS]`; `./scripts/bench-local`
//! compares the local host with MiniStack. First as many at once as clients can post, then one after the other. CPU
//! time is what the kernel counts for the emulator's process and for the functions' processes below it, this program
//! apart.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "it prints what it measured by the clock")]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

mod cpu;

/// Payments that are measured.
const PAYMENTS: usize = 500;
/// Clients that post at once.
const CLIENTS: usize = 16;
/// Payments before the measurement, as a share of those that are measured: connections and processes are there then.
const WARM_UP_DIVISOR: usize = 5;
/// Payments one after the other.
const ALONE: usize = 40;
/// After this long without a webhook something is lost.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A request that failed is sent again so often.
const TRIES_MAX: u32 = 5;

/// A completed payment: its number, and when its webhook came.
type Arrival = (usize, Instant);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let payments = arguments.next().transpose()?.unwrap_or(PAYMENTS);
    let clients = arguments.next().transpose()?.unwrap_or(CLIENTS);
    ensure!(payments > 0 && clients > 0, "throughput takes a number of payments and a number of clients");
    let (stack, mut arrivals) = Stack::from_env().await?;
    let emulator = std::env::var("FLORIN_EMULATOR").unwrap_or_else(|_| "ministack".to_owned());
    println!("{emulator}: {payments} payments by {clients} clients");

    stack.pay(payments.div_ceil(WARM_UP_DIVISOR), clients, &mut arrivals).await?;
    let before = stack.cpu()?;
    let (took, latencies) = stack.pay(payments, clients, &mut arrivals).await?;
    // Analytics may still be counting; its work belongs to these payments.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = stack.cpu()?;
    println!("throughput       {:>8} payments/s", per_second(payments, took));
    println!("POST to webhook  {:>8} ms p50  {:>6} ms p99", at(&latencies, 50), at(&latencies, 99));

    let mut alone = Vec::new();
    for _ in 0..ALONE {
        alone.extend(stack.pay(1, 1, &mut arrivals).await?.1);
    }
    alone.sort_unstable();
    println!("one at a time    {:>8} ms p50  {:>6} ms p99", at(&alone, 50), at(&alone, 99));
    let each =
        |before: u64, after: u64| tenths(after.saturating_sub(before) * 10 / u64::try_from(payments).unwrap_or(1));
    println!("CPU, emulator    {:>8} ms/payment", each(before.emulator_ms, after.emulator_ms));
    println!("CPU, functions   {:>8} ms/payment", each(before.functions_ms, after.functions_ms));
    Ok(())
}

/// `12.3` of 123.
fn tenths(number: impl Into<u128>) -> String {
    let number = number.into();
    format!("{}.{}", number / 10, number % 10)
}

fn per_second(count: usize, took: Duration) -> String {
    tenths(u128::try_from(count).unwrap_or(0) * 10_000 / took.as_millis().max(1))
}

/// This percentile of sorted times, in milliseconds.
fn at(sorted: &[Duration], percent: usize) -> u128 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).map(Duration::as_millis).unwrap_or(0)
}

/// The running stack, as `local.env` describes it, and a receiver of its webhooks.
#[derive(Clone)]
struct Stack {
    http: reqwest::Client,
    api_url: String,
    api_key: String,
    emulator: u32,
    receiver: String,
    /// Begins every Idempotency-Key of this run.
    run: String,
    /// Numbers payments through all phases.
    next: Arc<AtomicUsize>,
}

impl Stack {
    async fn from_env() -> Result<(Self, UnboundedReceiver<Arrival>)> {
        let setting =
            |name: &str| std::env::var(name).with_context(|| format!("{name} is not set: read the stack's local.env"));
        let (tell, arrivals) = unbounded_channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let receiver = format!("http://{}", listener.local_addr()?);
        let app = Router::new().route("/{number}", post(receive)).with_state(tell);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let stack = Self {
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?,
            api_url: setting("FLORIN_API_URL")?,
            api_key: setting("FLORIN_API_KEY")?,
            emulator: setting("FLORIN_EMULATOR_PID")?.parse().context("FLORIN_EMULATOR_PID is no number")?,
            receiver,
            run: format!("bench-{:x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis()),
            next: Arc::default(),
        };
        Ok((stack, arrivals))
    }

    fn cpu(&self) -> Result<cpu::Cpu> {
        cpu::measure(self.emulator)
    }

    /// Makes so many payments by so many clients, each of which posts one after the other, and waits for all webhooks.
    /// Gives the time of the whole, and each payment's from its POST to its webhook, sorted.
    async fn pay(
        &self,
        payments: usize,
        clients: usize,
        arrivals: &mut UnboundedReceiver<Arrival>,
    ) -> Result<(Duration, Vec<Duration>)> {
        let first = self.next.fetch_add(payments, Ordering::Relaxed);
        let started = Instant::now();
        let clients = (0..clients).map(|client| {
            let (stack, numbers) = (self.clone(), (first + client..first + payments).step_by(clients));
            tokio::spawn(async move {
                let mut posted = Vec::new();
                for number in numbers {
                    posted.push((number, Instant::now()));
                    stack.post(number).await?;
                }
                anyhow::Ok(posted)
            })
        });
        let clients: Vec<_> = clients.collect();
        let mut arrived = HashMap::new();
        let mut last = started;
        while arrived.len() < payments {
            let arrival = tokio::time::timeout(SILENCE_MAX, arrivals.recv()).await.ok().flatten();
            let Some((number, moment)) = arrival else {
                bail!("{} of {payments} webhooks came, then none for {SILENCE_MAX:?}", arrived.len());
            };
            // A webhook may come twice, and one of an earlier phase late.
            if number >= first && arrived.insert(number, moment).is_none() {
                last = moment;
            }
        }
        let mut latencies = Vec::with_capacity(payments);
        for client in clients {
            for (number, posted) in client.await?? {
                let moment = arrived.get(&number).context("a payment without a webhook")?;
                latencies.push(moment.saturating_duration_since(posted));
            }
        }
        latencies.sort_unstable();
        Ok((last.saturating_duration_since(started), latencies))
    }

    /// Creates a payment. A lost or failed answer is asked for again under the same key.
    async fn post(&self, number: usize) -> Result<()> {
        let body = json!({
            "amount": 10_000, "currency": "NGN",
            "source": { "type": "card", "number": "4242 4242 4242 4242", "expiry": "12/30", "cvv": "917",
                        "holder_name": "Ada Obi" },
            "description": "Bench", "webhook_url": format!("{}/{number}", self.receiver),
        });
        let mut said = String::new();
        for _ in 0..TRIES_MAX {
            let request = self.http.post(format!("{}/v1/payments", self.api_url)).bearer_auth(&self.api_key);
            match request.header("idempotency-key", format!("{}-{number}", self.run)).json(&body).send().await {
                Ok(answer) if answer.status() == 201 => return Ok(()),
                Ok(answer) => said = format!("{} {}", answer.status(), answer.text().await?),
                Err(error) => said = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("payment {number} could not be created: {said}")
    }
}

/// Takes a webhook; only the one of a completed payment counts.
async fn receive(
    State(tell): State<UnboundedSender<Arrival>>,
    Path(number): Path<usize>,
    Json(event): Json<Value>,
) -> StatusCode {
    if event.get("type").and_then(Value::as_str) == Some("payment.completed")
        && tell.send((number, Instant::now())).is_err()
    {
        // The program is ending.
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::NO_CONTENT
}
