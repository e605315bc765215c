//! Wires the sweeper to its table, its topic and its schedule.

use std::sync::Arc;

use florin_messaging::SnsPublisher;
use florin_platform::{aws, clock::Clock, config, telemetry};
use florin_store::{breaker::SharedBreaker, payments::Payments};
use florin_sweeper::Sweeper;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    let aws = aws::config().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let payments_table = config::required("PAYMENTS_TABLE")?;
    let breaker = SharedBreaker::new(dynamodb.clone(), payments_table.clone());
    let payments = Payments::new(dynamodb, payments_table);
    let publisher = SnsPublisher::gathering(aws_sdk_sns::Client::new(&aws), config::required("EVENTS_TOPIC_ARN")?);
    let sweeper = Sweeper::new(payments, breaker, Arc::new(publisher), Clock::System);
    lambda_runtime::run(service_fn(async |_: LambdaEvent<Value>| {
        sweeper.run().await.map(|_| ()).map_err(lambda_runtime::Error::from)
    }))
    .await
}
