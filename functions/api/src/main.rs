//! Wires the API to its tables, its topic and the gateway.

use std::sync::Arc;

use florin_api::{Dependencies, Limiter, Queues, SignUp, router};
use florin_gateway::StripeGateway;
use florin_messaging::{SnsPublisher, dead_letters::Records};
use florin_platform::{
    aws,
    clock::Clock,
    config::{self, ConfigError},
    guard::Guard,
    http,
    oidc::{self, Oidc},
    secrets::RootKey,
    telemetry,
    tokens::Tokens,
};
use florin_store::{
    analytics::Analytics, audit::Audit, breaker::SharedBreaker, failures::Failures, limits::Limits,
    merchants::Merchants, payment_methods::PaymentMethods, payments::Payments,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let aws = aws::config().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let merchants_table = config::required("MERCHANTS_TABLE")?;
    let merchants = Merchants::new(dynamodb.clone(), &merchants_table);
    let publisher = SnsPublisher::direct(aws_sdk_sns::Client::new(&aws), config::required("EVENTS_TOPIC_ARN")?);
    let mode = config::mode()?;
    let access = config::gateway(mode)?;
    let http = http::client()?;
    let gateway = StripeGateway::new(http.clone(), &access.base_url, access.api_key);
    // Connections are opened now, while CPU is not rationed.
    let (pinged, (), ()) = tokio::join!(merchants.ping(), publisher.warm(), gateway.warm());
    if let Err(error) = pinged {
        tracing::warn!(%error, "the connection to DynamoDB could not be warmed");
    }
    let payments_table = config::required("PAYMENTS_TABLE")?;
    let audit = Audit::new(dynamodb.clone(), config::required("AUDIT_TABLE")?).keeping(config::audit_retention()?);
    let now = || Clock::System.now();
    let records = Records {
        failures: Failures::new(dynamodb.clone(), config::required("IDEMPOTENCY_TABLE")?, "api", now),
        audit: audit.clone(),
        now,
    };
    let queues = Queues::new(move || aws_sdk_sqs::Client::new(&aws), config::required("QUEUE_PREFIX")?, records);
    let root_key = RootKey::from_env()?;
    let guard = Guard::new(config::webhook_allow_loopback()?);
    let oidc = oidc::Settings::from_env()?.map(|settings| Oidc::new(settings, http, guard.clone()));
    let app = router(Dependencies {
        payments: Payments::new(dynamodb.clone(), &payments_table),
        breaker: SharedBreaker::new(dynamodb.clone(), payments_table),
        audit,
        queues,
        merchants,
        limiter: Limiter::new(Limits::new(dynamodb.clone(), merchants_table.clone()), config::request_rate()?),
        payment_methods: PaymentMethods::new(dynamodb.clone(), merchants_table),
        analytics: Analytics::reader(dynamodb, config::required("ANALYTICS_TABLE")?),
        gateway: Arc::new(gateway),
        publisher: Arc::new(publisher),
        sign_up: sign_up()?,
        tokens: Tokens::new(&root_key, config::public_url()?, config::access_token_generation()?),
        root_key,
        oidc,
        guard,
        mode,
        clock: Clock::System,
    });
    lambda_http::run(app).await
}

/// `SIGN_UP`: `open` lets everybody sign a merchant up, `operators` only who has the operator key.
fn sign_up() -> Result<SignUp, ConfigError> {
    match config::required("SIGN_UP")?.as_str() {
        "open" => Ok(SignUp::Open),
        "operators" => Ok(SignUp::ByOperators),
        _ => Err(ConfigError::Invalid { name: "SIGN_UP", rule: "open or operators" }),
    }
}
