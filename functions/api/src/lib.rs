//! The HTTP API, for merchants and operators: an axum router that runs under Lambda and, in tests, under nothing at
//! all.
//!
//! One file per route. What a request may get wrong, and in which order it is told, stands in `problem`.

mod analytics;
mod announce;
mod api_keys;
mod audit_log;
mod auth;
mod body;
mod card;
mod context;
mod customers;
mod docs;
mod external;
mod headers;
mod health;
mod idempotency;
mod limits;
mod login;
mod merchants;
mod oauth;
pub mod openapi;
mod ops;
mod path;
mod payment_methods;
mod payments;
mod permission;
pub mod problem;
mod query;
mod refunds;
mod sessions;
mod told;
mod users;
mod wellknown;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{delete, get, patch, post},
};
use florin_domain::card::Mode;
use florin_gateway::Gateway;
use florin_messaging::Publisher;
use florin_platform::{clock::Clock, guard::Guard, oidc::Oidc, secrets::RootKey, tokens::Tokens};
use florin_store::{
    analytics::Analytics, audit::Audit, breaker::SharedBreaker, merchants::Merchants, payment_methods::PaymentMethods,
    payments::Payments,
};

pub use crate::{
    auth::KEY_AGE_MS_MAX, body::BODY_BYTES_MAX, customers::erase::PAYMENTS_PER_ERASURE_MAX,
    idempotency::IDEMPOTENCY_KEY_CHARACTERS_MAX, limits::Limiter, merchants::SignUp, ops::queues::Queues,
};

use crate::problem::Problem;

/// What the API works with.
pub struct Dependencies {
    /// The payments table.
    pub payments: Payments,
    /// The merchants table.
    pub merchants: Merchants,
    /// How many requests each caller may make.
    pub limiter: Limiter,
    /// Payment methods.
    pub payment_methods: PaymentMethods,
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
    /// Makes and checks access tokens.
    pub tokens: Tokens,
    /// Checks the tokens of another issuer, if the deployment names one.
    pub oidc: Option<Oidc>,
    /// Which webhook URLs may be asked for.
    pub guard: Guard,
    /// Whether this deployment moves real money.
    pub mode: Mode,
    /// Who may sign merchants up.
    pub sign_up: SignUp,
    /// The time.
    pub clock: Clock,
}

/// The state of an instance.
pub(crate) struct Api {
    pub(crate) dependencies: Dependencies,
    pub(crate) keys: auth::Keys,
    pub(crate) sessions: sessions::Sessions,
    pub(crate) known_merchants: external::KnownMerchants,
}

macro_rules! routes {
    ($($method:ident $path:literal => $($handler:ident)::+;)*) => {
        /// Every route: its method, in small letters, and its path.
        pub const ROUTES: [(&str, &str); [$($path),*].len()] = [$((stringify!($method), $path)),*];

        fn routes() -> Router<Arc<Api>> {
            Router::new()$(.route($path, $method($($handler)::+)))*
        }

        /// What the attributes above the handlers say.
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($($handler)::+),*))]
        struct Paths;
    };
}

routes! {
    get "/health" => health::health;
    get "/live" => health::live;
    get "/ready" => health::ready;
    get "/metrics" => health::metrics;
    get "/openapi.json" => docs::openapi;
    get "/docs" => docs::docs;
    get "/.well-known/jwks.json" => wellknown::jwks;
    get "/.well-known/openid-configuration" => wellknown::configuration;
    post "/oauth/token" => oauth::token;
    get "/v1/payments" => payments::list::list;
    post "/v1/payments" => payments::create::create;
    get "/v1/payments/{id}" => payments::get::get;
    get "/v1/payments/{id}/timeline" => payments::timeline::timeline;
    post "/v1/payments/{id}/cancel" => payments::command::cancel;
    post "/v1/payments/{id}/hold" => payments::command::hold;
    post "/v1/payments/{id}/resume" => payments::command::resume;
    get "/v1/payments/{id}/refunds" => refunds::list::of_payment;
    post "/v1/payments/{id}/refunds" => refunds::create::create;
    get "/v1/refunds" => refunds::list::list;
    get "/v1/refunds/{id}" => refunds::get::get;
    get "/v1/payment_methods" => payment_methods::list::list;
    post "/v1/payment_methods" => payment_methods::create::create;
    get "/v1/payment_methods/{id}" => payment_methods::get::get;
    delete "/v1/payment_methods/{id}" => payment_methods::delete::delete;
    get "/v1/customers/{customer}/export" => customers::export::export;
    post "/v1/customers/{customer}/erase" => customers::erase::erase;
    get "/v1/analytics/payments" => analytics::payments;
    post "/v1/merchants" => merchants::sign_up;
    get "/v1/merchants/me" => merchants::me;
    patch "/v1/merchants/me" => merchants::change;
    get "/v1/api_keys" => api_keys::list;
    post "/v1/api_keys" => api_keys::create;
    get "/v1/api_keys/{id}" => api_keys::get;
    delete "/v1/api_keys/{id}" => api_keys::revoke;
    post "/v1/auth/login" => login::login;
    post "/v1/auth/refresh" => login::refresh;
    post "/v1/auth/logout" => login::logout;
    post "/v1/auth/accept_invitation" => login::accept_invitation;
    get "/v1/users" => users::list;
    post "/v1/users" => users::invite;
    get "/v1/users/{id}" => users::get;
    patch "/v1/users/{id}" => users::change;
    delete "/v1/users/{id}" => users::remove;
    post "/v1/users/{id}/invite" => users::invite_again;
    get "/v1/audit_log" => audit_log::list;
    get "/v1/ops/stuck" => ops::stuck::list;
    get "/v1/ops/queues" => ops::queues::list;
    get "/v1/ops/dead_letters/{consumer}" => ops::dead_letters::list;
    post "/v1/ops/dead_letters/{consumer}/replay" => ops::dead_letters::replay;
    post "/v1/ops/dead_letters/{consumer}/discard" => ops::dead_letters::discard;
    post "/v1/ops/payments/{id}/retry" => ops::resolve::retry_payment;
    post "/v1/ops/payments/{id}/settle" => ops::resolve::settle_payment;
    post "/v1/ops/refunds/{id}/retry" => ops::resolve::retry_refund;
    post "/v1/ops/refunds/{id}/settle" => ops::resolve::settle_refund;
}

/// The API as a service.
pub fn router(dependencies: Dependencies) -> Router {
    let api = Arc::new(Api {
        dependencies,
        keys: auth::Keys::default(),
        sessions: sessions::Sessions::default(),
        known_merchants: external::KnownMerchants::default(),
    });
    routes()
        .fallback(async || Problem::RouteNotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&api), context::layer))
        .with_state(api)
}
