//! The HTTP API, for merchants and operators: an axum router that runs under Lambda and, in tests, under nothing at
//! all.
//!
//! One file per route. What a request may get wrong, and in which order it is told, stands in `problem`.

mod analytics;
mod announce;
mod auth;
mod body;
mod context;
mod health;
mod idempotency;
mod ops;
mod payments;
pub mod problem;
mod query;
mod refunds;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{get, post},
};
use florin_domain::card::Mode;
use florin_gateway::Gateway;
use florin_messaging::Publisher;
use florin_platform::{clock::Clock, guard::Guard, secrets::RootKey};
use florin_store::{
    analytics::Analytics, audit::Audit, breaker::SharedBreaker, merchants::Merchants, payments::Payments,
};

pub use crate::{
    auth::KEY_AGE_MS_MAX, body::BODY_BYTES_MAX, idempotency::IDEMPOTENCY_KEY_CHARACTERS_MAX, ops::queues::Queues,
};

use crate::problem::Problem;

/// What the API works with.
pub struct Dependencies {
    /// The payments table.
    pub payments: Payments,
    /// The merchants table.
    pub merchants: Merchants,
    /// The counters.
    pub analytics: Analytics,
    /// The circuit breaker around the gateway, as the processor sees it.
    pub breaker: SharedBreaker,
    /// What operators did.
    pub audit: Audit,
    /// The consumers' queues and dead letters.
    pub queues: Queues,
    /// Where cards become tokens.
    pub gateway: Arc<dyn Gateway>,
    /// Where events go.
    pub publisher: Arc<dyn Publisher>,
    /// From which keyed hashes are derived.
    pub root_key: RootKey,
    /// Which webhook URLs may be asked for.
    pub guard: Guard,
    /// Whether this deployment moves real money.
    pub mode: Mode,
    /// The time.
    pub clock: Clock,
}

/// The state of an instance.
pub(crate) struct Api {
    pub(crate) dependencies: Dependencies,
    pub(crate) keys: auth::Keys,
}

/// The API as a service.
pub fn router(dependencies: Dependencies) -> Router {
    let api = Arc::new(Api { dependencies, keys: auth::Keys::default() });
    Router::new()
        .route("/health", get(health::health))
        .route("/live", get(health::live))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/v1/payments", get(payments::list::list).post(payments::create::create))
        .route("/v1/payments/{id}", get(payments::get::get))
        .route("/v1/payments/{id}/timeline", get(payments::timeline::timeline))
        .route("/v1/payments/{id}/cancel", post(payments::command::cancel))
        .route("/v1/payments/{id}/hold", post(payments::command::hold))
        .route("/v1/payments/{id}/resume", post(payments::command::resume))
        .route("/v1/payments/{id}/refunds", get(refunds::list::of_payment).post(refunds::create::create))
        .route("/v1/refunds", get(refunds::list::list))
        .route("/v1/refunds/{id}", get(refunds::get::get))
        .route("/v1/analytics/payments", get(analytics::payments))
        .route("/v1/ops/stuck", get(ops::stuck::list))
        .route("/v1/ops/queues", get(ops::queues::list))
        .route("/v1/ops/dead_letters/{consumer}", get(ops::dead_letters::list))
        .route("/v1/ops/dead_letters/{consumer}/replay", post(ops::dead_letters::replay))
        .route("/v1/ops/dead_letters/{consumer}/discard", post(ops::dead_letters::discard))
        .route("/v1/ops/payments/{id}/retry", post(ops::resolve::retry_payment))
        .route("/v1/ops/payments/{id}/settle", post(ops::resolve::settle_payment))
        .route("/v1/ops/refunds/{id}/retry", post(ops::resolve::retry_refund))
        .route("/v1/ops/refunds/{id}/settle", post(ops::resolve::settle_refund))
        .fallback(async || Problem::RouteNotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&api), context::layer))
        .with_state(api)
}
