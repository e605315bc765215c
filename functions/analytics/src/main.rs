//! Wires the counter to its queue and its tables.

use florin_analytics::Counter;
use florin_messaging::{Queue, SqsVisibility};
use florin_platform::{aws, clock::Clock, config, random, telemetry, time_left};
use florin_store::{analytics::Analytics, failures::Failures};
use lambda_runtime::{LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    let aws = aws::config().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let idempotency_table = config::required("IDEMPOTENCY_TABLE")?;
    let analytics = Analytics::new(dynamodb.clone(), config::required("ANALYTICS_TABLE")?, &idempotency_table);
    let failures = Failures::new(dynamodb, idempotency_table, "analytics", || Clock::System.now());
    let visibility = SqsVisibility::new(aws_sdk_sqs::Client::new(&aws), config::required("QUEUE_URL")?);
    // The connection is opened now, while CPU is not rationed. Few batches need one to SQS.
    if let Err(error) = analytics.ping().await {
        tracing::warn!(%error, "the connection to DynamoDB could not be warmed");
    }
    let counter = Counter::new(analytics, Queue::new(visibility, failures), random::percent);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        counter.handle(event.payload, time_left(&event.context)).await.map_err(lambda_runtime::Error::from)
    }))
    .await
}
