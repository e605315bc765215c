//! Wires the webhook sender to its queue and its table.

use florin_messaging::{Queue, SqsVisibility};
use florin_platform::{aws, clock::Clock, config, guard::Guard, random, secrets::RootKey, telemetry, time_left};
use florin_store::{failures::Failures, webhooks::Webhooks};
use florin_webhook_sender::{Post, Sender};
use lambda_runtime::{LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    let aws = aws::config().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let webhooks = Webhooks::new(dynamodb.clone(), config::required("WEBHOOKS_TABLE")?);
    let webhooks = webhooks.keeping(config::delivery_retention()?);
    let failures = Failures::new(dynamodb, config::required("IDEMPOTENCY_TABLE")?, "webhook", || Clock::System.now());
    let visibility = SqsVisibility::new(aws_sdk_sqs::Client::new(&aws), config::required("QUEUE_URL")?);
    let post = Post::new(Guard::new(config::webhook_allow_loopback()?))?;
    // The connection is opened now, while CPU is not rationed. Few batches need one to SQS.
    if let Err(error) = webhooks.ping().await {
        tracing::warn!(%error, "the connection to DynamoDB could not be warmed");
    }
    let root = RootKey::from_env()?;
    let queue = Queue::new(visibility, failures);
    let sender = Sender::new(webhooks, root, post, queue, Clock::System, random::percent);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        sender.handle(event.payload, time_left(&event.context)).await.map_err(lambda_runtime::Error::from)
    }))
    .await
}
