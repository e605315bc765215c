//! Wires the processor to its queue, its tables, its topic and the gateway.

use std::sync::Arc;

use florin_gateway::StripeGateway;
use florin_messaging::{Queue, SnsPublisher, SqsVisibility};
use florin_platform::{aws, clock::Clock, config, http, telemetry, time_left};
use florin_processor::{Gate, Processor};
use florin_store::{breaker::SharedBreaker, failures::Failures, merchants::Merchants, payments::Payments};
use lambda_runtime::{LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    let aws = aws::config().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let payments_table = config::required("PAYMENTS_TABLE")?;
    let breaker = SharedBreaker::new(dynamodb.clone(), payments_table.clone());
    let payments = Payments::new(dynamodb.clone(), payments_table);
    let merchants = Merchants::new(dynamodb.clone(), config::required("MERCHANTS_TABLE")?);
    let failures =
        Failures::new(dynamodb, config::required("IDEMPOTENCY_TABLE")?, "processing", || Clock::System.now());
    let publisher = SnsPublisher::gathering(aws_sdk_sns::Client::new(&aws), config::required("EVENTS_TOPIC_ARN")?);
    let visibility = SqsVisibility::new(aws_sdk_sqs::Client::new(&aws), config::required("QUEUE_URL")?);
    let access = config::gateway(config::mode()?)?;
    let gateway = StripeGateway::new(http::client()?, &access.base_url, access.api_key);
    // Connections are opened now, while CPU is not rationed.
    let (breaker_read, (), ()) = tokio::join!(breaker.current(Clock::System.now()), publisher.warm(), gateway.warm());
    if let Err(error) = breaker_read {
        tracing::warn!(%error, "the connection to DynamoDB could not be warmed");
    }
    let processor = Processor::new(
        payments,
        merchants,
        Gate::new(Arc::new(gateway), breaker, Clock::System),
        Arc::new(publisher),
        Queue::new(visibility, failures),
        Clock::System,
    );
    lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        processor.handle(event.payload, time_left(&event.context)).await.map_err(lambda_runtime::Error::from)
    }))
    .await
}
