//! Wires the function; see the library.

use std::sync::Arc;

use florin_gateway_simulator::{Simulator, router};
use florin_platform::{aws, clock::Clock, config, telemetry};
use florin_store::gateway::GatewayTable;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    telemetry::init();
    let client = aws_sdk_dynamodb::Client::new(&aws::config().await);
    let table = GatewayTable::new(client, config::required("GATEWAY_TABLE")?);
    let simulator = Arc::new(Simulator::new(table, config::simulator_key()?, Clock::System));
    simulator.warm().await;
    lambda_http::run(router(simulator)).await.map_err(|error| anyhow::anyhow!(error))
}
