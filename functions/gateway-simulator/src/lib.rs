//! HTTP: a card gateway that speaks the subset of Stripe's API that Florin uses. Test mode only.
//!
//! It keeps its charges in a table of its own, so that anybody can count them, and knows the test cards of product.md.
//! What it speaks, and where it differs from Stripe, is in `docs/gateway.md`.
//!
//! Of a card it stores brand, last four digits, expiry, holder and a keyed fingerprint; number and security code end
//! with the request.

mod behaviour;
mod card;
mod customers;
mod failure;
mod id;
mod idempotency;
mod list;
mod params;
mod payment_intents;
mod payment_methods;
mod refunds;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use florin_platform::clock::Clock;
use florin_store::gateway::GatewayTable;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::{behaviour::Switch, failure::Failure};

pub use behaviour::{BEHAVIOUR_SECONDS_MAX, DELAY_MS_MAX};

/// How long the answer for the card 0119 is held back after its charge was taken, in milliseconds: longer than any
/// client of ours waits.
pub const SIMULATED_TIMEOUT_MS: u64 = 8_000;

/// What an `Authorization` header may have, in bytes.
const AUTHORIZATION_BYTES_MAX: usize = 512;

/// What every request shares.
pub struct Simulator {
    table: GatewayTable,
    api_key: SecretString,
    clock: Clock,
    simulated_timeout: Duration,
    switch: Switch,
}

type Shared = State<Arc<Simulator>>;

impl Simulator {
    /// A simulator over `table` that lets `api_key` in.
    #[must_use]
    pub fn new(table: GatewayTable, api_key: SecretString, clock: Clock) -> Self {
        let simulated_timeout = Duration::from_millis(SIMULATED_TIMEOUT_MS);
        Self { table, api_key, clock, simulated_timeout, switch: Switch::default() }
    }

    /// With another time than [`SIMULATED_TIMEOUT_MS`].
    #[must_use]
    pub fn with_simulated_timeout(mut self, timeout: Duration) -> Self {
        self.simulated_timeout = timeout;
        self
    }

    /// Opens the connection to the table, so that the first request does not wait for it. What goes wrong shows there.
    pub async fn warm(&self) {
        if let Err(error) = self.table.behaviour().await {
            tracing::warn!(%error, "the table cannot be read yet");
        }
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().ms()
    }
}

/// The routes.
pub fn router(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/v1/payment_methods", post(payment_methods::create).get(payment_methods::list))
        .route("/v1/payment_methods/{id}", get(payment_methods::retrieve))
        .route("/v1/payment_methods/{id}/attach", post(payment_methods::attach))
        .route("/v1/payment_methods/{id}/detach", post(payment_methods::detach))
        .route("/v1/customers", post(customers::create).get(customers::list))
        .route("/v1/customers/{id}", get(customers::retrieve))
        .route("/v1/payment_intents", post(payment_intents::create).get(payment_intents::list))
        .route("/v1/payment_intents/{id}", get(payment_intents::retrieve))
        .route("/v1/payment_intents/{id}/confirm", post(payment_intents::confirm))
        .route("/v1/payment_intents/{id}/cancel", post(payment_intents::cancel))
        .route("/v1/refunds", post(refunds::create).get(refunds::list))
        .route("/v1/refunds/{id}", get(refunds::retrieve))
        .layer(from_fn_with_state(simulator.clone(), behaviour::apply))
        .route("/_simulator/behaviour", post(behaviour::set).get(behaviour::show))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_route)
        .layer(from_fn_with_state(simulator.clone(), authenticate))
        .layer(from_fn(name_request))
        .with_state(simulator)
}

async fn unknown_route() -> Failure {
    Failure::unknown_route()
}

/// Lets nobody in without the key, as a bearer or as the user name of basic authentication.
async fn authenticate(State(simulator): Shared, request: Request, next: Next) -> Result<Response, Failure> {
    let given = given_key(request.headers()).ok_or_else(Failure::no_key)?;
    let expected = simulator.api_key.expose_secret();
    if bool::from(given.as_bytes().ct_eq(expected.as_bytes())) {
        Ok(next.run(request).await)
    } else {
        Err(Failure::wrong_key())
    }
}

fn given_key(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    if header.len() > AUTHORIZATION_BYTES_MAX {
        return None;
    }
    let (scheme, credentials) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (user, _) = decoded.split_once(':')?;
    Some(user.to_owned())
}

/// Gives every answer the name by which the log knows it.
async fn name_request(request: Request, next: Next) -> Response {
    let id = id::random("req_");
    let method = request.method().clone();
    let mut response = next.run(request).await;
    // A function that logs nothing is slower on some local runtimes, and one line a request is what is wanted anyway.
    tracing::info!(request_id = id, %method, status = response.status().as_u16(), "answered");
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("request-id", value);
    }
    response
}
